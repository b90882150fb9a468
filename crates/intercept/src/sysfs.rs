//! The generated part of /sys, in a directory of its own.

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::raw;
use crate::stat::path_of;
use vb3_host::{Errno, FdIdentity, Node, NodeKind};

const CLASS: &str = "class/video4linux";
const DEVICES: &str = "devices/virtual/video4linux";
const PLATFORM: &str = "devices/platform";
const MEDIA: &str = "bus/media";

/// A generated tree; removed when dropped.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    /// The file system it lies on.
    dev: u64,
    /// Names under /sys/dev/char.
    numbers: Vec<String>,
    /// Other directories that are generated whole.
    dirs: Vec<String>,
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
            dirs: Vec::new(),
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
            self.add(node)?;
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

    /// Adds the directory of a node and the links that lead to it.
    fn add(&mut self, node: &Node) -> std::io::Result<()> {
        let name = node.path.file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let (above, subsystem, all) = match (node.kind, &node.device) {
            (NodeKind::Video, _) => (DEVICES.to_owned(), CLASS, CLASS.to_owned()),
            (NodeKind::Media { .. }, None) => return Ok(()),
            (NodeKind::Media { .. }, Some(device)) => (
                format!("{PLATFORM}/{device}"),
                MEDIA,
                format!("{MEDIA}/devices"),
            ),
        };
        let (major, minor) = (node.major(), node.minor);
        let number = format!("{major}:{minor}");
        let place = self.root.join(&above).join(&*name);
        fs::create_dir_all(&place)?;
        fs::write(place.join("dev"), format!("{number}\n"))?;
        let uevent = format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\n");
        fs::write(place.join("uevent"), uevent)?;
        let here = format!("{above}/{name}");
        link(&self.root, &format!("{here}/subsystem"), subsystem)?;
        link(&self.root, &format!("{all}/{name}"), &here)?;
        link(&self.root, &format!("dev/char/{number}"), &here)?;
        self.numbers.push(number);
        if let Some(device) = &node.device {
            let device = format!("{PLATFORM}/{device}");
            fs::create_dir_all(self.root.join(&device))?;
            link(&self.root, &format!("{here}/device"), &device)?;
            self.own(device);
        }
        if matches!(node.kind, NodeKind::Media { .. }) {
            self.own(MEDIA.to_owned());
        }
        Ok(())
    }

    fn own(&mut self, dir: String) {
        if !self.dirs.contains(&dir) {
            self.dirs.push(dir);
        }
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
        let ours = below(CLASS)
            || below(DEVICES)
            || self.numbers.iter().any(number)
            || self.dirs.iter().any(|dir| below(dir));
        ours.then_some(())?;
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

    /// Directories under /sys that are generated whole, besides those of video nodes.
    pub(crate) fn dirs(&self) -> &[String] {
        &self.dirs
    }

    /// Names under /sys/dev/char.
    pub(crate) fn numbers(&self) -> &[String] {
        &self.numbers
    }
}

/// Makes a link at `from` that leads to `to`, both seen from the tree's root.
fn link(root: &Path, from: &str, to: &str) -> std::io::Result<()> {
    let place = root.join(from);
    if let Some(dir) = place.parent() {
        fs::create_dir_all(dir)?;
    }
    let up = "../".repeat(from.matches('/').count());
    symlink(format!("{up}{to}"), place)
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
    use vb3_host::NodeId;

    #[test]
    fn the_tree_is_like_sysfs_and_goes_away() {
        let node = Node::video(NodeId(0), "/dev/video7", 3);
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

    #[test]
    fn a_video_node_leads_to_the_media_node_of_its_device() {
        let device = Some("vb3-007".to_owned());
        let video = Node {
            device: device.clone(),
            ..Node::video(NodeId(0), "/dev/video7", 7)
        };
        let media = Node {
            kind: NodeKind::Media { major: 384 },
            device,
            ..Node::video(NodeId(1), "/dev/media1", 1)
        };
        let tree = Tree::make(&[video, media], &[]).expect("a tree");
        let real = |path: &str| tree.real(path.as_bytes()).expect("inside");
        let read =
            |path: &str| fs::read_to_string(real(path).to_str().expect("utf-8")).expect(path);
        let uevent = "MAJOR=384\nMINOR=1\nDEVNAME=media1\n";
        for path in [
            "/sys/dev/char/81:7/device/media1/uevent",
            "/sys/dev/char/384:1/uevent",
            "/sys/dev/char/384:1/device/media1/uevent",
            "/sys/bus/media/devices/media1/uevent",
            "/sys/devices/platform/vb3-007/media1/subsystem/devices/media1/uevent",
        ] {
            assert_eq!(read(path), uevent, "{path}");
        }
        let listed = fs::read_dir(real("/sys/dev/char/81:7/device").to_str().expect("utf-8"));
        let names = listed
            .expect("a directory")
            .map(|e| e.expect("entry").file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["media1"]);
        assert_eq!(tree.real(b"/sys/devices/platform/vb3-0071"), None);
        assert_eq!(tree.real(b"/sys/bus"), None);
    }
}
