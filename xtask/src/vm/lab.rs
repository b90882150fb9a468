//! The build root and the guest image: made once, kept in the cache.

use super::step;
use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// The lab of this machine.
#[derive(Debug)]
pub(crate) struct Lab {
    root: PathBuf,
    guest: PathBuf,
    cache: PathBuf,
}

impl Lab {
    /// Finds the lab, or makes it.
    ///
    /// # Errors
    /// No mirror is known, or a step fails.
    pub(crate) fn open(mirror: Option<&str>, refresh: bool) -> Result<Self> {
        let cache = sh::cache()?.join("lab");
        std::fs::create_dir_all(cache.join("log")).context("cannot make the cache")?;
        let key = |script: &str| -> Result<String> {
            let path = sh::root().join("lab").join(script);
            let text = std::fs::read(&path).with_context(|| format!("no {}", path.display()))?;
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            Ok(format!("{:08x}", hasher.finish() & 0xffff_ffff))
        };
        let lab = Self {
            root: cache.join(format!("root-{}", key("make-root.sh")?)),
            guest: cache.join(format!("guest-{}.cpio.gz", key("make-guest.sh")?)),
            cache,
        };
        if refresh || !lab.root.exists() || !lab.guest.exists() {
            let mirror = match mirror {
                Some(mirror) => mirror.to_owned(),
                None => own_mirror()?,
            };
            lab.make(&mirror, refresh)?;
        }
        Ok(lab)
    }

    fn make(&self, mirror: &str, refresh: bool) -> Result<()> {
        if refresh {
            step::run(
                "removing the old build root",
                5 * MINUTE,
                &self.log("remove"),
                namespace()
                    .args(["rm", "-rf"])
                    .args([&self.root, &self.guest]),
            )?;
        }
        if !self.root.exists() {
            let mut make = namespace();
            make.arg("sh")
                .arg(sh::root().join("lab/make-root.sh"))
                .arg(mirror)
                .arg(&self.root);
            let what =
                "making the build root: compilers, headers and kernels, about 700 MB to load";
            step::run(what, 15 * MINUTE, &self.log("make-root"), &mut make)?;
        }
        if !self.guest.exists() {
            let mut make = namespace();
            make.arg("sh")
                .arg(sh::root().join("lab/make-guest.sh"))
                .arg(mirror)
                .arg(self.cache.join("guest-tree"))
                .arg(&self.guest);
            let what = "making the guest image";
            step::run(what, 5 * MINUTE, &self.log("make-guest"), &mut make)?;
        }
        Ok(())
    }

    /// The kernels there are, oldest first.
    pub(crate) fn kernels(&self) -> Result<Vec<String>> {
        let list = self.root.join("kernels.list");
        let text = std::fs::read_to_string(&list)
            .with_context(|| format!("cannot read {}", list.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// A file of a kernel's, in the build root.
    pub(crate) fn kernel(&self, kernel: &str, file: &str) -> PathBuf {
        self.root.join("kernels").join(kernel).join(file)
    }

    /// Where the project is built, inside the build root.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The guest's image.
    pub(crate) fn guest(&self) -> &Path {
        &self.guest
    }

    /// The log of a step.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        self.cache.join("log").join(format!("{step}.log"))
    }

    /// A command inside the build root, as if run there by root.
    pub(crate) fn inside(&self, words: &[&str]) -> Command {
        let mut command = namespace();
        command
            .args(["sh", "-c"])
            .arg("root=$1; shift; mount -t proc proc $root/proc && exec chroot $root \"$@\"")
            .arg("sh")
            .arg(&self.root)
            .args(words);
        command
    }
}

/// Runs what follows at low priority in namespaces of its own, so that its mounts go with it.
/// Without root, in a user namespace.
fn namespace() -> Command {
    let mut command = Command::new("nice");
    command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    if !crate::setup::is_root() {
        command.args(["--map-root-user", "--map-auto"]);
    }
    command
}

/// The Debian mirror in this system's apt sources.
fn own_mirror() -> Result<String> {
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

/// The first Debian mirror in an apt source list, of either format.
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
