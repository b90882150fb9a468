//! Implements the platform of the mapping layer (`vb3-dma`) with the machine.

use crate::backing::{Backing, Miss};
use crate::device::Device;
use crate::foreign::Foreign;
use crate::front::Machine;
use crate::machine::{Mmap, Pages, Pinned, State};
use crate::memory::{Object, Piece, View};
use crate::ram::FRAME;
use crate::store::Shared;
use crate::trace::Event;
use crate::user::User;
use vb3_dma::{
    Caching, Coherency, Constraint, DeviceInfo, DmaAddr, Error, PageRequest, PhysAddr, Platform,
    Prot, Protected, Reason, Segment, SegmentKind,
};

/// A CPU mapping: consecutive pieces of memory.
#[derive(Debug)]
pub struct Vmap {
    pieces: Vec<Piece>,
    len: u64,
}

impl Machine {
    /// Imports another driver's memory as pages of this machine.
    ///
    /// The real addresses are unknown, so the pages get free addresses of the machine's RAM. These are
    /// scattered if the profile scatters pages. Free the pages with `free_pages`, which also ends this
    /// process's mapping.
    ///
    /// # Errors
    /// `Invalid` if the length is 0 or not a multiple of 4 KiB; `NoMemory` if the machine has too little free
    /// RAM, or if this process cannot allocate memory; `NoSuchMemory` if the exporter has no pages for
    /// `foreign`.
    pub fn import(&mut self, foreign: Foreign) -> Result<Pages, Error> {
        let state = self.state.get_mut();
        state.may_fail()?;
        let len = foreign.len_bytes();
        if len == 0 || len % FRAME != 0 {
            return Err(Error::Invalid);
        }
        // The driver's memory consists of the host's pages, which may be smaller than this machine's.
        let page = state.profile.page_size;
        let size = len.checked_next_multiple_of(page).ok_or(Error::Invalid)?;
        let mut object = state.place_foreign(Backing::Foreign(foreign), size, (0, len))?;
        // Copies the bytes to the devices' store, if there is one, as if the CPU had written its caches back.
        if let Err(miss) = object.clean(0, len) {
            state.ram.give(&object.frames);
            return Err(missed(miss));
        }
        let (addr, runs) = (object.first_addr(), object.segments.len() as u64);
        let id = state.memory.insert(object);
        state.imported.insert(id);
        state.note(Event::Import { addr, len, runs });
        Ok(Pages { id })
    }

    /// Announces to the exporters of imported memory that all accesses since the last call have ended. Call
    /// this after each step of the devices' work.
    pub fn end_foreign_accesses(&self) {
        let state = self.state.borrow();
        let objects = state.imported.iter().filter_map(|id| state.memory.get(*id));
        for object in objects {
            if let Backing::Foreign(foreign) = &object.backing {
                foreign.end();
            }
        }
    }
}

impl Platform for Machine {
    type Device = Device;
    type Pages = Pages;

    fn page_size(&self) -> u64 {
        self.profile.page_size
    }

    fn device_info(&self, dev: Device) -> Option<DeviceInfo> {
        self.state.borrow().device(dev).map(|device| device.info)
    }

