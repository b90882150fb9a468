//! The bus: how devices reach memory, by the addresses they were given and by nothing else.

use crate::machine::{Device, Machine};
use crate::memory::{Found, InPlace, Miss, Place, View};
use crate::trace::Event;
use std::fmt;
use vb3_dma::{Coherency, DmaAddr, PhysAddr, Prot};

/// Why an access did not reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// There is no such device.
    NoDevice,
    /// The IOMMU has nothing mapped there.
    Unmapped,
    /// The mapping does not allow writing.
    ReadOnly,
    /// The device cannot put this address on its bus.
    BeyondMask,
    /// A page table lies there, which no device may reach.
    PageTable,
    /// No memory lies there.
    NoMemory,
    /// The memory is private to a confidential machine.
    Private,
    /// The program whose memory it was is gone, or has unmapped it.
    UserGone,
}

/// An access that did not reach memory. Bytes before `addr` may have been moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusFault {
    /// Whose access it was.
    pub dev: Device,
    /// The first address that did not work.
    pub addr: DmaAddr,
    /// Whether the device wrote.
    pub write: bool,
    /// Why.
    pub kind: FaultKind,
    /// The entry of the page table at which the walk ended, by the manual's name for its level,
    /// where that is why.
    pub level: Option<&'static str>,
}

impl fmt::Display for BusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FaultKind::NoDevice => "there is no such device",
            FaultKind::Unmapped => "nothing is mapped there for the device",
            FaultKind::ReadOnly => "the device may not write there",
            FaultKind::BeyondMask => "the device cannot reach so high",
            FaultKind::PageTable => "a page table lies there",
            FaultKind::NoMemory => "no memory lies there",
            FaultKind::Private => "the memory is private",
            FaultKind::UserGone => "the program's memory is gone",
        };
        let access = if self.write { "write" } else { "read" };
        write!(f, "{access} at bus address {}: {what}", self.addr)?;
        match self.level {
            Some(level) => write!(f, " (the walk ended at {level})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BusFault {}

/// What a device did on the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusStats {
    /// Bytes read from memory.
    pub bytes_read: u64,
    /// Bytes written to memory.
    pub bytes_written: u64,
    /// Accesses that did not reach memory.
    pub faults: u64,
}

/// Addresses of a device that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusSpan {
    /// The first.
    pub addr: DmaAddr,
    /// Bytes.
    pub len: u64,
}

/// Most spans of one access in place.
const MAX_SPANS: usize = 16;

/// Where an access goes: a piece of memory and how it is seen.
#[derive(Clone, Copy, Debug)]
struct Target {
    phys: PhysAddr,
    found: Found,
    view: View,
}

impl Machine {
    /// Reads memory as `dev` does.
    ///
    /// # Errors
    /// [`BusFault`]; `out` may be partly written.
    pub fn bus_read(&mut self, dev: Device, addr: DmaAddr, out: &mut [u8]) -> Result<(), BusFault> {
        let result = self.read_pieces(dev, addr, out);
        self.account_read(dev, addr, out.len() as u64, result)
    }

    /// Writes memory as `dev` does.
    ///
    /// # Errors
    /// [`BusFault`]; part of `data` may have arrived.
    pub fn bus_write(&mut self, dev: Device, addr: DmaAddr, data: &[u8]) -> Result<(), BusFault> {
        let result = self.write_pieces(dev, addr, data);
        self.account_write(dev, addr, data.len() as u64, result)
    }

