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
    /// Reads an H.264 stream, writes pictures.
    Decoder,
    /// Reads an HEVC stream, writes pictures.
    HevcDecoder,
    /// Reads a VP8 stream, writes pictures.
    Vp8Decoder,
    /// Reads a VP9 stream, writes pictures.
    Vp9Decoder,
    /// Reads an AV1 stream, writes pictures.
    Av1Decoder,
    /// Reads an MPEG-2 stream, writes pictures.
    Mpeg2Decoder,
    /// Reads pictures, writes an H.264 stream.
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
            Self::HevcDecoder => "hevcdec",
            Self::Vp8Decoder => "vp8dec",
            Self::Vp9Decoder => "vp9dec",
            Self::Av1Decoder => "av1dec",
            Self::Mpeg2Decoder => "mpeg2dec",
            Self::Encoder => "h264enc",
            Self::JpegDecoder => "jpegdec",
            Self::JpegEncoder => "jpegenc",
            Self::Converter => "convert",
            Self::Display => "display",
        }
    }
}

/// A row of the table: one driver, and the devices of which it makes the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// The strings that it matches.
    pub compatible: Vec<String>,
    /// What it makes of the device.
    pub kinds: Vec<Kind>,
    /// Highest address that the device can drive.
    #[serde(default = "of_platform")]
    pub last_address: u64,
    /// The kernel that has it, where [`KERNEL`] has not.
    pub kernel: Option<String>,
    /// The file with its match table, below the kernel's source.
    pub source: String,
    /// The expression by which it sets its DMA mask, if it does.
    pub mask: Option<String>,
    /// The file that sets the mask, where it is another.
    pub mask_source: Option<String>,
}

impl Driver {
    /// The kernel that this row was compared with.
    #[must_use]
    pub fn kernel(&self) -> &str {
        self.kernel.as_deref().unwrap_or(KERNEL)
    }

    /// Where [`last_address`](Self::last_address) is from.
    #[must_use]
    pub fn says(&self) -> String {
        let file = self.mask_source.as_ref().unwrap_or(&self.source);
        let kernel = self.kernel();
        match &self.mask {
            Some(mask) => format!("{kernel} {file}: {mask}"),
            None => format!("{kernel} {OF_PLATFORM}; driver: {}", self.source),
        }
    }
}

/// The kernel that rows were compared with, where they name no other.
pub const KERNEL: &str = "Linux 6.12";
const OF_PLATFORM: &str = "drivers/of/platform.c";

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
#[must_use]
pub fn drivers() -> &'static [Driver] {
    &TABLE
}

/// The row for the most specific of these strings that the table has.
pub(crate) fn of<'a>(compatible: impl Iterator<Item = &'a str>) -> Option<&'static Driver> {
    compatible
        .filter_map(|wanted| {
            drivers()
                .iter()
                .find(|row| row.compatible.iter().any(|known| known == wanted))
        })
        .next()
}
