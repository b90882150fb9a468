//! The ports and pixel formats of a loopback's nodes.

use vb3_v4l2::{FourCc, PixelFormat, Port, pixfmt};

pub(super) const PORTS: &[Port] = &[Port {
    name: "Loopback",
    kind: 2,
}];

/// Returns the supported formats: all formats that have one memory plane.
pub(crate) fn formats() -> Vec<&'static PixelFormat> {
    pixfmt::all()
        .filter(|format| format.memory_planes == 1)
        .collect()
}

/// Returns the part of a list that has only this format.
pub(super) fn only<'a>(
    pixels: &'a [&'static PixelFormat],
    fourcc: FourCc,
) -> &'a [&'static PixelFormat] {
    let at = pixels.iter().position(|pixel| pixel.fourcc == fourcc);
    at.and_then(|at| pixels.get(at..=at)).unwrap_or_default()
}
