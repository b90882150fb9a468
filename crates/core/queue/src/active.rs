//! The token that stands for the device's ownership of a buffer.

use crate::config::MAX_PLANES;
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, SeqCst};
use crate::{Error, Invalid, RequestId};
use alloc::vec::Vec;
use core::fmt;

/// One plane of a buffer: as its driver sees it, or as QUERYBUF returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneView<C> {
    /// For drivers, how they reach the plane: a DMA address, or a CPU mapping. For programs, a
    /// [`PlaneLocation`](crate::PlaneLocation).
    pub cookie: C,
    /// Bytes that the plane can hold.
    pub length_bytes: u64,
    /// Bytes used, including those before `data_offset`. On OUTPUT, the program has written them; on CAPTURE, the device
    /// will.
    pub payload_bytes: u64,
    /// Offset of the first data byte, in bytes: the program's value on OUTPUT, the device's on CAPTURE.
    pub data_offset: u64,
}

const NO_SLOT: u32 = u32::MAX;
/// Bit in [`Slot::live`]: the token was dropped.
const DROPPED: u64 = 1 << 63;

/// State of one buffer index, which the queue shares with the token of that index.
///
/// # Invariants
/// `live` holds the generation of the valid token of this index, and 0 if there is none. Dropping
/// that token sets the bit [`DROPPED`]. While `listed` is set, and only then, the slot is in the
/// list of dropped tokens or is being added to it.
struct Slot {
    live: AtomicU64,
    next: AtomicU32,
    listed: AtomicBool,
}

/// State that a queue shares with all its tokens.
pub(crate) struct Ownership {
    epoch: AtomicU64,
    first_dropped: AtomicU32,
    slots: Vec<Slot>,
    /// Number of events so far. Every event ends the current wait.
    events: AtomicU64,
    /// Completions pushed in another context and not popped yet.
    pending: AtomicU64,
    /// Number of the current [`Wait`](crate::Wait); 0 for none.
    waiter: AtomicU64,
    last_waiter: AtomicU64,
}

