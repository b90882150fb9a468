//! The bus: devices reach memory only by their DMA addresses.

mod copy;

use crate::backing::Miss;
use crate::device::{Access, BusFault, BusLines, BusSpan, Device, FaultKind, HostSpan};
use crate::front::Machine;
use crate::machine::State;
use crate::memory::{Extent, Found, InPlace, Object, View};
use crate::ram::FRAME;
use crate::store::{Shared, SharedBytes};
use crate::trace::Event;
use std::ops::Range;
use vb3_dma::{Coherency, DmaAddr, PhysAddr, Prot, Protected};

/// Maximum number of spans, or of sets of lines, in one call.
const MAX_SPANS: usize = 16;

/// The target of an access: a piece of memory and its view.
#[derive(Clone, Copy, Debug)]
struct Target {
    phys: PhysAddr,
    found: Found,
    view: View,
}

impl Machine {
    /// Makes the next memory access of `dev` fault, as if its IOMMU had no mapping. Returns `false`,
    /// without effect, for a device without an IOMMU.
    pub fn fault_next_access(&mut self, dev: Device) -> bool {
        let device = self.state.get_mut().device_mut(dev);
        let Some(device) = device.filter(|device| device.iommu.is_some()) else {
            return false;
        };
        device.faults_next = true;
        true
    }

    /// Reads memory as `dev` does.
    ///
    /// # Errors
    /// [`BusFault`]; `out` may be partly written.
    pub fn bus_read(&mut self, dev: Device, addr: DmaAddr, out: &mut [u8]) -> Result<(), BusFault> {
        let len = out.len() as u64;
        let access = Access::read(dev, BusSpan { addr, len });
        let read = |object: &mut Object, view, at, bytes| object.read(view, at, &mut out[bytes]);
        self.state.get_mut().access(&access, read)
    }

    /// Reads the bytes that `dev` would find if its mapping allowed reading. Traces nothing, because
    /// this is no access of the device.
    ///
    /// # Errors
    /// [`BusFault`] if the device can neither read nor write all these bytes; `out` may be partly written.
    pub fn bus_inspect(&self, dev: Device, addr: DmaAddr, out: &mut [u8]) -> Result<(), BusFault> {
        let state = &mut *self.state.borrow_mut();
        let len = out.len() as u64;
        let span = BusSpan { addr, len };
        let mut read =
            |object: &mut Object, view, at, bytes| object.read(view, at, &mut out[bytes]);
        let seen = state.pieces(&Access::read(dev, span), &mut read);
        seen.or_else(|_| state.pieces(&Access::write(dev, span), read))
    }

    /// Traces a read as [`bus_read`](Self::bus_read) does, but reads no bytes.
    ///
    /// # Errors
    /// [`BusFault`] if `dev` could not have read the bytes of the span.
    pub fn bus_note_read(&mut self, dev: Device, span: BusSpan) -> Result<(), BusFault> {
        let check = |object: &mut Object, view, at, bytes: Range<usize>| {
            object.check_read(view, at, bytes.len() as u64)
        };
        let access = Access::read(dev, span);
        self.state.get_mut().access(&access, check)
    }

    /// Writes memory as `dev` does.
    ///
    /// # Errors
    /// [`BusFault`]; part of `data` may have arrived.
    pub fn bus_write(&mut self, dev: Device, addr: DmaAddr, data: &[u8]) -> Result<(), BusFault> {
        let len = data.len() as u64;
        let access = Access::write(dev, BusSpan { addr, len });
        let write = |object: &mut Object, view, at, bytes| object.write(view, at, &data[bytes]);
        self.state.get_mut().access(&access, write)
    }

