//! The system packages that demo and tests need, from apt.

use crate::sh;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// A package, and what for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    name: &'static str,
    why: &'static str,
}

const fn package(name: &'static str, why: &'static str) -> Package {
    Package { name, why }
}

/// Packages for the demo.
pub(crate) const DEMO: &[Package] = &[
    package("ffmpeg", "decodes the clip for the camera"),
    package(
        "gstreamer1.0-tools",
        "gst-launch-1.0, the program that the demo runs",
    ),
    package("gstreamer1.0-plugins-base", "GStreamer's video caps"),
    package(
        "gstreamer1.0-plugins-good",
        "v4l2src, v4l2h264dec, v4l2convert, v4l2sink",
    ),
    package("gstreamer1.0-plugins-bad", "h264parse"),
    package("libavcodec-dev", "the codecs of vb3-codec"),
    package("pkg-config", "finds it"),
    package("gcc", "compiles the C that calls it, and links"),
    package("libc6-dev", "what programs are linked with"),
    package("python3-pip", "downloads the clip"),
];

/// What demo and tests need.
pub(crate) const ALL: &[Package] = &[
    package(
        "ffmpeg",
        "decodes clips for the camera; captures in the tests",
    ),
    package(
        "gstreamer1.0-tools",
        "gst-launch-1.0, which demo and tests run",
    ),
    package("gstreamer1.0-plugins-base", "GStreamer's video caps"),
    package(
        "gstreamer1.0-plugins-good",
        "v4l2src, v4l2h264dec, v4l2convert, v4l2sink",
    ),
    package("gstreamer1.0-plugins-bad", "h264parse"),
    package("gstreamer1.0-libav", "decoders that the tests compare with"),
    package("libavcodec-dev", "the codecs of vb3-codec"),
    package("pkg-config", "finds it"),
    package("python3-pip", "downloads the demo's clip"),
    package(
        "v4l-utils",
        "v4l2-compliance and v4l2-ctl, which the tests run",
    ),
    package(
        "gstreamer1.0-plugins-base-apps",
        "gst-device-monitor-1.0, which the tests run",
    ),
    package("udev", "udevadm, which the tests run"),
    package("usbutils", "lsusb, which the tests run"),
    package("libcamera-tools", "cam, libcamera's client in the tests"),
    package("libcamera-ipa", "without it libcamera warns"),
    package(
        "gstreamer1.0-libcamera",
        "libcamerasrc, which the tests run",
    ),
    package(
        "chromium",
        "the browser that opens the report's page, and a page with a camera",
    ),
    package("firefox-esr", "the browser of a recipe's test"),
    package("guvcview", "takes photographs in the tests"),
    package("mplayer", "shows a camera in the tests"),
    package("xvfb", "a screen for guvcview"),
    package("xauth", "opens that screen"),
    package("pipewire", "passes a camera on in the tests"),
    package("wireplumber", "reports cameras to pipewire"),
    package("gstreamer1.0-pipewire", "pipewiresrc, which the tests run"),
    package("dbus-daemon", "a session for pipewire"),
    package("python3-pyudev", "a client of libudev, which the tests run"),
    package("python3-pytest", "runs the tests of the Python module"),
    package("gcc", "compiles the tests' C programs"),
    package("libc6-dev", "links them statically"),
    package("golang-go", "compiles the tests' Go program"),
    package("python3-opencv", "OpenCV, which the tests run"),
];

/// Packages for the virtual machines.
pub(crate) const VM: &[Package] = &[
    package("qemu-system-x86", "runs stock kernels with an IOMMU"),
    package("mmdebstrap", "makes the build root and the guest image"),
    package("debian-archive-keyring", "checks what mmdebstrap loads"),
    package("cpio", "packs the guest image"),
    package("kmod", "finds the modules that an initial RAM disk needs"),
];

/// What arm64's virtual machines need, and building for them.
pub(crate) const ARM64: &[Package] = &[
    package("qemu-system-arm", "runs stock kernels of arm64"),
    package("gcc-aarch64-linux-gnu", "compiles and links for arm64"),
    package("libc6-dev-arm64-cross", "what it links with"),
    package("mmdebstrap", "makes the root of the guests"),
    package("debian-archive-keyring", "checks what mmdebstrap loads"),
    package("cpio", "packs the initial RAM disk"),
    package("kmod", "finds the modules that the initial RAM disk needs"),
    package("device-tree-compiler", "adds to the machines' device trees"),
];

/// Installs what is missing, saying what and why.
///
/// # Errors
/// A package is missing and cannot be installed here; the text says what to install.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<Package> = packages
        .iter()
        .copied()
        .filter(|p| !is_installed(p))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|p| p.name).collect();
    eprintln!("These packages are missing:");
    for Package { name, why } in &missing {
        eprintln!("  {name:<26} {why}");
    }
    if !sh::has("apt-get") {
        bail!(
            "this system has no apt-get; install the equivalents of: {}",
            names.join(" ")
        );
    }
    let root = is_root();
    if !root && !sh::has("sudo") {
        bail!(
            "installing needs root, and there is no sudo; as root, run: apt-get install {}",
            names.join(" ")
        );
    }
    if !root {
        eprintln!("Installing them through sudo, which may ask for your password.");
    }
    let apt = |words: &[&str]| {
        let mut command = if root {
            Command::new("apt-get")
        } else {
            Command::new("sudo")
        };
        if !root {
            command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-y"])
            .args(words);
        command
    };
    if !has_package_lists() {
        sh::run(apt(&["update"]).stdout(Stdio::null()))?;
    }
    let mut words = vec!["install", "--no-install-recommends"];
    words.extend(&names);
    if sh::run(apt(&words).stdout(Stdio::null())).is_err() {
        eprintln!("The package lists may be old; fetching new ones and trying again.");
        sh::run(apt(&["update"]).stdout(Stdio::null()))?;
        sh::run(apt(&words).stdout(Stdio::null()))?;
    }
    if let Some(package) = missing.iter().find(|p| !is_installed(p)) {
        bail!(
            "apt-get reported success, but {} is still missing",
            package.name
        );
    }
    Ok(())
}

fn is_installed(package: &Package) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f=${db:Status-Status}", package.name]);
    match query.output() {
        Ok(out) => out.status.success() && out.stdout == b"installed",
        Err(_) => false,
    }
}

fn has_package_lists() -> bool {
    let Ok(dir) = Path::new("/var/lib/apt/lists").read_dir() else {
        return false;
    };
    dir.flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return false;
    };
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1));
    effective == Some("0")
}
