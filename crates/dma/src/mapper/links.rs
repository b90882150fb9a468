//! Linked mappings: reserve a range of addresses, link pieces of memory into it one by one, sync
//! once, and use the range as one run.
//!
//! Source: Linux 7.2 `dma_iova_try_alloc`, `_link`, `_sync`, `_unlink`, `_free`; differs: the range
//! records what is reserved and linked. Every failure therefore releases all of it, and freeing a
//! range unlinks its pieces.

use super::bounce::{Bounced, Plan};
use super::iommu::prot;
use super::list::List;
use super::{At, IovaRange, Mapper, granule_reason, round_up};
use crate::iova::IovaAlign;
use crate::{
    Attrs, Coherency, Constraint, DeviceInfo, Direction, DmaAddr, Error, Iova, Locks, PhysAddr,
    Platform, Segment, SegmentKind, SyncFor,
};
use alloc::vec::Vec;

/// A reserved range of addresses, and the memory linked into it.
///
/// Must be freed with [`Mapper::free_links`].
#[derive(Debug)]
#[must_use = "goes back through Mapper::free_links"]
pub struct Links<P: Platform> {
    owner: usize,
    at: At<P::Device>,
    range: IovaRange,
    /// Offset of the first byte in its granule.
    head: u64,
    len: u64,
    /// Sorted by place, without overlaps.
    pieces: Vec<Piece>,
    /// Bytes of the range that were linked but not yet synced.
    unsynced: Option<(u64, u64)>,
    /// Whether a view could not be removed. The addresses are then never reused.
    stuck: bool,
}

/// One linked piece of memory. Places count from the first granule of the range.
#[derive(Debug)]
struct Piece {
    /// The first granule.
    base: u64,
    /// Bytes of granules.
    mapped: u64,
    len: u64,
    memory: Segment,
    direction: Direction,
    attrs: Attrs,
    /// Parts of it that are mapped through the bounce pool.
    bounced: Vec<Bounced>,
    direct: Option<Segment>,
}

impl<P: Platform> Links<P> {
    /// Returns the address of the first byte.
    #[must_use]
    pub fn addr(&self) -> DmaAddr {
        DmaAddr::new(self.range.base.saturating_add(self.head))
    }

    /// Returns the number of bytes reserved.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Returns the number of bytes linked.
    #[must_use]
    pub fn linked_bytes(&self) -> u64 {
        self.pieces
            .iter()
            .fold(0, |sum, p| sum.saturating_add(p.len))
    }

