//! Runs the plan of one seed from its start to its end.

use crate::api::{self, Arg, Kind};
use crate::memory::{ARG, PLANES};
use crate::model::{At, File, Mapping, ModelMemory, Node, Queue};
use crate::plan::{Pace, Plan};
use crate::process::Process;
use crate::screen::Screen;
use crate::slices;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vb3_devices::spec::DeviceSpec;
use vb3_frontend::{
    CallId, CallOutcome, Devices as _, Errno, FileId, NodeId, NodeKind, Perform as _,
    ProcessFiles as _, Program as _,
};
use vb3_machine::{Profile, Staleness};
use vb3_run::{Outside, Run};
use vb3_v4l2::sys::VIDIOC_G_FMT;

/// Maximum number of ticks after a step, not counting those that bring results of codecs.
const MAX_TICKS: usize = 64;
/// Maximum number of ticks after a step.
const MAX_RESULTS: usize = 10_000;
/// Maximum wait for a codec's result.
const CODEC_TIMEOUT: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// Counters of one or more runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of programs.
    pub calls: u64,
    /// Buffers that were queued and dequeued again.
    pub cycles: u64,
    /// Pictures whose bytes were compared with the model.
    pub pictures: u64,
    /// Platform calls that failed because of injected faults.
    pub faults: u64,
    /// Simulated time in nanoseconds.
    pub time_ns: u64,
}

/// The result of a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimOutcome {
    /// What went wrong; `None` if nothing did.
    pub failure: Option<String>,
    /// One line for each call and event; empty unless the caller asked for it.
    pub trace: String,
    /// Counts of calls, buffers and faults.
    pub counts: Counts,
}

/// The result of a check. An error says what went wrong.
pub(crate) type Check<T = ()> = Result<T, String>;

/// Failure if the reference model lacks a program, file or queue that a step needs.
pub(crate) const LOST: &str = "the simulation has lost a program, a file or a queue";

/// Start time in nanoseconds of the clock that the simulation moves (`Pace::Given`).
const START_NS: u64 = 1_000_000_000;

pub(crate) struct Sim<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) run: Run,
    pub(crate) clock: Arc<AtomicU64>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) heaps: Vec<NodeId>,
    /// The display card, if the run has one.
    pub(crate) screen: Option<Screen>,
    pub(crate) programs: BTreeMap<u32, Process>,
    pub(crate) files: Vec<File>,
    pub(crate) mappings: Vec<Mapping>,
    pub(crate) memories: BTreeMap<u64, ModelMemory>,
    /// The checksum of the result of each input, by the node and the input's checksum.
    pub(crate) results: BTreeMap<(usize, u32), u32>,
    pub(crate) next_memory: u64,
    pub(crate) next_call: u64,
    pub(crate) next_pid: u32,
    pub(crate) next_picture: u32,
    /// Whether a fault has happened, a device was unplugged, or a buffer was revoked.
    pub(crate) disturbed: bool,
    /// Whether a buffer was revoked, so that its bytes are not known.
    pub(crate) revoked: bool,
    /// Files in which a program waited when their stream ended. The run must wake it.
    pub(crate) ended_waits: Vec<FileId>,
    pub(crate) counts: Counts,
    pub(crate) log: Option<String>,
}

/// Runs a plan. A panic in the stack becomes the outcome's failure.
#[must_use]
pub fn simulate(plan: &Plan, with_trace: bool) -> SimOutcome {
    let (mut trace, mut counts) = (String::new(), Counts::default());
    let run = |sim: &mut Sim<'_>| {
        let done = sim.run();
        trace = sim.log.take().unwrap_or_default();
        counts = sim.counts;
        done
    };
    let done = make_and_use(|| Sim::new(plan, with_trace), run);
    SimOutcome {
        failure: done.err(),
        trace,
        counts,
    }
}

/// Makes a value, uses it and drops it. Returns the first failure.
fn make_and_use<T>(make: impl FnOnce() -> Check<T>, run: impl FnOnce(&mut T) -> Check) -> Check {
    let mut value = catch(make)?;
    let done = catch(|| run(&mut value));
    // A value that panicked may panic again when it is dropped.
    let dropped = catch(|| {
        drop(value);
        Ok(())
    });
    done.and(dropped)
}