    fn alloc_pages(&self, request: PageRequest<Device>) -> Result<Pages, Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        let granule = request.granule;
        let is_valid = granule.is_power_of_two() && granule >= state.profile.page_size;
        if !is_valid || request.len == 0 || request.len % granule != 0 {
            return Err(Error::Invalid);
        }
        state.ram.check_free(request.len)?;
        let device = request.device.and_then(|dev| state.device(dev));
        let align = device.map_or(1, |device| {
            let whole = device.info.limits.block_align(request.len);
            device.align.max(whole)
        });
        let size = (request.len, granule);
        let wanted = (request.contiguous, align);
        let frames = state.ram.take(size, wanted, request.max_addr)?;
        let memory = (SegmentKind::Pages, request.caching);
        let shared = request.device.is_some();
        let object = state.object_at(frames, memory, request.len, shared)?;
        Ok(state.insert_new(object))
    }

    fn free_pages(&self, pages: Pages) {
        let state = &mut *self.state.borrow_mut();
        let Some(object) = state.memory.remove(pages.id) else {
            return;
        };
        state.imported.remove(&pages.id);
        if object.movable && object.frames.is_empty() {
            state.ram.promised -= object.len;
        }
        state.ram.give(&object.frames);
        let (addr, len) = (object.first_addr(), object.len);
        state.note(Event::Free { addr, len });
        state.freeing.free(object);
    }

    fn pages_segment(&self, pages: &Pages, index: usize) -> Option<Segment> {
        self.state.borrow().memory.segment(pages.id, index)
    }

    fn ram_bytes(&self) -> u64 {
        self.state.borrow().ram.bytes
    }

    fn unmapped_granule(&self) -> u64 {
        self.profile.granule()
    }

    fn bus_addr(&self, dev: Device, addr: PhysAddr, len: u64) -> Option<DmaAddr> {
        match self.state.borrow().device(dev)?.window {
            None => Some(DmaAddr::new(addr.get())),
            Some(window) => window.bus_addr(addr, len),
        }
    }

    fn phys_limit(&self, dev: Device, mask: u64) -> PhysAddr {
        // The mask covers the whole window, as `add_device` checks.
        let window = self.bus_window(dev);
        let last = window.and_then(|window| window.last());
        last.map_or(PhysAddr::new(mask), |(last, _)| last)
    }

    fn min_address_align(&self, dev: Device) -> u64 {
        let state = self.state.borrow();
        state.device(dev).map_or(1, |device| device.align)
    }

    fn check_use(&self, dev: Device, memory: Segment) -> Result<(), Reason> {
        let state = self.state.borrow();
        let Some(device) = state.device(dev) else {
            return Ok(());
        };
        let (demands, at) = (device.demands, memory.addr.get());
        let because = |constraint| Err(Reason::new(constraint, 1, 0));
        let is_protected = state.ram.is_protected(at);
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
        // If the CPU caches memory, non-snooping devices may see stale bytes.
        let is_cached = |object: &Object| object.is_split(View::Dram);
        if demands.coherent && !snoops && state.memory.object_at(at).is_some_and(is_cached) {
            return because(Constraint::Coherent);
        }
        Ok(())
    }

    fn cache_clean(&self, addr: PhysAddr, len: u64) {
        let state = &mut *self.state.borrow_mut();
        // Memory of a program that is gone has nothing to sync.
        let _ = state.memory.clean(addr, len);
        let addr = addr.get();
        state.note(Event::Clean { addr, len });
    }

    fn cache_invalidate(&self, addr: PhysAddr, len: u64) {
        let state = &mut *self.state.borrow_mut();
        let _ = state.memory.invalidate(addr, len);
        let addr = addr.get();
        state.note(Event::Invalidate { addr, len });
    }

    fn iommu_map(
        &self,
        dev: Device,
        iova: DmaAddr,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        let (iommu, ram) = state.iommu_parts(dev).ok_or(Error::Unsupported)?;
        iommu.table.map(ram, iova, phys, len, prot)?;
        state.note(Event::IommuMap {
            dev: dev.0,
            iova: iova.get(),
            addr: phys.get(),
            len,
        });
        Ok(())
    }

    fn iommu_unmap(&self, dev: Device, iova: DmaAddr, len: u64) -> Result<(), Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail_unmap()?;
        let (iommu, ram) = state.iommu_parts(dev).ok_or(Error::Unsupported)?;
        iommu.unmap(ram, iova, len)?;
        let (dev, iova) = (dev.0, iova.get());
        state.note(Event::IommuUnmap { dev, iova, len });
        Ok(())
    }

    fn iommu_flush(&self, dev: Device) -> Result<(), Error> {
        let state = &mut *self.state.borrow_mut();
        if let Some((iommu, ram)) = state.iommu_parts(dev) {
            iommu.flush(ram);
        }
        state.note(Event::IommuFlush { dev: dev.0 });
        Ok(())
    }

    fn reserved_iova(&self, dev: Device, index: usize) -> Option<(DmaAddr, DmaAddr)> {
        let &(first, last) = self.state.borrow().device(dev)?.reserved.get(index)?;
        Some((DmaAddr::new(first), DmaAddr::new(last)))
    }

    fn is_untrusted(&self, _dev: Device) -> bool {
        self.profile.untrusted
    }

    fn bounce_pool(&self) -> Option<Segment> {
        self.state.borrow().bounce
    }

    fn is_private(&self, _dev: Device, segment: Segment) -> bool {
        let state = self.state.borrow();
        let object = state.memory.object_at(segment.addr.get());
        state.profile.private_memory && object.is_none_or(|object| !object.shared)
    }

    fn bounce_in(&self, slot: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        state.memory.copy(slot, from, len).map_err(missed)?;
        let (slot, addr) = (slot.get(), from.get());
        state.note(Event::BounceIn { slot, addr, len });
        Ok(())
    }

    fn bounce_out(&self, slot: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error> {
        let state = &mut *self.state.borrow_mut();
        // Fault injection does not make this copy fail: no caller could be notified, and a failed
        // copy loses data.
        state.memory.copy(to, slot, len).map_err(missed)?;
        let (slot, addr) = (slot.get(), to.get());
        state.note(Event::BounceOut { slot, addr, len });
        Ok(())
    }

    fn bounce_zero(&self, slot: PhysAddr, len: u64) {
        let state = &mut *self.state.borrow_mut();
        if state.memory.zero(slot, len).is_ok() {
            // The devices' view of the slot must be zero, too.
            let _ = state.memory.clean(slot, len);
        }
    }

    type User = User;
    type Pinned = Pinned;

    fn pin_user(
        &self,
        user: &User,
        addr: u64,
        len: u64,
        device_writes: bool,
    ) -> Result<Pinned, Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        let end = addr
            .checked_add(len)
            .filter(|_| len > 0)
            .ok_or(Error::Invalid)?;
        let found = user.probe(addr, len, device_writes);
        if found < len {
            let constraint = Constraint::UserPages;
            return Err(Error::BadUserMemory(Reason::new(constraint, len, found)));
        }
        let page = state.profile.page_size;
        let head = addr & (page - 1);
        let base = addr - head;
        let size = end.checked_next_multiple_of(page).ok_or(Error::Invalid)? - base;
        let user = user.pin(addr, len).unwrap_or_else(|| user.clone());
        let object = state.place_foreign(Backing::User { user, base }, size, (head, len))?;
        let id = state.memory.insert(object);
        state.note(Event::Pin {
            user_addr: addr,
            len,
        });
        Ok(Pinned { id })
    }

    fn unpin_user(&self, pinned: Pinned, _dirty: bool) {
        let state = &mut *self.state.borrow_mut();
        let Some(object) = state.memory.remove(pinned.id) else {
            return;
        };
        state.ram.give(&object.frames);
        if let Backing::User { base, .. } = object.backing {
            state.note(Event::Unpin {
                user_addr: base + object.head,
                len: object.len,
            });
        }
        state.freeing.free(object);
    }

    fn pinned_segment(&self, pinned: &Pinned, index: usize) -> Option<Segment> {
        self.state.borrow().memory.segment(pinned.id, index)
    }

    fn pin_is_current(&self, pinned: &Pinned, user: &User, addr: u64) -> bool {
        let state = self.state.borrow();
        let object = state.memory.get(pinned.id);
        let backing = object.map(|object| (&object.backing, object.head));
        let Some((Backing::User { user: known, base }, head)) = backing else {
            return false;
        };
        known.id() == user.id() && base.checked_add(head) == Some(addr) && known.is_where_it_was()
    }

    type Vmap = Vmap;
    type Mmap = Mmap;

    fn vmap(&self, segments: &[Segment], _caching: Caching) -> Result<Vmap, Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        let (pieces, len) = match state.whole_object(segments) {
            Some(piece) => (vec![piece], piece.len),
            None => state.pieces_of(segments)?,
        };
        state.vmaps += 1;
        Ok(Vmap { pieces, len })
    }

    fn vunmap(&self, vmap: Vmap) {
        drop(vmap);
        self.state.borrow_mut().vmaps -= 1;
    }

    fn mmap(&self, pages: &Pages, offset: u64, len: u64) -> Result<Mmap, Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        let object = state.memory.get(pages.id);
        if object.is_some_and(|object| state.ram.is_protected(object.first_addr())) {
            return Err(Error::Invalid);
        }
        state.map_file(pages.id, offset, len)
    }

    fn mmap_physical(&self, range: Segment) -> Result<Mmap, Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        let piece = state.memory.locate(range.addr.get(), range.len);
        let piece = piece.map_err(missed)?;
        if piece.len < range.len {
            return Err(gone(range.len));
        }
        state.map_file(piece.object, piece.offset, range.len)
    }

    fn release_physical(&self, range: Segment) {
        let state = &mut *self.state.borrow_mut();
        // Frees the memory only if `claim_physical` made it.
        if let Some(id) = state.claimed.remove(&range.addr.get()) {
            let object = state.memory.remove(id);
            let (addr, len) = (range.addr.get(), range.len);
            state.note(Event::Free { addr, len });
            object.into_iter().for_each(|it| state.freeing.free(it));
        }
    }

    fn vmap_read(&self, vmap: &Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let state = self.state.borrow();
        for_range(vmap, offset, out.len() as u64, |piece, from, to| {
            let object = state.memory.get(piece.object).ok_or(gone(piece.len))?;
            object
                .read(View::Cpu, piece.offset, &mut out[from..to])
                .map_err(missed)
        })
    }

    fn vmap_write(&self, vmap: &Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        for_range(vmap, offset, data.len() as u64, |piece, from, to| {
            let object = state.memory.get_mut(piece.object);
            object
                .ok_or(gone(piece.len))?
                .write(View::Cpu, piece.offset, &data[from..to])
                .map_err(missed)
        })
    }

    fn claim_physical(&self, range: Segment) -> Result<(), Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        if state.memory.locate(range.addr.get(), range.len).is_ok() {
            return Err(Error::Invalid);
        }
        let store = Shared::new(range.len).map_err(|_| Error::no_ram(range.len))?;
        let frames = vec![(range.addr.get() / FRAME, range.len / FRAME)];
        let (kind, whole) = (SegmentKind::Physical, (0, range.len));
        let object = Object::new(Backing::Shared(store), None, frames, kind, whole, true);
        let Pages { id } = state.insert_new(object);
        state.claimed.insert(range.addr.get(), id);
        Ok(())
    }
}

