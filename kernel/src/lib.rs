//! videobuf2's allocators for stock Linux kernels: `plane` and `dmabuf` over Linux's DMA API.
//!
//! One object for all kernels of an architecture: it sees kernel structures only as pointers, and
//! reaches them through the accessors of `module/shim.c`. No heap, no formatting, no panics: the
//! build fails if `core::panicking` is reachable.
#![no_std]

mod attachments;
mod device;
pub mod entry;
pub mod entry_cpu;
pub mod entry_sg;
mod import;
mod imported;
mod kernel;
mod ledger;
mod link;
mod linux;
mod object;
mod refusal;
mod show;
mod sys;
mod user;

/// Nothing reaches this: the build checks that the linked object does not hold it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
