//! The machine as a platform of the mapping layer.

use crate::backing::{Backing, Miss};
use crate::device::Device;
use crate::foreign::Foreign;
use crate::machine::{Mmap, Pages, Pinned, State, host_exhausted};
use crate::memory::{Object, Piece, View};
use crate::ram::FRAME;
use crate::store::Shared;
use crate::trace::Event;
use crate::user::User;
use vb3_dma::{
    Caching, Coherency, Constraint, DmaAddr, Error, Iova, Layout, PageRequest, PhysAddr, Prot,
    Protected, Reason, Segment, SegmentKind,
};

/// A CPU mapping: consecutive pieces of memory.
#[derive(Debug)]
pub struct Vmap {
    pieces: Vec<Piece>,
    len: u64,
}

impl Vmap {
    /// Bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }
}

impl State {
    /// Reads memory as the CPU does, through a mapping.
    pub(crate) fn cpu_read(&self, vmap: &Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        for_range(vmap, offset, out.len() as u64, |piece, from, to| {
            let object = self.memory.get(piece.object).ok_or(gone(piece.len))?;
            object
                .read(View::Cpu, piece.offset, &mut out[from..to])
                .map_err(missed)
        })
    }

    /// Writes memory as the CPU does, through a mapping.
    pub(crate) fn cpu_write(&mut self, vmap: &Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        for_range(vmap, offset, data.len() as u64, |piece, from, to| {
            let object = self.memory.get_mut(piece.object).ok_or(gone(piece.len))?;
            object
                .write(View::Cpu, piece.offset, &data[from..to])
                .map_err(missed)
        })
    }

    fn new_pages(&mut self, request: &PageRequest<Device>) -> Result<Object, Error> {
        let device = request.device.and_then(|dev| self.device(dev));
        let align = device.map_or(1, |device| {
            let whole = device.info.limits.block_align(request.len);
            device.align.max(whole)
        });
        let window = device.and_then(|device| device.window?.last());
        let seen = window.map_or(request.max_addr, |(last, _)| last.min(request.max_addr));
        let frames = self.ram.take(
            (request.len, request.granule),
            (request.layout, align),
            seen,
        )?;
        let stores = Shared::new(request.len)
            .and_then(|store| Ok((store, self.dram_for(request.caching, request.len)?)));
        match stores {
            Ok((store, dram)) => {
                let backing = Backing::Shared(store);
                let kind = SegmentKind::Pages;
                let shared = request.device.is_some();
                Ok(Object::new(
                    backing,
                    dram,
                    frames,
                    kind,
                    (0, request.len),
                    shared,
                ))
            }
            Err(_) => {
                self.ram.give(&frames);
                Err(host_exhausted(request.len))
            }
        }
    }

    /// Imports another driver's memory as pages of this machine; see
    /// [`Machine::import`](crate::Machine::import).
    pub(crate) fn import(&mut self, foreign: Foreign) -> Result<Pages, Error> {
        self.may_fail()?;
        let len = foreign.len_bytes();
        if len == 0 || len % FRAME != 0 {
            return Err(Error::Invalid);
        }
        // The driver's pages are the host's, which may be smaller.
        let page = self.profile.page_size;
        let size = len.checked_next_multiple_of(page).ok_or(Error::Invalid)?;
        let everywhere = PhysAddr::new(u64::MAX);
        let frames = self
            .ram
            .take((size, page), (Layout::Scattered, 1), everywhere)?;
        let dram = match self.dram_for(Caching::Cached, len) {
            Ok(dram) => dram,
            Err(_) => {
                self.ram.give(&frames);
                return Err(host_exhausted(len));
            }
        };
        let (backing, kind) = (Backing::Foreign(foreign), SegmentKind::Pages);
        let mut object = Object::new(backing, dram, frames, kind, (0, len), false);
        // Earlier writes have long left the caches.
        if let Err(miss) = object.clean(0, len) {
            self.ram.give(&object.frames);
            return Err(missed(miss));
        }
        let addr = object.segments.first().map_or(0, |s| s.addr.get());
        let runs = object.segments.len() as u64;
        let id = self.memory.insert(object);
        self.imported.insert(id);
        self.note(Event::Import { addr, len, runs });
        Ok(Pages { id })
    }

