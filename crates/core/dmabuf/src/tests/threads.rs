//! Checks which public types may move to another thread, and which of them several threads may share. The tests' own
//! types, which are `Send` and `Sync`, stand for the types of a host.

use super::{Log, Ops};
use crate::fence::{FenceId, FenceInfo, Fences, Owner, Status, SyncFile, Timeline, Usage};
use crate::{
    AttachRef, Attachment, Backing, BufId, BufRef, Buffers, Cx, Error, Live, MemoryId, Shared,
    Slab, SlabKey, Spec, Table, UserKind, Vma,
};
use vb3_dma::NoLocks;
use vb3_dma_test::fake::Mutexes;

type Attached = Slab<Attachment<Ops>>;

#[test]
fn types_say_which_threads_they_may_visit() {
    fn any_thread<T: Send + Sync>() {}
    fn one_thread<T: Send>() {}
    // All parameters that a host provides.
    any_thread::<(Shared<Ops, Attached>, Cx<'_, Ops, Log>)>();
    any_thread::<(Attachment<Ops>, Slab<u8>)>();
    any_thread::<(Backing<u8>, Spec<u8>)>();
    any_thread::<(Fences<u8>, Timeline<u8>, FenceInfo<u8>, Owner<u8>)>();
    // The host's lock type decides whether several threads may share the value.
    any_thread::<(Buffers<Ops, Log, Mutexes>, Table<u8, Mutexes>)>();
    one_thread::<(Buffers<Ops, Log>, Table<u8, NoLocks>)>();
    // Types without parameters.
    any_thread::<(AttachRef, BufId, BufRef)>();
    any_thread::<(Error, Live, MemoryId, SlabKey)>();
    any_thread::<(UserKind, Vma, FenceId, Status)>();
    any_thread::<(SyncFile, Usage)>();
}
