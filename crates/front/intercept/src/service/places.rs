//! Maps a program's path to a node or a generated file.

use crate::kernel::{FCHMODAT2, MayBlock, may_block, nr, procs, raw};
use crate::process::{Notif, Reply};
use crate::service::{Call, Supervisor};
use crate::tree::{
    Found, HOPS, Links, MAX, PathTarget, Tree, View, base_link, base_of, file_name, is_plain,
    normalise, of_path, split_last, through,
};
use rustix::fs::{OFlags, ResolveFlags};
use rustix::path::Arg;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;
use std::sync::Arc;
use vb3_frontend::{Errno, FdIdentity};

/// A path that a call names, relative to a directory.
#[derive(Clone, Copy)]
struct Named<'a> {
    call: &'a Call<'a>,
    dir: i32,
    path: &'a [u8],
    links: Links,
}

impl<'a> Named<'a> {
    const fn at(self, path: &'a [u8]) -> Self {
        Self { path, ..self }
    }
}

/// The directory where the kernel begins to resolve a path, and the options of `openat2`.
#[derive(Clone)]
struct Start {
    base: Arc<OwnedFd>,
    how: ResolveFlags,
}

impl Start {
    fn at(may: &MayBlock, path: impl Arg, how: ResolveFlags) -> Option<Self> {
        let base = may_block::open(may, path, libc::O_PATH | libc::O_DIRECTORY).ok()?;
        let base = base.into();
        Some(Self { base, how })
    }

    /// Starts at a thread's root directory, which the path does not leave.
    fn at_root(may: &MayBlock, tid: u32, how: ResolveFlags) -> Option<Self> {
        let root = format!("/proc/{tid}/root");
        Self::at(may, root, how | ResolveFlags::IN_ROOT)
    }

    fn open(&self, may: &MayBlock, path: &[u8], links: Links) -> Result<OwnedFd, Errno> {
        let flags = match links {
            Links::Follow => OFlags::empty(),
            Links::Keep => OFlags::NOFOLLOW,
        };
        may_block::openat2(may, self.base.as_fd(), path, flags, self.how)
    }
}

/// Returns whether openat2 fails with this errno because its `resolve` forbids a step on the way.
fn is_forbidden(e: Errno) -> bool {
    matches!(e, Errno(libc::EXDEV | libc::ELOOP))
}

/// The target of a path, if the supervisor serves calls on it.
pub(crate) enum Place {
    Node(usize),
    /// A generated file, by its real path.
    Sys(Vec<u8>),
}

impl TryFrom<PathTarget> for Place {
    type Error = Reply;

    fn try_from(target: PathTarget) -> Result<Self, Reply> {
        match target {
            PathTarget::Node(node) => Ok(Self::Node(node)),
            PathTarget::Sys(path) => Ok(Self::Sys(path)),
            PathTarget::Fails(e) => Err(e.into()),
            PathTarget::Native | PathTarget::DescriptorLink(_) => Err(Reply::Native),
        }
    }
}

/// Returns the directory's descriptor, the path's address, and whether a final link is followed. The last value is
/// not valid for opens, whose flags decide that.
pub(crate) fn path_args(n: &Notif) -> (i32, u64, Links) {
    let by_flags = |arg| Links::of(n.int(arg), libc::AT_SYMLINK_NOFOLLOW);
    let (at, links) = match n.nr {
        nr::OPEN
        | nr::CREAT
        | nr::STAT
        | nr::ACCESS
        | nr::CHMOD
        | nr::CHOWN
        | libc::SYS_chdir
        | libc::SYS_statfs
        | libc::SYS_getxattr
        | libc::SYS_listxattr => (0, Links::Follow),
        nr::LSTAT | nr::READLINK | nr::LCHOWN | libc::SYS_lgetxattr | libc::SYS_llistxattr => {
            (0, Links::Keep)
        }
        libc::SYS_inotify_add_watch => {
            let links = Links::of(n.int(2), libc::IN_DONT_FOLLOW.cast_signed());
            return (libc::AT_FDCWD, n.arg(1), links);
        }
        libc::SYS_readlinkat => (1, Links::Keep),
        libc::SYS_statx => (1, by_flags(2)),
        libc::SYS_newfstatat | libc::SYS_faccessat2 | libc::SYS_utimensat | FCHMODAT2 => {
            (1, by_flags(3))
        }
        libc::SYS_fchownat => (1, by_flags(4)),
        _ => (1, Links::Follow),
    };
    let dir = if at == 0 { libc::AT_FDCWD } else { n.int(0) };
    (dir, n.arg(at), links)
}

fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Supervisor<'_> {
    /// Finds the target of a call's path like [`target`](Self::target), if the supervisor serves it.
    pub(crate) fn place(&self, may: &mut MayBlock, n: &Call<'_>) -> Result<Place, Reply> {
        self.target(may, n).try_into()
    }

    /// Finds the target of a call's path; `Native` if it is unreadable: the kernel then refuses the call.
    pub(crate) fn target(&self, may: &mut MayBlock, call: &Call<'_>) -> PathTarget {
        self.target_by(may, call, path_args(call), ResolveFlags::empty())
    }

    /// As [`target`](Self::target), with these values of `path_args` and this `resolve` of openat2.
    pub(crate) fn target_by(
        &self,
        may: &mut MayBlock,
        call: &Call<'_>,
        (dir, addr, links): (i32, u64, Links),
        how: ResolveFlags,
    ) -> PathTarget {
        let Ok(path) = call.read_str(may, addr, MAX) else {
            return PathTarget::Native;
        };
        let wants_directory = path.ends_with(b"/") || path.ends_with(b"/.");
        let path = path.as_slice();
        let named = Named {
            call,
            dir,
            path,
            links,
        };
        let place = match how.difference(ResolveFlags::CACHED).is_empty() {
            true => self.place_of(may, named),
            false => self.place_under(may, named, how),
        };
        match place {
            PathTarget::Node(_) if wants_directory => PathTarget::Fails(Errno(libc::ENOTDIR)),
            place => place,
        }
    }

    /// Finds the target of an openat2's path under its `resolve`. Returns `Native` if `resolve` forbids the way: the
    /// kernel then refuses the call.
    fn place_under(&self, may: &mut MayBlock, named: Named<'_>, how: ResolveFlags) -> PathTarget {
        let Some((start, _)) = self.start(may, None, named, how) else {
            return PathTarget::Native;
        };
        // The kernel refuses a forbidden way even if the file at its end is a simulated one, which the kernel does
        // not know.
        let opened = start.open(may, named.path, named.links);
        if opened.is_err_and(is_forbidden) {
            return PathTarget::Native;
        }
        let node = self.search(may, start.clone(), named, |_, _| None);
        node.or_else(|| self.generated_under(may, &start, named))
            .unwrap_or(PathTarget::Native)
    }

    /// Finds the node behind a path, or what `elsewhere` finds at an absolute path. The kernel resolves the path
    /// up to its last part, which may be a link.
    fn search(
        &self,
        may: &mut MayBlock,
        mut start: Start,
        named: Named<'_>,
        mut elsewhere: impl FnMut(&mut MayBlock, &[u8]) -> Option<PathTarget>,
    ) -> Option<PathTarget> {
        let mut path = named.path.to_vec();
        for _ in 0..HOPS {
            if path.starts_with(b"/")
                && let Some(place) = elsewhere(may, &normalise(&path))
            {
                return Some(place);
            }
            while path.ends_with(b"/") {
                path.pop();
            }
            let (parent, name) = match split_last(&path) {
                (b"", name) if path.starts_with(b"/") => (&b"/"[..], name),
                parts => parts,
            };
            let dir = start.open(may, parent, Links::Follow).ok()?;
            let (id, _) = raw::known(dir.as_fd()).ok()?;
            let made = || self.made_node(may, &dir, name);
            if let Some(node) = self.node_at(may, id, name).or_else(made) {
                return Some(self.node_place(node));
            }
            if named.links == Links::Keep {
                return None;
            }
            let target = may_block::readlinkat(may, dir.as_fd(), name).ok()?;
            path = match target.starts_with(b"/") {
                true if start.how.contains(ResolveFlags::IN_ROOT) => target,
                true => {
                    start = Start::at_root(may, named.call.notif.tid, start.how)?;
                    target
                }
                false if parent.is_empty() => target,
                false => [parent, &target].join(&b'/'),
            };
        }
        None
    }

    /// Finds the target of a path in the generated tree, whose directory on disk has the same links.
    fn generated_under(
        &self,
        may: &mut MayBlock,
        start: &Start,
        named: Named<'_>,
    ) -> Option<PathTarget> {
        let base = raw::link_of(&start.base)?;
        let base = self.as_programs_know(&base).unwrap_or(base);
        let whole = [base.as_slice(), named.path].join(&b'/');
        let is_shown = View::of(may, named.call.notif.tid)
            .is_none_or(|view| view.shows(may, &normalise(&whole)));
        let place = self.generated(may, named.at(&whole)).filter(|_| is_shown)?;
        let real = self.in_tree(|tree| tree.real_of(&base))?;
        let start = Start::at(may, real, start.how);
        match start.map(|start| start.open(may, named.path, named.links)) {
            Some(Err(e)) if is_forbidden(e) => Some(PathTarget::Fails(e)),
            _ => Some(place),
        }
    }

    /// Finds the target of a path. Compares its text first, and looks into the program's own view of the file
    /// system only for links, and for paths that may name a node.
    fn place_of(&self, may: &mut MayBlock, named: Named<'_>) -> PathTarget {
        let place = self.place_here(may, named);
        let is_native = place == Some(PathTarget::Native);
        // After a chroot, a directory has another path for the program than for the supervisor.
        if is_native && (named.path.starts_with(b"/") || !self.may_be_ours(may, named.path)) {
            return PathTarget::Native;
        }
        let tid = named.call.notif.tid;
        let view = View::of(may, tid);
        if let (None, Some(place)) = (&view, place) {
            return place;
        }
        let elsewhere = |may: &mut MayBlock, whole: &[u8]| {
            let Some(place) = self.generated(may, named.at(whole)) else {
                return self.descriptor(may, named.at(whole));
            };
            let is_shown = view.as_ref().is_none_or(|view| view.shows(may, whole));
            match is_shown {
                true => Some(place),
                // A container may have its own file for the node.
                false if self.has_node_called(split_last(whole).1) => None,
                false => Some(PathTarget::Native),
            }
        };
        let found = self.start(may, view.as_ref(), named, ResolveFlags::empty());
        let found =
            found.and_then(|(start, path)| self.search(may, start, named.at(&path), elsewhere));
        found.unwrap_or(PathTarget::Native)
    }

    /// Returns where a path starts. A path that starts below a view's root does not leave it.
    fn start(
        &self,
        may: &MayBlock,
        view: Option<&View>,
        named: Named<'_>,
        how: ResolveFlags,
    ) -> Option<(Start, Vec<u8>)> {
        let tid = named.call.notif.tid;
        let is_scoped = how.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT);
        if named.path.starts_with(b"/") && !is_scoped {
            return Some((Start::at_root(may, tid, how)?, named.path.to_vec()));
        }
        let start = Start::at(may, base_link(tid, named.dir), how)?;
        let at = view.and_then(|view| {
            let base = raw::link_of(&start.base)?;
            let known = self.as_programs_know(&base);
            known.or_else(|| view.place_of(start.base.as_fd()))
        });
        match at {
            Some(at) => {
                let path = [&at, named.path].join(&b'/');
                Some((Start::at_root(may, tid, how)?, path))
            }
            None => Some((start, named.path.to_vec())),
        }
    }

    /// Finds the target of a path in the supervisor's view. Returns `None` if the path is a link that must be
    /// followed, or if it ends with a node's name but lies, in this view, outside the node's directory.
    fn place_here(&self, may: &mut MayBlock, named: Named<'_>) -> Option<PathTarget> {
        let (tid, path) = (named.call.notif.tid, named.path);
        if path.is_empty() {
            return Some(PathTarget::Native);
        }
        // In a generated directory, `..` can lead to a directory of the system.
        let goes_up = || path.split(|&b| b == b'/').any(|part| part == b"..");
        let seen = if path.starts_with(b"/") {
            path.to_vec()
        } else if self.may_be_ours(may, path) || goes_up() {
            let Some(base) = base_of(tid, named.dir) else {
                return Some(PathTarget::Native);
            };
            let base = self.as_programs_know(&base).unwrap_or(base);
            [base.as_slice(), path].join(&b'/')
        } else {
            Vec::new()
        };
        if let Some(place) = self.generated(may, named.at(&seen)) {
            return Some(place);
        }
        if !seen.is_empty()
            && let Some(place) = self.known(may, named.at(&normalise(&seen)))
        {
            return Some(place);
        }
        if self.has_node_called(split_last(path).1) {
            // The path ends with a node's name. In the program's view, its directory may be the node's.
            return None;
        }
        let is_followed = named.links == Links::Follow && !is_plain(path);
        let link = || may_block::readlink(may, through(tid, named.dir, path));
        let is_native = !is_followed || link().is_err();
        is_native.then_some(PathTarget::Native)
    }

    /// Returns whether a relative path contains a name that occurs in the supervisor's paths.
    fn may_be_ours(&self, may: &mut MayBlock, path: &[u8]) -> bool {
        let shown = self.shown(may);
        let tree = shown.tree.as_ref();
        path.split(|&b| b == b'/')
            .any(|part| tree.is_some_and(|tree| tree.has_name(part)) || self.has_node_called(part))
    }

    fn has_node_called(&self, name: &[u8]) -> bool {
        self.nodes.iter().any(|node| file_name(&node.path) == name)
    }

    /// Returns the index of the node with this path, whether or not programs see the node now.
    fn node_named(&self, path: &[u8]) -> Option<usize> {
        let mut nodes = self.nodes.iter();
        nodes.position(|node| node.path.as_os_str().as_bytes() == path)
    }

    /// Returns the path by which programs know a generated directory: its path under /sys, /dev or /run.
    pub(crate) fn as_programs_know(&self, real: &[u8]) -> Option<Vec<u8>> {
        self.in_tree(|tree| tree.known_as(real).map(<[u8]>::to_vec))
    }

    /// Returns a result from the generated tree, or `None` if no program has needed the tree yet.
    pub(crate) fn in_tree<T>(&self, find: impl FnOnce(&Tree) -> Option<T>) -> Option<T> {
        find(self.showing.made()?.tree.as_ref()?)
    }

    /// Finds the target of an absolute path that enters the generated tree, if it does.
    fn generated(&self, may: &mut MayBlock, named: Named<'_>) -> Option<PathTarget> {
        let shown = self.shown_at(may, named.path)?;
        let tree = shown.tree.as_ref()?;
        match tree.find(named.path, named.links)? {
            Found::Inside(real) => {
                // The generated directories on disk contain no files for nodes.
                let known = tree.known_as(&real);
                let node = known.and_then(|known| self.node_named(known));
                Some(node.map_or(PathTarget::Sys(real), |node| self.node_place(node)))
            }
            // The kernel cannot resolve a path through the generated tree, so the supervisor resolved it
            // to a real path.
            Found::Outside(path) => {
                let known = self.known(may, named.at(&path));
                known.or(Some(PathTarget::Sys(path)))
            }
        }
    }

    /// Finds the node at a normalised absolute path outside the generated tree, if there is one.
    fn known(&self, may: &mut MayBlock, named: Named<'_>) -> Option<PathTarget> {
        match self.node_named(named.path) {
            Some(node) => Some(self.node_place(node)),
            None => self.descriptor(may, named),
        }
    }

    /// Finds the node of a device file behind a path of a descriptor (/proc/PID/fd, /dev/fd, /dev/stdin).
    fn descriptor(&self, may: &mut MayBlock, named: Named<'_>) -> Option<PathTarget> {
        let (call, path) = (named.call, named.path);
        if self.host.holds_nothing() && !path.starts_with(b"/proc/") {
            return None;
        }
        let tgid = || call.pid().to_string();
        let (pid, fd) = match path {
            b"/dev/stdin" => (tgid(), &b"0"[..]),
            b"/dev/stdout" => (tgid(), &b"1"[..]),
            b"/dev/stderr" => (tgid(), &b"2"[..]),
            _ => {
                let (parent, fd) = split_last(path);
                let pid = match parent {
                    b"/dev/fd" | b"/proc/self/fd" => tgid(),
                    b"/proc/thread-self/fd" => call.notif.tid.to_string(),
                    _ => {
                        let pid = parent.strip_prefix(b"/proc/")?.strip_suffix(b"/fd")?;
                        number::<u32>(split_last(pid).1)?.to_string()
                    }
                };
                (pid, fd)
            }
        };
        let fd: i32 = number(fd)?;
        // Does not ask the file's file system, which may never answer.
        let id = procs::identify(&*pid, fd).ok()??;
        let node = self.server(may).table.node_behind(id)?;
        Some(match named.links {
            Links::Follow => PathTarget::Node(node),
            Links::Keep => PathTarget::DescriptorLink(node),
        })
    }

    /// Returns the node for which a container engine has made a device file, as for `podman run --device`: a file of
    /// the node's name and number.
    fn made_node(&self, may: &MayBlock, dir: &OwnedFd, name: &[u8]) -> Option<usize> {
        let mut nodes = self.nodes.iter();
        let at = nodes.position(|node| file_name(&node.path) == name)?;
        let dir = format!("/proc/self/fd/{}/", dir.as_raw_fd());
        let path = [dir.as_bytes(), name].concat();
        let stat = may_block::stat(may, path, libc::AT_SYMLINK_NOFOLLOW).ok()?;
        let node = self.nodes.get(at)?;
        let is_its = stat.st_mode & libc::S_IFMT == libc::S_IFCHR
            && stat.st_rdev == libc::makedev(node.major(), node.minor);
        is_its.then_some(at)
    }

    fn node_at(&self, may: &MayBlock, dir: FdIdentity, name: &[u8]) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let parent = || of_path(may, node.path.parent()?);
            file_name(&node.path) == name && parent() == Some(dir)
        })
    }
}