impl Ownership {
    /// Makes room for the tokens of `buffers` buffers; `None` if memory runs out.
    pub(crate) fn new(buffers: u32) -> Option<Arc<Self>> {
        let count = usize::try_from(buffers).ok()?;
        let mut slots = Vec::new();
        slots.try_reserve_exact(count).ok()?;
        slots.extend((0..count).map(|_| Slot {
            live: AtomicU64::new(0),
            next: AtomicU32::new(NO_SLOT),
            listed: AtomicBool::new(false),
        }));
        // `Arc::new` cannot report a failed allocation. It allocates about 90 bytes, once per queue.
        Some(Arc::new(Self {
            epoch: AtomicU64::new(1),
            first_dropped: AtomicU32::new(NO_SLOT),
            slots,
            events: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            waiter: AtomicU64::new(0),
            last_waiter: AtomicU64::new(0),
        }))
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    /// Increments the epoch, which makes every token stale.
    pub(crate) fn raise_epoch(&self) {
        self.epoch.fetch_add(1, SeqCst);
    }

    pub(crate) fn events(&self) -> u64 {
        self.events.load(SeqCst)
    }

    /// Counts an event that ends a wait. Lock-free; may run in any context.
    pub(crate) fn note_event(&self) {
        self.events.fetch_add(1, SeqCst);
    }

    /// Counts a completion that was pushed, until it is popped.
    pub(crate) fn add_pending(&self) {
        self.pending.fetch_add(1, SeqCst);
        self.note_event();
    }

    /// Subtracts a popped completion from the count.
    pub(crate) fn sub_pending(&self) {
        self.pending.fetch_sub(1, SeqCst);
    }

    /// Returns the number of the waiting caller; 0 for none.
    pub(crate) fn waiter(&self) -> u64 {
        self.waiter.load(SeqCst)
    }

    /// Records that a caller is about to wait. Returns its number, or `None` while another caller waits.
    pub(crate) fn begin_wait(&self) -> Option<u64> {
        let number = self.last_waiter.fetch_add(1, SeqCst).wrapping_add(1);
        let free = self.waiter.compare_exchange(0, number, SeqCst, SeqCst);
        free.is_ok().then_some(number)
    }

    /// Returns whether the wait of the caller with this number is over. The wait began after `seen` events.
    pub(crate) fn is_wait_over(&self, number: u64, seen: u64) -> bool {
        self.events() != seen
            || self.pending.load(SeqCst) != 0
            || self.first_dropped.load(SeqCst) != NO_SLOT
            || self.waiter() != number
    }

    /// Ends the wait of the caller with this number.
    pub(crate) fn end_wait(&self, number: u64) {
        let _ended_before = self.waiter.compare_exchange(number, 0, SeqCst, SeqCst);
    }

    /// Ends every wait, because the queue is dropped.
    pub(crate) fn end_waits(&self) {
        self.waiter.store(0, SeqCst);
        self.note_event();
    }

    /// Makes the token with `generation` the valid one of `index`. Older tokens become stale.
    pub(crate) fn grant(&self, index: u32, generation: u64) {
        if let Some(slot) = self.slot(index) {
            slot.live.store(generation, SeqCst);
        }
    }

    /// Leaves `index` without a valid token.
    pub(crate) fn revoke(&self, index: u32) {
        self.grant(index, 0);
    }

    fn is_live(&self, index: u32, generation: u64) -> bool {
        self.slot(index)
            .is_some_and(|s| s.live.load(SeqCst) == generation)
    }

    /// Returns whether the token of `generation` was dropped and is still the latest of its index.
    pub(crate) fn was_dropped(&self, index: u32, generation: u64) -> bool {
        self.is_live(index, generation | DROPPED)
    }

    /// Takes the whole list of dropped tokens; returns its first index.
    pub(crate) fn take_dropped(&self) -> Option<u32> {
        let first = self.first_dropped.swap(NO_SLOT, SeqCst);
        (first != NO_SLOT).then_some(first)
    }

    /// Takes `index` out of the list of [`take_dropped`](Self::take_dropped); returns the next index. Call
    /// [`was_dropped`](Self::was_dropped) for `index` only afterwards. While `index` is listed, the drop of a
    /// newer token does not list it again, so an earlier check could miss that drop.
    pub(crate) fn unlist(&self, index: u32) -> Option<u32> {
        let slot = self.slot(index)?;
        let next = slot.next.load(SeqCst);
        slot.listed.store(false, SeqCst);
        (next != NO_SLOT).then_some(next)
    }

    /// Records that a token was dropped; ignores stale tokens. Lock-free; may run in any context.
    fn drop_token(&self, index: u32, generation: u64) {
        let Some(slot) = self.slot(index) else { return };
        let was_live = slot
            .live
            .compare_exchange(generation, generation | DROPPED, SeqCst, SeqCst)
            .is_ok();
        if !was_live {
            return;
        }
        if slot.listed.swap(true, SeqCst) {
            self.note_event();
            return;
        }
        let push = self.first_dropped.fetch_update(SeqCst, SeqCst, |first| {
            slot.next.store(first, SeqCst);
            Some(index)
        });
        debug_assert!(push.is_ok(), "the update never declines");
        self.note_event();
    }
}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ownership")
            .field("epoch", &self.epoch)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// A buffer that the device owns.
///
/// The queue passes it to [`Driver::buf_queue`](crate::Driver::buf_queue). The driver returns it with
/// [`Session::complete`](crate::Session::complete). If the device finishes in another context than the
/// queue's, the driver uses [`Completions::push`](crate::Completions::push) instead. Both consume the token.
/// Dropping the token returns the buffer with an error at the queue's next call. STREAMOFF, REQBUFS and
/// release make the token stale: it can then neither complete the buffer nor reach its memory.
///
/// # Context
/// `Send` and `Sync` if the cookie is. All methods and the drop are lock-free and may run in any context,
/// including interrupt handlers.
///
/// An `Active` is not `Clone`, so a buffer cannot be completed twice:
///
/// ```compile_fail,E0382
/// use vb3_queue::{Active, Completion, MemOps, Session};
/// fn twice<M: MemOps>(s: &mut Session<'_, M>, a: Active<M::Cookie>, c: Completion) {
///     let _ = s.complete(a, c);
///     let _ = s.complete(a, c);
/// }
/// ```
///
/// It cannot be copied:
///
/// ```compile_fail,E0277
/// use vb3_queue::Active;
/// fn copy(a: &Active<u64>) -> Active<u64> {
///     Active::clone(a)
/// }
/// ```
///
/// Reading a plane and then completing the buffer once compiles:
///
/// ```
/// use vb3_queue::{Active, Completion, MemOps, Session};
/// fn once<M: MemOps>(s: &mut Session<'_, M>, a: Active<M::Cookie>, c: Completion) {
///     let _ = a.plane(0);
///     let _ = s.complete(a, c);
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping the token returns the buffer with an error"]
pub struct Active<C> {
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) epoch: u64,
    pub(crate) planes: [Option<PlaneView<C>>; MAX_PLANES],
    pub(crate) index: u32,
    pub(crate) generation: u64,
    pub(crate) timestamp_ns: u64,
    pub(crate) field: u32,
    pub(crate) timecode: Option<[u8; 16]>,
    pub(crate) frame_flags: u32,
    pub(crate) request: Option<RequestId>,
    /// True until the queue takes the token. While it is true, dropping the token returns the buffer.
    pub(crate) armed: bool,
}

