//! Wake descriptors: a wake descriptor becomes readable when its device has work to do. The host then calls the
//! device's `tick` ([`VideoDriver::tick`](crate::VideoDriver::tick)), which does this work.

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Unique number of a wake descriptor, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeId(u64);

impl WakeId {
    /// Returns a number that no other descriptor has.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each value is another one")]
    pub fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// A wake descriptor with its id. It becomes readable when a device needs a call of its `tick`.
#[derive(Clone, Copy, Debug)]
pub struct WakeFd<'a> {
    /// The descriptor.
    pub fd: BorrowedFd<'a>,
    /// Distinguishes the descriptor from earlier ones that had the same number.
    pub id: WakeId,
}

impl<'a> WakeFd<'a> {
    /// Joins a descriptor with its id. The descriptor must have had this id since it was made, so that the id never
    /// stands for two descriptors.
    #[must_use]
    pub const fn new(fd: BorrowedFd<'a>, id: WakeId) -> Self {
        Self { fd, id }
    }
}

impl AsFd for WakeFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

/// The owner of a wake descriptor, with the descriptor's id.
#[derive(Debug)]
pub struct Wake<T> {
    owner: T,
    id: WakeId,
}

impl<T> Wake<T> {
    /// Gives the descriptor a new id.
    pub fn new(owner: T) -> Self {
        let id = WakeId::new();
        Self { owner, id }
    }

    /// Returns the owner, without the id.
    pub fn into_inner(self) -> T {
        self.owner
    }

    /// Returns the descriptor's id.
    pub const fn id(&self) -> WakeId {
        self.id
    }
}

impl<T: AsFd> Wake<T> {
    /// Returns the descriptor with its id.
    pub fn fd(&self) -> WakeFd<'_> {
        WakeFd::new(self.owner.as_fd(), self.id)
    }
}

impl<T> Deref for Wake<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.owner
    }
}

impl<T> DerefMut for Wake<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.owner
    }
}
