//! The checker's list of memory and mappings, and the rules of use that it checks.

use super::{Report, Sink, Site, Violation};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::panic::Location;
use vb3_dma::{Attrs, Direction, DmaSegment, Limits};

/// Number of ended entries to remember, so that a report of a later use can name the call that ended the
/// entry.
const REMEMBERED: usize = 64;

/// Attributes that must be the same at map and unmap.
const COMPARED: Attrs = Attrs::NO_KERNEL_MAPPING
    .union(Attrs::FORCE_CONTIGUOUS)
    .union(Attrs::MMIO)
    .union(Attrs::REQUIRE_COHERENT);

/// Identifies an entry. The generation makes each id unique, although indices are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    index: usize,
    generation: u64,
}

/// Properties of memory that a device sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<D> {
    pub(super) dev: D,
    /// True for a mapping, false for an allocation.
    pub(super) is_streaming: bool,
    pub(super) direction: Direction,
    pub(super) attrs: Attrs,
}

/// Memory, or a mapping.
#[derive(Clone, Copy, Debug)]
struct Entry<D> {
    generation: u64,
    /// The memory that the entry uses.
    parent: Option<Id>,
    users: u32,
    by: Site,
    ended_by: Option<Site>,
    /// How a device sees the entry's memory: the claim, first address and total length. `None` if no device sees it.
    seen: Option<(Claim<D>, DmaSegment)>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    last: u64,
    entry: usize,
}

#[derive(Debug)]
struct Known<D> {
    dev: D,
    limits: Option<Limits>,
    /// Sorted by start.
    spans: Vec<Span>,
    /// Length of the longest span so far, in bytes, minus one.
    longest: u64,
}

impl<D> Known<D> {
    /// Returns the spans that overlap an inclusive range.
    fn reaching(&self, start: u64, last: u64) -> impl Iterator<Item = &Span> {
        let end = self.spans.partition_point(|span| span.start <= last);
        let from = start.saturating_sub(self.longest);
        self.spans
            .get(..end)
            .unwrap_or(&[])
            .iter()
            .rev()
            .take_while(move |span| span.start >= from)
            .filter(move |span| span.last >= start)
    }
}

/// All entries, and the receiver of reports.
#[derive(Debug)]
pub(super) struct Book<D, S> {
    entries: Vec<Entry<D>>,
    /// Ended entries, the oldest first.
    ended: VecDeque<usize>,
    devices: Vec<Known<D>>,
    spans: usize,
    capacity: usize,
    generation: u64,
    /// Set when there was no room for an entry. From then on, the checker checks nothing.
    has_stopped: bool,
    pub(super) tag: &'static str,
    sink: S,
}

impl<D: Copy + Eq, S: Sink<Report<D>>> Book<D, S> {
    /// Makes an empty list, which tracks up to `capacity` live segments. Adding entries allocates memory.
    pub(super) const fn new(sink: S, capacity: usize) -> Self {
        Self {
            entries: Vec::new(),
            ended: VecDeque::new(),
            devices: Vec::new(),
            spans: 0,
            capacity,
            generation: 0,
            has_stopped: false,
            tag: "",
            sink,
        }
    }

    /// Returns the number of live segments.
    pub(super) const fn live_segments(&self) -> usize {
        self.spans
    }

    pub(super) const fn site(&self, location: &'static Location<'static>) -> Site {
        Site {
            location,
            tag: self.tag,
        }
    }

    fn complain(
        &mut self,
        violation: Violation,
        by: Site,
        seen: Option<(D, DmaSegment)>,
        mapped_by: Option<Site>,
    ) {
        if self.has_stopped {
            return;
        }
        self.sink.take(Report {
            violation,
            dev: seen.map(|(dev, _)| dev),
            addr: seen.map(|(_, segment)| segment.addr),
            len: seen.map_or(0, |(_, segment)| segment.len),
            by,
            mapped_by,
        });
    }

    /// Reports a violation as [`complain`](Self::complain) does, with the device, address and site of an entry.
    fn complain_of(&mut self, violation: Violation, by: Site, entry: &Entry<D>) {
        let seen = entry.seen.map(|(claim, segment)| (claim.dev, segment));
        self.complain(violation, by, seen, Some(entry.by));
    }

    /// Reports that there is no more room, and ends all checks.
    fn stop(&mut self, dev: Option<D>, by: Site) {
        if core::mem::replace(&mut self.has_stopped, true) {
            return;
        }
        self.entries = Vec::new();
        self.ended = VecDeque::new();
        self.devices = Vec::new();
        self.spans = 0;
        self.sink.take(Report {
            violation: Violation::TrackingEnded,
            dev,
            addr: None,
            len: 0,
            by,
            mapped_by: None,
        });
    }

    /// Returns an entry, live or ended; `None` if a newer entry has replaced it.
    fn entry(&self, id: Id) -> Option<Entry<D>> {
        let entry = self.entries.get(id.index).copied();
        entry.filter(|entry| entry.generation == id.generation)
    }

