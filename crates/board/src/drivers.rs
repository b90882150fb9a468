//! The table of drivers: `drivers.toml`.

use serde::Deserialize;
use std::sync::LazyLock;

/// What a driver makes of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Writes frames to memory.
    Camera,
    /// Writes frames to memory, scaled and converted.
    CaptureConverter,
    /// Reads a coded stream, writes pictures.
    Decoder,
    /// Reads pictures, writes a coded stream.
    Encoder,
    /// Reads JPEG files, writes pictures.
    JpegDecoder,
    /// Reads pictures, writes JPEG files.
    JpegEncoder,
    /// Reads pictures, writes them scaled or converted.
    Converter,
    /// Reads frames from memory.
    Display,
}

impl Kind {
    /// What a SPEC of `vb3 run --device` calls it.
    #[must_use]
    pub const fn spec(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::CaptureConverter => "capture-convert",
            Self::Decoder => "h264dec",
            Self::Encoder => "h264enc",
            Self::JpegDecoder => "jpegdec",
            Self::JpegEncoder => "jpegenc",
            Self::Converter => "convert",
            Self::Display => "display",
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Driver {
    /// The strings that it matches.
    pub(crate) compatible: Vec<String>,
    /// What it makes of the device.
    pub(crate) kinds: Vec<Kind>,
    /// Highest address that the device can drive.
    #[serde(default = "of_platform")]
    pub(crate) last_address: u64,
    /// Where that is said.
    pub(crate) source: String,
}

/// Source: Linux 6.12 `drivers/of/platform.c` `of_platform_device_create_pdata`.
const fn of_platform() -> u64 {
    0xffff_ffff
}

#[derive(Deserialize)]
struct Table {
    driver: Vec<Driver>,
}

static TABLE: LazyLock<Vec<Driver>> = LazyLock::new(|| {
    // A test reads the table.
    toml::from_str::<Table>(include_str!("drivers.toml")).map_or_else(|_| Vec::new(), |t| t.driver)
});

/// All rows.
pub(crate) fn all() -> &'static [Driver] {
    &TABLE
}

/// The row for the most specific of these strings that the table has.
pub(crate) fn of<'a>(compatible: impl Iterator<Item = &'a str>) -> Option<&'static Driver> {
    compatible
        .filter_map(|wanted| {
            all()
                .iter()
                .find(|row| row.compatible.iter().any(|known| known == wanted))
        })
        .next()
}
