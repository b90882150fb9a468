//! What a user chooses for a device, as plain values.

use crate::text::hex;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A camera's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// The test pattern.
    Pattern,
    /// A file that ffmpeg decodes.
    Clip(PathBuf),
}

/// A camera's behaviour when its clip ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClipEnd {
    /// Plays the clip again: frame n is picture n modulo the clip's length.
    #[default]
    Loop,
    /// Repeats the last picture.
    Hold,
    /// Ends the stream with an error, like a driver whose source failed.
    Stop,
    /// Unplugs the camera.
    Unplug,
}

/// The destination of a display's pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkSpec {
    /// No destination: nothing is recorded.
    Null,
    /// A YUV4MPEG2 file.
    Y4m(PathBuf),
    /// A file of raw bytes.
    Raw(PathBuf),
    /// One PNG file per frame. The name has one `%d` or `%0Nd` for the frame's number.
    Png(String),
}

/// How a camera offers its sizes and rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As lists, like a webcam.
    Webcam,
    /// As ranges, like a sensor's driver.
    Sensor,
}

/// What determines the time of a device's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// The monotonic clock, at the frame rate.
    #[default]
    Real,
    /// The buffers: each buffer gets a frame as soon as it arrives.
    Free,
}

/// The allocator of a device's planes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocator {
    /// videobuf2-dma-contig.
    #[default]
    Contig,
    /// videobuf2-dma-sg.
    Sg,
    /// videobuf2-vmalloc.
    Vmalloc,
}

/// The part of a camera from which its pictures come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraInput {
    /// A sensor without a scaler.
    Sensor,
    /// A sensor with a scaler between it and the buffer.
    Scaler,
    /// An HDMI receiver.
    Hdmi,
}

/// The pictures that readers get while no writer streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// A black picture.
    Black,
    /// The last writer's last frame. Before the first writer, a black picture.
    Hold,
    /// The pictures of a file that ffmpeg decodes, scaled to the format.
    File(PathBuf),
}

/// The identity that a camera or a loopback shows to programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceIdentity {
    /// A USB webcam, with the driver uvcvideo.
    Uvc,
    /// A platform device, with the driver videobuf3.
    Plain,
    /// A loopback with the driver v4l2loopback: one node for the writer and the readers.
    V4l2loopback,
}

/// The vendor and product ids by which programs recognise a USB device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UsbId {
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
}

impl UsbId {
    /// The ids of Linux's webcam gadget.
    pub(crate) const WEBCAM: Self = Self {
        vendor: 0x1d6b,
        product: 0x0102,
    };

    /// Parses `VVVV:PPPP`, four hexadecimal digits each.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (vendor, product) = text.split_once(':')?;
        let id = |text: &str| {
            let number = hex(text).filter(|_| text.len() == 4)?;
            u16::try_from(number).ok()
        };
        Some(Self {
            vendor: id(vendor)?,
            product: id(product)?,
        })
    }
}

impl fmt::Display for UsbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)
    }
}

impl TryFrom<String> for UsbId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} must look like \"046d:0825\""))
    }
}

impl From<UsbId> for String {
    fn from(id: UsbId) -> Self {
        id.to_string()
    }
}

/// The planes and connectors of a display card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardSpec {
    /// Number of connectors, 1 to 8.
    pub connectors: usize,
    /// Number of overlay planes of each connector, up to 8.
    pub overlays: usize,
    /// Whether planes scale.
    pub scales: bool,
    /// The file of the monitors' EDID.
    pub edid: Option<PathBuf>,
}

impl Default for CardSpec {
    fn default() -> Self {
        Self {
            connectors: 1,
            overlays: 0,
            scales: false,
            edid: None,
        }
    }
}
