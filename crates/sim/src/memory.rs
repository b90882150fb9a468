//! The memory of a simulated process: bytes at made-up addresses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vb3_host::{Access, Errno, FdIdentity, ProcessMemory};

/// Where arguments of calls are.
pub(crate) const ARG: u64 = 0x1_0000;
/// Where planes of buffers are.
pub(crate) const PLANES: u64 = ARG + 0x1000;
/// Where buffers of the program's own begin.
const SLOTS_AT: u64 = 0x2_0000;
/// Bytes from one to the next: the largest page.
pub(crate) const SLOT_BYTES: u64 = 0x1_0000;
/// How many there are.
pub(crate) const SLOTS: u32 = 6;
const END: u64 = SLOTS_AT + SLOT_BYTES * SLOTS as u64;

/// Where a buffer of the program's own is.
pub(crate) fn slot_at(slot: u32) -> u64 {
    SLOTS_AT + SLOT_BYTES * u64::from(slot)
}

/// A process's memory.
#[derive(Debug)]
pub(crate) struct Space {
    pid: u32,
    bytes: Mutex<Vec<u8>>,
    alive: AtomicBool,
}

impl Space {
    pub(crate) fn new(pid: u32) -> Arc<Self> {
        Arc::new(Self {
            pid,
            bytes: Mutex::new(vec![0; usize::try_from(END - ARG).unwrap_or(0)]),
            alive: AtomicBool::new(true),
        })
    }

    /// The process ends: nothing reaches its memory any more.
    pub(crate) fn end(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn range(&self, addr: u64, len: usize) -> Result<std::ops::Range<usize>, Errno> {
        let first = addr.checked_sub(ARG).ok_or(Errno::EFAULT)?;
        let first = usize::try_from(first).map_err(|_| Errno::EFAULT)?;
        let end = first.checked_add(len).ok_or(Errno::EFAULT)?;
        let is_there = end <= self.lock().len() && self.alive.load(Ordering::Relaxed);
        is_there.then_some(first..end).ok_or(Errno::EFAULT)
    }
}

impl ProcessMemory for Space {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let range = self.range(addr, out.len())?;
        out.copy_from_slice(self.lock().get(range).ok_or(Errno::EFAULT)?);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let range = self.range(addr, data.len())?;
        (self.lock().get_mut(range).ok_or(Errno::EFAULT)?).copy_from_slice(data);
        Ok(())
    }

    fn probe(&self, addr: u64, len: u64, _: Access) -> Result<u64, Errno> {
        let first = self.range(addr, 0).is_ok();
        Ok(if first { len.min(END - addr) } else { 0 })
    }

    fn maps_file(&self, _: FdIdentity) -> bool {
        false
    }
}
