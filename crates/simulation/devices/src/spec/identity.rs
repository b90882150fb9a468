//! The identity that a device shows.
//! A camera can pose as a USB webcam or imitate a real camera by its description (`like=`), and a loopback
//! can pose as v4l2loopback.

use super::DeviceSpec;
use super::error::SpecError;
use super::kind::DeviceKind;
use crate::choice::{CameraInput, DeviceIdentity, Profile, UsbId};
use crate::description::Usb;
use toml::Spanned;

/// Options that `like=` excludes, since the description has their values.
const DESCRIBED: &[&str] = &[
    "size", "fps", "format", "sizes", "rates", "formats", "profile", "mplane", "stride",
    "identity", "usb",
];

impl DeviceSpec {
    /// Returns a USB webcam's ids; `None` for devices that are not on USB.
    #[must_use]
    pub fn usb_id(&self) -> Option<UsbId> {
        let is_webcam = self.kind.input() == Some(CameraInput::Sensor)
            && !self.mplane
            && self.profile() == Profile::Webcam;
        let is_uvc = self
            .identity
            .map_or(is_webcam, |is| is == DeviceIdentity::Uvc);
        is_uvc.then(|| self.usb.unwrap_or(UsbId::WEBCAM))
    }

    /// Returns whether the device is a loopback with the driver v4l2loopback.
    #[must_use]
    pub fn is_v4l2loopback(&self) -> bool {
        self.identity == Some(DeviceIdentity::V4l2loopback)
    }

    pub(super) fn parse_identity(&self, value: &str) -> Option<DeviceIdentity> {
        let is_loopback = matches!(self.kind, DeviceKind::Loopback { .. });
        match (value, is_loopback) {
            ("uvc", false) => Some(DeviceIdentity::Uvc),
            ("plain", _) => Some(DeviceIdentity::Plain),
            ("v4l2loopback", true) => Some(DeviceIdentity::V4l2loopback),
            _ => None,
        }
    }

    /// Takes over the name and the identity from the description.
    pub(crate) fn follow_like(&mut self, seen: &[(&str, &str)]) -> Result<(), SpecError> {
        let Some(like) = self.like.clone() else {
            return Ok(());
        };
        let described = seen.iter().find(|(option, _)| DESCRIBED.contains(option));
        if let Some((option, value)) = described {
            let allowed = format!("the description has it; leave out {option}, or change its file");
            return Err(SpecError::value(option, value, allowed));
        }
        let file = &like.file;
        let device = file.device.get_ref();
        let is_webcam = device.driver == "uvcvideo" && file.usb.is_some();
        self.identity = Some(match is_webcam {
            true => DeviceIdentity::Uvc,
            false => DeviceIdentity::Plain,
        });
        self.usb = file
            .usb
            .as_ref()
            .filter(|_| is_webcam)
            .map(|usb| usb.get_ref().id);
        self.name.get_or_insert_with(|| device.card.clone());
        self.bus_info.clone_from(&device.bus_info);
        Ok(())
    }

    /// Returns a USB webcam's identity, from its description if it has one; `None` for other devices.
    #[must_use]
    pub fn usb_device(&self) -> Option<Usb> {
        let id = self.usb_id()?;
        let described = self.like.as_ref().and_then(|like| like.file.usb.clone());
        Some(described.map_or_else(
            || Usb {
                id,
                revision: None,
                manufacturer: Some("videobuf3".to_owned()),
                product: None,
                serial: None,
            },
            Spanned::into_inner,
        ))
    }
}
