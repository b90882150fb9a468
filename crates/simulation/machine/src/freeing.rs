//! Frees memory on a separate thread.
//!
//! Unmapping a file of some megabytes takes milliseconds. Without the thread, the caller that frees a buffer
//! would wait for that, and so would all other callers. The simulated page frames can be allocated again
//! immediately.

use crate::backing::Backing;
use crate::dram::Dram;
use crate::memory::Object;
use crate::store::Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Maximum number of bytes that are freed without the thread, because that is faster than waking it.
const SMALL: u64 = 256 << 10;
/// Maximum number of pending objects. Beyond it, the caller frees memory itself.
const MAX_PENDING: usize = 64;
const MAX_PENDING_BYTES: u64 = 512 << 20;

/// Memory that is freed when this value is dropped, and its length in bytes.
type Dropped = (Option<Shared>, Option<Dram>, u64);

/// The thread that frees memory. It starts with the first large object, and is joined on drop.
#[derive(Debug, Default)]
pub(crate) struct FreeingThread {
    thread: Option<(SyncSender<Dropped>, JoinHandle<()>)>,
    waiting_bytes: Arc<AtomicU64>,
    /// Number of objects passed to the thread.
    passed: u64,
}

impl FreeingThread {
    /// Frees an object's memory: at once, or soon afterwards on the thread.
    pub(crate) fn free(&mut self, object: Object) {
        let bytes = object.bytes_of_frames();
        let store = match object.backing {
            Backing::Shared(store) => Some(store),
            // Released here, not on the thread, so that the program or exporter notices immediately.
            Backing::User { .. } | Backing::Foreign(_) => None,
        };
        let is_nothing = store.is_none() && object.dram.is_none();
        let waiting = self.waiting_bytes.load(Ordering::Relaxed);
        if is_nothing || bytes < SMALL || waiting.saturating_add(bytes) > MAX_PENDING_BYTES {
            return;
        }
        let Some(sender) = self.sender() else {
            return;
        };
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        match sender.try_send((store, object.dram, bytes)) {
            Ok(()) => self.passed += 1,
            Err(_) => drop(self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed)),
        }
    }

    /// Waits until all memory passed to the thread has been freed.
    pub(crate) fn wait_until_freed(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            // The thread only unmaps and closes, so it does not panic.
            let _ = thread.join();
        }
    }

    /// Returns the thread's queue, and starts the thread if necessary; `None` if it cannot be started.
    fn sender(&mut self) -> Option<SyncSender<Dropped>> {
        if self.thread.is_none() {
            let (sender, dropped) = sync_channel(MAX_PENDING);
            let waiting = Arc::clone(&self.waiting_bytes);
            let thread = Builder::new().name("vb3-free".into());
            let thread = thread.spawn(move || free_all(&dropped, &waiting)).ok()?;
            self.thread = Some((sender, thread));
        }
        self.thread.as_ref().map(|(sender, _)| sender.clone())
    }
}

/// Frees what arrives, until the owner drops the sender.
fn free_all(dropped: &Receiver<Dropped>, waiting: &AtomicU64) {
    while let Ok((store, dram, bytes)) = dropped.recv() {
        drop((store, dram));
        waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for FreeingThread {
    fn drop(&mut self) {
        self.wait_until_freed();
    }
}

#[cfg(test)]
mod tests {
    use crate::{Device, Machine, Profile};
    use vb3_dma::{Caching, PageRequest, PhysAddr, Platform};

    fn machine(lines: &str) -> Machine {
        let text = format!("name = \"test\"\nram = \"2GiB\"\ndma_mask = 32\n{lines}\n");
        Machine::new(&Profile::parse(&text).unwrap(), 1).unwrap()
    }

    fn free_bytes(machine: &Machine) -> u64 {
        machine.state.borrow().ram.free_bytes()
    }

    fn passed(machine: &Machine) -> u64 {
        machine.state.borrow().freeing.passed
    }

    /// Allocates and frees memory. Returns the inode of its file.
    fn come_and_go(machine: &Machine, len: u64) -> u64 {
        let request = PageRequest::<Device> {
            len,
            granule: 1 << 12,
            contiguous: false,
            max_addr: PhysAddr::new(u64::MAX),
            caching: Caching::Cached,
            device: None,
        };
        let free = free_bytes(machine);
        let pages = machine.alloc_pages(request).unwrap();
        assert_eq!(free_bytes(machine), free - len);
        let own = machine.own_memory(Some(&pages), &[]).unwrap();
        let inode = machine.inode_of(own).unwrap();
        assert!(is_mapped(inode));
        machine.free_pages(pages);
        assert_eq!(free_bytes(machine), free, "its frames are free at once");
        inode
    }

    fn is_mapped(inode: u64) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let of = |line: &str| line.split_whitespace().nth(4) == Some(&inode.to_string());
        maps.lines().any(of)
    }

    #[test]
    fn large_memory_is_freed_by_a_thread_before_the_end() {
        for lines in ["coherent = true", "coherent = false"] {
            let machine = machine(lines);
            let small = come_and_go(&machine, 1 << 16);
            assert_eq!(passed(&machine), 0);
            assert!(!is_mapped(small), "small memory at once");
            let inodes: Vec<u64> = (0..8).map(|_| come_and_go(&machine, 4 << 20)).collect();
            assert_eq!(passed(&machine), 8);
            drop(machine);
            assert!(!inodes.iter().any(|inode| is_mapped(*inode)));
        }
    }

    #[test]
    fn what_is_too_much_to_wait_is_given_back_at_once() {
        let machine = machine("coherent = true");
        let much = come_and_go(&machine, super::MAX_PENDING_BYTES + (1 << 12));
        assert!(!is_mapped(much) && passed(&machine) == 0);
    }
}
