//! The host's settings for devices.

use crate::spec::DeviceSpec;
use vb3_codec::Codecs;
use vb3_v4l2::{Identity, QueuePolicy};

/// The host's settings for a device: its bus, memory options and codecs.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// `bus_info` of QUERYCAP, e.g. `platform:vb3-000`.
    pub bus_info: String,
    /// Whether the device offers USERPTR if its SPEC leaves this open.
    pub userptr: bool,
    /// The codecs that devices may use.
    pub codecs: Codecs,
}

/// Returns a device's identity. `card` is the card's name unless the SPEC has one.
pub(crate) fn identity(spec: &DeviceSpec, place: &HostSettings, card: &str) -> Identity {
    let like = spec.like.as_ref().map(|like| like.file().device.get_ref());
    let driver = match (like, spec.usb_id(), spec.graph()) {
        _ if spec.is_v4l2loopback() => "v4l2 loopback",
        (Some(device), ..) => device.driver.as_str(),
        (None, Some(_), _) => "uvcvideo",
        (None, None, Some((graph, _))) => graph.topology().driver,
        (None, None, None) => "videobuf3",
    };
    Identity {
        driver: driver.to_owned(),
        card: spec.name.clone().unwrap_or_else(|| card.to_owned()),
        bus_info: place.bus_info.clone(),
    }
}

/// Returns the policy of a device's queue, from its SPEC and the host.
pub(crate) fn policy(spec: &DeviceSpec, place: &HostSettings) -> QueuePolicy {
    let defaults = QueuePolicy::default();
    QueuePolicy {
        userptr: spec.userptr.unwrap_or(place.userptr),
        cache_hints: spec.hints,
        file_io: (spec.like.as_ref())
            .map_or(defaults.file_io, |like| like.file().device.get_ref().read),
        admission: spec.admission,
        min_queued: spec.min_queued,
        max_buffers: spec.max_buffers.unwrap_or(defaults.max_buffers),
        ..defaults
    }
}