/// Calls a function. A panic becomes an error.
fn catch<T>(call: impl FnOnce() -> Check<T>) -> Check<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", said.unwrap_or("without a message")))
    })
}

/// Returns a profile with less memory than the machine has. It suffices for these small pictures.
fn profile(name: &str) -> Check<Profile> {
    let mut profile = Profile::builtin(name).ok_or_else(|| format!("no machine {name}"))?;
    profile.ram = profile.ram.min(64 << 20);
    profile.cma = profile.cma.min(16 << 20);
    profile.bounce.pool = profile.bounce.pool.min(8 << 20);
    profile.sram = profile.sram.min(4 << 20);
    Ok(profile)
}

impl<'a> Sim<'a> {
    pub(crate) fn new(plan: &'a Plan, with_trace: bool) -> Check<Self> {
        let clock = Arc::new(AtomicU64::new(START_NS));
        let source = Arc::clone(&clock);
        let codecs = vb3_codec::Launch::in_thread_with(slices::make);
        let outside = Outside::new(move || source.load(Ordering::Relaxed), codecs);
        let specs = plan.devices.iter().map(|spec| spec.parse::<DeviceSpec>());
        let specs = specs.collect::<Result<Vec<_>, _>>();
        let specs = specs.map_err(|e| e.to_string())?;
        let run = Run::with(profile(plan.machine)?, &specs, plan.seed, outside);
        let mut run = run.map_err(|e| format!("{e:#}"))?;
        run.export_memfds();
        if plan.pace == Pace::Virtual {
            run.set_pace(vb3_run::Pace::Virtual);
        }
        if plan.seed % 2 == 1 {
            // As on hardware, a device uses a removed mapping until a flush, even if a new one replaces it.
            let machine = run.machine_mut();
            for device in (0..)
                .map_while(|nth| machine.device_at(nth))
                .collect::<Vec<_>>()
            {
                machine.set_staleness(device, Staleness::Cached);
            }
        }
        if with_trace {
            run.machine_mut().trace_mut().start(1 << 16);
        }
        let mut sim = Self {
            plan,
            run,
            clock,
            nodes: Vec::new(),
            heaps: Vec::new(),
            screen: None,
            programs: BTreeMap::new(),
            files: Vec::new(),
            mappings: Vec::new(),
            memories: BTreeMap::new(),
            results: BTreeMap::new(),
            next_memory: 1,
            next_call: 1,
            next_pid: 100,
            next_picture: 1 << 20,
            disturbed: false,
            revoked: false,
            ended_waits: Vec::new(),
            counts: Counts::default(),
            log: with_trace.then(String::new),
        };
        sim.find_nodes()?;
        for number in &plan.programs {
            sim.start(*number);
        }
        Ok(sim)
    }

    /// Starts a new program that has this number.
    pub(crate) fn start(&mut self, number: u32) {
        self.programs.insert(number, Process::new(self.next_pid));
        self.next_pid += 1;
    }

    fn find_nodes(&mut self) -> Check {
        let devices = self.run.devices();
        let devices: Vec<_> = devices.map(|(n, kind)| (n, kind.to_owned())).collect();
        let all = self.run.nodes();
        let heaps = all
            .iter()
            .filter(|node| node.path.starts_with("/dev/dma_heap"));
        self.heaps = heaps.map(|node| node.id).collect();
        let mut cards = all.iter().filter(|node| node.path.starts_with("/dev/dri"));
        self.screen = cards.next().map(|card| Screen::new(card.id));
        // From now on, the screen keeps what it shows.
        self.run.screen(0);
        let mut writer = None;
        for (number, name) in devices {
            if name == "loopback-output" {
                writer = Some(self.nodes.len());
            }
            let kinds = self.kinds_of(number)?;
            let writer = writer.filter(|_| name == "loopback-capture");
            let id = self.run.video_node(number);
            let own = all.iter().find(|node| node.id == id);
            let is_media = |node: &&vb3_frontend::Node| {
                matches!(node.kind, NodeKind::Media { .. })
                    && own.is_some_and(|own| own.devices == node.devices)
            };
            let media = all.iter().find(is_media).map(|node| node.id);
            self.nodes.push(Node {
                number,
                name,
                kinds,
                present: true,
                written: Default::default(),
                unknown: false,
                writer,
                media,
            });
        }
        Ok(())
    }

