//! The nodes' entries in sysfs and udev's database, as if udev had processed their devices.
//!
//! Source: systemd rules.d/60-persistent-v4l.rules, v4l_id and the builtin path_id.

use crate::location::{Location, Platform};
use crate::node::{Node, Part};
use crate::udev_text::plain;
use std::fmt::Write as _;
use std::path::PathBuf;
use vb3_v4l2::{Identity, Role};

/// Returns a node's capabilities in udev's words.
const fn capabilities(node: &Node) -> &'static str {
    match node.video.role() {
        _ if matches!(node.part, Part::Metadata { .. }) => ":",
        Role::Capture => ":capture:",
        Role::Output => ":video_output:",
        Role::Duplex => ":capture:video_output:",
        Role::MemToMem | Role::Subdevice => ":",
    }
}

/// Returns a node's udev properties, from which its link names under /dev/v4l/by-id derive.
fn properties(node: &Node) -> Vec<(String, String)> {
    let identity = node.video.identity();
    let (card, driver) = (&identity.card, &identity.driver);
    match &node.location {
        Location::Usb(webcam) => webcam.properties(card),
        Location::Platform(at) => [
            ("ID_BUS", "platform".to_owned()),
            ("ID_VENDOR", driver.clone()),
            ("ID_MODEL", plain(card)),
            (
                "ID_SERIAL",
                format!("{}_{}_{}", plain(driver), plain(card), at.name),
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into(),
        Location::Virtual(_) => Vec::new(),
    }
}

/// Returns the names of a node's links, relative to /dev/v4l.
fn link_names(node: &Node) -> Vec<String> {
    if matches!(node.location, Location::Virtual(_)) {
        return Vec::new();
    }
    let index = node.index;
    let properties = properties(node);
    let value = |name| {
        let found = properties.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    };
    vec![
        format!(
            "by-id/{}-{}-video-index{index}",
            value("ID_BUS"),
            value("ID_SERIAL")
        ),
        format!("by-path/{}-video-index{index}", node.location.id_path()),
    ]
}

/// Returns the links to a node and its device, and to their drivers, each with its target.
pub(super) fn links(node: &Node) -> Vec<(PathBuf, PathBuf)> {
    let to_node = link_names(node).into_iter().map(|link| {
        let link = PathBuf::from(format!("/dev/v4l/{link}"));
        (link, node.path.clone().into())
    });
    let of_device = device_links(&node.location, node.video.identity());
    if node.is_subdevice() {
        return of_device;
    }
    to_node.chain(of_device).collect()
}

/// Returns the links between a device and its driver, and the links named by its numbers.
pub(super) fn device_links(location: &Location, identity: &Identity) -> Vec<(PathBuf, PathBuf)> {
    match location {
        Location::Usb(webcam) => webcam.links(),
        Location::Virtual(_) => Vec::new(),
        Location::Platform(Platform { name, .. }) => {
            let device = location.dir();
            let driver = format!("/sys/bus/platform/drivers/{}", identity.driver);
            vec![
                (format!("{driver}/{name}").into(), device.clone().into()),
                (format!("{device}/driver").into(), driver.into()),
            ]
        }
    }
}

/// Returns a device's record in udev's database, as if udev had processed the device at `since_us`.
fn record(since_us: u64, path: &str, links: &[String], more: &[(String, String)]) -> String {
    let mut text = String::new();
    for link in links {
        let _ = writeln!(text, "S:v4l/{link}");
    }
    let _ = writeln!(text, "I:{since_us}");
    let tag = path.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
    let more = more.iter().map(|(name, value)| (&**name, &**value));
    let place = [("ID_PATH", path), ("ID_PATH_TAG", &tag)];
    let place = place.into_iter().filter(|_| !path.is_empty());
    for (name, value) in more.chain(place) {
        let _ = writeln!(text, "E:{name}={}", value.replace('\n', " "));
    }
    text.push_str("V:1\n");
    text
}

/// Converts the text of files to bytes.
pub(super) fn bytes(
    files: impl IntoIterator<Item = (PathBuf, String)>,
) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    let files = files.into_iter();
    files.map(|(path, text)| (path, text.into_bytes()))
}

/// Returns the generated files of a node and its device.
pub(super) fn files(node: &Node) -> Vec<(PathBuf, Vec<u8>)> {
    let number = node.number();
    let identity = node.video.identity();
    let card = &identity.card;
    let here = format!("/sys/class/video4linux/{}", node.file_name());
    let name = (format!("{here}/name").into(), format!("{}\n", node.name));
    let since_us = node.since_us;
    let of_device = device_files(since_us, &node.location, identity);
    if node.is_subdevice() {
        let record = device_record(since_us, &format!("81:{number}"), &node.location);
        return bytes([name, record]).chain(of_device).collect();
    }
    let of_node = [
        ("ID_V4L_VERSION", "2"),
        ("ID_V4L_PRODUCT", card),
        ("ID_V4L_CAPABILITIES", capabilities(node)),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let all = [&of_node[..], &properties(node)].concat();
    let record = record(since_us, &node.location.id_path(), &link_names(node), &all);
    let files = [
        (format!("{here}/index"), format!("{}\n", node.index)),
        (format!("/run/udev/data/c81:{number}"), record),
    ]
    .map(|(path, text)| (PathBuf::from(path), text));
    bytes(files).chain(bytes([name])).chain(of_device).collect()
}

/// Returns the generated files of a device without its nodes.
pub(super) fn device_files(
    since_us: u64,
    location: &Location,
    identity: &Identity,
) -> Vec<(PathBuf, Vec<u8>)> {
    match location {
        Location::Usb(webcam) => {
            let properties = webcam.properties(&identity.card);
            let records = webcam.records().into_iter();
            let records =
                records.map(|(at, path)| (at.into(), record(since_us, &path, &[], &properties)));
            let texts = records.chain(webcam.files(&identity.card));
            bytes(texts).chain(webcam.binary_files()).collect()
        }
        Location::Virtual(_) => Vec::new(),
        Location::Platform(_) => {
            let (dir, alias) = (location.dir(), format!("platform:{}", identity.driver));
            let uevent = format!("DRIVER={}\nMODALIAS={alias}\n", identity.driver);
            bytes([
                (format!("{dir}/uevent").into(), uevent),
                (format!("{dir}/modalias").into(), format!("{alias}\n")),
            ])
            .collect()
        }
    }
}

/// Returns the record of a media device or subdevice: path and text. `number` is major and minor: `384:0`.
pub(super) fn device_record(since_us: u64, number: &str, location: &Location) -> (PathBuf, String) {
    let path = PathBuf::from(format!("/run/udev/data/c{number}"));
    (path, record(since_us, &location.id_path(), &[], &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_for_each_entry() {
        let links = ["by-path/platform-x-video-index0".to_owned()];
        let product = ("ID_V4L_PRODUCT".to_owned(), "two\nlines".to_owned());
        let text = record(1234, "platform-x.0", &links, &[product]);
        let lines: Vec<&str> = text.lines().collect();
        let [link, since, product, path, tag, version] = lines[..] else {
            panic!("{text}")
        };
        assert_eq!(link, "S:v4l/by-path/platform-x-video-index0");
        assert_eq!(since, "I:1234");
        assert_eq!(product, "E:ID_V4L_PRODUCT=two lines");
        assert_eq!(
            (path, tag),
            ("E:ID_PATH=platform-x.0", "E:ID_PATH_TAG=platform-x_0")
        );
        assert_eq!(version, "V:1");
    }
}
