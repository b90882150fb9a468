//! The settings of a node, from which its engine is made.

use crate::Failure;
use crate::choice::Pace;
use crate::likeness::Likeness;
use crate::surface::align_lines;
use std::sync::Arc;
use vb3_codec::Codecs;
use vb3_picture::Size;
use vb3_v4l2::{Format, FourCc, Fraction, Identity, PixelFormat, Planarity, QueuePolicy};

/// The host's settings for a device: its bus, memory options and codecs.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// `bus_info` of QUERYCAP, e.g. `platform:vb3-000`.
    pub bus_info: String,
    /// The serial number and the revision (`bcdDevice`) of a USB device.
    pub usb: Option<(String, u32)>,
    /// Whether the device offers USERPTR if its SPEC (the text that requests the device) leaves this open.
    pub userptr: bool,
    /// The codecs that devices may use.
    pub codecs: Codecs,
}

/// The settings of a node. `registry` makes them from what the user wrote.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The name of the device's kind, for messages.
    pub(crate) kind: &'static str,
    /// How QUERYCAP describes the node. The card is empty if the user named none.
    pub(crate) identity: Identity,
    pub(crate) policy: QueuePolicy,
    pub(crate) planarity: Planarity,
    /// Whether the device poses as a USB webcam, with the driver uvcvideo.
    pub(crate) is_webcam: bool,
    /// The pixel formats that programs are offered.
    pub(crate) pixels: Vec<&'static PixelFormat>,
    /// The pixel formats that the user could have chosen.
    pub(crate) choices: Vec<&'static PixelFormat>,
    /// The pixel format that the user chose.
    pub(crate) format: Option<FourCc>,
    /// The size that the user chose.
    pub(crate) size: Option<Size>,
    /// The rate that the user chose, in frames per second.
    pub(crate) fps: Option<Fraction>,
    /// The sizes that the user listed for a camera.
    pub(crate) sizes: Vec<Size>,
    /// The rates that the user listed for a camera, in frames per second.
    pub(crate) rates: Vec<Fraction>,
    /// Whether a camera offers lists of sizes and rates, and not ranges.
    pub(crate) has_lists: bool,
    /// Alignment of picture lines in bytes, a power of two.
    pub(crate) stride: u32,
    pub(crate) pace: Pace,
    /// The real camera that a camera imitates.
    pub(crate) likeness: Option<Arc<Likeness>>,
    /// The codecs that the device may use.
    pub(crate) codecs: Codecs,
}

impl Settings {
    /// Returns the node's identity. `card` is the card's name unless the user named one.
    pub(crate) fn identity(&self, card: &str) -> Identity {
        let mut identity = self.identity.clone();
        if identity.card.is_empty() {
            card.clone_into(&mut identity.card);
        }
        identity
    }

    /// Returns the size that the user chose, or 640x480.
    pub(crate) fn first_size(&self) -> Size {
        self.size.unwrap_or(Size::nearest(640, 480))
    }

    /// Returns the initial format, which is one of the offered ones. If the user chose no pixel format, it is
    /// `default`.
    pub(crate) fn first_format(&self, default: FourCc) -> Result<Format, Failure> {
        let wanted = self.format.unwrap_or(default);
        let format = first_format(&self.pixels, wanted, self.first_size(), self.stride);
        format.ok_or_else(|| self.no_such_format())
    }

    /// Returns the failure for a chosen format that the device does not offer.
    pub(crate) fn no_such_format(&self) -> Failure {
        no_such_format(self.kind, self.format, &self.choices)
    }
}

/// Returns a format of `pixels` with this size, and lines of multiples of `stride` bytes.
pub(crate) fn first_format(
    pixels: &[&'static PixelFormat],
    wanted: FourCc,
    size: Size,
    stride: u32,
) -> Option<Format> {
    let pixel = pixels.iter().find(|pixel| pixel.fourcc == wanted)?;
    let format = Format::new(pixel, size.width(), size.height())?;
    align_lines(format, pixels, stride)
}

/// Returns the failure for a format that a kind of device does not offer.
pub(crate) fn no_such_format(
    kind: &str,
    format: Option<FourCc>,
    choices: &[&'static PixelFormat],
) -> Failure {
    let offered = format!("{kind} offers {}", names(choices));
    Failure::new(match format {
        Some(format) => format!("there is no pixel format {}: {offered}", name(format)),
        None => format!("no pixel format fits its pictures: {offered}"),
    })
}

/// Returns the names of pixel formats, separated by commas.
pub(crate) fn names(formats: &[&PixelFormat]) -> String {
    let names: Vec<&str> = formats.iter().map(|one| one.name).collect();
    names.join(", ")
}

/// Returns a format's name as users write it.
pub(crate) fn name(format: FourCc) -> String {
    let pixel = vb3_v4l2::pixfmt::lookup(format);
    pixel.map_or_else(|| format.to_string(), |pixel| pixel.name.to_owned())
}
