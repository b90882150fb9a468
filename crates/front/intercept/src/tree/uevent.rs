//! The two messages of a hotplug event: the kernel's own, and udev's.

use crate::tree::generated::Tree;

/// The netlink groups that receive the kernel's and udev's messages.
pub(crate) const KERNEL: u32 = 1;
pub(crate) const UDEV: u32 = 2;

/// Start of udev's messages. The kernel's messages start otherwise, with `ACTION@PATH`.
const PREFIX: &[u8; 8] = b"libudev\0";
const MAGIC: u32 = 0xfeed_cafe;
/// Size in bytes of the header of udev's messages, before the properties.
const HEADER: u32 = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uevent {
    pub(crate) group: u32,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn group_of(bytes: &[u8]) -> u32 {
    if bytes.starts_with(PREFIX) {
        UDEV
    } else {
        KERNEL
    }
}

/// Builds the kernel's and udev's message about a device of the tree, given by its path below `/sys`.
pub(crate) fn of(tree: &Tree, device: &str, action: &str, number: u64) -> Option<(Uevent, Uevent)> {
    with(tree, (device, action), None, number)
}

/// Builds the messages about a change of a device, which this property describes.
pub(crate) fn changed(
    tree: &Tree,
    device: &str,
    property: &str,
    number: u64,
) -> Option<(Uevent, Uevent)> {
    with(tree, (device, "change"), Some(property), number)
}

fn with(
    tree: &Tree,
    (device, action): (&str, &str),
    property: Option<&str>,
    number: u64,
) -> Option<(Uevent, Uevent)> {
    let path = device.strip_prefix("/sys")?;
    let subsystem = tree.link_at(&format!("{device}/subsystem"))?;
    let subsystem = subsystem.rsplit('/').next()?;
    let mut lines = vec![
        format!("ACTION={action}"),
        format!("DEVPATH={path}"),
        format!("SUBSYSTEM={subsystem}"),
    ];
    lines.extend(property.map(str::to_owned));
    let own = tree.text_at(&format!("{device}/uevent")).unwrap_or("");
    let known = tree.text_at(&format!("{device}/dev")).map(str::trim_end);
    lines.extend(own.lines().map(str::to_owned));
    lines.push(format!("SEQNUM={number}"));
    let kernel = format!("{action}@{path}\0{}\0", lines.join("\0"));
    for line in &mut lines {
        if let Some(name) = line.strip_prefix("DEVNAME=") {
            *line = format!("DEVNAME=/dev/{name}");
        }
    }
    let name = device.rsplit('/').next()?;
    let id = known.map_or_else(|| format!("+{subsystem}:{name}"), |dev| format!("c{dev}"));
    let record = tree.text_at(&format!("/run/udev/data/{id}"));
    lines.extend(by_record(record.unwrap_or("")));
    let kind = own.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
    let properties = format!("{}\0", lines.join("\0"));
    let udev = with_header((subsystem, kind), properties.as_bytes());
    let event = |group, bytes| Uevent { group, bytes };
    Some((event(KERNEL, kernel.into_bytes()), event(UDEV, udev)))
}

/// Returns the properties of a device's record in udev's database.
fn by_record(record: &str) -> Vec<String> {
    let entries = |kind: &'static str| {
        record
            .lines()
            .filter_map(move |line| line.strip_prefix(kind))
    };
    let links: Vec<String> = entries("S:").map(|link| format!("/dev/{link}")).collect();
    let links = (!links.is_empty()).then(|| format!("DEVLINKS={}", links.join(" ")));
    let since = entries("I:").map(|since| format!("USEC_INITIALIZED={since}"));
    let properties = entries("E:").map(str::to_owned);
    properties.chain(since).chain(links).collect()
}

/// Builds udev's message with these properties, for a device of this subsystem and type.
///
/// Source: systemd src/libsystemd/sd-device/device-monitor.c `monitor_netlink_header`.
fn with_header((subsystem, kind): (&str, Option<&str>), properties: &[u8]) -> Vec<u8> {
    let len = u32::try_from(properties.len()).unwrap_or(u32::MAX);
    let mut out = PREFIX.to_vec();
    out.extend(MAGIC.to_be_bytes());
    for word in [HEADER, HEADER, len] {
        out.extend(word.to_ne_bytes());
    }
    out.extend(murmur(subsystem.as_bytes()).to_be_bytes());
    let kind = kind.map_or(0, |kind| murmur(kind.as_bytes()));
    out.extend(kind.to_be_bytes());
    // The filter of udev's tags is empty, since the device has no tag.
    out.extend([0; 8]);
    out.extend(properties);
    out
}

