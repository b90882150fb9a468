//! A buffer's description and holders, for debugfs.
// UNSAFETY: pointers come from C, as in `entry.rs`. SOUNDNESS.md lists the conditions.

use crate::device::{Dev, direction_to_c};
use crate::entry::Payload;
use crate::linux::Linux;
use crate::object::Object;
use crate::sys;
use core::ffi::c_uint;
use core::ptr::{self, NonNull};
use vb3_dma::{Direction, DmaOps};

/// Prints a buffer by `vb3_show_buffer`, then each device that holds it, and the kernel's mapping, by
/// `vb3_show_holder`. May sleep.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_show(rust: Payload, file: NonNull<sys::SeqFile>) {
    let mut import = ptr::null_mut();
    let (bytes, kind, direction) = match rust.object() {
        Object::Allocated(a) => (a.len_bytes(), a.kind as c_uint, a.direction),
        Object::User(u) => (
            Linux::PLAIN.memory_len(u.memory.memory()),
            2,
            u.memory.direction(),
        ),
        Object::Import(i) => {
            import = i.buf.as_ptr();
            (i.len_bytes, 3, i.direction)
        }
    };
    let direction = direction_to_c(direction);
    // SAFETY: the file is being read, and the payload and its dma-buf exist.
    unsafe { sys::vb3_show_buffer(file, rust.raw(), bytes, kind, direction, import) };
    match rust.object() {
        Object::Allocated(a) => {
            if a.is_vmapped() {
                line(file, None, None, u64::MAX);
            }
            a.each_attached(|attached| {
                let dev = Some(attached.device());
                line(file, dev, attached.direction(), attached.since_ns());
            });
        }
        Object::Import(i) => {
            let (dev, is_mapped) = i.mapped();
            let direction = is_mapped.then_some(i.direction);
            line(file, Some(dev), direction, u64::MAX);
        }
        Object::User(_) => {}
    }
}

/// Prints a line about a holder to a file of debugfs: a device, with the direction of its mapping, or the kernel.
fn line(
    file: NonNull<sys::SeqFile>,
    dev: Option<Dev>,
    direction: Option<Direction>,
    since_ns: u64,
) {
    let name = match (dev, direction) {
        (None, _) => c"kernel mapping",
        (Some(_), None) => c"attached",
        (Some(_), Some(_)) => c"mapped",
    };
    // SAFETY: the file is being read, the device belongs to a holder, and the text is a constant.
    unsafe {
        sys::vb3_show_holder(
            file,
            name.as_ptr(),
            1,
            dev.unwrap_or(Dev::NONE),
            direction.map_or(-1, direction_to_c),
            since_ns,
        );
    }
}