    fn live(&self, id: Id) -> Option<Entry<D>> {
        self.entry(id).filter(|entry| entry.ended_by.is_none())
    }

    fn change(&mut self, id: Id, act: impl FnOnce(&mut Entry<D>)) {
        if self.live(id).is_some() {
            self.entries.get_mut(id.index).map(act);
        }
    }

    /// Returns the device's state, which the first call for a device makes; `None` if there is no room.
    fn known(&mut self, dev: D) -> Option<&mut Known<D>> {
        let found = self.devices.iter().position(|known| known.dev == dev);
        let index = match found {
            Some(index) => index,
            None => {
                if self.devices.len() >= self.capacity || self.devices.try_reserve(1).is_err() {
                    return None;
                }
                self.devices.push(Known {
                    dev,
                    limits: None,
                    spans: Vec::new(),
                    longest: 0,
                });
                self.devices.len().saturating_sub(1)
            }
        };
        self.devices.get_mut(index)
    }

    fn device(&self, dev: D) -> Option<&Known<D>> {
        self.devices.iter().find(|known| known.dev == dev)
    }

    pub(super) fn set_limits(&mut self, dev: D, limits: Limits) {
        if let Some(known) = self.known(dev) {
            known.limits = Some(limits);
        }
    }

    /// Adds an entry that uses `parent`. If there is no room to track it, returns `None` and ends all checks.
    pub(super) fn add(&mut self, parent: Option<Id>, by: Site) -> Option<Id> {
        if self.has_stopped {
            return None;
        }
        self.generation = self.generation.checked_add(1)?;
        let entry = Entry {
            generation: self.generation,
            parent,
            users: 0,
            by,
            ended_by: None,
            seen: None,
        };
        let index = if self.ended.len() > REMEMBERED {
            let index = self.ended.pop_front()?;
            *self.entries.get_mut(index)? = entry;
            index
        } else {
            let index = self.entries.len();
            let most = self.capacity.saturating_mul(2).saturating_add(REMEMBERED);
            // Reserves room in `ended` now, so that `end` need not allocate.
            let room = index.saturating_add(1).saturating_sub(self.ended.len());
            if index > most
                || self.entries.try_reserve(1).is_err()
                || self.ended.try_reserve(room).is_err()
            {
                self.stop(None, by);
                return None;
            }
            self.entries.push(entry);
            index
        };
        if let Some(parent) = parent {
            self.change(parent, |up| up.users = up.users.saturating_add(1));
        }
        let generation = self.generation;
        Some(Id { index, generation })
    }

    /// Adds an entry for memory that a device sees as these segments. Reports the first rule that they break.
    pub(super) fn add_seen(
        &mut self,
        claim: Claim<D>,
        segments: impl Iterator<Item = DmaSegment>,
        parent: Option<Id>,
        by: Site,
    ) -> Option<Id> {
        let id = self.add(parent, by)?;
        let mut whole: Option<DmaSegment> = None;
        let (mut count, mut is_reported) = (0u64, false);
        for segment in segments.filter(|segment| segment.len > 0) {
            let seen = whole.get_or_insert(DmaSegment { len: 0, ..segment });
            seen.len = seen.len.saturating_add(segment.len);
            count = count.saturating_add(1);
            if !is_reported {
                if let Some((violation, mapped_by)) = self.wrong_segment(&claim, segment) {
                    is_reported = true;
                    self.complain(violation, by, Some((claim.dev, segment)), mapped_by);
                }
            }
            if self.insert(claim.dev, id.index, segment).is_none() {
                self.stop(Some(claim.dev), by);
                return None;
            }
        }
        let seen = whole.map(|whole| (claim, whole));
        self.change(id, |entry| entry.seen = seen);
        let limits = self.device(claim.dev).and_then(|known| known.limits);
        let limit = limits.map_or(u64::MAX, |limits| u64::from(limits.max_segments));
        if count > limit && !is_reported {
            let segments = count;
            let violation = Violation::TooManySegments { segments, limit };
            self.complain(violation, by, whole.map(|whole| (claim.dev, whole)), None);
        }
        Some(id)
    }

    /// Returns the rule that a new segment breaks, and the site of the mapping that it overlaps, if any.
    fn wrong_segment(
        &self,
        claim: &Claim<D>,
        segment: DmaSegment,
    ) -> Option<(Violation, Option<Site>)> {
        let known = self.device(claim.dev)?;
        let start = segment.addr.get();
        let last = start.saturating_add(segment.len.saturating_sub(1));
        if let Some(limits) = known.limits {
            if last > limits.mask {
                let mask = limits.mask;
                return Some((Violation::BeyondMask { mask }, None));
            }
            // An allocation is one run, to which limits of segments do not apply.
            if claim.is_streaming && segment.len > limits.max_segment {
                let (len, limit) = (segment.len, limits.max_segment);
                return Some((Violation::SegmentTooLong { len, limit }, None));
            }
            if claim.is_streaming && start | limits.boundary != last | limits.boundary {
                let boundary = limits.boundary;
                return Some((Violation::CrossesBoundary { boundary }, None));
            }
        }
        // The new mapping's entry has `seen` unset until all segments are added, so they do not conflict
        // with each other.
        let with = known.reaching(start, last).find_map(|span| {
            let entry = self.entries.get(span.entry)?;
            let (other, _) = entry.seen?;
            let writes = other.direction.device_writes() || claim.direction.device_writes();
            (other.is_streaming && claim.is_streaming && writes).then_some(entry.by)
        })?;
        Some((Violation::Overlap { with }, Some(with)))
    }

