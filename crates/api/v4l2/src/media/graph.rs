//! The graphs of media devices: entities, pads and links with their ids.
//!
//! Source: Linux 7.2 `v4l2_m2m_register_media_controller`, drivers/media/usb/uvc/uvc_entity.c and
//! drivers/media/mc/mc-device.c.

use crate::graph::{EntityNode, Topology};
use crate::sys;

/// Types of objects. They are in the upper bits of the objects' ids.
const PAD: u32 = 1 << 24;
const LINK: u32 = 2 << 24;
const INTERFACE: u32 = 3 << 24;

const SINK: u32 = sys::MEDIA_PAD_FL_SINK;
const SOURCE: u32 = sys::MEDIA_PAD_FL_SOURCE;

/// The objects of a media device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Graph {
    pub(super) entities: Vec<Entity>,
    pub(super) links: Vec<Link>,
    pub(super) interfaces: Vec<Interface>,
    /// Ancillary links: id of the link, and ids of both entities.
    pub(super) ancillary: Vec<(u32, u32, u32)>,
    /// Number of ids assigned so far.
    pub(super) version: u32,
}

/// The device node of one or several entities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) id: u32,
    /// `MEDIA_INTF_T_*`.
    pub(super) kind: u32,
    /// Interface links: id of the link, and id of the entity.
    pub(super) links: Vec<(u32, u32)>,
}

/// An entity with an id and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) id: u32,
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) flags: u32,
    pub(super) pads: Vec<Pad>,
}

/// How an entity's name is formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The name of the device.
    Card,
    /// The name of the device with this suffix.
    Ending(&'static str),
    /// Exactly this name.
    Whole(&'static str),
}

/// Kind of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An I/O entity of the video node.
    Node,
    /// The processor of a memory-to-memory device.
    Processor,
    /// A subdevice without a node, with this `MEDIA_ENT_F_*`.
    Subdevice(u32),
}

/// A pad of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pad {
    pub(super) id: u32,
    pub(super) index: u16,
    pub(super) flags: u32,
}

/// A data link between two pads. Each end is the index of an entity and the index of its pad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) id: u32,
    pub(super) source: (usize, usize),
    pub(super) sink: (usize, usize),
}

/// An end of a data link: an entity and its pad.
pub(super) type End<'a> = (&'a Entity, &'a Pad);

impl Graph {
    /// Returns the entity and pad at an end of a link, given their indices.
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

    /// Returns the next id. As on Linux, objects get ids in the order of registration.
    const fn number(&mut self) -> u32 {
        self.version += 1;
        self.version
    }

    /// Adds an entity without pads. Returns its index.
    fn entity(&mut self, name: Name, kind: Kind) -> usize {
        let id = self.number();
        self.entities.push(Entity {
            id,
            name,
            kind,
            flags: 0,
            pads: Vec::new(),
        });
        self.entities.len() - 1
    }

    /// Adds pads with these flags to an entity.
    fn pads(&mut self, entity: usize, all: impl IntoIterator<Item = u32>) {
        for (index, flags) in (0..).zip(all) {
            let id = PAD | self.number();
            let entity = self.entities.get_mut(entity);
            entity.into_iter().for_each(|entity| {
                entity.pads.push(Pad { id, index, flags });
            });
        }
    }

    /// Adds a data link. The link and its backlink each get an id.
    fn link(&mut self, source: (usize, usize), sink: (usize, usize)) {
        let id = LINK | self.number();
        self.number();
        self.links.push(Link { id, source, sink });
    }

    /// Adds the node of one or several entities.
    fn node(&mut self, kind: u32, entities: &[usize]) {
        let id = INTERFACE | self.number();
        let entities = entities.iter();
        let links = entities.map(|entity| (LINK | self.number(), self.id(*entity)));
        let links = links.collect();
        self.interfaces.push(Interface { id, kind, links });
    }

    fn id(&self, entity: usize) -> u32 {
        self.entities.get(entity).map_or(0, |entity| entity.id)
    }

    /// Returns a memory-to-memory device: a source, a processor and a sink.
    /// The video node is the interface of the source and of the sink.
    pub(super) fn mem2mem() -> Self {
        let mut graph = Self::default();
        let source = graph.entity(Name::Ending("source"), Kind::Node);
        graph.pads(source, [SOURCE]);
        let processor = graph.entity(Name::Ending("proc"), Kind::Processor);
        graph.pads(processor, [SINK, SOURCE]);
        let sink = graph.entity(Name::Ending("sink"), Kind::Node);
        graph.pads(sink, [SINK]);
        graph.link((source, 0), (processor, 0));
        graph.link((processor, 1), (sink, 0));
        graph.node(sys::MEDIA_INTF_T_V4L_VIDEO, &[source, sink]);
        graph
    }

    /// Returns a USB webcam: a camera, a processing unit, the video node and the metadata node.
    pub(super) fn webcam() -> Self {
        let mut graph = Self::default();
        let video = graph.entity(Name::Card, Kind::Node);
        graph.node(sys::MEDIA_INTF_T_V4L_VIDEO, &[video]);
        let metadata = graph.entity(Name::Card, Kind::Node);
        graph.node(sys::MEDIA_INTF_T_V4L_VIDEO, &[metadata]);
        graph.pads(video, [SINK]);
        let function = sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_FORMATTER;
        let unit = graph.entity(Name::Whole("Processing 2"), Kind::Subdevice(function));
        graph.pads(unit, [SINK, SOURCE]);
        let function = sys::MEDIA_ENT_F_CAM_SENSOR;
        let camera = graph.entity(Name::Whole("Camera 1"), Kind::Subdevice(function));
        graph.pads(camera, [SOURCE]);
        graph.link((unit, 1), (video, 0));
        graph.link((camera, 0), (unit, 0));
        if let Some(video) = graph.entities.get_mut(video) {
            video.flags = sys::MEDIA_ENT_FL_DEFAULT;
        }
        graph
    }

    /// Returns the objects of a table: each entity with its pads, and with its interface if it is a
    /// video node; then links; then subdevices' interfaces.
    pub(super) fn of(topology: &'static Topology) -> Self {
        let mut graph = Self::default();
        for spec in topology.entities {
            let kind = match spec.node {
                EntityNode::Video => Kind::Node,
                EntityNode::Subdevice => Kind::Subdevice(spec.function),
            };
            let entity = graph.entity(Name::Whole(spec.name), kind);
            graph.pads(entity, spec.pads.iter().map(|pad| pad.flags));
            if spec.node == EntityNode::Video {
                graph.node(sys::MEDIA_INTF_T_V4L_VIDEO, &[entity]);
            }
        }
        let end = |(entity, pad): (usize, u16)| (entity, usize::from(pad));
        for of in topology.links {
            graph.link(end(of.source), end(of.sink));
        }
        for (from, to) in topology.ancillary {
            let link = LINK | graph.number();
            let ends = (graph.id(*from), graph.id(*to));
            graph.ancillary.push((link, ends.0, ends.1));
        }
        for (entity, spec) in topology.entities.iter().enumerate() {
            if spec.node == EntityNode::Subdevice {
                graph.node(sys::MEDIA_INTF_T_V4L_SUBDEV, &[entity]);
            }
        }
        graph
    }
}
