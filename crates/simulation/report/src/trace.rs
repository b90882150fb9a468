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
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vb3_frontend::{
    Backend, Bytes, Call, CallId, Change, Devices, Errno, FdIdentity, FileId, Hotplug, Map, Mmap,
    Node, NodeId, NumberAt, On, Op, Origin, Outcome, Owner, ProcessFiles, Tag, WakeFd, Write,
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

/// A call that has ended and whose descriptors the front end makes.
#[derive(Debug)]
struct Installing {
    begun: PendingCall,
    thread: Option<(u32, u32)>,
    value: i64,
    /// The call's structure, as it was before the call.
    watched: Watched,
    /// What the call writes to the program's memory, such as to the structure.
    writes: Vec<Write>,
    /// Where the program reads the descriptors' numbers. In `writes`, these places have zeroes until the numbers are
    /// known.
    numbers: Vec<NumberAt>,
}

/// Devices whose calls are recorded. `D` is a pointer to them: a box, or a mutable reference.
#[derive(Debug)]
pub struct Traced<D: Deref> {
    devices: D,
    sinks: Vec<Sink>,
    timeline: Option<Timeline>,
    start: Instant,
    /// Reads the devices' own time; `None` if they use the system's clock.
    time: fn(&D::Target) -> Option<OwnTime>,
    processes: Numbers,
    threads: Numbers,
    /// Path of each node (`nodes`) and of each open file (`files`).
    nodes: HashMap<NodeId, String>,
    files: HashMap<FileId, String>,
    waiting: HashMap<CallId, PendingCall>,
    installing: HashMap<CallId, Installing>,
}

impl<D: DerefMut<Target: Backend>> Traced<D> {
    /// Records calls on these devices, with the time since `start`.
    /// If `time` returns the devices' own time, calls get times of that clock, and processes and threads get
    /// numbers from 1. Equal runs then give equal traces.
    pub fn new(
        devices: D,
        sinks: Vec<Sink>,
        start: Instant,
        time: fn(&D::Target) -> Option<OwnTime>,
        timeline: Option<Timeline>,
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
            installing: HashMap::new(),
        }
    }

    /// Ends the recording. Returns the devices, the sinks and the timeline.
    pub fn into_parts(self) -> (D, Vec<Sink>, Option<Timeline>) {
        (self.devices, self.sinks, self.timeline)
    }

    /// Returns the time since the run began.
    fn now(&self) -> Duration {
        let own = (self.time)(&self.devices);
        own.map_or_else(|| self.start.elapsed(), |own| own.elapsed())
    }

    /// Returns the process and thread of a call; `None` for a guest's call.
    ///
    /// If the devices have their own time, processes and threads are numbered from 1.
    fn thread(&mut self, origin: Origin) -> Option<(u32, u32)> {
        let Owner::Process(pid) = origin.client.owner else {
            return None;
        };
        Some(match (self.time)(&self.devices) {
            None => (pid, origin.thread),
            Some(_) => (self.processes.of(pid), self.threads.of(origin.thread)),
        })
    }

    fn write(&mut self, mut event: Event) {
        if let Some(own) = (self.time)(&self.devices) {
            own.rebase(&mut event.arguments);
            own.rebase(&mut event.results);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.take(&event);
        }
        let event = Arc::new(event);
        for sink in &self.sinks {
            sink.write(&event);
        }
    }

    /// Records the start of a call. If the call is a retry, returns the pending call instead.
    fn begin(
        &mut self,
        call: Option<CallId>,
        file: Option<FileId>,
        describe: impl FnOnce() -> (String, Fields),
    ) -> PendingCall {
        let at = self.now();
        let known = call.and_then(|call| self.waiting.remove(&call));
        known.unwrap_or_else(|| {
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
    fn end(&mut self, call: &Call<'_>, mut begun: PendingCall, done: &Outcome, results: Fields) {
        let outcome = match *done {
            Outcome::Done(Ok(value), _) => Answer::Value(begun.moved.saturating_add(value)),
            Outcome::Done(Err(Errno(errno)), _) => Answer::Errno(errno),
            Outcome::Need(_) => {
                // The front end gathers more and repeats the call, which keeps the time of its first attempt.
                if begun.has_waited {
                    self.waiting.insert(call.id, begun);
                }
                return;
            }
            Outcome::Wait | Outcome::Part(..) => {
                if let Outcome::Part(bytes, _) = *done {
                    begun.moved = begun.moved.saturating_add(bytes);
                }
                begun.has_waited = true;
                if self.waiting.len() < MAX_WAITING {
                    self.waiting.insert(call.id, begun);
                }
                return;
            }
        };
        let device = self.device(begun.file);
        let thread = self.thread(call.origin);
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

    /// Makes and records a read() or write(), or a piece of one.
    fn transfer(&mut self, call: &Call<'_>, file: FileId) -> Outcome {
        let begun = match call.op {
            Op::Resume { .. } => self.waiting.remove(&call.id),
            Op::Read { len, .. } => Some(self.begin_transfer(call, file, ("read", len))),
            Op::Write { len, .. } => Some(self.begin_transfer(call, file, ("write", len))),
            Op::Ioctl { .. } => None,
        };
        let done = self.devices.call(call);
        if let Some(begun) = begun {
            self.end(call, begun, &done, Fields::new());
        }
        done
    }

    fn begin_transfer(
        &mut self,
        call: &Call<'_>,
        file: FileId,
        (name, len): (&str, u64),
    ) -> PendingCall {
        self.begin(Some(call.id), Some(file), || {
            (name.to_owned(), vec![number("length", len)])
        })
    }

    fn device(&self, file: Option<FileId>) -> String {
        let path = file.and_then(|file| self.files.get(&file));
        path.cloned().unwrap_or_default()
    }

    /// Returns the name and arguments of a call that passes a structure.
    fn structure(request: u32, arg: u64, watched: &Watched) -> (String, Fields) {
        let name = decode::name(request).map(str::to_owned);
        let drm = || Some(format!("DRM_IOCTL_{}", vb3_drm::name(request)?));
        let dmabuf = || vb3_dmabuf_files::name(request).map(str::to_owned);
        let name = name
            .or_else(drm)
            .or_else(dmabuf)
            .unwrap_or_else(|| format!("ioctl {request:#010x}"));
        if request & READS == 0 {
            return (name, Fields::new());
        }
        let unread = || vec![("argument", Value::Word(format!("{arg:#x}")))];
        (name, watched.arguments().unwrap_or_else(unread))
    }

    /// Makes and records an ioctl on a file, or on a dma-buf.
    fn ioctl(
        &mut self,
        call: &Call<'_>,
        file: Option<FileId>,
        (request, arg): (u32, u64),
    ) -> Outcome {
        let watched = match Watched::new(call.have, request, arg) {
            Ok(watched) => watched,
            Err(need) => return Outcome::Need(need),
        };
        let begun = self.begin(Some(call.id), file, || {
            Self::structure(request, arg, &watched)
        });
        let done = self.devices.call(call);
        let results = match &done {
            Outcome::Done(Ok(value), effects)
                if !effects.installs.is_empty() && self.installing.len() < MAX_WAITING =>
            {
                let installs = effects.installs.iter();
                let installing = Installing {
                    thread: self.thread(call.origin),
                    value: *value,
                    writes: effects.writes.clone(),
                    numbers: installs.map(|install| install.number).collect(),
                    begun,
                    watched,
                };
                self.installing.insert(call.id, installing);
                return done;
            }
            Outcome::Done(Ok(_), effects) if request & WRITES != 0 => {
                watched.results(&effects.writes)
            }
            _ => Fields::new(),
        };
        self.end(call, begun, &done, results);
        done
    }

    /// Records a call whose descriptors have been made, with their numbers.
    fn end_install(&mut self, call: Installing, done: Result<&[i32], Errno>) {
        let Installing {
            begun,
            thread,
            mut value,
            watched,
            mut writes,
            numbers,
        } = call;
        let made = done.unwrap_or_default().iter();
        for (place, number) in numbers.iter().zip(made) {
            match *place {
                NumberAt::Result => value = i64::from(*number),
                NumberAt::Address(addr) => writes.push(Write {
                    addr,
                    bytes: Bytes::Own(number.to_ne_bytes().to_vec()),
                    is_needed: true,
                }),
            }
        }
        let (outcome, results) = match done {
            Ok(_) => (Answer::Value(value), watched.results(&writes)),
            Err(Errno(errno)) => (Answer::Errno(errno), Fields::new()),
        };
        let device = self.device(begun.file);
        self.tell(begun, device, thread, outcome, results);
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

fn number(name: &'static str, value: u64) -> (&'static str, Value) {
    (name, Value::Unsigned(value))
}

impl<D: DerefMut<Target: Backend> + Send> Devices for Traced<D> {
    forward! { self.devices =>
        fn nodes(&self) -> Vec<Node>;
        fn tag_ended(&mut self, tag: Tag);
        fn poll(&mut self, file: FileId, events: i16) -> i16;
        fn peek(&mut self, file: FileId, events: i16) -> i16;
        fn poll_waits(&mut self, file: FileId, events: i16);
        fn next_tick(&self) -> Option<Duration>;
        fn is_due(&self) -> bool;
        fn woken(&mut self, id: u64);
        fn tick(&mut self);
        fn continue_work(&mut self, is_wanted: &dyn Fn() -> bool);
        fn wake_fds(&self) -> Vec<WakeFd<'_>>;
        fn hotplug_shown(&mut self, count: usize);
        fn take_changed(&mut self, files: &mut Vec<FileId>);
    }

    fn open(&mut self, node: NodeId, flags: i32, origin: Origin) -> Result<FileId, Errno> {
        let mut begun = self.begin(None, None, || {
            let flags = Value::Word(event::open_flags(flags));
            ("open".to_owned(), vec![("flags", flags)])
        });
        let opened = self.devices.open(node, flags, origin);
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
        let thread = self.thread(origin);
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
        // The programs of these calls have ended.
        let is_of = |_: &CallId, call: &mut Installing| call.begun.file == Some(file);
        let cut_off: Vec<_> = self.installing.extract_if(is_of).collect();
        for (_, call) in cut_off {
            self.end_install(call, Ok(&[]));
        }
        let device = self.device(Some(file));
        self.files.remove(&file);
        self.tell(begun, device, None, Answer::Value(0), Fields::new());
    }

    fn call(&mut self, call: &Call<'_>) -> Outcome {
        match (call.on, call.op) {
            (On::File(file), Op::Ioctl { request, arg }) => {
                self.ioctl(call, Some(file), (request, arg))
            }
            (On::Buffer(_), Op::Ioctl { request, arg }) => self.ioctl(call, None, (request, arg)),
            (On::File(file), _) => self.transfer(call, file),
            (On::Buffer(_) | On::Foreign(_), _) => self.devices.call(call),
        }
    }

    fn installed(&mut self, call: CallId, done: Result<&[i32], Errno>) {
        if let Some(installing) = self.installing.remove(&call) {
            self.end_install(installing, done);
        }
        self.devices.installed(call, done);
    }

    fn abandon(&mut self, file: FileId, call: CallId) {
        self.devices.abandon(file, call);
        if let Some(begun) = self.waiting.remove(&call) {
            let device = self.device(Some(file));
            self.tell(begun, device, None, Answer::GivenUp, Fields::new());
        }
    }

    fn mmap(&mut self, file: FileId, args: &Mmap, origin: Origin) -> Result<Map, Errno> {
        let begun = self.begin(None, Some(file), || {
            let arguments = vec![
                number("length", args.len),
                ("prot", Value::Word(event::protection(args.prot))),
                ("offset", Value::Word(format!("{:#x}", args.offset))),
            ];
            ("mmap".to_owned(), arguments)
        });
        let map = self.devices.mmap(file, args, origin);
        let outcome = match &map {
            Ok(_) => Answer::Value(0),
            Err(Errno(errno)) => Answer::Errno(*errno),
        };
        let (device, thread) = (self.device(Some(file)), self.thread(origin));
        self.tell(begun, device, thread, outcome, Fields::new());
        map
    }

    fn take_hotplug(&mut self) -> Vec<Hotplug> {
        let events = self.devices.take_hotplug();
        let at = self.now();
        for event in &events {
            let comes = match event.change {
                Change::Added => true,
                Change::Removed => false,
                Change::Changed(_) => continue,
            };
            if let (Some(timeline), Some(device)) =
                (&mut self.timeline, self.nodes.get(&event.node))
            {
                let device = device.clone();
                timeline.plug(Plug { device, at, comes });
            }
        }
        events
    }
}

impl<D: DerefMut<Target: Backend> + Send> ProcessFiles for Traced<D> {
    forward! { self.devices =>
        fn is_buffer(&self, id: FdIdentity) -> bool;
        fn buffer_len(&self, id: FdIdentity) -> u64;
        fn buffer_poll(&mut self, id: FdIdentity, events: i16) -> i16;
        fn take_buffers_changed(&mut self) -> bool;
        fn buffer_mapped(&mut self, id: FdIdentity, origin: Origin) -> Result<(), Errno>;
        fn is_foreign(&self, id: FdIdentity) -> bool;
        fn files(&self, node: NodeId) -> Vec<(PathBuf, Vec<u8>)>;
        fn links(&self, node: NodeId) -> Vec<(PathBuf, PathBuf)>;
        fn needs_fresh_closes(&self, file: FileId, request: Option<u32>, argument: &[u8]) -> bool;
        fn takes_memory(&self, request: u32) -> bool;
        fn node_of(&self, file: FileId) -> Option<NodeId>;
        fn is_own_child(&self, pid: u32) -> bool;
    }
}
