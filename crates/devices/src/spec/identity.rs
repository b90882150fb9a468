//! The identity that a device shows.
//! A camera can pose as a USB webcam, and a loopback as v4l2loopback.

use super::parse::parse_hex;
use super::{CameraInput, DeviceKind, DeviceSpec, Profile, SpecError};
use std::fmt;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsbId {
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
}

/// Strings of a USB device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbNames {
    /// `manufacturer`; if `None`, the device lacks this string.
    pub manufacturer: Option<String>,
    /// `product`; if `None`, the card's name is used.
    pub product: Option<String>,
    /// `bcdDevice`.
    pub revision: String,
    /// `serial`; if `None`, the serial number is made from the node.
    pub serial: Option<String>,
}

impl Default for UsbNames {
    fn default() -> Self {
        Self {
            manufacturer: Some("videobuf3".to_owned()),
            product: None,
            revision: "0100".to_owned(),
            serial: None,
        }
    }
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

    /// Parses the value of `identity=`.
    pub(super) fn parse_identity(&self, value: &str) -> Option<DeviceIdentity> {
        let is_loopback = matches!(self.kind, DeviceKind::Loopback { .. });
        match (value, is_loopback) {
            ("uvc", false) => Some(DeviceIdentity::Uvc),
            ("plain", _) => Some(DeviceIdentity::Plain),
            ("v4l2loopback", true) => Some(DeviceIdentity::V4l2loopback),
            _ => None,
        }
    }

    /// Checks that the options which concern identity agree with each other.
    pub(super) fn check_identity(&self) -> Result<(), SpecError> {
        if let DeviceKind::Loopback { readers: 2.., .. } = self.kind
            && self.is_v4l2loopback()
        {
            let allowed = "one node serves all readers; leave out readers";
            return Err(SpecError::value("identity", "v4l2loopback", allowed));
        }
        if self.mplane && self.identity == Some(DeviceIdentity::Uvc) {
            let allowed = "USB webcams have no multi-planar API; leave out mplane or identity";
            return Err(SpecError::value("identity", "uvc", allowed));
        }
        match self.usb {
            Some(usb) if self.usb_id().is_none() => {
                let allowed = "the camera is no USB webcam; add identity=uvc or leave out usb";
                Err(SpecError::value("usb", &usb.to_string(), allowed))
            }
            _ => Ok(()),
        }
    }
}
