//! The JSON report of a run: what each device and queue did, what was refused and why, and what
//! was still held when the last program had gone.
//!
//! Field names are part of the interface: they are only ever added to.

mod buffers;
mod picture;
mod verdict;

pub use buffers::{BufferReport, HolderReport, MAX_BUFFERS};
pub use picture::Picture;
pub use verdict::Row;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// Version of the format, raised when a field changes its meaning.
pub const FORMAT: u32 = 1;

/// Most refusals kept one by one; further ones are counted in [`Report::refusals_left_out`].
pub const MAX_REFUSALS: usize = 256;

/// Most missing syncs kept one by one; further ones are counted in
/// [`Report::missing_syncs_left_out`].
pub const MAX_MISSING_SYNCS: usize = 256;

/// Most early accesses kept one by one; further ones are counted in
/// [`Report::early_accesses_left_out`].
pub const MAX_EARLY_ACCESSES: usize = 256;

/// Most failures kept one by one; further ones are counted in [`Report::failures_left_out`].
pub const MAX_FAILURES: usize = 64;

/// Most events of a script kept one by one; further ones are counted in
/// [`Report::script_left_out`].
pub const MAX_SCRIPT_EVENTS: usize = 1024;

/// Everything there is to tell about one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the machine's profile.
    pub machine: String,
    /// Seed of the machine: with the same program, it replays the run.
    pub seed: u64,
    /// What the devices and the machine were, for `vb3 replay`.
    pub setup: Setup,
    /// The program and its arguments.
    pub program: Vec<String>,
    /// Exit status of the program as a shell gives it: 128 + N for signal N.
    pub exit_status: i32,
    /// From start to end, in milliseconds: wall time, or that of the devices' clock where it is
    /// virtual.
    pub duration_ms: u64,
    /// One entry per device node, in the order of the nodes.
    pub devices: Vec<DeviceReport>,
    /// Memory of the machine.
    pub memory: MemoryReport,
    /// Buffers of the run and who held each, oldest first as far as they are gone.
    pub buffers: Vec<BufferReport>,
    /// Buffers beyond [`MAX_BUFFERS`], or beyond those that are followed at one time.
    pub buffers_left_out: u64,
    /// Calls that were refused, oldest first. Equal ones are one entry with a count. Questions
    /// (`ENUM_*`, `G_*`, `TRY_*`, …) and calls that a script lets fail are not among them.
    pub refusals: Vec<Refusal>,
    /// Refusals beyond [`MAX_REFUSALS`].
    pub refusals_left_out: u64,
    /// Handovers of a shared buffer that lacked their cache sync, oldest first. Equal ones are
    /// one entry with a count.
    pub missing_syncs: Vec<MissingSync>,
    /// Missing syncs beyond [`MAX_MISSING_SYNCS`].
    pub missing_syncs_left_out: u64,
    /// Accesses to a buffer while a device had it, oldest first. Equal ones are one entry with a
    /// count.
    pub early_accesses: Vec<EarlyAccess>,
    /// Early accesses beyond [`MAX_EARLY_ACCESSES`].
    pub early_accesses_left_out: u64,
    /// What broke down outside a device, oldest first: a clip that cannot be read on, a codec that
    /// ended, a recording that cannot be written. Equal ones are one entry with a count.
    pub failures: Vec<DeviceFailure>,
    /// Failures beyond [`MAX_FAILURES`].
    pub failures_left_out: u64,
    /// What the run's script did, in order.
    pub script: Vec<ScriptEvent>,
    /// Events beyond [`MAX_SCRIPT_EVENTS`].
    pub script_left_out: u64,
    /// Steps of the script that never happened.
    pub script_missed: Vec<MissedStep>,
    /// What was still held when the last program had gone; all zero unless something leaked.
    pub held: Held,
    /// Remarks on the run itself: a missing kernel feature, a fallback taken. A remark on a device
    /// begins with its node and a colon.
    pub notes: Vec<String>,
}

/// What a run was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setup {
    /// The machine's profile, TOML.
    pub profile: String,
    /// A SPEC for each device, `/dev/video0` first.
    pub devices: Vec<String>,
    /// The directory that the program was started in.
    pub directory: String,
    /// The script, TOML; empty for none.
    pub script: String,
    /// The script's file, as the user named it.
    pub script_file: String,
    /// How the devices' time passed: `fast=N` or `virtual`; empty for as the system's.
    pub clock: String,
}

