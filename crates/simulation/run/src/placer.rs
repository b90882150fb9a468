//! Places buffers of devices with `place=lazy`.
//!
//! Such a buffer has bytes (a memfd) after REQBUFS, and an address after its first mapping. `vb3_dmabuf`
//! asks the [`Placer`] for a place that suits all attached devices, and asks again if a device attaches that
//! cannot use the place. `vb3_queue` maps the buffer again after a move. A buffer does not move while a
//! device owns it. S_FMT fixes line lengths before it is known which devices share a buffer. So if a device
//! of a run has `place=lazy`, all devices of the run use the widest stride.

use crate::needs::{Wants, of_programs};
use crate::node::Node;
use std::ops::RangeInclusive;
use vb3_dma::{
    Caching, Coherency, Constraint, DmaOps as _, Error, Mapper, Memory, PhysAddr, Platform as _,
    Reason, Segment,
};
use vb3_dmabuf::{Backing, Spec};
use vb3_machine::solve::{Heap, MemoryRequest, Needs, Placement, Rule, Run, conflict, solve};
use vb3_machine::{Device, Machine, Spot};

/// Chooses a place that suits all devices that share a buffer.
#[derive(Debug)]
pub(super) struct Placer {
    devices: Vec<Wants>,
}

impl Placer {
    pub(super) fn new(nodes: &[Node]) -> Self {
        Self {
            devices: nodes.iter().map(Node::wants).collect(),
        }
    }

    fn needs(
        &self,
        ops: &Mapper<Machine>,
        devices: &mut dyn Iterator<Item = Device>,
    ) -> Vec<Needs> {
        let wants = |dev| self.devices.iter().find(|wants| wants.dma == dev);
        devices.filter_map(|dev| wants(dev)?.needs(ops)).collect()
    }
}

/// Rounds `len_bytes` up to whole pages, or fails if the result overflows.
fn whole(machine: &Machine, len_bytes: u64) -> Result<u64, Error> {
    let piece = machine.unmapped_granule();
    len_bytes
        .checked_next_multiple_of(piece)
        .ok_or(Error::Invalid)
}

fn request(machine: &Machine, len_bytes: u64, count: u32) -> MemoryRequest {
    MemoryRequest {
        len_bytes,
        line_bytes: 0,
        lines: 0,
        count,
        page_bytes: machine.unmapped_granule(),
    }
}

/// Converts free segments of at least `least` bytes to runs, which end at the address `last` at most.
pub(super) fn runs(free: &[Segment], last: u64, least: u64) -> Vec<Run> {
    let runs = free.iter().filter_map(|segment| {
        let first = segment.addr.get();
        let end = first
            .saturating_add(segment.len)
            .min(last.saturating_add(1));
        (first < end && segment.len >= least).then(|| Run {
            first,
            len: end - first,
        })
    });
    runs.collect()
}

/// A part of the machine's memory where buffers can be placed.
#[derive(Clone)]
pub(super) struct Area {
    pub(super) piece: Option<u64>,
    pub(super) free: Vec<Run>,
    pub(super) pages: bool,
    pub(super) align: u64,
    pub(super) cached: bool,
    pub(super) protected: bool,
}

impl Area {
    /// Returns the area for the solver. `directed`: whether the host chooses the place in it.
    pub(super) fn heap(&self, directed: bool) -> Heap<'_> {
        Heap {
            piece: self.piece,
            free: &self.free,
            directed,
            align: self.align,
            cached: self.cached,
            pages: self.pages,
            protected: self.protected,
        }
    }
}

/// Returns an area of cached pages, which is not protected.
pub(super) fn ordinary(machine: &Machine, piece: Option<u64>, free: &[Segment]) -> Area {
    Area {
        piece,
        free: runs(free, u64::MAX, 0),
        pages: true,
        align: machine.page_size(),
        cached: true,
        protected: false,
    }
}

