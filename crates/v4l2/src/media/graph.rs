//! The graphs of media devices: entities, pads and links.
//!
//! Source: Linux 7.2 `v4l2_m2m_register_media_controller`, drivers/media/usb/uvc/uvc_entity.c and
//! drivers/media/mc/mc-device.c, differs: a topology is constant, so its parts are tables. A webcam
//! has no metadata node.

use crate::sys;

/// The topology of a media device. Its one interface is the video node.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) entities: &'static [Entity],
    pub(super) links: &'static [Link],
    /// The id of the interface.
    pub(super) interface: u32,
    /// Links from the interface to entities, by number.
    pub(super) interface_links: &'static [(u32, u32)],
    /// Number of assigned ids.
    pub(super) version: u64,
}

/// A part.
#[derive(Debug)]
pub(super) struct Entity {
    pub(super) id: u32,
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) flags: u32,
    pub(super) pads: &'static [Pad],
}

/// An entity's name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name {
    /// The device's.
    Card,
    /// The device's, with this ending.
    Ending(&'static str),
    /// This one.
    Whole(&'static str),
}

/// Kind of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An I/O entity of the video node.
    Node,
    /// The processor of a memory-to-memory device.
    Processor,
    /// A subdevice without a node, of this function.
    Subdevice(u32),
}

/// An end of links.
#[derive(Debug)]
pub(super) struct Pad {
    pub(super) id: u32,
    pub(super) index: u16,
    pub(super) flags: u32,
}

/// A data link between two pads, by their indices.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: u32,
    pub(super) source: (usize, usize),
    pub(super) sink: (usize, usize),
}

/// An end of a link.
pub(super) type End = (&'static Entity, &'static Pad);

impl Graph {
    /// Returns the entity and pad at an index of its links.
    pub(super) fn at(&self, (entity, pad): (usize, usize)) -> Option<End> {
        let entity = self.entities.get(entity)?;
        Some((entity, entity.pads.get(pad)?))
    }

    /// Returns the links that leave an entity.
    pub(super) fn links_of(&self, id: u32) -> impl Iterator<Item = (&'static Link, End, End)> {
        self.links.iter().filter_map(move |link| {
            let (source, sink) = (self.at(link.source)?, self.at(link.sink)?);
            (source.0.id == id).then_some((link, source, sink))
        })
    }
}

/// Object ids as Linux assigns them, in the order of registration.
const PAD: u32 = 1 << 24;
const LINK: u32 = 2 << 24;
const INTERFACE: u32 = 3 << 24;

const SINK: u32 = sys::MEDIA_PAD_FL_SINK;
const SOURCE: u32 = sys::MEDIA_PAD_FL_SOURCE;

const fn pad(id: u32, index: u16, flags: u32) -> Pad {
    Pad {
        id: PAD | id,
        index,
        flags,
    }
}

const fn link(id: u32, source: (usize, usize), sink: (usize, usize)) -> Link {
    Link {
        id: LINK | id,
        source,
        sink,
    }
}

const fn entity(id: u32, name: Name, kind: Kind, pads: &'static [Pad]) -> Entity {
    Entity {
        id,
        name,
        kind,
        flags: 0,
        pads,
    }
}

/// A memory-to-memory device: a source, a processor and a sink. The video node is the interface of
/// both ends. Each link takes two numbers, since its backlink has one.
pub(super) static M2M: Graph = Graph {
    entities: &[
        entity(1, Name::Ending("source"), Kind::Node, &[pad(2, 0, SOURCE)]),
        entity(
            3,
            Name::Ending("proc"),
            Kind::Processor,
            &[pad(4, 0, SINK), pad(5, 1, SOURCE)],
        ),
        entity(6, Name::Ending("sink"), Kind::Node, &[pad(7, 0, SINK)]),
    ],
    links: &[link(8, (0, 0), (1, 0)), link(10, (1, 1), (2, 0))],
    interface: INTERFACE | 12,
    interface_links: &[(LINK | 13, 1), (LINK | 14, 6)],
    version: 14,
};

/// A USB webcam: a camera, a processing unit and the video node.
pub(super) static WEBCAM: Graph = Graph {
    entities: &[
        Entity {
            flags: sys::MEDIA_ENT_FL_DEFAULT,
            ..entity(1, Name::Card, Kind::Node, &[pad(4, 0, SINK)])
        },
        entity(
            5,
            Name::Whole("Processing 2"),
            Kind::Subdevice(sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_FORMATTER),
            &[pad(6, 0, SINK), pad(7, 1, SOURCE)],
        ),
        entity(
            8,
            Name::Whole("Camera 1"),
            Kind::Subdevice(sys::MEDIA_ENT_F_CAM_SENSOR),
            &[pad(9, 0, SOURCE)],
        ),
    ],
    links: &[link(10, (1, 1), (0, 0)), link(12, (2, 0), (1, 0))],
    interface: INTERFACE | 2,
    interface_links: &[(LINK | 3, 1)],
    version: 13,
};
