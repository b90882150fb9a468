//! A buffer's description and holders, for debugfs.
// UNSAFETY: like `entry.rs`. SOUNDNESS.md lists the conditions.

use crate::entry::object;
use crate::linux::{AllocatedAs, Dev, direction_to_c};
use crate::object::Object;
use crate::sys;
use core::ffi::{c_int, c_void};
use core::mem::offset_of;
use core::ptr;
use vb3_dma::Direction;
use vb3_dmabuf::HolderKind;

/// `struct vb3_facts` of module/buffer.h.
#[repr(C)]
pub struct Facts {
    bytes: u64,
    kind: u32,
    direction: u32,
    import: *mut sys::DmaBuf,
}

const _: () = assert!(size_of::<Facts>() == 24 && offset_of!(Facts, import) == 16);

fn facts(object: &Object) -> Facts {
    let (bytes, kind, direction, import) = match object {
        Object::Allocated(a) => {
            let (bytes, direction, kind) = a.facts();
            let kind = match kind {
                AllocatedAs::Coherent => 0,
                AllocatedAs::NonCoherent => 1,
                AllocatedAs::Virtual => 4,
            };
            (bytes, kind, direction, ptr::null_mut())
        }
        Object::User(u) => {
            let (bytes, direction) = u.facts();
            (bytes, 2, direction, ptr::null_mut())
        }
        Object::Import(i) => {
            let (bytes, direction, buf) = i.facts();
            (bytes, 3, direction, buf)
        }
    };
    Facts {
        bytes,
        kind,
        direction: u32::try_from(direction_to_c(direction)).unwrap_or(u32::MAX),
        import,
    }
}

/// Describes a buffer. May sleep.
///
/// # Safety
/// See the documentation of `entry.rs`; `to` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_describe(rust: *mut c_void, to: *mut Facts) {
    // SAFETY: the caller's promise.
    if let Some(object) = unsafe { object(rust) } {
        // SAFETY: the caller's promise.
        unsafe { to.write(facts(object)) };
    }
}

/// Calls `vb3_show_holder` for each device that holds a buffer, and the kernel. May sleep.
///
/// # Safety
/// See the documentation of `entry.rs`; `file` is being shown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_holders(rust: *mut c_void, file: *mut sys::SeqFile) {
    // SAFETY: the caller's promise.
    match unsafe { object(rust) } {
        Some(Object::Allocated(a)) => {
            if a.is_vmapped() {
                // SAFETY: the caller's promise.
                unsafe { line(file, "kernel mapping", None, None, u64::MAX) };
            }
            a.each_holder(|holder| {
                let (name, direction) = match holder.kind {
                    HolderKind::Mapped(direction) => ("mapped", Some(direction)),
                    _ => ("attached", None),
                };
                // SAFETY: the caller's promise; the device is a holder's.
                unsafe { line(file, name, holder.device, direction, holder.since_ns) };
            });
        }
        Some(Object::Import(i)) => {
            let (dev, is_mapped) = i.mapped();
            let (name, direction) = match is_mapped {
                true => ("mapped", Some(i.direction)),
                false => ("attached", None),
            };
            // SAFETY: the caller's promise.
            unsafe { line(file, name, Some(dev), direction, u64::MAX) };
        }
        Some(Object::User(_)) | None => {}
    }
}

/// # Safety
/// `file` is being shown; the device exists.
unsafe fn line(
    file: *mut sys::SeqFile,
    name: &'static str,
    dev: Option<Dev>,
    direction: Option<Direction>,
    since_ns: u64,
) {
    // SAFETY: the caller's promise; the text has this length.
    unsafe {
        sys::vb3_show_holder(
            file,
            name.as_ptr(),
            c_int::try_from(name.len()).unwrap_or(0),
            1,
            dev.map_or(ptr::null_mut(), Dev::raw),
            direction.map_or(-1, direction_to_c),
            since_ns,
        );
    }
}