impl State {
    /// Places memory of another owner at scattered frames of `len` bytes. `part` is the offset and the
    /// length of the requested part in these frames.
    fn place_foreign(
        &mut self,
        backing: Backing,
        len: u64,
        part: (u64, u64),
    ) -> Result<Object, Error> {
        self.ram.check_free(len)?;
        let (size, everywhere) = ((len, self.profile.page_size), PhysAddr::new(u64::MAX));
        let frames = self.ram.take(size, (false, 1), everywhere)?;
        let dram = self.dram_at(&frames, Caching::Cached, len)?;
        let kind = SegmentKind::Pages;
        Ok(Object::new(backing, dram, frames, kind, part, false))
    }

    /// Describes the mapping of memory into a program. Memory of other owners cannot be mapped.
    fn map_file(&self, id: u64, offset: u64, len: u64) -> Result<Mmap, Error> {
        let object = self.memory.get(id);
        let store = object.and_then(|object| object.backing.own());
        let fd = store.ok_or(gone(len))?.fd().try_clone_to_owned();
        let fd = fd.map_err(|_| Error::no_ram(len))?;
        Ok(Mmap { fd, offset, len })
    }

    /// Returns `segments` as a single piece, with one lookup, if they are the first runs of one object. This
    /// is the usual case. `None` for other segments, and for memory that the CPU cannot access.
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

    /// Returns the pieces of memory runs, with adjacent pieces joined, and their total bytes.
    fn pieces_of(&self, segments: &[Segment]) -> Result<(Vec<Piece>, u64), Error> {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut total, mut before) = (0u64, None);
        for segment in segments {
            if self.ram.is_protected(segment.addr.get()) {
                let reason = Reason::new(Constraint::Unprotected, 1, 0);
                return Err(Error::NoSuchMemory(reason));
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
}

/// Calls `act` for each piece in a range of a mapping. `act` gets the piece's part in the range, and its
/// start and end as offsets from the range's start.
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
    Error::NoSuchMemory(Reason::new(Constraint::BufferSize, wanted, 0))
}

fn missed(miss: Miss) -> Error {
    match miss {
        Miss::Nothing(addr) => Error::NoSuchMemory(Reason::new(Constraint::PagesBehind, addr, 0)),
        Miss::User(fault) => {
            Error::BadUserMemory(Reason::new(Constraint::UserPages, fault.addr, 0))
        }
    }
}

#[cfg(test)]
mod tests;