/// Something that a script did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScriptEvent {
    /// Line of the step in the script.
    pub line: u64,
    /// The device node; empty for the machine.
    pub device: String,
    /// The step's action, by its key: `fail`, `late`, ….
    pub action: String,
    /// How much, or what: as the action has it.
    pub value: String,
    /// Nanoseconds from the run's begin, by the devices' clock.
    pub at_ns: u64,
    /// The frame that it happened to, counted from 0 over the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// The call that it happened to, counted from 1 from when the step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
}

/// A step of a script that never happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MissedStep {
    /// Its number in the script, from 1.
    pub step: u64,
    /// Its line in the script.
    pub line: u64,
    /// The step's action, by its key: `fail`, `late`, ….
    pub action: String,
    /// What did not come: a call, a frame, a time.
    pub why: String,
}

/// One device node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceReport {
    /// `/dev/videoN`.
    pub node: String,
    /// `camera`, `display`, `h264dec`, ….
    pub kind: String,
    /// Allocator of its planes: `contig`, `sg` or `vmalloc`.
    pub allocator: String,
    /// Its queues.
    pub queues: Vec<QueueReport>,
}

/// One queue of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueReport {
    /// `video-capture`, `video-output`, `video-capture-mplane`, `video-output-mplane`.
    pub queue: String,
    /// Memory model last used: `mmap`, `userptr` or `dmabuf`; empty if never.
    pub memory: String,
    /// Frames the device completed.
    pub frames: u64,
    /// Frames it had no buffer for.
    pub dropped: u64,
    /// Frames that a program missed without a script's doing: dropped between two that came, or back
    /// with an error. Those dropped after the last one that came are not counted. Of a
    /// memory-to-memory device they stand with its CAPTURE queue.
    pub lost: u64,
    /// Bytes the CPU moved into or out of a buffer: for read() and write(), in shadow buffers, and
    /// for devices on vmalloc memory. What a device writes or reads by DMA is no copy.
    pub bytes_copied: u64,
    /// Bytes that a decoder's library copied in its process, with its device's first queue: chroma
    /// that it made pairs of, and pictures that it did not decode straight into a buffer. A board's
    /// decoder writes its buffers itself, so that none of these is a copy of the stack's.
    pub bytes_copied_by_codec: u64,
    /// Bytes moved to or from a bounce pool.
    pub bytes_bounced: u64,
    /// Bytes of its own buffers that were copied because they were moved to where another device
    /// reaches them (`place=lazy`).
    pub bytes_moved: u64,
    /// Cache syncs towards the device.
    pub syncs_for_device: u64,
    /// Cache syncs towards the CPU.
    pub syncs_for_cpu: u64,
    /// DMA mappings made.
    pub maps: u64,
    /// DMA mappings given back.
    pub unmaps: u64,
    /// Nanoseconds from the first completed frame to the last one of the longest stream.
    pub span_ns: u64,
    /// Most bytes of plane memory allocated at one time.
    pub peak_bytes: u64,
}

/// Memory of the machine over the run, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryReport {
    /// Most RAM allocated at one time.
    pub peak_bytes: u64,
    /// Most physically contiguous memory (runs longer than a page, or CMA) at one time.
    pub peak_contiguous_bytes: u64,
}

/// A call that was refused, and the constraint behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// The device node.
    pub device: String,
    /// The call: `REQBUFS`, `QBUF`, `mmap`, ….
    pub call: String,
    /// The errno the program got, positive; zero where the call succeeded with fewer buffers than
    /// were asked for.
    pub errno: i32,
    /// `vb3_dma::Constraint::name`; empty where there was no constraint to name.
    pub constraint: String,
    /// The value the call needed, in the constraint's unit.
    pub wanted: u64,
    /// The value there was.
    pub found: u64,
    /// How often.
    pub times: u64,
    /// Where a device could not use a shared buffer: what would have suited all its devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
    /// Where a device takes all buffers of a call or none (`admission=on`): what there is room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
}

/// What there is room for, after a call that got none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Room {
    /// Buffers that were to be made.
    pub wanted: u64,
    /// Buffers that there is memory for.
    pub fits: u64,
    /// Bytes free of the memory that the device allocates from, as far as it reaches; zero where that
    /// is not what was short.
    pub free_bytes: u64,
    /// Bytes of the longest free run.
    pub longest_bytes: u64,
    /// How many runs the free memory lies in.
    pub runs: u64,
}