    /// Announces to exporters of imported memory that the accesses since the last call have ended.
    pub(crate) fn end_foreign_accesses(&self) {
        let objects = self.imported.iter().filter_map(|id| self.memory.get(*id));
        for object in objects {
            match &object.backing {
                Backing::Foreign(foreign) if foreign.is_begun() => foreign.end(),
                _ => {}
            }
        }
    }

    fn bounce_copy(&mut self, to: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error> {
        self.memory.copy(to, from, len).map_err(missed)
    }
}

impl State {
    pub(crate) fn alloc_pages(&mut self, request: PageRequest<Device>) -> Result<Pages, Error> {
        self.may_fail()?;
        let granule = request.granule;
        if !granule.is_power_of_two() || granule < self.profile.page_size {
            return Err(Error::Invalid);
        }
        if request.len == 0 || request.len % granule != 0 {
            return Err(Error::Invalid);
        }
        self.keep_promises(request.len)?;
        let object = self.new_pages(&request)?;
        let addr = object.segments.first().map_or(0, |s| s.addr.get());
        let runs = object.segments.len() as u64;
        let id = self.memory.insert(object);
        self.note(Event::Alloc {
            addr,
            len: request.len,
            runs,
        });
        Ok(Pages { id })
    }

    pub(crate) fn free_pages(&mut self, pages: Pages) {
        let Some(object) = self.memory.remove(pages.id) else {
            return;
        };
        self.imported.remove(&pages.id);
        self.release_promise(pages.id, &object);
        self.ram.give(&object.frames);
        let addr = object.segments.first().map_or(0, |s| s.addr.get());
        self.note(Event::Free {
            addr,
            len: object.len,
        });
        self.waste.take(object);
    }

    /// Claims a part of a device's own memory. Returns whether it is new, and therefore zero.
    pub(crate) fn claim_physical(&mut self, range: Segment) -> Result<bool, Error> {
        self.may_fail()?;
        if self.memory.locate(range.addr.get(), range.len).is_ok() {
            return Ok(false);
        }
        let store = Shared::new(range.len).map_err(|_| host_exhausted(range.len))?;
        let frames = vec![(range.addr.get() / FRAME, range.len / FRAME)];
        let kind = SegmentKind::Physical;
        let whole = (0, range.len);
        let object = Object::new(Backing::Shared(store), None, frames, kind, whole, true);
        let id = self.memory.insert(object);
        self.claimed.insert(range.addr.get(), id);
        let (addr, len, runs) = (range.addr.get(), range.len, 1);
        self.note(Event::Alloc { addr, len, runs });
        Ok(true)
    }

    pub(crate) fn release_physical(&mut self, range: Segment) {
        // The earlier content stays.
        if let Some(id) = self.claimed.remove(&range.addr.get()) {
            let object = self.memory.remove(id);
            let (addr, len) = (range.addr.get(), range.len);
            self.note(Event::Free { addr, len });
            object.into_iter().for_each(|it| self.waste.take(it));
        }
    }

    pub(crate) fn reserved_iova(&self, dev: Device, index: usize) -> Option<(Iova, Iova)> {
        let &(first, last) = self.device(dev)?.reserved.get(index)?;
        Some((Iova::new(first), Iova::new(last)))
    }

    pub(crate) fn bus_addr(&self, dev: Device, addr: PhysAddr) -> Option<DmaAddr> {
        match self.device(dev)?.window {
            None => Some(DmaAddr::new(addr.get())),
            Some(window) => window.bus_addr(addr),
        }
    }

