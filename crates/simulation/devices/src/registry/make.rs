//! Makes the devices of nodes.

use super::Made;
use crate::Failure;
use crate::camera::{Camera, CameraChoice};
use crate::display::Display;
use crate::graph::GraphNode;
use crate::loopback::{LoopbackCapture, LoopbackNode, LoopbackOutput};
use crate::m2m::{Decoder, Encoder, FrameConverter, StatelessDecoder};
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
        NodePart::Loopback(link, None) => match LoopbackNode::new(settings, link, is_exclusive) {
            Ok(node) => Ok(Box::new(node)),
            Err(failure) => Err(failure),
        },
        NodePart::Entity(graph, entity) => match GraphNode::new(settings, (graph, *entity)) {
            Ok(node) => Ok(Box::new(node)),
            Err(failure) => Err(failure),
        },
        NodePart::Whole | NodePart::Pictures(_) => return None,
    })
}

/// Makes the device of a codec.
pub(super) fn codec<C: Send + 'static>(kind: Kind, settings: &Settings) -> Made<C> {
    Ok(match (kind.encodes(), kind.is_stateless()) {
        (true, _) => Box::new(Encoder::new(settings, kind)?),
        (false, true) => Box::new(StatelessDecoder::new(settings, kind)?),
        (false, false) => Box::new(Decoder::new(settings, kind)?),
    })
}

/// Refuses to make a device: it has no node of its own, or several.
pub(super) fn no_node<C>(node: &NodeSpec, _: &Settings) -> Made<C> {
    let kind = node.kind.name();
    Err(Failure::new(format!(
        "{kind} is no device with one video node"
    )))
}

fn camera_of<C>(node: &NodeSpec, settings: &Settings) -> Result<Camera<C>, Failure> {
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

pub(super) fn boxed_camera<C: Send + 'static>(node: &NodeSpec, settings: &Settings) -> Made<C> {
    Ok(Box::new(camera_of(node, settings)?))
}

fn display_of<C>(node: &NodeSpec, settings: &Settings) -> Result<Display<C>, Failure> {
    match &node.kind {
        DeviceKind::Display { sink } => Display::new(settings, sink),
        _ => Err(Failure::new("the device is no display")),
    }
}

pub(super) fn boxed_display<C: Send + 'static>(node: &NodeSpec, settings: &Settings) -> Made<C> {
    Ok(Box::new(display_of(node, settings)?))
}

pub(super) fn boxed_converter<C: Send + 'static>(_: &NodeSpec, settings: &Settings) -> Made<C> {
    Ok(Box::new(FrameConverter::new(settings)?))
}

/// Makes devices for tests that look into them.
#[cfg(test)]
pub(crate) mod for_tests {
    use super::{Camera, Display, Failure, NodeSpec, Settings, camera_of, display_of};
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
        camera_of(node, &settings(node, host))
    }

    pub(crate) fn display<C>(node: &NodeSpec, host: &HostSettings) -> Result<Display<C>, Failure> {
        display_of(node, &settings(node, host))
    }
}
