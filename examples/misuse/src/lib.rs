//! A host that judges `vb3-dma`: it records what devices reach, and who owns each frame of its memory.
//!
//! The tests use the layer wrongly from safe code. Each misuse must fail to compile, or leave no device with a view of a
//! frame that was given back. The misuses that do not compile:
//!
//! Memory that is mapped cannot be freed, because the mapping owns or borrows it:
//! ```compile_fail,E0505
//! # use vb3_dma::{Mapper, mapped::FromDevice};
//! # let dma = Mapper::new(vb3_misuse::Host::new(&[])).unwrap();
//! let memory = dma.device(0).unwrap().alloc(4096).unwrap();
//! let mapped = dma.device(0).unwrap().map(&memory, FromDevice).unwrap();
//! drop(memory);
//! drop(mapped);
//! ```
//! Memory cannot be freed twice:
//! ```compile_fail,E0382
//! # use vb3_dma::{DmaOps, Mapper};
//! # let dma = Mapper::new(vb3_misuse::Host::new(&[])).unwrap();
//! let memory = dma.alloc_virtual(4096).unwrap();
//! dma.free(memory);
//! dma.free(memory);
//! ```
//! A mapping cannot be ended twice:
//! ```compile_fail,E0382
//! # use vb3_dma::{Mapper, mapped::FromDevice};
//! # let dma = Mapper::new(vb3_misuse::Host::new(&[])).unwrap();
//! # let camera = dma.device(0).unwrap();
//! let mapped = camera.map(camera.alloc(4096).unwrap(), FromDevice).unwrap();
//! mapped.unmap().unwrap();
//! mapped.unmap().unwrap();
//! ```
//! The CPU cannot read a buffer that the device owns:
//! ```compile_fail,E0599
//! # use vb3_dma::{Mapper, mapped::FromDevice};
//! # let dma = Mapper::new(vb3_misuse::Host::new(&[])).unwrap();
//! # let camera = dma.device(0).unwrap();
//! camera.map(camera.alloc(4096).unwrap(), FromDevice).unwrap().view();
//! ```
//! The address of scattered memory is not that of all of it:
//! ```compile_fail,E0599
//! # use vb3_dma::{Mapper, mapped::FromDevice};
//! # let dma = Mapper::new(vb3_misuse::Host::new(&[])).unwrap();
//! # let camera = dma.device(0).unwrap();
//! camera.map_runs(camera.alloc_runs(8192).unwrap(), FromDevice).unwrap().addr();
//! ```
//! A handle of memory cannot be copied:
//! ```compile_fail,E0599
//! # use vb3_dma::{DmaOps, Mapper};
//! # let dma = Mapper::new(vb3_misuse::Host::new(&[])).unwrap();
//! let memory = dma.alloc_virtual(4096).unwrap();
//! let again = memory.clone();
//! ```
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use vb3_dma::{
    BounceMode, Caching, Constraint, DeviceInfo, DmaAddr, Error, IommuInfo, Limits, PageRequest,
    PhysAddr, Platform, Prot, Reason, Segment,
};

/// Bytes of a frame.
pub const FRAME: u64 = 4096;
/// Number of frames of RAM. The last frames are the bounce pool.
pub const FRAMES: u64 = 96;
const POOL: u64 = 16;
/// Number of devices. The first two share an address space; of these, device 1 is untrusted.
pub const DEVICES: u8 = 4;

/// Owner of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Free,
    Layer,
    /// The program, which may lend the frame.
    Program,
    /// A program's memory, of which this many pins exist. A pin need not fill the frame.
    User(u32),
}

#[derive(Debug)]
struct State {
    ram: Vec<u8>,
    owners: Vec<Owner>,
    /// Entries of the page tables, by address space and page of the device.
    entries: BTreeMap<(u8, u64), u64>,
    /// Entries that hardware still uses: those above, and removed ones that were not flushed.
    cached: BTreeSet<(u8, u64, u64)>,
    /// Fallible calls so far, and the numbers of those that fail.
    calls: u64,
    faults: Vec<u64>,
    violations: Vec<String>,
}

impl State {
    fn fails(&mut self) -> bool {
        self.calls += 1;
        self.faults.contains(&(self.calls - 1))
    }

    fn reached(&self, frame: u64) -> bool {
        self.cached.iter().any(|&(_, _, to)| to == frame)
    }

    /// Records a violation if a device still reaches a frame whose owner gives the frame back.
    fn give_back(&mut self, frame: u64, why: &str) {
        if self.reached(frame) {
            let call = self.calls;
            self.violations.push(format!(
                "call {call}: {why} frame {frame}, which a device reaches"
            ));
        }
    }

    fn first_free(&self, count: u64) -> Option<u64> {
        let is_free = |frame: u64| self.owners[frame as usize] == Owner::Free;
        (1..FRAMES - POOL - count).find(|&first| (first..first + count).all(is_free))
    }
}

