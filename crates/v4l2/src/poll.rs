//! Poll events, with Linux's numbers.

/// POLLIN and POLLRDNORM.
pub const POLL_IN: i16 = 0x041;
/// POLLOUT and POLLWRNORM.
pub const POLL_OUT: i16 = 0x104;
/// POLLPRI.
pub const POLL_PRI: i16 = 0x002;
/// POLLERR.
pub const POLL_ERR: i16 = 0x008;

/// The reason for a look at a file's readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollLook {
    /// A program's poll, which may start read() or write().
    Program,
    /// The host's own look, which starts nothing.
    Host,
}
