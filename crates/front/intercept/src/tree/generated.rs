//! Generated files: the nodes' entries in /sys, /dev and udev's database.
//!
//! The files are in a temporary directory that is laid out like `/`. Below some paths, programs see only
//! generated entries instead of the system's. These paths (`tops`) are fixed at the start of the run.

mod majors;

use std::collections::{BTreeMap, btree_map};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::descriptors::files;
use crate::kernel::{Borrowed, MayBlock, lock, raw};
use crate::tree::folder::Folder;
use crate::tree::path::{HOPS, Links, normalise, split_last};
use crate::tree::shown::Told;
use crate::tree::view::of_path;
use vb3_frontend::{BusDevice, Errno, FdIdentity, Node, NodeKind};

/// The path by which clients of libudev check whether udev runs.
const UDEV_SOCKET: &str = "/run/udev/control";

/// System directories in which programs see both the system's entries and generated ones.
const SHARED: [&str; 20] = [
    "/dev",
    "/dev/bus/usb",
    "/dev/char",
    "/dev/dma_heap",
    "/proc",
    "/run/udev/data",
    "/sys/bus",
    "/sys/bus/platform/devices",
    "/sys/bus/platform/drivers",
    "/sys/bus/usb/devices",
    "/sys/bus/usb/drivers/usb",
    "/sys/bus/usb/drivers/uvcvideo",
    "/sys/class",
    "/sys/class/misc",
    "/sys/dev/char",
    "/sys/devices/platform",
    "/sys/devices/virtual",
    "/sys/devices/virtual/misc",
    "/sys/devices",
    DEBUGFS,
];

/// Where programs expect debugfs.
const DEBUGFS: &str = "/sys/kernel/debug";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Dir,
    File(Vec<u8>),
    /// A link to this absolute path.
    Link(String),
}

/// The target of a path that enters the generated part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The target is in the generated part, at this real path. There may be no file at the path.
    Inside(Vec<u8>),
    /// A link in the generated part leads to this path outside.
    Outside(Vec<u8>),
}

/// Bytes that one entry needs on a file system, at most.
const ENTRY_BYTES: u64 = 4096;

/// The directory of a tree. After a hotplug, the next tree uses the same directory.
#[derive(Debug)]
struct Written {
    folder: Folder,
    /// The entries to write. They are written when a program first uses one: many programs use none.
    todo: Mutex<Option<BTreeMap<String, Entry>>>,
}

impl Written {
    /// Writes the entries unless they were written before. Ignores errors: an entry that cannot be written is
    /// missing.
    fn complete(&self) {
        let mut todo = lock(&self.todo);
        for (path, entry) in todo.take().iter().flatten() {
            drop(write_entry(&self.folder, path, entry));
        }
    }
}

/// A generated tree. Its directory is removed when the last tree that uses the directory is dropped.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The directory for the tree's files; `None` for a tree that is only planned.
    written: Option<Arc<Written>>,
    /// The device number of the directory's file system.
    dev: u64,
    entries: BTreeMap<String, Entry>,
    devices: Vec<BusDevice>,
    /// The paths at which the generated part begins, even if they have no entry now.
    tops: Vec<String>,
    /// Empty memfds that stand for links that programs have opened (O_PATH, O_NOFOLLOW), by the links' paths. The
    /// supervisor cannot install a descriptor of the link itself.
    link_files: Arc<Mutex<BTreeMap<String, OwnedFd>>>,
}