    pub(crate) fn check_use(&self, dev: Device, memory: Segment) -> Result<(), Reason> {
        let Some(device) = self.device(dev) else {
            return Ok(());
        };
        let (demands, at) = (device.demands, memory.addr.get());
        let because = |constraint| {
            Err(Reason {
                constraint,
                wanted: 1,
                found: 0,
            })
        };
        let is_protected = self.ram.is_protected(at);
        if demands.protected == Protected::Only && !is_protected {
            return because(Constraint::Protected);
        }
        if demands.protected == Protected::Never && is_protected {
            return because(Constraint::Unprotected);
        }
        if demands.pages && memory.kind == SegmentKind::Physical {
            return because(Constraint::PagesBehind);
        }
        let snoops = device.info.coherency == Coherency::Coherent;
        if demands.coherent && !snoops && self.is_cached(at) {
            return because(Constraint::Coherent);
        }
        Ok(())
    }

    /// Returns whether the CPU caches this memory, so that non-snooping devices see other bytes.
    fn is_cached(&self, addr: u64) -> bool {
        let piece = self.memory.locate(addr, 1).ok();
        let object = piece.and_then(|piece| self.memory.get(piece.object));
        object.is_some_and(|object| object.is_split(View::Dram))
    }

    pub(crate) fn pin_user(
        &mut self,
        user: &User,
        addr: u64,
        len: u64,
        device_writes: bool,
    ) -> Result<Pinned, Error> {
        self.may_fail()?;
        let end = addr
            .checked_add(len)
            .filter(|_| len > 0)
            .ok_or(Error::Invalid)?;
        let found = user.probe(addr, len, device_writes);
        if found < len {
            let constraint = Constraint::UserPages;
            return Err(Error::BadUserMemory(Reason {
                constraint,
                wanted: len,
                found,
            }));
        }
        let page = self.profile.page_size;
        let head = addr & (page - 1);
        let base = addr - head;
        let size = end.checked_next_multiple_of(page).ok_or(Error::Invalid)? - base;
        let frames = self.ram.take(
            (size, page),
            (Layout::Scattered, 1),
            PhysAddr::new(u64::MAX),
        )?;
        let dram = match self.dram_for(Caching::Cached, size) {
            Ok(dram) => dram,
            Err(_) => {
                self.ram.give(&frames);
                return Err(host_exhausted(size));
            }
        };
        let user = user.pin(addr, len).unwrap_or_else(|| user.clone());
        let backing = Backing::User { user, base };
        let object = Object::new(
            backing,
            dram,
            frames,
            SegmentKind::Pages,
            (head, len),
            false,
        );
        let id = self.memory.insert(object);
        self.pins += 1;
        self.note(Event::Pin {
            user_addr: addr,
            len,
        });
        Ok(Pinned { id })
    }

    pub(crate) fn unpin_user(&mut self, pinned: Pinned, _dirty: bool) {
        let Some(object) = self.memory.remove(pinned.id) else {
            return;
        };
        self.ram.give(&object.frames);
        self.pins -= 1;
        if let Backing::User { base, .. } = object.backing {
            self.note(Event::Unpin {
                user_addr: base + object.head,
                len: object.len,
            });
        }
        self.waste.take(object);
    }

    /// Returns whether a pin still reaches the program's memory at `addr`. This is known only for
    /// followed memory; other memory is reached by address.
    pub(crate) fn pin_is_current(&self, pinned: &Pinned, user: &User, addr: u64) -> bool {
        self.memory
            .get(pinned.id)
            .is_some_and(|object| match &object.backing {
                Backing::User { user: known, base } => {
                    known.id() == user.id()
                        && base.checked_add(object.head) == Some(addr)
                        && known.is_where_it_was()
                }
                Backing::Shared(_) | Backing::Foreign(_) => false,
            })
    }

    pub(crate) fn cache_clean(&mut self, addr: PhysAddr, len: u64) {
        self.note(Event::Clean {
            addr: addr.get(),
            len,
        });
        if self.memory.clean(addr, len).is_err() {
            self.lost += 1;
        }
    }

    pub(crate) fn cache_invalidate(&mut self, addr: PhysAddr, len: u64) {
        self.note(Event::Invalidate {
            addr: addr.get(),
            len,
        });
        if self.memory.invalidate(addr, len).is_err() {
            self.lost += 1;
        }
    }