/// The host.
#[derive(Debug)]
pub struct Host(RefCell<State>);

impl Host {
    /// Makes a host whose fallible calls with these numbers fail.
    #[must_use]
    pub fn new(faults: &[u64]) -> Self {
        Self(RefCell::new(State {
            ram: vec![0; (FRAMES * FRAME) as usize],
            owners: vec![Owner::Free; FRAMES as usize],
            entries: BTreeMap::new(),
            cached: BTreeSet::new(),
            calls: 0,
            faults: faults.to_vec(),
            violations: Vec::new(),
        }))
    }

    /// Makes these further calls fail, counted from now.
    pub fn fail_next(&self, numbers: &[u64]) {
        let mut state = self.0.borrow_mut();
        let now = state.calls;
        state.faults = numbers.iter().map(|number| now + number).collect();
    }

    /// Returns the number of fallible calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.borrow().calls
    }

    /// Returns the violations so far, and forgets them.
    #[must_use]
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().violations)
    }

    /// Takes a frame for the program, which may lend it.
    pub fn take_frame(&self) -> Option<u64> {
        let mut state = self.0.borrow_mut();
        let frame = state.first_free(1)?;
        state.owners[frame as usize] = Owner::Program;
        Some(frame)
    }

    /// Gives the program's frame back.
    pub fn give_frame(&self, frame: u64) {
        let mut state = self.0.borrow_mut();
        state.give_back(frame, "the program gives back");
        state.owners[frame as usize] = Owner::Free;
    }

    /// Returns whether a device in this address space reaches a frame of a program's memory. The rest of such a frame
    /// may belong to another owner.
    #[must_use]
    pub fn sees_partial_frame(&self, space: u8) -> bool {
        let state = self.0.borrow();
        let mut seen = state.cached.iter().filter(|&&(of, ..)| of == space);
        seen.any(|&(_, _, frame)| matches!(state.owners[frame as usize], Owner::User(_)))
    }

    /// Writes bytes as a device: through cached translations, or at the bus address without an IOMMU. Returns whether
    /// the device reached the first byte.
    pub fn device_write(&self, dev: u8, at: u64, bytes: &[u8]) -> bool {
        let mut state = self.0.borrow_mut();
        let page = at / FRAME;
        let space = space(dev);
        let entry = state
            .cached
            .iter()
            .find(|&&(of, from, _)| (of, from) == (space, page));
        let frame = match (is_translated(dev), entry) {
            (false, _) => page,
            (true, Some(&(_, _, frame))) => frame,
            (true, None) => return false,
        };
        let start = (frame * FRAME + at % FRAME) as usize;
        state.ram[start..][..bytes.len()].copy_from_slice(bytes);
        true
    }
}

const fn is_translated(dev: u8) -> bool {
    dev < 3
}

/// Address space of a device.
#[must_use]
pub const fn space(dev: u8) -> u8 {
    if dev == 1 { 0 } else { dev }
}

