//! A queue with its memory, its driver and what interrupt handlers reach.
// UNSAFETY: parts of a state are used beside one another, through its address.

use crate::driver::KernelDriver;
use crate::memory::KernelMemory;
use crate::shared::Shared;
use crate::sys::{self, Core, GivenConfig};
use alloc::boxed::Box;
use core::ffi::c_int;
use core::fmt::{self, Write as _};
use vb3_queue::{Config, Error, IoModes, Queue, QueueType, Session, TimestampKind, Wait};

/// All of a queue. Made for the first buffers, and gone with [`free`](State::free).
pub struct State {
    core: *mut Core,
    queue: Queue<KernelMemory>,
    memory: KernelMemory,
    driver: KernelDriver,
    shared: Shared,
    /// Of the caller that sleeps in DQBUF.
    wait: Option<Wait>,
    say_reasons: bool,
}

fn config(given: &GivenConfig) -> Config<u8> {
    let modes = [
        (given.mmap, IoModes::MMAP),
        (given.userptr, IoModes::USERPTR),
        (given.dmabuf, IoModes::DMABUF),
        (given.read, IoModes::READ),
        (given.write, IoModes::WRITE),
    ];
    let mut io_modes = IoModes::empty();
    for (has, mode) in modes {
        io_modes.set(mode, has);
    }
    let queue_type = if given.is_output {
        QueueType::Output
    } else {
        QueueType::Capture
    };
    Config {
        // Number n is that of plane n, whatever the driver chose for it.
        alloc_devs: [const { Some(1) }; vb3_queue::MAX_PLANES],
        bidirectional: given.bidirectional,
        io_modes,
        max_num_buffers: given.max_num_buffers,
        min_queued_buffers: given.min_queued_buffers,
        min_reqbufs_allocation: given.min_reqbufs_allocation,
        allow_cache_hints: given.cache_hints,
        timestamps: if given.copy_timestamp {
            TimestampKind::Copy
        } else {
            TimestampKind::Monotonic
        },
        allow_zero_bytesused: given.allow_zero_bytesused,
        quirk_poll_must_check_waiting_for_buffers: given.poll_quirk,
        fileio_read_once: given.read_once,
        fileio_write_immediately: given.write_immediately,
        page_shift: given.page_shift,
        ..Config::new(0, queue_type)
    }
}

impl State {
    /// Makes one.
    ///
    /// # Errors
    /// EINVAL, ENOMEM.
    pub fn new(core: *mut Core, given: &GivenConfig) -> Result<*mut Self, Error> {
        let queue = Queue::new(config(given))?;
        let shared = Shared::new(core, given.max_num_buffers)?;
        let state = Box::into_raw(Box::new(Self {
            core,
            queue,
            memory: KernelMemory::new(core, given),
            driver: KernelDriver {
                core,
                shared: core::ptr::null(),
            },
            shared,
            wait: None,
            say_reasons: given.say_reasons,
        }));
        // SAFETY: just made; `shared` stays where it is until the state goes.
        unsafe { (*state).driver.shared = &raw const (*state).shared };
        Ok(state)
    }

    /// Ends it.
    ///
    /// # Safety
    /// Of [`new`](Self::new), and not used again. Nobody else uses it.
    pub unsafe fn free(state: *mut Self) {
        // SAFETY: the caller's promise; the driver may finish buffers while it is stopped.
        unsafe {
            Self::call(state, |session| {
                session.release();
                Ok(())
            });
            Self::flush(state);
            drop(Box::from_raw(state));
        }
    }

    /// What interrupt handlers reach.
    ///
    /// # Safety
    /// The state is there.
    pub unsafe fn shared<'a>(state: *const Self) -> &'a Shared {
        // SAFETY: a field that is never borrowed mutably, taken by the state's address.
        unsafe { &(*state).shared }
    }

    /// The queue, to look at.
    ///
    /// # Safety
    /// The state is there, and the caller has the queue's lock.
    pub unsafe fn queue<'a>(state: *const Self) -> &'a Queue<KernelMemory> {
        // SAFETY: nobody changes it without the lock.
        unsafe { &(*state).queue }
    }

    /// The queue, to tell that its device has failed.
    ///
    /// # Safety
    /// As for [`queue`](Self::queue), and from no callback.
    pub unsafe fn queue_mut<'a>(state: *mut Self) -> &'a mut Queue<KernelMemory> {
        // SAFETY: nobody else uses it: the caller has the lock.
        unsafe { &mut (*state).queue }
    }

    /// One call. Buffers that the driver has finished with are collected before it.
    ///
    /// # Safety
    /// The state is there, the caller has the queue's lock, and is no callback.
    pub unsafe fn call(
        state: *mut Self,
        f: impl FnOnce(&mut Session<'_, KernelMemory>) -> Result<(), Error>,
    ) -> c_int {
        // SAFETY: the state is there.
        let shared = unsafe { Self::shared(state) };
        // SAFETY: as `queue_mut`; the fields are borrowed by themselves, so that the driver may finish
        // buffers meanwhile.
        let (queue, memory, driver) = unsafe {
            (
                &mut (*state).queue,
                &mut (*state).memory,
                &mut (*state).driver,
            )
        };
        let mut session = queue.session(memory, driver);
        session.collect(|| shared.pop());
        match f(&mut session) {
            Ok(()) => 0,
            Err(e) => {
                // SAFETY: fields that are set once.
                let (core, say) = unsafe { ((*state).core, (*state).say_reasons) };
                if say && !matches!(e, Error::WouldBlock) {
                    refused(core, e);
                }
                e.errno().wrapping_neg()
            }
        }
    }

    /// Lets go of mappings that are kept for no buffer.
    ///
    /// # Safety
    /// As for [`call`](Self::call).
    pub unsafe fn flush(state: *mut Self) {
        // SAFETY: nobody else uses it: the caller has the lock.
        unsafe { &mut (*state).memory }.flush();
    }

    /// A caller begins to sleep in DQBUF.
    ///
    /// # Safety
    /// As for [`call`](Self::call).
    pub unsafe fn begin_wait(state: *mut Self) -> c_int {
        // SAFETY: the caller has the lock.
        match unsafe { Self::queue(state) }.wait() {
            Ok(wait) => {
                // SAFETY: as above.
                unsafe { (*state).wait = Some(wait) };
                0
            }
            Err(e) => e.errno().wrapping_neg(),
        }
    }

    /// It no longer sleeps.
    ///
    /// # Safety
    /// As for [`call`](Self::call).
    pub unsafe fn end_wait(state: *mut Self) {
        // SAFETY: the caller has the lock.
        unsafe { (*state).wait = None };
    }
}

/// A line for the log.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let rest = self.bytes.get_mut(self.len..).ok_or(fmt::Error)?;
        for (to, from) in rest.iter_mut().zip(text.bytes()) {
            *to = from;
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}

/// Says in the log why a call was refused.
fn refused(core: *mut Core, e: Error) {
    let mut line = Line {
        bytes: [0; 160],
        len: 0,
    };
    // What does not fit is left out.
    let _cut = write!(line, "{e}");
    let len = c_int::try_from(line.len).unwrap_or(0);
    // SAFETY: the line has as many bytes.
    unsafe { sys::vb3core_c_refused(core, e.errno(), line.bytes.as_ptr(), len) };
}
