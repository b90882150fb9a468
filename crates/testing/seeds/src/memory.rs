//! The memory of a simulated process: bytes at invented addresses.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vb3_frontend::{Errno, UserRange};

/// Address of the arguments of calls.
pub(crate) const ARG: u64 = 0x1_0000;
/// Address of the planes in arguments.
pub(crate) const PLANES: u64 = ARG + 0x1000;
/// Address of the first slot, which is a buffer of the program's own memory.
const SLOTS_AT: u64 = 0x2_0000;
/// Bytes from one slot to the next: the size of the largest page.
pub(crate) const SLOT_BYTES: u64 = 0x1_0000;
/// Number of slots.
pub(crate) const SLOTS: u32 = 6;
/// Unit in which a process's memory is allocated, in bytes.
const PAGE: usize = 4096;
const END: u64 = SLOTS_AT + SLOT_BYTES * SLOTS as u64;

/// Returns the address of a slot.
pub(crate) fn slot_at(slot: u32) -> u64 {
    SLOTS_AT + SLOT_BYTES * u64::from(slot)
}

/// A process's memory.
#[derive(Debug)]
pub(crate) struct Space {
    /// Pages that were written, by their number. All other pages are zero.
    pages: Mutex<BTreeMap<usize, Box<[u8; PAGE]>>>,
    alive: AtomicBool,
}

impl Space {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            pages: Mutex::default(),
            alive: AtomicBool::new(true),
        })
    }

    /// Ends the process, so that nothing reaches its memory any more.
    pub(crate) fn end(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    fn check(&self, addr: u64, len: usize) -> Result<(), Errno> {
        let end = u64::try_from(len)
            .ok()
            .and_then(|len| addr.checked_add(len));
        let is_there = addr >= ARG && end.is_some_and(|end| end <= END);
        let is_there = is_there && self.alive.load(Ordering::Relaxed);
        is_there.then_some(()).ok_or(Errno::EFAULT)
    }
}

/// Splits a range of addresses at pages. Returns each part's page, range in the page, and range in the data.
fn pieces(addr: u64, len: usize) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let start = usize::try_from(addr).unwrap_or(usize::MAX);
    let mut done = 0;
    std::iter::from_fn(move || {
        let (page, at) = ((start + done) / PAGE, (start + done) % PAGE);
        let count = (PAGE - at).min(len - done);
        done += count;
        (count > 0).then_some((page, at..at + count, done - count..done))
    })
}

impl Space {
    /// Copies from the memory. EFAULT unless all of it is there.
    pub(crate) fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.check(addr, out.len())?;
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        for (page, there, here) in pieces(addr, out.len()) {
            match pages.get(&page) {
                Some(page) => out[here].copy_from_slice(&page[there]),
                None => out[here].fill(0),
            }
        }
        Ok(())
    }

    /// Copies to the memory. EFAULT unless all of it is there.
    pub(crate) fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.check(addr, data.len())?;
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        for (page, there, here) in pieces(addr, data.len()) {
            let page = pages.entry(page).or_insert_with(|| Box::new([0; PAGE]));
            page[there].copy_from_slice(&data[here]);
        }
        Ok(())
    }

    /// Returns memory that the process gives to a device.
    pub(crate) fn range(&self, addr: u64, len_bytes: u64) -> UserRange {
        let there = match self.check(addr, 0) {
            Ok(()) => len_bytes.min(END - addr),
            Err(_) => 0,
        };
        let mut bytes = vec![0; usize::try_from(there).unwrap_or(0)];
        if self.read(addr, &mut bytes).is_err() {
            bytes.clear();
        }
        UserRange {
            readable: there,
            writable: there,
            file: None,
            bytes: Arc::new(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
