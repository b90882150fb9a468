//! Searches the descriptors of all programs for a device file or buffer.

use vb3_frontend::FdIdentity;

use crate::kernel::{MayBlock, procs, raw};

/// Returns the numbers of a process's descriptors.
pub(super) fn numbers(pid: u32) -> Vec<i32> {
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

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
}
