//! The scripts that ship with this crate.

/// Name and text of each script.
pub const SHIPPED: &[(&str, &str)] = &[
    (
        "flaky-usb-camera",
        include_str!("../../scripts/flaky-usb-camera.toml"),
    ),
    (
        "fragmented-cma",
        include_str!("../../scripts/fragmented-cma.toml"),
    ),
    (
        "throttled-sensor",
        include_str!("../../scripts/throttled-sensor.toml"),
    ),
];
