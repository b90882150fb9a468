//! Poll events, with Linux's numbers.

/// POLLIN and POLLRDNORM.
pub const POLL_IN: i16 = 0x041;
/// POLLOUT and POLLWRNORM.
pub const POLL_OUT: i16 = 0x104;
/// POLLPRI.
pub const POLL_PRI: i16 = 0x002;
/// POLLERR.
pub const POLL_ERR: i16 = 0x008;

/// The party that polls a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollLook {
    /// A program, whose poll may start read() or write().
    Program,
    /// The host for its own use, which starts nothing.
    Host,
}
