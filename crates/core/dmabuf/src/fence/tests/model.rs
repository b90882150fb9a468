//! Compares fences with a model: devices, programs' timelines and sync files in random order.

use super::super::*;
use crate::MemoryId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const MEMORIES: usize = 4;
const DEVICES: usize = 6;
const PROGRAMS: usize = 3;

fn memory(number: usize) -> MemoryId {
    super::memory(number as u32)
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A device gets a memory.
    Begin(usize, usize, bool),
    /// A device has finished, or has failed.
    Complete(usize, bool),
    /// All accesses of a device end (STREAMOFF).
    StreamOff(usize),
    /// The program of a timeline ends, and so do the timeline's fences.
    Kill(usize),
    Export(usize, bool),
    Import(usize, usize, bool),
    Merge(usize, usize),
    Close(usize),
    /// A program makes a fence this far ahead on its timeline.
    Create(usize, u64),
    Increment(usize, u64),
    CloseTimeline(usize),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::{Begin, Close, CloseTimeline, Complete, Create, Export, Forget, Import, Increment};
    use Step::{Kill, Merge, StreamOff};
    let (m, d, p, f) = (0..MEMORIES, 0..DEVICES, 0..PROGRAMS, 0..8_usize);
    prop_oneof![
        4 => (d.clone(), m.clone(), any::<bool>()).prop_map(|(d, m, w)| Begin(d, m, w)),
        3 => (d.clone(), any::<bool>()).prop_map(|(d, ok)| Complete(d, ok)),
        1 => d.clone().prop_map(StreamOff),
        1 => d.prop_map(Kill),
        3 => (m.clone(), any::<bool>()).prop_map(|(m, w)| Export(m, w)),
        3 => (m.clone(), f.clone(), any::<bool>()).prop_map(|(m, f, w)| Import(m, f, w)),
        2 => (f.clone(), f.clone()).prop_map(|(a, b)| Merge(a, b)),
        2 => f.prop_map(Close),
        3 => (p.clone(), 1..6_u64).prop_map(|(p, n)| Create(p, n)),
        2 => (p.clone(), 1..4_u64).prop_map(|(p, n)| Increment(p, n)),
        1 => p.prop_map(CloseTimeline),
        1 => m.prop_map(Forget),
    ]
}

fn usage(write: bool) -> Usage {
    if write { Usage::Write } else { Usage::Read }
}

/// A fence, by its context and sequence number.
type TimelinePoint = (u64, u64);

/// The rules of fences, in their simplest form.
#[derive(Default)]
struct Model {
    pending: BTreeSet<TimelinePoint>,
    ended: BTreeMap<TimelinePoint, Result<(), i32>>,
    /// For each memory, the list of fence, usage, and whether it was imported.
    reservations: Vec<Vec<(TimelinePoint, Usage, bool)>>,
}

impl Model {
    fn end_all(&mut self, context: u64, to: u64, outcome: Result<(), i32>) {
        let due: Vec<TimelinePoint> = self
            .pending
            .range((context, 0)..=(context, to))
            .copied()
            .collect();
        for place in due {
            self.pending.remove(&place);
            assert_eq!(self.ended.insert(place, outcome), None, "ended twice");
        }
    }

    fn waits(&self, memory: usize, access: Usage, imported: bool) -> BTreeSet<TimelinePoint> {
        let all = self.reservations.get(memory).into_iter().flatten();
        all.filter(|(place, usage, is_imported)| {
            access.waits_for(*usage) && (*is_imported || !imported) && self.pending.contains(place)
        })
        .map(|(place, ..)| *place)
        .collect()
    }

    fn last_of_each(places: impl Iterator<Item = TimelinePoint>) -> BTreeSet<TimelinePoint> {
        let last: BTreeMap<u64, u64> =
            places.fold(BTreeMap::new(), |mut last, (context, seqno)| {
                let kept = last.entry(context).or_insert(seqno);
                *kept = seqno.max(*kept);
                last
            });
        last.into_iter().collect()
    }
}

