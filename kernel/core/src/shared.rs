//! What a driver's interrupt handler reaches beside the queue, behind `done_lock`.
// UNSAFETY: the lock is the C side's.

use crate::sys::{self, Core};
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use vb3_queue::{Active, Completion, Completions, DoneState, Error, Finished, MAX_PLANES};

/// The tokens of the buffers that the driver has, by index, and those that it has finished with.
/// A driver of videobuf2 is given buffers, not tokens, so they are kept for it.
struct Inner {
    tokens: Vec<Option<Active<()>>>,
    finished: Completions<()>,
}

/// [`Inner`] behind the queue's `done_lock`.
pub struct Shared {
    core: *mut Core,
    inner: UnsafeCell<Inner>,
}

impl Shared {
    pub fn new(core: *mut Core, buffers: u32) -> Result<Self, Error> {
        let none = Error::NoMemory {
            wanted: u64::from(buffers),
            found: 0,
            cause: None,
        };
        let count = usize::try_from(buffers).map_err(|_| none)?;
        let mut tokens = Vec::new();
        tokens.try_reserve_exact(count).map_err(|_| none)?;
        tokens.resize_with(count, || None);
        Ok(Self {
            core,
            inner: UnsafeCell::new(Inner {
                tokens,
                finished: Completions::new(buffers)?,
            }),
        })
    }

    /// Uses what is inside, with `done_lock` held. Does not sleep.
    fn locked<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        // SAFETY: the queue is there for as long as this.
        let flags = unsafe { sys::vb3core_c_lock(self.core) };
        // SAFETY: nobody else is between lock and unlock.
        let result = f(unsafe { &mut *self.inner.get() });
        // SAFETY: locked above.
        unsafe { sys::vb3core_c_unlock(self.core, flags) };
        result
    }

    /// Keeps the token of a buffer that the driver gets. One that is left from before is worth
    /// nothing, and goes when the lock is let go of.
    pub fn keep(&self, token: Active<()>) {
        let index = usize::try_from(token.index()).unwrap_or(usize::MAX);
        let _old = self.locked(|inner| Some(inner.tokens.get_mut(index)?.replace(token)));
    }

    /// The oldest buffer that the driver has finished with.
    pub fn pop(&self) -> Option<Finished<()>> {
        self.locked(|inner| inner.finished.pop())
    }

    /// The driver has finished with a buffer: whether it had it.
    ///
    /// # Safety
    /// The caller holds `done_lock`.
    pub unsafe fn finish(
        &self,
        index: u32,
        outcome: DoneState,
        payloads: [u64; MAX_PLANES],
    ) -> bool {
        // SAFETY: the lock is held.
        let inner = unsafe { &mut *self.inner.get() };
        let place = usize::try_from(index).ok();
        let token = place.and_then(|i| inner.tokens.get_mut(i)?.take());
        let Some(token) = token else { return false };
        let completion = Completion {
            payloads: Some(payloads),
            ..Completion::new(outcome, 0)
        };
        inner.finished.push(token, completion).is_ok()
    }

    /// The epoch of a buffer that the driver has; 0 if it has not.
    ///
    /// # Safety
    /// The caller holds `done_lock`.
    pub unsafe fn epoch(&self, index: u32) -> u64 {
        // SAFETY: the lock is held.
        let inner = unsafe { &*self.inner.get() };
        let place = usize::try_from(index).ok();
        let token = place.and_then(|i| inner.tokens.get(i)?.as_ref());
        token.map_or(0, Active::epoch)
    }

    /// The driver gives a buffer back that it could not start with.
    ///
    /// # Safety
    /// The caller holds `done_lock`.
    pub unsafe fn give_back(&self, index: u32) {
        // SAFETY: the lock is held.
        let inner = unsafe { &mut *self.inner.get() };
        let place = usize::try_from(index).ok();
        let _token = place.and_then(|i| inner.tokens.get_mut(i)?.take());
    }
}
