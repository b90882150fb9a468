//! Maps a program's path to a node or a generated file.

use crate::kernel::{MayBlock, may_block, raw};
use crate::service::host::Call;
use crate::service::supervisor::Supervisor;
use crate::tree::{
    Found, HOPS, Links, MAX, PLAIN, PathTarget, View, base_of, file_name, normalise, real_dir,
    split_last, through,
};
use std::os::unix::ffi::OsStrExt;
use vb3_host::Errno;

impl Supervisor<'_> {
    /// Finds the target of the path at `addr`, relative to `dir`.
    ///
    /// # Errors
    /// EFAULT and ENAMETOOLONG for the path string.
    pub(crate) fn place(
        &self,
        may: &mut MayBlock,
        call: &Call<'_>,
        dir: i32,
        addr: u64,
        links: Links,
    ) -> Result<PathTarget, Errno> {
        let path = call.read_str(may, addr, MAX)?;
        let wants_directory = path.ends_with(b"/") || path.ends_with(b"/.");
        Ok(match self.place_of(may, call, dir, &path, links) {
            PathTarget::Node(_) if wants_directory => PathTarget::NoDirectory,
            place => place,
        })
    }

    /// Compares the path's text, if the program's view of the file system equals the supervisor's. It
    /// checks the view only for links and for paths that may match.
    fn place_of(
        &self,
        may: &mut MayBlock,
        call: &Call<'_>,
        dir: i32,
        path: &[u8],
        links: Links,
    ) -> PathTarget {
        let place = self.place_here(may, call, dir, path, links);
        if place == Some(PathTarget::Native) {
            return PathTarget::Native;
        }
        match View::of(may, call.notif.tid) {
            Some(view) => self.place_in(may, &view, call, dir, path, links),
            None if links == Links::Keep => place.unwrap_or(PathTarget::Native),
            None => place.unwrap_or_else(|| self.place_behind(may, call, dir, path)),
        }
    }

    /// Finds the target of a path in the supervisor's view. Returns `None` for a link that must be
    /// followed, and for the same name in another directory.
    fn place_here(
        &self,
        may: &mut MayBlock,
        call: &Call<'_>,
        dir: i32,
        path: &[u8],
        links: Links,
    ) -> Option<PathTarget> {
        if path.is_empty() {
            return Some(PathTarget::Native);
        }
        let absolute = path.first() == Some(&b'/');
        let seen = if absolute {
            path.to_vec()
        } else if self.may_be_ours(path) {
            let Some(base) = base_of(call.notif.tid, dir) else {
                return Some(PathTarget::Native);
            };
            let mut seen = self.as_programs_know(base);
            seen.push(b'/');
            seen.extend_from_slice(path);
            seen
        } else {
            Vec::new()
        };
        if let Some(place) = self.generated(may, call, &seen, links) {
            return Some(place);
        }
        let whole = if seen.is_empty() {
            seen
        } else {
            normalise(b"", &seen)
        };
        if !whole.is_empty()
            && let Some(place) = self.known(may, call, &whole, links)
        {
            return Some(place);
        }
        let name = split_last(path).1;
        if self.nodes.iter().any(|node| file_name(&node.path) == name) {
            // In another view, its directory may be the one that contains the node.
            return None;
        }
        if links == Links::Keep || PLAIN.iter().any(|plain| path.starts_with(plain)) {
            return Some(PathTarget::Native);
        }
        match may_block::readlink(may, through(call.notif.tid, dir, path)) {
            Ok(_) => None,
            Err(_) => Some(PathTarget::Native),
        }
    }

    /// Finds the target of the program's own link.
    fn place_behind(
        &self,
        may: &mut MayBlock,
        call: &Call<'_>,
        dir: i32,
        path: &[u8],
    ) -> PathTarget {
        // As the supervisor sees it, through the link's directory.
        let seen = if path.first() == Some(&b'/') {
            normalise(b"", path)
        } else {
            through(call.notif.tid, dir, path)
        };
        self.follow(may, call, seen).unwrap_or(PathTarget::Native)
    }

    /// Follows links without a native target that may lead to a node or a generated file.
    fn follow(&self, may: &mut MayBlock, call: &Call<'_>, mut path: Vec<u8>) -> Option<PathTarget> {
        for _ in 0..HOPS {
            let target = may_block::readlink(may, &path).ok()?;
            let next = if target.first() == Some(&b'/') {
                normalise(b"", &target)
            } else {
                normalise(&real_dir(may, split_last(&path).0)?, &target)
            };
            if let Some(place) = self.known(may, call, &next, Links::Follow) {
                return Some(place);
            }
            path = next;
        }
        None
    }

    /// Returns whether a relative path contains a name that occurs in the supervisor's paths.
    fn may_be_ours(&self, path: &[u8]) -> bool {
        let shown = self.shown();
        let tree = shown.tree.as_ref();
        path.split(|&b| b == b'/').any(|part| {
            tree.is_some_and(|tree| tree.has_name(part))
                || self.nodes.iter().any(|node| file_name(&node.path) == part)
        })
    }

    /// Returns the path of a directory as programs know it. A generated directory has its place in
    /// their tree.
    fn as_programs_know(&self, real: Vec<u8>) -> Vec<u8> {
        let shown = self.shown();
        let known = shown.tree.as_ref().and_then(|tree| tree.known_as(&real));
        known.map(<[u8]>::to_vec).unwrap_or(real)
    }

    /// Finds the target of an absolute path that enters the generated tree, if it does.
    pub(crate) fn generated(
        &self,
        may: &mut MayBlock,
        call: &Call<'_>,
        path: &[u8],
        links: Links,
    ) -> Option<PathTarget> {
        let shown = self.shown();
        let tree = shown.tree.as_ref()?;
        match tree.find(path, links)? {
            Found::Inside(real) => {
                // Generated directories contain no files for nodes.
                let node = tree.known_as(&real).and_then(|known| {
                    let mut nodes = self.nodes.iter();
                    nodes.position(|node| node.path.as_os_str().as_bytes() == known)
                });
                Some(node.map_or(PathTarget::Sys(real), |node| self.node_place(node)))
            }
            // The kernel cannot resolve a generated path, but the supervisor can give the target's real
            // path.
            Found::Outside(path) => self
                .known(may, call, &path, links)
                .or(Some(PathTarget::Sys(path))),
        }
    }

    /// Finds the node or generated file at a normalised absolute path, if there is one.
    fn known(
        &self,
        may: &mut MayBlock,
        call: &Call<'_>,
        path: &[u8],
        links: Links,
    ) -> Option<PathTarget> {
        let nodes = &self.nodes;
        if let Some(i) = nodes
            .iter()
            .position(|node| node.path.as_os_str().as_bytes() == path)
        {
            return Some(self.node_place(i));
        }
        if let Some(tree) = &self.shown().tree
            && let Some(Found::Inside(real)) = tree.find(path, links)
        {
            return Some(PathTarget::Sys(real));
        }
        if let Some(place) = self.descriptor(may, call, path, links) {
            return Some(place);
        }
        let (parent, name) = split_last(path);
        let i = nodes
            .iter()
            .position(|node| file_name(&node.path) == name)?;
        let parent = real_dir(may, parent)?;
        let wanted = nodes.get(i)?.path.parent()?;
        (wanted.as_os_str().as_bytes() == parent).then(|| self.node_place(i))
    }

    /// Finds the supervisor's file behind a path under /proc or /dev/fd.
    pub(crate) fn descriptor(
        &self,
        may: &mut MayBlock,
        call: &Call<'_>,
        path: &[u8],
        links: Links,
    ) -> Option<PathTarget> {
        if self.holds_nothing(may) && !path.starts_with(b"/proc/") {
            return None;
        }
        let tgid = || {
            call.thread()
                .map_or(call.notif.tid, |thread| thread.tgid)
                .to_string()
        };
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
                        std::str::from_utf8(split_last(pid).1)
                            .ok()?
                            .parse::<u32>()
                            .ok()?
                            .to_string()
                    }
                };
                (pid, fd)
            }
        };
        let fd: i32 = std::str::from_utf8(fd).ok()?.parse().ok()?;
        let stat = may_block::stat(may, format!("/proc/{pid}/fd/{fd}"), 0).ok()?;
        let node = self.node_behind(may, raw::identity(&stat))?;
        Some(match links {
            Links::Follow => PathTarget::Node(node),
            Links::Keep => PathTarget::DescriptorLink(node),
        })
    }
}
