//! A static library without std that contains all of the `no_std` crates.
//!
//! It has its own panic handler. If a crate below linked std, there would be two panic handlers,
//! and the build would fail with E0152. The feature `control` links std, to show this failure.
#![no_std]
#![allow(
    clippy::duplicate_mod,
    reason = "each example has its own copy of the host"
)]

extern crate alloc;
#[cfg(feature = "control")]
extern crate std;

#[path = "../../../crates/core/dma/examples/buffer.rs"]
mod buffer;
#[path = "../../../crates/core/queue/examples/capture.rs"]
mod capture;
#[path = "../../../crates/core/dma/examples/ring.rs"]
mod ring;
#[path = "../../../crates/core/dmabuf/examples/two_devices.rs"]
mod two_devices;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

const HEAP: usize = 8 << 20;

/// A heap that never reuses memory: freeing does nothing.
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

// SAFETY: this is the C library's function, with which `main.c` is linked.
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    abort()
}

/// Runs the examples of the crates. Returns zero, or the number of the first that failed.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_no_std_run() -> i32 {
    let results = [
        buffer::main().is_ok(),
        ring::main().is_ok(),
        capture::main().is_ok(),
        two_devices::main().is_ok(),
    ];
    let failed = (1..).zip(results).find(|(_, is_ok)| !is_ok);
    failed.map_or(0, |(number, _)| number)
}