/// A buffer that all devices could have shared; or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remedy {
    /// The devices: what each is, and its node.
    pub devices: Vec<String>,
    /// The heap to allocate from, as it is called below `/dev/dma_heap`; empty for none.
    pub heap: String,
    /// The device node whose own buffers (MMAP, exported) suit all; empty for none.
    pub exporter: String,
    /// The device node whose buffers, were they placed lazily (`place=lazy`), would suit all; empty for
    /// none.
    pub lazy: String,
    /// The devices that keep a lazily placed buffer where it is, though it could lie elsewhere for
    /// all: each uses it now, or has it mapped and does not follow.
    pub pinned_by: Vec<String>,
    /// How many buffers there is room for: one for each plane of the queue.
    pub buffers: u32,
    /// Bytes of a buffer.
    pub size_bytes: u64,
    /// Bytes from one line of its picture to the next; zero where that is not known.
    pub stride_bytes: u64,
    /// Where no memory of the machine suits: the fewest demands that exclude each other. Empty if
    /// there is no room.
    pub conflict: Vec<Demand>,
}

impl Remedy {
    /// Whether there is memory that suits.
    #[must_use]
    pub fn is_found(&self) -> bool {
        !(self.heap.is_empty() && self.exporter.is_empty() && self.lazy.is_empty())
    }
}

/// What a device demands of a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Demand {
    /// What it is, and its node.
    pub device: String,
    /// `vb3_dmabuf::solve::Rule::name`.
    pub constraint: String,
    /// The value, in the constraint's unit.
    pub value: u64,
    /// The value that would have been enough, had the others stayed as they are; zero for one
    /// that is not a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enough: Option<u64>,
}

/// A shared buffer that changed hands without the cache sync that was due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MissingSync {
    /// The device node whose buffer it is.
    pub device: String,
    /// `video-capture`, ….
    pub queue: String,
    /// Buffer index.
    pub buffer: u32,
    /// Plane index.
    pub plane: u32,
    /// `for-cpu` or `for-device`.
    pub sync: String,
    /// How often.
    pub times: u64,
}

/// An access to a buffer that a device had at that time: nobody waited for the device's fence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EarlyAccess {
    /// The device node whose buffer it is: whose memory, or, where that is of no device, the owner.
    pub device: String,
    /// `video-capture`, ….
    pub queue: String,
    /// Buffer index.
    pub buffer: u32,
    /// Plane index.
    pub plane: u32,
    /// The device node that had it.
    pub owner: String,
    /// What that did: `read` or `write`.
    pub owner_access: String,
    /// The device node that got it as well; empty for a program.
    pub by: String,
    /// The program's process; zero for a device.
    pub process: u32,
    /// What the other did: `read` or `write`.
    pub access: String,
    /// The call: `QBUF`, `DMA_BUF_IOCTL_SYNC`.
    pub call: String,
    /// How often.
    pub times: u64,
}

/// What broke down outside a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceFailure {
    /// The device node.
    pub device: String,
    /// What failed, why, and what to do.
    pub sentence: String,
    /// Whether a recording is not whole: the run has failed then, whatever the program says.
    pub recording: bool,
    /// How often.
    pub times: u64,
}

/// Counts of things held. A run that gave everything back has zeros only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Pages of RAM.
    pub pages: u64,
    /// Bytes of I/O virtual addresses.
    pub iova_bytes: u64,
    /// DMA mappings.
    pub mappings: u64,
    /// Bounce slots.
    pub bounce_slots: u64,
    /// Buffers in queues.
    pub buffers: u64,
    /// Exported dma-bufs.
    pub dmabufs: u64,
    /// Attachments to dma-bufs.
    pub attachments: u64,
    /// Open device files.
    pub files: u64,
    /// Descriptors of the supervisor beyond those it started with.
    pub fds: u64,
}

impl Held {
    /// Whether everything has been given back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is kept once, with a count.
trait Repeated: Clone + PartialEq {
    fn times(&mut self) -> &mut u64;

    /// Whether it is the other but for the count.
    fn is_same(&self, other: &Self) -> bool {
        let (mut this, mut other) = (self.clone(), other.clone());
        (*this.times(), *other.times()) = (0, 0);
        this == other
    }
}

impl Repeated for Refusal {
    fn times(&mut self) -> &mut u64 {
        &mut self.times
    }

