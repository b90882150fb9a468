//! The kernel's allocator as Rust's. `queue` asks beforehand whether there is memory, but for one
//! `Arc` of each queue.
// UNSAFETY: calls the kernel's allocator.

use crate::sys;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;

struct Heap;

/// What kmalloc aligns all memory to.
const ALIGN: usize = 8;

// SAFETY: memory of kmalloc is the caller's alone until kfree, and is aligned to ALIGN.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGN {
            return core::ptr::null_mut();
        }
        // SAFETY: no condition.
        unsafe { sys::vb3core_c_alloc(layout.size()) }.cast()
    }

    unsafe fn dealloc(&self, at: *mut u8, _: Layout) {
        // SAFETY: of `alloc`, by the caller's promise.
        unsafe { sys::vb3core_c_free(at.cast::<c_void>()) };
    }
}

#[global_allocator]
static HEAP: Heap = Heap;