    /// Lets `act` work on memory where it is, as `dev` sees it: on the bytes of `from`, and to
    /// write on those of `to`. If it says true, all that is as if `dev` had read the ones and
    /// written the others. Answers what it says.
    ///
    /// `None`, and nothing was done, if an access would fault, or a span's bytes do not lie
    /// together in memory of the machine's own, or spans to write overlap others or lie in memory
    /// that is also to be read.
    pub fn bus_in_place(
        &mut self,
        dev: Device,
        from: &[BusSpan],
        to: &[BusSpan],
        act: &mut InPlace<'_>,
    ) -> Option<bool> {
        if from.len() > MAX_SPANS || to.len() > MAX_SPANS {
            return None;
        }
        let places = |spans: &[BusSpan], write| {
            let places = spans.iter().map(|span| self.place(dev, span, write));
            places.collect::<Option<Vec<Place>>>()
        };
        let (sources, targets) = (places(from, false)?, places(to, true)?);
        let done = self.memory.in_place(&sources, &targets, act)?;
        for span in from {
            let _ = self.account_read(dev, span.addr, span.len, Ok(()));
        }
        if done {
            for span in to {
                let _ = self.account_write(dev, span.addr, span.len, Ok(()));
            }
        }
        Some(done)
    }

    /// Where a span lies, if its bytes lie together and `dev` reaches all of them.
    fn place(&self, dev: Device, span: &BusSpan, write: bool) -> Option<Place> {
        let first = self.target(dev, span.addr, span.len, write, None).ok()?;
        let (object, offset) = (first.found.piece.object, first.found.piece.offset);
        let (mut last, mut done) = (first.found, first.found.piece.len);
        while done < span.len {
            let at = span.addr.checked_add(done)?;
            let target = self.target(dev, at, span.len - done, write, Some(&last));
            last = target.ok()?.found;
            if (last.piece.object, last.piece.offset) != (object, offset.checked_add(done)?) {
                return None;
            }
            done += last.piece.len;
        }
        Some(Place {
            object,
            offset,
            len: span.len,
            view: first.view,
        })
    }

    /// Where an access of `dev` at `addr` would go, and how many bytes go on from there.
    ///
    /// # Errors
    /// [`BusFault`] if it would go nowhere.
    pub fn bus_translate(
        &self,
        dev: Device,
        addr: DmaAddr,
        write: bool,
    ) -> Result<(PhysAddr, u64), BusFault> {
        let target = self.target(dev, addr, u64::MAX, write, None)?;
        Ok((target.phys, target.found.piece.len))
    }

    /// What `dev` did on the bus so far.
    #[must_use]
    pub fn bus_stats(&self, dev: Device) -> BusStats {
        self.device(dev)
            .map_or_else(BusStats::default, |device| device.stats)
    }

    fn account_read(
        &mut self,
        dev: Device,
        addr: DmaAddr,
        len: u64,
        result: Result<(), BusFault>,
    ) -> Result<(), BusFault> {
        let event = Event::BusRead {
            dev: dev.index(),
            addr: addr.get(),
            len,
        };
        self.account(dev, event, result, |stats| stats.bytes_read += len)
    }

    fn account_write(
        &mut self,
        dev: Device,
        addr: DmaAddr,
        len: u64,
        result: Result<(), BusFault>,
    ) -> Result<(), BusFault> {
        let event = Event::BusWrite {
            dev: dev.index(),
            addr: addr.get(),
            len,
        };
        self.account(dev, event, result, |stats| stats.bytes_written += len)
    }

    fn account(
        &mut self,
        dev: Device,
        event: Event,
        result: Result<(), BusFault>,
        done: impl FnOnce(&mut BusStats),
    ) -> Result<(), BusFault> {
        match result {
            Ok(()) => self.note(event),
            Err(fault) => {
                self.note(Event::BusFault {
                    dev: dev.index(),
                    addr: fault.addr.get(),
                });
            }
        }
        if let Some(device) = self.device_mut(dev) {
            match result {
                Ok(()) => done(&mut device.stats),
                Err(_) => device.stats.faults += 1,
            }
        }
        result
    }