    /// Returns the kinds of a node's queues: those for which G_FMT succeeds.
    fn kinds_of(&mut self, number: u32) -> Check<Vec<Kind>> {
        let process = Process::new(1);
        let file = (self.run).open(self.run.video_node(number), 2, process.origin());
        let file = file.map_err(|e| format!("open at the start: errno {}", e.0))?;
        let all = [(false, false), (true, false), (false, true), (true, true)];
        let all = all.map(|(output, mplane)| Kind { output, mplane });
        let mut found = Vec::new();
        for kind in all {
            let arg = api::format(kind);
            let _ = process.write(ARG, &arg.0);
            let asked = self.run.ioctl(file, VIDIOC_G_FMT, ARG, true, &process);
            if matches!(asked, CallOutcome::Done(_)) {
                found.push(kind);
            }
        }
        self.run.release(file);
        Ok(found)
    }

    /// Runs the plan. Adds the machine's trace to the log, even if the plan fails.
    fn run(&mut self) -> Check {
        let done = catch(|| self.steps());
        if let Some(log) = &mut self.log {
            let _ = write!(log, "{}", self.run.machine().trace());
        }
        done
    }

    fn steps(&mut self) -> Check {
        for &step in &self.plan.steps {
            let mut dice = self.plan.dice(step);
            let done = self.step(&mut dice);
            let done = done.and_then(|()| self.run_due_work());
            done.map_err(|why| format!("step {step}: {why}"))?;
        }
        self.end().map_err(|why| format!("at the end: {why}"))
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now_ns = self.log.is_some().then(|| self.now_ns());
        if let (Some(log), Some(now_ns)) = (&mut self.log, now_ns) {
            let _ = writeln!(log, "{} {}", now_ns / 1000, line());
        }
    }

    /// Returns the current time of the devices and programs.
    pub(crate) fn now_ns(&self) -> u64 {
        let own = self.run.own_time().map(|own| own.now_ns);
        own.unwrap_or_else(|| self.clock.load(Ordering::Relaxed))
    }

    /// Makes an ioctl for a program. Returns `Ok(None)` if the call has to wait.
    pub(crate) fn ioctl(
        &mut self,
        file: usize,
        request: u32,
        args: (&mut Arg, Option<&mut Arg>),
        wait: Option<CallId>,
    ) -> Check<Result<Option<i64>, i32>> {
        let file = self.file(file)?;
        let (id, is_dead) = (file.id, file.dead);
        let done = self.call((id, file.program), request, args, wait)?;
        if is_dead && done.is_ok() {
            return Err(format!(
                "call {request:#x} succeeded on {id:?}, whose device is unplugged"
            ));
        }
        Ok(done)
    }

    /// Makes an ioctl as [`Self::ioctl`] does, but on any file of a program.
    pub(crate) fn call(
        &mut self,
        (id, program): (FileId, u32),
        request: u32,
        (arg, plane): (&mut Arg, Option<&mut Arg>),
        wait: Option<CallId>,
    ) -> Check<Result<Option<i64>, i32>> {
        let process = self.programs.get(&program).ok_or(LOST)?;
        self.counts.calls += 1;
        let call = wait.unwrap_or(CallId(self.next_call));
        self.next_call += 1;
        process.call.set(call);
        let space = &process.space;
        let fault = |_: Errno| "the simulation's own memory".to_owned();
        space.write(ARG, &arg.0).map_err(fault)?;
        if let Some(plane) = &plane {
            space.write(PLANES, &plane.0).map_err(fault)?;
        }
        let answer = self.run.ioctl(id, request, ARG, wait.is_none(), process);
        space.read(ARG, &mut arg.0).map_err(fault)?;
        if let Some(plane) = plane {
            space.read(PLANES, &mut plane.0).map_err(fault)?;
        }
        match answer {
            CallOutcome::Done(value) => Ok(Ok(Some(value))),
            CallOutcome::Fail(errno) => Ok(Err(errno.0)),
            CallOutcome::Wait if wait.is_some() => Ok(Ok(None)),
            other => Err(format!(
                "request {request:#x} that must not wait: {other:?}"
            )),
        }
    }