impl Tree {
    /// Plans the tree for these nodes, and for what the backend told of them. Its files are written when a program
    /// first uses one. Ignores paths outside /sys, /run/udev and /dev. Also makes a /proc/devices that lists the
    /// nodes' major numbers besides the kernel's.
    #[expect(
        clippy::disallowed_methods,
        reason = "the function borrows a MayBlock token"
    )]
    pub(crate) fn make(may: &MayBlock, nodes: &[Node], told: &Told) -> Result<Self, Errno> {
        let mut this = Self::plan(nodes, told);
        if let Ok(kernels) = fs::read_to_string(majors::PATH) {
            let text = majors::with_nodes(&kernels, nodes);
            this.add(majors::PATH.to_owned(), Entry::File(text.into()));
        }
        let folder = Folder::make(may, |folder| this.check_room(folder))?;
        let stat = fs::metadata(folder.path()).map_err(|e| raw::of_io(&e))?;
        this.dev = stat.dev();
        let todo = Mutex::new(Some(this.entries.clone()));
        this.written = Some(Arc::new(Written { folder, todo }));
        this.begin_at(is_systems);
        Ok(this)
    }

    /// Returns a tree with other nodes, files and links, and changes the written files. The generated part
    /// still begins at the same paths. Programs can still use open directories that are in both trees.
    pub(crate) fn change(&self, nodes: &[Node], told: &Told) -> Result<Self, Errno> {
        let mut next = Self::plan(nodes, told);
        for (path, entry) in &self.entries {
            let is_class = *entry == Entry::Dir && outlives_devices(path);
            let stays = path == majors::PATH || is_class || self.stays(path, entry);
            if stays && !next.entries.contains_key(path) {
                next.add(path.clone(), entry.clone());
            }
        }
        for device in &self.devices {
            if device.stays && !next.devices.contains(device) {
                next.devices.push(device.clone());
            }
        }
        next.written.clone_from(&self.written);
        next.dev = self.dev;
        next.tops.clone_from(&self.tops);
        next.link_files = Arc::clone(&self.link_files);
        if let Some(written) = &self.written {
            match &mut *lock(&written.todo) {
                Some(todo) => todo.clone_from(&next.entries),
                None => self
                    .rewrite(&written.folder, &next)
                    .map_err(|e| raw::of_io(&e))?,
            }
        }
        Ok(next)
    }

    fn plan(nodes: &[Node], told: &Told) -> Self {
        let mut this = Self::default();
        for node in nodes {
            this.add_node(node);
        }
        for (path, bytes) in &told.files {
            if let Some(path) = allowed(path) {
                let path = this.through_links(path);
                this.add(path, Entry::File(bytes.clone()));
            }
        }
        // Clients of libudev listen only if this socket's path shows them that udev runs.
        let is_udev = |path: &String| path.starts_with("/run/udev/data/");
        if this.entries.keys().any(is_udev) && !Path::new(UDEV_SOCKET).exists() {
            this.add(UDEV_SOCKET.to_owned(), Entry::File(Vec::new()));
        }
        for (path, target) in &told.links {
            if let (Some(path), Some(target)) = (allowed(path), target.to_str()) {
                this.add(path, Entry::Link(target.to_owned()));
            }
        }
        this
    }

    /// Adds an entry and the directories above it.
    fn add(&mut self, path: String, entry: Entry) {
        let mut above = path.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            if parent.is_empty() {
                break;
            }
            self.entries.entry(parent.to_owned()).or_insert(Entry::Dir);
            above = parent;
        }
        self.entries.insert(path, entry);
    }

    fn file(&mut self, dir: &str, name: &str, text: impl Into<Vec<u8>>) {
        self.add(format!("{dir}/{name}"), Entry::File(text.into()));
    }

    fn link(&mut self, path: impl Into<String>, target: impl Into<String>) {
        self.add(path.into(), Entry::Link(target.into()));
    }

    /// Adds a node's sysfs directory, the links to it, and the devices above it.
    fn add_node(&mut self, node: &Node) {
        let dir = node.path.parent().and_then(allowed);
        if let Some(dir) = dir.filter(|dir| dir != "/dev") {
            self.add(dir, Entry::Dir);
        }
        let name = node.path.file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let parent = node.devices.last().map(|device| &device.path);
        let Some(class) = class_of(node) else {
            return;
        };
        let here = match (node.kind, parent) {
            (NodeKind::Media { .. }, None) => return,
            (NodeKind::Media { .. }, Some(parent)) => format!("{parent}/{name}"),
            (NodeKind::Video | NodeKind::Class { .. }, Some(parent)) => {
                format!("{parent}/{class}/{name}")
            }
            _ => format!("/sys/devices/virtual/{class}/{name}"),
        };
        let (subsystem, all) = match node.kind {
            NodeKind::Media { .. } => ("/sys/bus/media".to_owned(), "/devices"),
            _ => (format!("/sys/class/{class}"), ""),
        };
        let (major, minor) = (node.major(), node.minor);
        self.file(&here, "dev", format!("{major}:{minor}\n"));
        let below = node.path.strip_prefix("/dev").unwrap_or(&node.path);
        let below = below.display();
        let uevent = format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={below}\n");
        self.file(&here, "uevent", uevent);
        self.link(format!("{subsystem}{all}/{name}"), here.clone());
        self.link(format!("{here}/subsystem"), subsystem);
        self.link(format!("/sys/dev/char/{major}:{minor}"), here.clone());
        if let Some(path) = allowed(&node.path) {
            self.link(format!("/dev/char/{major}:{minor}"), path);
        }
        if let Some(parent) = parent {
            self.link(format!("{here}/device"), parent.clone());
        }
        for device in &node.devices {
            self.add_device(device);
        }
    }

    /// Adds the sysfs directory and links of a device above nodes, unless they exist.
    fn add_device(&mut self, device: &BusDevice) {
        if self.devices.contains(device) {
            return;
        }
        let (here, bus) = (&device.path, format!("/sys/bus/{}", device.bus));
        self.file(here, "uevent", "");
        self.link(format!("{bus}/devices/{}", device.name()), here.as_str());
        self.link(format!("{here}/subsystem"), bus);
        self.devices.push(device.clone());
    }

    /// Returns whether an entry belongs to a device that remains when its nodes are removed.
    fn stays(&self, path: &str, entry: &Entry) -> bool {
        let path = match entry {
            _ if path.starts_with("/dev/") => match self.number_of(path) {
                Some((major, minor)) => self.device_of(major, minor).unwrap_or(path),
                None => path,
            },
            Entry::Link(target) if !path.starts_with("/sys/devices/") => target,
            _ => path,
        };
        let above = self.devices.iter();
        let above = above.filter(|device| is_below(path.as_bytes(), &device.path));
        let own = above.max_by_key(|device| device.path.len());
        own.is_some_and(|device| device.stays)
    }

    /// Resolves the tree's links in a path. Returns the path at which a file can be written.
    fn through_links(&self, path: String) -> String {
        match self.walk(path.as_bytes(), Links::Follow, |_| true) {
            Some(at) => String::from_utf8(at).unwrap_or(path),
            None => path,
        }
    }

    fn check_room(&self, folder: &Folder) -> Result<(), Errno> {
        let room = rustix::fs::statvfs(folder.path()).map_err(raw::err)?;
        let count = self.entries.len() as u64;
        // Some file systems do not limit the number of files.
        let has_files = room.f_files == 0 || room.f_favail >= count;
        let bytes = room.f_bavail.saturating_mul(room.f_frsize);
        let has_room = has_files && bytes >= count.saturating_mul(ENTRY_BYTES);
        has_room.then_some(()).ok_or(Errno(libc::ENOSPC))
    }

    /// Changes the written files to those of `next`: removes entries, the innermost first, then adds others.
    /// Goes on after an error, and returns the first one. The change can then be repeated or undone.
    fn rewrite(&self, folder: &Folder, next: &Self) -> io::Result<()> {
        let differs = |a: &Self, b: &Self| {
            let entries = a.entries.iter();
            let new = entries.filter(|(path, entry)| b.entries.get(*path) != Some(entry));
            new.map(|(path, entry)| (path.clone(), entry.clone()))
                .collect::<Vec<_>>()
        };
        let (gone, new) = (differs(self, next), differs(next, self));
        let removed = gone.iter().rev();
        let removed = removed.map(|(path, entry)| remove_entry(folder, path, entry));
        let written = new.iter();
        let written = written.map(|(path, entry)| write_entry(folder, path, entry));
        removed.chain(written).fold(Ok(()), io::Result::and)
    }

    /// Finds the paths at which the generated part begins. On the way from `/` to an entry, this is the first path
    /// that is no shared directory, or that the system does not have.
    fn begin_at(&mut self, exists: impl Fn(&str) -> bool) {
        let mut tops: Vec<String> = Vec::new();
        for path in self.entries.keys() {
            let inside = tops.iter().any(|top| is_below(path.as_bytes(), top));
            let the_systems = is_shared(path) && exists(path);
            if !inside && !the_systems {
                tops.push(path.clone());
            }
        }
        self.tops = tops;
    }

    fn covers(&self, path: &[u8]) -> bool {
        self.tops.iter().any(|top| is_below(path, top))
    }

    /// Resolves a path. Follows the tree's links, but looks into no file system: `..` removes the part before it,
    /// even if this part is a link of the system. Returns the result only if `counts` returns true for the path or
    /// for any path on the way.
    fn walk(&self, path: &[u8], links: Links, counts: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let links = match path.ends_with(b"/") {
            true => Links::Follow,
            false => links,
        };
        let mut todo: Vec<&[u8]> = path.split(|&b| b == b'/').rev().collect();
        let mut at: Vec<u8> = Vec::new();
        let (mut met, mut hops) = (false, 0);
        while let Some(part) = todo.pop() {
            match part {
                b"" | b"." => continue,
                b".." => at.truncate(at.iter().rposition(|&b| b == b'/').unwrap_or(0)),
                part => {
                    at.push(b'/');
                    at.extend_from_slice(part);
                }
            }
            if !counts(&at) {
                continue;
            }
            met = true;
            let last = todo.iter().all(|&part| matches!(part, b"" | b"."));
            if (!last || links == Links::Follow)
                && hops < HOPS
                && let Some(Entry::Link(target)) = std::str::from_utf8(&at)
                    .ok()
                    .and_then(|at| self.entries.get(at))
            {
                hops += 1;
                todo.extend(target.as_bytes().split(|&b| b == b'/').rev());
                at.clear();
            }
        }
        met.then_some(at)
    }

    /// Resolves an absolute path if it enters the generated part. If the path's target is there, the tree's files are
    /// written first.
    pub(crate) fn find(&self, path: &[u8], links: Links) -> Option<Found> {
        let found = self.locate(path, links)?;
        if let (Found::Inside(_), Some(written)) = (&found, &self.written) {
            written.complete();
        }
        Some(found)
    }

    /// Resolves a path like [`find`](Self::find), without writing.
    fn locate(&self, path: &[u8], links: Links) -> Option<Found> {
        let end = self.walk(path, links, |at| self.covers(at))?;
        if !self.covers(&end) {
            return Some(Found::Outside(normalise(&end)));
        }
        self.real_of(&end).map(Found::Inside)
    }

    /// Programs know a generated file, or its directory, by the path `known`. Returns the real path, which is in the
    /// tree's own directory.
    pub(crate) fn real_of(&self, known: &[u8]) -> Option<Vec<u8>> {
        let inside = known.strip_prefix(b"/").unwrap_or(known);
        let folder = &self.written.as_ref()?.folder;
        let real = folder.path().join(OsStr::from_bytes(inside));
        Some(real.into_os_string().into_encoded_bytes())
    }

    /// Returns the real path of a path's directory, if this directory is generated. Makes it if necessary.
    pub(crate) fn directory_of(&self, path: &Path) -> Option<Vec<u8>> {
        match self.locate(path.parent()?.as_os_str().as_bytes(), Links::Follow)? {
            Found::Inside(real) => {
                let made = fs::create_dir_all(OsStr::from_bytes(&real));
                made.is_ok().then_some(real)
            }
            Found::Outside(_) => None,
        }
    }

    /// Returns the system directory that contains the tree.
    pub(crate) fn lies_in(&self, may: &MayBlock) -> Option<FdIdentity> {
        of_path(may, self.written.as_ref()?.folder.path().parent()?)
    }

    /// Returns the path by which programs know a real path; `None` if it is not in the tree's directory.
    pub(crate) fn known_as<'a>(&self, real: &'a [u8]) -> Option<&'a [u8]> {
        let folder = &self.written.as_ref()?.folder;
        let rest = real.strip_prefix(folder.path().as_os_str().as_bytes())?;
        rest.starts_with(b"/").then_some(rest)
    }

    pub(crate) fn text_at(&self, path: &str) -> Option<&str> {
        match self.entries.get(path)? {
            Entry::File(bytes) => std::str::from_utf8(bytes).ok(),
            Entry::Dir | Entry::Link(_) => None,
        }
    }

    pub(crate) fn link_at(&self, path: &str) -> Option<&str> {
        match self.entries.get(path)? {
            Entry::Link(target) => Some(target),
            Entry::Dir | Entry::File(_) => None,
        }
    }

    /// Returns the sysfs directory of the device with this number.
    pub(crate) fn device_of(&self, major: u32, minor: u32) -> Option<&str> {
        self.link_at(&format!("/sys/dev/char/{major}:{minor}"))
    }

    /// Returns the device number that a generated file below /dev stands for.
    pub(crate) fn file_number(&self, path: &str) -> Option<(u32, u32)> {
        let is_file = matches!(self.entries.get(path)?, Entry::File(_));
        let is_device = is_file && path.starts_with("/dev/");
        is_device.then(|| self.number_of(path))?
    }

    /// Returns the device number of a path below /dev: the path is a link in /dev/char, or the target of a link
    /// there.
    fn number_of(&self, path: &str) -> Option<(u32, u32)> {
        const BY_NUMBER: &str = "/dev/char/";
        let number = path.strip_prefix(BY_NUMBER).or_else(|| {
            let links = self.entries.range(BY_NUMBER.to_owned()..);
            let mut links = links.take_while(|(link, _)| link.starts_with(BY_NUMBER));
            let leads = |entry: &Entry| matches!(entry, Entry::Link(target) if target == path);
            let (link, _) = links.find(|(_, entry)| leads(entry))?;
            link.strip_prefix(BY_NUMBER)
        });
        let (major, minor) = number?.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// Returns whether a path that contains this name may enter the tree, or leave the tree by a link.
    pub(crate) fn has_name(&self, name: &[u8]) -> bool {
        let has = |path: &String| split_last(path.as_bytes()).1 == name;
        let leaves =
            |entry: &Entry| matches!(entry, Entry::Link(to) if !self.covers(to.as_bytes()));
        let mut entries = self.entries.iter();
        self.tops.iter().any(has) || entries.any(|(path, entry)| leaves(entry) && has(path))
    }

    /// Returns the path by which programs know an open file, if the file is in the tree.
    pub(crate) fn place_of(&self, id: FdIdentity, fd: Option<&Borrowed>) -> Option<Vec<u8>> {
        if id.dev != self.dev {
            return None;
        }
        let real = raw::link_of(fd?)?;
        self.known_as(&real).map(<[u8]>::to_vec)
    }

    /// Returns a descriptor that stands for the link at this real path; `None` if there is no link.
    pub(crate) fn link_file(&self, real: &[u8]) -> Option<Result<OwnedFd, Errno>> {
        let path = std::str::from_utf8(self.known_as(real)?).ok()?;
        matches!(self.entries.get(path)?, Entry::Link(_)).then(|| {
            let mut known = lock(&self.link_files);
            let file = match known.entry(path.to_owned()) {
                btree_map::Entry::Occupied(file) => file.into_mut(),
                btree_map::Entry::Vacant(place) => place.insert(files::empty_file(c"link")?),
            };
            raw::reopen(file.as_fd(), libc::O_RDONLY)
        })
    }

    /// Returns the real path of the link that a descriptor represents.
    pub(crate) fn link_of(&self, id: FdIdentity) -> Option<Vec<u8>> {
        let files = lock(&self.link_files);
        let is_it = |file: &OwnedFd| raw::known(file.as_fd()).is_ok_and(|(known, _)| known == id);
        let (path, _) = files.iter().find(|(_, file)| is_it(file))?;
        self.real_of(path.as_bytes())
    }

    /// Returns the entries at which the generated part begins, each with its type for listings.
    pub(crate) fn tops(&self) -> impl Iterator<Item = (&Path, u8)> {
        self.tops.iter().filter_map(|top| {
            let kind = match self.entries.get(top)? {
                Entry::Link(_) => libc::DT_LNK,
                Entry::File(_) => libc::DT_REG,
                Entry::Dir => libc::DT_DIR,
            };
            Some((Path::new(top.as_str()), kind))
        })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Removes the known entries by name, which takes a quarter of the system calls of a search. The
        // folder's drop removes the rest.
        let written = self.written.take().and_then(Arc::into_inner);
        if let Some(Written { folder, todo }) = written
            && lock(&todo).is_none()
        {
            let entries = self.entries.iter().rev();
            entries.for_each(|(path, entry)| drop(remove_entry(&folder, path, entry)));
        }
    }
}

