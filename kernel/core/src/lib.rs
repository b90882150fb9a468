//! A trial: videobuf2-common's state machine by `queue`, for stock drivers (docs/kernel-core-trial.md).
//!
//! The C side (`module/`) exports what videobuf2-common does, keeps what drivers and the kernel's
//! inline functions look at in `struct vb2_queue` and `struct vb2_buffer`, and calls what drivers and
//! allocators give it. Which call is allowed when, and who has a buffer, is said here.
//!
//! Unlike the allocators' object this one needs a heap, as `queue` does, and can panic where an
//! allocation of `Arc` fails: a trial, not a module to use.
#![no_std]

extern crate alloc;

mod driver;
pub mod entry;
mod heap;
mod memory;
mod shared;
mod state;
mod sys;

/// Ends the kernel's thread with the kernel's own report.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no condition.
    unsafe { sys::vb3core_c_bug() }
}
