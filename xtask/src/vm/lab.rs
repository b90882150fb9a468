//! The build root and the guest image, which are made once and kept in the cache.

use super::arch::Arch;
use super::step;
use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// The directories of this machine's lab.
#[derive(Debug)]
pub(crate) struct Lab {
    root: PathBuf,
    cache: PathBuf,
    tsc_khz: OnceLock<Option<u64>>,
}

impl Lab {
    /// Finds the lab, or makes it.
    ///
    /// # Errors
    /// No mirror is known, or a step fails.
    pub(crate) fn open(mirror: Option<&str>, refresh: bool) -> Result<Self> {
        let lab = Self::find()?;
        let _lock = lab.lock()?;
        let guest = lab.guest(Arch::X86_64)?;
        if refresh || !lab.root.exists() || !guest.exists() {
            if refresh {
                lab.remove()?;
            }
            lab.make(&mirror_or_own(mirror)?)?;
        }
        Ok(lab)
    }

    /// Adds what an architecture other than x86-64 needs, if it was not added before.
    ///
    /// # Errors
    /// No mirror is known, or a step fails.
    pub(crate) fn add(&self, arch: Arch, mirror: Option<&str>) -> Result<()> {
        if arch == Arch::X86_64 {
            return Ok(());
        }
        let name = arch.name();
        let script = format!("make-{name}.sh");
        let stamp = key(&script)?;
        let _lock = self.lock()?;
        let made = self.root.join(format!("kernels/{name}.stamp"));
        if std::fs::read_to_string(made).unwrap_or_default().trim() != stamp {
            let inside = self.script(&script)?;
            step::run(
                &format!(
                    "adding {name} to the build root: a compiler, headers and kernels, about 300 MB to load"
                ),
                25 * MINUTE,
                &self.log(&format!("make-{name}")),
                &mut self.inside(&["sh", &inside, &stamp]),
            )?;
        }
        if !self.guest(arch)?.exists() {
            self.make_guest(arch, &mirror_or_own(mirror)?)?;
        }
        Ok(())
    }

    /// Copies a script into the build root. Returns the script's name there.
    fn script(&self, name: &str) -> Result<String> {
        let dir = self.work().join("scripts");
        std::fs::create_dir_all(&dir).with_context(|| format!("no {}", dir.display()))?;
        std::fs::copy(sh::root().join("lab").join(name), dir.join(name))
            .with_context(|| format!("cannot copy {name}"))?;
        Ok(format!("/work/scripts/{name}"))
    }

    /// Returns the lab's directories, which need not exist yet.
    fn find() -> Result<Self> {
        let cache = sh::cache()?.join("lab");
        std::fs::create_dir_all(&cache).context("cannot make the cache")?;
        std::fs::create_dir_all(logs()).context("cannot make the directory of logs")?;
        Ok(Self {
            root: cache.join(format!("root-{}", key("make-root.sh")?)),
            cache,
            tsc_khz: OnceLock::new(),
        })
    }

    /// Checks that this machine has the lab, or can make it.
    ///
    /// # Errors
    /// The lab cannot be made. The message says what is missing.
    pub(crate) fn possible(mirror: Option<&str>) -> Result<()> {
        sh::quietly(namespace().arg("true")).context("cannot create namespaces")?;
        let lab = Self::find()?;
        if lab.root.exists() && lab.guest(Arch::X86_64)?.exists() {
            return Ok(());
        }
        let mirror = mirror_or_own(mirror)?;
        let to = lab.cache.join("reachable");
        let mut load = Command::new("/usr/lib/apt/apt-helper");
        load.arg("download-file")
            .arg(format!("{mirror}/dists/trixie-backports/InRelease"))
            .arg(&to);
        sh::quietly(&mut load).context("the Debian mirror cannot be reached")?;
        // Only the download itself mattered.
        let _gone = std::fs::remove_file(&to);
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        let mut remove = namespace();
        remove.args(["rm", "-rf"]).arg(&self.root);
        for arch in [Arch::X86_64, Arch::Arm64] {
            remove.arg(self.guest(arch)?);
        }
        let log = self.log("remove");
        step::run("removing the old build root", 5 * MINUTE, &log, &mut remove)
    }