struct Both {
    fences: Fences<u32>,
    model: Model,
    devices: Vec<Timeline<u32>>,
    programs: Vec<Timeline<u32>>,
    files: Vec<(SyncFile, BTreeSet<TimelinePoint>)>,
}

impl Both {
    fn new() -> Self {
        let mut fences = Fences::new();
        let devices = (0..DEVICES as u32).map(|d| fences.timeline(d)).collect();
        let programs = (0..PROGRAMS as u32)
            .map(|p| fences.timeline(100 + p))
            .collect();
        let reservations = (0..MEMORIES).map(|_| Vec::new()).collect();
        Self {
            fences,
            model: Model {
                reservations,
                ..Model::default()
            },
            devices,
            programs,
            files: Vec::new(),
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Begin(d, m, write) => {
                let timeline = &mut self.devices[d];
                if !timeline.points.is_empty() {
                    return;
                }
                let fence = self.fences.begin_access(memory(m), timeline, usage(write));
                let place = (
                    timeline.context,
                    self.fences.table.get(fence.unwrap()).unwrap().seqno,
                );
                assert!(self.model.pending.insert(place), "a number used twice");
                self.model.reservations[m].push((place, usage(write), false));
            }
            Step::Complete(d, ok) => {
                let outcome = if ok { Ok(()) } else { Err(5) };
                let timeline = &mut self.devices[d];
                self.fences.end_oldest(timeline, outcome, 0);
                self.model
                    .end_all(timeline.context, timeline.value(), outcome);
            }
            Step::StreamOff(d) => {
                let outcome = Err(125);
                let timeline = &mut self.devices[d];
                self.fences.end_oldest(timeline, outcome, 0);
                self.model.end_all(timeline.context, u64::MAX, outcome);
            }
            Step::Kill(d) => {
                let fresh = self.fences.timeline(d as u32);
                let gone = core::mem::replace(&mut self.devices[d], fresh);
                self.close(gone);
            }
            Step::CloseTimeline(p) => {
                let fresh = self.fences.timeline(100 + p as u32);
                let gone = core::mem::replace(&mut self.programs[p], fresh);
                self.close(gone);
            }
            Step::Create(p, ahead) => {
                let timeline = &mut self.programs[p];
                let seqno = timeline.value() + ahead;
                let file = self.fences.sync_file_at(timeline, seqno, 0).unwrap();
                let place = (timeline.context, seqno);
                self.model.pending.insert(place);
                self.files.push((file, BTreeSet::from([place])));
            }
            Step::Increment(p, by) => {
                let timeline = &mut self.programs[p];
                let to = timeline.value() + by;
                self.fences.advance(timeline, to, Ok(()), 0);
                self.model.end_all(timeline.context, to, Ok(()));
            }
            Step::Export(m, write) => {
                let file = self.fences.export(memory(m), usage(write), 0).unwrap();
                let waits = self.model.waits(m, usage(write), false).into_iter();
                self.files.push((file, Model::last_of_each(waits)));
            }
            Step::Import(m, f, write) => {
                let Some((file, places)) = self.files.get(f) else {
                    return;
                };
                self.fences
                    .import(memory(m), file.fences(), usage(write))
                    .unwrap();
                let pending = places.intersection(&self.model.pending);
                let new = pending.map(|place| (*place, usage(write), true));
                self.model.reservations[m].extend(new);
            }
            Step::Merge(a, b) => {
                let (Some(a), Some(b)) = (self.files.get(a), self.files.get(b)) else {
                    return;
                };
                let file = self.fences.merge(&a.0, &b.0, 0).unwrap();
                let both =
                    a.1.union(&b.1)
                        .filter(|place| self.model.pending.contains(place));
                let places = Model::last_of_each(both.copied());
                self.files.push((file, places));
            }
            Step::Close(f) => {
                if f < self.files.len() {
                    let (file, _) = self.files.swap_remove(f);
                    self.fences.put_sync_file(file);
                }
            }
            Step::Forget(m) => {
                self.fences.forget_memory(memory(m));
                self.model.reservations[m].clear();
            }
        }
    }

