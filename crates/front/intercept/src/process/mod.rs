//! Programs' processes: start under the seccomp filter, stops by ptrace, signals and ends.

mod child;
mod filter;
mod guard;
mod inherited;
pub(crate) mod launch;
pub(crate) mod lend;
pub(crate) mod listener;
mod probe;
pub(crate) mod reap;
pub(crate) mod rewrite;
pub(crate) mod signal;

pub(crate) use filter::{FdRange, PASS, STANDARD};
pub(crate) use guard::Guard;
pub(crate) use inherited::Inherited;
pub(crate) use lend::{Lending, Lent};
pub(crate) use listener::{
    ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS, Listener, Notif, Reply,
};
pub use probe::{Power, Powers, probe};
pub(crate) use reap::Left as LeftProcess;
pub(crate) use rewrite::{InStead, Stopped};
pub use signal::end_by_interrupt;
pub(crate) use signal::{Forward, LOOK, LOOK_OFTEN, Leader, Signals, Verdict, nudge};
