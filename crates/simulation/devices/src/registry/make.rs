//! Makes the devices of nodes.

use super::{Made, boxed};
use crate::Failure;
use crate::camera::{Camera, CameraChoice};
use crate::display::Display;
use crate::graph::GraphNode;
use crate::loopback::{LoopbackCapture, LoopbackNode, LoopbackOutput};
use crate::m2m::{Decoder, Encoder, StatelessDecoder};
use crate::metadata::Metadata;
use crate::node::{NodePart, NodeSpec};
use crate::settings::Settings;
use crate::spec::DeviceKind;
use vb3_codec::Kind;
use vb3_v4l2::Flow;

/// Makes the device of a node that is a part of its device; `None` for a device with one node.
pub(super) fn part<C: Send + 'static>(node: &NodeSpec, settings: &Settings) -> Option<Made<C>> {
    let is_exclusive = matches!(
        node.kind,
        DeviceKind::Loopback {
            exclusive: true,
            ..
        }
    );
    Some(match &node.part {
        NodePart::Metadata(link) => Ok(Box::new(Metadata::new(settings, link))),
        NodePart::Loopback(link, Some(Flow::Output)) => {
            Ok(Box::new(LoopbackOutput::new(settings, link, false)))
        }
        NodePart::Loopback(link, Some(Flow::Capture)) => {
            Ok(Box::new(LoopbackCapture::new(settings, link, is_exclusive)))
        }
        NodePart::Loopback(link, None) => boxed(LoopbackNode::new(settings, link, is_exclusive)),
        NodePart::Entity(graph, entity) => boxed(GraphNode::new(settings, (graph, *entity))),
        NodePart::Whole | NodePart::Pictures(_) => return None,
    })
}

/// Makes the device of a codec.
pub(super) fn codec<C: Send + 'static>(kind: Kind, settings: &Settings) -> Made<C> {
    match (kind.encodes(), kind.is_stateless()) {
        (true, _) => boxed(Encoder::new(settings, kind)),
        (false, true) => boxed(StatelessDecoder::new(settings, kind)),
        (false, false) => boxed(Decoder::new(settings, kind)),
    }
}

/// Makes a camera.
pub(super) fn camera<C>(node: &NodeSpec, settings: &Settings) -> Result<Camera<C>, Failure> {
    let DeviceKind::Camera { source, end, input } = &node.kind else {
        return Err(Failure::new("the device is no camera"));
    };
    let choice = CameraChoice {
        source,
        end: *end,
        input: *input,
        timings: node.hdmi_mode(),
        metadata: match &node.part {
            NodePart::Pictures(link) => Some(link.clone()),
            _ => None,
        },
    };
    Camera::new(settings, choice)
}

/// Makes a display.
pub(super) fn display<C>(node: &NodeSpec, settings: &Settings) -> Result<Display<C>, Failure> {
    match &node.kind {
        DeviceKind::Display { sink } => Display::new(settings, sink),
        _ => Err(Failure::new("the device is no display")),
    }
}

/// Makes devices for tests that look into them.
#[cfg(test)]
pub(crate) mod for_tests {
    use super::{Camera, Display, Failure, NodeSpec, Settings};
    use crate::settings::HostSettings;
    use crate::spec::DeviceSpec;
    use vb3_v4l2::Timings;

    pub(crate) fn settings(node: &NodeSpec, host: &HostSettings) -> Settings {
        crate::registry::settings::of(node, host)
    }

    pub(crate) fn hdmi_mode(spec: &DeviceSpec) -> Option<&'static Timings> {
        spec.hdmi_mode()
    }

    pub(crate) fn camera<C>(node: &NodeSpec, host: &HostSettings) -> Result<Camera<C>, Failure> {
        super::camera(node, &settings(node, host))
    }

    pub(crate) fn display<C>(node: &NodeSpec, host: &HostSettings) -> Result<Display<C>, Failure> {
        super::display(node, &settings(node, host))
    }
}
