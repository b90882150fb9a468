//! Ledger of mappings by address and device, for layers that pass addresses and lengths.

use super::{MappingKind, Report, Sink, Site, Violation};
use crate::{Attrs, Direction, DmaAddr, DmaSegment, Limits};
use alloc::vec::Vec;

/// Number of ended entries kept, to distinguish a second unmap from an unmap of unmapped memory.
const REMEMBERED: usize = 64;

/// Attributes that must be the same at map and unmap.
const COMPARED: Attrs = Attrs::NO_KERNEL_MAPPING
    .union(Attrs::FORCE_CONTIGUOUS)
    .union(Attrs::MMIO)
    .union(Attrs::REQUIRE_COHERENT);

/// Properties of a mapping, as a caller states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<D> {
    /// The device.
    pub dev: D,
    /// Kind of the mapping.
    pub kind: MappingKind,
    /// Direction of transfer.
    pub direction: Direction,
    /// Attributes.
    pub attrs: Attrs,
    /// The call that states them.
    pub by: Site,
}

#[derive(Clone, Copy, Debug)]
struct Entry<D> {
    claim: Claim<D>,
    addr: u64,
    len: u64,
    segments: u64,
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
    /// Length of the longest span so far, in bytes, less one.
    longest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Gone<D> {
    entry: Entry<D>,
    by: Site,
}

/// The mappings and their rules.
///
/// Bounded: beyond `capacity` live segments, it reports that once and checks nothing more.
#[derive(Debug)]
pub struct Ledger<D> {
    devices: Vec<Known<D>>,
    entries: Vec<Option<Entry<D>>>,
    vacant: Vec<usize>,
    gone: [Option<Gone<D>>; REMEMBERED],
    next_gone: usize,
    spans: usize,
    capacity: usize,
    ended: bool,
}

impl<D: Copy + Eq> Ledger<D> {
    /// Makes an empty ledger for `capacity` live segments. Allocates memory as needed.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            devices: Vec::new(),
            entries: Vec::new(),
            vacant: Vec::new(),
            gone: [None; REMEMBERED],
            next_gone: 0,
            spans: 0,
            capacity,
            ended: false,
        }
    }

    /// Returns the number of live segments.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans
    }

    /// Returns whether nothing is mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans == 0
    }

    /// Sets the addresses that `dev` can use, for the rules about segments.
    pub fn set_limits(&mut self, dev: D, limits: Limits) {
        if let Some(known) = self.known(dev) {
            known.limits = Some(limits);
        }
    }

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

    fn entry(&self, index: usize) -> Option<Entry<D>> {
        self.entries.get(index).copied().flatten()
    }

    /// Enters a mapping of these segments.
    pub fn map<S: Sink<Report<D>>>(
        &mut self,
        claim: Claim<D>,
        segments: impl Iterator<Item = DmaSegment>,
        sink: &mut S,
    ) {
        if self.ended {
            return;
        }
        let mut entry = Entry {
            claim,
            addr: 0,
            len: 0,
            segments: 0,
        };
        let Some(index) = self.vacancy(entry) else {
            return self.end(claim, sink);
        };
        let mut reported = false;
        for segment in segments.filter(|segment| segment.len > 0) {
            if entry.segments == 0 {
                entry.addr = segment.addr.get();
            }
            entry.segments = entry.segments.saturating_add(1);
            entry.len = entry.len.saturating_add(segment.len);
            if !reported {
                let wrong = self.wrong_segment(&claim, index, segment);
                if let Some((violation, mapped_by)) = wrong {
                    reported = true;
                    sink.take(report(violation, &claim, segment, mapped_by));
                }
            }
            if !self.insert(claim.dev, index, segment) {
                return self.end(claim, sink);
            }
        }
        if let Some(slot) = self.entries.get_mut(index) {
            // A mapping without segments has no address to identify it.
            *slot = (entry.segments > 0).then_some(entry);
        }
        let most = self.device(claim.dev).and_then(|known| known.limits);
        let limit = most.map_or(u64::MAX, |limits| u64::from(limits.max_segments));
        if entry.segments > limit && !reported {
            let violation = Violation::TooManySegments {
                segments: entry.segments,
                limit,
            };
            sink.take(report(violation, &claim, whole(&entry), None));
        }
    }

    /// Returns the fault of a segment, and the mapping that it conflicts with.
    fn wrong_segment(
        &self,
        claim: &Claim<D>,
        index: usize,
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
            // An allocation is one run of any length.
            let streams = claim.kind == MappingKind::Streaming;
            if streams && segment.len > limits.max_segment {
                let (len, limit) = (segment.len, limits.max_segment);
                return Some((Violation::SegmentTooLong { len, limit }, None));
            }
            if streams && start | limits.boundary != last | limits.boundary {
                let boundary = limits.boundary;
                return Some((Violation::CrossesBoundary { boundary }, None));
            }
        }
        let other = known
            .reaching(start, last)
            .filter(|span| span.entry != index)
            .filter_map(|span| self.entry(span.entry))
            .find(|other| {
                let streams = other.claim.kind == MappingKind::Streaming
                    && claim.kind == MappingKind::Streaming;
                let writes =
                    other.claim.direction.device_writes() || claim.direction.device_writes();
                streams && writes
            })?;
        let with = other.claim.by;
        Some((Violation::Overlap { with }, Some(with)))
    }

    /// Ends a mapping of `segments` segments and `len` bytes, identified by its first address.
    pub fn unmap<S: Sink<Report<D>>>(
        &mut self,
        claim: Claim<D>,
        first: DmaSegment,
        segments: u64,
        len: u64,
        sink: &mut S,
    ) {
        if self.ended {
            return;
        }
        let given = DmaSegment {
            addr: first.addr,
            len,
        };
        let Some(index) = self.find(&claim, first.addr.get(), len) else {
            let (violation, mapped_by) = self.why_unknown(&claim, first.addr.get());
            sink.take(report(violation, &claim, given, mapped_by));
            return;
        };
        let Some(entry) = self.entry(index) else {
            return;
        };
        for violation in differences(&entry, &claim, segments, len)
            .into_iter()
            .flatten()
        {
            sink.take(report(violation, &claim, given, Some(entry.claim.by)));
        }
        self.remove(index, claim.by);
    }

    /// Checks the sync of part of a mapping. Returns whether it was correct.
    pub fn sync<S: Sink<Report<D>>>(
        &mut self,
        claim: Claim<D>,
        part: DmaSegment,
        sink: &mut S,
    ) -> bool {
        if self.ended || part.len == 0 {
            return true;
        }
        let start = part.addr.get();
        let holding = self.device(claim.dev).and_then(|known| {
            known
                .reaching(start, start)
                .filter_map(|span| Some((*span, self.entry(span.entry)?)))
                .max_by_key(|(span, entry)| (entry.claim.direction == claim.direction, span.last))
        });
        let (violation, mapped_by) = match holding {
            None => match self.remembered(&claim, start) {
                Some(gone) => (
                    Violation::UsedAfterUnmap { by: gone.by },
                    Some(gone.entry.claim.by),
                ),
                None => (Violation::SyncNotMapped, None),
            },
            Some((span, entry)) => {
                let mapped = span.last.saturating_sub(start).saturating_add(1);
                let is = entry.claim.direction;
                if part.len > mapped {
                    let given = part.len;
                    (
                        Violation::SyncOutside { mapped, given },
                        Some(entry.claim.by),
                    )
                } else if is != Direction::Bidirectional && is != claim.direction {
                    let violation = Violation::SyncDirection {
                        mapped: is,
                        given: claim.direction,
                    };
                    (violation, Some(entry.claim.by))
                } else {
                    return true;
                }
            }
        };
        sink.take(report(violation, &claim, part, mapped_by));
        false
    }

    /// Forgets a device, and reports what is still mapped for it.
    pub fn remove_device<S: Sink<Report<D>>>(&mut self, dev: D, by: Site, sink: &mut S) {
        if self.ended {
            return;
        }
        for index in 0..self.entries.len() {
            let Some(entry) = self.entry(index).filter(|entry| entry.claim.dev == dev) else {
                continue;
            };
            let claim = Claim { by, ..entry.claim };
            let mapped_by = Some(entry.claim.by);
            sink.take(report(Violation::Leak, &claim, whole(&entry), mapped_by));
            self.remove(index, by);
        }
        self.devices.retain(|known| known.dev != dev);
    }

    /// Makes room for an entry and returns its index.
    fn vacancy(&mut self, entry: Entry<D>) -> Option<usize> {
        if let Some(index) = self.vacant.pop() {
            *self.entries.get_mut(index)? = Some(entry);
            return Some(index);
        }
        // Reserves room first for returning the index.
        self.entries.try_reserve(1).ok()?;
        let needed = self.entries.len().saturating_add(1);
        self.vacant
            .try_reserve(needed.saturating_sub(self.vacant.len()))
            .ok()?;
        self.entries.push(Some(entry));
        Some(self.entries.len().saturating_sub(1))
    }

    fn insert(&mut self, dev: D, entry: usize, segment: DmaSegment) -> bool {
        if self.spans >= self.capacity {
            return false;
        }
        let Some(known) = self.known(dev) else {
            return false;
        };
        if known.spans.try_reserve(1).is_err() {
            return false;
        }
        let start = segment.addr.get();
        let extent = segment.len.saturating_sub(1);
        let last = start.saturating_add(extent);
        let place = known.spans.partition_point(|span| span.start <= start);
        known.spans.insert(place, Span { start, last, entry });
        known.longest = known.longest.max(extent);
        self.spans = self.spans.saturating_add(1);
        true
    }

    /// Finds the entry that starts at an address; if there are several, the best match.
    fn find(&self, claim: &Claim<D>, addr: u64, len: u64) -> Option<usize> {
        let known = self.device(claim.dev)?;
        let from = known.spans.partition_point(|span| span.start < addr);
        known
            .spans
            .get(from..)?
            .iter()
            .take_while(|span| span.start == addr)
            .filter_map(|span| Some((span.entry, self.entry(span.entry)?)))
            .filter(|(_, entry)| entry.addr == addr)
            .max_by_key(|(_, entry)| {
                u32::from(entry.claim.kind == claim.kind)
                    + u32::from(entry.len == len)
                    + u32::from(entry.claim.direction == claim.direction)
                    + u32::from(entry.claim.attrs & COMPARED == claim.attrs & COMPARED)
            })
            .map(|(index, _)| index)
    }

    fn why_unknown(&self, claim: &Claim<D>, addr: u64) -> (Violation, Option<Site>) {
        if let Some(gone) = self.remembered(claim, addr) {
            let by = gone.by;
            return (Violation::UnmappedTwice { by }, Some(gone.entry.claim.by));
        }
        let elsewhere = self
            .entries
            .iter()
            .flatten()
            .find(|entry| entry.addr == addr && entry.claim.kind == claim.kind);
        match elsewhere {
            Some(entry) => (Violation::WrongDevice, Some(entry.claim.by)),
            None => (Violation::NotMapped, None),
        }
    }

    /// Returns the latest ended mapping that contained an address.
    fn remembered(&self, claim: &Claim<D>, addr: u64) -> Option<Gone<D>> {
        let (newer, older) = self.gone.split_at_checked(self.next_gone)?;
        let latest_first = newer.iter().rev().chain(older.iter().rev());
        latest_first
            .flatten()
            .find(|gone| {
                let (start, len) = (gone.entry.addr, gone.entry.len);
                gone.entry.claim.dev == claim.dev && addr.wrapping_sub(start) < len
            })
            .copied()
    }

    fn remove(&mut self, index: usize, by: Site) {
        let Some(entry) = self.entries.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.vacant.push(index);
        if let Some(known) = self.known(entry.claim.dev) {
            let before = known.spans.len();
            known.spans.retain(|span| span.entry != index);
            let removed = before.saturating_sub(known.spans.len());
            self.spans = self.spans.saturating_sub(removed);
        }
        if let Some(slot) = self.gone.get_mut(self.next_gone) {
            *slot = Some(Gone { entry, by });
        }
        self.next_gone = self.next_gone.saturating_add(1) % REMEMBERED;
    }

    fn end<S: Sink<Report<D>>>(&mut self, claim: Claim<D>, sink: &mut S) {
        self.ended = true;
        self.devices = Vec::new();
        self.entries = Vec::new();
        self.vacant = Vec::new();
        self.spans = 0;
        sink.take(Report {
            violation: Violation::TrackingEnded,
            dev: Some(claim.dev),
            addr: None,
            len: 0,
            by: claim.by,
            mapped_by: None,
        });
    }
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

