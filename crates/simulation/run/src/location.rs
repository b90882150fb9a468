//! Where a node's device is attached: the platform bus or a USB port.

use crate::usb::Webcam;
use vb3_devices::spec::DeviceSpec;
use vb3_frontend::BusDevice;

/// A device on the platform bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Platform {
    /// The device's name on the bus.
    pub(super) name: String,
    /// `bus_info` of QUERYCAP.
    bus_info: String,
}

/// The bus of a node's device, and the device's position there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// On the platform bus.
    Platform(Platform),
    /// At a USB port.
    Usb(Webcam),
    /// On no bus, like v4l2loopback's nodes. The string is `bus_info` of QUERYCAP.
    Virtual(String),
}

impl Location {
    /// Makes the location of the device with this node number.
    pub(super) fn new(spec: &DeviceSpec, number: u32) -> Self {
        if spec.is_v4l2loopback() {
            return Self::Virtual(format!("platform:v4l2loopback-{number:03}"));
        }
        let name = format!("vb3-{number:03}");
        match (spec.usb_device(), spec.graph()) {
            (Some(usb), _) => Self::Usb(Webcam::new(usb, number, name)),
            (None, Some((graph, _))) => Self::Platform(Platform {
                name: graph.topology().device.to_owned(),
                bus_info: graph.topology().bus_info.to_owned(),
            }),
            (None, None) => Self::Platform(Platform {
                bus_info: format!("platform:{name}"),
                name,
            }),
        }
    }

    /// Returns whether the device is on USB.
    pub(super) const fn is_usb(&self) -> bool {
        matches!(self, Self::Usb(_))
    }

    /// Returns the serial number and the revision of a USB device.
    pub(super) fn usb(&self) -> Option<(String, u32)> {
        match self {
            Self::Usb(webcam) => Some(webcam.serial_and_revision()),
            Self::Platform(_) | Self::Virtual(_) => None,
        }
    }

    /// Returns `bus_info` of QUERYCAP.
    pub(super) fn bus_info(&self) -> String {
        match self {
            Self::Platform(at) => at.bus_info.clone(),
            Self::Virtual(bus_info) => bus_info.clone(),
            Self::Usb(webcam) => webcam.bus_info(),
        }
    }

    /// Returns the devices above its nodes in /sys, the outermost first.
    pub(super) fn devices(&self) -> Vec<BusDevice> {
        match self {
            Self::Platform(at) => vec![BusDevice::platform(&at.name)],
            Self::Usb(webcam) => webcam.devices(),
            Self::Virtual(_) => Vec::new(),
        }
    }

    /// Returns the device's own directory in /sys.
    pub(super) fn dir(&self) -> String {
        let own = self.devices().pop();
        own.map(|device| device.path).unwrap_or_default()
    }

    /// Returns udev's ID_PATH.
    pub(super) fn id_path(&self) -> String {
        match self {
            Self::Platform(at) => format!("platform-{}", at.name),
            Self::Usb(webcam) => webcam.id_path(),
            Self::Virtual(_) => String::new(),
        }
    }
}
