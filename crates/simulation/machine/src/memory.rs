//! Memory behind physical addresses: allocations, pinned user memory, and their two views.
//!
//! Without coherent caches, cached memory has two stores. The CPU sees one (the memfd, or the program's
//! memory), and devices see the other. Only cache syncs move bytes between them. All other memory has
//! one store.

use crate::backing::{Backing, CHUNK, Miss};
use crate::dram::Dram;
use crate::ram::{FRAME, FrameRuns};
use crate::store::Private;
use std::collections::BTreeMap;
use std::ops::Range;
use vb3_dma::{PhysAddr, Segment, SegmentKind};

/// The view of memory that an access uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The CPU's view through its caches, and the view of devices that snoop them.
    Cpu,
    /// The view of devices that do not snoop the CPU's caches.
    Dram,
}

/// Memory with physical addresses.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) backing: Backing,
    /// The devices' store, if it differs from the CPU's.
    pub(crate) dram: Option<Dram>,
    pub(crate) frames: FrameRuns,
    /// The requested part of the frames, run by run.
    pub(crate) segments: Vec<Segment>,
    /// Whether the devices of a confidential machine may reach the object.
    pub(crate) shared: bool,
    /// Bytes of the requested part.
    pub(crate) len: u64,
    /// Offset of the requested part in the object.
    pub(crate) head: u64,
    /// Whether the object was reserved before its placement, and may be moved.
    pub(crate) movable: bool,
    /// Whether the object was revoked: devices and drivers then find no memory at its addresses.
    pub(crate) withdrawn: bool,
}

impl Object {
    /// Makes an object at `frames`; `head` and `len` give the requested part.
    pub(crate) fn new(
        backing: Backing,
        dram: Option<Dram>,
        frames: FrameRuns,
        kind: SegmentKind,
        (head, len): (u64, u64),
        shared: bool,
    ) -> Self {
        let segments = segments_of(&frames, kind, (head, len));
        Self {
            backing,
            dram,
            frames,
            segments,
            shared,
            len,
            head,
            movable: false,
            withdrawn: false,
        }
    }

    pub(crate) fn read(&self, view: View, offset: u64, out: &mut [u8]) -> Result<(), Miss> {
        if self.withdrawn {
            return Err(Miss::Nothing(offset));
        }
        let Some(store) = self.own_store(view) else {
            return self.backing.read(offset, out);
        };
        let from = store.slice(offset, out.len() as u64);
        out.copy_from_slice(from.ok_or(Miss::Nothing(offset))?);
        Ok(())
    }

    /// Copies bytes from another object; `None` if they are not directly accessible.
    fn copy_from(&mut self, to: &Extent, from: &Self, source: &Extent) -> Option<()> {
        if self.withdrawn || from.withdrawn {
            return None;
        }
        if let Some(store) = from.own_store(source.view) {
            let bytes = store.slice(source.offset, source.len)?;
            return self.write(to.view, to.offset, bytes).ok();
        }
        if let Some(store) = self.own_store_mut(to.view) {
            let bytes = store.slice_mut(to.offset, source.len)?;
            return from.backing.read(source.offset, bytes).ok();
        }
        let (Backing::Shared(store), Backing::Shared(other)) = (&mut self.backing, &from.backing)
        else {
            return None;
        };
        store.copy_from(to.offset, other, source.offset, source.len)?;
        self.make_dirty(to.offset, source.len).ok()
    }

    /// Checks whether bytes are readable. If the memory belongs to a program or another driver, tries to read it.
    pub(crate) fn check_read(&self, view: View, offset: u64, len: u64) -> Result<(), Miss> {
        let end = offset.checked_add(len).ok_or(Miss::Nothing(offset))?;
        if self.withdrawn || end > self.bytes_of_frames() {
            return Err(Miss::Nothing(offset));
        }
        if self.is_split(view) || self.backing.own().is_some() {
            return Ok(());
        }
        let mut chunk = vec![0; CHUNK.min(len) as usize];
        for at in (offset..end).step_by(CHUNK as usize) {
            let part = CHUNK.min(end - at) as usize;
            self.backing.read(at, &mut chunk[..part])?;
        }
        Ok(())
    }

