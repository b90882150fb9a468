//! Webcams on USB: controllers, ports, and their entries in sysfs and udev's database.
//!
//! Each webcam has one port. 16 ports form a bus with a root hub and a controller.
//!
//! Source: Linux 7.2 drivers/usb/core/sysfs.c, `usb_make_path`; systemd's builtins usb_id and
//! path_id. Differs: files below /dev/bus/usb can only be read.

mod descriptors;

use crate::names::{encoded, plain};
use std::path::PathBuf;
use vb3_frontend::BusDevice;

/// Number of ports of a bus.
const PORTS: u32 = 16;
/// Number of the first bus. The host's real buses have the low numbers.
const FIRST_BUS: u32 = 60;
/// Major number of USB devices.
const MAJOR: u32 = 189;
const MANUFACTURER: &str = "videobuf3";
/// `bcdDevice`.
const REVISION: &str = "0100";

/// Ids of a root hub.
const HUB: UsbId = UsbId {
    vendor: 0x1d6b,
    product: 2,
};
/// Class, subclass and protocol of a root hub, in hexadecimal.
const HUB_CLASS: [&str; 3] = ["09", "00", "01"];
/// Class, subclass and protocol of a device whose interfaces have their own classes, in hexadecimal.
const CLASS: [&str; 3] = ["ef", "02", "01"];

/// Number of the interface that controls the camera and has the nodes.
const CONTROL: u8 = 0;
/// Number of the interface that carries pictures.
const STREAMING: u8 = 1;

/// Vendor and product ids of a USB device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsbId {
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
}

/// A webcam's identity on USB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usb {
    /// Vendor and product ids.
    pub id: UsbId,
    /// `bcdDevice` in hexadecimal; `None` means 0100.
    pub revision: Option<String>,
    /// `manufacturer`; `None` if the device lacks this string.
    pub manufacturer: Option<String>,
    /// `product`; `None` means the card's name.
    pub product: Option<String>,
    /// `serial`.
    pub serial: String,
}

/// A webcam at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webcam {
    usb: Usb,
    controller: u32,
    port: u32,
}

/// Returns the files of a directory.
fn in_dir<'a>(
    dir: &'a str,
    files: impl IntoIterator<Item = (&'a str, String)> + 'a,
) -> impl Iterator<Item = (PathBuf, String)> + 'a {
    let file = move |(name, text)| (PathBuf::from(format!("{dir}/{name}")), format!("{text}\n"));
    files.into_iter().map(file)
}

