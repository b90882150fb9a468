//! What poll() finds, as Linux numbers it.

/// POLLIN and POLLRDNORM.
pub const POLL_IN: i16 = 0x041;
/// POLLOUT and POLLWRNORM.
pub const POLL_OUT: i16 = 0x104;
/// POLLPRI.
pub const POLL_PRI: i16 = 0x002;
/// POLLERR.
pub const POLL_ERR: i16 = 0x008;
