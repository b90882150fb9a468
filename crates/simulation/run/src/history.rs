//! Makes the report of a run, and records the past that the report needs.

use crate::ledger::Ledger;
use crate::lines::Lines;
use crate::memory::RunMemory;
use crate::node::{self, Node};
use crate::{Run, refusals, remedy, revoke, room, summary};
use std::collections::BTreeMap;
use std::time::Duration;
use vb3_dmabuf::SlabKey;
use vb3_frontend::{Errno, FdIdentity};
use vb3_report::{Refusal, Report};

/// Maximum number of names of planes that are kept.
const MAX_PLACES: usize = 4096;
/// Maximum number of notes on streams that ended as the user asked.
const MAX_ENDS: usize = 64;

/// Maximum time that a report waits for the processes of stopped clips, and of codecs.
const PROCESS_END_TIMEOUT: Duration = Duration::from_secs(2);

/// The past that a report needs, besides the counters of devices.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Who held which buffer.
    pub(super) ledger: Ledger,
    /// The file behind each range of programs' own memory that devices use.
    pub(super) user_files: BTreeMap<SlabKey, Option<FdIdentity>>,
    /// Number of buffers that were revoked.
    pub(super) revoked: u64,
    /// Devices that chose longer picture lines than a program asked for.
    pub(super) lines: Lines,
    /// The name of each plane whose memory lacked a sync, by the memory's number.
    places: BTreeMap<u64, summary::PlaneName>,
    /// Maximum number of bytes of plane memory allocated at one time.
    peak_bytes: u64,
    /// Number of descriptors that this process had open after the devices were made.
    pub(super) own_fds: usize,
}

impl History {
    /// Begins the record of a run whose devices exist.
    pub(super) fn new() -> Self {
        Self {
            own_fds: open_fds(),
            ..Self::default()
        }
    }

    /// Counts the present descriptors as this process's own.
    pub(super) fn count_own_fds(&mut self) {
        self.own_fds = open_fds();
    }

    /// Returns the number of descriptors that programs have left, after the processes of clips and codecs have
    /// ended.
    fn left_over_fds(&self) -> u64 {
        if open_fds() > self.own_fds {
            vb3_devices::source::await_ended_clips(PROCESS_END_TIMEOUT);
            vb3_codec::await_ended(PROCESS_END_TIMEOUT);
        }
        open_fds().saturating_sub(self.own_fds) as u64
    }

    fn note_peak(&mut self, memory: &RunMemory) {
        let ops = memory.ops();
        let bytes = ops.live_page_bytes() + ops.platform().claimed_bytes();
        self.peak_bytes = self.peak_bytes.max(bytes);
    }

    /// Returns the plane of a memory that lacked a sync. If its buffer is gone, the name that it had is returned.
    fn name(&mut self, memory: u64, place: Option<summary::PlaneName>) -> summary::PlaneName {
        if let Some(place) = &place {
            if self.places.len() >= MAX_PLACES {
                self.places.clear();
            }
            self.places.insert(memory, place.clone());
        }
        let place = place.or_else(|| self.places.get(&memory).cloned());
        place.unwrap_or_default()
    }
}

/// Returns the number of this process's open descriptors. Since Linux 6.2, it is the directory's size.
fn open_fds() -> usize {
    const DIRECTORY: &str = "/proc/self/fd";
    let size = std::fs::metadata(DIRECTORY).map_or(0, |found| found.len());
    match usize::try_from(size) {
        Ok(0) | Err(_) => std::fs::read_dir(DIRECTORY).map_or(0, Iterator::count),
        Ok(count) => count,
    }
}

