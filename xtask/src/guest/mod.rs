//! Guests whose root is a directory of this machine. QEMU emulates either processor with a stock
//! Debian kernel. Programs come from this system, or from a root that is made once and kept.

mod parts;

use crate::sh;
use crate::vm::step::{Running, tail};
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Interval at which a guest's output is read.
const TICK: Duration = Duration::from_millis(100);

/// Memory of a guest in megabytes. It also holds what the guest writes.
const MEMORY: &str = "3072";

/// A guest: a kernel, a processor and a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Debian's release and package of the kernel.
    suite: &'static str,
    image: &'static str,
    pub(crate) arm64: bool,
    /// Whether the kernel is too old for `vb3 run`, which must then say so.
    pub(crate) refused: bool,
}

/// All guests.
pub(crate) const ALL: &[Kind] = &[
    Kind {
        refused: true,
        ..kind("kernel-5.10", "bullseye", "linux-image-amd64", false)
    },
    kind("kernel-6.1", "bookworm", "linux-image-amd64", false),
    kind("arm64", "trixie", "linux-image-arm64", true),
    kind("arm64-16k", "trixie", "linux-image-arm64-16k", true),
];

const fn kind(name: &'static str, suite: &'static str, image: &'static str, arm64: bool) -> Kind {
    Kind {
        name,
        suite,
        image,
        arm64,
        refused: false,
    }
}

/// A guest that can be booted.
pub(crate) struct Guest {
    pub(crate) kind: Kind,
    kernel: PathBuf,
    root: PathBuf,
}

impl Guest {
    /// Gets the kernel and the root, or finds them kept.
    ///
    /// # Errors
    /// A package is missing and cannot be installed, or no mirror can be reached.
    pub(crate) fn get(kind: Kind) -> Result<Self> {
        let packages = if kind.arm64 {
            crate::setup::ARM64
        } else {
            crate::setup::VM
        };
        crate::setup::install(packages)?;
        Ok(Self {
            kind,
            kernel: parts::kernel(kind)?,
            root: if kind.arm64 {
                parts::root()?
            } else {
                PathBuf::from("/")
            },
        })
    }

    /// Returns the kernel's version.
    pub(crate) fn version(&self) -> String {
        std::fs::read_to_string(self.kernel.join("version"))
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    }

    /// Boots the guest and runs `out/run.sh`. The guest has `out` as `/out`, and this tree at the
    /// same path as here. Lines that the script adds to `out/said` are shown at once. `out/log`
    /// gets the script's output.
    ///
    /// # Errors
    /// The guest does not boot, or has not ended after `limit`. The message has the end of its output.
    pub(crate) fn run(&self, out: &Path, limit: Duration) -> Result<()> {
        let log = out.join("console");
        std::fs::write(out.join("tree"), sh::root().display().to_string())?;
        eprintln!(
            "{}: booting Linux {} (at most {} s; logs: {})",
            self.kind.name,
            self.version(),
            limit.as_secs(),
            out.display()
        );
        let file = File::create(&log)?;
        let start = Instant::now();
        let mut running = Running::start(self.machine(out).stdout(file.try_clone()?).stderr(file))?;
        let mut shown = 0;
        loop {
            let ended = running.ended()?.is_some();
            shown = self.show(out, shown);
            if ended {
                break;
            }
            if start.elapsed() > limit {
                let said = tail(&out.join("log"));
                bail!(
                    "{} has not ended after {} s:\n{said}",
                    self.kind.name,
                    limit.as_secs()
                );
            }
            std::thread::sleep(TICK);
        }
        if !out.join("status").exists() {
            bail!(
                "{} ended early:\n{}{}",
                self.kind.name,
                tail(&log),
                tail(&out.join("log"))
            );
        }
        let took = start.elapsed().as_secs();
        eprintln!("{}: ended after {took} s", self.kind.name);
        Ok(())
    }

    /// Shows the new output of the script. Returns the length in bytes of all output shown so far.
    fn show(&self, out: &Path, shown: usize) -> usize {
        let text = std::fs::read(out.join("said")).unwrap_or_default();
        let new = text.get(shown..).unwrap_or_default();
        let whole = new.iter().rposition(|byte| *byte == b'\n');
        let Some(end) = whole else {
            return shown;
        };
        for line in String::from_utf8_lossy(&new[..end]).lines() {
            eprintln!("{}: {line}", self.kind.name);
        }
        shown + end + 1
    }

    fn machine(&self, out: &Path) -> Command {
        let mut qemu = Command::new("nice");
        // A cheap function signs pointers: emulated, the architecture's own one takes most of a kernel's
        // time.
        let (program, machine, cpu, console) = if self.kind.arm64 {
            let cpu = "max,pauth-impdef=on";
            ("qemu-system-aarch64", "virt,gic-version=3", cpu, "ttyAMA0")
        } else {
            ("qemu-system-x86_64", "q35", "max", "ttyS0")
        };
        qemu.args([program, "-M", machine, "-cpu", cpu])
            .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", MEMORY])
            .args(["-nodefaults", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio", "-append"])
            .arg(format!(
                "console={console} quiet no_timer_check oops=panic panic=-1"
            ))
            .arg("-kernel")
            .arg(self.kernel.join("vmlinuz"))
            .arg("-initrd")
            .arg(self.kernel.join("initrd"));
        let own = sh::root();
        let mut shares = vec![
            (self.root.as_path(), "root", ",readonly=on"),
            (out, "out", ""),
        ];
        if self.kind.arm64 {
            shares.push((own.as_path(), "tree", ",readonly=on"));
        }
        for (dir, tag, how) in shares {
            qemu.arg("-virtfs").arg(format!(
                "local,path={},mount_tag={tag},security_model=none,multidevs=remap{how}",
                dir.display()
            ));
        }
        qemu
    }
}

/// Builds optimised programs for a guest, and returns their paths.
///
/// They are `vb3`, linked statically if the guest has another processor, and with `tests` the tests with real
/// programs.
///
/// # Errors
/// The build fails, or its tools are missing.
pub(crate) fn programs(kind: Kind, tests: bool) -> Result<(PathBuf, Option<PathBuf>)> {
    parts::programs(kind, tests).context("the guest's programs cannot be built")
}
