//! Linux's error numbers.

/// A Linux errno, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// Function not implemented.
    pub const ENOSYS: Self = Self(38);
}