    fn read_pieces(&self, dev: Device, addr: DmaAddr, out: &mut [u8]) -> Result<(), BusFault> {
        let (mut done, mut last) = (0usize, None);
        while done < out.len() {
            let (at, left) = (step(dev, addr, done, false)?, out.len() - done);
            let target = self.target(dev, at, left as u64, false, last.as_ref())?;
            let piece = target.found.piece;
            let end = done + piece.len as usize;
            self.memory
                .get(piece.object)
                .ok_or(Miss::Nothing(target.phys.get()))
                .and_then(|object| object.read(target.view, piece.offset, &mut out[done..end]))
                .map_err(|miss| self.missed(dev, at, false, miss))?;
            (done, last) = (end, Some(target.found));
        }
        Ok(())
    }

    fn write_pieces(&mut self, dev: Device, addr: DmaAddr, data: &[u8]) -> Result<(), BusFault> {
        let (mut done, mut last) = (0usize, None);
        while done < data.len() {
            let (at, left) = (step(dev, addr, done, true)?, data.len() - done);
            let target = self.target(dev, at, left as u64, true, last.as_ref())?;
            let piece = target.found.piece;
            let end = done + piece.len as usize;
            let result = self
                .memory
                .get_mut(piece.object)
                .ok_or(Miss::Nothing(target.phys.get()))
                .and_then(|object| object.write(target.view, piece.offset, &data[done..end]));
            result.map_err(|miss| self.missed(dev, at, true, miss))?;
            (done, last) = (end, Some(target.found));
        }
        Ok(())
    }

    /// Where up to `len` bytes from `addr` lie. The length found is at least one byte. `before` is
    /// what was found for the bytes before.
    fn target(
        &self,
        dev: Device,
        addr: DmaAddr,
        len: u64,
        write: bool,
        before: Option<&Found>,
    ) -> Result<Target, BusFault> {
        let fault = |kind| BusFault {
            dev,
            addr,
            write,
            kind,
            level: None,
        };
        let device = self.device(dev).ok_or(fault(FaultKind::NoDevice))?;
        if addr.get() > device.info.limits.mask {
            return Err(fault(FaultKind::BeyondMask));
        }
        let reach = (device.info.limits.mask - addr.get()).saturating_add(1);
        let (phys, run) = match &device.iommu {
            None => (PhysAddr::new(addr.get()), u64::MAX),
            Some(iommu) => {
                let found =
                    iommu
                        .translate(&self.tables, addr.get())
                        .map_err(|level| BusFault {
                            level: Some(level),
                            ..fault(FaultKind::Unmapped)
                        })?;
                if write && !found.prot.contains(Prot::WRITE) {
                    return Err(fault(FaultKind::ReadOnly));
                }
                (found.phys, found.len)
            }
        };
        let found = self
            .memory
            .find(phys.get(), len.min(run).min(reach), before)
            .map_err(|miss| self.missed(dev, addr, write, miss))?;
        let object = self
            .memory
            .get(found.piece.object)
            .ok_or(fault(FaultKind::NoMemory))?;
        if self.profile.private_memory && !object.shared {
            return Err(fault(FaultKind::Private));
        }
        let view = match device.info.coherency {
            Coherency::Coherent => View::Cpu,
            Coherency::NonCoherent => View::Dram,
        };
        Ok(Target { phys, found, view })
    }
}

impl Machine {
    fn missed(&self, dev: Device, addr: DmaAddr, write: bool, miss: Miss) -> BusFault {
        let kind = match miss {
            Miss::Nothing(at) if self.tables.holds(at) => FaultKind::PageTable,
            Miss::Nothing(_) => FaultKind::NoMemory,
            Miss::User(_) => FaultKind::UserGone,
        };
        BusFault {
            dev,
            addr,
            write,
            kind,
            level: None,
        }
    }
}

fn step(dev: Device, addr: DmaAddr, done: usize, write: bool) -> Result<DmaAddr, BusFault> {
    let past = BusFault {
        dev,
        addr,
        write,
        kind: FaultKind::BeyondMask,
        level: None,
    };
    addr.checked_add(done as u64).ok_or(past)
}