    /// Does the device work that is due after a step, and checks that waiting programs were woken.
    pub(crate) fn run_due_work(&mut self) -> Check {
        let mut ticks = 0;
        for _ in 0..MAX_RESULTS {
            self.wake()?;
            let awaited = self.await_codecs()?;
            if !awaited && (ticks == MAX_TICKS || !self.run.is_due()) {
                return Ok(());
            }
            ticks += usize::from(!awaited);
            self.run.tick();
        }
        Err("a codec does not stop returning results".to_owned())
    }

    /// Waits until each working codec has a result. Codecs work in threads, and all runs of a plan must see
    /// the same results at the same step. Returns false if no codec is working.
    fn await_codecs(&self) -> Check<bool> {
        let mut is_any = false;
        for fd in self.run.preparing() {
            let fd = PollFd::from_borrowed_fd(fd, PollFlags::IN);
            if poll(&mut [fd], Some(&CODEC_TIMEOUT)) == Ok(0) {
                return Err("a codec does not answer".to_owned());
            }
            is_any = true;
        }
        Ok(is_any)
    }

    /// Lets time pass until the next device work is due, but at most `ns`.
    pub(crate) fn pass(&mut self, ns: u64) -> Check {
        if self.plan.pace == Pace::Given {
            let due = self.run.next_tick();
            let due = due.and_then(|due| u64::try_from(due.as_nanos()).ok());
            let by = due.map_or(ns, |due| due.min(ns));
            self.clock.fetch_add(by, Ordering::Relaxed);
            self.counts.time_ns += by;
        }
        self.run.tick();
        self.run_due_work()
    }

    /// Checks that a waiting program was woken if its condition holds now.
    fn wake(&mut self) -> Check {
        let mut changed = Vec::new();
        self.run.take_changed(&mut changed);
        self.run.take_buffers_changed();
        self.look_at_screen(&changed)?;
        if let Some(id) = self.ended_waits.drain(..).find(|id| !changed.contains(id)) {
            return Err(format!(
                "a program that waits in {id:?} was not woken at the stream's end"
            ));
        }
        for at in 0..self.files.len() {
            for queue in self.queues_of(at)? {
                self.wake_queue(queue, &changed)?;
            }
        }
        Ok(())
    }

    fn wake_queue(&mut self, at: At, changed: &[FileId]) -> Check {
        const READY: [i16; 2] = [1, 4];
        let id = self.file(at.0)?.id;
        let queue = self.queue_mut(at)?;
        if !queue.waits {
            return Ok(());
        }
        if changed.contains(&id) {
            queue.waits = false;
            return Ok(());
        }
        let ready = READY[usize::from(queue.kind.output)];
        let output = queue.kind.output;
        let (streaming, queued) = (queue.streaming, queue.queued());
        if streaming && queued > 0 && self.run.peek(id, ready) & ready != 0 {
            let what = if output { "output" } else { "capture" };
            return Err(format!(
                "a program that waits for {what} of {id:?} was not woken"
            ));
        }
        Ok(())
    }

    pub(crate) fn number(&mut self) -> u64 {
        let number = self.next_memory;
        self.next_memory += 1;
        self.memories.insert(number, ModelMemory::default());
        number
    }

    pub(crate) fn process(&self, program: u32) -> Check<&Process> {
        Ok(self.programs.get(&program).ok_or(LOST)?)
    }

    /// Returns the process that has a queue's file open.
    pub(crate) fn process_of(&self, at: At) -> Check<&Process> {
        self.process(self.file(at.0)?.program)
    }

    pub(crate) fn file(&self, file: usize) -> Check<&File> {
        Ok(self.files.get(file).ok_or(LOST)?)
    }

    pub(crate) fn queues_of(&self, file: usize) -> Check<Vec<At>> {
        let count = self.file(file)?.queues.len();
        Ok((0..count).map(|queue| (file, queue)).collect())
    }

    pub(crate) fn queue(&self, (file, queue): At) -> Check<&Queue> {
        Ok(self.file(file)?.queues.get(queue).ok_or(LOST)?)
    }

    pub(crate) fn queue_mut(&mut self, (file, queue): At) -> Check<&mut Queue> {
        let file = self.files.get_mut(file).ok_or(LOST)?;
        Ok(file.queues.get_mut(queue).ok_or(LOST)?)
    }
}

#[cfg(test)]
mod tests;
