//! The host's settings for devices.

use crate::spec::{DeviceKind, DeviceSpec};
use vb3_codec::Codecs;
use vb3_v4l2::sys::{V4L2_CAP_META_CAPTURE, V4L2_CAP_VIDEO_CAPTURE};
use vb3_v4l2::{Identity, QueuePolicy};

/// The host's settings for a device: its bus, memory options and codecs.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// `bus_info` of QUERYCAP, e.g. `platform:vb3-000`.
    pub bus_info: String,
    /// The serial number and the revision (`bcdDevice`) of a USB device.
    pub usb: Option<(String, u32)>,
    /// Whether the device offers USERPTR if its SPEC leaves this open.
    pub userptr: bool,
    /// The codecs that devices may use.
    pub codecs: Codecs,
}

/// The driver of USB cameras.
pub(crate) const UVC: &str = "uvcvideo";

/// Returns the name of a device's driver.
fn driver_name(spec: &DeviceSpec) -> &str {
    let like = spec.like.as_ref().map(|like| like.file.device.get_ref());
    match (like, spec.usb_id(), spec.graph()) {
        _ if spec.is_v4l2loopback() => "v4l2 loopback",
        (Some(device), ..) => device.driver.as_str(),
        (None, Some(_), _) => UVC,
        (None, None, Some((graph, _))) => graph.topology().driver,
        (None, None, None) => "videobuf3",
    }
}

/// Returns whether the device poses as a USB webcam, with the driver uvcvideo.
pub(crate) fn is_uvc(spec: &DeviceSpec) -> bool {
    driver_name(spec) == UVC
}

/// Returns a device's identity. `card` is the card's name unless the SPEC has one.
pub(crate) fn identity(spec: &DeviceSpec, place: &HostSettings, card: &str) -> Identity {
    let like = spec.like.as_ref().map(|like| like.file.device.get_ref());
    let (serial, revision) = place.usb.clone().unwrap_or_default();
    let described = like.and_then(|device| device.other_capabilities);
    let other = match &spec.kind {
        // As in uvcvideo, each node has the other one's capability.
        DeviceKind::Metadata { .. } => V4L2_CAP_VIDEO_CAPTURE,
        _ if spec.metadata.is_some() => V4L2_CAP_META_CAPTURE,
        _ => 0,
    };
    Identity {
        driver: driver_name(spec).to_owned(),
        card: spec.name.clone().unwrap_or_else(|| card.to_owned()),
        bus_info: (spec.bus_info.as_ref()).unwrap_or(&place.bus_info).clone(),
        serial,
        revision,
        other_caps: other | described.map_or(0, |caps| caps.0),
    }
}

/// Returns the policy of a device's queue, from its SPEC and the host.
///
/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_queue.c `uvc_queue_init`, for the time of a timestamp, and
/// uvc_v4l2.c `uvc_v4l2_set_streamparm`, for the interval.
pub(crate) fn policy(spec: &DeviceSpec, place: &HostSettings) -> QueuePolicy {
    let defaults = QueuePolicy::default();
    QueuePolicy {
        userptr: spec.userptr.unwrap_or(place.userptr),
        cache_hints: !spec.ignores_hints,
        file_io: (spec.like.as_ref())
            .map_or(defaults.file_io, |like| like.file.device.get_ref().read),
        admission: spec.admission,
        start_of_exposure: is_uvc(spec),
        fixes_interval: is_uvc(spec),
        // Source: Linux 7.2 `uvc_ioctl_ops`.
        removes_buffers: !is_uvc(spec),
        min_queued: spec.min_queued,
        max_buffers: spec.max_buffers.unwrap_or(defaults.max_buffers),
        ..defaults
    }
}
