//! The build root and the guest image, which are made once and kept in the cache.

use crate::arch::Arch;
use crate::sh::{self, cmd};
use crate::step;
use anyhow::{Context as _, Result};
use fs_err::{self as fs, File};
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

#[derive(Debug)]
pub(crate) struct Lab {
    root: PathBuf,
    cache: PathBuf,
    tsc_khz: OnceLock<Option<u64>>,
}

impl Lab {
    /// Finds the lab, or makes it.
    pub(crate) fn open() -> Result<Self> {
        let cache = sh::cache("lab")?;
        let lab = Self {
            root: cache.join(format!("root-{}", key("make-root.sh")?)),
            cache,
            tsc_khz: OnceLock::new(),
        };
        let _lock = lab.lock()?;
        let what = "making the build root: compilers, headers and kernels, about 700 MB to load";
        make(&lab.root, what, 25, "make-root.sh", &[lab.root.as_ref()])?;
        lab.make_guest(Arch::X86_64)?;
        Ok(lab)
    }

    /// Adds the packages of an architecture other than x86-64 once. The build root must have the sources.
    pub(crate) fn add(&self, arch: Arch) -> Result<()> {
        if arch == Arch::X86_64 {
            return Ok(());
        }
        let name = arch.name();
        let script = format!("make-{name}.sh");
        let stamp = key(&script)?;
        let _lock = self.lock()?;
        if !is_stamped(&self.kernel("", &format!("{name}.stamp")), &stamp) {
            let what =
                format!("adding {name} to the build root: compiler, headers, kernels; 300 MB");
            self.step(&what, 1500, &format!("{script} {stamp}"))?;
        }
        self.make_guest(arch)
    }

    fn make_guest(&self, arch: Arch) -> Result<()> {
        let (name, out) = (arch.name(), self.guest(arch)?);
        let tree = self.cache.join(format!("guest-tree-{name}"));
        let words: [&OsStr; 3] = [arch.debian().as_ref(), tree.as_ref(), out.as_ref()];
        let what = format!("making the guest image of {name}");
        make(&out, &what, 10, "make-guest.sh", &words)
    }

