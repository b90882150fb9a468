//! System calls, /proc, threads' CPU registers, the locks of the supervisor (`vb3 run`'s process), and
//! `MayBlock`.

pub(crate) mod arch;
pub(crate) mod filesystems;
pub mod may_block;
pub(crate) mod procs;
pub(crate) mod raw;
mod reaper;
mod sync;
pub(crate) mod vma;
mod workers;

pub(crate) use arch::{AUDIT_ARCH, FCHMODAT2, FOREIGN_CALLS, OTHER_OPENS, Regs, nr, page_size};
pub(crate) use may_block::{EpollOp, MayBlock, RunLock};
#[cfg(test)]
pub(crate) use procs::alone;
pub(crate) use procs::{
    OpenFile, Procs, Thread, blocked_waits, cpu_time_if_runnable, field, own_tid,
};
pub(crate) use raw::CharacterDevice;
pub(crate) use reaper::{Borrowed, Locked};
pub(crate) use sync::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Condvar, Instant, Mutex, Ordering, lock,
};
pub(crate) use vma::{Access, Mapping};
pub(crate) use workers::Workers;