/// Returns how an ended mapping differs from the caller's statement at its end.
fn differences<D>(
    entry: &Entry<D>,
    claim: &Claim<D>,
    segments: u64,
    len: u64,
) -> [Option<Violation>; 4] {
    let is = &entry.claim;
    let kind = (is.kind != claim.kind).then_some(Violation::WrongKind { mapped: is.kind });
    let size = if entry.len != len {
        Some(Violation::WrongSize {
            mapped: entry.len,
            given: len,
        })
    } else if entry.segments != segments {
        Some(Violation::WrongSegments {
            mapped: entry.segments,
            given: segments,
        })
    } else {
        None
    };
    let direction = (is.direction != claim.direction).then_some(Violation::WrongDirection {
        mapped: is.direction,
        given: claim.direction,
    });
    let (mapped, given) = (is.attrs & COMPARED, claim.attrs & COMPARED);
    let attrs = (mapped != given).then_some(Violation::WrongAttributes { mapped, given });
    [kind, size, direction, attrs]
}

fn whole<D>(entry: &Entry<D>) -> DmaSegment {
    DmaSegment {
        addr: DmaAddr::new(entry.addr),
        len: entry.len,
    }
}

fn report<D: Copy>(
    violation: Violation,
    claim: &Claim<D>,
    segment: DmaSegment,
    mapped_by: Option<Site>,
) -> Report<D> {
    Report {
        violation,
        dev: Some(claim.dev),
        addr: Some(segment.addr),
        len: segment.len,
        by: claim.by,
        mapped_by,
    }
}
