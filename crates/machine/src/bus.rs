//! The bus: how devices reach memory, by the addresses they were given and by nothing else.

use crate::machine::{Device, Machine};
use crate::memory::{Miss, View};
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

/// Where an access goes: a piece of memory and how it is seen.
#[derive(Clone, Copy, Debug)]
struct Target {
    phys: PhysAddr,
    len: u64,
    view: View,
}

impl Machine {
    /// Reads memory as `dev` does.
    ///
    /// # Errors
    /// [`BusFault`]; `out` may be partly written.
    pub fn bus_read(&mut self, dev: Device, addr: DmaAddr, out: &mut [u8]) -> Result<(), BusFault> {
        let result = self.read_pieces(dev, addr, out);
        let event = Event::BusRead {
            dev: dev.index(),
            addr: addr.get(),
            len: out.len() as u64,
        };
        self.account(dev, event, result, |stats| {
            stats.bytes_read += out.len() as u64
        })
    }

    /// Writes memory as `dev` does.
    ///
    /// # Errors
    /// [`BusFault`]; part of `data` may have arrived.
    pub fn bus_write(&mut self, dev: Device, addr: DmaAddr, data: &[u8]) -> Result<(), BusFault> {
        let result = self.write_pieces(dev, addr, data);
        let event = Event::BusWrite {
            dev: dev.index(),
            addr: addr.get(),
            len: data.len() as u64,
        };
        self.account(dev, event, result, |stats| {
            stats.bytes_written += data.len() as u64
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
        let target = self.target(dev, addr, u64::MAX, write)?;
        Ok((target.phys, target.len))
    }

    /// What `dev` did on the bus so far.
    #[must_use]
    pub fn bus_stats(&self, dev: Device) -> BusStats {
        self.device(dev)
            .map_or_else(BusStats::default, |device| device.stats)
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
        let mut done = 0usize;
        while done < out.len() {
            let (at, left) = (step(dev, addr, done, false)?, out.len() - done);
            let target = self.target(dev, at, left as u64, false)?;
            let end = done + target.len as usize;
            self.memory
                .read(target.view, target.phys, &mut out[done..end])
                .map_err(|miss| self.missed(dev, at, false, miss))?;
            done = end;
        }
        Ok(())
    }

    fn write_pieces(&mut self, dev: Device, addr: DmaAddr, data: &[u8]) -> Result<(), BusFault> {
        let mut done = 0usize;
        while done < data.len() {
            let (at, left) = (step(dev, addr, done, true)?, data.len() - done);
            let target = self.target(dev, at, left as u64, true)?;
            let end = done + target.len as usize;
            let result = self
                .memory
                .write(target.view, target.phys, &data[done..end]);
            result.map_err(|miss| self.missed(dev, at, true, miss))?;
            done = end;
        }
        Ok(())
    }

    /// Where up to `len` bytes from `addr` lie. The length found is at least one byte.
    fn target(
        &self,
        dev: Device,
        addr: DmaAddr,
        len: u64,
        write: bool,
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
        let piece = self
            .memory
            .locate(phys.get(), len.min(run).min(reach))
            .map_err(|miss| self.missed(dev, addr, write, miss))?;
        let object = self
            .memory
            .get(piece.object)
            .ok_or(fault(FaultKind::NoMemory))?;
        if self.profile.private_memory && !object.shared {
            return Err(fault(FaultKind::Private));
        }
        let view = match device.info.coherency {
            Coherency::Coherent => View::Cpu,
            Coherency::NonCoherent => View::Dram,
        };
        Ok(Target {
            phys,
            len: piece.len,
            view,
        })
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
