//! Nodes of devices: which part of a device a node is, and the handles that a device's nodes share.

use crate::choice::SourceSpec;
use crate::loopback::Link;
use crate::metadata::MetadataLink;
use crate::spec::{DeviceKind, DeviceSpec};
use std::ops::{Deref, DerefMut};
use vb3_v4l2::{EntityNode, EntitySpec, Flow, MediaGraph};

/// A node of a device. [`DeviceSpec::nodes`] makes a device's nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// The device, as the user wrote it, with the number of this node.
    pub spec: DeviceSpec,
    pub(crate) part: NodePart,
}

/// The part of a device that a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodePart {
    /// The device has one node.
    Whole,
    /// A webcam's node for pictures, which passes the times of its frames on.
    Pictures(MetadataLink),
    /// A webcam's node for metadata.
    Metadata(MetadataLink),
    /// A node of a loopback, with its direction; `None` for both, with the identity v4l2loopback.
    Loopback(Link, Option<Flow>),
    /// A node of a media graph, with the index of its entity.
    Entity(MediaGraph, usize),
}

impl From<DeviceSpec> for NodeSpec {
    fn from(spec: DeviceSpec) -> Self {
        let part = NodePart::Whole;
        Self { spec, part }
    }
}

impl Deref for NodeSpec {
    type Target = DeviceSpec;

    fn deref(&self) -> &DeviceSpec {
        &self.spec
    }
}

impl DerefMut for NodeSpec {
    fn deref_mut(&mut self) -> &mut DeviceSpec {
        &mut self.spec
    }
}

impl NodeSpec {
    /// Returns the name of the node's kind, for reports.
    #[must_use]
    pub fn name_of_kind(&self) -> &'static str {
        match self.part {
            NodePart::Metadata(_) => "metadata",
            NodePart::Loopback(_, Some(Flow::Output)) => "loopback-output",
            NodePart::Loopback(_, Some(Flow::Capture)) => "loopback-capture",
            _ => self.kind.name(),
        }
    }

    /// Returns the state that the nodes of a loopback share; `None` for other nodes.
    #[must_use]
    pub const fn loopback(&self) -> Option<&Link> {
        match &self.part {
            NodePart::Loopback(link, _) => Some(link),
            _ => None,
        }
    }

    /// Returns the source of a camera's pictures; `None` for other nodes.
    #[must_use]
    pub const fn source(&self) -> Option<&SourceSpec> {
        match (&self.part, &self.spec.kind) {
            (NodePart::Metadata(_), _) => None,
            (_, DeviceKind::Camera { source, .. }) => Some(source),
            _ => None,
        }
    }

    /// Returns the graph of a node, and the index of its entity.
    #[must_use]
    pub const fn graph(&self) -> Option<(&MediaGraph, usize)> {
        match &self.part {
            NodePart::Entity(graph, entity) => Some((graph, *entity)),
            _ => None,
        }
    }

    /// Returns the topology's entry for a node of a graph.
    #[must_use]
    pub fn entity(&self) -> Option<&'static EntitySpec> {
        let (graph, entity) = self.graph()?;
        graph.entity(entity)
    }

    /// Returns whether the node is a subdevice, which has no buffers.
    #[must_use]
    pub fn is_subdevice(&self) -> bool {
        let entity = self.entity();
        entity.is_some_and(|entity| entity.node == EntityNode::Subdevice)
    }
}

#[cfg(test)]
impl std::str::FromStr for NodeSpec {
    type Err = crate::spec::SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<DeviceSpec>().map(Into::into)
    }
}