    /// Runs `act` on memory in place: on the lines of `from` to read and the lines of `to` to write, as `dev`
    /// sees them. Returns the result of `act`.
    ///
    /// `act` also gets the bytes between lines, and must not change them. The trace then has the lines of `from`
    /// as read, and those of `to` as written if `act` returned true.
    ///
    /// Returns `None`, without effect, in these cases:
    /// * `from` or `to` has more than 16 sets of lines.
    /// * An access to the lines or between them would fault, or their bytes are not contiguous.
    /// * A program can reach these bytes, too, because the CPU and devices see one store, or because the memory
    ///   is a program's own.
    /// * Bytes to write overlap other bytes of the call, or are in memory that is also read.
    pub fn bus_in_place(
        &mut self,
        dev: Device,
        from: &[BusLines],
        to: &[BusLines],
        act: &mut InPlace<'_>,
    ) -> Option<bool> {
        let state = self.state.get_mut();
        if from.len() > MAX_SPANS || to.len() > MAX_SPANS || state.is_to_fault(dev) {
            return None;
        }
        let place = |lines: &BusLines, write| {
            let span = lines.extent()?;
            state.place(&Access { dev, span, write })
        };
        let sources: Option<Vec<Extent>> = from.iter().map(|lines| place(lines, false)).collect();
        let targets: Option<Vec<Extent>> = to.iter().map(|lines| place(lines, true)).collect();
        let done = state.memory.in_place(&sources?, &targets?, act)?;
        for span in from.iter().flat_map(BusLines::accesses) {
            let _ = state.trace_access(&Access::read(dev, span), Ok(()));
        }
        if done {
            for span in to.iter().flat_map(BusLines::accesses) {
                let _ = state.trace_access(&Access::write(dev, span), Ok(()));
            }
        }
        Some(done)
    }

    /// Finds the location of spans that `dev` may write, so that another process can write them. After the process
    /// has written, call [`bus_note_written`](Self::bus_note_written).
    ///
    /// Returns `None` if an access would fault, a span is not contiguous, or the CPU would not see the write.
    /// Also returns `None` for memory of a program, another driver or the bounce pool.
    pub fn bus_host_spans(&mut self, dev: Device, spans: &[BusSpan]) -> Option<Vec<HostSpan<'_>>> {
        let found = self.state.get_mut().stores(dev, spans, true)?;
        let spans = found.into_iter().map(|(place, object, store)| HostSpan {
            fd: store.fd(),
            number: place.object,
            fd_len: object.bytes_of_frames(),
            offset: place.offset,
            len: place.len,
        });
        Some(spans.collect())
    }

    /// Returns the bytes of spans that `dev` may read or write, so that other threads can read or write them
    /// while the device owns the memory. [`bus_note_read`](Self::bus_note_read) traces a read, and
    /// [`bus_note_written`](Self::bus_note_written) a write.
    ///
    /// Returns `None` in the same cases as [`bus_host_spans`](Self::bus_host_spans).
    pub fn bus_shared_bytes(
        &mut self,
        dev: Device,
        spans: &[BusSpan],
        write: bool,
    ) -> Option<Vec<SharedBytes>> {
        let found = self.state.get_mut().stores(dev, spans, write)?;
        let bytes = found
            .into_iter()
            .map(|(place, _, store)| store.bytes(place.offset, place.len));
        Some(bytes.collect())
    }

    /// Traces bytes that another process wrote, as if [`bus_write`](Self::bus_write) had written them.
    /// [`bus_host_spans`](Self::bus_host_spans) has returned their location.
    ///
    /// # Errors
    /// [`BusFault`] if `dev` could not have written them now.
    pub fn bus_note_written(&mut self, dev: Device, span: BusSpan) -> Result<(), BusFault> {
        let access = Access::write(dev, span);
        self.state
            .get_mut()
            .access(&access, |object, view, at, piece| {
                // If the memory was revoked, the other process may still write to it, and no reader may see these
                // bytes.
                if object.wipe_withdrawn() {
                    return Err(Miss::Nothing(at));
                }
                match view {
                    // CAST: widening.
                    View::Cpu => object.make_dirty(at, piece.len() as u64),
                    View::Dram => Ok(()),
                }
            })
    }

    /// Returns the target of an access of `dev` at `addr`, and how many bytes the target has from there.
    ///
    /// # Errors
    /// [`BusFault`] if the access has no target.
    pub fn bus_translate(
        &self,
        dev: Device,
        addr: DmaAddr,
        write: bool,
    ) -> Result<(PhysAddr, u64), BusFault> {
        let len = u64::MAX;
        let span = BusSpan { addr, len };
        let target = self
            .state
            .borrow()
            .target(&Access { dev, span, write }, None)?;
        Ok((target.phys, target.found.piece.len))
    }
}

