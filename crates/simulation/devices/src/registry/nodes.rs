//! The nodes of devices.

use crate::Failure;
use crate::camera::default_card;
use crate::choice::{Allocator, DeviceIdentity};
use crate::colors::COLOR;
use crate::loopback;
use crate::metadata::MetadataLink;
use crate::node::{NodePart, NodeSpec};
use crate::settings::{first_format, no_such_format};
use crate::spec::{DeviceKind, DeviceSpec};
use vb3_picture::Size;
use vb3_v4l2::{EntityNode, EntitySpec, Flow, FourCc, Fraction, MediaGraph, Topology};

impl DeviceSpec {
    /// Returns a device's nodes: itself, a loopback's OUTPUT and CAPTURE nodes, or a graph's nodes.
    ///
    /// # Errors
    /// Fails for an unsupported format, with a message for the user.
    pub fn nodes(&self) -> Result<Vec<NodeSpec>, Failure> {
        match &self.kind {
            DeviceKind::Loopback { .. } => of_loopback(self),
            DeviceKind::Graph(topology) => Ok(of_graph(self, topology)),
            _ => Ok(vec![self.clone().into()]),
        }
    }
}

/// Returns a loopback's nodes: its OUTPUT node and its CAPTURE nodes, or one node for both.
/// Fails for an unsupported format, with a message for the user.
fn of_loopback(spec: &DeviceSpec) -> Result<Vec<NodeSpec>, Failure> {
    let DeviceKind::Loopback {
        readers,
        placeholder,
        ..
    } = &spec.kind
    else {
        return Ok(Vec::new());
    };
    let pixels = spec.pixel_formats();
    let (wanted, size) = (spec.format.unwrap_or(FourCc::YUYV), spec.size);
    let size = size.unwrap_or(Size::nearest(640, 480));
    let format = first_format(&pixels, wanted, size, spec.stride.unwrap_or(1));
    let failure = || no_such_format(spec.kind.name(), spec.format, &pixels);
    let mut format = format.ok_or_else(failure)?;
    format.color = COLOR;
    let rate = spec.fps.unwrap_or(Fraction::new(30, 1));
    let interval = Fraction::new(rate.denominator, rate.numerator);
    let is_single = spec.is_v4l2loopback();
    let link = loopback::link(format, interval, placeholder.as_ref(), is_single)?;
    let node = |number: u32, flow| NodeSpec {
        spec: DeviceSpec {
            node: spec.node.map(|first| first.saturating_add(number)),
            ..spec.clone()
        },
        part: NodePart::Loopback(link.clone(), flow),
    };
    if is_single {
        return Ok(vec![node(0, None)]);
    }
    let mut nodes = vec![node(0, Some(Flow::Output))];
    nodes.extend((1..=*readers).map(|number| node(number, Some(Flow::Capture))));
    Ok(nodes)
}

/// Returns the nodes of a graph: video nodes first, then subdevices.
fn of_graph(spec: &DeviceSpec, topology: &'static Topology) -> Vec<NodeSpec> {
    let graph = MediaGraph::new(topology);
    let entities = topology.entities.iter().enumerate();
    let (videos, subdevs): (Vec<_>, Vec<_>) =
        entities.partition(|(_, entity)| entity.node == EntityNode::Video);
    let first = |entity: &EntitySpec| spec.node.filter(|_| entity.node == EntityNode::Video);
    let all = videos.into_iter().chain(subdevs).zip(0..);
    all.map(|((entity, known), number)| NodeSpec {
        spec: DeviceSpec {
            node: first(known).map(|first| first.saturating_add(number)),
            ..spec.clone()
        },
        part: NodePart::Entity(graph.clone(), entity),
    })
    .collect()
}

impl NodeSpec {
    /// Adds a metadata node to a USB webcam. Returns the node; `None` for other devices.
    #[must_use]
    pub fn metadata_node(&mut self) -> Option<Self> {
        let usb = self.usb_id()?;
        let link = MetadataLink::default();
        self.part = NodePart::Pictures(link.clone());
        let name = self.name.clone();
        let name = name.or_else(|| match &self.kind {
            DeviceKind::Camera { input, source, .. } => {
                Some(default_card(*input, source).to_owned())
            }
            _ => None,
        });
        let spec = DeviceSpec {
            usb: Some(usb),
            identity: Some(DeviceIdentity::Uvc),
            name,
            like: self.like.clone(),
            bus_info: self.bus_info.clone(),
            // Like uvcvideo, the driver copies headers from USB packets to memory that no device reaches.
            allocator: Some(Allocator::Vmalloc),
            sram: Some(0),
            ..DeviceSpec::new(self.kind.clone(), false)
        };
        let part = NodePart::Metadata(link);
        Some(Self { spec, part })
    }
}
