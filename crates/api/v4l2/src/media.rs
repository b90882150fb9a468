//! Media devices, with their entities, pads and links.
//!
//! Programs learn from a media device whether a video device decodes, encodes or scales. libcamera finds
//! webcams by media devices.

mod calls;
mod graph;

use crate::{Flow, Identity, MediaGraph, VideoDriver, sys};
use graph::{Entity, Graph, Kind, Name};

/// The major number of media devices. Linux assigns it only after all other dynamic numbers.
pub const MEDIA_MAJOR: u32 = 384;
/// The major number of video devices.
pub(crate) const VIDEO_MAJOR: u32 = 81;

/// Maximum number of bytes of an entity's name before its suffix. Longer names are cut there, so that the
/// suffix stays whole.
const MAX_STEM: usize = 24;

/// The function of a video device that has a media device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaFunction {
    /// Compressed data to pictures.
    Decoder,
    /// Pictures to compressed data.
    Encoder,
    /// Pictures to pictures.
    Scaler,
    /// A USB webcam.
    Webcam,
}

impl MediaFunction {
    /// Returns the function of a memory-to-memory device, judged by its driver's input and output formats.
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

    fn graph(self) -> Graph {
        match self {
            Self::Decoder | Self::Encoder | Self::Scaler => Graph::mem2mem(),
            Self::Webcam => Graph::webcam(),
        }
    }
}

/// The media device that one or several nodes belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaDevice {
    identity: Identity,
    /// The function of the processor entity.
    function: u32,
    /// The minor numbers of the interfaces, in the interfaces' order.
    minors: Vec<u32>,
    stem: String,
    graph: Graph,
    /// The graph's state, if programs can change it; `None` for a fixed graph.
    state: Option<MediaGraph>,
}

impl MediaDevice {
    /// Returns the media device of a video device with this identity.
    /// `minors` are those of its nodes. A webcam has a node for pictures, then one for metadata.
    #[must_use]
    pub fn new(identity: &Identity, function: MediaFunction, minors: Vec<u32>) -> Self {
        let mut end = identity.card.len().min(MAX_STEM);
        while !identity.card.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            identity: identity.clone(),
            function: function.number(),
            minors,
            stem: identity.card.get(..end).unwrap_or_default().to_owned(),
            graph: function.graph(),
            state: None,
        }
    }

    /// Returns the media device of a graph. `minors` are those of video nodes, then of subdevices, in
    /// the order of entities.
    #[must_use]
    pub fn of_graph(state: MediaGraph, minors: Vec<u32>) -> Self {
        let topology = state.topology();
        Self {
            identity: Identity {
                driver: topology.driver.to_owned(),
                card: topology.model.to_owned(),
                bus_info: topology.bus_info.to_owned(),
                ..Identity::default()
            },
            function: 0,
            minors,
            stem: String::new(),
            graph: Graph::of(topology),
            state: Some(state),
        }
    }

    /// Returns the identity of the video device. `card` is also the model of the media device.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the flags of a data link.
    fn link_flags(&self, link: usize) -> u32 {
        let state = self.state.as_ref();
        let flags = state.and_then(|state| state.link_flags(link));
        flags.unwrap_or(sys::MEDIA_LNK_FL_ENABLED | sys::MEDIA_LNK_FL_IMMUTABLE)
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
            Kind::Processor => self.function,
            Kind::Subdevice(function) => function,
        }
    }
}