/// Returns the class of a node's device; `None` for a regular file.
fn class_of(node: &Node) -> Option<&'static str> {
    match node.kind {
        NodeKind::Video => Some("video4linux"),
        NodeKind::Media { .. } => Some("media"),
        NodeKind::Class { name, .. } => Some(name),
        NodeKind::File => None,
    }
}

fn place(folder: &Folder, path: &str) -> PathBuf {
    folder.path().join(path.trim_start_matches('/'))
}

/// Writes one entry. Links are relative, as in the kernel's sysfs.
fn write_entry(folder: &Folder, path: &str, entry: &Entry) -> io::Result<()> {
    let real = place(folder, path);
    match entry {
        Entry::Dir => fs::create_dir_all(real),
        Entry::File(bytes) => fs::write(real, bytes),
        Entry::Link(target) => {
            let target = relative(path, target);
            symlink(&target, &real).or_else(|e| match e.kind() {
                // A change that failed may have left the link.
                io::ErrorKind::AlreadyExists => {
                    fs::remove_file(&real).and_then(|()| symlink(target, real))
                }
                _ => Err(e),
            })
        }
    }
}

fn remove_entry(folder: &Folder, path: &str, entry: &Entry) -> io::Result<()> {
    let real = place(folder, path);
    let removed = match entry {
        Entry::Dir => fs::remove_dir(real),
        Entry::File(_) | Entry::Link(_) => fs::remove_file(real),
    };
    removed.or_else(|e| match e.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    })
}