impl Platform for Host {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        FRAME
    }

    fn device_info(&self, dev: u8) -> Option<DeviceInfo> {
        let limits = Limits {
            mask: (1 << 24) - 1,
            ..Limits::default()
        };
        let info = DeviceInfo::new(limits).with_bounce(BounceMode::WhenNeeded);
        match dev {
            0..3 => Some(info.with_iommu(Some(IommuInfo::new(FRAME, 20)))),
            3 => Some(info.with_bounce(BounceMode::Always)),
            _ => None,
        }
    }

    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment, Error> {
        let mut state = self.0.borrow_mut();
        let count = request.len / FRAME;
        let first = state.first_free(count).filter(|_| !state.fails());
        let first = first.ok_or(Error::no_ram(request.len))?;
        for frame in first..first + count {
            state.owners[frame as usize] = Owner::Layer;
        }
        let start = (first * FRAME) as usize;
        state.ram[start..][..request.len as usize].fill(0);
        Ok(Segment::pages(PhysAddr::new(first * FRAME), request.len))
    }

    fn free_pages(&self, pages: Segment) {
        let mut state = self.0.borrow_mut();
        let first = pages.addr.get() / FRAME;
        for frame in first..first + pages.len / FRAME {
            state.give_back(frame, "the layer frees");
            assert_eq!(state.owners[frame as usize], Owner::Layer, "freed twice");
            state.owners[frame as usize] = Owner::Free;
        }
    }

    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }

    fn iommu_group(&self, dev: u8) -> u8 {
        space(dev)
    }

    fn is_untrusted(&self, dev: u8) -> bool {
        dev == 1
    }

    fn iommu_map(
        &self,
        dev: u8,
        at: DmaAddr,
        to: PhysAddr,
        len: u64,
        _: Prot,
    ) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        if state.fails() {
            return Err(Error::no_ram(FRAME));
        }
        for page in 0..len / FRAME {
            let (from, to) = (at.get() / FRAME + page, to.get() / FRAME + page);
            let stale = state
                .cached
                .iter()
                .find(|&&(of, page, _)| (of, page) == (dev, from))
                .copied();
            if let Some(stale) = stale {
                state.violations.push(format!(
                    "an address is reused that hardware still uses: {stale:?}"
                ));
            }
            let owner = state.owners[to as usize];
            if owner == Owner::Free && to < FRAMES - POOL {
                state
                    .violations
                    .push(format!("the layer maps frame {to}, which is free"));
            }
            state.entries.insert((dev, from), to);
            state.cached.insert((dev, from, to));
        }
        Ok(())
    }

    fn iommu_unmap(&self, dev: u8, at: DmaAddr, len: u64) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        if state.fails() {
            return Err(Error::hardware());
        }
        for page in at.get() / FRAME..(at.get() + len) / FRAME {
            state.entries.remove(&(dev, page));
        }
        Ok(())
    }

    fn iommu_flush(&self, dev: u8) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        if state.fails() {
            return Err(Error::hardware());
        }
        let State {
            entries, cached, ..
        } = &mut *state;
        cached.retain(|&(of, from, to)| of != dev || entries.get(&(of, from)) == Some(&to));
        Ok(())
    }

    fn iommu_map_done(&self, _: u8, _: DmaAddr, _: u64) -> Result<(), Error> {
        match self.0.borrow_mut().fails() {
            true => Err(Error::hardware()),
            false => Ok(()),
        }
    }

    fn bounce_pool(&self) -> Option<Segment> {
        Some(Segment::pages(
            PhysAddr::new((FRAMES - POOL) * FRAME),
            POOL * FRAME,
        ))
    }

    fn bounce_in(&self, slot: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error> {
        self.copy(from, slot, len)
    }

    fn bounce_out(&self, slot: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error> {
        self.copy(slot, to, len)
    }

    fn bounce_zero(&self, slot: PhysAddr, len: u64) {
        self.0.borrow_mut().ram[slot.get() as usize..][..len as usize].fill(0);
    }

    type User = ();
    type Pinned = Segment;

    // A program's memory is a frame, taken from RAM while it is pinned.
    fn pin_user(&self, (): &(), addr: u64, len: u64, _: bool) -> Result<Segment, Error> {
        let mut state = self.0.borrow_mut();
        let missing = Error::BadUserMemory(Reason::new(Constraint::UserPages, len, 0));
        let (offset, fails) = (addr % FRAME, state.fails());
        if fails || offset + len > FRAME {
            return Err(missing);
        }
        let shared = (1..FRAMES - POOL)
            .find(|&frame| matches!(state.owners[frame as usize], Owner::User(_)));
        let frame = shared.or_else(|| state.first_free(1)).ok_or(missing)?;
        let owner = &mut state.owners[frame as usize];
        *owner = match *owner {
            Owner::User(pins) => Owner::User(pins + 1),
            _ => Owner::User(1),
        };
        Ok(Segment::pages(PhysAddr::new(frame * FRAME + offset), len))
    }

    fn unpin_user(&self, pinned: Segment, _: bool) {
        let mut state = self.0.borrow_mut();
        let frame = pinned.addr.get() / FRAME;
        match state.owners[frame as usize] {
            Owner::User(1) => {
                state.give_back(frame, "the layer unpins");
                state.owners[frame as usize] = Owner::Free;
            }
            Owner::User(pins) => state.owners[frame as usize] = Owner::User(pins - 1),
            other => state
                .violations
                .push(format!("unpinned frame {frame} of {other:?}")),
        }
    }

    fn pinned_segment(&self, pinned: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pinned)
    }

    type Vmap = u64;
    type Mmap = ();

    fn vmap(&self, runs: &[Segment], _: Caching) -> Result<u64, Error> {
        let fails = self.0.borrow_mut().fails();
        let only = runs.first().filter(|_| runs.len() == 1 && !fails);
        only.map(|run| run.addr.get()).ok_or(Error::no_ram(FRAME))
    }

    fn vmap_read(&self, view: &u64, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        out.copy_from_slice(&self.0.borrow().ram[(view + offset) as usize..][..out.len()]);
        Ok(())
    }

    fn vmap_write(&self, view: &u64, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.0.borrow_mut().ram[(view + offset) as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    vb3_dma::without!(caches);
}

impl Host {
    fn copy(&self, from: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        if state.fails() {
            let gone = Reason::new(Constraint::UserPages, len, 0);
            return Err(Error::BadUserMemory(gone));
        }
        let (from, to) = (from.get() as usize, to.get() as usize);
        state.ram.copy_within(from..from + len as usize, to);
        Ok(())
    }
}
