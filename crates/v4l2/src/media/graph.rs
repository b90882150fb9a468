//! The graphs of media devices: entities, pads and links with their ids.
//!
//! Source: Linux 7.2 `v4l2_m2m_register_media_controller`, drivers/media/usb/uvc/uvc_entity.c and
//! drivers/media/mc/mc-device.c, differs: a topology is constant, so its parts are tables.

use crate::graph::{EntityNode, EntitySpec, Topology};
use crate::sys;
use std::borrow::Cow;

/// The objects of a media device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Graph {
    pub(super) entities: Cow<'static, [Entity]>,
    pub(super) links: Cow<'static, [Link]>,
    pub(super) interfaces: Cow<'static, [Interface]>,
    /// Ancillary links: id and the ids of both entities.
    pub(super) ancillary: Cow<'static, [(u32, u32, u32)]>,
    /// Number of assigned ids.
    pub(super) version: u64,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) id: u32,
    /// `MEDIA_INTF_T_*`.
    pub(super) kind: u32,
    /// Its links: ids of link and entity.
    pub(super) links: Cow<'static, [(u32, u32)]>,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) id: u32,
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) flags: u32,
    pub(super) pads: Cow<'static, [Pad]>,
}

/// An entity's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pad {
    pub(super) id: u32,
    pub(super) index: u16,
    pub(super) flags: u32,
}

/// A data link between two pads, by their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) id: u32,
    pub(super) source: (usize, usize),
    pub(super) sink: (usize, usize),
}

/// An end of a link.
pub(super) type End<'a> = (&'a Entity, &'a Pad);

impl Graph {
    /// Returns the entity and pad at an index of its links.
    pub(super) fn at(&self, (entity, pad): (usize, usize)) -> Option<End<'_>> {
        let entity = self.entities.get(entity)?;
        Some((entity, entity.pads.get(pad)?))
    }

    /// Returns the links that leave an entity, with their indices.
    pub(super) fn links_of(&self, id: u32) -> impl Iterator<Item = (usize, End<'_>, End<'_>)> {
        self.links
            .iter()
            .enumerate()
            .filter_map(move |(index, link)| {
                let (source, sink) = (self.at(link.source)?, self.at(link.sink)?);
                (source.0.id == id).then_some((index, source, sink))
            })
    }

    /// Returns the index of the interface of an entity.
    pub(super) fn interface_of(&self, entity: u32) -> Option<usize> {
        let is_it = |of: &Interface| of.links.iter().any(|(_, to)| *to == entity);
        self.interfaces.iter().position(is_it)
    }

    /// Returns the objects of a table, with ids in the order of registration: each entity with its
    /// pads, and with its interface if it is a video node; then links; then subdevices' interfaces.
    pub(super) fn of(topology: &'static Topology) -> Self {
        let mut ids = 0;
        let mut next = || {
            ids += 1;
            ids
        };
        let mut interfaces = Vec::new();
        let mut interface = |next: &mut dyn FnMut() -> u32, kind, entity| {
            let id = INTERFACE | next();
            let links = Cow::Owned(vec![(LINK | next(), entity)]);
            interfaces.push(Interface { id, kind, links });
        };
        let mut entities = Vec::new();
        for spec in topology.entities {
            let id = next();
            let pads = spec.pads.iter().zip(0..);
            let pads = pads
                .map(|(of, index)| pad(next(), index, of.flags))
                .collect();
            if spec.node == EntityNode::Video {
                interface(&mut next, sys::MEDIA_INTF_T_V4L_VIDEO, id);
            }
            entities.push(Entity {
                id,
                name: Name::Whole(spec.name),
                kind: kind_of(spec),
                flags: 0,
                pads: Cow::Owned(pads),
            });
        }
        let end = |(entity, pad): (usize, u16)| (entity, usize::from(pad));
        let mut links = Vec::new();
        for of in topology.links {
            links.push(link(next(), end(of.source), end(of.sink)));
            // The backlink's.
            next();
        }
        let id = |index: usize| entities.get(index).map_or(0, |entity| entity.id);
        let ancillary = topology.ancillary.iter();
        let ancillary = ancillary.map(|(from, to)| (LINK | next(), id(*from), id(*to)));
        let ancillary = ancillary.collect();
        for (entity, spec) in entities.iter().zip(topology.entities) {
            if spec.node == EntityNode::Subdevice {
                interface(&mut next, sys::MEDIA_INTF_T_V4L_SUBDEV, entity.id);
            }
        }
        Self {
            entities: Cow::Owned(entities),
            links: Cow::Owned(links),
            interfaces: Cow::Owned(interfaces),
            ancillary: Cow::Owned(ancillary),
            version: ids.into(),
        }
    }
}

const fn kind_of(spec: &EntitySpec) -> Kind {
    match spec.node {
        EntityNode::Video => Kind::Node,
        EntityNode::Subdevice => Kind::Subdevice(spec.function),
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
        pads: Cow::Borrowed(pads),
    }
}

const fn video(id: u32, links: &'static [(u32, u32)]) -> Interface {
    Interface {
        id: INTERFACE | id,
        kind: sys::MEDIA_INTF_T_V4L_VIDEO,
        links: Cow::Borrowed(links),
    }
}

/// A memory-to-memory device: a source, a processor and a sink. The video node is the interface of
/// both ends. Each link takes two numbers, since its backlink has one.
pub(super) static M2M: Graph = Graph {
    entities: Cow::Borrowed(&[
        entity(1, Name::Ending("source"), Kind::Node, &[pad(2, 0, SOURCE)]),
        entity(
            3,
            Name::Ending("proc"),
            Kind::Processor,
            &[pad(4, 0, SINK), pad(5, 1, SOURCE)],
        ),
        entity(6, Name::Ending("sink"), Kind::Node, &[pad(7, 0, SINK)]),
    ]),
    links: Cow::Borrowed(&[link(8, (0, 0), (1, 0)), link(10, (1, 1), (2, 0))]),
    interfaces: Cow::Borrowed(&[video(12, &[(LINK | 13, 1), (LINK | 14, 6)])]),
    ancillary: Cow::Borrowed(&[]),
    version: 14,
};

/// A USB webcam: a camera, a processing unit, the video node and the metadata node.
pub(super) static WEBCAM: Graph = Graph {
    entities: Cow::Borrowed(&[
        Entity {
            id: 1,
            name: Name::Card,
            kind: Kind::Node,
            flags: sys::MEDIA_ENT_FL_DEFAULT,
            pads: Cow::Borrowed(&[pad(7, 0, SINK)]),
        },
        entity(4, Name::Card, Kind::Node, &[]),
        entity(
            8,
            Name::Whole("Processing 2"),
            Kind::Subdevice(sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_FORMATTER),
            &[pad(9, 0, SINK), pad(10, 1, SOURCE)],
        ),
        entity(
            11,
            Name::Whole("Camera 1"),
            Kind::Subdevice(sys::MEDIA_ENT_F_CAM_SENSOR),
            &[pad(12, 0, SOURCE)],
        ),
    ]),
    links: Cow::Borrowed(&[link(13, (2, 1), (0, 0)), link(15, (3, 0), (2, 0))]),
    interfaces: Cow::Borrowed(&[video(2, &[(LINK | 3, 1)]), video(5, &[(LINK | 6, 4)])]),
    ancillary: Cow::Borrowed(&[]),
    version: 16,
};
