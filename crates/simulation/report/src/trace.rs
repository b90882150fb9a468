//! `vb3 run --trace`: records every call of every program on a device.
//!
//! [`Traced`] wraps a front end's devices and passes each call on unchanged. Another thread writes
//! the trace, so devices never wait for a disk or a pipe.

mod sink;
#[cfg(test)]
mod tests;
mod watch;

pub use crate::event::Format;
pub use sink::{Gaps, Sink, sinks};

use crate::event::{self, Answer, Event};
use crate::timeline::{Plug, Timeline};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vb3_frontend::{
    Backend, CallId, CallOutcome, Caller, Errno, FdIdentity, FileId, Hotplug, Map, Mmap, Node,
    NodeId, Tag, WakeFd,
};
use vb3_v4l2::decode::{self, Fields, Value};
use watch::Watched;

/// Maximum number of waiting calls that are remembered.
const MAX_WAITING: usize = 65_536;
/// Maximum number of open files whose device is remembered.
const MAX_FILES: usize = 65_536;
/// Maximum number of processes, and of threads, that get a number.
const MAX_THREADS: usize = 65_536;
/// Bits of a request number: the call reads (`READS`) or writes (`WRITES`) the program's structure.
const READS: u32 = 1 << 30;
const WRITES: u32 = 1 << 31;

/// Times of devices with their own clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnTime {
    /// Start of the run.
    pub origin_ns: u64,
    /// Current time.
    pub now_ns: u64,
}

impl OwnTime {
    /// Returns the time since the run began.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now_ns.saturating_sub(self.origin_ns))
    }

    /// Converts timestamps of this clock to times since the run began, so that equal runs give
    /// equal traces.
    fn rebase(&self, fields: &mut Fields) {
        for (name, value) in fields {
            if *name == "timestamp"
                && let Value::Word(word) = value
                && let Some(since_us) = self.since_us(word)
            {
                *word = format!("{}.{:06}", since_us / 1_000_000, since_us % 1_000_000);
            }
        }
    }

    /// Returns the microseconds from the start of the run to a timestamp. `None` if the timestamp
    /// is from another clock.
    fn since_us(&self, word: &str) -> Option<u64> {
        let (seconds, micros) = word.split_once('.')?;
        let seconds: u64 = seconds.parse().ok()?;
        let time_us = seconds
            .checked_mul(1_000_000)?
            .checked_add(micros.parse().ok()?)?;
        let since_us = time_us.checked_sub(self.origin_ns / 1000)?;
        (time_us <= self.now_ns / 1000).then_some(since_us)
    }
}

/// Numbers processes or threads in the order of their first call.
#[derive(Debug, Default)]
struct Numbers(HashMap<u32, u32>);

impl Numbers {
    /// Returns the number of `id`, from 1; 0 beyond [`MAX_THREADS`].
    fn of(&mut self, id: u32) -> u32 {
        let known = self.0.len();
        match self.0.get(&id) {
            Some(number) => *number,
            None if known < MAX_THREADS => {
                let number = u32::try_from(known + 1).unwrap_or(0);
                self.0.insert(id, number);
                number
            }
            None => 0,
        }
    }
}

/// A call that has begun and not ended.
#[derive(Debug)]
struct PendingCall {
    /// Time from the start of the run to the start of the call.
    at: Duration,
    file: Option<FileId>,
    name: String,
    arguments: Fields,
    /// Bytes of a read() or write() transferred so far.
    moved: i64,
    /// Whether an earlier attempt had to wait.
    has_waited: bool,
}

/// Devices whose calls are recorded.
#[derive(Debug)]
pub struct Traced<'a, B> {
    devices: &'a mut B,
    sinks: &'a mut [Sink],
    timeline: Option<&'a mut Timeline>,
    start: Instant,
    /// Reads the devices' own time; `None` if they use the system's clock.
    time: fn(&B) -> Option<OwnTime>,
    processes: Numbers,
    threads: Numbers,
    /// Path of each node (`nodes`) and of each open file (`files`).
    nodes: HashMap<NodeId, String>,
    files: HashMap<FileId, String>,
    waiting: HashMap<CallId, PendingCall>,
}

