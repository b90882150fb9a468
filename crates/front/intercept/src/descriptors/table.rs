//! Holds what is known of programs' descriptors: the numbers, and per file its open flags, uses and entries in epoll
//! sets, and the record locks of nodes.
//!
//! Each device file has an inode of its own. The file exists until its descriptors and mappings have ended.
//!
//! Before a close, the supervisor takes the files that may end with it out of their epoll sets. They return
//! if they still exist after the close.
//!
//! This module makes no system call. The module `held` keeps what is known of the open file descriptions that programs
//! got: it asks the kernel when the last descriptor and mapping of a file have gone. `held` has a lock of its own,
//! because calls use it while they are gathered, without the one lock of all devices: to find out whether a program's
//! memory or descriptor is a buffer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use vb3_frontend::{FdIdentity, FileId};

use super::locks::Locks;
use super::members::{Member, Members, SetId};
use super::numbers::NumberTable;

/// The file that a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Device(FileId),
    /// A node, by its index. The descriptor was opened with O_PATH.
    Node(usize),
    Buffer(FdIdentity),
    /// A file that is not the supervisor's.
    Other,
}

/// A file that can be a member of programs' epoll sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Watched {
    Device(FileId),
    Buffer(FdIdentity),
}

impl Watched {
    pub(crate) const fn of(target: Target) -> Option<Self> {
        match target {
            Target::Device(file) => Some(Self::Device(file)),
            Target::Buffer(id) => Some(Self::Buffer(id)),
            Target::Node(_) | Target::Other => None,
        }
    }
}

/// A device file, or a buffer that has entries in epoll sets.
#[derive(Debug)]
pub(crate) struct File {
    inode: FdIdentity,
    /// Index of the opened node; `None` if the file was not opened by a path.
    pub(crate) node: Option<usize>,
    /// Of a device file: the number of mappings, plus one while the file has descriptors.
    uses: u32,
    /// The O_* flags of a device file's open, unless a program may have changed them.
    pub(crate) flags: Option<i32>,
    members: Members,
}

impl File {
    fn new(inode: FdIdentity, node: Option<usize>, flags: Option<i32>) -> Self {
        Self {
            inode,
            node,
            uses: u32::from(flags.is_some()),
            flags,
            members: Members::new(),
        }
    }

    /// Returns whether nothing is left to know of the file.
    fn is_idle(&self) -> bool {
        self.uses == 0 && self.members.is_empty()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) numbers: NumberTable,
    files: BTreeMap<Watched, File>,
    /// The device files that have descriptors, and the nodes that programs have opened with O_PATH.
    by_inode: BTreeMap<FdIdentity, Target>,
    pub(crate) locks: Locks,
}

impl Table {
    /// Returns a device file that has descriptors or mappings.
    pub(crate) fn device(&self, file: FileId) -> Option<&File> {
        self.files.get(&Watched::Device(file))
    }

    fn device_mut(&mut self, file: FileId) -> Option<&mut File> {
        self.files.get_mut(&Watched::Device(file))
    }

    /// Records a device file that was opened with these O_* flags.
    pub(crate) fn add_file(
        &mut self,
        file: FileId,
        inode: FdIdentity,
        node: Option<usize>,
        flags: i32,
    ) {
        self.by_inode.insert(inode, Target::Device(file));
        let of = File::new(inode, node, Some(flags));
        self.files.insert(Watched::Device(file), of);
    }

    /// Records the inode behind the O_PATH descriptors of a node.
    pub(crate) fn add_reference(&mut self, inode: FdIdentity, node: usize) {
        self.by_inode.insert(inode, Target::Node(node));
    }

    /// Records that a call is about to change a device file's O_* flags. The kernel executes the call at an unknown
    /// time and may refuse it. So from now on, the kernel is asked for the flags.
    pub(crate) fn flags_change(&mut self, target: Target) {
        if let Target::Device(file) = target
            && let Some(file) = self.device_mut(file)
        {
            file.flags = None;
        }
    }

    pub(crate) fn add_mapping(&mut self, file: FileId) {
        if let Some(file) = self.device_mut(file) {
            file.uses = file.uses.saturating_add(1);
        }
    }

    /// Records that a device file's last descriptor has gone. Returns its former entries in epoll sets, and whether it
    /// had locks.
    pub(crate) fn last_closed(&mut self, file: FileId) -> (Members, bool) {
        let mut members = Members::new();
        if let Some(of) = self.files.get_mut(&Watched::Device(file)) {
            self.by_inode.remove(&of.inode);
            members = core::mem::take(&mut of.members);
        }
        (members, self.locks.file_ended(file))
    }