impl Run {
    /// Finishes recordings and returns the report. Call this once the last program has ended.
    pub fn report(&mut self) -> Report {
        for node in self.nodes.iter_mut() {
            if let Some(failure) = node.finish() {
                self.report.fail(failure);
            }
        }
        self.finish_cards();
        let remarks = node::listed(&self.nodes);
        self.shares.get_mut().look(&mut self.memory);
        // Mappings that only wait for their flush are not reported as held.
        for node in self.nodes.iter() {
            // The simulated IOMMU always flushes.
            let _ = self.memory.ops_mut().flush_lazy(node.dma);
        }
        self.after_call();
        if let Some(control) = &mut self.orders.control {
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
        report.notes.extend(self.nodes.plugs.remarks(&self.nodes));
        report.notes.extend(revoke::remark(self.history.revoked));
        let cards = self.cards.all.iter();
        report.notes.extend(cards.flat_map(|card| card.remarks()));
        report.memory = summary::memory(&self.memory, self.history.peak_bytes);
        report.memory.bytes_staged = self.shares.borrow().staging.copied().iter().sum();
        (report.buffers, report.buffers_left_out) = self.history.ledger.tell(self.clock.now_ns());
        report.held = summary::held(&self.memory, &self.nodes, self.kinds.open_files());
        report.held.dmabufs = report.held.dmabufs.max(self.shares.borrow().exported());
        self.memory.ops().platform().wait_until_freed();
        report.held.fds = self.history.left_over_fds();
        if self.clock.is_virtual() {
            report.number_processes();
        }
        report
    }

    /// Wakes waiting programs and records events, after every call and tick. Returns whether the report has a
    /// reason now for which a device refused something.
    pub(super) fn after_call(&mut self) -> bool {
        self.advance();
        self.report_events();
        self.memory.ops().platform().end_foreign_accesses();
        self.shares.get_mut().imports.ask_again(&mut self.memory);
        self.shares.get_mut().imports.sweep(&mut self.memory);
        self.settle_fences();
        self.note_early_accesses();
        self.follow_holders();
        self.history.note_peak(&self.memory);
        let (unplugging, refusals) = self.take_news();
        let has_reason = !refusals.is_empty();
        self.explain(refusals);
        self.note_missed_syncs();
        for at in unplugging {
            self.plug(at, false);
        }
        has_reason
    }

    /// Takes the news of all devices: wakes programs, and adds failures and notes to the report. Returns the
    /// devices that unplug themselves, and the refusals of all devices.
    fn take_news(&mut self) -> (Vec<usize>, Vec<Refusal>) {
        let (mut unplugging, mut refusals) = (Vec::new(), Vec::new());
        let (waits, files) = (&mut self.waits, &self.files);
        let (report, memory) = (&mut self.report, &self.memory);
        self.nodes.ask_changed(|at, node| {
            let wakes_requests =
                (node.video).take_woken(|handle| waits.changed.extend(files.videos.id(at, handle)));
            if wakes_requests {
                waits.changed.extend(files.media.requests_of(at));
            }
            let news = node.take_news();
            for failure in news.failures {
                report.fail(failure);
            }
            for end in news.ends {
                // A program may stream to the end many times, each time with another number of
                // frames.
                if report.notes.len() < MAX_ENDS && !report.notes.contains(&end) {
                    report.notes.push(end);
                }
            }
            for refusal in node.video.take_refusals() {
                let call = refusal.call.trim_start_matches("VIDIOC_");
                let errno = Errno(refusal.errno);
                let mut told = refusals::for_reason(&node.path, call, errno, refusal.reason);
                if let Some(short) = refusal.shortage.filter(|_| node.admission) {
                    told.room = Some(room::find(node, memory, &told, short));
                }
                refusals.push(told);
            }
            if news.unplugs {
                unplugging.push(at);
            }
        });
        (unplugging, refusals)
    }

    /// Reports refusals, each with the heap that would work.
    fn explain(&mut self, refusals: Vec<Refusal>) {
        // A call imports for one device and fails at the first refused import, so there is at most one.
        let import = self.memory.host().take_refused_import();
        for mut refusal in refusals {
            let import = import.filter(|import| remedy::is_of(&self.nodes, import, &refusal));
            if let Some(import) = import.filter(|_| !self.report.has(&refusal)) {
                refusal.remedy = remedy::find(&self.nodes, &self.memory, import, &refusal);
            }
            self.refuse(refusal);
        }
    }

    fn note_missed_syncs(&mut self) {
        for missed in self.memory.host().take_missed() {
            let place = summary::place(&self.nodes, missed.memory);
            let place = self.history.name(missed.memory, place);
            self.report.miss_sync(summary::missing(place, missed));
        }
    }
}
