//! The shipped boards, made by `cargo run -p vb3-devicetree --example boards -- DIRECTORY`.

/// A shipped board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// The name of the board's machine.
    pub name: &'static str,
    /// Path of the board's tree in Debian's `linux-image` packages, without the leading directories.
    pub tree: &'static str,
    /// Bytes of memory of the board as sold, if the tree leaves this to the boot loader.
    pub ram: Option<u64>,
    /// Page size in bytes of the board's usual kernel, and the source of this value; `None` for 4 KiB.
    pub pages: Option<(u64, &'static str)>,
    /// The profile of the board's machine, with the devices.
    pub profile: &'static str,
}

macro_rules! board {
    ($name:literal, $tree:literal, $ram:expr) => {
        board!($name, $tree, $ram, None)
    };
    ($name:literal, $tree:literal, $ram:expr, $pages:expr) => {
        Shipped {
            name: $name,
            tree: $tree,
            ram: $ram,
            pages: $pages,
            profile: include_str!(concat!("../boards/", $name, ".toml")),
        }
    };
}

/// The shipped boards, from the trees of Linux 6.12.107 as Debian packages them.
/// The tree of the Raspberry Pi 5 is from 7.2.13 (`linux-binary-*-arm64-16k`, with trees below `dtb`),
/// because its tree in 6.12 has no video devices.
pub const BOARDS: &[Shipped] = &[
    board!("rpi-4", "broadcom/bcm2711-rpi-4-b.dtb", Some(4 << 30)),
    board!(
        "rpi-5",
        "dtb/broadcom/bcm2712-rpi-5-b.dtb",
        Some(8 << 30),
        Some((
            16 << 10,
            "CONFIG_ARM64_16K_PAGES, as in the kernel that carries this tree"
        ))
    ),
    board!("imx8mp-evk", "freescale/imx8mp-evk.dtb", None),
    board!("rock-5b", "rockchip/rk3588-rock-5b.dtb", Some(8 << 30)),
    board!("db410c", "qcom/apq8016-sbc.dtb", Some(1 << 30)),
    board!("am625-sk", "ti/k3-am625-sk.dtb", None),
    board!("odroid-u3", "exynos4412-odroidu3.dtb", None),
    board!("cubieboard2", "sun7i-a20-cubieboard2.dtb", Some(1 << 30)),
];
