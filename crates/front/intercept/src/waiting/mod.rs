//! The state of calls that wait (poll, select, ioctl, read, write, locks), and programs' epoll sets.

mod epoll;
mod pending;
mod poll;
mod transfer;

pub(crate) use epoll::{Changed, Control, Epolls};
pub(crate) use pending::{EARLY, Kind, MAX_WAITING, On, Pending, Waiting};
pub(crate) use poll::{
    Asker, Entry, FD_SETSIZE, MAX_POLLED, MAX_SELECTED, Polling, SETS, SHORT, Source, UNASKED,
    poll_ours,
};
pub(crate) use transfer::{MAX_BYTES, MAX_SEGMENTS, Transfer};