    /// Returns the address of the object's first byte; zero if the object is not placed.
    pub(crate) fn first_addr(&self) -> u64 {
        self.segments.first().map_or(0, |s| s.addr.get())
    }

    /// Returns whether a view has its own store, separate from the CPU's.
    pub(crate) fn is_split(&self, view: View) -> bool {
        view == View::Dram && self.dram.is_some()
    }

    /// Returns the length of the object's frames in bytes, which is also the length of its store.
    pub(crate) fn bytes_of_frames(&self) -> u64 {
        self.frames.iter().map(|&(_, count)| count * FRAME).sum()
    }

    /// Returns the view's own store, which only devices reach; `None` if the view shares the CPU's, or for
    /// revoked memory. Memory that a program may write is never borrowed as a slice.
    fn own_store(&self, view: View) -> Option<&Private> {
        let is_split = self.is_split(view) && !self.withdrawn;
        self.dram.as_ref().filter(|_| is_split).map(|it| &it.bytes)
    }

    fn own_store_mut(&mut self, view: View) -> Option<&mut Private> {
        let is_split = self.is_split(view) && !self.withdrawn;
        let dram = self.dram.as_mut().filter(|_| is_split);
        dram.map(|dram| &mut dram.bytes)
    }

    pub(crate) fn write(&mut self, view: View, offset: u64, data: &[u8]) -> Result<(), Miss> {
        if self.withdrawn {
            return Err(Miss::Nothing(offset));
        }
        let Some(store) = self.own_store_mut(view) else {
            self.backing.write(offset, data)?;
            return self.make_dirty(offset, data.len() as u64);
        };
        let to = store.slice_mut(offset, data.len() as u64);
        to.ok_or(Miss::Nothing(offset))?.copy_from_slice(data);
        Ok(())
    }

    /// Makes the CPU's lines dirty after a write through the CPU.
    pub(crate) fn make_dirty(&mut self, offset: u64, len: u64) -> Result<(), Miss> {
        match &mut self.dram {
            Some(dram) => dram.make_dirty(&self.backing, offset, len),
            None => Ok(()),
        }
    }

    /// Writes the CPU's cached bytes back, so that devices see them. Revoked memory stays zeroed.
    pub(crate) fn clean(&mut self, offset: u64, len: u64) -> Result<(), Miss> {
        match &mut self.dram {
            Some(dram) if !self.withdrawn => dram.clean(&self.backing, offset, len),
            _ => Ok(()),
        }
    }

    /// Drops the CPU's cached bytes, so that the CPU sees the devices' bytes. Revoked memory stays zeroed.
    fn invalidate(&mut self, offset: u64, len: u64) -> Result<(), Miss> {
        match &mut self.dram {
            Some(dram) if !self.withdrawn => dram.invalidate(&mut self.backing, offset, len),
            _ => Ok(()),
        }
    }

    /// Returns how many bytes of placed memory differ between the two views.
    pub(crate) fn stale_bytes(&self) -> u64 {
        let placed = self.dram.as_ref().filter(|_| !self.segments.is_empty());
        let Some(dram) = placed else { return 0 };
        let mut seen = vec![0u8; CHUNK.min(self.len) as usize];
        let (end, mut differing) = (self.head + self.len, 0u64);
        for at in (self.head..end).step_by(CHUNK as usize) {
            let part = CHUNK.min(end - at);
            let Some(device) = dram.bytes.slice(at, part) else {
                break;
            };
            let cpu = &mut seen[..part as usize];
            if self.backing.read(at, cpu).is_err() {
                break;
            }
            if cpu != device {
                differing += cpu.iter().zip(device).filter(|(a, b)| a != b).count() as u64;
            }
        }
        differing
    }
}

