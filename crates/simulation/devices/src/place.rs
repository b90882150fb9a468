//! The host's settings for devices.

use crate::node::{NodePart, NodeSpec};
use crate::spec::DeviceSpec;
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

pub(crate) const UVC: &str = "uvcvideo";

/// Returns the name of the driver that a SPEC asks for; `None` for the usual one.
fn driver_asked(spec: &DeviceSpec) -> Option<&str> {
    let like = spec.like.as_ref().map(|like| like.file.device.get_ref());
    match (like, spec.usb_id()) {
        _ if spec.is_v4l2loopback() => Some("v4l2 loopback"),
        (Some(device), _) => Some(device.driver.as_str()),
        (None, usb) => usb.map(|_| UVC),
    }
}

fn driver_name(node: &NodeSpec) -> &str {
    let usual = || {
        let graph = node.graph();
        graph.map_or("videobuf3", |(graph, _)| graph.topology().driver)
    };
    driver_asked(node).unwrap_or_else(usual)
}

/// Returns whether the device poses as a USB webcam, with the driver uvcvideo.
pub(crate) fn is_uvc(spec: &DeviceSpec) -> bool {
    driver_asked(spec) == Some(UVC)
}

/// Returns a device's identity. `card` is the card's name unless the SPEC has one.
pub(crate) fn identity(spec: &NodeSpec, place: &HostSettings, card: &str) -> Identity {
    let like = spec.like.as_ref().map(|like| like.file.device.get_ref());
    let (serial, revision) = place.usb.clone().unwrap_or_default();
    let described = like.and_then(|device| device.other_capabilities);
    // As in uvcvideo, each node has the other one's capability.
    let other = match &spec.part {
        NodePart::Metadata(_) => V4L2_CAP_VIDEO_CAPTURE,
        NodePart::Pictures(_) => V4L2_CAP_META_CAPTURE,
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
pub(crate) fn policy(spec: &NodeSpec, place: &HostSettings) -> QueuePolicy {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::bench::place;

    fn spec(text: &str) -> NodeSpec {
        let spec: DeviceSpec = text.parse().expect(text);
        let nodes = spec.nodes().expect(text);
        nodes.into_iter().next().expect(text)
    }

    #[test]
    fn a_device_has_the_driver_of_its_identity() {
        for (text, driver, is_webcam) in [
            ("camera", "uvcvideo", true),
            ("camera,identity=plain", "videobuf3", false),
            ("camera,like=logitech-c920", "uvcvideo", true),
            ("display", "videobuf3", false),
            ("loopback,identity=v4l2loopback", "v4l2 loopback", false),
            ("vimc", "vimc", false),
            ("sensor", "qcom-camss", false),
        ] {
            let spec = spec(text);
            let found = identity(&spec, &place(), "Card");
            assert_eq!(
                (&*found.driver, is_uvc(&spec)),
                (driver, is_webcam),
                "{text}"
            );
            let policy = policy(&spec, &place());
            let of_webcam = [policy.start_of_exposure, policy.fixes_interval];
            assert_eq!(of_webcam, [is_webcam; 2], "{text}");
            assert_eq!(policy.removes_buffers, !is_webcam, "{text}");
        }
    }

    #[test]
    fn a_specs_names_replace_those_of_the_host() {
        let mut host = place();
        host.usb = Some(("1234".to_owned(), 0x0102));
        let found = identity(&spec("camera"), &host, "Card");
        assert_eq!((&*found.card, &*found.bus_info), ("Card", &*host.bus_info));
        assert_eq!((&*found.serial, found.revision), ("1234", 0x0102));
        assert_eq!(found.other_caps, 0);
        let mut webcam = spec("camera,name=Mine");
        webcam.bus_info = Some("usb-1".to_owned());
        let node = webcam.metadata_node().expect("a webcam");
        let found = identity(&webcam, &host, "Card");
        assert_eq!((&*found.card, &*found.bus_info), ("Mine", "usb-1"));
        assert_eq!(found.other_caps, V4L2_CAP_META_CAPTURE);
        let found = identity(&node, &host, "Card");
        assert_eq!(found.other_caps, V4L2_CAP_VIDEO_CAPTURE);
    }

    #[test]
    fn a_policy_follows_spec_and_host() {
        let defaults = QueuePolicy::default();
        let mut spec = spec("camera,identity=plain");
        let mut host = place();
        let plain = policy(&spec, &host);
        assert!(!plain.userptr && plain.cache_hints && !plain.admission);
        assert_eq!(plain.max_buffers, defaults.max_buffers);
        assert_eq!((plain.min_queued, plain.file_io), (0, defaults.file_io));
        host.userptr = true;
        assert!(policy(&spec, &host).userptr);
        spec.userptr = Some(false);
        (spec.ignores_hints, spec.admission) = (true, true);
        (spec.min_queued, spec.max_buffers) = (3, Some(5));
        let set = policy(&spec, &host);
        assert!(!set.userptr && !set.cache_hints && set.admission);
        assert_eq!((set.min_queued, set.max_buffers), (3, 5));
    }
}
