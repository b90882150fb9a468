//! The mapping layer over a platform.
//!
//! A table is mapped in two steps. First the parts the device cannot reach are given a bounce
//! slot; then the physical runs that result get bus addresses: their own without an IOMMU, one
//! run of I/O virtual addresses with one.

mod alloc;
mod bounce;
mod coherent;
mod direct;
mod flush;
mod iommu;
mod layout;
mod links;
mod list;
mod ops;
mod sync;

pub use links::Links;
use list::List;

use crate::iova::IovaAllocator;
use crate::ranges::RangeAllocator;
use crate::{
    Caching, Constraint, Counters, DeviceInfo, Direction, DmaAddr, DmaSegment, Error, Live,
    Platform, Reason, Segment, SegmentMode,
};
use ::alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Implements [`DmaOps`](crate::DmaOps) over a [`Platform`].
///
/// One I/O address space per device. All calls are `&mut`: the host brings the lock.
#[derive(Debug)]
pub struct Mapper<P: Platform> {
    platform: P,
    devices: Vec<DeviceState<P::Device>>,
    pools: Vec<coherent::Chunk<P>>,
    bounce: Option<RangeAllocator>,
    live: Live,
    now_ns: u64,
    /// Tells mappers apart: what one made, another does not take.
    id: usize,
    refused: u64,
}

/// Counts mappers.
static MAPPERS: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct DeviceState<D> {
    dev: D,
    counters: Counters,
    iova: Option<IovaAllocator>,
    mode: SegmentMode,
    queue: flush::Queue,
    region: Option<coherent::Region>,
}

/// A range of I/O virtual addresses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IovaRange {
    base: u64,
    len: u64,
    granule: u64,
}

/// Memory allocated through a [`Mapper`].
///
/// Goes back through [`DmaOps::free`](crate::DmaOps::free); dropped, its memory stays allocated.
#[derive(Debug)]
#[must_use = "goes back through DmaOps::free"]
pub struct Alloc<P: Platform> {
    owner: usize,
    backing: coherent::Backing<P::Pages>,
    segments: Vec<Segment>,
    len: u64,
    /// The memory comes in aligned pieces of so many bytes: what follows the last byte in its piece
    /// is this allocation's, too. 1 if nothing is known.
    granule: u64,
    caching: Caching,
    home: Option<Home<P::Device>>,
}

/// The mapping an allocation has for the device it was made for.
#[derive(Debug)]
struct Home<D> {
    dev: D,
    addr: DmaAddr,
    iova: Option<IovaRange>,
    needs_sync: bool,
}

impl<P: Platform> Alloc<P> {
    /// The platform's pages, which may be more than was asked for; `None` for memory without, and
    /// for a part of a pool.
    #[must_use]
    pub fn pages(&self) -> Option<&P::Pages> {
        match &self.backing {
            coherent::Backing::Pages(pages) => Some(pages),
            coherent::Backing::Region { .. } | coherent::Backing::Pool { .. } => None,
        }
    }

    /// The physical runs, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes, a multiple of the page size.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Bytes of memory it holds: whole pages of the IOMMU where those are larger than the CPU's.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        round_up(self.len, self.granule).unwrap_or(self.len)
    }

    /// The device it was made for; `None` for virtual memory.
    #[must_use]
    pub fn device(&self) -> Option<P::Device> {
        self.home.as_ref().map(|home| home.dev)
    }
}

/// Whose memory a table shows.
#[derive(Debug)]
enum Memory<Pinned> {
    /// The layer's own: an allocation, which is flushed for when it is freed.
    Allocated,
    /// A program's.
    Pinned(Pinned),
    /// The caller's, who may use it for something else once the table is gone.
    Callers,
}

/// A scatter table: the CPU's side. It outlives its mappings.
#[derive(Debug)]
#[must_use = "goes back through DmaOps::free_table"]
pub struct Table<P: Platform> {
    owner: usize,
    memory: Memory<P::Pinned>,
    segments: Vec<Segment>,
    len: u64,
    /// Each run starts on a multiple of this, and what follows it up to the next multiple has the
    /// same owner. 1 if nothing is known.
    granule: u64,
    caching: Caching,
}

