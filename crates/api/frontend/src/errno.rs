//! Linux's error numbers.

use std::fmt;

/// A Linux errno, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// No such file or directory.
    pub const ENOENT: Self = Self(2);
    /// Input/output error.
    pub const EIO: Self = Self(5);
    /// No such descriptor.
    pub const EBADF: Self = Self(9);
    /// Try again.
    pub const EAGAIN: Self = Self(11);
    /// Out of memory.
    pub const ENOMEM: Self = Self(12);
    /// Bad address.
    pub const EFAULT: Self = Self(14);
    /// No such device.
    pub const ENODEV: Self = Self(19);
    /// Invalid argument.
    pub const EINVAL: Self = Self(22);
    /// Too many open files in the system.
    pub const ENFILE: Self = Self(23);
    /// The process has no room for another descriptor.
    pub const EMFILE: Self = Self(24);
    /// No such call on this kind of file.
    pub const ENOTTY: Self = Self(25);
    /// Function not implemented.
    pub const ENOSYS: Self = Self(38);
    /// File descriptor in bad state.
    pub const EBADFD: Self = Self(77);
    /// The call needs data of the program that the front end has not gathered yet; not a Linux errno.
    ///
    /// If a method of [`Step`](crate::Step) returns this errno, the step must end without changing anything; its
    /// result does not count. The front end makes the step again when it has the data.
    pub const NOT_GATHERED: Self = Self(4095);
}

/// The C library's message, with the number.
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}
