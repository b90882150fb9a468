//! The run of a run: a machine, its devices, and everything that programs hold of them.
//!
//! A front end passes each call of a program to the [`Run`], which implements
//! [`vb3_frontend::Devices`]. The run calls the device and lends it the run's memory. Time advances
//! with the front end's ticks.
//!
//! ```
//! use vb3_frontend::Devices as _;
//! use vb3_run::Run;
//!
//! let profile = vb3_machine::Profile::builtin("pc").expect("a machine that ships");
//! let devices = ["camera=pattern".parse()?, "display=null".parse()?];
//! let mut run = Run::new(profile, &devices, 0)?;
//! let paths: Vec<_> = run.nodes().into_iter().map(|node| node.path).collect();
//! assert!(paths.contains(&"/dev/video1".into()));
//! assert!(run.report().is_well());
//! # Ok::<(), anyhow::Error>(())
//! ```
#![forbid(unsafe_code)]

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod backend;
mod buffers;
mod clock;
pub mod control;
mod deadlock;
mod fences;
mod fits;
mod holders;
mod hosted;
mod hotplug;
mod imports;
mod kinds;
mod ledger;
mod lines;
mod memory;
mod needs;
mod node;
mod numbers;
mod orders;
mod outside;
mod placer;
mod play;
mod program;
mod refusals;
mod remedy;
mod revoke;
mod rig;
mod room;
pub mod script;
mod shares;
mod staged;
mod standstill;
mod summary;
#[cfg(test)]
mod tests;
mod time;
mod turns;
mod unseen;
mod users;
mod watch;

use anyhow::{Context as _, Result, anyhow};
use clock::Clock;
pub use clock::Pace;
use control::Control;
use deadlock::Deadlocks;
pub use fits::Fit;
use hotplug::Plugs;
use kinds::{Cards, Kinds, Media, SyncFiles, Videos};
use ledger::Ledger;
use lines::Lines;
use memory::{Ear, RunMemory};
use node::Node;
pub use numbers::numbers;
use numbers::{separate_locations, with_metadata_nodes};
use orders::Orders;
pub use outside::Outside;
use placer::Placer;
use play::Play;
pub use rig::LeftOver;
use shares::Shares;
use standstill::Standstill;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use vb3_devices::NodeSpec;
use vb3_devices::spec::DeviceSpec;
use vb3_dma::Mapper;
use vb3_frontend::{Errno, FdIdentity, FileId};
use vb3_machine::{Machine, Profile};
use vb3_plane::{Planes, UserId};
use vb3_report::trace::OwnTime;
use vb3_report::{Picture, Report};

/// Maximum number of entries of `places`.
const MAX_PLACES: usize = 4096;
/// Maximum number of notes on streams that ended as the user asked.
const MAX_ENDS: usize = 64;

/// Duration of a tick, in nanoseconds, after which it lets no further device work. Programs' calls come
/// first.
const TURN_NS: u64 = 300_000;

/// A machine with devices, ready for programs.
pub struct Run {
    clock: Clock,
    memory: RunMemory,
    nodes: Vec<Node>,
    /// The node that the next tick starts with.
    next_turn: usize,
    /// The kinds of files that programs open.
    kinds: Kinds,
    videos: Videos,
    media: Media,
    /// Devices that chose longer picture lines than a program asked for.
    lines: Lines,
    sync_files: SyncFiles,
    /// Display cards.
    cards: Cards,
    shares: RefCell<Shares>,
    changed: BTreeSet<FileId>,
    /// Files that a program polled or called in vain since virtual time last advanced.
    waiting: BTreeSet<FileId>,
    /// How long virtual time has waited for devices that prepare data.
    standstill: Standstill,
    report: Report,
    play: Play,
    /// Maximum number of bytes of plane memory allocated at one time.
    peak_bytes: u64,
    last_look_ns: u64,
    /// Whether a new client may wait at the control socket.
    may_accept: bool,
    /// How many fences had ended at the last check for waiters.
    fences_ended: u64,
    /// How many fences had begun at the last check for waiters.
    fences_begun: u64,
    deadlocks: Deadlocks,
    /// Whether poll on a dma-buf may return other events than before.
    buffers_changed: bool,
    /// Whether a program found a dma-buf busy and waits for it.
    waits_for_buffers: bool,
    /// The name of each plane whose memory lacked a sync, by the memory's number.
    places: BTreeMap<u64, summary::PlaneName>,
    /// Which devices are plugged in.
    plugs: Plugs,
    /// Who held which buffer.
    ledger: Ledger,
    /// The file behind each range of programs' own memory that devices have pinned.
    user_files: BTreeMap<UserId, Option<FdIdentity>>,
    /// Number of buffers that were revoked.
    revoked: u64,
    /// The socket for orders.
    control: Option<Control>,
    /// Orders that are not answered yet.
    orders: Orders,
    /// Number of descriptors that this process had open after the devices were made.
    own_fds: usize,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("nodes", &self.nodes.len())
            .field("files", &self.kinds.open_files())
            .finish_non_exhaustive()
    }
}

