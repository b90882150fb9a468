//! Paths of a program whose view of the file system (root, mounts) differs from the supervisor's.

use crate::kernel::{MayBlock, may_block};
use crate::service::places::Named;
use crate::service::supervisor::Supervisor;
use crate::tree::{
    HOPS, Links, PathTarget, View, base_link, file_name, normalise, of_dir, of_path, split_last,
};
use std::os::fd::AsFd;
use vb3_host::FdIdentity;

impl Supervisor<'_> {
    /// Finds the target of a path in the program's own view of the file system.
    pub(crate) fn place_in(
        &self,
        may: &mut MayBlock,
        view: &View,
        named: &Named<'_>,
    ) -> PathTarget {
        let &Named {
            call, path, links, ..
        } = named;
        if path.first() == Some(&b'/') {
            let whole = normalise(b"", path);
            if let Some(place) = self.generated(may, call, &whole, links) {
                return if view.shows(may, &whole) {
                    place
                } else {
                    PathTarget::Native
                };
            }
            if let Some(place) = self.descriptor(may, call, &whole, links) {
                return place;
            }
        }
        self.node_in(may, view, named)
            .map_or(PathTarget::Native, |node| self.node_place(node))
    }

    /// Returns the index of the node behind a path. Follows links unless the call keeps them.
    fn node_in(&self, may: &MayBlock, view: &View, named: &Named<'_>) -> Option<usize> {
        let base = base_link(named.call.notif.tid, named.dir);
        let mut from = match named.path.first() {
            Some(b'/') => view.root.try_clone().ok()?,
            _ => may_block::open(may, base, libc::O_PATH | libc::O_DIRECTORY).ok()?,
        };
        let mut path = named.path.to_vec();
        for _ in 0..HOPS {
            let (parent, name) = match split_last(&path) {
                (b"", name) if path.first() == Some(&b'/') => (&b"/"[..], name),
                parts => parts,
            };
            let parent = view.dir(may, from.as_fd(), parent)?;
            let id = of_dir(may, parent.as_fd())?;
            if let Some(node) = self.node_at(may, id, name) {
                return Some(node);
            }
            if named.links == Links::Keep {
                return None;
            }
            path = may_block::readlinkat(may, parent.as_fd(), name).ok()?;
            from = parent;
        }
        None
    }

    /// Returns the index of the node with this name in this directory.
    fn node_at(&self, may: &MayBlock, dir: FdIdentity, name: &[u8]) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let parent = || of_path(may, node.path.parent()?.to_str()?);
            file_name(&node.path) == name && parent() == Some(dir)
        })
    }
}
