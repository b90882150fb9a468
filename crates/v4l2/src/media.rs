//! The media device of a memory-to-memory device, with its entities, pads and links.
//!
//! Programs find out from it whether a device decodes, encodes or scales. The entities are always the
//! same: a source, a processor, a sink, and one video node that is the interface of both ends.
//!
//! Source: Linux 7.2 `v4l2_m2m_register_media_controller` and drivers/media/mc/mc-device.c, differs:
//! the topology is constant, so entities and links are tables.

mod calls;

use crate::{Flow, Identity, VideoDriver, sys};

/// The major number of media devices. Linux assigns it dynamically; this one is the last choice.
pub const MEDIA_MAJOR: u32 = 384;
/// The major number of video devices.
pub(crate) const VIDEO_MAJOR: u32 = 81;

/// Most bytes of an entity's name before its suffix, so that truncated names still differ.
const MAX_STEM: usize = 24;

/// The function of a memory-to-memory device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaFunction {
    /// Compressed to pictures.
    Decoder,
    /// Pictures to compressed.
    Encoder,
    /// Pictures to pictures.
    Scaler,
}

impl MediaFunction {
    /// Returns a driver's function, from its input and output formats.
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
        }
    }
}

/// The media device of a memory-to-memory device.
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

    /// Returns its location without the kind of bus: `vb3-000`.
    #[must_use]
    pub fn place(&self) -> &str {
        let bus_info = &self.identity.bus_info;
        bus_info.split_once(':').map_or(bus_info, |(_, at)| at)
    }

    /// Returns its model name in sysfs.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.identity.card
    }

    fn name_of(&self, entity: &Entity) -> String {
        format!("{}-{}", self.stem, entity.ending)
    }

    const fn function_of(&self, entity: &Entity) -> u32 {
        if entity.is_node {
            sys::MEDIA_ENT_F_IO_V4L
        } else {
            self.function.number()
        }
    }
}

/// A part.
struct Entity {
    id: u32,
    ending: &'static str,
    /// Whether it is an I/O entity of the video node.
    is_node: bool,
    pads: &'static [Pad],
}

/// An end of links.
struct Pad {
    id: u32,
    index: u16,
    flags: u32,
}

/// A data link between two pads, by their indices.
struct Link {
    id: u32,
    source: (usize, usize),
    sink: (usize, usize),
}

/// Object ids as Linux assigns them, in the order of registration.
const PAD: u32 = 1 << 24;
const LINK: u32 = 2 << 24;
const INTERFACE: u32 = 3 << 24 | 12;

const fn pad(id: u32, index: u16, flags: u32) -> Pad {
    Pad {
        id: PAD | id,
        index,
        flags,
    }
}

static ENTITIES: [Entity; 3] = [
    Entity {
        id: 1,
        ending: "source",
        is_node: true,
        pads: &[pad(2, 0, sys::MEDIA_PAD_FL_SOURCE)],
    },
    Entity {
        id: 3,
        ending: "proc",
        is_node: false,
        pads: &[
            pad(4, 0, sys::MEDIA_PAD_FL_SINK),
            pad(5, 1, sys::MEDIA_PAD_FL_SOURCE),
        ],
    },
    Entity {
        id: 6,
        ending: "sink",
        is_node: true,
        pads: &[pad(7, 0, sys::MEDIA_PAD_FL_SINK)],
    },
];

/// Each link takes two numbers, since its backlink has one.
static LINKS: [Link; 2] = [
    Link {
        id: LINK | 8,
        source: (0, 0),
        sink: (1, 0),
    },
    Link {
        id: LINK | 10,
        source: (1, 1),
        sink: (2, 0),
    },
];

/// Links from the interface to entities, by number.
static INTERFACE_LINKS: [(u32, u32); 2] = [(LINK | 13, 1), (LINK | 14, 6)];

/// Number of assigned ids: the topology version.
const TOPOLOGY_VERSION: u64 = 14;

const FIXED: u32 = sys::MEDIA_LNK_FL_ENABLED | sys::MEDIA_LNK_FL_IMMUTABLE;

/// Returns the entity and pad at an index of [`LINKS`].
fn at((entity, pad): (usize, usize)) -> Option<(&'static Entity, &'static Pad)> {
    let entity = ENTITIES.get(entity)?;
    Some((entity, entity.pads.get(pad)?))
}