impl<P: Platform> Table<P> {
    /// The physical runs, in order. Runs that touch stand as one.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How the CPU maps the memory.
    #[must_use]
    pub fn caching(&self) -> Caching {
        self.caching
    }
}

/// A scatter table mapped for one device: the device's side.
#[derive(Debug)]
#[must_use = "goes back through DmaOps::unmap"]
pub struct Mapping<P: Platform> {
    owner: usize,
    dev: P::Device,
    direction: Direction,
    output: List<DmaSegment>,
    /// What cache maintenance works on: the parts that do not bounce.
    direct: List<Segment>,
    bounced: List<bounce::Bounced>,
    iova: Option<IovaRange>,
    needs_sync: bool,
}

impl<P: Platform> Mapping<P> {
    /// The device it was made for.
    #[must_use]
    pub fn device(&self) -> P::Device {
        self.dev
    }

    /// Which way the bytes go.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The runs as the device sees them, in order.
    #[must_use]
    pub fn segments(&self) -> &[DmaSegment] {
        &self.output
    }

    /// Bytes that go through the bounce pool.
    #[must_use]
    pub fn bounced_bytes(&self) -> u64 {
        self.bounced
            .iter()
            .fold(0, |sum, b| sum.saturating_add(b.len))
    }
}

impl<P: Platform> Mapper<P> {
    /// A layer over `platform`.
    ///
    /// # Errors
    /// `Invalid` for a page size that is no power of two or a bounce pool that is not page
    /// aligned; `NoMemory`.
    pub fn new(platform: P) -> Result<Self, Error> {
        if !platform.page_size().is_power_of_two() {
            return Err(Error::Invalid);
        }
        let bounce = bounce::slots(&platform)?;
        Ok(Self {
            platform,
            devices: Vec::new(),
            pools: Vec::new(),
            bounce,
            live: Live::default(),
            now_ns: 0,
            id: MAPPERS.fetch_add(1, Ordering::Relaxed),
            refused: 0,
        })
    }

    /// The platform below.
    #[must_use]
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// The platform below, to be changed. What the layer holds must stay valid.
    pub fn platform_mut(&mut self) -> &mut P {
        &mut self.platform
    }

    /// Gives the platform back. What is still held goes with it.
    pub fn into_platform(self) -> P {
        self.platform
    }

    /// What was done for `dev` so far.
    #[must_use]
    pub fn counters(&self, dev: P::Device) -> Counters {
        self.state(dev)
            .map_or_else(Counters::default, |state| state.counters)
    }

    /// What is held now, over all devices.
    #[must_use]
    pub fn live(&self) -> Live {
        self.live
    }

    /// How often something was given to this mapper that another one made. Each time it was left
    /// alone, and stays with the mapper that made it.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether an object of mapper `owner` is one of this one's; counts it if not.
    fn is_own(&mut self, owner: usize) -> bool {
        if owner != self.id {
            self.refused = self.refused.saturating_add(1);
        }
        owner == self.id
    }

    /// Sets how tables are laid out for `dev`. What is mapped stays as it is.
    ///
    /// # Errors
    /// `NoMemory`.
    pub fn set_segment_mode(&mut self, dev: P::Device, mode: SegmentMode) -> Result<(), Error> {
        self.state_mut(dev)?.mode = mode;
        Ok(())
    }

    /// Counts bytes that somebody above copied for `dev`.
    pub fn count_copy(&mut self, dev: P::Device, bytes: u64) {
        self.count(dev, |c| {
            c.bytes_copied = c.bytes_copied.saturating_add(bytes)
        });
    }

    /// What the platform says of `dev`.
    ///
    /// # Errors
    /// `Invalid` for no device, or one whose limits or page sizes nothing could meet.
    fn device_info(&self, dev: P::Device) -> Result<DeviceInfo, Error> {
        match self.platform.device_info(dev) {
            Some(info) if info.is_valid() => Ok(info),
            _ => Err(Error::Invalid),
        }
    }

    fn state(&self, dev: P::Device) -> Option<&DeviceState<P::Device>> {
        self.devices.iter().find(|state| state.dev == dev)
    }

