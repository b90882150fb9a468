//! Guests whose root is a directory of this machine. QEMU emulates either processor with a stock
//! Debian kernel. Programs come from this system, or from a root that is made once and kept.

use crate::arch::Arch;
use crate::dist;
use crate::sh;
use crate::step::{Lines, Running, tail};
use crate::vm::lab;
use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Memory of a guest in megabytes. It also holds the files that the guest writes.
const MEMORY: &str = "3072";

/// A guest: a kernel, a processor and a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Debian's release and package of the kernel.
    suite: &'static str,
    image: &'static str,
    pub(crate) arch: Arch,
    /// Whether the kernel is too old for `vb3 run`. `vb3 run` must say so and run no program.
    pub(crate) refused: bool,
}

pub(crate) const ALL: &[Kind] = &[
    Kind {
        refused: true,
        ..kind("kernel-5.10", "bullseye", "linux-image-amd64", Arch::X86_64)
    },
    kind("kernel-6.1", "bookworm", "linux-image-amd64", Arch::X86_64),
    kind("arm64", "trixie", "linux-image-arm64", Arch::Arm64),
    kind("arm64-16k", "trixie", "linux-image-arm64-16k", Arch::Arm64),
];

const fn kind(name: &'static str, suite: &'static str, image: &'static str, arch: Arch) -> Kind {
    Kind {
        name,
        suite,
        image,
        arch,
        refused: false,
    }
}

pub(crate) struct Guest {
    pub(crate) kind: Kind,
    kernel: PathBuf,
    root: PathBuf,
}

impl Guest {
    /// Finds the kernel and the root in the cache, or makes them.
    ///
    /// # Errors
    /// Programs cannot be compiled for its architecture, or a download fails.
    pub(crate) fn get(kind: Kind) -> Result<Self> {
        let target = kind.arch.target();
        if !sh::has_target(target) {
            bail!("Rust's library for {target} is not installed; run `rustup target add {target}`");
        }
        crate::setup::install(&[kind.arch.name()])?;
        let kernel = kernel(kind)?;
        let what = "making the root of the arm64 guests, translated: about 400 MB to load";
        let root = match kind.arch {
            Arch::X86_64 => PathBuf::from("/"),
            Arch::Arm64 => lab::kept("arm64-root", what, 40, "make-arm64-root.sh", &[])?,
        };
        Ok(Self { kind, kernel, root })
    }

    pub(crate) fn version(&self) -> String {
        let text = fs::read_to_string(self.kernel.join("version"));
        text.unwrap_or_default().trim().to_owned()
    }

    /// Boots the guest and runs `out/run.sh`. The guest has `out` as `/out`, and this tree at the
    /// same path as here. Lines that the script adds to `out/said` are shown at once. `out/log`
    /// gets the script's output. Returns whether the script succeeded.
    ///
    /// # Errors
    /// The guest does not boot, or has not ended after `limit`. The message has the end of its output.
    pub(crate) fn run(&self, out: &Path, limit: Duration) -> Result<bool> {
        let (name, console, log) = (self.kind.name, out.join("console"), out.join("log"));
        fs::write(out.join("tree"), sh::root().display().to_string())?;
        let (version, seconds, place) = (self.version(), limit.as_secs(), out.display());
        eprintln!("{name}: booting Linux {version} (at most {seconds} s; logs: {place})");
        let mut running = Running::start(&mut self.machine(out), &console)?;
        let mut said = Lines::default();
        let ended = running.wait(limit, || {
            let lines = said.new_in(&out.join("said"));
            lines.iter().for_each(|line| eprintln!("{name}: {line}"));
        })?;
        if ended.is_none() {
            bail!("{name} has not ended after {seconds} s:\n{}", tail(&log));
        }
        let status = out.join("status");
        if !status.exists() {
            bail!("{name} ended early:\n{}{}", tail(&console), tail(&log));
        }
        eprintln!("{name}: ended after {} s", running.took().as_secs());
        Ok(fs::read_to_string(status)?.trim() == "0")
    }

    fn machine(&self, out: &Path) -> Command {
        let mut qemu = self.kind.arch.qemu();
        let tree = sh::root();
        let mut shares = vec![(&*self.root, "root", ",readonly=on"), (out, "out", "")];
        let mut console = "ttyS0";
        if self.kind.arch == Arch::Arm64 {
            console = "ttyAMA0";
            shares.push((&tree, "tree", ",readonly=on"));
        }
        let line = format!("console={console} quiet no_timer_check oops=panic panic=-1");
        qemu.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", MEMORY]);
        qemu.args(["-serial", "stdio", "-append", &line]);
        for (option, file) in [("-kernel", "vmlinuz"), ("-initrd", "initrd")] {
            qemu.arg(option).arg(self.kernel.join(file));
        }
        for (dir, tag, how) in shares {
            let dir = dir.display();
            let how = format!("mount_tag={tag},security_model=none,multidevs=remap{how}");
            qemu.arg("-virtfs").arg(format!("local,path={dir},{how}"));
        }
        qemu
    }
}

fn kernel(kind: Kind) -> Result<PathBuf> {
    let name = format!("{}-{}", kind.name, lab::key("guest-init")?);
    let init = sh::root().join("kernel/lab/guest-init");
    let words = [kind.suite, kind.arch.debian(), kind.image].map(OsStr::new);
    let words = [&words[..], &[init.as_ref()]].concat();
    let what = format!("getting {} of {}: about 90 MB", kind.image, kind.suite);
    lab::kept(&name, &what, 10, "make-kernel.sh", &words)
}

/// Builds `vb3` for a guest with optimisation. It is linked statically if the guest has another processor.
pub(crate) fn vb3(kind: Kind) -> Result<PathBuf> {
    program(kind, "build --package vb3", "vb3")
}

/// Builds the tests with real programs for a guest, and the `vb3` that they run.
pub(crate) fn e2e(kind: Kind) -> Result<PathBuf> {
    program(kind, "test --no-run --package vb3 --test e2e", "e2e")
}

fn program(kind: Kind, line: &str, name: &str) -> Result<PathBuf> {
    let mut cargo = sh::cargo(line);
    cargo.args(["--release", "--message-format=json-render-diagnostics"]);
    if kind.arch == Arch::Arm64 {
        cargo.args(["--target", kind.arch.target()]);
        kind.arch.linked_statically(&mut cargo);
    }
    eprintln!("+ {}", sh::shown(&cargo));
    let out = cargo.stderr(Stdio::inherit()).output();
    let Output { status, stdout, .. } = out.context("cargo does not start")?;
    ensure!(status.success(), "cargo failed: {status}");
    let said = String::from_utf8_lossy(&stdout);
    let built = |name: &str| {
        let file = said.lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let file = line["executable"].as_str()?;
            (line["target"]["name"] == name).then(|| PathBuf::from(file))
        });
        file.with_context(|| format!("cargo built no {name}"))
    };
    if kind.arch == Arch::Arm64 {
        // The `vb3-codec` that cargo built has no codecs, because there was no libavcodec for arm64.
        let codec = built("vb3")?.with_file_name("vb3-codec");
        dist::codec::put(kind.arch, kind.suite, &codec)?;
    }
    built(name)
}