    pub(crate) fn is_private(&self, _dev: Device, segment: Segment) -> bool {
        self.profile.private_memory
            && self
                .memory
                .locate(segment.addr.get(), segment.len)
                .ok()
                .and_then(|piece| self.memory.get(piece.object))
                .is_none_or(|object| !object.shared)
    }

    pub(crate) fn iommu_map(
        &mut self,
        dev: Device,
        iova: Iova,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        self.may_fail()?;
        let (iommu, mut mem) = self.iommu_parts(dev).ok_or(Error::Unsupported)?;
        iommu.map(&mut mem, iova, phys, len, prot)?;
        self.note(Event::IommuMap {
            dev: dev.0,
            iova: iova.get(),
            addr: phys.get(),
            len,
        });
        Ok(())
    }

    pub(crate) fn iommu_unmap(&mut self, dev: Device, iova: Iova, len: u64) -> Result<(), Error> {
        let (iommu, mut mem) = self.iommu_parts(dev).ok_or(Error::Unsupported)?;
        iommu.unmap(&mut mem, iova, len)?;
        self.note(Event::IommuUnmap {
            dev: dev.0,
            iova: iova.get(),
            len,
        });
        Ok(())
    }

    pub(crate) fn iommu_flush(&mut self, dev: Device) {
        if let Some((iommu, mut mem)) = self.iommu_parts(dev) {
            iommu.flush(&mut mem);
        }
        self.note(Event::IommuFlush { dev: dev.0 });
    }

    pub(crate) fn bounce_in(
        &mut self,
        slot: PhysAddr,
        from: PhysAddr,
        len: u64,
    ) -> Result<(), Error> {
        self.may_fail()?;
        self.bounce_copy(slot, from, len)?;
        self.note(Event::BounceIn {
            slot: slot.get(),
            addr: from.get(),
            len,
        });
        Ok(())
    }

    pub(crate) fn bounce_out(
        &mut self,
        slot: PhysAddr,
        to: PhysAddr,
        len: u64,
    ) -> Result<(), Error> {
        // Fault injection does not make this copy fail: no caller could be notified, and a failed
        // copy loses data.
        if let Err(err) = self.bounce_copy(to, slot, len) {
            self.lost += 1;
            return Err(err);
        }
        self.note(Event::BounceOut {
            slot: slot.get(),
            addr: to.get(),
            len,
        });
        Ok(())
    }

    pub(crate) fn bounce_zero(&mut self, slot: PhysAddr, len: u64) {
        if self.memory.zero(slot, len).is_ok() {
            // What devices see of it must be zero, too.
            let _ = self.memory.clean(slot, len);
        }
    }

    pub(crate) fn vmap(&mut self, segments: &[Segment], _caching: Caching) -> Result<Vmap, Error> {
        self.may_fail()?;
        let (pieces, len) = match self.whole_object(segments) {
            Some(piece) => (vec![piece], piece.len),
            None => self.pieces_of(segments)?,
        };
        self.vmaps += 1;
        Ok(Vmap { pieces, len })
    }

    /// Returns the single piece of memory runs that begin like one object's runs, the usual case, with
    /// one lookup. `None` for others, and for memory that the CPU does not see.
    fn whole_object(&self, segments: &[Segment]) -> Option<Piece> {
        let (last, before) = segments.split_last()?;
        let first = segments.first()?.addr.get();
        let id = self.memory.locate(first, 1).ok()?.object;
        let object = self.memory.get(id)?;
        let (known, rest) = object.segments.split_at_checked(before.len())?;
        let end = rest.first().filter(|end| end.addr == last.addr)?;
        if known != before || last.len > end.len || self.ram.is_protected(first) {
            return None;
        }
        let lens = segments.iter().map(|segment| segment.len);
        Some(Piece {
            object: id,
            offset: object.head,
            len: lens.sum(),
        })
    }

