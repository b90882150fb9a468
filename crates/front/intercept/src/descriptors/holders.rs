//! Searches the descriptors of all programs: for a device file or buffer, and for epoll sets.

use std::collections::HashSet;
use std::hash::Hash;
use std::os::fd::BorrowedFd;

use vb3_frontend::FdIdentity;

use crate::kernel::{MayBlock, procs, raw};

fn numbers(pid: u32) -> Vec<i32> {
    let numbers = raw::proc_numbers(&format!("/proc/{pid}/fd"));
    numbers.into_iter().map(u32::cast_signed).collect()
}

/// Returns whether any program has a descriptor of this device file or buffer. Ignores descriptors for which
/// `spares` is true; its arguments are a process and a descriptor number.
pub(crate) fn has_another(_: &MayBlock, id: FdIdentity, spares: impl Fn(u32, i32) -> bool) -> bool {
    procs::descendants(|_| true).into_iter().any(|pid| {
        numbers(pid)
            .into_iter()
            .any(|number| procs::identify(pid, number) == Ok(Some(id)) && !spares(pid, number))
    })
}

/// Returns the epoll sets that any program still holds. `known_as` returns the set that a descriptor
/// refers to, for use if the kernel cannot compare files.
pub(crate) fn epoll_sets<'a, K: Copy + Eq + Hash + 'a>(
    _: &MayBlock,
    sets: impl Iterator<Item = (&'a K, BorrowedFd<'a>)>,
    known_as: impl Fn(u32, i32) -> Option<K>,
) -> HashSet<K> {
    let mut left: Vec<(K, BorrowedFd<'_>)> = sets.map(|(id, fd)| (*id, fd)).collect();
    // Sorted for a binary search, in the order that kcmp reports, if kcmp works.
    let mut compares = true;
    left.sort_by(|(_, a), (_, b)| {
        raw::compare_files(*a, *b).unwrap_or_else(|_| {
            compares = false;
            core::cmp::Ordering::Equal
        })
    });
    let find = |pid, number| {
        if !compares {
            return known_as(pid, number);
        }
        let found = left.binary_search_by(|(_, fd)| {
            let order = raw::compare_with(*fd, pid, number);
            order.unwrap_or(core::cmp::Ordering::Less)
        });
        left.get(found.ok()?).map(|(id, _)| *id)
    };
    let mut held = HashSet::new();
    for pid in procs::descendants(|_| true) {
        for number in numbers(pid) {
            let link = raw::readlink(format!("/proc/{pid}/fd/{number}"));
            if link.is_ok_and(|link| link == raw::EPOLL_SET) {
                held.extend(find(pid, number));
            }
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use super::*;

    #[test]
    fn a_childs_descriptor_is_found() {
        let _alone = crate::kernel::alone();
        let may = MayBlock::of_this_thread();
        let memory = raw::memfd(c"held").expect("a memfd");
        let id = raw::identity(&raw::fstat(memory.as_fd()).expect("stat"));
        assert!(!has_another(&may, id, |_, _| false));
        let (reader, writer) = std::io::pipe().expect("pipe");
        let mut child = std::process::Command::new("cat")
            .stdin(reader)
            .stdout(memory)
            .spawn()
            .expect("cat");
        assert!(has_another(&may, id, |_, _| false));
        assert!(!has_another(&may, id, |pid, fd| (pid, fd) == (child.id(), 1)));
        drop(writer);
        child.wait().expect("ends");
        assert!(!has_another(&may, id, |_, _| false));
    }

    #[test]
    fn sets_without_holders_are_not_found() {
        let _alone = crate::kernel::alone();
        let may = MayBlock::of_this_thread();
        let flags = rustix::event::epoll::CreateFlags::CLOEXEC;
        let set = rustix::event::epoll::create(flags).expect("set");
        let own = raw::compare_with(set.as_fd(), std::process::id(), set.as_raw_fd());
        if own.is_err() {
            vb3_skip::skip("this kernel compares no files");
            return;
        }
        let found = epoll_sets(&may, [(&1u32, set.as_fd())].into_iter(), |_, _| None);
        assert!(found.is_empty());
    }
}
