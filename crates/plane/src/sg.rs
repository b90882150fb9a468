//! dma-sg: a plane is scattered pages, mapped for its device as a list of segments.
//!
//! This allocator is for devices that accept scatter lists. The memory need not be contiguous, with or
//! without an IOMMU.

use crate::AllocArgs;
use vb3_dma::Attrs;
use vb3_dmabuf::{Backing, Spec};

/// Returns the allocation request for a plane: cached pages that the device can address. The plane's own
/// device is then attached like any other device that shares the pages. The requested coherency is ignored:
/// caches are always synced, unless a hint omits the sync.
///
/// Source: Linux 7.2 `vb2_dma_sg_alloc`, differs: `gfp_flags` follow from the device's address
/// mask.
#[must_use]
pub const fn spec<D: Copy>(dev: D, args: AllocArgs) -> Spec<D> {
    Spec {
        backing: Backing::Scattered(dev),
        len_bytes: args.len_bytes,
        direction: args.direction,
        attrs: Attrs::empty(),
    }
}
