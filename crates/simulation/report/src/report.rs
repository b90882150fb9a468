//! The JSON report of a run: counters of each device and queue, refused calls with their reasons,
//! and resources still held after the last program ended.
//!
//! Field names are part of the interface: later versions only add fields.

mod buffers;
mod verdict;

pub use buffers::{BufferReport, HolderReport, MAX_BUFFERS};
pub use verdict::{PROBLEMS, Row};

use anyhow::{Context as _, Result};
use rustix::fs::Mode;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Version of the format, raised when a field changes its meaning.
pub const FORMAT: u32 = 1;

/// Maximum number of refusals kept one by one; further ones are counted in [`Report::refusals_left_out`].
pub const MAX_REFUSALS: usize = 256;

/// Maximum number of missing syncs kept one by one; further ones are counted in
/// [`Report::missing_syncs_left_out`].
pub const MAX_MISSING_SYNCS: usize = 256;

/// Maximum number of early accesses kept one by one; further ones are counted in
/// [`Report::early_accesses_left_out`].
pub const MAX_EARLY_ACCESSES: usize = 256;

/// Maximum number of failures kept one by one; further ones are counted in [`Report::failures_left_out`].
pub const MAX_FAILURES: usize = 64;

/// Maximum number of events of a script kept one by one; further ones are counted in
/// [`Report::script_left_out`].
pub const MAX_SCRIPT_EVENTS: usize = 1024;

/// The report of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Report {
    /// Version of the format: [`FORMAT`].
    pub format: u32,
    /// Name of the machine's profile.
    pub machine: String,
    /// Seed of the machine. The same program and seed repeat the run.
    pub seed: u64,
    /// Machine, devices, script and clock, for `vb3 replay`.
    pub setup: Setup,
    /// The program and its arguments.
    pub program: Vec<String>,
    /// Why the run could not begin; empty if it began.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Exit status of the program as a shell gives it: 128 + N for signal N.
    pub exit_status: i32,
    /// Duration of the run in milliseconds: wall time, or the devices' time if their clock is
    /// virtual.
    pub duration_ms: u64,
    /// One entry per device node, in the order of the nodes.
    pub devices: Vec<DeviceReport>,
    /// Memory of the machine.
    pub memory: MemoryReport,
    /// Buffers of the run, in the order of their first records, and the holders of each.
    pub buffers: Vec<BufferReport>,
    /// Number of buffers beyond [`MAX_BUFFERS`], or beyond the number that can be tracked at one time.
    pub buffers_left_out: u64,
    /// Refused calls, oldest first. Equal refusals are one entry with a count. Failed queries (`ENUM_*`,
    /// `G_*`, `TRY_*`, …) and failures that a script injected are not listed.
    pub refusals: Vec<Refusal>,
    /// Number of refusals beyond [`MAX_REFUSALS`].
    pub refusals_left_out: u64,
    /// Handovers of a shared buffer without the required cache sync, oldest first. Equal ones are
    /// one entry with a count.
    pub missing_syncs: Vec<MissingSync>,
    /// Number of missing syncs beyond [`MAX_MISSING_SYNCS`].
    pub missing_syncs_left_out: u64,
    /// Accesses to a buffer while a device still used it, oldest first. Equal ones are one entry
    /// with a count.
    pub early_accesses: Vec<EarlyAccess>,
    /// Number of early accesses beyond [`MAX_EARLY_ACCESSES`].
    pub early_accesses_left_out: u64,
    /// Failures outside the simulated devices, oldest first: an unreadable clip, a codec process
    /// that ended, a recording that cannot be written. Equal ones are one entry with a count.
    pub failures: Vec<DeviceFailure>,
    /// Number of failures beyond [`MAX_FAILURES`].
    pub failures_left_out: u64,
    /// Events of the script, in order.
    pub script: Vec<ScriptEvent>,
    /// Number of events beyond [`MAX_SCRIPT_EVENTS`].
    pub script_left_out: u64,
    /// Steps of the script that never happened.
    pub script_missed: Vec<MissedStep>,
    /// Resources still held after the last program ended; all zero unless something leaked.
    pub held: Held,
    /// Notes on the run itself, such as a missing kernel feature or a fallback. A note on a device
    /// begins with its node and a colon.
    pub notes: Vec<String>,
}