    /// The remedy and the room of the first one stand for all: they depend on what is free at the
    /// time.
    fn is_same(&self, other: &Self) -> bool {
        let key = |refusal: &Self| Self {
            times: 0,
            remedy: None,
            room: None,
            ..refusal.clone()
        };
        key(self) == key(other)
    }
}

impl Repeated for MissingSync {
    fn times(&mut self) -> &mut u64 {
        &mut self.times
    }
}

impl Repeated for EarlyAccess {
    fn times(&mut self) -> &mut u64 {
        &mut self.times
    }
}

impl Repeated for DeviceFailure {
    fn times(&mut self) -> &mut u64 {
        &mut self.times
    }
}

/// Adds an item to a list of at most `max`; counts an equal one, and those left out.
fn count<T: Repeated>(list: &mut Vec<T>, left_out: &mut u64, max: usize, mut item: T) {
    let times = (*item.times()).max(1);
    *item.times() = times;
    let is_same = |known: &&mut T| known.is_same(&item);
    if let Some(known) = list.iter_mut().find(is_same) {
        *known.times() = known.times().saturating_add(times);
    } else if list.len() < max {
        list.push(item);
    } else {
        *left_out = left_out.saturating_add(times);
    }
}

/// A number of what is left out and of what is listed; the largest there is if it is larger.
fn sum(left_out: u64, listed: impl Iterator<Item = u64>) -> u64 {
    listed.fold(left_out, u64::saturating_add)
}

impl Report {
    /// Adds a refusal; an equal one is counted, and beyond [`MAX_REFUSALS`] all are.
    pub fn refuse(&mut self, refusal: Refusal) {
        let left = &mut self.refusals_left_out;
        count(&mut self.refusals, left, MAX_REFUSALS, refusal);
    }

    /// Whether such a refusal is listed already.
    #[must_use]
    pub fn has(&self, refusal: &Refusal) -> bool {
        self.refusals.iter().any(|known| known.is_same(refusal))
    }

    /// Adds a missing sync; an equal one is counted, and beyond [`MAX_MISSING_SYNCS`] all are.
    pub fn miss_sync(&mut self, missing: MissingSync) {
        let left = &mut self.missing_syncs_left_out;
        count(&mut self.missing_syncs, left, MAX_MISSING_SYNCS, missing);
    }

    /// Adds an early access; an equal one is counted, and beyond [`MAX_EARLY_ACCESSES`] all are.
    pub fn access_early(&mut self, early: EarlyAccess) {
        let left = &mut self.early_accesses_left_out;
        count(&mut self.early_accesses, left, MAX_EARLY_ACCESSES, early);
    }

    /// Adds a failure; an equal one is counted, and beyond [`MAX_FAILURES`] all are.
    pub fn fail(&mut self, failure: DeviceFailure) {
        let left = &mut self.failures_left_out;
        count(&mut self.failures, left, MAX_FAILURES, failure);
    }

    /// Adds what a script did; beyond [`MAX_SCRIPT_EVENTS`] it is counted.
    pub fn play(&mut self, event: ScriptEvent) {
        if self.script.len() < MAX_SCRIPT_EVENTS {
            self.script.push(event);
        } else {
            self.script_left_out = self.script_left_out.saturating_add(1);
        }
    }

    /// Names processes by numbers from 1, in the order in which they stand here, so that the report
    /// does not differ from run to run.
    pub fn number_processes(&mut self) {
        let mut numbers = HashMap::new();
        self.buffers
            .iter_mut()
            .for_each(|buffer| buffer.address = 0);
        let holders = self
            .buffers
            .iter_mut()
            .flat_map(|buffer| &mut buffer.holders);
        let holders = holders.map(|holder| &mut holder.process);
        let early = self.early_accesses.iter_mut();
        let all = holders.chain(early.map(|early| &mut early.process));
        for process in all.filter(|process| **process != 0) {
            let next = u32::try_from(numbers.len() + 1).unwrap_or(u32::MAX);
            *process = *numbers.entry(*process).or_insert(next);
        }
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("the report is no JSON")?;
        let write = || -> std::io::Result<()> {
            let mut file = File::create(path)?;
            file.write_all(&text)?;
            file.write_all(b"\n")
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// How many calls were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        sum(
            self.refusals_left_out,
            self.refusals.iter().map(|r| r.times),
        )
    }

    /// How many accesses did not wait for a device.
    #[must_use]
    pub fn accessed_early(&self) -> u64 {
        let listed = self.early_accesses.iter().map(|early| early.times);
        sum(self.early_accesses_left_out, listed)
    }

    /// How many things the script did.
    #[must_use]
    pub fn scripted(&self) -> u64 {
        self.script_left_out
            .saturating_add(self.script.len() as u64)
    }

    /// How many cache syncs were missing.
    #[must_use]
    pub fn unsynced(&self) -> u64 {
        let listed = self.missing_syncs.iter().map(|missing| missing.times);
        sum(self.missing_syncs_left_out, listed)
    }

    /// Sums a counter over all queues.
    #[must_use]
    pub fn total(&self, counter: impl Fn(&QueueReport) -> u64) -> u64 {
        sum(0, self.devices.iter().flat_map(|d| &d.queues).map(counter))
    }
}

#[cfg(test)]
mod tests;
