//! A bounded queue between the devices' thread, which never waits, and a helper thread, which may wait.

use crate::Failure;
use crate::lock::lock;
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use vb3_v4l2::{Wake, WakeFd};

/// The queue. The devices' thread uses the `try_` methods, and the helper thread the `_wait` methods.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    wake: Wake<OwnedFd>,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    capacity: usize,
    closed: bool,
    /// Whether a `try_` call has failed and needs a wake-up when it would succeed.
    wanted: bool,
    /// Whether the descriptor is readable.
    is_awake: bool,
    /// Number of threads that sleep in [`Ring::wait`] until the ring changes. Without any, a change wakes nobody.
    waiting: usize,
}

impl<T> Ring<T> {
    /// Makes a queue of at most `capacity` items.
    pub(crate) fn new(capacity: usize) -> Result<Arc<Self>, Failure> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| Failure::new(format!("cannot make an eventfd: {e}")))?;
        let state = State {
            items: VecDeque::new(),
            capacity,
            closed: false,
            wanted: false,
            is_awake: false,
            waiting: 0,
        };
        Ok(Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            wake: Wake::new(wake),
        }))
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        state.waiting += 1;
        let waited = self.changed.wait(state);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    /// Wakes the threads that wait for a change. Makes no system call if there are none.
    fn tell(&self, state: MutexGuard<'_, State<T>>) {
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.changed.notify_all();
        }
    }

    fn notify(&self, mut state: MutexGuard<'_, State<T>>) {
        if core::mem::take(&mut state.wanted) {
            state.is_awake = true;
            // If the counter is full, the descriptor is readable anyway.
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
        self.tell(state);
    }

    pub(crate) fn set_capacity(&self, capacity: usize) {
        let mut state = lock(&self.state);
        state.capacity = capacity;
        self.notify(state);
    }

    /// Adds an item. If the queue is full, returns the item; [`wake_fd`](Self::wake_fd) becomes readable
    /// once there is room.
    pub(crate) fn try_push(&self, item: T) -> Result<(), T> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(item);
        }
        if state.items.len() >= state.capacity {
            state.wanted = true;
            return Err(item);
        }
        state.items.push_back(item);
        self.tell(state);
        Ok(())
    }

    /// Returns whether an item can be added. If not, requests a wake-up as [`try_push`](Self::try_push) does.
    pub(crate) fn has_room(&self) -> bool {
        let mut state = lock(&self.state);
        let room = state.closed || state.items.len() < state.capacity;
        state.wanted |= !room;
        room
    }

    /// Takes an item. `Err(true)` means that the queue is closed and empty. `Err(false)` means that it has no
    /// item yet: [`wake_fd`](Self::wake_fd) then becomes readable when it has one.
    pub(crate) fn try_pop(&self) -> Result<T, bool> {
        let mut state = lock(&self.state);
        match state.items.pop_front() {
            Some(item) => {
                self.tell(state);
                Ok(item)
            }
            None => {
                state.wanted = !state.closed;
                Err(state.closed)
            }
        }
    }

    /// Adds an item, and waits for room if necessary. Returns the item if the queue was closed.
    pub(crate) fn push_wait(&self, item: T) -> Result<(), T> {
        let mut state = lock(&self.state);
        while state.items.len() >= state.capacity && !state.closed {
            state = self.wait(state);
        }
        if state.closed {
            return Err(item);
        }
        state.items.push_back(item);
        self.notify(state);
        Ok(())
    }

    /// Takes an item, and waits for one if necessary. Returns `None` once the queue is closed and empty.
    pub(crate) fn pop_wait(&self) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if let Some(item) = state.items.pop_front() {
                self.notify(state);
                return Some(item);
            }
            if state.closed {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Closes the queue: it accepts no more items, but earlier items can still be taken.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        self.notify(state);
    }

    /// Returns a descriptor that becomes readable when a failed `try_` call would succeed. It stays readable
    /// until [`acknowledge`](Self::acknowledge).
    pub(crate) fn wake_fd(&self) -> WakeFd<'_> {
        self.wake.fd()
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable again. Makes no system call if it is not readable.
    pub(crate) fn acknowledge(&self) {
        let mut state = lock(&self.state);
        if core::mem::take(&mut state.is_awake) {
            // Under the lock, so that a later wake-up stays.
            let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_readable(ring: &Ring<u32>) -> bool {
        let fd = ring.wake_fd();
        let now = Timespec::default();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)) == Ok(1)
    }

    #[test]
    fn a_failed_try_wakes_when_it_would_succeed() {
        let ring = Ring::new(2).expect("an eventfd");
        assert_eq!(ring.try_pop(), Err(false));
        assert!(!is_readable(&ring));
        assert_eq!(ring.push_wait(1), Ok(()));
        assert!(is_readable(&ring));
        ring.acknowledge();
        assert!(!is_readable(&ring));
        assert!(ring.has_room());
        assert_eq!(ring.try_push(2), Ok(()));
        assert!(!is_readable(&ring), "nothing had failed");
        assert_eq!((ring.has_room(), ring.try_push(3)), (false, Err(3)));
        assert_eq!(ring.pop_wait(), Some(1));
        assert!(is_readable(&ring));
        ring.acknowledge();
        assert_eq!((ring.try_pop(), ring.try_push(3)), (Ok(2), Ok(())));
        assert!(!is_readable(&ring));
        assert_eq!(ring.try_push(4), Ok(()));
        assert!(!ring.has_room());
        ring.set_capacity(3);
        assert!(ring.has_room() && is_readable(&ring));
        assert_eq!(ring.try_push(5), Ok(()));
        assert_eq!(ring.try_push(6), Err(6));
    }

    #[test]
    fn a_closed_ring_gives_what_it_has() {
        let ring = Ring::new(1).expect("an eventfd");
        assert_eq!((ring.try_push(1), ring.try_push(2)), (Ok(()), Err(2)));
        ring.close();
        assert!(is_readable(&ring) && ring.has_room());
        let refused = (ring.try_push(3), ring.push_wait(4));
        assert_eq!(refused, (Err(3), Err(4)));
        assert_eq!((ring.pop_wait(), ring.pop_wait()), (Some(1), None));
        assert_eq!(ring.try_pop(), Err(true));
    }

    #[test]
    fn waits_end_when_the_other_side_moves() {
        let ring = Ring::new(1).expect("an eventfd");
        let helper = std::thread::spawn({
            let ring = ring.clone();
            move || {
                let pushed = (0..100).all(|number| ring.push_wait(number).is_ok());
                ring.close();
                pushed
            }
        });
        let all: Vec<u32> = std::iter::from_fn(|| ring.pop_wait()).collect();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert!(helper.join().expect("no panic"));
    }
}
