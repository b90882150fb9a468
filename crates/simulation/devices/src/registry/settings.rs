//! The settings of a node, from what the user wrote and from the host.

use crate::choice::{CameraInput, Profile};
use crate::hdmi;
use crate::likeness::UVC;
use crate::node::{NodePart, NodeSpec};
use crate::settings::{HostSettings, Settings};
use crate::spec::DeviceSpec;
use vb3_v4l2::sys::{V4L2_CAP_META_CAPTURE, V4L2_CAP_VIDEO_CAPTURE};
use vb3_v4l2::{Identity, QueuePolicy, Timings};

/// Returns the name of the driver that a SPEC (the text that requests a device) asks for; `None` for the usual
/// driver.
fn driver_asked(spec: &DeviceSpec) -> Option<&str> {
    let like = spec.like.as_ref().map(|like| like.file.device.get_ref());
    match (like, spec.usb_id()) {
        _ if spec.is_v4l2loopback() => Some("v4l2 loopback"),
        (Some(device), _) => Some(device.driver.as_str()),
        (None, usb) => usb.map(|_| UVC).or(spec.driver.as_deref()),
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
fn is_uvc(spec: &DeviceSpec) -> bool {
    driver_asked(spec) == Some(UVC)
}

/// Returns the settings of a node.
pub(super) fn of(node: &NodeSpec, host: &HostSettings) -> Settings {
    let choices = node.pixel_formats();
    Settings {
        kind: node.kind.name(),
        identity: identity(node, host),
        policy: policy(node, host),
        planarity: node.planarity(),
        is_webcam: is_uvc(node),
        pixels: node.offered_formats(choices.clone()),
        choices,
        format: node.format,
        size: node.size,
        fps: node.fps,
        sizes: node.sizes.clone(),
        rates: node.rates.clone(),
        has_lists: node.like.is_none() && node.profile() == Profile::Webcam,
        stride: node.stride.unwrap_or(1),
        pace: node.pace(),
        likeness: node.like.as_ref().map(|like| like.likeness.clone()),
        codecs: host.codecs.clone(),
    }
}

impl DeviceSpec {
    /// Returns the initial mode of an HDMI source for `size=` and `fps=`; `None` for other devices.
    pub(super) fn hdmi_mode(&self) -> Option<&'static Timings> {
        let input = self.kind.input();
        input.filter(|input| *input == CameraInput::Hdmi)?;
        let size = self.size;
        let size = size.map_or((1920, 1080), |size| (size.width(), size.height()));
        hdmi::mode(size, self.fps)
    }
}

/// Returns a node's identity. The card is empty if the SPEC has none.
fn identity(spec: &NodeSpec, host: &HostSettings) -> Identity {
    let like = spec.like.as_ref().map(|like| like.file.device.get_ref());
    let (serial, revision) = host.usb.clone().unwrap_or_default();
    let described = like.and_then(|device| device.other_capabilities);
    // As in uvcvideo, each node has the other one's capability.
    let other = match &spec.part {
        NodePart::Metadata(_) => V4L2_CAP_VIDEO_CAPTURE,
        NodePart::Pictures(_) => V4L2_CAP_META_CAPTURE,
        _ => 0,
    };
    Identity {
        driver: driver_name(spec).to_owned(),
        card: spec.name.clone().unwrap_or_default(),
        bus_info: (spec.bus_info.as_ref()).unwrap_or(&host.bus_info).clone(),
        serial,
        revision,
        other_caps: other | described.map_or(0, |caps| caps.0),
    }
}

/// Returns the policy of a device's queue, from its SPEC and the host.
///
/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_queue.c `uvc_queue_init`, for the time of a timestamp and for read(),
/// which uvcvideo lacks; uvc_v4l2.c `uvc_v4l2_set_streamparm`, for the interval.
fn policy(spec: &NodeSpec, host: &HostSettings) -> QueuePolicy {
    let defaults = QueuePolicy::default();
    QueuePolicy {
        userptr: spec.userptr.unwrap_or(host.userptr),
        cache_hints: !spec.ignores_hints,
        file_io: (spec.like.as_ref()).map_or(!is_uvc(spec), |like| like.file.device.get_ref().read),
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
    use crate::tests::bench::host;

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
            ("h264dec", "videobuf3", false),
            ("h264dec,driver=qcom-venus", "qcom-venus", false),
            ("loopback,identity=v4l2loopback", "v4l2 loopback", false),
            ("vimc", "vimc", false),
            ("sensor", "qcom-camss", false),
        ] {
            let spec = spec(text);
            let found = of(&spec, &host()).identity("Card");
            assert_eq!(
                (&*found.driver, of(&spec, &host()).is_webcam),
                (driver, is_webcam),
                "{text}"
            );
            let policy = policy(&spec, &host());
            let of_webcam = [policy.start_of_exposure, policy.fixes_interval];
            assert_eq!(of_webcam, [is_webcam; 2], "{text}");
            assert_eq!(policy.removes_buffers, !is_webcam, "{text}");
            assert_eq!(policy.file_io, !is_webcam, "{text}");
        }
    }

    #[test]
    fn a_specs_names_replace_those_of_the_host() {
        let mut host = host();
        host.usb = Some(("1234".to_owned(), 0x0102));
        let found = of(&spec("camera"), &host).identity("Card");
        assert_eq!((&*found.card, &*found.bus_info), ("Card", &*host.bus_info));
        assert_eq!((&*found.serial, found.revision), ("1234", 0x0102));
        assert_eq!(found.other_caps, 0);
        let mut webcam = spec("camera,name=Mine");
        webcam.bus_info = Some("usb-1".to_owned());
        let node = webcam.metadata_node().expect("a webcam");
        let found = of(&webcam, &host).identity("Card");
        assert_eq!((&*found.card, &*found.bus_info), ("Mine", "usb-1"));
        assert_eq!(found.other_caps, V4L2_CAP_META_CAPTURE);
        let found = of(&node, &host).identity("Card");
        assert_eq!(found.other_caps, V4L2_CAP_VIDEO_CAPTURE);
    }

    #[test]
    fn a_policy_follows_spec_and_host() {
        let defaults = QueuePolicy::default();
        let mut spec = spec("camera,identity=plain");
        let mut host = host();
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