/// Settings of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Setup {
    /// The machine's profile, as TOML.
    pub profile: String,
    /// The SPEC of each device, `/dev/video0` first.
    pub devices: Vec<String>,
    /// The working directory in which the program started.
    pub directory: String,
    /// The script, as TOML; empty for none.
    pub script: String,
    /// The script's file, as the user named it.
    pub script_file: String,
    /// The devices' clock: `fast=N`, `virtual` or `steps`; empty for the system's clock.
    pub clock: String,
}

/// An event that a script caused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ScriptEvent {
    /// Line of the step in the script; 0 for an order of `vb3 ctl`.
    pub line: u64,
    /// The device node; empty for an event of the whole machine.
    pub device: String,
    /// The step's action, by its key: `fail`, `late`, ….
    pub action: String,
    /// The action's value: an amount, an errno, a file or a word.
    pub value: String,
    /// Nanoseconds since the run began, by the devices' clock.
    pub at_ns: u64,
    /// The affected frame, counted from 0 over the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// The affected call, counted from 1 since the step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
}

/// A step of a script that never happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct MissedStep {
    /// Number of the step in the script, from 1.
    pub step: u64,
    /// Line of the step in the script.
    pub line: u64,
    /// The step's action, by its key: `fail`, `late`, ….
    pub action: String,
    /// The event that the step waited for: a call, a frame or a time.
    pub why: String,
}

/// One device node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct DeviceReport {
    /// Path of the node, such as `/dev/video0` or, for a display card, `/dev/dri/card0`.
    pub node: String,
    /// `camera`, `display`, `h264dec`, ….
    pub kind: String,
    /// Allocator of the device's planes: `contig`, `sg` or `vmalloc`.
    pub allocator: String,
    /// Queues of the device.
    pub queues: Vec<QueueReport>,
}

/// One queue of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct QueueReport {
    /// `video-capture`, `video-output`, `video-capture-mplane`, `video-output-mplane`, `meta-capture`, `meta-output`;
    /// or `scan-out` for a display card.
    pub queue: String,
    /// Memory model used most recently: `mmap`, `userptr` or `dmabuf`; empty if none was used.
    pub memory: String,
    /// Frames that the device completed.
    pub frames: u64,
    /// Frames that the device dropped because no buffer was queued.
    pub dropped: u64,
    /// Frames that a program missed although no script caused it.
    /// Each was returned with an error, or was dropped before a delivered frame. Frames dropped after a
    /// stream's last delivered frame do not count. For a memory-to-memory device, the CAPTURE queue has the
    /// number.
    pub lost: u64,
    /// Frames that a program queued and the device did not finish, because the program ended streaming or closed the
    /// file. Only a program's frames for a device count; empty buffers of a CAPTURE queue do not.
    #[serde(skip_serializing_if = "is_zero")]
    pub taken_back: u64,
    /// Bytes that the CPU copied into or out of a buffer. The CPU copies for read() and write(), for the readers of a
    /// loopback, and for devices on vmalloc memory. DMA is no copy.
    pub bytes_copied: u64,
    /// Bytes that the codec process of a decoder copied into buffers; counted at the device's first queue.
    /// The process copies interleaved chroma, and whole pictures that the codec library did not decode
    /// directly into a buffer. Hardware makes no such copies, so `bytes_copied` does not include them.
    pub bytes_copied_by_codec: u64,
    /// Bytes copied to or from a bounce pool.
    pub bytes_bounced: u64,
    /// Bytes copied because the queue's own buffers moved to memory that another device reaches
    /// (`place=lazy`).
    pub bytes_moved: u64,
    /// Cache syncs towards the device.
    pub syncs_for_device: u64,
    /// Cache syncs towards the CPU.
    pub syncs_for_cpu: u64,
    /// DMA mappings made.
    pub maps: u64,
    /// DMA mappings released.
    pub unmaps: u64,
    /// Pixel format and size of the latest stream's frames, such as `YUYV 640x480`; empty if none was completed.
    pub format: String,
    /// Nanoseconds from the first to the last completed frame of the longest stream.
    pub span_ns: u64,
    /// Number of frames of the longest stream, without its first one. Divided by `span_ns`, this is the frame rate.
    pub span_frames: u64,
    /// Maximum number of bytes of plane memory allocated at one time.
    pub peak_bytes: u64,
}