impl<'a, B: Backend> Traced<'a, B> {
    /// Records calls on these devices, with the time since `start`.
    /// If `time` returns the devices' own time, calls get times of that clock, and processes and threads get
    /// numbers from 1. Equal runs then give equal traces.
    pub fn new(
        devices: &'a mut B,
        sinks: &'a mut [Sink],
        start: Instant,
        time: fn(&B) -> Option<OwnTime>,
        timeline: Option<&'a mut Timeline>,
    ) -> Self {
        let nodes = devices.nodes().into_iter();
        let nodes = nodes.map(|node| (node.id, node.path.display().to_string()));
        Self {
            nodes: nodes.collect(),
            devices,
            sinks,
            timeline,
            start,
            time,
            processes: Numbers::default(),
            threads: Numbers::default(),
            files: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    /// Returns the time since the run began.
    fn now(&self) -> Duration {
        let own = (self.time)(self.devices);
        own.map_or_else(|| self.start.elapsed(), |own| own.elapsed())
    }

    /// Returns the process and thread of a call, as numbers from 1 if the devices have their own time.
    fn thread(&mut self, caller: &dyn Caller) -> Option<(u32, u32)> {
        let (pid, tid) = (caller.pid(), caller.tid());
        Some(match (self.time)(self.devices) {
            None => (pid, tid),
            Some(_) => (self.processes.of(pid), self.threads.of(tid)),
        })
    }

    fn write(&mut self, mut event: Event) {
        if let Some(own) = (self.time)(self.devices) {
            own.rebase(&mut event.arguments);
            own.rebase(&mut event.results);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.take(&event);
        }
        let event = Arc::new(event);
        for sink in &*self.sinks {
            sink.write(&event);
        }
    }

    /// Records the start of a call. If the call is a retry, returns the pending call instead.
    fn begin(
        &mut self,
        caller: &dyn Caller,
        file: Option<FileId>,
        describe: impl FnOnce() -> (String, Fields),
    ) -> PendingCall {
        let at = self.now();
        self.waiting.remove(&caller.call()).unwrap_or_else(|| {
            let (name, arguments) = describe();
            PendingCall {
                at,
                file,
                name,
                arguments,
                moved: 0,
                has_waited: false,
            }
        })
    }

    /// Records the end of a call. A call that waits or has transferred only a part stays pending.
    fn end(
        &mut self,
        caller: &dyn Caller,
        mut begun: PendingCall,
        done: &CallOutcome,
        results: Fields,
    ) {
        if caller.lacks() {
            // The front end gathers more and repeats the call, which keeps the time of its first attempt.
            if begun.has_waited {
                self.waiting.insert(caller.call(), begun);
            }
            return;
        }
        let outcome = match *done {
            CallOutcome::Done(value) => Answer::Value(begun.moved.saturating_add(value)),
            CallOutcome::Fail(Errno(errno)) => Answer::Errno(errno),
            CallOutcome::Wait | CallOutcome::Part(_) => {
                if let CallOutcome::Part(bytes) = *done {
                    begun.moved = begun.moved.saturating_add(bytes);
                }
                begun.has_waited = true;
                if self.waiting.len() < MAX_WAITING {
                    self.waiting.insert(caller.call(), begun);
                }
                return;
            }
        };
        let device = self.device(begun.file);
        let thread = self.thread(caller);
        self.tell(begun, device, thread, outcome, results);
    }

    fn tell(
        &mut self,
        begun: PendingCall,
        device: String,
        thread: Option<(u32, u32)>,
        outcome: Answer,
        results: Fields,
    ) {
        self.write(Event {
            at: begun.at,
            took: self.now().saturating_sub(begun.at),
            thread,
            device,
            file: begun.file.map(|file| file.0),
            call: begun.name,
            arguments: begun.arguments,
            outcome,
            results,
        });
    }

    /// Makes and records a read() or write() of `len` bytes.
    fn transfer(
        &mut self,
        name: &str,
        (file, len): (FileId, u64),
        caller: &dyn Caller,
        make: impl FnOnce(&mut B) -> CallOutcome,
    ) -> CallOutcome {
        let begun = self.begin(caller, Some(file), || {
            (name.to_owned(), vec![number("length", len)])
        });
        let done = make(self.devices);
        self.end(caller, begun, &done, Fields::new());
        done
    }

    fn device(&self, file: Option<FileId>) -> String {
        let path = file.and_then(|file| self.files.get(&file));
        path.cloned().unwrap_or_default()
    }

    /// Returns the name and arguments of a call that passes a structure.
    fn structure(request: u32, arg: u64, watched: &Watched<'_>) -> (String, Fields) {
        let name = decode::name(request).map(str::to_owned);
        let drm = || Some(format!("DRM_IOCTL_{}", vb3_drm::name(request)?));
        let name = name
            .or_else(drm)
            .unwrap_or_else(|| format!("ioctl {request:#010x}"));
        if request & READS == 0 {
            return (name, Fields::new());
        }
        let unread = || vec![("argument", Value::Word(format!("{arg:#x}")))];
        (name, watched.arguments().unwrap_or_else(unread))
    }

    /// Makes and records an ioctl on a file, or on a dma-buf.
    fn watched_ioctl(
        &mut self,
        file: Option<FileId>,
        (request, arg): (u32, u64),
        caller: &dyn Caller,
        make: impl FnOnce(&mut B, &Watched<'_>) -> CallOutcome,
    ) -> CallOutcome {
        let watched = match Watched::new(caller, request, arg) {
            Ok(watched) => watched,
            Err(errno) => return CallOutcome::Fail(errno),
        };
        let begun = self.begin(caller, file, || Self::structure(request, arg, &watched));
        let done = make(self.devices, &watched);
        let has_results = matches!(done, CallOutcome::Done(_)) && request & WRITES != 0;
        let results = (has_results && !caller.lacks()).then(|| watched.results());
        self.end(caller, begun, &done, results.unwrap_or_default());
        done
    }
}

/// Defines methods that only call the same methods of `$to`.
macro_rules! forward {
    ($to:expr => $(
        fn $name:ident(&$($this:ident)+ $(, $arg:ident: $type:ty)*) $(-> $result:ty)?;
    )*) => {
        $(fn $name(&$($this)+ $(, $arg: $type)*) $(-> $result)? {
            $to.$name($($arg),*)
        })*
    };
}
use forward;

fn number(name: &'static str, value: u64) -> (&'static str, Value) {
    (name, Value::Unsigned(value))
}

impl<B: Backend> Backend for Traced<'_, B> {
    forward! { self.devices =>
        fn nodes(&self) -> Vec<Node>;
        fn tag_ended(&mut self, tag: Tag);
        fn poll(&mut self, file: FileId, events: i16) -> i16;
        fn peek(&mut self, file: FileId, events: i16) -> i16;
        fn poll_waits(&mut self, file: FileId, events: i16);
        fn is_buffer(&self, id: FdIdentity) -> bool;
        fn buffer_len(&self, id: FdIdentity) -> u64;
        fn buffer_poll(&mut self, id: FdIdentity, events: i16) -> i16;
        fn take_buffers_changed(&mut self) -> bool;
        fn buffer_mapped(&mut self, id: FdIdentity, pid: u32) -> Result<(), Errno>;
        fn is_foreign(&self, id: FdIdentity) -> bool;
        fn foreign_ioctl(&mut self, id: FdIdentity, request: u32, arg: u64, caller: &dyn Caller);
        fn files(&self, node: NodeId) -> Vec<(PathBuf, Vec<u8>)>;
        fn links(&self, node: NodeId) -> Vec<(PathBuf, PathBuf)>;
        fn hotplug_shown(&mut self, count: usize);
        fn take_revoked(&mut self) -> Vec<FdIdentity>;
        fn revoked_shown(&mut self, count: usize);
        fn needs_fresh_closes(&self, file: FileId, request: u32) -> bool;
        fn takes_memory(&self, request: u32) -> bool;
        fn next_tick(&self) -> Option<Duration>;
        fn is_due(&self) -> bool;
        fn woken(&mut self, id: u64);
        fn tick(&mut self);
        fn continue_work(&mut self, is_wanted: &dyn Fn() -> bool);
        fn wake_fds(&self) -> Vec<WakeFd<'_>>;
        fn is_own_child(&self, pid: u32) -> bool;
        fn take_changed(&mut self) -> Vec<FileId>;
    }

    fn open(&mut self, node: NodeId, flags: i32, caller: &dyn Caller) -> Result<FileId, Errno> {
        let mut begun = self.begin(caller, None, || {
            let flags = Value::Word(event::open_flags(flags));
            ("open".to_owned(), vec![("flags", flags)])
        });
        let opened = self.devices.open(node, flags, caller);
        let path = self.nodes.get(&node).cloned().unwrap_or_default();
        if let Ok(file) = opened {
            begun.file = Some(file);
            if self.files.len() < MAX_FILES {
                self.files.insert(file, path.clone());
            }
        }
        let outcome = match opened {
            Ok(_) => Answer::Value(0),
            Err(Errno(errno)) => Answer::Errno(errno),
        };
        let thread = self.thread(caller);
        self.tell(begun, path, thread, outcome, Fields::new());
        opened
    }

    fn release(&mut self, file: FileId) {
        let begun = PendingCall {
            at: self.now(),
            file: Some(file),
            name: "close".to_owned(),
            arguments: Fields::new(),
            moved: 0,
            has_waited: false,
        };
        self.devices.release(file);
        let device = self.device(Some(file));
        self.files.remove(&file);
        self.tell(begun, device, None, Answer::Value(0), Fields::new());
    }

    fn ioctl(
        &mut self,
        file: FileId,
        request: u32,
        arg: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> CallOutcome {
        self.watched_ioctl(Some(file), (request, arg), caller, |devices, watched| {
            devices.ioctl(file, request, arg, nonblocking, watched)
        })
    }

    fn abandon(&mut self, file: FileId, call: CallId) {
        self.devices.abandon(file, call);
        if let Some(begun) = self.waiting.remove(&call) {
            let device = self.device(Some(file));
            self.tell(begun, device, None, Answer::GivenUp, Fields::new());
        }
    }

    fn mmap(&mut self, file: FileId, args: &Mmap, caller: &dyn Caller) -> Result<Map, Errno> {
        let begun = self.begin(caller, Some(file), || {
            let arguments = vec![
                number("length", args.len),
                ("prot", Value::Word(event::protection(args.prot))),
                ("offset", Value::Word(format!("{:#x}", args.offset))),
            ];
            ("mmap".to_owned(), arguments)
        });
        let map = self.devices.mmap(file, args, caller);
        let done = (map.as_ref()).map_or_else(|e| CallOutcome::Fail(*e), |_| CallOutcome::Done(0));
        self.end(caller, begun, &done, Fields::new());
        map
    }

    fn read(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> CallOutcome {
        self.transfer("read", (file, len), caller, |devices| {
            devices.read(file, addr, len, nonblocking, caller)
        })
    }

    fn write(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> CallOutcome {
        self.transfer("write", (file, len), caller, |devices| {
            devices.write(file, addr, len, nonblocking, caller)
        })
    }

    fn resume(&mut self, file: FileId, addr: u64, caller: &dyn Caller) -> CallOutcome {
        let done = self.devices.resume(file, addr, caller);
        if !caller.lacks()
            && let Some(begun) = self.waiting.remove(&caller.call())
        {
            self.end(caller, begun, &done, Fields::new());
        }
        done
    }

    fn buffer_ioctl(
        &mut self,
        id: FdIdentity,
        request: u32,
        arg: u64,
        caller: &dyn Caller,
    ) -> CallOutcome {
        self.watched_ioctl(None, (request, arg), caller, |devices, watched| {
            devices.buffer_ioctl(id, request, arg, watched)
        })
    }

    fn take_hotplug(&mut self) -> Vec<Hotplug> {
        let told = self.devices.take_hotplug();
        let at = self.now();
        for plug in &told {
            if let (Some(timeline), Some(device)) = (&mut self.timeline, self.nodes.get(&plug.node))
            {
                timeline.plug(Plug {
                    device: device.clone(),
                    at,
                    comes: plug.present,
                });
            }
        }
        told
    }
}