impl State {
    /// Returns the shared memory of spans that `dev` reaches; `None` if a span has no shared memory.
    fn stores(
        &mut self,
        dev: Device,
        spans: &[BusSpan],
        write: bool,
    ) -> Option<Vec<(Extent, &Object, &Shared)>> {
        if spans.len() > MAX_SPANS || self.is_to_fault(dev) {
            return None;
        }
        let places = spans
            .iter()
            .map(|&span| self.proven_place(&Access { dev, span, write }));
        let places: Vec<Extent> = places.collect::<Option<_>>()?;
        let found = places.into_iter().map(|place| {
            let object = self.memory.get(place.object)?;
            // The bounce pool holds bytes of several owners.
            let pool = self.bounce.map(|pool| pool.addr.get());
            let is_pool = pool == Some(object.first_addr());
            if object.withdrawn || is_pool || object.is_split(place.view) {
                return None;
            }
            Some((place, object, object.backing.own()?))
        });
        found.collect()
    }

    /// Returns the result of [`place`](Self::place), or the stored result if nothing has changed since.
    fn proven_place(&mut self, access: &Access) -> Option<Extent> {
        // Changes of translations and of memory.
        let changes = self.remapped + self.memory.changes();
        if let Some(place) = self.proven.find(changes, access) {
            return Some(place);
        }
        let place = self.place(access)?;
        self.proven.put(changes, access, place);
        Some(place)
    }

    /// Returns the location of an access, if it is contiguous and the device reaches all of it.
    fn place(&self, access: &Access) -> Option<Extent> {
        let first = self.target(access, None).ok()?;
        let (object, offset) = (first.found.piece.object, first.found.piece.offset);
        let (mut last, mut done) = (first.found, first.found.piece.len);
        while done < access.span.len {
            let rest = access.rest(done).ok()?;
            last = self.target(&rest, Some(&last)).ok()?.found;
            if (last.piece.object, last.piece.offset) != (object, offset.checked_add(done)?) {
                return None;
            }
            done += last.piece.len;
        }
        Some(Extent {
            object,
            offset,
            len: access.span.len,
            view: first.view,
        })
    }

    fn is_to_fault(&self, dev: Device) -> bool {
        self.device(dev).is_some_and(|device| device.faults_next)
    }

    /// Traces an access and its result.
    fn trace_access(
        &mut self,
        access: &Access,
        result: Result<(), BusFault>,
    ) -> Result<(), BusFault> {
        let &Access { dev, span, write } = access;
        let (dev, addr, len) = (dev.index(), span.addr.get(), span.len);
        self.note(match result {
            Ok(()) if write => Event::BusWrite { dev, addr, len },
            Ok(()) => Event::BusRead { dev, addr, len },
            Err(fault) => Event::BusFault {
                dev,
                addr: fault.addr.get(),
            },
        });
        result
    }

    /// Calls `act` for each piece of an access, and records the result.
    ///
    /// `act` gets the object, its view, the offset in the object, and the range of the access's bytes in this
    /// piece.
    fn access(
        &mut self,
        access: &Access,
        mut act: impl FnMut(&mut Object, View, u64, Range<usize>) -> Result<(), Miss>,
    ) -> Result<(), BusFault> {
        let device = self.device_mut(access.dev);
        let result = match device.is_some_and(|it| std::mem::take(&mut it.faults_next)) {
            true => Err(access.fault(FaultKind::Unmapped)),
            false if self.at_once(access, &mut act).is_some() => Ok(()),
            false => self.pieces(access, act),
        };
        self.trace_access(access, result)
    }