    fn make(&self, mirror: &str) -> Result<()> {
        if !self.root.exists() {
            let mut make = namespace();
            make.arg("sh")
                .arg(sh::root().join("lab/make-root.sh"))
                .arg(mirror)
                .arg(&self.root);
            let what =
                "making the build root: compilers, headers and kernels, about 700 MB to load";
            step::run(what, 25 * MINUTE, &self.log("make-root"), &mut make)?;
        }
        if !self.guest(Arch::X86_64)?.exists() {
            self.make_guest(Arch::X86_64, mirror)?;
        }
        Ok(())
    }

    fn make_guest(&self, arch: Arch, mirror: &str) -> Result<()> {
        let name = arch.name();
        let mut make = namespace();
        make.arg("sh")
            .arg(sh::root().join("lab/make-guest.sh"))
            .args([mirror, arch.debian()])
            .arg(self.cache.join(format!("guest-tree-{name}")))
            .arg(self.guest(arch)?);
        let what = format!("making the guest image of {name}");
        step::run(&what, 10 * MINUTE, &self.log("make-guest"), &mut make)
    }

    /// Returns the kernels of an architecture that was added, oldest first.
    pub(crate) fn kernels(&self, arch: Arch) -> Result<Vec<String>> {
        let list = self.root.join(match arch {
            Arch::X86_64 => "kernels.list".to_owned(),
            other => format!("kernels/{}.list", other.name()),
        });
        let text = std::fs::read_to_string(&list)
            .with_context(|| format!("cannot read {}", list.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Returns the checked kernel. Builds it if there is none for this source and configuration.
    ///
    /// # Errors
    /// No stock kernel has the source, or the build fails.
    pub(crate) fn checked(&self) -> Result<String> {
        let stock = self.kernels(Arch::X86_64)?.into_iter().next();
        let stock = stock.context("the build root has no kernel")?;
        let version = stock.split('+').next().unwrap_or(&stock);
        let stamp = format!("{}-{}", key("make-checked.sh")?, key("checked.config")?);
        let name = format!("{version}{CHECKED}");
        let lock = self.cache.join("checked.lock");
        let lock = File::create(&lock).with_context(|| format!("no {}", lock.display()))?;
        lock.lock().context("cannot lock the checked kernel")?;
        let made = std::fs::read_to_string(self.kernel(&name, "stamp")).unwrap_or_default();
        if made.trim() == stamp {
            return Ok(name);
        }
        let mut copy = Command::new("sh");
        copy.args([
            "-euc",
            "mkdir -p \"$1\"; cp make-checked.sh checked.config \"$1/\"",
            "sh",
        ])
        .arg(self.work().join("checked"))
        .current_dir(sh::root().join("lab"));
        sh::quietly(&mut copy)?;
        step::run(
            &format!("building {name}, once: about 150 MB to load, and seven minutes of two cores"),
            60 * MINUTE,
            &self.log("make-checked"),
            &mut self.inside(&[
                "sh",
                "/work/checked/make-checked.sh",
                &stock,
                "/work/checked/checked.config",
                &stamp,
                &format!("/kernels/{name}"),
            ]),
        )?;
        Ok(name)
    }

    /// Returns the path of a kernel's file in the build root.
    pub(crate) fn kernel(&self, kernel: &str, file: &str) -> PathBuf {
        self.root.join("kernels").join(kernel).join(file)
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
            let said = sh::quietly(&mut Command::new(
                super::build::programs(self, Arch::X86_64).join("tsc"),
            ))
            .ok()?;
            String::from_utf8(said).ok()?.trim().parse().ok()
        })
    }

    /// Returns the image of an architecture's guests.
    pub(crate) fn guest(&self, arch: Arch) -> Result<PathBuf> {
        let key = key("make-guest.sh")?;
        let name = format!("guest-{}-{key}.cpio.gz", arch.name());
        Ok(self.cache.join(name))
    }

    /// Returns the path of a step's log.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        logs().join(format!("{step}.log"))
    }

