//! The identity that a device shows.
//! A camera can pose as a USB webcam or imitate a real camera by its description (`like=`), and a loopback
//! can pose as v4l2loopback.

use super::parse::parse_hex;
use super::{CameraInput, DeviceKind, DeviceSpec, Profile, SpecError};
use crate::description::Usb;
use serde::{Deserialize, Serialize};
use std::fmt;
use toml::Spanned;

/// Options that `like=` excludes, since the description has their values.
const DESCRIBED: &[&str] = &[
    "size", "fps", "format", "sizes", "rates", "formats", "profile", "mplane", "stride",
    "identity", "usb",
];

/// The identity that a camera or a loopback shows to programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceIdentity {
    /// A USB webcam, with the driver uvcvideo.
    Uvc,
    /// A platform device, with the driver videobuf3.
    Plain,
    /// A loopback with the driver v4l2loopback: one node for the writer and the readers.
    V4l2loopback,
}

/// The vendor and product ids by which programs recognise a USB device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UsbId {
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
}

impl UsbId {
    /// The ids of Linux's webcam gadget.
    const WEBCAM: Self = Self {
        vendor: 0x1d6b,
        product: 0x0102,
    };

    /// Parses `VVVV:PPPP`, four hexadecimal digits each.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (vendor, product) = text.split_once(':')?;
        let id = |text: &str| {
            let number = parse_hex(text).filter(|_| text.len() == 4)?;
            u16::try_from(number).ok()
        };
        Some(Self {
            vendor: id(vendor)?,
            product: id(product)?,
        })
    }
}

impl fmt::Display for UsbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)
    }
}

impl TryFrom<String> for UsbId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} must look like \"046d:0825\""))
    }
}

impl From<UsbId> for String {
    fn from(id: UsbId) -> Self {
        id.to_string()
    }
}

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
    pub(super) fn follow_like(&mut self, seen: &[(&str, &str)]) -> Result<(), SpecError> {
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