    /// Makes an access of more than a page by one call of `act`, if its memory is contiguous. Returns `None`
    /// if this is impossible or `act` fails; the caller then uses `pieces`, which finds the failing byte.
    fn at_once(
        &mut self,
        access: &Access,
        act: &mut impl FnMut(&mut Object, View, u64, Range<usize>) -> Result<(), Miss>,
    ) -> Option<()> {
        if access.span.len <= FRAME {
            return None;
        }
        let place = self.proven_place(access)?;
        let object = self.memory.get_mut(place.object)?;
        let all = 0..access.span.len as usize;
        act(object, place.view, place.offset, all).ok()
    }

    fn pieces(
        &mut self,
        access: &Access,
        mut act: impl FnMut(&mut Object, View, u64, Range<usize>) -> Result<(), Miss>,
    ) -> Result<(), BusFault> {
        let (mut done, mut last) = (0, None);
        while done < access.span.len {
            let rest = access.rest(done)?;
            let target = self.target(&rest, last.as_ref())?;
            let piece = target.found.piece;
            let end = done + piece.len;
            let bytes = done as usize..end as usize;
            let object = self.memory.get_mut(piece.object);
            object
                .ok_or(Miss::Nothing(target.phys.get()))
                .and_then(|object| act(object, target.view, piece.offset, bytes))
                .map_err(|miss| self.missed(&rest, miss))?;
            (done, last) = (end, Some(target.found));
        }
        Ok(())
    }

    /// Finds the memory of an access, or of its beginning. The target has at least one byte. `before` is the
    /// target of the preceding bytes.
    fn target(&self, access: &Access, before: Option<&Found>) -> Result<Target, BusFault> {
        #[cfg(test)]
        (self.memory.looked).fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let fault = |kind| access.fault(kind);
        let BusSpan { addr, len } = access.span;
        let device = self.device(access.dev).ok_or(fault(FaultKind::NoDevice))?;
        if addr.get() > device.info.limits.mask {
            return Err(fault(FaultKind::BeyondMask));
        }
        let reach = (device.info.limits.mask - addr.get()).saturating_add(1);
        let (phys, run) = match &device.iommu {
            None => match &device.window {
                None => (PhysAddr::new(addr.get()), u64::MAX),
                Some(window) => window.physical(addr).ok_or(fault(FaultKind::NoMemory))?,
            },
            Some(iommu) => {
                let iova = DmaAddr::new(addr.get());
                let leaf = iommu.translate(&self.ram, iova);
                let leaf = leaf.map_err(|level| BusFault {
                    level: Some(level),
                    ..fault(FaultKind::Unmapped)
                })?;
                let (needed, refusal) = match access.write {
                    true => (Prot::WRITE, FaultKind::ReadOnly),
                    false => (Prot::READ, FaultKind::WriteOnly),
                };
                if !leaf.prot.contains(needed) {
                    return Err(fault(refusal));
                }
                leaf.at(iova).ok_or(fault(FaultKind::Unmapped))?
            }
        };
        let found = self
            .memory
            .find(phys.get(), len.min(run).min(reach), before)
            .map_err(|miss| self.missed(access, miss))?;
        let object = self.memory.get(found.piece.object);
        let object = object.ok_or(fault(FaultKind::NoMemory))?;
        if self.profile.private_memory && !object.shared {
            return Err(fault(FaultKind::Private));
        }
        if device.demands.protected == Protected::Never && self.ram.is_protected(phys.get()) {
            return Err(fault(FaultKind::Protected));
        }
        let view = match device.info.coherency {
            Coherency::Coherent => View::Cpu,
            Coherency::NonCoherent => View::Dram,
        };
        Ok(Target { phys, found, view })
    }

    fn missed(&self, access: &Access, miss: Miss) -> BusFault {
        access.fault(match miss {
            Miss::Nothing(at) if self.ram.tables.holds(at) => FaultKind::PageTable,
            Miss::Nothing(_) => FaultKind::NoMemory,
            Miss::User(_) => FaultKind::UserGone,
        })
    }
}

#[cfg(test)]
mod tests;
