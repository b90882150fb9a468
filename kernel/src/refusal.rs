//! Log messages about refusals: the device, its request, the reason, and the remedy.
// UNSAFETY: this file calls the kernel, as `linux.rs` does. SOUNDNESS.md lists the conditions.

use crate::device::Dev;
use crate::kernel::Errno;
use crate::ledger::Count;
use crate::sys::{self, DmaBuf};
use core::ffi::c_int;
use core::mem::offset_of;
use core::ptr::NonNull;
use vb3_dma::{Constraint, Reason};

/// `struct vb3_text` of module/buffer.h: a constant text, not ended by a zero.
#[repr(C)]
pub struct Text {
    at: *const u8,
    len: c_int,
}

impl Text {
    fn new(text: &'static str) -> Self {
        Self {
            at: text.as_ptr(),
            len: c_int::try_from(text.len()).unwrap_or(0),
        }
    }
}

/// `struct vb3_refusal` of module/buffer.h.
#[repr(C)]
pub struct Refusal {
    /// The request of the device.
    what: Text,
    /// The constraint, with the required value and the value found.
    constraint: Text,
    wanted: u64,
    found: u64,
    /// A request that would succeed.
    remedy: Text,
    /// Whether the two values are physical addresses, which the log must not show.
    has_addresses: bool,
}

const _: () = {
    assert!(size_of::<Text>() == 16 && offset_of!(Text, len) == 8);
    assert!(size_of::<Refusal>() == 72 && offset_of!(Refusal, wanted) == 32);
    assert!(offset_of!(Refusal, remedy) == 48 && offset_of!(Refusal, has_addresses) == 64);
};

/// Returns what would work instead of the refused request.
/// The text is general, because this module does not know which heaps and other devices there are.
const fn remedy(constraint: Constraint) -> &'static str {
    match constraint {
        Constraint::Contiguous => {
            "memory in one piece, such as a buffer that this device allocates or one of a contiguous heap"
        }
        Constraint::ContiguousPool => {
            "smaller or fewer buffers, or more contiguous memory that this device reaches (cma=)"
        }
        Constraint::Ram => "smaller or fewer buffers",
        Constraint::SizeLimit => "a size up to the value found",
        Constraint::Mask => {
            "memory up to the address found, such as a buffer that this device allocates or one of a heap there"
        }
        Constraint::IovaSpace | Constraint::BouncePool => {
            "smaller or fewer buffers mapped at one time"
        }
        Constraint::Alignment => "address and length that are multiples of the wanted value",
        Constraint::UserPages => {
            "memory that the program has mapped, and may write to if the device does"
        }
        Constraint::BufferSize => "a dma-buf of the wanted size",
        Constraint::PagesBehind | Constraint::CpuMapping => {
            "memory with pages that the CPU can map"
        }
        // `NoBounce`; the kernel's calls never report the others.
        _ => "a buffer that this device allocates",
    }
}

// Refusals are rare, so their code is not inlined.
impl Dev {
    /// Logs why memory was refused, at a limited rate. Returns the errno.
    #[inline(never)]
    pub fn refused(self, what: &'static str, reason: Option<Reason>, errno: i32) -> Errno {
        if let Some(reason) = reason {
            self.tell(&Refusal {
                what: Text::new(what),
                constraint: Text::new(reason.constraint.name()),
                wanted: reason.wanted,
                found: reason.found,
                remedy: Text::new(remedy(reason.constraint)),
                has_addresses: reason.constraint == Constraint::Mask,
            });
        }
        Errno(errno)
    }

    /// Logs that another driver refused its dma-buf to this device. Only that driver knows the reason.
    /// Logs nothing for this module's own dma-bufs, because their refusal is in the log already.
    #[inline(never)]
    pub fn refused_by_exporter(self, buf: NonNull<DmaBuf>, errno: Errno) {
        // SAFETY: the importer has a reference to the dma-buf.
        if unsafe { sys::vb3_buf_is_own(buf) } {
            return;
        }
        self.tell(&Refusal {
            what: Text::new("a dma-buf"),
            constraint: Text::new("exporter-errno"),
            wanted: 0,
            found: u64::from(errno.0.unsigned_abs()),
            remedy: Text::new("memory that this device reaches: a buffer that it allocates"),
            has_addresses: false,
        });
    }

    fn tell(self, refusal: &Refusal) {
        Count::Refusals.add(1);
        // SAFETY: the device exists. The texts are constants with these lengths.
        unsafe { sys::vb3_refused(self, refusal) };
    }
}