fn owned<const N: usize>(files: [(&'static str, &str); N]) -> [(&'static str, String); N] {
    files.map(|(name, text)| (name, text.to_owned()))
}

impl Webcam {
    /// Returns the webcam of the video node with this number.
    #[must_use]
    pub const fn new(usb: Usb, number: u32) -> Self {
        Self {
            usb,
            controller: number / PORTS,
            port: number % PORTS + 1,
        }
    }

    const fn bus(&self) -> u32 {
        FIRST_BUS + self.controller
    }

    /// Returns the webcam's number on its bus. The root hub has the first number.
    const fn devnum(&self) -> u32 {
        self.port + 1
    }

    fn host(&self) -> String {
        format!("vb3-hcd.{}", self.controller)
    }

    fn device(&self) -> String {
        format!("{}-{}", self.bus(), self.port)
    }

    fn interface(&self, number: u8) -> String {
        format!("{}:1.{number}", self.device())
    }

    /// Returns `bus_info` of QUERYCAP.
    pub(crate) fn bus_info(&self) -> String {
        format!("usb-{}-{}", self.host(), self.port)
    }

    /// Returns udev's ID_PATH.
    pub(crate) fn id_path(&self) -> String {
        format!("platform-{}-usb-0:{}:1.0", self.host(), self.port)
    }

    /// Returns controller, root hub, device and interfaces. The interface with the nodes is last.
    pub(crate) fn devices(&self) -> Vec<BusDevice> {
        let host = format!("/sys/devices/platform/{}", self.host());
        let hub = format!("{host}/usb{}", self.bus());
        let device = format!("{hub}/{}", self.device());
        let interface = |number| format!("{device}/{}", self.interface(number));
        let (streaming, control) = (interface(STREAMING), interface(CONTROL));
        let names = [
            (host, "platform", true),
            (hub, "usb", true),
            (device, "usb", false),
            (streaming, "usb", false),
            (control, "usb", false),
        ];
        names
            .map(|(path, bus, stays)| BusDevice { path, bus, stays })
            .into()
    }

    /// Returns the maker's name in udev: the vendor id if the webcam does not name its maker.
    fn maker(&self) -> String {
        let vendor = || format!("{:04x}", self.usb.id.vendor);
        self.usb.manufacturer.clone().unwrap_or_else(vendor)
    }

    fn product<'a>(&'a self, card: &'a str) -> &'a str {
        self.usb.product.as_deref().unwrap_or(card)
    }

    /// Returns the serial number, and the number of `bcdDevice`.
    pub(crate) fn serial_and_revision(&self) -> (String, u32) {
        let revision = u32::from_str_radix(self.revision(), 16);
        (self.usb.serial.clone(), revision.unwrap_or(0))
    }

    fn revision(&self) -> &str {
        self.usb.revision.as_deref().unwrap_or(REVISION)
    }

    /// Returns ID_SERIAL: maker, model and serial number.
    pub(crate) fn full_serial(&self, card: &str) -> String {
        let (maker, model) = (plain(&self.maker()), plain(self.product(card)));
        format!("{maker}_{model}_{}", plain(&self.usb.serial))
    }

    /// Returns udev's properties of the device, which its interfaces and nodes share.
    pub(crate) fn properties(&self, card: &str) -> Vec<(String, String)> {
        let (maker, model) = (self.maker(), self.product(card));
        let names = [
            ("MODEL", plain(model)),
            ("MODEL_ENC", encoded(model)),
            ("MODEL_ID", format!("{:04x}", self.usb.id.product)),
            ("SERIAL", self.full_serial(card)),
            ("SERIAL_SHORT", plain(&self.usb.serial)),
            ("VENDOR", plain(&maker)),
            ("VENDOR_ENC", encoded(&maker)),
            ("VENDOR_ID", format!("{:04x}", self.usb.id.vendor)),
            ("REVISION", self.revision().to_owned()),
            ("TYPE", "video".to_owned()),
        ];
        let mut all = vec![("ID_BUS".to_owned(), "usb".to_owned())];
        for (name, value) in names {
            all.push((format!("ID_{name}"), value.clone()));
            all.push((format!("ID_USB_{name}"), value));
        }
        let more = [
            ("INTERFACES", ":0e0100:0e0200:"),
            ("INTERFACE_NUM", "00"),
            ("DRIVER", "uvcvideo"),
        ];
        all.extend(more.map(|(name, value)| (format!("ID_USB_{name}"), value.to_owned())));
        all
    }

    /// Returns the paths of udev's records on the device and its interfaces, each with its ID_PATH.
    pub(crate) fn records(&self) -> [(String, String); 3] {
        let minor = minor(self.bus(), self.devnum());
        let path = format!("platform-{}-usb-0:{}", self.host(), self.port);
        let interface = |number| {
            let record = format!("/run/udev/data/+usb:{}", self.interface(number));
            (record, format!("{path}:1.{number}"))
        };
        [
            (format!("/run/udev/data/c{MAJOR}:{minor}"), path.clone()),
            interface(CONTROL),
            interface(STREAMING),
        ]
    }

    /// Returns the links in sysfs between devices and drivers, and from device numbers to devices.
    pub(crate) fn links(&self) -> Vec<(PathBuf, PathBuf)> {
        let devices = self.devices();
        let drivers = [
            "platform/drivers/vb3-hcd",
            "usb/drivers/usb",
            "usb/drivers/usb",
            "usb/drivers/uvcvideo",
            "usb/drivers/uvcvideo",
        ];
        let mut links = Vec::new();
        for (device, driver) in devices.iter().zip(drivers) {
            let driver = format!("/sys/bus/{driver}");
            links.push((format!("{driver}/{}", device.name()), device.path.clone()));
            links.push((format!("{}/driver", device.path), driver));
        }
        let numbers = devices.get(1..3).unwrap_or_default().iter();
        for (device, devnum) in numbers.zip([1, self.devnum()]) {
            let minor = minor(self.bus(), devnum);
            let link = format!("/sys/dev/char/{MAJOR}:{minor}");
            links.push((link, device.path.clone()));
            let node = format!("/dev/{}", node(self.bus(), devnum));
            links.push((format!("/dev/char/{MAJOR}:{minor}"), node));
        }
        let paths = links.into_iter();
        paths.map(|(from, to)| (from.into(), to.into())).collect()
    }

    /// Returns the binary files of the hub and the device: descriptors in sysfs and files below /dev.
    pub(crate) fn binary_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let named = self.usb.manufacturer.is_some().into();
        let (hub, webcam) = (descriptors::hub(), descriptors::webcam());
        let hub = descriptors::device(HUB, REVISION, HUB_CLASS, [3, 2, 1], &hub);
        let strings = [named, 2, 3];
        let webcam = descriptors::device(self.usb.id, self.revision(), CLASS, strings, &webcam);
        let devices = self.devices();
        let devices = devices.iter().filter(|device| device.bus == "usb");
        let all = devices.zip([(1, hub), (self.devnum(), webcam)]);
        all.flat_map(|(device, (devnum, bytes))| {
            let node = format!("/dev/{}", node(self.bus(), devnum));
            let file = format!("{}/descriptors", device.path);
            [(file.into(), bytes.clone()), (node.into(), bytes)]
        })
        .collect()
    }

    /// Returns the text files in sysfs of controller, root hub, device and interfaces.
    pub(crate) fn files(&self, card: &str) -> Vec<(PathBuf, String)> {
        let paths = self.devices().into_iter().map(|device| device.path);
        let paths: Vec<String> = paths.collect();
        let [host, hub, device, streaming, control] = &paths[..] else {
            return Vec::new();
        };
        in_dir(host, self.host_files())
            .chain(in_dir(hub, self.hub_files()))
            .chain(in_dir(device, self.device_files(card)))
            .chain(in_dir(streaming, self.interface_files(STREAMING)))
            .chain(in_dir(control, self.interface_files(CONTROL)))
            .collect()
    }

    fn host_files(&self) -> Vec<(&'static str, String)> {
        let alias = "platform:vb3-hcd";
        vec![
            ("uevent", format!("DRIVER=vb3-hcd\nMODALIAS={alias}")),
            ("modalias", alias.to_owned()),
            // libcamera names cameras by their controller's path in the firmware.
            (
                "firmware_node/path",
                format!("\\_SB_.UHC{}", self.controller),
            ),
        ]
    }

    fn hub_files(&self) -> Vec<(&'static str, String)> {
        let mut files = self.usb_files((HUB, REVISION), 1, HUB_CLASS);
        files.extend(owned([
            ("devpath", "0"),
            ("manufacturer", MANUFACTURER),
            ("product", "Simulated USB Host Controller"),
            ("bNumInterfaces", " 1"),
            ("bmAttributes", "e0"),
            ("bMaxPower", "0mA"),
            ("removable", "unknown"),
        ]));
        files.push(("serial", self.host()));
        files.push(("maxchild", PORTS.to_string()));
        files
    }

    fn device_files(&self, card: &str) -> Vec<(&'static str, String)> {
        let own = (self.usb.id, self.revision());
        let mut files = self.usb_files(own, self.devnum(), CLASS);
        files.extend(owned([
            ("product", self.product(card)),
            ("serial", &self.usb.serial),
            ("bNumInterfaces", " 2"),
            ("bmAttributes", "80"),
            ("bMaxPower", "500mA"),
            ("removable", "removable"),
            ("maxchild", "0"),
        ]));
        files.push(("devpath", self.port.to_string()));
        let manufacturer = self.usb.manufacturer.clone();
        files.extend(manufacturer.map(|name| ("manufacturer", name)));
        files
    }

    /// Returns the files that every USB device has.
    fn usb_files(
        &self,
        (UsbId { vendor, product }, revision): (UsbId, &str),
        devnum: u32,
        class: [&str; 3],
    ) -> Vec<(&'static str, String)> {
        let bus = self.bus();
        let minor = minor(bus, devnum);
        let kind = kind(class);
        let short = revision.trim_start_matches('0');
        let node = node(bus, devnum);
        let uevent = format!(
            "MAJOR={MAJOR}\nMINOR={minor}\nDEVNAME={node}\n\
             DEVTYPE=usb_device\nDRIVER=usb\nPRODUCT={vendor:x}/{product:x}/{short}\nTYPE={kind}\n\
             BUSNUM={bus:03}\nDEVNUM={devnum:03}"
        );
        let [class, subclass, protocol] = class.map(str::to_owned);
        vec![
            ("uevent", uevent),
            ("dev", format!("{MAJOR}:{minor}")),
            ("idVendor", format!("{vendor:04x}")),
            ("idProduct", format!("{product:04x}")),
            ("bcdDevice", revision.to_owned()),
            ("bDeviceClass", class),
            ("bDeviceSubClass", subclass),
            ("bDeviceProtocol", protocol),
            ("bConfigurationValue", "1".to_owned()),
            ("bNumConfigurations", "1".to_owned()),
            ("bMaxPacketSize0", "64".to_owned()),
            ("configuration", String::new()),
            ("rx_lanes", "1".to_owned()),
            ("tx_lanes", "1".to_owned()),
            ("busnum", bus.to_string()),
            ("devnum", devnum.to_string()),
            ("speed", "480".to_owned()),
            ("version", " 2.00".to_owned()),
        ]
    }

    fn interface_files(&self, number: u8) -> Vec<(&'static str, String)> {
        let UsbId { vendor, product } = self.usb.id;
        let revision = self.revision();
        let short = revision.trim_start_matches('0');
        // In its default setting, the streaming interface has no endpoint.
        let (subclass, endpoints) = if number == CONTROL {
            (1, "01")
        } else {
            (2, "00")
        };
        let alias = format!(
            "usb:v{vendor:04X}p{product:04X}d{revision}dcEFdsc02dp01ic0Eisc{subclass:02X}ip00\
             in{number:02X}"
        );
        let uevent = format!(
            "DEVTYPE=usb_interface\nDRIVER=uvcvideo\nPRODUCT={vendor:x}/{product:x}/{short}\n\
             TYPE=239/2/1\nINTERFACE=14/{subclass}/0\nMODALIAS={alias}"
        );
        let mut files = vec![("uevent", uevent), ("modalias", alias)];
        files.extend(owned([
            ("bInterfaceClass", "0e"),
            ("bInterfaceProtocol", "00"),
            ("bAlternateSetting", " 0"),
            ("bNumEndpoints", endpoints),
        ]));
        files.push(("bInterfaceNumber", format!("{number:02x}")));
        files.push(("bInterfaceSubClass", format!("{subclass:02x}")));
        files
    }
}