/// Returns whether a sysfs directory exists even without devices: one of a class, a bus or a driver.
fn outlives_devices(path: &str) -> bool {
    let mut dirs = ["/sys/class", "/sys/bus", "/sys/dev"].iter();
    dirs.any(|dir| is_below(path.as_bytes(), dir))
}

/// Returns the normalised path if it is below /sys, /run/udev or /dev, where files may be generated.
fn allowed(path: &Path) -> Option<String> {
    let path = normalise(path.as_os_str().as_bytes());
    let path = String::from_utf8(path).ok()?;
    let mut dirs = ["/sys/", "/run/udev/", "/dev/"].iter();
    dirs.any(|dir| path.starts_with(dir)).then_some(path)
}

/// Returns whether the system has this directory, and `vb3` may look into it. `DEBUGFS` counts only if a file system
/// is mounted there (its device number is not that of /sys/kernel), because programs look for the mount.
#[expect(
    clippy::disallowed_methods,
    reason = "only system directories are looked at"
)]
fn is_systems(path: &str) -> bool {
    let dev = |path: &str| {
        fs::metadata(format!("{path}/."))
            .map(|stat| stat.dev())
            .ok()
    };
    let found = dev(path);
    found.is_some() && (path != DEBUGFS || found != dev("/sys/kernel"))
}

/// Returns whether a directory is one of `SHARED`, or above one.
fn is_shared(path: &str) -> bool {
    let leads_to = |shared: &str| {
        let rest = shared.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    SHARED.iter().any(|shared| leads_to(shared))
}

fn is_below(path: &[u8], top: &str) -> bool {
    path.strip_prefix(top.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// Returns the relative target of a link at `from` to `to`. Both are absolute and normalised.
fn relative(from: &str, to: &str) -> String {
    let from: Vec<&str> = from.split('/').collect();
    let to: Vec<&str> = to.split('/').collect();
    let dirs = from.len().saturating_sub(1);
    let same = from.iter().take(dirs).zip(&to).take_while(|(a, b)| a == b);
    let same = same.count().min(to.len().saturating_sub(1));
    let up = std::iter::repeat_n("..", dirs.saturating_sub(same));
    let parts: Vec<&str> = up.chain(to.iter().skip(same).copied()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests;
