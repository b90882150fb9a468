//! What hooks are told of a call.

use crate::{Attrs, Direction, DmaAddr, Error, SyncFor};

/// Which call was made.
#[allow(missing_docs, reason = "named after the methods of DmaOps")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    AllocCoherent,
    AllocNoncontiguous,
    AllocVirtual,
    Free,
    SyncAlloc,
    TableOf,
    PinUser,
    FreeTable,
    Map,
    Unmap,
    Sync,
    VmapAlloc,
    VmapTable,
    Vunmap,
    VmapRead,
    VmapWrite,
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