    fn close(&mut self, timeline: Timeline<u32>) {
        let outcome = Err(125);
        self.model.end_all(timeline.context, u64::MAX, outcome);
        self.fences.close(timeline, outcome, 0);
    }

    fn check(&self) {
        for (file, places) in &self.files {
            let seen: Vec<_> = self.fences.sync_file_info(file).collect();
            let seen_places: BTreeSet<TimelinePoint> =
                seen.iter().map(|f| (f.context, f.seqno)).collect();
            assert_eq!(&seen_places, places);
            for fence in &seen {
                let place = (fence.context, fence.seqno);
                match fence.status {
                    Status::Pending => assert!(self.model.pending.contains(&place)),
                    Status::Ended { outcome, .. } => {
                        assert_eq!(self.model.ended.get(&place), Some(&outcome));
                    }
                }
            }
            let is_pending = places.iter().any(|p| self.model.pending.contains(p));
            let status = self.fences.sync_file_status(file);
            assert_eq!(status == Status::Pending, is_pending);
        }
        for m in 0..MEMORIES {
            for access in [Usage::Read, Usage::Write] {
                let busy = !self.model.waits(m, access, false).is_empty();
                let held = !self.model.waits(m, access, true).is_empty();
                assert_eq!(self.fences.is_busy(memory(m), access), busy);
                assert_eq!(self.fences.is_held_back(memory(m), access), held);
            }
        }
        // Fences of a context end in order: all pending ones come after the ended ones.
        for (context, seqno) in &self.model.pending {
            let later = (*context, *seqno)..=(*context, u64::MAX);
            assert!(
                self.model.ended.range(later).next().is_none(),
                "ended out of order"
            );
        }
    }

    fn finish(mut self) {
        for timeline in core::mem::take(&mut self.devices) {
            self.close(timeline);
        }
        for timeline in core::mem::take(&mut self.programs) {
            self.close(timeline);
        }
        self.check();
        for (file, _) in core::mem::take(&mut self.files) {
            self.fences.put_sync_file(file);
        }
        (0..MEMORIES).for_each(|m| self.fences.forget_memory(memory(m)));
        assert!(self.fences.is_empty(), "{} fences left", self.fences.len());
        assert_eq!(self.fences.counts().0, self.fences.counts().1);
    }
}

proptest! {
    #[test]
    fn each_fence_ends_once_and_in_order(steps in prop::collection::vec(step(), 0..120)) {
        let mut both = Both::new();
        for step in steps {
            both.apply(step);
            both.check();
        }
        both.finish();
    }
}

#[test]
fn fence_memory_is_bounded_by_pending_fences() {
    let mut fences = Fences::new();
    let mut devices: Vec<Timeline<u32>> = (0..12).map(|d| fences.timeline(d)).collect();
    let mut kept = fences.export(memory(0), Usage::Write, 0).unwrap();
    let mut most = 0;
    for round in 0..100_000_usize {
        let timeline = &mut devices[round % 12];
        fences.end_oldest(timeline, Ok(()), 0);
        let m = memory(round % MEMORIES);
        fences
            .begin_access(m, timeline, usage(round % 3 == 0))
            .unwrap();
        let file = fences.export(m, Usage::Write, 0).unwrap();
        fences
            .import(memory((round + 1) % MEMORIES), file.fences(), Usage::Read)
            .unwrap();
        let merged = fences.merge(&kept, &file, 0).unwrap();
        fences.put_sync_file(file);
        fences.put_sync_file(core::mem::replace(&mut kept, merged));
        fences.take_early();
        most = most.max(fences.len());
    }
    // At most 12 fences are pending. Ended ones stay in lists until others replace them.
    let bound = 12 + 12 * MEMORIES + 12;
    assert!((1..=bound).contains(&most), "{most} at one time");
    assert_eq!(fences.counts().0, 100_000);
    fences.put_sync_file(kept);
    for timeline in devices {
        fences.close(timeline, Ok(()), 0);
    }
    (0..MEMORIES).for_each(|m| fences.forget_memory(memory(m)));
    assert!(fences.is_empty());
    assert_eq!(fences.counts().1, 100_000);
}
