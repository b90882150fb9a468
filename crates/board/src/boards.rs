//! The boards that ship, made by `cargo run -p vb3-board --example boards -- DIRECTORY`.

/// Where the profile of a board is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name of the profile.
    pub name: &'static str,
    /// The end of its tree's path, in Debian's `linux-image` packages.
    pub tree: &'static str,
    /// Bytes of memory of the board as sold, where its boot loader knows it and the tree does not.
    pub ram: Option<u64>,
}

const fn source(name: &'static str, tree: &'static str, ram: Option<u64>) -> Source {
    Source { name, tree, ram }
}

/// Where the profiles are from, in the order of [`BOARDS`].
pub const SOURCES: &[Source] = &[
    source("rpi-4", "broadcom/bcm2711-rpi-4-b.dtb", Some(4 << 30)),
    source("imx8mp-evk", "freescale/imx8mp-evk.dtb", None),
    source("rock-5b", "rockchip/rk3588-rock-5b.dtb", Some(8 << 30)),
    source("db410c", "qcom/apq8016-sbc.dtb", Some(1 << 30)),
    source("am625-sk", "ti/k3-am625-sk.dtb", None),
    source("odroid-u3", "exynos4412-odroidu3.dtb", None),
    source("cubieboard2", "sun7i-a20-cubieboard2.dtb", Some(1 << 30)),
];

/// Profiles of boards, by name, with their devices. From the trees of Linux 6.12.107, as Debian
/// packages them.
pub const BOARDS: &[(&str, &str)] = &[
    ("rpi-4", include_str!("../boards/rpi-4.toml")),
    ("imx8mp-evk", include_str!("../boards/imx8mp-evk.toml")),
    ("rock-5b", include_str!("../boards/rock-5b.toml")),
    ("db410c", include_str!("../boards/db410c.toml")),
    ("am625-sk", include_str!("../boards/am625-sk.toml")),
    ("odroid-u3", include_str!("../boards/odroid-u3.toml")),
    ("cubieboard2", include_str!("../boards/cubieboard2.toml")),
];
