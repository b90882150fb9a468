//! Descriptors that tell a host's thread about finished work.

use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

static MADE: AtomicU64 = AtomicU64::new(0);

/// Makes an eventfd for wake-ups, and counts it.
///
/// # Errors
/// Fails if the system has no free descriptor.
pub fn wake_eventfd() -> rustix::io::Result<OwnedFd> {
    let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    count_wake();
    made
}

/// Counts another kind of descriptor for wake-ups.
pub fn count_wake() {
    MADE.fetch_add(1, Ordering::Relaxed);
}

/// Returns how many descriptors for wake-ups this process has made. While the count stays the same, the
/// number of such a descriptor belongs to the same file.
#[must_use]
pub fn wakes_made() -> u64 {
    MADE.load(Ordering::Relaxed)
}