/// Memory of the machine over the run, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct MemoryReport {
    /// Peak of RAM allocated at one time.
    pub peak_bytes: u64,
    /// Peak of the machine's contiguous area (CMA) that its devices used at one time.
    pub peak_contiguous_bytes: u64,
    /// Bytes of programs' own memory (USERPTR) copied in at QBUF and out at DQBUF. Hardware makes no such copies, so
    /// `bytes_copied` does not include them.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_staged: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A refused call, and the constraint that refused it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Refusal {
    /// The device node.
    pub device: String,
    /// The call: `REQBUFS`, `QBUF`, `mmap`, ….
    pub call: String,
    /// The errno that the program received, positive; zero if the call succeeded with fewer buffers
    /// than requested.
    pub errno: i32,
    /// `vb3_dma::Constraint::name`; empty if no constraint is known.
    pub constraint: String,
    /// The value that the call needed, in the constraint's unit.
    pub wanted: u64,
    /// The value that was available, in the same unit.
    pub found: u64,
    /// How often the same refusal occurred.
    pub times: u64,
    /// If a device could not use a shared buffer: memory that suits all devices that share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
    /// If the call failed with EBUSY: a process that has buffers of the device, as a phrase; empty if none is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub holder: String,
    /// If the device allocates all buffers of a call or none (`admission=on`): how many would fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
}

/// How many buffers fit in memory, after a call that got none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Room {
    /// Buffers that the call requested.
    pub wanted: u64,
    /// Buffers that fit in the free memory.
    pub fits: u64,
    /// Free bytes of the RAM that the device allocates from and reaches; zero if the call failed for
    /// another reason than a lack of RAM.
    pub free_bytes: u64,
    /// Bytes of the longest contiguous range of free memory.
    pub longest_bytes: u64,
    /// Number of contiguous ranges that form the free memory.
    pub runs: u64,
}

/// A buffer that all devices could have shared, or why none exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Remedy {
    /// The devices, each as its kind and node.
    pub devices: Vec<String>,
    /// The heap to allocate from, by its name below `/dev/dma_heap`; empty for none.
    pub heap: String,
    /// The device node whose own buffers (MMAP, exported) suit all devices; empty for none.
    pub exporter: String,
    /// The device node whose buffers would suit all devices with `place=lazy`; empty for none.
    pub lazy: String,
    /// The devices that prevent a lazily placed buffer from moving to memory that suits all. Each
    /// uses the buffer now, or has a mapping that cannot follow a move.
    pub pinned_by: Vec<String>,
    /// Number of buffers needed: one for each plane of the queue.
    pub buffers: u32,
    /// Size of each buffer in bytes.
    pub size_bytes: u64,
    /// Bytes from one line of the picture to the next; zero if unknown.
    pub stride_bytes: u64,
    /// If no memory of the machine suits: the smallest set of demands that exclude each other.
    /// Empty if suitable memory exists but is too small.
    pub conflict: Vec<Demand>,
}

impl Remedy {
    /// Returns whether suitable memory exists.
    #[must_use]
    pub fn is_found(&self) -> bool {
        !(self.heap.is_empty() && self.exporter.is_empty() && self.lazy.is_empty())
    }
}

/// A device's demand on a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Demand {
    /// The device, as its kind and node.
    pub device: String,
    /// `vb3_machine::solve::Rule::name`.
    pub constraint: String,
    /// The value, in the constraint's unit.
    pub value: u64,
    /// The value that would suffice while all other demands stay the same; `None` if no value would.
    /// `Some(0)` for a demand without a numeric value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enough: Option<u64>,
}