/// Returns the minor number of a device on a bus.
const fn minor(bus: u32, devnum: u32) -> u32 {
    (bus - 1) * 128 + devnum - 1
}

/// Returns the name of a device's file below /dev.
fn node(bus: u32, devnum: u32) -> String {
    format!("bus/usb/{bus:03}/{devnum:03}")
}

/// Returns a class as uevents print it: in decimal, with slashes.
fn kind(class: [&str; 3]) -> String {
    let number = |hex| u8::from_str_radix(hex, 16).unwrap_or_default().to_string();
    class.map(number).join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: UsbId = UsbId {
        vendor: 0x046d,
        product: 0x0825,
    };

    fn webcam(number: u32) -> Webcam {
        let usb = Usb {
            id: ID,
            revision: None,
            manufacturer: Some("videobuf3".to_owned()),
            product: None,
            serial: format!("vb3-{number:03}"),
        };
        Webcam::new(usb, number)
    }

    #[test]
    fn each_webcam_has_a_port_of_its_own() {
        let place = |number| {
            let webcam = webcam(number);
            let device = webcam.devices().pop().map(|device| device.path);
            (webcam.bus_info(), device.unwrap_or_default())
        };
        let dir = "/sys/devices/platform/vb3-hcd";
        let want = |info: &str, path: &str| (info.to_owned(), format!("{dir}.{path}"));
        let first = want("usb-vb3-hcd.0-1", "0/usb60/60-1/60-1:1.0");
        assert_eq!(place(0), first);
        assert_eq!(
            place(15),
            want("usb-vb3-hcd.0-16", "0/usb60/60-16/60-16:1.0")
        );
        assert_eq!(place(16), want("usb-vb3-hcd.1-1", "1/usb61/61-1/61-1:1.0"));
        assert_eq!(
            place(63),
            want("usb-vb3-hcd.3-16", "3/usb63/63-16/63-16:1.0")
        );
    }

    #[test]
    fn sysfs_describes_controller_device_and_interface() {
        let files = webcam(1).files("Two words");
        let read = |path: &str| {
            let path = PathBuf::from(format!("/sys/devices/platform/vb3-hcd.0/{path}"));
            let found = files.iter().find(|(at, _)| *at == path);
            found.map_or("none", |(_, text)| text.trim_end())
        };
        assert_eq!(read("firmware_node/path"), "\\_SB_.UHC0");
        assert_eq!(read("usb60/idProduct"), "0002");
        for (name, want) in [
            ("idVendor", "046d"),
            ("idProduct", "0825"),
            ("manufacturer", "videobuf3"),
            ("product", "Two words"),
            ("serial", "vb3-001"),
            ("busnum", "60"),
            ("devnum", "3"),
            ("devpath", "2"),
            ("dev", "189:7554"),
        ] {
            assert_eq!(read(&format!("usb60/60-2/{name}")), want, "{name}");
        }
        let uevent = "MAJOR=189\nMINOR=7554\nDEVNAME=bus/usb/060/003\nDEVTYPE=usb_device\n\
                      DRIVER=usb\nPRODUCT=46d/825/100\nTYPE=239/2/1\nBUSNUM=060\nDEVNUM=003";
        assert_eq!(read("usb60/60-2/uevent"), uevent);
        let alias = "usb:v046Dp0825d0100dcEFdsc02dp01ic0Eisc01ip00in00";
        assert_eq!(read("usb60/60-2/60-2:1.0/modalias"), alias);
        assert_eq!(read("usb60/60-2/60-2:1.0/bInterfaceNumber"), "00");
        let alias = "usb:v046Dp0825d0100dcEFdsc02dp01ic0Eisc02ip00in01";
        assert_eq!(read("usb60/60-2/60-2:1.1/modalias"), alias);
        assert_eq!(read("usb60/60-2/60-2:1.1/bInterfaceSubClass"), "02");
    }

    #[test]
    fn descriptors_agree_with_sysfs() {
        let files = webcam(1).binary_files();
        let read = |path: &str| {
            let found = files.iter().find(|(at, _)| at.as_os_str() == path);
            found.map(|(_, bytes)| &bytes[..]).unwrap_or_default()
        };
        let device = read("/sys/devices/platform/vb3-hcd.0/usb60/60-2/descriptors");
        assert_eq!(device[8..12], [0x6d, 0x04, 0x25, 0x08]);
        assert_eq!(device[18..], descriptors::webcam());
        assert_eq!(device, read("/dev/bus/usb/060/003"));
        let hub = read("/sys/devices/platform/vb3-hcd.0/usb60/descriptors");
        assert_eq!(hub[8..12], [0x6b, 0x1d, 2, 0]);
        assert_eq!(hub, read("/dev/bus/usb/060/001"));
        assert_eq!(files.len(), 4);
    }

    #[test]
    fn udev_knows_maker_model_and_serial_number() {
        let all = webcam(0).properties("A \"cam\"");
        let value = |name: &str| {
            let found = all.iter().find(|(known, _)| known == name);
            found.map_or("none", |(_, value)| value)
        };
        for (name, want) in [
            ("ID_BUS", "usb"),
            ("ID_MODEL", "A__cam_"),
            ("ID_USB_MODEL_ENC", "A\\x20\\x22cam\\x22"),
            ("ID_VENDOR_ID", "046d"),
            ("ID_USB_MODEL_ID", "0825"),
            ("ID_SERIAL", "videobuf3_A__cam__vb3-000"),
            ("ID_SERIAL_SHORT", "vb3-000"),
            ("ID_USB_DRIVER", "uvcvideo"),
        ] {
            assert_eq!(value(name), want, "{name}");
        }
        let mut odd = webcam(0);
        odd.usb.serial = "1 2/3".to_owned();
        let short = ("ID_SERIAL_SHORT".to_owned(), "1_2_3".to_owned());
        assert!(odd.properties("A camera").contains(&short));
    }
}
