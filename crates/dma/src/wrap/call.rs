//! What hooks are told of a call.

use crate::{Attrs, Direction, DmaAddr, Error, SyncFor};

/// Which call was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// [`DmaOps::alloc_coherent`](crate::DmaOps::alloc_coherent).
    AllocCoherent,
    /// [`DmaOps::alloc_noncontiguous`](crate::DmaOps::alloc_noncontiguous).
    AllocNoncontiguous,
    /// [`DmaOps::alloc_virtual`](crate::DmaOps::alloc_virtual).
    AllocVirtual,
    /// [`DmaOps::free`](crate::DmaOps::free).
    Free,
    /// [`DmaOps::sync_alloc`](crate::DmaOps::sync_alloc).
    SyncAlloc,
    /// [`DmaOps::table_of`](crate::DmaOps::table_of).
    TableOf,
    /// [`DmaOps::pin_user`](crate::DmaOps::pin_user).
    PinUser,
    /// [`DmaOps::free_table`](crate::DmaOps::free_table).
    FreeTable,
    /// [`DmaOps::map`](crate::DmaOps::map).
    Map,
    /// [`DmaOps::unmap`](crate::DmaOps::unmap).
    Unmap,
    /// [`DmaOps::sync`](crate::DmaOps::sync).
    Sync,
    /// [`DmaOps::vmap_alloc`](crate::DmaOps::vmap_alloc).
    VmapAlloc,
    /// [`DmaOps::vmap_table`](crate::DmaOps::vmap_table).
    VmapTable,
    /// [`DmaOps::vunmap`](crate::DmaOps::vunmap).
    Vunmap,
    /// [`DmaOps::vmap_read`](crate::DmaOps::vmap_read).
    VmapRead,
    /// [`DmaOps::vmap_write`](crate::DmaOps::vmap_write).
    VmapWrite,
    /// [`DmaOps::mmap`](crate::DmaOps::mmap).
    Mmap,
}

/// A call, told after it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<D> {
    /// Which.
    pub kind: CallKind,
    /// For which device, where the call says so.
    pub dev: Option<D>,
    /// The first address a device sees, where there is one.
    pub addr: Option<DmaAddr>,
    /// Bytes, where the call says so.
    pub len: u64,
    /// Which way, where the call says so.
    pub direction: Option<Direction>,
    /// The attributes.
    pub attrs: Attrs,
    /// To whom memory was handed, where it was.
    pub sync: Option<SyncFor>,
    /// How it went.
    pub result: Result<(), Error>,
}

impl<D> Call<D> {
    pub(super) const fn new(kind: CallKind) -> Self {
        Self {
            kind,
            dev: None,
            addr: None,
            len: 0,
            direction: None,
            attrs: Attrs::empty(),
            sync: None,
            result: Ok(()),
        }
    }
}