    /// Adds a segment to its device's spans. `None` if there is no room.
    fn insert(&mut self, dev: D, entry: usize, segment: DmaSegment) -> Option<()> {
        if self.spans >= self.capacity {
            return None;
        }
        let known = self.known(dev)?;
        known.spans.try_reserve(1).ok()?;
        let start = segment.addr.get();
        let extent = segment.len.saturating_sub(1);
        let last = start.saturating_add(extent);
        let place = known.spans.partition_point(|span| span.start <= start);
        known.spans.insert(place, Span { start, last, entry });
        known.longest = known.longest.max(extent);
        self.spans = self.spans.saturating_add(1);
        Some(())
    }

    /// Ends an entry, and returns it. `None` if it ended before.
    fn end(&mut self, id: Id, by: Site) -> Option<Entry<D>> {
        let entry = self.live(id)?;
        self.change(id, |entry| entry.ended_by = Some(by));
        self.ended.push_back(id.index);
        if let Some(parent) = entry.parent {
            self.change(parent, |up| up.users = up.users.saturating_sub(1));
        }
        let seen = entry.seen.map(|(claim, _)| claim.dev);
        if let Some(known) = seen.and_then(|dev| self.known(dev)) {
            let before = known.spans.len();
            known.spans.retain(|span| span.entry != id.index);
            let removed = before.saturating_sub(known.spans.len());
            self.spans = self.spans.saturating_sub(removed);
        }
        Some(entry)
    }

    /// Ends the entry of memory that is freed, and reports misuse.
    pub(super) fn free(&mut self, id: Option<Id>, by: Site) {
        let Some(id) = id else { return };
        match self.end(id, by) {
            Some(entry) if entry.users > 0 => {
                let users = entry.users;
                self.complain_of(Violation::FreedInUse { users }, by, &entry);
            }
            Some(_) => {}
            None => self.complain(Violation::UsedAfterFree, by, None, None),
        }
    }

    /// Ends the entry of a mapping that is unmapped, and reports misuse.
    pub(super) fn unmap(&mut self, id: Option<Id>, attrs: Attrs, by: Site) {
        let Some(id) = id else { return };
        let earlier = self.entry(id);
        match (self.end(id, by), earlier) {
            (Some(entry), _) => {
                let mapped = entry.seen.map_or(attrs, |(claim, _)| claim.attrs);
                let (mapped, given) = (mapped & COMPARED, attrs & COMPARED);
                if mapped != given {
                    self.complain_of(Violation::WrongAttributes { mapped, given }, by, &entry);
                }
            }
            (None, Some(entry)) => {
                let first = entry.ended_by.unwrap_or(by);
                self.complain_of(Violation::UnmappedTwice { by: first }, by, &entry);
            }
            (None, None) => self.complain(Violation::NotMapped, by, None, None),
        }
    }

    /// Reports a sync of a mapping or an allocation that has ended, or in a wrong direction.
    pub(super) fn sync(&mut self, id: Option<Id>, direction: Direction, by: Site) {
        let Some(id) = id else { return };
        let Some(entry) = self.entry(id) else {
            return self.complain(Violation::NotMapped, by, None, None);
        };
        if let Some(ended) = entry.ended_by {
            return self.complain_of(Violation::UsedAfterUnmap { by: ended }, by, &entry);
        }
        let mapped = entry.seen.map(|(claim, _)| claim.direction);
        if let Some(mapped) = mapped.filter(|&is| is != Direction::Bidirectional && is != direction)
        {
            let given = direction;
            self.complain_of(Violation::SyncDirection { mapped, given }, by, &entry);
        }
    }

    /// Reports a use of memory that was freed.
    pub(super) fn check_alive(&mut self, id: Option<Id>, by: Site) {
        let Some(id) = id else { return };
        if self.live(id).is_none() {
            self.complain(Violation::UsedAfterFree, by, None, None);
        }
    }

    /// Forgets a device, and reports its remaining mappings and allocations.
    pub(super) fn remove_device(&mut self, dev: D, by: Site) {
        for index in 0..self.entries.len() {
            let Some(&entry) = self.entries.get(index) else {
                break;
            };
            let is_left = entry.seen.is_some_and(|(claim, _)| claim.dev == dev);
            if is_left && entry.ended_by.is_none() {
                self.complain_of(Violation::Leak, by, &entry);
                let generation = entry.generation;
                self.end(Id { index, generation }, by);
            }
        }
        self.devices.retain(|known| known.dev != dev);
    }
}
