//! mmap, poll, read, write, and the passing of time.

use crate::bytes::write_user;
use crate::device::{CallContext, Outcome, VideoDevice};
use crate::driver::Progress;
use crate::file::FileHandle;
use crate::{Bus, Error, Program, VideoDriver};
use vb3_plane::MemOps;
use vb3_queue::{Fault, Interest, IoModes, MapAccess, Readiness, Sink, Source};

/// POLLIN and POLLRDNORM.
pub const POLL_IN: i16 = 0x041;
/// POLLOUT and POLLWRNORM.
pub const POLL_OUT: i16 = 0x104;
/// POLLPRI.
pub const POLL_PRI: i16 = 0x002;
/// POLLERR.
pub const POLL_ERR: i16 = 0x008;

/// A program's memory as bytes go to and come from it.
struct Window<'a, M: MemOps> {
    program: &'a dyn Program<M>,
    addr: u64,
}

impl<M: MemOps> Sink for Window<'_, M> {
    fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), Fault> {
        let addr = self.addr.checked_add(offset).ok_or(Fault)?;
        write_user(self.program, addr, data).map_err(|_| Fault)
    }
}

impl<M: MemOps> Source for Window<'_, M> {
    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        let addr = self.addr.checked_add(offset).ok_or(Fault)?;
        self.program.read(addr, out).map_err(|_| Fault)
    }
}

impl<M, D> VideoDevice<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Describes what to map for an mmap of the device. Allowed to every file, as on Linux.
    ///
    /// # Errors
    /// EINVAL for a mapping that is not shared, lacks the access the direction needs, is longer
    /// than the plane, or is nowhere; EBUSY during read() or write().
    pub fn mmap(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        offset: u64,
        len_bytes: u64,
        access: MapAccess,
    ) -> Result<M::Mmap, Error> {
        if !self.is_open(file) {
            return Err(Error::NoFile);
        }
        self.queue
            .mmap(mem, offset, len_bytes, access)
            .map_err(|error| {
                self.record("mmap", error.into());
                error.into()
            })
    }

    /// Which of POLLIN, POLLRDNORM, POLLOUT, POLLWRNORM, POLLPRI and POLLERR hold for a caller
    /// interested in `events`. POLLERR is answered unasked.
    ///
    /// Where there are no buffers, asking for data starts read() or write(), and the file then
    /// owns the queue.
    pub fn poll(&mut self, mem: &mut M, file: FileHandle, events: i16) -> i16 {
        let Ok(handle) = self.file_mut(file) else {
            return POLL_ERR;
        };
        let mut found = if handle.events.is_pending() {
            POLL_PRI
        } else {
            0
        };
        let interest = Interest {
            readable: events & POLL_IN != 0,
            writable: events & POLL_OUT != 0,
        };
        let ready = if self.is_output() { POLL_OUT } else { POLL_IN };
        found |= match self.queue.poll(mem, &mut self.driver, interest) {
            Readiness::Nothing => 0,
            Readiness::Ready => ready,
            Readiness::Error => POLL_ERR,
        };
        self.settle_owner(file);
        found & (events | POLL_ERR)
    }

    /// read() of at most `len_bytes` to `addr` in the program.
    pub fn read(
        &mut self,
        mem: &mut M,
        cx: CallContext,
        addr: u64,
        len_bytes: u64,
        program: &dyn Program<M>,
    ) -> Outcome {
        self.transfer(
            mem,
            cx,
            IoModes::READ,
            &mut Window { program, addr },
            len_bytes,
        )
    }

    /// write() of at most `len_bytes` from `addr` in the program.
    pub fn write(
        &mut self,
        mem: &mut M,
        cx: CallContext,
        addr: u64,
        len_bytes: u64,
        program: &dyn Program<M>,
    ) -> Outcome {
        self.transfer(
            mem,
            cx,
            IoModes::WRITE,
            &mut Window { program, addr },
            len_bytes,
        )
    }

    fn transfer(
        &mut self,
        mem: &mut M,
        cx: CallContext,
        mode: IoModes,
        window: &mut Window<'_, M>,
        len_bytes: u64,
    ) -> Outcome {
        if !self.is_open(cx.file) {
            return Outcome::Fail(Error::NoFile);
        }
        self.wake_up(cx);
        if !self.queue.config().io_modes.contains(mode) {
            return Outcome::Fail(Error::Invalid);
        }
        if let Err(error) = self.check_owner(cx.file) {
            return Outcome::Fail(error);
        }
        if window.addr == 0 && len_bytes != 0 {
            return Outcome::Fail(Error::Invalid);
        }
        let moved = if mode == IoModes::READ {
            self.queue.read(mem, &mut self.driver, window, len_bytes)
        } else {
            self.queue
                .write(mem, &mut self.driver, window, len_bytes, cx.now_ns)
        };
        self.settle_owner(cx.file);
        let result = match moved {
            Ok(bytes) => {
                self.wake = true;
                Ok(Some(i64::try_from(bytes).unwrap_or(i64::MAX)))
            }
            Err(error) => self.sleep(cx, error),
        };
        if let Err(error) = result {
            self.record(
                if mode == IoModes::READ {
                    "read"
                } else {
                    "write"
                },
                error,
            );
        }
        result.into()
    }

    /// Time has passed: the driver works, what it finished can be dequeued, what happened is
    /// raised as events. `now_ns` is the monotonic clock.
    pub fn tick(&mut self, mem: &mut M, now_ns: u64)
    where
        M: Bus<M::Cookie>,
    {
        self.tick_through(mem, now_ns, |mem, work| work(mem));
    }

    /// As [`tick`](Self::tick), for a host whose bus is not its memory itself: `with_bus` makes
    /// one and calls what it is given with it, once.
    pub fn tick_through(
        &mut self,
        mem: &mut M,
        now_ns: u64,
        with_bus: impl FnOnce(&mut M, &mut dyn FnMut(&mut dyn Bus<M::Cookie>)),
    ) {
        let mut progress = Progress::default();
        let driver = &mut self.driver;
        with_bus(mem, &mut |bus| driver.tick(now_ns, bus, &mut progress));
        for (token, completion) in progress.finished {
            // A stale token is counted by the queue, and says nothing about the device.
            let _ = self.queue.complete(mem, token, completion);
        }
        self.queue.reap(mem);
        if progress.broken {
            self.queue.set_error();
        }
        for event in progress.events {
            self.raise_driver_event(event, now_ns);
        }
    }

    /// When the next [`tick`](Self::tick) is due, on the monotonic clock.
    #[must_use]
    pub fn next_tick(&self) -> Option<u64> {
        self.driver.next_tick()
    }
}