/// Gives all devices the same line alignment when buffers are placed lazily.
///
/// In V4L2 the driver chooses `bytesperline` at `VIDIOC_S_FMT`, before it knows which devices will
/// share the buffer. With one alignment, a program that ignores `bytesperline` still gets matching
/// lines everywhere.
fn align_strides(specs: &mut [NodeSpec]) {
    let widest = specs.iter().filter_map(|spec| spec.stride).max();
    if specs.iter().any(|spec| spec.lazy) {
        specs.iter_mut().for_each(|spec| spec.stride = widest);
    }
}

impl Run {
    /// Builds a profile's machine and its devices, with the [default](Outside::default) clock and
    /// codecs.
    ///
    /// # Errors
    /// Fails with a message if the machine's memory cannot be allocated, two devices want one node, a clip
    /// cannot be played, or a recording cannot be written.
    pub fn new(profile: Profile, specs: &[DeviceSpec], seed: u64) -> Result<Self> {
        Self::with(profile, specs, seed, Outside::default())
    }

    /// Builds a run as [`new`](Self::new) does, but with the caller's clock and codecs.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn with(
        profile: Profile,
        specs: &[DeviceSpec],
        seed: u64,
        outside: Outside,
    ) -> Result<Self> {
        let machine = Machine::new(&profile, seed)
            .with_context(|| format!("machine {} cannot be set up", profile.name))?;
        let mapper = Mapper::new(machine)
            .with_context(|| format!("machine {} cannot map memory", profile.name))?;
        let mut memory = Planes::new(mapper, Ear::default());
        let mut expanded = Vec::new();
        for spec in specs {
            let nodes = spec.nodes();
            expanded.extend(nodes.map_err(|failure| anyhow!("{}", failure.sentence()))?);
        }
        let cards = Cards::take(&mut memory, &profile, &mut expanded)?;
        align_strides(&mut expanded);
        separate_locations(&mut expanded);
        let mut nodes = Vec::new();
        for (spec, number, part) in with_metadata_nodes(expanded)? {
            let codecs = outside.codecs.clone();
            let node = (&spec, number, part);
            nodes.push(Node::new(&mut memory, &profile, node, codecs)?);
        }
        nodes.sort_by_key(Node::number);
        Node::share_priorities(&mut nodes);
        let plugs = Plugs::new(&nodes, outside.clock.now_ns());
        memory.set_placer(Box::new(Placer::new(&nodes)));
        let mut run = Self {
            plugs,
            ledger: Ledger::default(),
            user_files: BTreeMap::new(),
            revoked: 0,
            control: None,
            orders: Orders::default(),
            clock: outside.clock,
            memory,
            media: Media::new(&nodes),
            lines: Lines::default(),
            sync_files: SyncFiles::default(),
            cards,
            kinds: Kinds::new(&profile, &nodes),
            videos: Videos::default(),
            nodes,
            next_turn: 0,
            shares: RefCell::new(Shares::new()),
            changed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            standstill: Standstill::default(),
            report: Report::default(),
            play: Play::default(),
            peak_bytes: 0,
            last_look_ns: 0,
            may_accept: false,
            fences_ended: 0,
            fences_begun: 0,
            deadlocks: Deadlocks::default(),
            buffers_changed: false,
            waits_for_buffers: false,
            places: BTreeMap::new(),
            own_fds: open_fds(),
        };
        run.number_nodes();
        run.remove_absent();
        Ok(run)
    }

    /// Accepts orders from this socket from now on.
    pub fn set_control(&mut self, control: Control) {
        self.control = Some(control);
        self.start_play();
        self.own_fds = open_fds();
    }

    /// Changes the pace of the devices' time from now on.
    pub fn set_pace(&mut self, pace: Pace) {
        self.clock.set_pace(pace);
        if self.clock.is_virtual() {
            self.nodes.iter_mut().for_each(Node::work_at_once);
        }
        self.last_look_ns = self.clock.real_ns();
    }

    /// Lets each device work. If this tick's time runs out, the next tick follows immediately and begins with
    /// the devices that had no turn.
    fn tick_nodes(&mut self, now_ns: u64) {
        let (clock, began) = (&self.clock, self.clock.real_ns());
        // Virtual time advances in the same steps in every run.
        let is_virtual = clock.is_virtual();
        let has_time = || is_virtual || clock.real_ns().saturating_sub(began) < TURN_NS;
        let (first, count) = (self.next_turn, self.nodes.len());
        for at in (first..count).chain(0..first) {
            let Some(node) = self.nodes.get_mut(at) else {
                continue;
            };
            if !node.tick(&mut self.memory, now_ns, &has_time) {
                self.next_turn = at;
                return;
            }
            if !has_time() {
                self.next_turn = (at + 1) % count;
                return;
            }
        }
    }

    /// Returns the start and current time of a virtual clock, or `None` at other paces.
    #[must_use]
    pub fn own_time(&self) -> Option<OwnTime> {
        self.clock.own()
    }

    /// Keeps small versions of what cameras deliver and displays show from now on.
    pub fn keep_thumbnails(&mut self) {
        let contexts = self.nodes.iter_mut();
        contexts
            .flat_map(|node| node.video.contexts_mut())
            .for_each(|context| context.driver_mut().keep_thumbnails());
        for card in &mut self.cards.all {
            card.keep_thumbnails();
        }
    }

    /// Returns at most `count` small pictures per device node: frames that displays showed, and
    /// frames that cameras delivered.
    #[must_use]
    pub fn pictures(&mut self, count: usize) -> Vec<(String, Vec<Picture>)> {
        let of = |node: &mut Node| {
            let contexts = node.video.contexts_mut();
            let all = contexts.flat_map(|context| context.driver_mut().thumbnails(count));
            let all = all.map(|frame| Picture {
                number: frame.number,
                png: frame.within(Picture::MAX_EDGE).png(),
            });
            (node.path.clone(), all.collect())
        };
        let cards = self.cards.all.iter().map(|card| card.pictures(count));
        let found = self.nodes.iter_mut().map(of);
        found
            .chain(cards)
            .filter(|(_, all): &(_, Vec<_>)| !all.is_empty())
            .collect()
    }

    /// Finishes recordings and returns the report. Call this once the last program has ended.
    pub fn report(&mut self) -> Report {
        for node in &mut self.nodes {
            if let Some(failure) = node.finish() {
                self.report.fail(failure);
            }
        }
        self.finish_cards();
        let remarks = node::listed(&self.nodes);
        self.shares.get_mut().look(&mut self.memory);
        // Mappings that only wait for their flush are not reported as held.
        for node in &self.nodes {
            // The simulated IOMMU always flushes.
            let _ = self.memory.ops_mut().flush_lazy(node.dma);
        }
        self.after_call();
        if let Some(control) = &mut self.control {
            control.close();
        }
        let mut report = self.report.clone();
        let is_shown = |node: &Node| {
            let is_used = node.video.interest().buffer_calls > 0;
            !node.is_subdevice() && (node.is_listed() || is_used)
        };
        let nodes = self.nodes.iter().enumerate();
        let shown = nodes.filter(|(_, node)| is_shown(node)).map(|(at, node)| {
            let mut device = summary::device(node, &self.memory);
            self.forgive_scripted(at, &mut device);
            device
        });
        report.devices = shown.collect();
        let cards = self.cards.all.iter();
        report
            .devices
            .extend(cards.filter_map(|card| card.report(&self.memory)));
        report.script_missed = self.missed_steps();
        report.notes.extend(remarks);
        report.notes.extend(self.line_remarks());
        report.notes.extend(self.plugs.remarks(&self.nodes));
        report.notes.extend(revoke::remark(self.revoked));
        let cards = self.cards.all.iter();
        report.notes.extend(cards.flat_map(|card| card.remarks()));
        report.memory = summary::memory(&self.memory, self.peak_bytes);
        report.memory.bytes_staged = self.shares.borrow().staging.copied().iter().sum();
        (report.buffers, report.buffers_left_out) = self.ledger.tell(self.clock.now_ns());
        report.held = summary::held(&self.memory, &self.nodes, self.kinds.open_files());
        report.held.dmabufs = report.held.dmabufs.max(self.shares.borrow().exported());
        self.memory.ops().platform().wait_until_freed();
        if open_fds() > self.own_fds {
            vb3_devices::source::await_ended_clips(PROCESS_END_TIMEOUT);
            vb3_codec::await_ended(PROCESS_END_TIMEOUT);
        }
        report.held.fds = open_fds().saturating_sub(self.own_fds) as u64;
        if self.clock.is_virtual() {
            report.number_processes();
        }
        report
    }

    /// Wakes waiting programs and records events, after every call and tick. Returns whether the report has a
    /// reason now for which a device refused something.
    fn after_call(&mut self) -> bool {
        self.advance();
        self.report_notes();
        self.memory.ops().platform().end_foreign_accesses();
        self.shares.get_mut().imports.ask_again(&mut self.memory);
        self.shares.get_mut().imports.sweep(&mut self.memory);
        self.settle_fences();
        self.note_early_accesses();
        self.follow_holders();
        let ops = self.memory.ops();
        let bytes = ops.live().page_bytes + ops.platform().claimed_bytes();
        self.peak_bytes = self.peak_bytes.max(bytes);
        let (mut refusals, mut unplugging) = (Vec::new(), Vec::new());
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let woken = node.video.take_woken();
            let files = woken.files.into_iter();
            let files = files.filter_map(|handle| self.videos.id(at, handle));
            self.changed.extend(files);
            if woken.requests {
                self.changed.extend(self.media.requests_of(at));
            }
            let news = node.take_news();
            for failure in news.failures {
                self.report.fail(failure);
            }
            for end in news.ends {
                // A program may stream to the end many times, each time with another number of
                // frames.
                if self.report.notes.len() < MAX_ENDS && !self.report.notes.contains(&end) {
                    self.report.notes.push(end);
                }
            }
            unplugging.extend(news.unplugs.then_some(at));
            for refusal in node.video.take_refusals() {
                let call = refusal.call.trim_start_matches("VIDIOC_");
                let errno = Errno(refusal.errno);
                let mut told = refusals::for_reason(&node.path, call, errno, refusal.reason);
                if let Some(short) = refusal.shortage.filter(|_| node.admission) {
                    told.room = Some(room::find(node, &self.memory, &told, short));
                }
                refusals.push(told);
            }
        }
        // A call imports for one device and fails at the first refused import, so there is at most one.
        let import = self.memory.take_refused_import();
        let has_reason = !refusals.is_empty();
        for mut refusal in refusals {
            let import = import.filter(|import| remedy::is_of(&self.nodes, import, &refusal));
            if let Some(import) = import.filter(|_| !self.report.has(&refusal)) {
                refusal.remedy = remedy::find(&self.nodes, &self.memory, import, &refusal);
            }
            self.refuse(refusal);
        }
        for missed in self.memory.host().take() {
            let place = summary::place(&self.nodes, missed.memory);
            if let Some(place) = &place {
                if self.places.len() >= MAX_PLACES {
                    self.places.clear();
                }
                self.places.insert(missed.memory, place.clone());
            }
            // If the memory's buffer is gone, the memory is reported under the name that the buffer had.
            let place = place.or_else(|| self.places.get(&missed.memory).cloned());
            self.report
                .miss_sync(summary::missing(place.unwrap_or_default(), missed));
        }
        for at in unplugging {
            self.plug(at, false);
        }
        has_reason
    }
}

/// Maximum time that a report waits for the processes of stopped clips, and of codecs.
const PROCESS_END_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the number of this process's open descriptors. Since Linux 6.2, it is the directory's size.
fn open_fds() -> usize {
    const DIRECTORY: &str = "/proc/self/fd";
    let size = std::fs::metadata(DIRECTORY).map_or(0, |found| found.len());
    match usize::try_from(size) {
        Ok(0) | Err(_) => std::fs::read_dir(DIRECTORY).map_or(0, Iterator::count),
        Ok(count) => count,
    }
}