    /// Removes one use of a device file: one mapping, or all descriptors. Returns whether the file is gone.
    pub(crate) fn release_file(&mut self, file: FileId) -> bool {
        let Some(of) = self.device_mut(file) else {
            return false;
        };
        of.uses = of.uses.saturating_sub(1);
        let is_gone = of.uses == 0;
        if is_gone {
            self.files.remove(&Watched::Device(file));
        }
        is_gone
    }

    /// Returns whether no program holds a device file, and none has ever opened a node with O_PATH.
    pub(crate) fn has_no_files(&self) -> bool {
        self.files.is_empty() && self.by_inode.is_empty()
    }

    pub(crate) fn has_descriptors(&self, file: FileId) -> bool {
        let of = self.device(file);
        of.is_some_and(|of| self.by_inode.contains_key(&of.inode))
    }

    /// Returns the device file or node behind an inode.
    pub(crate) fn find(&self, inode: FdIdentity) -> Option<Target> {
        self.by_inode.get(&inode).copied()
    }

    /// Returns the index of the node behind an inode.
    pub(crate) fn node_behind(&self, inode: FdIdentity) -> Option<usize> {
        match self.find(inode)? {
            Target::Device(file) => self.device(file)?.node,
            Target::Node(node) => Some(node),
            Target::Buffer(_) | Target::Other => None,
        }
    }

    /// Returns a file's entries in epoll sets.
    pub(crate) fn members(
        &mut self,
        file: Watched,
    ) -> impl Iterator<Item = (&(SetId, i32), &mut Member)> {
        let of = self.files.get_mut(&file);
        of.into_iter().flat_map(|of| &mut of.members)
    }

    /// Returns whether a file has an entry in any epoll set, and is not about to be closed.
    pub(crate) fn is_member(&self, file: Watched) -> bool {
        let of = self.files.get(&file).into_iter();
        of.flat_map(|of| of.members.values())
            .any(|entry| !entry.is_parked)
    }

    pub(crate) fn member(&self, file: Watched, key: (SetId, i32)) -> Option<&Member> {
        self.files.get(&file)?.members.get(&key)
    }

    /// Records a file's entry in an epoll set. Returns whether it is new.
    pub(crate) fn add_member(&mut self, file: Watched, key: (SetId, i32), entry: Member) -> bool {
        if let Watched::Buffer(inode) = file {
            let of = self.files.entry(file);
            of.or_insert_with(|| File::new(inode, None, None));
        }
        let of = self.files.get_mut(&file);
        of.is_some_and(|of| of.members.insert(key, entry).is_none())
    }

    /// Forgets a file's entry in an epoll set. Returns whether there was one.
    pub(crate) fn remove_member(&mut self, file: Watched, key: (SetId, i32)) -> bool {
        let Entry::Occupied(mut of) = self.files.entry(file) else {
            return false;
        };
        let was_there = of.get_mut().members.remove(&key).is_some();
        if of.get().is_idle() {
            of.remove();
        }
        was_there
    }

    /// Forgets all entries in these epoll sets.
    pub(crate) fn leave_sets(&mut self, gone: &HashSet<SetId>) {
        self.files.retain(|_, of| {
            of.members.retain(|(set, _), _| !gone.contains(set));
            !of.is_idle()
        });
    }

    /// Returns the buffers that have entries in epoll sets.
    pub(crate) fn buffers(&self) -> Vec<FdIdentity> {
        let buffers = self.files.keys().filter_map(|file| match file {
            Watched::Buffer(id) => Some(*id),
            Watched::Device(_) => None,
        });
        buffers.collect()
    }

    /// Forgets a buffer that has ended. Returns its former entries in epoll sets.
    pub(crate) fn buffer_ended(&mut self, id: FdIdentity) -> Members {
        let of = self.files.remove(&Watched::Buffer(id));
        of.map(|of| of.members).unwrap_or_default()
    }

    /// Releases the record locks of a process that end with a close: those on the nodes of the closed files.
    /// Returns true if the process may have held such locks.
    pub(crate) fn unlock(
        &mut self,
        process: u32,
        closed: impl Iterator<Item = FdIdentity>,
    ) -> bool {
        closed.fold(false, |had, id| match self.find(id) {
            Some(Target::Device(file)) => {
                let node = self.device(file).and_then(|of| of.node);
                node.is_some_and(|node| self.locks.close(process, node)) || had
            }
            _ => had,
        })
    }
}

#[cfg(test)]
mod tests;
