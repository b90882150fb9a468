//! The trace of the machine's events, in order.

use std::fmt;

/// An event of the machine.
///
/// It contains simulated addresses and counts, and nothing of the host. The same seed and calls give the same
/// events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the names of the fields explain them: addresses and bytes"
)]
pub enum Event {
    /// Pages were allocated; `addr` is the first.
    Alloc { addr: u64, len: u64, runs: u64 },
    /// Memory of another driver was imported; `addr` is the first page.
    Import { addr: u64, len: u64, runs: u64 },
    /// Pages were moved from `from` to `addr`.
    Move {
        from: u64,
        addr: u64,
        len: u64,
        runs: u64,
    },
    /// Pages were freed.
    Free { addr: u64, len: u64 },
    /// User memory was pinned.
    Pin { user_addr: u64, len: u64 },
    /// A pin ended.
    Unpin { user_addr: u64, len: u64 },
    /// The CPU's cache lines were written back.
    Clean { addr: u64, len: u64 },
    /// The CPU's cache lines were dropped.
    Invalidate { addr: u64, len: u64 },
    /// A device's page table got an entry.
    IommuMap {
        dev: u32,
        iova: u64,
        addr: u64,
        len: u64,
    },
    /// A device's page table lost entries.
    IommuUnmap { dev: u32, iova: u64, len: u64 },
    /// A flush ended the use of removed entries.
    IommuFlush { dev: u32 },
    /// Memory was copied into a bounce slot.
    BounceIn { slot: u64, addr: u64, len: u64 },
    /// A bounce slot was copied to memory.
    BounceOut { slot: u64, addr: u64, len: u64 },
    /// A device read memory.
    BusRead { dev: u32, addr: u64, len: u64 },
    /// A device wrote memory.
    BusWrite { dev: u32, addr: u64, len: u64 },
    /// A device's access did not reach memory.
    BusFault { dev: u32, addr: u64 },
    /// Fault injection made a call fail.
    Injected { call: u64 },
}

/// A bounded record of events with their times.
#[derive(Debug, Default)]
pub struct Trace {
    capacity: usize,
    events: Vec<(u64, Event)>,
    dropped: u64,
}

impl Trace {
    /// Records up to `capacity` events from now on; zero ends recording. Earlier events are dropped.
    pub fn start(&mut self, capacity: usize) {
        *self = Self {
            capacity,
            ..Self::default()
        };
    }

    /// Returns the events with their times in nanoseconds, oldest first.
    #[must_use]
    pub fn events(&self) -> &[(u64, Event)] {
        &self.events
    }

    /// Number of events that the full record did not keep.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn add(&mut self, now_ns: u64, event: Event) {
        if self.capacity == 0 {
            return;
        }
        if self.events.len() < self.capacity {
            self.events.push((now_ns, event));
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (now_ns, event) in &self.events {
            writeln!(f, "{now_ns} {event:x?}")?;
        }
        match self.dropped {
            0 => Ok(()),
            dropped => writeln!(f, "{dropped} more"),
        }
    }
}
