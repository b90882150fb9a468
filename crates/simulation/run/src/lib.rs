//! A run: a machine, its devices, and everything that programs hold of them.
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
mod history;
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
mod nodes;
mod numbers;
mod observer;
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
mod schedule;
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
mod waits;
mod watch;

use anyhow::{Context as _, Result, anyhow};
pub use buffers::{BufferList, ListedBuffer};
use clock::Clock;
pub use clock::Pace;
use control::Control;
use fences::FenceWatch;
pub use fits::Fit;
use history::History;
use kinds::{Cards, Kinds, OpenFiles};
use memory::RunMemory;
use node::Node;
use nodes::{Nodes, TURN_NS};
pub use numbers::numbers;
use numbers::{separate_locations, with_metadata_nodes};
use observer::RunObserver;
use orders::Orders;
pub use outside::Outside;
use placer::Placer;
use play::Play;
pub use rig::LeftOver;
use shares::Shares;
use std::cell::RefCell;
use time::LOOK_NS;
use vb3_devices::NodeSpec;
use vb3_devices::spec::DeviceSpec;
use vb3_dma::Mapper;
use vb3_machine::{Machine, Profile};
use vb3_plane::Planes;
use vb3_report::trace::OwnTime;
use vb3_report::{Picture, Report};
use waits::Waits;

/// A machine with devices, ready for programs.
pub struct Run {
    clock: Clock,
    memory: RunMemory,
    nodes: Nodes,
    /// The kinds of files that programs open.
    kinds: Kinds,
    files: OpenFiles,
    /// Display cards.
    cards: Cards,
    /// The memory that programs hold.
    shares: RefCell<Shares>,
    waits: Waits,
    fences: FenceWatch,
    report: Report,
    history: History,
    play: Play,
    orders: Orders,
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
        let mut memory = Planes::new(mapper, RunObserver::default());
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
        let nodes = Nodes::new(nodes, cards.presences(), outside.clock.now_ns());
        memory.set_placer(Box::new(Placer::new(&nodes)));
        let mut run = Self {
            clock: outside.clock,
            memory,
            kinds: Kinds::new(&profile, &nodes),
            files: OpenFiles::new(&nodes),
            cards,
            nodes,
            shares: RefCell::new(Shares::new()),
            waits: Waits::default(),
            fences: FenceWatch::default(),
            report: Report::default(),
            history: History::new(),
            play: Play::default(),
            orders: Orders::default(),
        };
        run.number_nodes();
        run.remove_absent();
        Ok(run)
    }

    /// Accepts orders from this socket from now on.
    pub fn set_control(&mut self, control: Control) {
        self.orders.control = Some(control);
        self.start_play();
        self.history.count_own_fds();
    }

    /// Changes the pace of the devices' time from now on.
    pub fn set_pace(&mut self, pace: Pace) {
        self.clock.set_pace(pace);
        self.nodes.plugs.begin(self.clock.now_ns());
        if self.clock.is_virtual() {
            self.nodes.iter_mut().for_each(Node::work_at_once);
        }
        let next = self.clock.real_ns().saturating_add(LOOK_NS);
        self.shares.get_mut().next_look_ns = next;
    }

    /// Returns the start and current time of a virtual clock, or `None` at other paces.
    #[must_use]
    pub fn own_time(&self) -> Option<OwnTime> {
        self.clock.own()
    }

    /// Keeps small versions of what cameras, decoders and converters deliver and displays show from now on.
    pub fn keep_thumbnails(&mut self) {
        self.nodes.iter_mut().for_each(Node::keep_thumbnails);
        for card in &mut self.cards.all {
            card.keep_thumbnails();
        }
    }

    /// Returns at most `count` small pictures per device node: frames that displays showed, and frames that other
    /// devices delivered.
    #[must_use]
    pub fn pictures(&mut self, count: usize) -> Vec<(String, Vec<Picture>)> {
        let of = |node: &mut Node| {
            let all = node.thumbnails(count).into_iter();
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
}
