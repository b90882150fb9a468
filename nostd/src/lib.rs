//! A static library without std that has all of the `no_std` crates in it.
//!
//! It brings a panic handler of its own. If anything below linked std, there would be two, and the
//! build would fail with E0152; the feature `control` shows that it does.
#![no_std]

extern crate alloc;
#[cfg(feature = "control")]
extern crate std;

// Linked, though nothing of them is called here.
extern crate vb3_dmabuf as _;
extern crate vb3_plane as _;
extern crate vb3_queue as _;

#[path = "../../crates/dma/examples/os_sketch/platform.rs"]
mod platform;
#[path = "../../crates/dma/examples/os_sketch/ram.rs"]
mod ram;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};
use platform::Os;
use vb3_dma::{Attrs, Direction, DmaOps, Error, Mapper};

const HEAP: usize = 8 << 20;

/// A heap that is never given back.
struct Heap {
    bytes: UnsafeCell<[u8; HEAP]>,
    used: AtomicUsize,
}

// SAFETY: the bytes are only handed out, each once, by the atomic counter.
unsafe impl Sync for Heap {}

// SAFETY: the block lies inside the heap, is aligned as asked for, and overlaps no other, because
// `used` only grows.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.bytes.get().cast::<u8>();
        let mut start = 0;
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let at = (base as usize).checked_add(used)?;
                start = at.checked_next_multiple_of(layout.align())? - base as usize;
                start.checked_add(layout.size()).filter(|&end| end <= HEAP)
            });
        match taken {
            Ok(_) => base.wrapping_add(start),
            Err(_) => core::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static GLOBAL: Heap = Heap {
    bytes: UnsafeCell::new([0; HEAP]),
    used: AtomicUsize::new(0),
};

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

fn map() -> Result<(), Error> {
    let os = Os::new()?;
    let tables = os.ram.borrow().in_use();
    let dma = Mapper::new(os)?;
    let memory = dma.alloc_virtual(40 << 10)?;
    let table = dma.table_of(&memory)?;
    let mapping = dma.map(0, &table, Direction::FromDevice, Attrs::empty())?;
    let first = dma.segment(&mapping, 0).ok_or(Error::Invalid)?;
    let written = dma.platform().device_write(0, first.addr, b"a frame");
    dma.unmap(mapping, Attrs::empty());
    dma.free_table(table, true);
    dma.free(memory);
    let is_clean = dma.live().is_empty() && dma.platform().ram.borrow().in_use() == tables;
    written.filter(|()| is_clean).ok_or(Error::Invalid)
}

/// Maps memory for a device and takes it down again. Returns zero, or an errno.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_nostd_map() -> i32 {
    map().map_or_else(Error::errno, |()| 0)
}
