//! Compares fences with a model: devices, programs' timelines and sync files in random order.

use super::{Bufs, Line, OUTCOMES, buffers, file_at, owner, put};
use crate::MemoryId;
use crate::fence::{FenceInfo, Owner, Status, SyncFile, Usage};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const MEMORIES: usize = 4;
const DEVICES: usize = 6;
const PROGRAMS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A device gets a memory.
    Begin(usize, usize, bool),
    /// A device has finished, has failed, or was stopped.
    Complete(usize, Result<(), i32>),
    /// A program asks for the fences of a memory.
    Export(usize, bool),
    Import(usize, usize, bool),
    Merge(usize, usize),
    Close(usize),
    /// A program makes a fence this far ahead on its timeline.
    Create(usize, u64),
    Increment(usize, u64),
    CloseTimeline(usize),
    /// The exporter takes a memory back from all devices.
    Revoke(usize),
    /// A memory is freed, and another one allocated.
    Free(usize),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::{Begin, Close, CloseTimeline, Complete, Create, Export, Free, Import, Increment};
    use Step::{Merge, Revoke};
    let (m, d, p, f) = (0..MEMORIES, 0..DEVICES, 0..PROGRAMS, 0..8_usize);
    prop_oneof![
        4 => (d.clone(), m.clone(), any::<bool>()).prop_map(|(d, m, w)| Begin(d, m, w)),
        5 => (d, 0..3_usize).prop_map(|(d, how)| Complete(d, OUTCOMES[how])),
        3 => (m.clone(), any::<bool>()).prop_map(|(m, w)| Export(m, w)),
        3 => (m.clone(), f.clone(), any::<bool>()).prop_map(|(m, f, w)| Import(m, f, w)),
        2 => (f.clone(), f.clone()).prop_map(|(a, b)| Merge(a, b)),
        2 => f.prop_map(Close),
        3 => (p.clone(), 1..6_u64).prop_map(|(p, n)| Create(p, n)),
        2 => (p.clone(), 1..4_u64).prop_map(|(p, n)| Increment(p, n)),
        1 => p.prop_map(CloseTimeline),
        1 => m.clone().prop_map(Revoke),
        1 => m.prop_map(Free),
    ]
}

fn usage(write: bool) -> Usage {
    if write { Usage::Write } else { Usage::Read }
}

/// A fence, by the number of its owner and its sequence number. Each timeline and each access of the tests has an
/// owner of its own.
type TimelinePoint = (u64, u64);

fn point(info: &FenceInfo<Owner<u32>>) -> TimelinePoint {
    let number = match info.owner {
        Owner::Device(number) => number.into(),
        Owner::Program(number) => number,
        Owner::Driver => unreachable!("no test has one"),
    };
    (number, info.seqno)
}

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
    b: Bufs,
    model: Model,
    memories: Vec<MemoryId>,
    /// The access in progress of each device: its memory, its number in the registry, and its fence.
    devices: [Option<(MemoryId, u64, TimelinePoint)>; DEVICES],
    programs: Vec<(u64, Line)>,
    files: Vec<(SyncFile, BTreeSet<TimelinePoint>)>,
    last_owner: u32,
}

impl Both {
    fn new() -> Self {
        let b = buffers();
        let mut both = Self {
            memories: (0..MEMORIES).map(|_| super::memory(&b)).collect(),
            b,
            model: Model {
                reservations: (0..MEMORIES).map(|_| Vec::new()).collect(),
                ..Model::default()
            },
            devices: [None; DEVICES],
            programs: Vec::new(),
            files: Vec::new(),
            last_owner: 0,
        };
        for _ in 0..PROGRAMS {
            let program = both.program();
            both.programs.push(program);
        }
        both
    }

    fn owner(&mut self) -> u32 {
        self.last_owner += 1;
        self.last_owner
    }

