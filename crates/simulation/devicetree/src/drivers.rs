//! The table of drivers: `drivers.toml`.

use serde::Deserialize;
use std::sync::LazyLock;

/// The kind of device that a driver provides.
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
    /// Returns the kind's name in `vb3 run --device NAME`. `codec` says whether a codec is stateful or stateless.
    /// `None` for a kind that is not simulated, such as stateless decoders for MPEG-2.
    #[must_use]
    pub const fn spec(self, codec: Option<Codec>) -> Option<&'static str> {
        let stateless = matches!(codec, Some(Codec::Stateless));
        Some(match self {
            Self::Camera => "camera",
            Self::CaptureConverter => "capture-convert",
            Self::Decoder if stateless => "h264dec-stateless",
            Self::Decoder => "h264dec",
            Self::JpegDecoder => "jpegdec",
            Self::JpegEncoder => "jpegenc",
            Self::Converter => "convert",
            Self::Display => "display",
            Self::HevcDecoder if stateless => "hevcdec-stateless",
            Self::Vp8Decoder if stateless => "vp8dec-stateless",
            Self::Vp9Decoder if stateless => "vp9dec-stateless",
            Self::Av1Decoder if stateless => "av1dec-stateless",
            _ if stateless => return None,
            Self::HevcDecoder => "hevcdec",
            Self::Vp8Decoder => "vp8dec",
            Self::Vp9Decoder => "vp9dec",
            Self::Av1Decoder => "av1dec",
            Self::Mpeg2Decoder => "mpeg2dec",
            Self::Encoder => "h264enc",
        })
    }

    /// Returns the name of the kind's stream format; `None` for kinds without streams and for JPEG codecs.
    #[must_use]
    pub const fn stream(self) -> Option<&'static str> {
        Some(match self {
            Self::Decoder | Self::Encoder => "H.264",
            Self::HevcDecoder => "HEVC",
            Self::Vp8Decoder => "VP8",
            Self::Vp9Decoder => "VP9",
            Self::Av1Decoder => "AV1",
            Self::Mpeg2Decoder => "MPEG-2",
            _ => return None,
        })
    }
}

/// The allocator of a driver's picture buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allocator {
    /// videobuf2-dma-contig: one run of DMA addresses.
    Contig,
    /// videobuf2-dma-sg: scattered pages.
    Sg,
    /// videobuf2-vmalloc: the CPU copies, and the device does no DMA.
    Vmalloc,
}

impl Allocator {
    /// Returns the allocator's name in a SPEC, the argument of `vb3 run --device`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contig => "contig",
            Self::Sg => "sg",
            Self::Vmalloc => "vmalloc",
        }
    }
}

/// Whether the device or the program parses the stream of a driver's codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// The device parses the stream.
    Stateful,
    /// The program parses the stream and queues each picture in a media request.
    Stateless,
}

impl Codec {
    /// Returns the name: `stateful` or `stateless`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stateful => "stateful",
            Self::Stateless => "stateless",
        }
    }
}

/// A property of a driver, and where the kernel's source shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sourced<T> {
    /// The value of the property.
    pub is: T,
    /// A file, as a path in the kernel's source.
    pub file: String,
    /// The text in that file that shows the property.
    pub says: String,
}

/// A row of the table: a driver, and those of its devices that it handles in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// The `compatible` strings that the driver matches.
    pub compatible: Vec<String>,
    /// Kinds of devices that the driver provides.
    pub kinds: Vec<Kind>,
    /// Name of the DRM driver, if the device is a display controller.
    pub card: Option<String>,
    /// Name of a codec's driver, as QUERYCAP returns it.
    pub driver: Option<String>,
    /// Highest address that the device can drive.
    #[serde(default = "of_platform")]
    pub last_address: u64,
    /// The kernel whose source the row was compared with, if [`KERNEL`] does not have the driver.
    pub kernel: Option<String>,
    /// The file with the driver's match table, as a path in the kernel's source.
    pub source: String,
    /// The expression that sets the DMA mask, if the driver sets one.
    pub mask: Option<String>,
    /// The file that sets the mask, if it differs from `source`.
    pub mask_source: Option<String>,
    /// The allocator of the picture buffers.
    pub alloc: Sourced<Allocator>,
    /// Whether the driver's codecs are stateful or stateless; `None` for a driver without streams.
    pub codec: Option<Sourced<Codec>>,
}

impl Driver {
    /// Returns the kernel that this row was compared with.
    #[must_use]
    pub fn kernel(&self) -> &str {
        self.kernel.as_deref().unwrap_or(KERNEL)
    }

    /// Returns the source of [`last_address`](Self::last_address).
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

/// An image sensor that is simulated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorDriver {
    /// The `compatible` string that the driver matches.
    pub compatible: String,
    /// The sensor's name in a SPEC: `sensor=MODEL`.
    pub model: String,
    /// The name in a SPEC of a sensor with four data lanes, if it differs from `model`.
    pub four_lanes: Option<String>,
    /// The file with the driver's match table, as a path in the kernel's source.
    pub source: String,
}

/// The kernel that a row was compared with, if the row does not name another.
pub const KERNEL: &str = "Linux 6.12";
const OF_PLATFORM: &str = "drivers/of/platform.c";

/// Returns the default DMA mask of a platform device.
///
/// Source: Linux 6.12 `drivers/of/platform.c` `of_platform_device_create_pdata`.
const fn of_platform() -> u64 {
    0xffff_ffff
}

#[derive(Default, Deserialize)]
struct Table {
    driver: Vec<Driver>,
    sensor: Vec<SensorDriver>,
}

// A test ensures that the table parses.
static TABLE: LazyLock<Table> =
    LazyLock::new(|| toml::from_str(include_str!("drivers.toml")).unwrap_or_default());

/// Returns all rows of the table.
#[must_use]
pub fn drivers() -> &'static [Driver] {
    &TABLE.driver
}

/// Returns all sensors that are simulated.
#[must_use]
pub fn sensors() -> &'static [SensorDriver] {
    &TABLE.sensor
}

/// Finds the sensor that matches one of these strings.
pub(crate) fn sensor_of<'a>(
    mut compatible: impl Iterator<Item = &'a str>,
) -> Option<&'static SensorDriver> {
    compatible.find_map(|wanted| sensors().iter().find(|row| row.compatible == wanted))
}

/// Finds the first of these strings in the table, and returns its row. The most specific string comes first.
pub(crate) fn of<'a>(compatible: impl Iterator<Item = &'a str>) -> Option<&'static Driver> {
    compatible
        .filter_map(|wanted| {
            drivers()
                .iter()
                .find(|row| row.compatible.iter().any(|known| known == wanted))
        })
        .next()
}
