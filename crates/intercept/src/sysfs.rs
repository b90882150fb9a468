//! The generated part of /sys, in a directory of its own.

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::backend::{Errno, FdIdentity, Node};
use crate::raw;
use crate::stat::{MAJOR, path_of};

const CLASS: &str = "class/video4linux";
const DEVICES: &str = "devices/virtual/video4linux";

/// A generated tree; removed when dropped.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    /// The file system it lies on.
    dev: u64,
    /// Names under /sys/dev/char.
    numbers: Vec<String>,
}

fn errno(e: std::io::Error) -> Errno {
    Errno(e.raw_os_error().unwrap_or(libc::EIO))
}

impl Tree {
    /// Makes the tree for these nodes with these files (absolute paths under /sys).
    pub(crate) fn make(nodes: &[Node], files: &[(PathBuf, String)]) -> Result<Self, Errno> {
        let template = std::env::temp_dir().join("vb3-sys-XXXXXX");
        let mut template = CString::new(template.as_os_str().as_bytes())
            .map_err(|_| Errno(libc::EINVAL))?
            .into_bytes_with_nul();
        // SAFETY: a NUL-terminated template that mkdtemp may write to.
        if unsafe { libc::mkdtemp(template.as_mut_ptr().cast()) }.is_null() {
            return Err(raw::errno());
        }
        template.pop();
        let root = PathBuf::from(std::ffi::OsStr::from_bytes(&template));
        let dev = fs::metadata(&root).map_err(errno)?;
        let dev = std::os::unix::fs::MetadataExt::dev(&dev);
        let mut this = Self {
            root,
            dev,
            numbers: Vec::new(),
        };
        this.fill(nodes, files).map_err(errno)?;
        Ok(this)
    }

    fn fill(&mut self, nodes: &[Node], files: &[(PathBuf, String)]) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let at = |path: &str| self.root.join(path);
        for dir in [CLASS, DEVICES, "dev/char"] {
            fs::create_dir_all(at(dir))?;
        }
        // The program may run as someone else.
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o755))?;
        for node in nodes {
            let name = node
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let number = format!("{MAJOR}:{}", node.minor);
            let device = at(DEVICES).join(&name);
            fs::create_dir_all(&device)?;
            fs::write(device.join("dev"), format!("{number}\n"))?;
            let uevent = format!("MAJOR={MAJOR}\nMINOR={}\nDEVNAME={name}\n", node.minor);
            fs::write(device.join("uevent"), uevent)?;
            symlink(format!("../../../../{CLASS}"), device.join("subsystem"))?;
            symlink(format!("../../{DEVICES}/{name}"), at(CLASS).join(&name))?;
            symlink(
                format!("../../{DEVICES}/{name}"),
                at("dev/char").join(&number),
            )?;
            self.numbers.push(number);
        }
        for (path, text) in files {
            let Ok(inside) = path.strip_prefix("/sys") else {
                continue;
            };
            let file = self.root.join(inside);
            if inside.components().any(|part| part.as_os_str() == "..") {
                continue;
            }
            if let Some(dir) = file.parent() {
                fs::create_dir_all(dir)?;
            }
            fs::write(file, text)?;
        }
        Ok(())
    }

    /// The real path of a tidy absolute path, if it lies in the generated part.
    pub(crate) fn real(&self, path: &[u8]) -> Option<CString> {
        let inside = path.strip_prefix(b"/sys/")?;
        let below = |prefix: &str| {
            inside
                .strip_prefix(prefix.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
        };
        let number = |number: &String| below(&format!("dev/char/{number}"));
        (below(CLASS) || below(DEVICES) || self.numbers.iter().any(number)).then_some(())?;
        let real = self
            .root
            .join(Path::new(std::ffi::OsStr::from_bytes(inside)));
        CString::new(real.into_os_string().into_encoded_bytes()).ok()
    }

    /// Whether an open file lies in the tree.
    pub(crate) fn contains(&self, id: FdIdentity, fd: Option<&OwnedFd>) -> bool {
        id.dev == self.dev
            && fd.and_then(path_of).is_some_and(|path| {
                path.strip_prefix(self.root.as_os_str().as_bytes())
                    .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
            })
    }

    /// Names under /sys/dev/char.
    pub(crate) fn numbers(&self) -> &[String] {
        &self.numbers
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A directory left behind in /tmp is nothing to fail for.
        drop(fs::remove_dir_all(&self.root));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::NodeId;

    #[test]
    fn the_tree_is_like_sysfs_and_goes_away() {
        let node = Node {
            id: NodeId(0),
            path: "/dev/video7".into(),
            minor: 3,
        };
        let name = PathBuf::from("/sys/class/video4linux/video7/name");
        let tree = Tree::make(&[node], &[(name, "cam\n".into())]).expect("a tree");
        let read = |path: &str| {
            let real = tree.real(path.as_bytes()).expect("inside");
            fs::read_to_string(real.to_str().expect("utf-8")).expect(path)
        };
        assert_eq!(read("/sys/class/video4linux/video7/name"), "cam\n");
        assert_eq!(
            read("/sys/dev/char/81:3/uevent"),
            "MAJOR=81\nMINOR=3\nDEVNAME=video7\n"
        );
        assert_eq!(read("/sys/dev/char/81:3/subsystem/video7/dev"), "81:3\n");
        assert_eq!(tree.real(b"/sys/dev/char/81:30"), None);
        assert_eq!(tree.real(b"/sys/class/video4linuxes"), None);
        let root = tree.root.clone();
        drop(tree);
        assert!(!root.exists());
    }
}