    /// Returns the kernels of an architecture, oldest first. Except for x86-64, `add` must have run before.
    pub(crate) fn kernels(&self, arch: Arch) -> Result<Vec<String>> {
        let list = match arch {
            Arch::X86_64 => self.root.join("kernels.list"),
            other => self.kernel("", &format!("{}.list", other.name())),
        };
        let list = fs::read_to_string(list)?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Returns the kernels that CI does not use. Makes them once. The build root must have those of arm64.
    pub(crate) fn more(&self) -> Result<Vec<String>> {
        let stamp = key("make-more.sh")?;
        let _lock = self.lock()?;
        if !is_stamped(&self.kernel("", "more.stamp"), &stamp) {
            let what = "adding kernels to the build root: PREEMPT_RT, Debian 12's, Clang; 700 MB";
            let line = format!("make-more.sh {} {stamp}", own_mirror());
            self.step(what, 1500, &line)?;
        }
        let list = fs::read_to_string(self.kernel("", "more.list"))?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Returns the checked kernel (with KASAN and others). Builds it once. The build root must have the sources.
    pub(crate) fn checked(&self) -> Result<String> {
        let stock = self.kernels(Arch::X86_64)?.into_iter().next();
        let stock = stock.context("the build root has no kernel")?;
        let version = stock.split('+').next().unwrap_or(&stock);
        let stamp = format!("{}-{}", key("make-checked.sh")?, key("checked.config")?);
        let name = format!("{version}{CHECKED}");
        let lock = File::create(self.cache.join("checked.lock"))?;
        lock.lock()?;
        if is_stamped(&self.kernel(&name, "stamp"), &stamp) {
            return Ok(name);
        }
        let what =
            format!("building {name}: once, about 150 MB to load, and seven minutes of two cores");
        let config = "/work/src/kernel/lab/checked.config";
        let line = format!("make-checked.sh {stock} {config} {stamp} /kernels/{name}");
        self.step(&what, 3600, &line)?;
        Ok(name)
    }

    pub(crate) fn kernel(&self, kernel: &str, file: &str) -> PathBuf {
        self.root.join("kernels").join(kernel).join(file)
    }

    /// Returns the directory of the C headers of the build root.
    pub(crate) fn headers(&self) -> PathBuf {
        self.root.join("usr/include")
    }

    /// Returns the name of the archive of a kernel's modules, among the kernel's files.
    pub(crate) fn packed(&self) -> Result<String> {
        Ok(format!("modules-{}.cpio.gz", key("make-modules.sh")?))
    }

    /// Returns the directory of the drivers that were built from a kernel's source.
    pub(crate) fn peers(&self, kernel: &str) -> Result<PathBuf> {
        Ok(self.kernel(kernel, &format!("peers-{}", key("peers.sh")?)))
    }

    /// Returns this tree's build directory. Inside the build root, it is `/work`.
    pub(crate) fn work(&self) -> PathBuf {
        super::results().join("build")
    }

    /// Returns the rate of this machine's time stamp counter in kHz, if it has one. Runs a built program.
    pub(crate) fn tsc_khz(&self) -> Option<u64> {
        *self.tsc_khz.get_or_init(|| {
            let program = super::build::programs(self, Arch::X86_64).join("tsc");
            sh::text(cmd!("{program}")).ok()?.parse().ok()
        })
    }

    pub(crate) fn guest(&self, arch: Arch) -> Result<PathBuf> {
        let name = format!("guest-{}-{}.cpio.gz", arch.name(), key("make-guest.sh")?);
        Ok(self.cache.join(name))
    }

    /// Locks the build root against other processes while the returned file is open. Waits for the lock.
    pub(crate) fn lock(&self) -> Result<File> {
        let file = File::create(self.cache.join("lock"))?;
        if file.try_lock().is_err() {
            eprintln!("vm: waiting for another run that changes the build root");
            file.lock()?;
        }
        Ok(file)
    }

    /// Runs a script of kernel/lab/ with arguments inside the build root, as root, with a log of its own.
    /// `seconds` is the time limit. No argument may contain a blank.
    pub(crate) fn step(&self, what: &str, seconds: u64, line: &str) -> Result<()> {
        const SCRIPT: &str = r#"root=$1 work=$2; shift 2; mkdir -p "$work" "$root/work" &&
            mount -t proc proc "$root/proc" && mount --bind "$work" "$root/work" &&
            exec chroot "$root" sh "$@""#;
        let mut command = namespace();
        // The caller's directory for temporary files need not exist in the build root.
        command.env_remove("TMPDIR");
        command.args(["sh", "-c", SCRIPT, "sh"]);
        command.args([&self.root, &self.work()]);
        command.args(format!("/work/src/kernel/lab/{line}").split(' '));
        step::run(what, seconds, &mut command)
    }
}

fn is_stamped(file: &Path, stamp: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.trim() == stamp)
}

const CHECKED: &str = "-checked";

pub(crate) fn is_checked(kernel: &str) -> bool {
    kernel.ends_with(CHECKED)
}

/// Returns the architecture of a kernel, judged by the end of its name.
pub(crate) fn arch_of(kernel: &str) -> Arch {
    match kernel.ends_with("-arm64") {
        true => Arch::Arm64,
        false => Arch::X86_64,
    }
}

/// Returns a key that changes with the content of a script of kernel/lab/.
pub(crate) fn key(script: &str) -> Result<String> {
    Ok(hash(&fs::read(sh::root().join("kernel/lab").join(script))?))
}

/// Returns a short text that changes with a value.
pub(crate) fn hash(value: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}

/// Runs a script of kernel/lab/ that makes files to keep. Does nothing if the file `last` exists: the script makes
/// this file last, so its other files then exist, too. The script's arguments are this system's mirror and `words`.
pub(crate) fn make(
    last: &Path,
    what: &str,
    minutes: u64,
    script: &str,
    words: &[&OsStr],
) -> Result<()> {
    if last.exists() {
        return Ok(());
    }
    let mut make = namespace();
    make.arg("sh")
        .arg(sh::root().join("kernel/lab").join(script));
    make.arg(own_mirror()).args(words);
    step::run(what, minutes * 60, &mut make)
}

/// Returns a file or directory of the cache. A script of kernel/lab/ makes it once, as for [`make`], with its path as
/// the last argument.
pub(crate) fn kept(
    name: &str,
    what: &str,
    minutes: u64,
    script: &str,
    words: &[&OsStr],
) -> Result<PathBuf> {
    let out = sh::cache("lab")?.join(format!("{name}-{}", key(script)?));
    let words = [words, &[out.as_ref()]].concat();
    make(&out, what, minutes, script, &words)?;
    Ok(out)
}

/// Returns a command that runs its arguments at low priority in new namespaces.
/// The command's mounts end with it. Without root rights, it also uses a user namespace.
pub(crate) fn namespace() -> Command {
    let mut command = cmd!("nice unshare --mount --pid --fork --kill-child");
    if !rustix::process::geteuid().is_root() {
        command.args(["--map-root-user", "--map-auto"]);
    }
    command
}

/// Returns the Debian mirror in this system's apt sources, or else Debian's public one.
fn own_mirror() -> String {
    let sites = sh::text(cmd!("apt-get indextargets --format $(SITE)")).unwrap_or_default();
    let is_debian = |site: &&str| site.trim_end_matches('/').ends_with("/debian");
    let mirror = sites.lines().find(is_debian);
    mirror.unwrap_or("http://deb.debian.org/debian").to_owned()
}
