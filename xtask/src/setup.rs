//! The system packages that demo and tests need, installed by apt.

use crate::sh::{self, cmd};
use anyhow::{Result, ensure};
use std::process::Stdio;

/// The name of a package, and what it is needed for.
pub(crate) type Package = (&'static str, &'static str);

/// Packages that the demo needs: the first of [`ALL`].
pub(crate) const DEMO: &[Package] = ALL.split_at(10).0;

/// Packages that demo and tests need.
pub(crate) const ALL: &[Package] = &[
    ("ffmpeg", "decodes clips for cameras"),
    ("gstreamer1.0-tools", "gst-launch-1.0"),
    ("gstreamer1.0-plugins-base", "GStreamer's video caps"),
    ("gstreamer1.0-plugins-good", "v4l2src, v4l2sink, decoders"),
    ("gstreamer1.0-plugins-bad", "h264parse"),
    ("libavcodec-dev", "the codecs of vb3-codec"),
    ("pkg-config", "finds it"),
    ("gcc", "compiles C, and links"),
    ("libc6-dev", "what programs are linked with"),
    ("python3-pip", "downloads the demo's clip"),
    ("gstreamer1.0-libav", "decoders that the tests compare with"),
    ("v4l-utils", "v4l2-compliance and v4l2-ctl"),
    ("gstreamer1.0-plugins-base-apps", "gst-device-monitor-1.0"),
    ("udev", "udevadm, which the tests run"),
    ("usbutils", "lsusb, which the tests run"),
    ("libcamera-tools", "cam, libcamera's client in the tests"),
    ("libcamera-ipa", "without it libcamera warns"),
    ("gstreamer1.0-libcamera", "libcamerasrc"),
    ("chromium", "opens the report's page, and one with a camera"),
    ("firefox-esr", "the browser of a recipe's test"),
    ("guvcview", "takes photographs in the tests"),
    ("mplayer", "shows a camera in the tests"),
    ("xvfb", "a screen for guvcview"),
    ("xauth", "opens that screen"),
    ("pipewire", "passes a camera on in the tests"),
    ("wireplumber", "reports cameras to pipewire"),
    ("gstreamer1.0-pipewire", "pipewiresrc"),
    ("dbus-daemon", "a session for pipewire"),
    ("python3-pyudev", "a client of libudev"),
    ("python3-pytest", "runs the tests of the Python module"),
    ("golang-go", "compiles the tests' Go program"),
    ("python3-opencv", "OpenCV, which the tests run"),
    ("fswebcam", "a client in the tests"),
    ("streamer", "a client in the tests"),
    ("uvccapture", "a client in the tests"),
    ("uvcdynctrl", "a client in the tests"),
    ("yavta", "a client in the tests"),
    ("python3-gst-1.0", "GStreamer in Python, in the tests"),
];

/// Packages for the virtual machines.
pub(crate) const VM: &[Package] = &[
    ("qemu-system-x86", "runs stock kernels with an IOMMU"),
    ("mmdebstrap", "makes the build root and the guest image"),
    ("debian-archive-keyring", "checks what mmdebstrap loads"),
    ("cpio", "packs the guest image"),
    ("kmod", "finds the modules that an initial RAM disk needs"),
];

/// Packages that arm64's virtual machines, and builds for them, need.
pub(crate) const ARM64: &[Package] = &[
    ("qemu-system-arm", "runs stock kernels of arm64"),
    ("gcc-aarch64-linux-gnu", "compiles and links for arm64"),
    ("libc6-dev-arm64-cross", "what it links with"),
    ("mmdebstrap", "makes the root of the guests"),
    ("debian-archive-keyring", "checks what mmdebstrap loads"),
    ("cpio", "packs the initial RAM disk"),
    ("kmod", "finds the modules that the initial RAM disk needs"),
    ("device-tree-compiler", "adds to the machines' device trees"),
];

/// Returns those packages of [`ALL`] that have these names.
pub(crate) fn some(names: &[&str]) -> Vec<Package> {
    let named = ALL.iter().filter(|(name, _)| names.contains(name));
    named.copied().collect()
}

/// Installs the packages that are missing. Prints their names and purposes.
///
/// # Errors
/// A package is missing and cannot be installed here. The message says what to install.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    let missing = packages.iter().filter(|(name, _)| !is_installed(name));
    let missing: Vec<&Package> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let list = names.join(" ");
    eprintln!("These packages are missing:");
    for (name, why) in missing {
        eprintln!("  {name:<26} {why}");
    }
    ensure!(
        sh::has("apt-get"),
        "this system has no apt-get; install the equivalents of: {list}"
    );
    let root = rustix::process::geteuid().is_root();
    ensure!(
        root || sh::has("sudo"),
        "installing needs root, and there is no sudo; as root, run: apt-get install {list}"
    );
    if !root {
        eprintln!("Installing them through sudo, which may ask for your password.");
    }
    let sudo = if root { "env" } else { "sudo" };
    let update = cmd!("{sudo} DEBIAN_FRONTEND=noninteractive apt-get -q -y update");
    let install = cmd!(
        "{sudo} DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends {names...}"
    );
    for mut command in [update, install] {
        sh::run(command.stdout(Stdio::null()))?;
    }
    Ok(())
}

fn is_installed(name: &str) -> bool {
    let state = sh::text(&mut cmd!("dpkg-query -W '-f=${db:Status-Status}' {name}"));
    state.is_ok_and(|state| state == "installed")
}
