//! What sysfs and udev's database say of the nodes, as if udev had seen them come.
//!
//! Source: systemd rules.d/60-persistent-v4l.rules, v4l_id and the builtin path_id.

use crate::node::Node;
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write as _;
use std::path::PathBuf;
use vb3_v4l2::Role;

const BUS: &str = "platform";

/// Microseconds since the machine started.
fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let part = u64::try_from(now.tv_nsec).unwrap_or(0) / 1000;
    seconds.saturating_mul(1_000_000).saturating_add(part)
}

/// As udev writes a name into a link: what could not stand in one is an underscore.
fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c);
    let words: Vec<&str> = name.split_whitespace().collect();
    let joined = words.join("_");
    joined
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}

/// Where a node's device stands on its bus: `vb3-000`.
pub(super) fn place(node: &Node) -> &str {
    let bus_info = &node.video.identity().bus_info;
    bus_info.split_once(':').map_or(bus_info, |(_, at)| at)
}

/// What a node does, in udev's words.
const fn capabilities(node: &Node) -> &'static str {
    match node.video.role() {
        Role::Capture => ":capture:",
        Role::Output => ":video_output:",
        Role::MemToMem => ":",
    }
}

/// What the links under /dev/v4l end in.
fn serial(node: &Node) -> String {
    let identity = node.video.identity();
    let (maker, card) = (plain(&identity.driver), plain(&identity.card));
    format!("{maker}_{card}_{}", place(node))
}

/// The links below /dev/v4l of a node.
fn link_names(node: &Node) -> [String; 2] {
    [
        format!("by-id/{BUS}-{}-video-index0", serial(node)),
        format!("by-path/{BUS}-{}-video-index0", place(node)),
    ]
}

/// Links to a node and its driver, and the paths they lead to.
pub(super) fn links(node: &Node) -> Vec<(PathBuf, PathBuf)> {
    let [by_id, by_path] = link_names(node).map(|link| format!("/dev/v4l/{link}"));
    let device = format!("/sys/devices/{BUS}/{}", place(node));
    let driver = format!("/sys/bus/{BUS}/drivers/{}", node.video.identity().driver);
    vec![
        (by_id.into(), node.path.clone()),
        (by_path.into(), node.path.clone()),
        (
            format!("{driver}/{}", place(node)).into(),
            device.clone().into(),
        ),
        (format!("{device}/driver").into(), driver.into()),
    ]
}

/// A record of udev's database on a device at this place. It is complete from the start.
fn record(place: &str, links: &[String], more: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for link in links {
        let _ = writeln!(text, "S:v4l/{link}");
    }
    let _ = writeln!(text, "I:{}", now_us());
    let path = format!("{BUS}-{place}");
    let tag = path.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
    for (name, value) in more
        .iter()
        .copied()
        .chain([("ID_PATH", &*path), ("ID_PATH_TAG", &*tag)])
    {
        let _ = writeln!(text, "E:{name}={}", value.replace('\n', " "));
    }
    text.push_str("V:1\n");
    text
}

/// The generated files of a node.
pub(super) fn files(node: &Node) -> Vec<(PathBuf, String)> {
    let (number, place) = (node.number(), place(node));
    let identity = node.video.identity();
    let (card, driver) = (&identity.card, &identity.driver);
    let (model, serial) = (plain(card), serial(node));
    let record = record(
        place,
        &link_names(node),
        &[
            ("ID_V4L_VERSION", "2"),
            ("ID_V4L_PRODUCT", card),
            ("ID_V4L_CAPABILITIES", capabilities(node)),
            ("ID_BUS", BUS),
            ("ID_VENDOR", driver),
            ("ID_MODEL", &model),
            ("ID_SERIAL", &serial),
        ],
    );
    let here = format!("/sys/class/video4linux/video{number}");
    let device = format!("/sys/devices/{BUS}/{place}");
    let alias = format!("{BUS}:{driver}");
    [
        (format!("{here}/name"), format!("{card}\n")),
        (format!("{here}/index"), "0\n".to_owned()),
        (
            format!("{device}/uevent"),
            format!("DRIVER={driver}\nMODALIAS={alias}\n"),
        ),
        (format!("{device}/modalias"), format!("{alias}\n")),
        (format!("/run/udev/data/c81:{number}"), record),
    ]
    .map(|(path, text)| (PathBuf::from(path), text))
    .into()
}

/// The record on a media device with this device number (`384:0`) at this place.
pub(super) fn media_record(number: &str, place: &str) -> (PathBuf, String) {
    let path = PathBuf::from(format!("/run/udev/data/c{number}"));
    (path, record(place, &[], &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_links_are_as_udev_writes_them() {
        assert_eq!(
            plain("Test  camera (pattern)\t1"),
            "Test_camera__pattern__1"
        );
        assert_eq!(plain("a/b\u{e9}#c"), "a_b_#c");
    }

    #[test]
    fn a_record_is_one_line_for_each_entry() {
        let links = ["by-path/platform-x-video-index0".to_owned()];
        let text = record("x.0", &links, &[("ID_V4L_PRODUCT", "two\nlines")]);
        let lines: Vec<&str> = text.lines().collect();
        let [link, since, product, path, tag, version] = lines[..] else {
            panic!("{text}")
        };
        assert_eq!(link, "S:v4l/by-path/platform-x-video-index0");
        assert!(
            since
                .strip_prefix("I:")
                .is_some_and(|us| us.parse::<u64>().is_ok())
        );
        assert_eq!(product, "E:ID_V4L_PRODUCT=two lines");
        assert_eq!(
            (path, tag),
            ("E:ID_PATH=platform-x.0", "E:ID_PATH_TAG=platform-x_0")
        );
        assert_eq!(version, "V:1");
    }
}
