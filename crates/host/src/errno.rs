//! Linux's error numbers.

/// A Linux errno, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// Function not implemented.
    pub const ENOSYS: Self = Self(38);
    /// A value of the program's that the front end has yet to gather, as a [`Caller`](crate::Caller)
    /// answers. The call then fails with any errno and changes nothing, and is made anew once the
    /// value is there. No errno of Linux's.
    pub const NOT_GATHERED: Self = Self(4095);
}
