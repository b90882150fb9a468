//! A display card's entries in sysfs and udev's database.

use crate::udev::{Device, File, Link};

/// A display card with its connectors.
#[derive(Clone, Debug)]
pub struct CardNode<'a> {
    /// The card's device.
    pub device: Device<'a>,
    /// N of `/dev/dri/cardN`, which is also the minor number.
    pub number: u32,
    /// The card's connectors.
    pub connectors: Vec<Connector>,
}

/// A connector of a card.
#[derive(Clone, Debug, Default)]
pub struct Connector {
    /// Name of the connector, such as `Virtual-1`.
    pub name: String,
    /// Id of the connector's DRM object.
    pub id: u32,
    /// Whether a monitor is connected; `None` for a connector that needs none.
    pub is_connected: Option<bool>,
    /// Whether a CRTC drives it.
    pub is_enabled: bool,
    /// Names of the connector's modes, such as `1280x720`.
    pub modes: Vec<String>,
    /// The monitor's EDID; empty if the monitor has none.
    pub edid: Vec<u8>,
}

/// The major number of DRM.
pub const DRM_MAJOR: u32 = 226;

impl CardNode<'_> {
    fn file_name(&self) -> String {
        format!("card{}", self.number)
    }

    /// Returns the card's directory in sysfs.
    fn dir(&self) -> String {
        format!("{}/drm/{}", self.device.location.dir(), self.file_name())
    }

    /// Returns the files of the card, its connectors and its device.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        let (dir, name) = (self.dir(), self.file_name());
        let number = self.number;
        let text = |path: String, text: String| (path.into(), text.into_bytes());
        let mut files = self.device.files();
        files.push(text(
            "/sys/class/drm/version".to_owned(),
            "drm 1.1.0 20060810\n".to_owned(),
        ));
        let uevent =
            format!("MAJOR={DRM_MAJOR}\nMINOR={number}\nDEVNAME=dri/{name}\nDEVTYPE=drm_minor\n");
        files.push(text(format!("{dir}/uevent"), uevent));
        // Tests of drivers find the card's files in debugfs by this one.
        let (driver, path) = (self.device.driver, self.device.location.id_path());
        let device = path.trim_start_matches("platform-");
        files.push(text(
            format!("/sys/kernel/debug/dri/{number}/name"),
            format!("{driver} dev={device} unique={device}\n"),
        ));
        let tags = "G:master-of-seat\nG:seat\nG:uaccess\nQ:master-of-seat\nQ:seat\nQ:uaccess\n";
        let record = |more: &str, tags: &str| {
            let tag = path.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
            let since = self.device.since_us;
            format!(
                "{more}I:{since}\nE:ID_PATH={path}\nE:ID_PATH_TAG={tag}\nE:ID_FOR_SEAT=drm-{tag}\n{tags}V:1\n"
            )
        };
        let link = format!("S:dri/by-path/{path}-card\n");
        files.push(text(
            format!("/run/udev/data/c{DRM_MAJOR}:{number}"),
            record(&link, tags),
        ));
        for connector in &self.connectors {
            let own = format!("{name}-{}", connector.name);
            let at = format!("{dir}/{own}");
            let status = match connector.is_connected {
                Some(true) => "connected",
                Some(false) => "disconnected",
                None => "unknown",
            };
            let enabled = if connector.is_enabled {
                "enabled"
            } else {
                "disabled"
            };
            let modes: String = connector
                .modes
                .iter()
                .map(|mode| format!("{mode}\n"))
                .collect();
            for (file, contents) in [
                ("status", format!("{status}\n")),
                ("enabled", format!("{enabled}\n")),
                ("dpms", "On\n".to_owned()),
                ("modes", modes),
                ("connector_id", format!("{}\n", connector.id)),
                ("uevent", "DEVTYPE=drm_connector\n".to_owned()),
            ] {
                files.push(text(format!("{at}/{file}"), contents));
            }
            files.push((format!("{at}/edid").into(), connector.edid.clone()));
            files.push(text(
                format!("/run/udev/data/+drm:{own}"),
                record("", "G:seat\nQ:seat\n"),
            ));
        }
        files
    }

    /// Returns the links to the card and its connectors.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let (dir, name) = (self.dir(), self.file_name());
        let mut links = self.device.links();
        let path = format!("/dev/dri/by-path/{}-card", self.device.location.id_path());
        links.push((path.into(), format!("/dev/dri/{name}").into()));
        for connector in &self.connectors {
            let own = format!("{name}-{}", connector.name);
            let at = format!("{dir}/{own}");
            links.push((format!("/sys/class/drm/{own}").into(), at.clone().into()));
            links.push((format!("{at}/subsystem").into(), "/sys/class/drm".into()));
            links.push((format!("{at}/device").into(), dir.clone().into()));
        }
        links
    }
}