impl<C> Active<C> {
    /// Returns the buffer's index.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns whether the device no longer owns the buffer.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.ownership.epoch() != self.epoch || !self.ownership.is_live(self.index, self.generation)
    }

    /// Returns the planes of the buffer, in order.
    ///
    /// # Errors
    /// [`Invalid::Stale`] if the device no longer owns the buffer.
    pub fn planes(&self) -> Result<impl Iterator<Item = &PlaneView<C>> + Clone, Error> {
        if self.is_stale() {
            return Err(Invalid::Stale.into());
        }
        Ok(self.planes.iter().flatten())
    }

    /// Returns one plane; `None` if the buffer has no such plane.
    ///
    /// # Errors
    /// [`Invalid::Stale`] if the device no longer owns the buffer.
    pub fn plane(&self, plane: usize) -> Result<Option<&PlaneView<C>>, Error> {
        if self.is_stale() {
            return Err(Invalid::Stale.into());
        }
        Ok(self.planes.get(plane).and_then(Option::as_ref))
    }

    /// Returns the program's timestamp in nanoseconds on OUTPUT queues that copy timestamps, else 0.
    #[must_use]
    pub fn timestamp_ns(&self) -> u64 {
        self.timestamp_ns
    }

    /// Returns `V4L2_FIELD_*`: the program's value on OUTPUT, or the value that the driver set in
    /// `buf_prepare`.
    #[must_use]
    pub fn field(&self) -> u32 {
        self.field
    }

    /// Returns the program's timecode (OUTPUT).
    #[must_use]
    pub fn timecode(&self) -> Option<[u8; 16]> {
        self.timecode
    }

    /// Returns the program's frame flags (OUTPUT).
    #[must_use]
    pub fn frame_flags(&self) -> u32 {
        self.frame_flags
    }

    /// Returns the media request that queued the buffer.
    #[must_use]
    pub fn request(&self) -> Option<RequestId> {
        self.request
    }

    /// Consumes the token for the queue that has `ownership`. Returns the buffer's index and the token's
    /// generation; `None` if the token is stale or belongs to another queue.
    pub(crate) fn surrender(mut self, ownership: &Arc<Ownership>) -> Option<(u32, u64)> {
        if !Arc::ptr_eq(&self.ownership, ownership) || self.is_stale() {
            return None;
        }
        self.armed = false;
        self.ownership.revoke(self.index);
        Some((self.index, self.generation))
    }
}

impl<C> Drop for Active<C> {
    fn drop(&mut self) {
        if self.armed {
            self.ownership.drop_token(self.index, self.generation);
        }
    }
}