/// Returns the segments of `len` bytes from offset `head` in the frames, run by run.
fn segments_of(frames: &[(u64, u64)], kind: SegmentKind, (head, len): (u64, u64)) -> Vec<Segment> {
    let mut segments = Vec::new();
    let (mut at, end) = (0u64, head + len);
    for &(first, count) in frames {
        let run_end = at + count * FRAME;
        let (from, to) = (at.max(head), run_end.min(end));
        if from < to {
            let addr = PhysAddr::new(first * FRAME + (from - at));
            segments.push(Segment {
                addr,
                len: to - from,
                kind,
            });
        }
        at = run_end;
    }
    segments
}

/// A piece of an object at a physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) object: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// A found piece and its end, so that the next piece is found without a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) piece: Piece,
    /// The physical address after the piece.
    end: u64,
    /// Index of the piece's run of frames, and the bytes that follow the piece in this run.
    run: usize,
    left: u64,
}

impl Found {
    /// Makes a piece of at most `len` bytes at `addr`. `rest` is what a run of frames has from `addr` on, and
    /// `run` is the index of this run.
    fn new(addr: u64, len: u64, (rest, run): (Piece, usize)) -> Self {
        let len = len.min(rest.len);
        Self {
            piece: Piece { len, ..rest },
            end: addr + len,
            run,
            left: rest.len - len,
        }
    }
}

/// Work on memory in place. The arguments are the bytes to read and the bytes to write. Returns whether the
/// work was done.
pub type InPlace<'a> = dyn FnMut(&[&[u8]], &mut [&mut [u8]]) -> bool + 'a;

/// Contiguous bytes of an object in one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) object: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) view: View,
}

