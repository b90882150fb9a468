//! The location of a node's device: on the platform bus, at a USB port, or on no bus.

use crate::usb::Webcam;
use vb3_frontend::BusDevice;

/// Returns the name on the platform bus of a simulated device with this number.
#[must_use]
pub fn simulated_name(number: u32) -> String {
    format!("vb3-{number:03}")
}

/// A device on the platform bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The device's name on the bus.
    pub name: String,
    /// `bus_info` of QUERYCAP.
    pub bus_info: String,
}

/// The bus of a node's device, and the device's position there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On the platform bus.
    Platform(Platform),
    /// At a USB port.
    Usb(Webcam),
    /// On no bus, like v4l2loopback's nodes. The string is `bus_info` of QUERYCAP.
    Virtual(String),
}

impl Location {
    /// Returns the location of a simulated device with this number on the platform bus.
    #[must_use]
    pub fn simulated(number: u32) -> Self {
        let name = simulated_name(number);
        Self::Platform(Platform {
            bus_info: format!("platform:{name}"),
            name,
        })
    }

    /// Returns whether the device is on USB.
    #[must_use]
    pub const fn is_usb(&self) -> bool {
        matches!(self, Self::Usb(_))
    }

    /// Returns the serial number and the revision of a USB device.
    #[must_use]
    pub fn usb(&self) -> Option<(String, u32)> {
        match self {
            Self::Usb(webcam) => Some(webcam.serial_and_revision()),
            Self::Platform(_) | Self::Virtual(_) => None,
        }
    }

    /// Returns `bus_info` of QUERYCAP.
    #[must_use]
    pub fn bus_info(&self) -> String {
        match self {
            Self::Platform(at) => at.bus_info.clone(),
            Self::Virtual(bus_info) => bus_info.clone(),
            Self::Usb(webcam) => webcam.bus_info(),
        }
    }

    /// Returns the devices above its nodes in /sys, the outermost first.
    #[must_use]
    pub fn devices(&self) -> Vec<BusDevice> {
        match self {
            Self::Platform(at) => vec![BusDevice::platform(&at.name)],
            Self::Usb(webcam) => webcam.devices(),
            Self::Virtual(_) => Vec::new(),
        }
    }

    /// Returns the device's own directory in /sys.
    #[must_use]
    pub fn dir(&self) -> String {
        let own = self.devices().pop();
        own.map(|device| device.path).unwrap_or_default()
    }

    /// Returns udev's ID_PATH.
    #[must_use]
    pub fn id_path(&self) -> String {
        match self {
            Self::Platform(at) => format!("platform-{}", at.name),
            Self::Usb(webcam) => webcam.id_path(),
            Self::Virtual(_) => String::new(),
        }
    }
}