    /// Returns the pieces of memory runs, adjacent ones joined, and their bytes.
    fn pieces_of(&self, segments: &[Segment]) -> Result<(Vec<Piece>, u64), Error> {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut total, mut before) = (0u64, None);
        for segment in segments {
            if self.ram.is_protected(segment.addr.get()) {
                return Err(Error::NoSuchMemory(Reason {
                    constraint: Constraint::Unprotected,
                    wanted: 1,
                    found: 0,
                }));
            }
            let mut done = 0;
            while done < segment.len {
                let at = segment.addr.checked_add(done).ok_or(Error::Invalid)?;
                let found = self
                    .memory
                    .find(at.get(), segment.len - done, before.as_ref())
                    .map_err(missed)?;
                let piece = found.piece;
                before = Some(found);
                done += piece.len;
                match pieces.last_mut() {
                    Some(last)
                        if last.object == piece.object
                            && last.offset + last.len == piece.offset =>
                    {
                        last.len += piece.len;
                    }
                    _ => pieces.push(piece),
                }
            }
            total = total.checked_add(segment.len).ok_or(Error::Invalid)?;
        }
        Ok((pieces, total))
    }

    pub(crate) fn vunmap(&mut self, vmap: Vmap) {
        drop(vmap);
        self.vmaps -= 1;
    }

    pub(crate) fn mmap_physical(&mut self, range: Segment) -> Result<Mmap, Error> {
        self.may_fail()?;
        let piece = self
            .memory
            .locate(range.addr.get(), range.len)
            .map_err(missed)?;
        if piece.len < range.len {
            return Err(gone(range.len));
        }
        match self.memory.get(piece.object).map(|object| &object.backing) {
            Some(Backing::Shared(store)) => {
                let fd = store.fd().try_clone_to_owned();
                let fd = fd.map_err(|_| host_exhausted(range.len))?;
                Ok(Mmap {
                    fd,
                    offset: piece.offset,
                    len: range.len,
                })
            }
            Some(Backing::User { .. } | Backing::Foreign(_)) | None => Err(gone(range.len)),
        }
    }

    pub(crate) fn mmap(&mut self, pages: &Pages, offset: u64, len: u64) -> Result<Mmap, Error> {
        self.may_fail()?;
        let frames = self.memory.get(pages.id).map(|object| &object.frames);
        let first = frames.and_then(|frames| frames.first());
        if first.is_some_and(|&(first, _)| self.ram.is_protected(first * FRAME)) {
            return Err(Error::Invalid);
        }
        let fd = self.pages_fd(pages).ok_or(gone(len))?;
        let fd = fd.try_clone_to_owned().map_err(|_| host_exhausted(len))?;
        Ok(Mmap { fd, offset, len })
    }
}

/// Calls `act` for each piece of a range of a mapping, with the part of the piece and its offset in the
/// range.
fn for_range(
    vmap: &Vmap,
    offset: u64,
    len: u64,
    mut act: impl FnMut(Piece, usize, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let end = offset
        .checked_add(len)
        .filter(|&end| end <= vmap.len)
        .ok_or(gone(len))?;
    let mut start = 0u64;
    for piece in &vmap.pieces {
        let (from, to) = (start.max(offset), (start + piece.len).min(end));
        if from < to {
            let part = Piece {
                offset: piece.offset + (from - start),
                len: to - from,
                ..*piece
            };
            act(part, (from - offset) as usize, (to - offset) as usize)?;
        }
        start += piece.len;
        if start >= end {
            break;
        }
    }
    Ok(())
}

fn gone(wanted: u64) -> Error {
    Error::NoSuchMemory(Reason {
        constraint: Constraint::BufferSize,
        wanted,
        found: 0,
    })
}

fn missed(miss: Miss) -> Error {
    match miss {
        Miss::Nothing(addr) => Error::NoSuchMemory(Reason {
            constraint: Constraint::PagesBehind,
            wanted: addr,
            found: 0,
        }),
        Miss::User(fault) => Error::BadUserMemory(Reason {
            constraint: Constraint::UserPages,
            wanted: fault.addr,
            found: 0,
        }),
    }
}

#[cfg(test)]
mod tests;