/// A shared buffer that was handed over without the required cache sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// How often the same sync was missing.
    pub times: u64,
}

/// An access to a buffer while a device still used it.
/// The accessing party did not wait for that device's fence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct EarlyAccess {
    /// The device node that allocated the buffer; if no device allocated it, the value of the field `owner`.
    pub device: String,
    /// `video-capture`, ….
    pub queue: String,
    /// Buffer index.
    pub buffer: u32,
    /// Plane index.
    pub plane: u32,
    /// The device node that was using the buffer; empty for a program or another driver.
    pub owner: String,
    /// The owner's access: `read` or `write`.
    pub owner_access: String,
    /// The device node that accessed the buffer too early; empty for a program or another driver.
    pub by: String,
    /// The program's process; zero for a device.
    pub process: u32,
    /// Kind of the early access: `read` or `write`.
    pub access: String,
    /// The call: `QBUF` or `DMA_BUF_IOCTL_SYNC`.
    pub call: String,
    /// How often the same access occurred.
    pub times: u64,
}

/// A failure outside the simulated device, such as in its codec process or its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct DeviceFailure {
    /// The device node.
    pub device: String,
    /// What failed, why, and what to do.
    pub sentence: String,
    /// Whether a recording is incomplete. The run has then failed, even if the program succeeded.
    pub recording: bool,
    /// How often the same failure occurred.
    pub times: u64,
}

/// A small picture of one frame, for the contact sheet of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The frame's number on its device.
    pub number: u64,
    /// The picture as a PNG file; empty if there is none.
    pub png: Vec<u8>,
}

impl Picture {
    /// Longest side, in pixels.
    pub const MAX_EDGE: u32 = 160;
    /// Number of pictures that the page shows for each device.
    pub const PER_DEVICE: usize = 6;
}

/// Counts of resources held. All are zero after a run that released everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Held {
    /// Pages of RAM.
    pub pages: u64,
    /// Bytes of I/O virtual addresses.
    pub iova_bytes: u64,
    /// DMA mappings.
    pub mappings: u64,
    /// Bytes of the bounce pool. Earlier versions called the field `bounce_slots`.
    #[serde(alias = "bounce_slots")]
    pub bounce_bytes: u64,
    /// Buffers in queues.
    pub buffers: u64,
    /// Exported dma-bufs.
    pub dmabufs: u64,
    /// Attachments to dma-bufs.
    pub attachments: u64,
    /// Open device files.
    pub files: u64,
    /// File descriptors of the supervisor beyond those at its start.
    pub fds: u64,
}

impl Held {
    /// Returns whether everything was released.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A list entry that stands for several equal events and counts them.
trait Repeated: Clone + PartialEq {
    fn times(&mut self) -> &mut u64;

    /// Returns whether both are equal except for their counts.
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

    /// Remedy and room depend on the memory that is free at the time, so they are not compared.
    /// The entry keeps the remedy and room of the first refusal.
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

/// Adds an item to a list of at most `max` entries.
/// If an equal item is listed, raises that entry's count. If the list is full, raises `left_out`.
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

/// Returns whether a path leads to a FIFO.
#[must_use]
pub fn is_fifo(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.file_type().is_fifo())
}

/// Options for files of a run. Only this user may read a new file: reports name programs and their arguments.
pub(crate) fn private() -> fs::OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

/// Checks that a file of a run is writable, and makes it if it does not exist. Keeps its content.
///
/// # Errors
/// The file cannot be written.
pub fn touch(path: &Path) -> io::Result<()> {
    private().create(true).append(true).open(path).map(drop)
}

/// Opens a file to replace its content. Does not wait for the reader of a FIFO.
///
/// # Errors
/// The file cannot be written, or no program reads from the FIFO.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    if !is_fifo(path) {
        return private().write(true).create(true).truncate(true).open(path);
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
        Errno::NXIO => io::Error::other("no program reads from this FIFO"),
        e => e.into(),
    })?;
    fcntl_setfl(&fifo, fcntl_getfl(&fifo)?.difference(OFlags::NONBLOCK))?;
    Ok(fifo.into())
}

