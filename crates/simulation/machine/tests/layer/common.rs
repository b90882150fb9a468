//! Shared parts of the tests: machines from a few lines, and a program's memory.
#![allow(dead_code, reason = "`heap.rs` uses only a part")]

use std::sync::Arc;
use std::sync::Mutex;
use vb3_dma::{DmaOps, DmaSegment, Mapper, first_run};
use vb3_machine::{Device, Event, Foreign, Machine, Profile, UserFault, UserMemory};

pub(crate) const PAGE: u64 = 4096;

/// Returns a machine with 64 MiB of RAM. `lines` are further lines of its profile.
pub(crate) fn machine(lines: &str) -> Machine {
    let text = format!("name = \"test\"\nram = \"64MiB\"\ndma_mask = 32\n{lines}\n");
    let profile = Profile::parse(&text).unwrap_or_else(|err| panic!("{err} in:\n{text}"));
    let mut machine = Machine::new(&profile, 1).unwrap();
    machine.trace_mut().start(100_000);
    machine
}

/// Bytes that a device read and wrote, and its faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BusStats {
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) faults: u64,
}

/// Counts a device's accesses since the start of the trace.
pub(crate) fn bus_stats(machine: &Machine, device: Device) -> BusStats {
    let mut stats = BusStats::default();
    for (_, event) in machine.trace().events() {
        match *event {
            Event::BusRead { dev, len, .. } if dev == device.index() => stats.bytes_read += len,
            Event::BusWrite { dev, len, .. } if dev == device.index() => stats.bytes_written += len,
            Event::BusFault { dev, .. } if dev == device.index() => stats.faults += 1,
            _ => {}
        }
    }
    stats
}

pub(crate) fn mapper(lines: &str) -> Mapper<Machine> {
    Mapper::new(machine(lines)).unwrap()
}

pub(crate) const IOMMU: &str = "[iommu]\npage_sizes = [\"4KiB\", \"2MiB\"]\naperture = 32";
pub(crate) const COHERENT: &str = "coherent = true";
pub(crate) const CMA: &str = "coherent = true\ncma = \"16MiB\"";

pub(crate) fn with_iommu(lines: &str) -> String {
    format!("{lines}\n{IOMMU}")
}

/// A program whose memory begins at `base`, and can be lost.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) base: u64,
    pub(crate) bytes: Mutex<Vec<u8>>,
    pub(crate) writable: bool,
    pub(crate) id: u64,
}

impl Program {
    pub(crate) fn new(base: u64, bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            base,
            bytes: Mutex::new(bytes),
            writable: true,
            id: base,
        })
    }

    pub(crate) fn peek(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    pub(crate) fn poke(&self, addr: u64, data: &[u8]) {
        self.write(addr, data).unwrap();
    }

    pub(crate) fn die(&self) {
        self.bytes.lock().unwrap().clear();
    }
}

impl UserMemory for Program {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), UserFault> {
        let bytes = self.bytes.lock().unwrap();
        let start = addr.checked_sub(self.base).ok_or(UserFault { addr })? as usize;
        let from = bytes
            .get(start..start + out.len())
            .ok_or(UserFault { addr })?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), UserFault> {
        let mut bytes = self.bytes.lock().unwrap();
        let start = addr.checked_sub(self.base).ok_or(UserFault { addr })? as usize;
        let to = bytes
            .get_mut(start..start + data.len())
            .ok_or(UserFault { addr })?;
        to.copy_from_slice(data);
        Ok(())
    }

    fn probe(&self, addr: u64, len: u64, write: bool) -> u64 {
        let end = self.base + self.bytes.lock().unwrap().len() as u64;
        if addr < self.base || addr >= end || (write && !self.writable) {
            return 0;
        }
        len.min(end - addr)
    }

    fn id(&self) -> u64 {
        self.id
    }
}

/// Returns all segments of a mapping through the `DmaOps` interface.
pub(crate) fn segments<D: DmaOps>(ops: &D, mapping: &D::Mapping) -> Vec<DmaSegment> {
    (0..)
        .map_while(|index| ops.segment(mapping, index))
        .collect()
}

/// Returns the length of the run at the start of a mapping, counted up to `enough` bytes.
pub(crate) fn run_len<D: DmaOps>(ops: &D, mapping: &D::Mapping, enough: u64) -> u64 {
    first_run(|index| ops.segment(mapping, index), enough).map_or(0, |run| run.len)
}

/// Returns bytes whose values depend on their positions.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// Memory of another driver.
pub(crate) fn other_drivers(len: u64) -> Foreign {
    let fd = rustix::fs::memfd_create("other", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, len).unwrap();
    Foreign::map(Arc::new(fd)).unwrap()
}