/// Returns the machine's areas of memory, the least scarce first.
///
/// The order is: scattered pages, contiguous ordinary memory, the contiguous area, reserved areas in RAM,
/// memory on the chip, protected memory. The same areas follow a second time, as uncached memory.
fn areas(machine: &Machine, len_bytes: u64) -> Vec<Area> {
    let free = machine.free_memory();
    let area = |piece, free: &[_]| ordinary(machine, piece, free);
    let pieces = Some(machine.unmapped_granule());
    let mut areas = vec![area(pieces, &free.ordinary)];
    if len_bytes <= machine.profile().max_ordinary_run() {
        areas.push(area(None, &free.ordinary));
    }
    areas.push(area(None, &free.contiguous));
    let named = machine.profile().areas.iter().zip(&free.areas);
    let mut reserved: Vec<Area> = named
        .map(|(known, free)| Area {
            pages: known.pages,
            cached: known.pages,
            protected: known.protected,
            ..area(None, free)
        })
        .collect();
    reserved.sort_by_key(|area| (area.protected, !area.pages));
    areas.append(&mut reserved);
    let cached = areas.iter().filter(|area| area.cached);
    let uncached = cached.map(|area| Area {
        cached: false,
        ..area.clone()
    });
    let mut uncached: Vec<Area> = uncached.collect();
    areas.append(&mut uncached);
    areas
}

/// Places the requested buffers for these devices. An error has the reason, such as the shortage.
fn place(machine: &Machine, request: &MemoryRequest, needs: &[Needs]) -> Result<Placement, Error> {
    let areas = areas(machine, request.len_bytes);
    let heaps: Vec<Heap<'_>> = areas.iter().map(|area| area.heap(true)).collect();
    let Some(mut placement) = solve(request, needs, &heaps) else {
        return Err(Error::NoMemory(shortage(machine, request, needs, &heaps)));
    };
    let heap = areas.get(placement.heap);
    if heap.is_some_and(|area| area.piece.is_some()) {
        // `solve` has chosen the lowest pages, which devices with small DMA masks need. Any page that all
        // these devices reach will do.
        let reach = needs.iter().map(Needs::reach);
        (placement.first, placement.last) = reach.fold((0, u64::MAX), |(first, last), reach| {
            (reach.0.max(first), reach.1.min(last))
        });
    }
    Ok(placement)
}

/// Returns whether the machine has a place for these buffers that suits all devices.
pub(super) fn suits(machine: &Machine, request: &MemoryRequest, needs: &[Needs]) -> bool {
    let areas = areas(machine, request.len_bytes);
    let heaps: Vec<Heap<'_>> = areas.iter().map(|area| area.heap(true)).collect();
    solve(request, needs, &heaps).is_some()
}