/// Returns the sum of the listed counts and `left_out`, at most `u64::MAX`.
fn sum(left_out: u64, listed: impl Iterator<Item = u64>) -> u64 {
    listed.fold(left_out, u64::saturating_add)
}

impl Report {
    /// Adds a refusal, or counts it if it is listed already or the list has [`MAX_REFUSALS`].
    pub fn refuse(&mut self, refusal: Refusal) {
        let left = &mut self.refusals_left_out;
        count(&mut self.refusals, left, MAX_REFUSALS, refusal);
    }

    /// Returns whether an equal refusal is listed already.
    #[must_use]
    pub fn has(&self, refusal: &Refusal) -> bool {
        self.refusals.iter().any(|known| known.is_same(refusal))
    }

    /// Adds a missing sync, or counts it if it is listed already or the list has
    /// [`MAX_MISSING_SYNCS`].
    pub fn miss_sync(&mut self, missing: MissingSync) {
        let left = &mut self.missing_syncs_left_out;
        count(&mut self.missing_syncs, left, MAX_MISSING_SYNCS, missing);
    }

    /// Adds an early access, or counts it if it is listed already or the list has
    /// [`MAX_EARLY_ACCESSES`].
    pub fn access_early(&mut self, early: EarlyAccess) {
        let left = &mut self.early_accesses_left_out;
        count(&mut self.early_accesses, left, MAX_EARLY_ACCESSES, early);
    }

    /// Adds a failure, or counts it if it is listed already or the list has [`MAX_FAILURES`].
    pub fn fail(&mut self, failure: DeviceFailure) {
        let left = &mut self.failures_left_out;
        count(&mut self.failures, left, MAX_FAILURES, failure);
    }

    /// Adds an event of the script, or counts it if the list has [`MAX_SCRIPT_EVENTS`].
    pub fn play(&mut self, event: ScriptEvent) {
        if self.script.len() < MAX_SCRIPT_EVENTS {
            self.script.push(event);
        } else {
            self.script_left_out = self.script_left_out.saturating_add(1);
        }
    }

    /// Replaces process IDs by numbers from 1, in the order of their appearance, and addresses by 0.
    /// Then equal runs give equal reports.
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

    /// Returns the report of a run that could not begin.
    #[must_use]
    pub fn of_failure(program: Vec<String>, directory: String, error: String) -> Self {
        let setup = Setup {
            directory,
            ..Setup::default()
        };
        Self {
            format: FORMAT,
            program,
            setup,
            error,
            ..Self::default()
        }
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self);
        let mut text = text.context("cannot convert the report to JSON")?;
        text.push(b'\n');
        let written = create(path).and_then(|mut file| file.write_all(&text));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Returns the number of refused calls.
    #[must_use]
    pub fn refused(&self) -> u64 {
        sum(
            self.refusals_left_out,
            self.refusals.iter().map(|r| r.times),
        )
    }

    /// Returns the number of events that the script caused.
    #[must_use]
    pub fn scripted(&self) -> u64 {
        self.script_left_out
            .saturating_add(self.script.len() as u64)
    }

    /// Returns the number of missing cache syncs.
    #[must_use]
    pub fn unsynced(&self) -> u64 {
        let listed = self.missing_syncs.iter().map(|missing| missing.times);
        sum(self.missing_syncs_left_out, listed)
    }

    /// Returns the number of accesses before the device had finished.
    #[must_use]
    pub fn early(&self) -> u64 {
        let listed = self.early_accesses.iter().map(|early| early.times);
        sum(self.early_accesses_left_out, listed)
    }

    /// Returns the number of failures of devices.
    #[must_use]
    pub fn failed(&self) -> u64 {
        sum(
            self.failures_left_out,
            self.failures.iter().map(|failure| failure.times),
        )
    }

    /// Sums a counter over all queues.
    #[must_use]
    pub fn total(&self, counter: impl Fn(&QueueReport) -> u64) -> u64 {
        sum(0, self.devices.iter().flat_map(|d| &d.queues).map(counter))
    }
}

#[cfg(test)]
mod tests;
