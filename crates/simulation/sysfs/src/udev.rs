//! The entries of devices and video nodes in sysfs and udev's database, as if udev had processed the devices.
//!
//! Source: systemd rules.d/60-persistent-v4l.rules, v4l_id and the builtin path_id.

use crate::location::{Location, Platform};
use crate::names::plain;
use std::fmt::Write as _;
use std::path::PathBuf;

/// A file: its path and contents.
pub type File = (PathBuf, Vec<u8>);
/// A symbolic link: its path and target.
pub type Link = (PathBuf, PathBuf);

/// A device on a bus.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// The device's location.
    pub location: &'a Location,
    /// Name of its driver.
    pub driver: &'a str,
    /// The device's name for users.
    pub card: &'a str,
    /// When the device was plugged in, in microseconds since boot.
    pub since_us: u64,
}

/// A video node or subdevice of a device.
#[derive(Clone, Copy, Debug)]
pub struct VideoNode<'a> {
    /// The node's device.
    pub device: Device<'a>,
    /// Path of the node.
    pub path: &'a str,
    /// Minor number.
    pub number: u32,
    /// `name` in sysfs.
    pub name: &'a str,
    /// Number of the node among the video nodes of its device.
    pub index: usize,
    /// Capabilities in udev's words, such as `:capture:`; `None` for a subdevice.
    pub capabilities: Option<&'a str>,
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs
        .map(|(name, value)| (name.into(), value.into()))
        .into()
}

/// Returns a text file.
fn text(path: impl Into<PathBuf>, text: String) -> File {
    (path.into(), text.into_bytes())
}

impl Device<'_> {
    /// Returns udev's properties of the device, from which the names of links to its nodes derive.
    fn properties(&self) -> Vec<(String, String)> {
        let (driver, model) = (self.driver, plain(self.card));
        match self.location {
            Location::Usb(webcam) => webcam.properties(self.card),
            Location::Platform(at) => owned([
                ("ID_BUS", "platform"),
                ("ID_VENDOR", driver),
                ("ID_MODEL", &model),
                (
                    "ID_SERIAL",
                    &format!("{}_{model}_{}", plain(driver), at.name),
                ),
            ]),
            Location::Virtual(_) => Vec::new(),
        }
    }

    /// Returns the links between the device and its driver, and the links named by its numbers.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        match self.location {
            Location::Usb(webcam) => webcam.links(),
            Location::Virtual(_) => Vec::new(),
            Location::Platform(Platform { name, .. }) => {
                let device = self.location.dir();
                let driver = format!("/sys/bus/platform/drivers/{}", self.driver);
                vec![
                    (format!("{driver}/{name}").into(), device.clone().into()),
                    (format!("{device}/driver").into(), driver.into()),
                ]
            }
        }
    }

    /// Returns the files of the device without its nodes.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        match self.location {
            Location::Usb(webcam) => {
                let properties = webcam.properties(self.card);
                let records = webcam.records().into_iter();
                let records =
                    records.map(|(at, path)| (at.into(), self.record(&path, &[], &properties)));
                let texts = records.chain(webcam.files(self.card));
                let texts = texts.map(|(path, words)| text(path, words));
                texts.chain(webcam.binary_files()).collect()
            }
            Location::Virtual(_) => Vec::new(),
            Location::Platform(_) => {
                let (dir, alias) = (self.location.dir(), format!("platform:{}", self.driver));
                let uevent = format!("DRIVER={}\nMODALIAS={alias}\n", self.driver);
                vec![
                    text(format!("{dir}/uevent"), uevent),
                    text(format!("{dir}/modalias"), format!("{alias}\n")),
                ]
            }
        }
    }

    /// Returns the device's files and those of its media node with this number: `major` and `minor`.
    #[must_use]
    pub fn media_files(&self, major: u32, minor: u32) -> Vec<File> {
        let model = format!("{}/media{minor}/model", self.location.dir());
        let mut files = self.files();
        files.push(text(model, format!("{}\n", self.card)));
        files.push(self.node_record((major, minor), &[], &[]));
        files
    }

    /// Returns udev's record of one of the device's nodes: `links` relative to /dev, and properties.
    #[must_use]
    pub fn node_record(
        &self,
        (major, minor): (u32, u32),
        links: &[String],
        more: &[(String, String)],
    ) -> File {
        let path = format!("/run/udev/data/c{major}:{minor}");
        text(path, self.record(&self.location.id_path(), links, more))
    }

    /// Returns a record in udev's database, as if udev had processed the device when it was plugged in.
    fn record(&self, path: &str, links: &[String], more: &[(String, String)]) -> String {
        let mut text = String::new();
        for link in links {
            let _ = writeln!(text, "S:{link}");
        }
        let _ = writeln!(text, "I:{}", self.since_us);
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
}

impl VideoNode<'_> {
    /// Returns the names of the node's links, relative to /dev.
    fn link_names(&self) -> Vec<String> {
        let (location, index) = (self.device.location, self.index);
        if matches!(location, Location::Virtual(_)) {
            return Vec::new();
        }
        let properties = self.device.properties();
        let value = |name| {
            let found = properties.iter().find(|(known, _)| known == name);
            found.map_or("", |(_, value)| value)
        };
        let (bus, serial) = (value("ID_BUS"), value("ID_SERIAL"));
        vec![
            format!("v4l/by-id/{bus}-{serial}-video-index{index}"),
            format!("v4l/by-path/{}-video-index{index}", location.id_path()),
        ]
    }

    /// Returns the links to the node and its device, and to their drivers.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let mut links = self.device.links();
        if self.capabilities.is_some() {
            let names = self.link_names().into_iter();
            links.extend(names.map(|link| (format!("/dev/{link}").into(), self.path.into())));
        }
        links
    }

    /// Returns the files of the node and its device.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        let numbers = (81, self.number);
        let here = self.path.replace("/dev/", "/sys/class/video4linux/");
        let mut files = self.device.files();
        files.push(text(format!("{here}/name"), format!("{}\n", self.name)));
        let Some(capabilities) = self.capabilities else {
            files.push(self.device.node_record(numbers, &[], &[]));
            return files;
        };
        let mut all = owned([
            ("ID_V4L_VERSION", "2"),
            ("ID_V4L_PRODUCT", self.device.card),
            ("ID_V4L_CAPABILITIES", capabilities),
        ]);
        all.extend(self.device.properties());
        files.push(text(format!("{here}/index"), format!("{}\n", self.index)));
        let links = self.link_names();
        files.push(self.device.node_record(numbers, &links, &all));
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_for_each_entry() {
        let links = ["v4l/by-path/platform-x-video-index0".to_owned()];
        let product = ("ID_V4L_PRODUCT".to_owned(), "two\nlines".to_owned());
        let device = Device {
            location: &Location::simulated(0),
            driver: "x",
            card: "X",
            since_us: 1234,
        };
        let text = device.record("platform-x.0", &links, &[product]);
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