/// Returns why no place suits: the devices' conflicting need, or a lack of RAM.
fn shortage(
    machine: &Machine,
    request: &MemoryRequest,
    needs: &[Needs],
    heaps: &[Heap<'_>],
) -> Reason {
    let free = machine.free_memory();
    let all = free.ordinary.iter().chain(&free.contiguous);
    let free_bytes = all.map(|run| run.len).sum();
    let wanted = request.len_bytes.saturating_mul(u64::from(request.count));
    let ram = Reason {
        constraint: Constraint::Ram,
        wanted,
        found: free_bytes,
    };
    let blamed = conflict(request, needs, heaps).and_then(|mut refused| refused.next());
    let Some(blamed) = blamed else {
        return ram;
    };
    let enough = blamed.enough.unwrap_or(request.len_bytes);
    let (value, longest) = (blamed.value, longest(machine));
    let (constraint, wanted, found) = match blamed.rule {
        Rule::Last => (Constraint::Mask, enough, value),
        Rule::Contiguous if machine.profile().cma > 0 => {
            (Constraint::ContiguousPool, wanted, longest)
        }
        Rule::Contiguous => (Constraint::Contiguous, request.len_bytes, longest),
        Rule::MaxSegment | Rule::SegmentCount => (Constraint::MaxSegment, request.len_bytes, value),
        Rule::Boundary | Rule::IoBoundary => (Constraint::Boundary, enough, value),
        Rule::Alignment => (Constraint::Alignment, value, enough),
        Rule::IovaSpace => (Constraint::IovaSpace, enough, value),
        Rule::First => (Constraint::BusWindow, enough, value),
        Rule::Pages => (Constraint::PagesBehind, 1, 0),
        Rule::Coherent => (Constraint::Coherent, 1, 0),
        Rule::Protected => (Constraint::Protected, 1, 0),
        Rule::Unprotected => (Constraint::Unprotected, 1, 0),
        _ => return ram,
    };
    Reason {
        constraint,
        wanted,
        found,
    }
}

/// Returns the longest contiguous run of free memory, in bytes.
fn longest(machine: &Machine) -> u64 {
    let free = machine.free_memory();
    let longest = |runs: &[Segment]| runs.iter().map(|run| run.len).max().unwrap_or(0);
    let ordinary = longest(&free.ordinary).min(machine.profile().max_ordinary_run());
    longest(&free.contiguous).max(ordinary)
}

impl vb3_dmabuf::Placer<Mapper<Machine>> for Placer {
    fn allocate(
        &self,
        ops: &Mapper<Machine>,
        spec: &Spec<Device>,
    ) -> Result<Memory<Machine>, Error> {
        let Backing::Lazy { device, coherency } = spec.backing else {
            return Err(Error::Invalid);
        };
        let machine = ops.platform();
        if spec.len_bytes > machine.ram_bytes() {
            return Err(Error::NoMemory(Reason {
                constraint: Constraint::SizeLimit,
                wanted: spec.len_bytes,
                found: machine.ram_bytes(),
            }));
        }
        let len = whole(machine, spec.len_bytes)?;
        // Counts all memory that is reserved and not placed yet as if this device had reserved it.
        let before = machine.promised_bytes().div_ceil(len);
        let count = u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX);
        let needs = self.needs(ops, &mut std::iter::once(device));
        place(machine, &request(machine, len, count), &needs)?;
        let is_uncached =
            coherency == Coherency::Coherent && ops.coherency(device) == Coherency::NonCoherent;
        let caching = if is_uncached {
            Caching::Uncached
        } else {
            Caching::Cached
        };
        let pages = machine.promise_pages(len, caching)?;
        ops.adopt_unplaced(pages, spec.len_bytes, caching)
    }

    fn find(
        &self,
        ops: &Mapper<Machine>,
        len_bytes: u64,
        devices: &mut dyn Iterator<Item = Device>,
        is_mapped: bool,
    ) -> Result<(usize, RangeInclusive<u64>), Error> {
        let machine = ops.platform();
        let mut needs = self.needs(ops, devices);
        needs.extend(is_mapped.then(of_programs));
        let len = whole(machine, len_bytes)?;
        let found = place(machine, &request(machine, len, 1), &needs)?;
        Ok((found.heap, found.first..=found.last))
    }

    fn place(
        &self,
        ops: &Mapper<Machine>,
        alloc: &mut Memory<Machine>,
        heap: usize,
        addresses: RangeInclusive<u64>,
    ) -> Result<u64, Error> {
        let machine = ops.platform();
        let areas = areas(machine, whole(machine, alloc.len_bytes())?);
        let area = areas.get(heap).ok_or(Error::Invalid)?;
        let first = PhysAddr::new(*addresses.start());
        let spot = match area.piece {
            Some(granule) => Spot::Pieces {
                granule,
                first,
                last: PhysAddr::new(*addresses.end()),
            },
            None => Spot::Run(first),
        };
        let caching = match area.cached {
            true => ops.alloc_caching(alloc),
            false => Caching::Uncached,
        };
        ops.place_pages(alloc, caching, |machine, pages| {
            machine.place_pages(pages, spot, caching)
        })
    }
}
