//! A buffer's description and holders, for debugfs.
// UNSAFETY: pointers come from C, as in `entry.rs`. SOUNDNESS.md lists the conditions.

use crate::entry::Payload;
use crate::linux::{AllocatedAs, Dev, Linux, direction_to_c};
use crate::object::Object;
use crate::sys;
use core::ffi::c_int;
use core::mem::{MaybeUninit, offset_of};
use core::ptr::{self, NonNull};
use vb3_dma::{Direction, DmaOps};
use vb3_dmabuf::HolderKind;

/// The description of a buffer: `struct vb3_facts` of module/buffer.h.
#[repr(C)]
pub struct Facts {
    bytes: u64,
    kind: u32,
    direction: u32,
    import: *mut sys::DmaBuf,
}

const _: () = assert!(size_of::<Facts>() == 24 && offset_of!(Facts, import) == 16);

fn facts(object: &Object) -> Facts {
    let (bytes, kind, direction) = match object {
        Object::Allocated(a) => {
            let kind = match a.kind {
                AllocatedAs::Coherent => 0,
                AllocatedAs::NonCoherent => 1,
                AllocatedAs::Virtual => 4,
            };
            (a.len_bytes(), kind, a.direction)
        }
        Object::User(u) => (Linux::PLAIN.table_len(u.memory.table()), 2, u.direction),
        Object::Import(i) => (i.len_bytes, 3, i.direction),
    };
    let import = match object {
        Object::Import(i) => i.buf.as_ptr(),
        _ => ptr::null_mut(),
    };
    Facts {
        bytes,
        kind,
        direction: u32::try_from(direction_to_c(direction)).unwrap_or(u32::MAX),
        import,
    }
}

/// Describes a buffer. May sleep.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_describe(rust: Payload, to: &mut MaybeUninit<Facts>) {
    to.write(facts(rust.object()));
}

/// Calls `vb3_show_holder` for each device that holds a buffer, and for the kernel's mapping. May sleep.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_holders(rust: Payload, file: NonNull<sys::SeqFile>) {
    match rust.object() {
        Object::Allocated(a) => {
            if a.is_vmapped() {
                line(file, "kernel mapping", None, None, u64::MAX);
            }
            a.each_holder(|holder| {
                let (name, direction) = match holder.kind {
                    HolderKind::Mapped(direction) => ("mapped", Some(direction)),
                    _ => ("attached", None),
                };
                line(file, name, holder.device, direction, holder.since_ns);
            });
        }
        Object::Import(i) => {
            let (dev, is_mapped) = i.mapped();
            let (name, direction) = match is_mapped {
                true => ("mapped", Some(i.direction)),
                false => ("attached", None),
            };
            line(file, name, Some(dev), direction, u64::MAX);
        }
        Object::User(_) => {}
    }
}

/// Prints a line about a holder to a file of debugfs.
fn line(
    file: NonNull<sys::SeqFile>,
    name: &'static str,
    dev: Option<Dev>,
    direction: Option<Direction>,
    since_ns: u64,
) {
    // SAFETY: the file is being read, the device belongs to a holder, and the text has this length.
    unsafe {
        sys::vb3_show_holder(
            file.as_ptr(),
            name.as_ptr(),
            c_int::try_from(name.len()).unwrap_or(0),
            1,
            dev.map_or(ptr::null_mut(), Dev::raw),
            direction.map_or(-1, direction_to_c),
            since_ns,
        );
    }
}