    /// The state of `dev`, if anything was done for it.
    #[inline]
    fn known_mut(&mut self, dev: P::Device) -> Option<&mut DeviceState<P::Device>> {
        self.devices.iter_mut().find(|state| state.dev == dev)
    }

    /// The state of `dev`, made on first use.
    fn state_mut(&mut self, dev: P::Device) -> Result<&mut DeviceState<P::Device>, Error> {
        let known = self.devices.iter().position(|state| state.dev == dev);
        let index = match known {
            Some(index) => index,
            None => {
                let state = DeviceState {
                    dev,
                    counters: Counters::default(),
                    iova: None,
                    mode: SegmentMode::default(),
                    queue: flush::Queue::default(),
                    region: None,
                };
                push(&mut self.devices, state)?;
                self.devices.len().saturating_sub(1)
            }
        };
        self.devices.get_mut(index).ok_or(Error::Invalid)
    }

    #[inline]
    fn count(&mut self, dev: P::Device, change: impl FnOnce(&mut Counters)) {
        if let Some(state) = self.known_mut(dev) {
            change(&mut state.counters);
        } else if let Ok(state) = self.state_mut(dev) {
            change(&mut state.counters);
        }
    }
}

/// Appends without ever aborting for want of memory.
fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Error> {
    list.try_reserve(1)
        .map_err(|_| heap_exhausted(size_of::<T>()))?;
    list.push(item);
    Ok(())
}

/// Appends a physical run, joined to the last one where they touch.
fn push_segment(list: &mut Vec<Segment>, segment: Segment) -> Result<(), Error> {
    if join_segment(list.last_mut(), segment)? {
        return Ok(());
    }
    push(list, segment)
}

/// Makes a physical run longer by one that begins where it ends; returns whether it does.
fn join_segment(last: Option<&mut Segment>, segment: Segment) -> Result<bool, Error> {
    if segment.len == 0 || segment.addr.checked_add(segment.len - 1).is_none() {
        return Err(Error::Invalid);
    }
    let touching = last.filter(|last| last.addr.checked_add(last.len) == Some(segment.addr));
    match touching {
        Some(last) if last.kind == segment.kind => {
            last.len = last.len.checked_add(segment.len).ok_or(Error::Invalid)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn copy_segments(from: &[Segment]) -> Result<Vec<Segment>, Error> {
    let mut list = Vec::new();
    list.try_reserve_exact(from.len())
        .map_err(|_| heap_exhausted(size_of_val(from)))?;
    list.extend_from_slice(from);
    Ok(list)
}

fn total_len(segments: &[Segment]) -> Result<u64, Error> {
    segments
        .iter()
        .try_fold(0u64, |sum, segment| sum.checked_add(segment.len))
        .ok_or(Error::Invalid)
}

/// Collects physical runs by index until there are no more.
fn collect(next: impl Fn(usize) -> Option<Segment>) -> Result<Vec<Segment>, Error> {
    let mut list = Vec::new();
    let mut index = 0usize;
    while let Some(segment) = next(index) {
        push_segment(&mut list, segment)?;
        index = index.checked_add(1).ok_or(Error::Invalid)?;
    }
    Ok(list)
}

/// The heap of the layer itself had no room.
fn heap_exhausted(bytes: usize) -> Error {
    // CAST: usize is at most 64 bits wide wherever this builds.
    Error::NoMemory(Reason {
        constraint: Constraint::Ram,
        wanted: bytes as u64,
        found: 0,
    })
}

/// Memory does not fill the granules of an IOMMU: it begins or ends `found` bytes into one.
const fn granule_reason(granule: u64, page: u64, found: u64) -> Reason {
    Reason {
        // Where a granule is a page or less, an alignment is all that is asked for.
        constraint: if granule > page {
            Constraint::IommuGranule
        } else {
            Constraint::Alignment
        },
        wanted: granule,
        found,
    }
}

/// Rounds up to a power of two's multiple.
const fn round_up(value: u64, align: u64) -> Option<u64> {
    match value.checked_add(align - 1) {
        Some(sum) => Some(sum & !(align - 1)),
        None => None,
    }
}