    /// Locks the build root against other processes while the returned file is open. Waits for the lock.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.cache.join("lock");
        let file = File::create(&path).with_context(|| format!("no {}", path.display()))?;
        if file.try_lock().is_err() {
            eprintln!("vm: waiting for another run that changes the build root");
            file.lock().context("cannot lock the build root")?;
        }
        Ok(file)
    }

    /// Runs a script of lab/ with arguments inside the build root, with a log of its own.
    /// `seconds` is the time limit. No argument may contain a blank.
    ///
    /// # Errors
    /// The step fails. The message names the log.
    pub(crate) fn step(&self, what: &str, seconds: u64, log: &str, line: &str) -> Result<()> {
        let script = format!("/work/src/lab/{line}");
        let words: Vec<&str> = std::iter::once("sh").chain(script.split(' ')).collect();
        let limit = Duration::from_secs(seconds);
        step::run(what, limit, &self.log(log), &mut self.inside(&words))
    }

    /// Returns a command that runs inside the build root as root.
    pub(crate) fn inside(&self, words: &[&str]) -> Command {
        let mut command = namespace();
        // The caller's directory for temporary files need not exist in the build root.
        command
            .env_remove("TMPDIR")
            .args(["sh", "-c"])
            .arg(
                r#"root=$1 work=$2; shift 2; mkdir -p "$work" "$root/work" &&
                mount -t proc proc "$root/proc" && mount --bind "$work" "$root/work" &&
                exec chroot "$root" "$@""#,
            )
            .arg("sh")
            .arg(&self.root)
            .arg(self.work())
            .args(words);
        command
    }
}

/// The suffix of a checked kernel's version.
const CHECKED: &str = "-checked";

/// Returns whether this is the checked kernel.
pub(crate) fn is_checked(kernel: &str) -> bool {
    kernel.ends_with(CHECKED)
}

/// Returns a key that changes with the content of a script of lab/.
pub(crate) fn key(script: &str) -> Result<String> {
    let path = sh::root().join("lab").join(script);
    let text = std::fs::read(&path).with_context(|| format!("no {}", path.display()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Ok(format!("{:08x}", hasher.finish() & 0xffff_ffff))
}

/// Returns the directory of the steps' logs.
pub(crate) fn logs() -> PathBuf {
    super::results().join("log")
}

/// Returns a command that runs its arguments at low priority in new namespaces.
/// The command's mounts end with it. Without root rights, it also uses a user namespace.
pub(crate) fn namespace() -> Command {
    let mut command = Command::new("nice");
    command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--map-root-user", "--map-auto"]);
    }
    command
}

/// Returns the given mirror, or this system's own.
fn mirror_or_own(mirror: Option<&str>) -> Result<String> {
    mirror.map_or_else(own_mirror, |mirror| Ok(mirror.to_owned()))
}

/// Returns the Debian mirror in this system's apt sources.
pub(crate) fn own_mirror() -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = Path::new("/etc/apt/sources.list.d").read_dir() {
        files.extend(dir.flatten().map(|entry| entry.path()));
    }
    let found = files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .find_map(|text| mirror_in(&text));
    match found {
        Some(mirror) => Ok(mirror),
        None => bail!("this system's apt sources name no Debian mirror; give one with --mirror"),
    }
}

/// Returns the first Debian mirror in an apt source list, of either format.
fn mirror_in(text: &str) -> Option<String> {
    text.lines()
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .find(|word| {
            let path = word.trim_end_matches('/');
            path.contains("://") && path.ends_with("/debian")
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn mirrors_are_found_in_both_formats() {
        let new = "Types: deb\nURIs: http://mirror.example/debian-security\n\n\
                   Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(
            mirror_in(new).as_deref(),
            Some("http://mirror.example/debian")
        );
        let old = "# deb http://no.example/debian x main\n\
                   deb [arch=amd64] https://mirror.example/debian/ bookworm main\n";
        assert_eq!(
            mirror_in(old).as_deref(),
            Some("https://mirror.example/debian/")
        );
        assert_eq!(
            mirror_in("deb http://mirror.example/ubuntu noble main\n"),
            None
        );
    }
}