/// Returns MurmurHash2 with seed 0. Clients' socket filters compare the hashes of subsystems.
fn murmur(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    // CAST: the hash uses a length of 32 bits.
    let mut hash = bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let word = word.try_into().map_or(0, u32::from_le_bytes);
        let word = word.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ word >> 24).wrapping_mul(M);
    }
    let rest = words.remainder();
    for (at, &byte) in rest.iter().enumerate() {
        hash ^= u32::from(byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::MayBlock;
    use crate::tree::Told;
    use std::path::PathBuf;
    use vb3_frontend::{BusDevice, Node, NodeId};

    #[test]
    fn hashes_are_those_that_udev_filters_by() {
        // The hashes that libudev's filters contain.
        for (text, hash) in [("", 0), ("a", 0x9268_5f5e), ("video4linux", 0xe9cf_3931)] {
            assert_eq!(murmur(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn a_message_tells_what_sysfs_and_the_database_tell() {
        let may = MayBlock::of_this_thread();
        let node = Node {
            devices: vec![BusDevice::platform("vb3-007")],
            ..Node::video(NodeId(0), "/dev/video7", 7)
        };
        let record = "S:v4l/by-path/x\nI:12\nE:ID_V4L_CAPABILITIES=:capture:\nV:1\n";
        let record = (PathBuf::from("/run/udev/data/c81:7"), record.into());
        let tree = Tree::make(
            &may,
            &[node],
            &Told {
                files: vec![record],
                ..Told::default()
            },
        )
        .expect("a tree");
        let device = tree.device_of(81, 7).expect("a device").to_owned();
        let path = "/devices/platform/vb3-007/video4linux/video7";
        assert_eq!(device, format!("/sys{path}"));
        let (kernel, udev) = of(&tree, &device, "remove", 9).expect("messages");
        let want = format!(
            "remove@{path}\0ACTION=remove\0DEVPATH={path}\0SUBSYSTEM=video4linux\0MAJOR=81\0\
             MINOR=7\0DEVNAME=video7\0SEQNUM=9\0"
        );
        assert_eq!(String::from_utf8_lossy(&kernel.bytes), want);
        assert_eq!((kernel.group, group_of(&kernel.bytes)), (KERNEL, KERNEL));
        assert_eq!((udev.group, group_of(&udev.bytes)), (UDEV, UDEV));
        let (header, properties) = udev.bytes.split_at(40);
        assert_eq!(header.get(8..12), Some(&[0xfe, 0xed, 0xca, 0xfe][..]));
        let want = format!(
            "ACTION=remove\0DEVPATH={path}\0SUBSYSTEM=video4linux\0MAJOR=81\0MINOR=7\0\
             DEVNAME=/dev/video7\0SEQNUM=9\0ID_V4L_CAPABILITIES=:capture:\0\
             USEC_INITIALIZED=12\0DEVLINKS=/dev/v4l/by-path/x\0"
        );
        assert_eq!(String::from_utf8_lossy(properties), want);
        let (kernel, _) = of(&tree, "/sys/devices/platform/vb3-007", "add", 1).expect("messages");
        assert!(kernel.bytes.starts_with(b"add@/devices/platform/vb3-007\0"));
    }

    #[test]
    fn a_devices_type_and_record_are_announced() {
        let may = MayBlock::of_this_thread();
        let path = "/sys/devices/platform/hcd/usb1/1-1/1-1:1.0";
        let interface = BusDevice {
            path: path.to_owned(),
            bus: "usb",
            stays: false,
        };
        let node = Node {
            devices: vec![interface],
            ..Node::video(NodeId(0), "/dev/video7", 7)
        };
        let files = [
            (format!("{path}/uevent"), "DEVTYPE=usb_interface\n"),
            ("/run/udev/data/+usb:1-1:1.0".to_owned(), "E:ID_BUS=usb\n"),
        ]
        .map(|(path, text)| (PathBuf::from(path), text.into()));
        let tree = Tree::make(
            &may,
            &[node],
            &Told {
                files: files.to_vec(),
                ..Told::default()
            },
        )
        .expect("a tree");
        let (kernel, udev) = of(&tree, path, "add", 3).expect("messages");
        let said = String::from_utf8_lossy(&kernel.bytes);
        assert!(
            said.contains("\0SUBSYSTEM=usb\0DEVTYPE=usb_interface\0"),
            "{said}"
        );
        assert_eq!(
            udev.bytes.get(28..32),
            Some(&murmur(b"usb_interface").to_be_bytes()[..])
        );
        assert!(udev.bytes.ends_with(b"\0ID_BUS=usb\0"));
    }
}