/// Splits an object's bytes into parts, in the order of `places`; `None` if they overlap or lie
/// outside.
fn carve<'a>(
    places: &mut [(&Extent, &mut Option<&'a mut [u8]>)],
    bytes: &'a mut [u8],
) -> Option<()> {
    places.sort_by_key(|(place, _)| place.offset);
    let (mut rest, mut at) = (bytes, 0u64);
    for (place, part) in places {
        let gap = usize::try_from(place.offset.checked_sub(at)?).ok()?;
        let (_, tail) = rest.split_at_mut_checked(gap)?;
        let (mine, tail) = tail.split_at_mut_checked(usize::try_from(place.len).ok()?)?;
        **part = Some(mine);
        (rest, at) = (tail, place.offset.checked_add(place.len)?);
    }
    Some(())
}

/// All memory of the machine in use.
#[derive(Debug, Default)]
pub(crate) struct MachineMemory {
    objects: BTreeMap<u64, Object>,
    /// The runs of frames by address. Each has its position in its object, and its index among the object's runs.
    places: BTreeMap<u64, (Piece, usize)>,
    next: u64,
    /// Number of changes other than insertions: how often objects were removed, moved or revoked.
    changed: u64,
    /// Number of pieces that devices' accesses have looked for.
    #[cfg(test)]
    pub(crate) looked: std::sync::atomic::AtomicU64,
    /// Number of searches in `places`.
    #[cfg(test)]
    pub(crate) searched: std::sync::atomic::AtomicU64,
}

impl MachineMemory {
    /// Adds an object at its frames. Returns its number, which is never reused.
    pub(crate) fn insert(&mut self, object: Object) -> u64 {
        let id = self.next;
        self.next += 1;
        self.put_at(id, &object.frames);
        self.objects.insert(id, object);
        id
    }

    fn put_at(&mut self, id: u64, frames: &[(u64, u64)]) {
        let mut offset = 0;
        for (run, &(first, count)) in frames.iter().enumerate() {
            let len = count * FRAME;
            let piece = Piece {
                object: id,
                offset,
                len,
            };
            self.places.insert(first * FRAME, (piece, run));
            offset += len;
        }
    }

    /// Moves an object and the CPU's bytes to other frames. Returns its old frames.
    pub(crate) fn relocate(
        &mut self,
        id: u64,
        (frames, kind, dram): (FrameRuns, SegmentKind, Option<Dram>),
    ) -> Option<FrameRuns> {
        let object = self.objects.get_mut(&id)?;
        let part = (object.head, object.len);
        object.segments = segments_of(&frames, kind, part);
        if object.dram.is_some() != dram.is_some() {
            object.dram = dram;
            // Until now only the CPU has used the memory, so the devices' new store begins with the
            // CPU's bytes.
            object.clean(part.0, part.1).ok();
        }
        let old = std::mem::replace(&mut object.frames, frames.clone());
        for &(first, _) in &old {
            self.places.remove(&(first * FRAME));
        }
        self.put_at(id, &frames);
        self.note_change();
        Some(old)
    }

    /// Invalidates earlier search results.
    pub(crate) const fn note_change(&mut self) {
        self.changed += 1;
    }

    /// Returns how often objects were added, removed, moved and revoked.
    pub(crate) fn changes(&self) -> u64 {
        self.next + self.changed
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Object> {
        let object = self.objects.remove(&id)?;
        self.note_change();
        for &(first, _) in &object.frames {
            self.places.remove(&(first * FRAME));
        }
        Some(object)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Object> {
        self.objects.get(&id)
    }

    /// Returns segment `index` of an object; `None` after the last.
    pub(crate) fn segment(&self, id: u64, index: usize) -> Option<Segment> {
        self.get(id)?.segments.get(index).copied()
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Object> {
        self.objects.get_mut(&id)
    }

    pub(crate) fn objects(&self) -> usize {
        self.objects.len()
    }

    /// Counts the objects that are pinned memory of programs.
    pub(crate) fn pins(&self) -> u64 {
        let is_pin = |object: &&Object| matches!(object.backing, Backing::User { .. });
        self.objects.values().filter(is_pin).count() as u64
    }

    /// Returns the object that contains `addr`.
    pub(crate) fn object_at(&self, addr: u64) -> Option<&Object> {
        self.get(self.locate(addr, 1).ok()?.object)
    }

    /// Finds the object at `addr`, and how many of the `len` bytes from there are contiguous in it.
    pub(crate) fn locate(&self, addr: u64, len: u64) -> Result<Piece, Miss> {
        self.find(addr, len, None).map(|found| found.piece)
    }

    /// Finds memory as [`locate`](Self::locate) does, but faster if `addr` follows the piece `before`: in the
    /// same run of frames, or at the start of the object's next run.
    pub(crate) fn find(&self, addr: u64, len: u64, before: Option<&Found>) -> Result<Found, Miss> {
        if let Some(found) = before.and_then(|before| self.find_next(addr, len, before)) {
            return Ok(found);
        }
        #[cfg(test)]
        self.searched
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let before = self.places.range(..=addr).next_back();
        let (&start, &(mut rest, run)) = before.ok_or(Miss::Nothing(addr))?;
        let inside = addr - start;
        let left = rest.len.checked_sub(inside).filter(|left| *left > 0);
        rest.len = left.ok_or(Miss::Nothing(addr))?;
        rest.offset += inside;
        Ok(Found::new(addr, len, (rest, run)))
    }

    fn find_next(&self, addr: u64, len: u64, before: &Found) -> Option<Found> {
        let (run, left) = if before.left > 0 {
            (addr == before.end).then_some((before.run, before.left))?
        } else {
            let run = before.run + 1;
            let frames = &self.objects.get(&before.piece.object)?.frames;
            let &(first, count) = frames.get(run)?;
            (addr == first * FRAME).then_some((run, count * FRAME))?
        };
        let mut rest = before.piece;
        rest.offset += rest.len;
        rest.len = left;
        Some(Found::new(addr, len, (rest, run)))
    }

    /// Calls `act` for each piece of a physical range, with the piece's bytes in the range.
    fn for_pieces(
        &mut self,
        addr: PhysAddr,
        len: u64,
        mut act: impl FnMut(&mut Object, Piece, Range<usize>) -> Result<(), Miss>,
    ) -> Result<(), Miss> {
        let mut done = 0;
        while done < len {
            let at = addr.checked_add(done).ok_or(Miss::Nothing(u64::MAX))?.get();
            let piece = self.locate(at, len - done)?;
            let object = self.objects.get_mut(&piece.object);
            let end = done + piece.len;
            let bytes = done as usize..end as usize;
            act(object.ok_or(Miss::Nothing(at))?, piece, bytes)?;
            done = end;
        }
        Ok(())
    }

    /// Runs `act` on bytes in place; `None` if a program can reach them, too, or if bytes to write overlap
    /// or are in an object that is also read.
    pub(crate) fn in_place(
        &mut self,
        from: &[Extent],
        to: &[Extent],
        act: &mut InPlace<'_>,
    ) -> Option<bool> {
        let mut sources: Vec<Option<&[u8]>> = from.iter().map(|_| None).collect();
        let mut targets: Vec<Option<&mut [u8]>> = to.iter().map(|_| None).collect();
        for (id, object) in &mut self.objects {
            let written = to.iter().zip(&mut targets);
            let mut written: Vec<_> = written.filter(|(place, _)| place.object == *id).collect();
            if let Some(&(first, _)) = written.first() {
                if from.iter().any(|place| place.object == *id) {
                    return None;
                }
                carve(&mut written, object.own_store_mut(first.view)?.all_mut())?;
                continue;
            }
            let object = &*object;
            let read = from.iter().zip(&mut sources);
            for (place, part) in read.filter(|(place, _)| place.object == *id) {
                let store = object.own_store(place.view)?;
                *part = Some(store.slice(place.offset, place.len)?);
            }
        }
        let sources: Vec<&[u8]> = sources.into_iter().collect::<Option<_>>()?;
        let mut targets: Vec<&mut [u8]> = targets.into_iter().collect::<Option<_>>()?;
        Some(act(&sources, &mut targets))
    }

    /// Copies bytes of one object to another; `None` if they are the same object or not directly
    /// accessible.
    pub(crate) fn copy_place(&mut self, from: &Extent, to: &Extent) -> Option<()> {
        let (low, high) = (from.object.min(to.object), from.object.max(to.object));
        let mut objects = self.objects.range_mut(low..=high);
        let (first, last) = (objects.next()?.1, objects.next_back()?.1);
        let (source, target) = match from.object == low {
            true => (&*first, last),
            false => (&*last, first),
        };
        target.copy_from(to, source, from)
    }

    pub(crate) fn clean(&mut self, addr: PhysAddr, len: u64) -> Result<(), Miss> {
        self.for_pieces(addr, len, |object, piece, _| {
            object.clean(piece.offset, piece.len)
        })
    }

    pub(crate) fn invalidate(&mut self, addr: PhysAddr, len: u64) -> Result<(), Miss> {
        self.for_pieces(addr, len, |object, piece, _| {
            object.invalidate(piece.offset, piece.len)
        })
    }

    /// Zeroes a range of shared memory in the CPU's view.
    pub(crate) fn zero(&mut self, addr: PhysAddr, len: u64) -> Result<(), Miss> {
        self.for_pieces(addr, len, |object, piece, _| match &mut object.backing {
            Backing::Shared(store) => {
                let zeroed = store.zero(piece.offset, piece.len);
                zeroed.ok_or(Miss::Nothing(piece.offset))?;
                object.make_dirty(piece.offset, piece.len)
            }
            Backing::User { .. } | Backing::Foreign(_) => Err(Miss::Nothing(piece.offset)),
        })
    }

    /// Copies between physical ranges in the CPU's view.
    pub(crate) fn copy(&mut self, to: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Miss> {
        let mut chunk = vec![0u8; CHUNK.min(len) as usize];
        for done in (0..len).step_by(CHUNK as usize) {
            let part = CHUNK.min(len - done);
            let source = from.checked_add(done).ok_or(Miss::Nothing(u64::MAX))?;
            let target = to.checked_add(done).ok_or(Miss::Nothing(u64::MAX))?;
            self.for_pieces(source, part, |object, piece, bytes| {
                object.read(View::Cpu, piece.offset, &mut chunk[bytes])
            })?;
            self.for_pieces(target, part, |object, piece, bytes| {
                object.write(View::Cpu, piece.offset, &chunk[bytes])
            })?;
        }
        Ok(())
    }
}