    fn program(&mut self) -> (u64, Line) {
        let number = self.owner().into();
        let owner = Owner::Program(number);
        (
            number,
            self.b.with_fences(|fences, _| fences.timeline(owner)),
        )
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Begin(d, m, write) => {
                if self.devices[d].is_some() {
                    return;
                }
                let (id, owner) = (self.memories[m], self.owner());
                let by = Owner::Device(owner);
                let number = self.b.begin_access(id, by, usage(write)).unwrap();
                let place = (owner.into(), 1);
                assert!(self.model.pending.insert(place), "a number used twice");
                self.model.reservations[m].push((place, usage(write), false));
                self.devices[d] = Some((id, number, place));
            }
            Step::Complete(d, outcome) => {
                if let Some((id, number, (owner, _))) = self.devices[d].take() {
                    self.b.end_access(id, number, outcome);
                    self.model.end_all(owner, 1, outcome);
                }
            }
            Step::CloseTimeline(p) => {
                let fresh = self.program();
                let gone = core::mem::replace(&mut self.programs[p], fresh);
                self.close(gone);
            }
            Step::Create(p, ahead) => {
                let (number, timeline) = &mut self.programs[p];
                let seqno = timeline.value() + ahead;
                let place = (*number, seqno);
                self.model.pending.insert(place);
                let file = file_at(&self.b, timeline, seqno);
                self.files.push((file, BTreeSet::from([place])));
            }
            Step::Increment(p, by) => {
                let (number, timeline) = &mut self.programs[p];
                let to = timeline.value() + by;
                (self.b).with_fences(|fences, now| fences.advance(timeline, to, Ok(()), now));
                self.model.end_all(*number, to, Ok(()));
            }
            Step::Export(m, write) => {
                let file = self.b.export_fences(self.memories[m], usage(write));
                let waits = self.model.waits(m, usage(write), false).into_iter();
                self.files.push((file.unwrap(), Model::last_of_each(waits)));
            }
            Step::Import(m, f, write) => {
                let Some((file, places)) = self.files.get(f) else {
                    return;
                };
                let imported =
                    (self.b).import_fences(self.memories[m], file.fences(), usage(write));
                imported.unwrap();
                let pending = places.intersection(&self.model.pending);
                let new = pending.map(|place| (*place, usage(write), true));
                self.model.reservations[m].extend(new);
            }
            Step::Merge(a, b) => {
                let (Some(a), Some(b)) = (self.files.get(a), self.files.get(b)) else {
                    return;
                };
                let merge = self
                    .b
                    .with_fences(|fences, now| fences.merge(&a.0, &b.0, now));
                let both =
                    a.1.union(&b.1)
                        .filter(|place| self.model.pending.contains(place));
                let places = Model::last_of_each(both.copied());
                self.files.push((merge.unwrap(), places));
            }
            Step::Close(f) => {
                if f < self.files.len() {
                    put(&self.b, self.files.swap_remove(f).0);
                }
            }
            Step::Revoke(m) => {
                self.b.revoke(self.memories[m]).unwrap();
                self.end_accesses(m, 19);
            }
            Step::Free(m) => {
                let fresh = super::memory(&self.b);
                self.b
                    .free(core::mem::replace(&mut self.memories[m], fresh));
                self.end_accesses(m, 125);
                self.model.reservations[m].clear();
            }
        }
    }

    /// Ends the accesses to a memory in the model. What the devices do later has no effect.
    fn end_accesses(&mut self, m: usize, errno: i32) {
        let all = self.model.reservations[m].iter();
        let own = all
            .filter(|(place, _, is_imported)| !is_imported && self.model.pending.contains(place));
        let own: Vec<TimelinePoint> = own.map(|(place, ..)| *place).collect();
        for place in own {
            self.model.end_all(place.0, 1, Err(errno));
        }
    }

    fn close(&mut self, (number, timeline): (u64, Line)) {
        let outcome = Err(125);
        self.model.end_all(number, u64::MAX, outcome);
        (self.b).with_fences(|fences, now| fences.close(timeline, outcome, now));
    }

    fn check(&self) {
        for (file, places) in &self.files {
            let (seen, status) = self.b.with_fences(|fences, _| {
                let seen: Vec<_> = fences.sync_file_info(file).collect();
                (seen, fences.sync_file_status(file))
            });
            let seen_places: BTreeSet<TimelinePoint> = seen.iter().map(point).collect();
            assert_eq!(&seen_places, places);
            for fence in &seen {
                let place = point(fence);
                match fence.status {
                    Status::Pending => assert!(self.model.pending.contains(&place)),
                    Status::Ended { outcome, .. } => {
                        assert_eq!(self.model.ended.get(&place), Some(&outcome));
                    }
                }
            }
            let is_pending = places.iter().any(|p| self.model.pending.contains(p));
            assert_eq!(status == Status::Pending, is_pending);
        }
        for m in 0..MEMORIES {
            for access in [Usage::Read, Usage::Write] {
                let busy = !self.model.waits(m, access, false).is_empty();
                let held = !self.model.waits(m, access, true).is_empty();
                assert_eq!(self.b.is_busy(self.memories[m], access), busy);
                assert_eq!(self.b.is_held_back(self.memories[m], access), held);
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
        for device in 0..DEVICES {
            self.apply(Step::Complete(device, Ok(())));
        }
        for timeline in core::mem::take(&mut self.programs) {
            self.close(timeline);
        }
        self.check();
        let (begun, ended) = self.b.fence_counts();
        assert_eq!(begun, ended);
        for (file, _) in core::mem::take(&mut self.files) {
            put(&self.b, file);
        }
        self.memories.iter().for_each(|id| self.b.free(*id));
        self.b
            .with_fences(|fences, _| assert!(fences.is_empty(), "{} left", fences.len()));
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
    let b = buffers();
    let memories: Vec<MemoryId> = (0..MEMORIES).map(|_| super::memory(&b)).collect();
    let mut devices = [None; 12];
    let mut kept = b.export_fences(memories[0], Usage::Write).unwrap();
    let mut most = 0;
    for round in 0..100_000_usize {
        let device = &mut devices[round % 12];
        if let Some((id, access)) = device.take() {
            b.end_access(id, access, Ok(()));
        }
        let id = memories[round % MEMORIES];
        let access = b.begin_access(id, owner(round % 12), usage(round % 3 == 0));
        *device = access.ok().map(|access| (id, access));
        let file = b.export_fences(id, Usage::Write).unwrap();
        let next = memories[(round + 1) % MEMORIES];
        b.import_fences(next, file.fences(), Usage::Read).unwrap();
        let merged = b.with_fences(|fences, now| fences.merge(&kept, &file, now));
        put(&b, file);
        put(&b, core::mem::replace(&mut kept, merged.unwrap()));
        most = most.max(b.with_fences(|fences, _| fences.len()));
        b.observer().get().early.clear();
    }
    // At most 12 fences are pending. Ended ones stay in lists until others replace them.
    let bound = 12 + 12 * MEMORIES + 12;
    assert!((1..=bound).contains(&most), "{most} at one time");
    assert_eq!(b.fence_counts().0, 100_000);
    put(&b, kept);
    for (id, access) in devices.into_iter().flatten() {
        b.end_access(id, access, Ok(()));
    }
    memories.into_iter().for_each(|id| b.free(id));
    assert!(b.with_fences(|fences, _| fences.is_empty()));
    assert_eq!(b.fence_counts().1, 100_000);
}
