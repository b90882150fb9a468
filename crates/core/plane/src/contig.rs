//! dma-contig: a plane is one run of addresses for its device.
//!
//! The DMA layer chooses physically contiguous memory or an IOMMU. A plane whose addresses are not one run is
//! refused, with the length wanted and the length found.

use crate::PlaneError;
use vb3_dma::{
    Attrs, Coherency, Constraint, Direction, DmaAddr, DmaSegment, Error, Reason, first_run,
};
use vb3_dmabuf::{Backing, Spec};

/// Attributes that apply to non-coherent allocations. The other attributes describe kernel mappings that such
/// memory does not have, so [`spec`] drops them.
const NON_COHERENT_ATTRS: Attrs = Attrs::ALLOC_SINGLE_PAGES.union(Attrs::NO_WARN);

/// Returns the allocation request for a plane. Keeps only the attributes that apply to its memory.
#[must_use]
pub const fn spec<D: Copy>(
    dev: D,
    len_bytes: u64,
    direction: Direction,
    coherency: Coherency,
    attrs: Attrs,
) -> Spec<D> {
    let (backing, attrs) = match coherency {
        Coherency::Coherent => (Backing::Coherent(dev), attrs),
        Coherency::NonCoherent => (
            Backing::NonCoherent(dev),
            attrs.intersection(NON_COHERENT_ATTRS),
        ),
    };
    Spec {
        backing,
        len_bytes,
        direction,
        attrs,
    }
}

/// Returns the address of a mapping of `len_bytes`, if the mapping is one run.
///
/// # Errors
/// `Fault` (EFAULT) with the length wanted and the length found.
pub fn one_run(
    segment: impl FnMut(usize) -> Option<DmaSegment>,
    len_bytes: u64,
) -> Result<DmaAddr, PlaneError> {
    match first_run(segment, len_bytes) {
        Some(run) if run.len >= len_bytes => Ok(run.addr),
        found => Err(PlaneError::Fault(Some(Reason::new(
            Constraint::Contiguous,
            len_bytes,
            found.map_or(0, |run| run.len),
        )))),
    }
}

/// Checks that a buffer of `size` bytes has room for a plane.
///
/// # Errors
/// `Fault` (EFAULT) if the buffer is too small; `Invalid` for a plane of length zero.
pub const fn fits(size: u64, len_bytes: u64) -> Result<(), PlaneError> {
    if size < len_bytes {
        return Err(PlaneError::Fault(Some(Reason::new(
            Constraint::BufferSize,
            len_bytes,
            size,
        ))));
    }
    if len_bytes == 0 {
        return Err(PlaneError::Invalid(None));
    }
    Ok(())
}

/// Converts the error of an allocation: ENOMEM, or EINVAL for invalid arguments.
#[must_use]
pub const fn alloc_error(e: vb3_dmabuf::Error) -> PlaneError {
    match e {
        vb3_dmabuf::Error::Invalid | vb3_dmabuf::Error::Dma(Error::Invalid) => {
            PlaneError::Invalid(None)
        }
        other => PlaneError::NoMemory(other.reason()),
    }
}
