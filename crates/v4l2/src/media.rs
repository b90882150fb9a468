//! The media device of a video device, with its entities, pads and links.
//!
//! Programs find out from it whether a device decodes, encodes or scales, and libcamera finds webcams.

mod calls;
mod graph;

use crate::{Flow, Identity, VideoDriver, sys};
use graph::{Entity, Graph, Kind, M2M, Name, WEBCAM};

/// The major number of media devices. Linux assigns it dynamically; this one is the last choice.
pub const MEDIA_MAJOR: u32 = 384;
/// The major number of video devices.
pub(crate) const VIDEO_MAJOR: u32 = 81;

/// Most bytes of an entity's name before its suffix, so that truncated names still differ.
const MAX_STEM: usize = 24;

/// The function of a device that has a media device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaFunction {
    /// Compressed to pictures.
    Decoder,
    /// Pictures to compressed.
    Encoder,
    /// Pictures to pictures.
    Scaler,
    /// A USB webcam.
    Webcam,
}

impl MediaFunction {
    /// Returns the function of a memory-to-memory device's driver, from its input and output formats.
    #[must_use]
    pub fn of<D: VideoDriver + ?Sized>(driver: &D) -> Self {
        let compressed = |flow| {
            let mut formats = driver.formats(flow).iter();
            formats.any(|format| format.is_compressed())
        };
        if compressed(Flow::Output) {
            Self::Decoder
        } else if compressed(Flow::Capture) {
            Self::Encoder
        } else {
            Self::Scaler
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Decoder => sys::MEDIA_ENT_F_PROC_VIDEO_DECODER,
            Self::Encoder => sys::MEDIA_ENT_F_PROC_VIDEO_ENCODER,
            Self::Scaler => sys::MEDIA_ENT_F_PROC_VIDEO_SCALER,
            Self::Webcam => sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_FORMATTER,
        }
    }

    const fn graph(self) -> &'static Graph {
        match self {
            Self::Decoder | Self::Encoder | Self::Scaler => &M2M,
            Self::Webcam => &WEBCAM,
        }
    }
}

/// The media device of a video device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaDevice {
    identity: Identity,
    function: MediaFunction,
    /// The minor number of its video device.
    minor: u32,
    stem: String,
}

impl MediaDevice {
    /// Returns the media device of the video device with this identity and minor number.
    #[must_use]
    pub fn new(identity: &Identity, function: MediaFunction, minor: u32) -> Self {
        let mut end = identity.card.len().min(MAX_STEM);
        while !identity.card.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            identity: identity.clone(),
            function,
            minor,
            stem: identity.card.get(..end).unwrap_or_default().to_owned(),
        }
    }

    /// Returns the identity of its video device. The model is the card.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    const fn graph(&self) -> &'static Graph {
        self.function.graph()
    }

    fn name_of(&self, entity: &Entity) -> String {
        match entity.name {
            Name::Card => self.identity.card.clone(),
            Name::Ending(ending) => format!("{}-{ending}", self.stem),
            Name::Whole(name) => name.to_owned(),
        }
    }

    const fn function_of(&self, entity: &Entity) -> u32 {
        match entity.kind {
            Kind::Node => sys::MEDIA_ENT_F_IO_V4L,
            Kind::Processor => self.function.number(),
            Kind::Subdevice(function) => function,
        }
    }
}
