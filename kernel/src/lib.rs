//! videobuf2's allocators for stock Linux kernels: `plane` and `dmabuf` over Linux's DMA API.
//!
//! One object file serves all kernels of an architecture. It accesses kernel structures only through the
//! functions of `module/shim.c`. It has no heap, no formatting and no panics: the build fails if
//! `core::panicking` is reachable.
#![no_std]

mod attachments;
mod device;
pub mod entry;
mod import;
mod kernel;
mod ledger;
mod link;
mod linux;
mod object;
mod refusal;
mod show;
mod sys;
mod user;

/// Never called: the build checks that the linked object does not contain it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