    /// Returns the device that the range was reserved for.
    #[must_use]
    pub fn device(&self) -> P::Device {
        self.at.dev
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Reserves `len` bytes of addresses for `dev`. `first` is the memory that will be linked at
    /// the start; its offset in a granule is kept.
    ///
    /// # Errors
    /// * `Unsupported` (EOPNOTSUPP) for a device without IOMMU.
    /// * `Invalid` for length zero or overflow.
    /// * `NoMemory` with `IovaSpace`.
    pub fn reserve_links(
        &self,
        dev: P::Device,
        first: PhysAddr,
        len: u64,
    ) -> Result<Links<P>, Error> {
        let info = self.device_info(dev)?;
        let iommu = info.iommu.ok_or(Error::Unsupported)?;
        let granule = iommu.granule().ok_or(Error::Invalid)?;
        if len == 0 {
            return Err(Error::Invalid);
        }
        let head = first.get() & (granule - 1);
        let total = head
            .checked_add(len)
            .and_then(|n| round_up(n, granule))
            .ok_or(Error::Invalid)?;
        let at = self.at(dev)?;
        let take = || self.take_iova(at, &info, total, IovaAlign::Preferred);
        let range = self.holding(at, |live| &mut live.links, take)?;
        Ok(Links {
            owner: self.id,
            at,
            range,
            head,
            len,
            pieces: Vec::new(),
            unsynced: None,
            stuck: false,
        })
    }

    /// Links `memory` at `offset` bytes from the start. The device sees it after
    /// [`sync_links`](Self::sync_links).
    ///
    /// # Errors
    /// * `Unmappable` (EIO) with `Alignment`, or with `IommuGranule` if the granule is larger than
    ///   a page. A later piece does not begin on a granule, or its offset in a granule differs from
    ///   that of its place. Also `IommuGranule` if memory shares a granule with other pages and
    ///   nothing may bounce.
    /// * `Invalid`: the piece is outside the range, or overlaps a linked one.
    /// * `Forbidden` (EPERM): part of it would have to bounce, and `attrs` has `MMIO`,
    ///   `REQUIRE_COHERENT` or `NO_BOUNCE`.
    /// * `Unsupported` (EOPNOTSUPP): `REQUIRE_COHERENT` for a device that is not coherent.
    /// * `NoMemory`, `Unmappable`: tables or slots ran out.
    ///
    /// Pieces that were linked before stay linked.
    pub fn link(
        &self,
        links: &mut Links<P>,
        offset: u64,
        memory: Segment,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<(), Error> {
        if !self.is_own(links.owner) || links.stuck {
            return Err(Error::Invalid);
        }
        let info = self.device_info(links.at.dev)?;
        let mut memory = memory;
        if attrs.contains(Attrs::MMIO) {
            memory.kind = SegmentKind::Physical;
        }
        let page = self.platform.page_size();
        let (base, mapped, place) = place_of(links, offset, memory, page)?;
        let needs_sync =
            memory.kind == SegmentKind::Pages && info.coherency == Coherency::NonCoherent;
        if needs_sync && attrs.contains(Attrs::REQUIRE_COHERENT) {
            return Err(Error::Unsupported);
        }
        links
            .pieces
            .try_reserve(1)
            .map_err(|_| super::heap_exhausted(size_of::<Piece>()))?;
        let mut piece = Piece {
            base,
            mapped,
            len: memory.len,
            memory,
            direction,
            attrs,
            bounced: Vec::new(),
            direct: None,
        };
        self.map_piece(links, &info, &mut piece)?;
        links.pieces.insert(place, piece);
        let (from, to) = links.unsynced.unwrap_or((base, base));
        links.unsynced = Some((from.min(base), to.max(base.saturating_add(mapped))));
        Ok(())
    }

    fn map_piece(
        &self,
        links: &mut Links<P>,
        info: &DeviceInfo,
        piece: &mut Piece,
    ) -> Result<(), Error> {
        let at = links.at;
        let (mut direct, mut bounced) = (List::new(), Vec::new());
        let granule = links.range.granule;
        let mut plan = Plan::new(&mut direct, &mut bounced).keeping_offsets(granule);
        match self.plan(at.dev, info, (&[piece.memory], 1), piece.attrs, &mut plan) {
            Err(Error::Unmappable(reason)) if reason.constraint == Constraint::NoBounce => {
                return Err(Error::Forbidden(reason));
            }
            other => other?,
        }
        let mut next = piece.base;
        let first = links.range.base.saturating_add(piece.base);
        let mut result = Ok(());
        for target in plan.targets() {
            let offset = target.addr.get() & (granule - 1);
            let base = PhysAddr::new(target.addr.get() - offset);
            let Some(len) = offset
                .checked_add(target.len)
                .and_then(|n| round_up(n, granule))
            else {
                result = Err(Error::Invalid);
                break;
            };
            let iova = Iova::new(links.range.base.saturating_add(next));
            let prot = prot(piece.direction, info.coherency, target.kind);
            result = self.platform.iommu_map(at.group, iova, base, len, prot);
            if result.is_err() {
                break;
            }
            next = next.saturating_add(len);
        }
        piece.direct = direct.first().copied();
        piece.bounced = bounced;
        if result.is_ok() {
            result = self.fill_piece(info, at.slot, piece);
        }
        if result.is_err() {
            let done = next.saturating_sub(piece.base);
            // A piece that cannot be removed keeps its place and its copy until the links are
            // freed.
            if self.remove_now(at, (first, done)).is_ok() {
                self.release_slots(&core::mem::take(&mut piece.bounced));
            } else {
                self.set_stuck(direct_of(piece), granule);
                links.stuck = true;
            }
        }
        result
    }

    /// The first hand-over of a piece.
    fn fill_piece(&self, info: &DeviceInfo, slot: usize, piece: &Piece) -> Result<(), Error> {
        for run in piece.bounced.iter() {
            self.copy_run(slot, run, SyncFor::Device)?;
        }
        if info.coherency == Coherency::NonCoherent && !piece.attrs.contains(Attrs::SKIP_CPU_SYNC) {
            if let Some(direct) = piece.direct.filter(|d| d.kind == SegmentKind::Pages) {
                self.platform.cache_clean(direct.addr, direct.len);
            }
        }
        Ok(())
    }

    /// Makes all linked pieces visible to the device. Called once, after the last `link`.
    ///
    /// # Errors
    /// The hardware's error. The pieces stay linked and may be synced again.
    pub fn sync_links(&self, links: &mut Links<P>) -> Result<(), Error> {
        if !self.is_own(links.owner) {
            return Err(Error::Invalid);
        }
        let Some((from, to)) = links.unsynced else {
            return Ok(());
        };
        let iova = Iova::new(links.range.base.saturating_add(from));
        self.platform
            .iommu_map_done(links.at.group, iova, to.saturating_sub(from))?;
        links.unsynced = None;
        Ok(())
    }

    /// Unlinks the pieces that lie in `len` bytes from `offset`. The addresses stay reserved.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) if the bytes are outside the range, or contain only part of a piece. An
    /// error changes nothing.
    pub fn unlink(&self, links: &mut Links<P>, offset: u64, len: u64) -> Result<(), Error> {
        if !self.is_own(links.owner) {
            return Err(Error::Invalid);
        }
        let end = offset
            .checked_add(len)
            .filter(|&end| len > 0 && end <= links.len)
            .ok_or(Error::Invalid)?;
        let head = links.head;
        let start_of = |p: &Piece| {
            let inside = p.memory.addr.get() & (links.range.granule - 1);
            p.base.saturating_add(inside).saturating_sub(head)
        };
        let first = links.pieces.partition_point(|p| start_of(p) < offset);
        let count = links
            .pieces
            .iter()
            .skip(first)
            .take_while(|p| start_of(p) < end)
            .count();
        let cut_before = first
            .checked_sub(1)
            .and_then(|i| links.pieces.get(i))
            .is_some_and(|p| start_of(p).saturating_add(p.len) > offset);
        let stop = first.saturating_add(count);
        let cut_behind = stop
            .checked_sub(1)
            .and_then(|i| links.pieces.get(i))
            .is_some_and(|p| start_of(p).saturating_add(p.len) > end);
        if cut_before || cut_behind {
            return Err(Error::Invalid);
        }
        self.drop_pieces(links, first, stop);
        Ok(())
    }

    /// Removes the view of some pieces, then copies out bounced data. If a view cannot be removed,
    /// its slots stay taken.
    fn drop_pieces(&self, links: &mut Links<P>, first: usize, stop: usize) {
        let at = links.at;
        let Some(pieces) = links.pieces.get(first..stop) else {
            return;
        };
        if pieces.is_empty() {
            return;
        }
        let mut is_gone = true;
        for piece in pieces {
            let iova = Iova::new(links.range.base.saturating_add(piece.base));
            let removed = self.platform.iommu_unmap(at.group, iova, piece.mapped);
            is_gone &= removed.is_ok();
        }
        // The addresses can be linked again, so this flush cannot wait.
        self.platform.iommu_flush(at.group);
        links.stuck |= !is_gone;
        let coherency = self.platform.device_info(at.dev).map(|info| info.coherency);
        for piece in links.pieces.drain(first..stop) {
            let reads =
                piece.direction.device_writes() && !piece.attrs.contains(Attrs::SKIP_CPU_SYNC);
            if reads {
                for run in piece.bounced.iter() {
                    // No caller can receive the error; the platform counts lost bytes.
                    let _ = self.copy_run(at.slot, run, SyncFor::Cpu);
                }
                let direct = piece.direct.filter(|d| d.kind == SegmentKind::Pages);
                if let (Some(direct), Some(Coherency::NonCoherent)) = (direct, coherency) {
                    self.platform.cache_invalidate(direct.addr, direct.len);
                }
            }
            if is_gone {
                self.release_slots(&piece.bounced);
            } else {
                self.set_stuck(direct_of(&piece), links.range.granule);
            }
        }
    }

    /// Unlinks the remaining pieces and frees the addresses.
    pub fn free_links(&self, links: Links<P>) {
        if !self.is_own(links.owner) {
            return;
        }
        let mut links = links;
        let all = links.pieces.len();
        self.drop_pieces(&mut links, 0, all);
        // Frees the reserved length, not just the linked length.
        if links.stuck {
            self.quarantine(links.at, links.range);
        } else {
            self.give_iova(links.at, links.range);
        }
        self.with_slot(links.at.slot, |state| {
            state.live.links = state.live.links.saturating_sub(1);
        });
    }

    /// Maps `ranges` for `dev` as one run: reserves, links each at its own offset, and syncs.
    ///
    /// # Errors
    /// As [`reserve_links`](Self::reserve_links), [`link`](Self::link) and
    /// [`sync_links`](Self::sync_links). Nothing is held afterwards.
    pub fn link_all(
        &self,
        dev: P::Device,
        ranges: &[Segment],
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Links<P>, Error> {
        let len = super::total_len(ranges)?;
        let first = ranges.first().ok_or(Error::Invalid)?.addr;
        let mut links = self.reserve_links(dev, first, len)?;
        let mut offset = 0u64;
        let mut result = Ok(());
        for &range in ranges {
            result = self.link(&mut links, offset, range, direction, attrs);
            if result.is_err() {
                break;
            }
            offset = offset.saturating_add(range.len);
        }
        if result.is_ok() {
            result = self.sync_links(&mut links);
        }
        match result {
            Ok(()) => Ok(links),
            Err(err) => {
                self.free_links(links);
                Err(err)
            }
        }
    }
}

/// Returns the part of the memory that the device reaches directly.
fn direct_of(piece: &Piece) -> &[Segment] {
    piece.direct.as_slice()
}

/// Returns the granules for `memory` at `offset`, and its index among the pieces.
fn place_of<P: Platform>(
    links: &Links<P>,
    offset: u64,
    memory: Segment,
    page: u64,
) -> Result<(u64, u64, usize), Error> {
    let granule = links.range.granule;
    let end = offset
        .checked_add(memory.len)
        .filter(|&end| memory.len > 0 && end <= links.len)
        .ok_or(Error::Invalid)?;
    if memory.addr.checked_add(memory.len - 1).is_none() {
        return Err(Error::Invalid);
    }
    let inside = memory.addr.get() & (granule - 1);
    let start = links.head.checked_add(offset).ok_or(Error::Invalid)?;
    if start & (granule - 1) != inside || (offset > 0 && inside != 0) {
        let found = if inside != 0 {
            inside
        } else {
            start & (granule - 1)
        };
        return Err(Error::Unmappable(granule_reason(granule, page, found)));
    }
    let base = start - inside;
    let stop = links
        .head
        .checked_add(end)
        .and_then(|n| round_up(n, granule))
        .ok_or(Error::Invalid)?;
    let place = links.pieces.partition_point(|p| p.base < base);
    let before = place.checked_sub(1).and_then(|i| links.pieces.get(i));
    let overlaps = before.is_some_and(|p| p.base.saturating_add(p.mapped) > base)
        || links.pieces.get(place).is_some_and(|p| p.base < stop);
    if overlaps {
        return Err(Error::Invalid);
    }
    Ok((base, stop - base, place))
}
