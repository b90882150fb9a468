//! Finds memory that all devices could have used, after one of them refused a buffer.
//!
//! The solver, `vb3_machine::solve`, knows neither machines nor nodes. This module converts the machine's
//! limits to the solver's needs, and the machine's memory to heaps.

use crate::memory::RunMemory;
use crate::needs::Wants;
use crate::node::Node;
use crate::observer::RefusedImport;
use crate::placer::{self, Area, runs};
use vb3_devices::spec::Allocator;
use vb3_dma::{Coherency, Constraint, DmaOps as _, Platform as _, Segment};
use vb3_machine::solve::{Blamed, Heap, MemoryRequest, Needs, conflict, solve};
use vb3_machine::{Device, Machine};
use vb3_report::{Demand, Refusal, Remedy};
use vb3_v4l2::VideoDriver as _;

/// Linux's name of the heap of pages.
pub(super) const SYSTEM_HEAP: &str = "system";
/// Linux's name of the heap of the contiguous area, set up by the command line or a device tree.
pub(super) const CMA_HEAP: &str = "default_cma_region";

/// Constraints that a buffer in other memory could have satisfied.
const MET_ELSEWHERE: [Constraint; 15] = [
    Constraint::Alignment,
    Constraint::Boundary,
    Constraint::BufferSize,
    Constraint::BusWindow,
    Constraint::Coherent,
    Constraint::Contiguous,
    Constraint::IommuGranule,
    Constraint::IovaSpace,
    Constraint::Mask,
    Constraint::MaxSegment,
    Constraint::NoBounce,
    Constraint::PagesBehind,
    Constraint::Protected,
    Constraint::SegmentCount,
    Constraint::Unprotected,
];

/// Returns whether a refusal comes from this import, and other memory would have helped.
pub(super) fn is_of(nodes: &[Node], import: &RefusedImport, refusal: &Refusal) -> bool {
    let node = nodes.iter().find(|node| node.dma == import.device);
    let mut met = MET_ELSEWHERE.iter().map(|constraint| constraint.name());
    refusal.errno != 0
        && met.any(|name| name == refusal.constraint)
        && node.is_some_and(|node| node.path == refusal.device)
}

/// Formats a device's kind and the path of its node.
fn name(node: &Node) -> String {
    format!("{} ({})", node.kind, node.path)
}

/// Finds memory that suits the refusing device and all other devices that use the buffer.
pub(super) fn find(
    nodes: &[Node],
    memory: &RunMemory,
    import: RefusedImport,
    refusal: &Refusal,
) -> Option<Remedy> {
    find_for(nodes, memory, import, (refusal, None))
}

/// Does the same as [`find`]. `card`: the refusing device is a display card, with this path and these needs.
pub(super) fn find_for(
    nodes: &[Node],
    memory: &RunMemory,
    import: RefusedImport,
    (refusal, card): (&Refusal, Option<(&str, Wants)>),
) -> Option<Remedy> {
    let seen = memory.buffers().inspect(import.memory, |shared| {
        let attached = shared.attachments().iter();
        let attached =
            attached.map(|(_, attachment)| (attachment.device(), attachment.is_pinned()));
        (shared.device(), attached.collect::<Vec<_>>())
    });
    let (made_for, attached) = seen?;
    let users = attached.iter().map(|(device, _)| *device);
    let users: Vec<Device> = users.chain(made_for).chain([import.device]).collect();
    let users: Vec<&Node> = (nodes.iter())
        .filter(|node| users.contains(&node.dma))
        .collect();
    let importer = nodes.iter().find(|node| node.dma == import.device);
    if importer.is_none() && card.is_none() {
        return None;
    }
    let request = request(importer, import.len_bytes, memory.ops().page_size());
    let wants = users.iter().map(|node| node.wants());
    let wants = wants.chain(card.map(|(_, wants)| wants));
    let mut needs: Vec<Needs> = wants
        .filter_map(|wants| wants.needs(memory.ops()))
        .collect();
    let mut names: Vec<String> = users.iter().map(|node| name(node)).collect();
    names.extend(card.map(|(path, _)| format!("kms ({path})")));
    if refusal.constraint == Constraint::IovaSpace.name() {
        // Free I/O addresses may be fragmented. `found` of the refusal is their longest run.
        let refused = users.iter().zip(&mut needs);
        let refused = refused.filter(|(node, _)| node.dma == import.device);
        for iommu in refused.filter_map(|(_, needs)| needs.iommu.as_mut()) {
            iommu.free_bytes = iommu.free_bytes.min(refusal.found);
        }
    }
    // Leaves out the exporter, since the refused memory is its own.
    let others: Vec<&Node> = (users.iter().copied())
        .filter(|node| Some(node.dma) != made_for)
        .collect();
    let machine = memory.ops().platform();
    let heaps = heaps(machine, &request);
    let own = own_memory_of(&others, machine, &request);
    let (heap_views, own_views) = (views(&heaps), views(&own));
    let mut remedy = Remedy {
        devices: names.clone(),
        ..Remedy::default()
    };
    let from_heap = solve(&request, &needs, &heap_views);
    let from_device = solve(&request, &needs, &own_views);
    if let Some((name, _)) = from_heap.and_then(|placed| heaps.get(placed.heap)) {
        remedy.heap.clone_from(name);
    }
    if let Some((name, _)) = from_device.and_then(|placed| own.get(placed.heap)) {
        remedy.exporter.clone_from(name);
    }
    let owner = nodes
        .iter()
        .find(|node| Some(node.dma) == made_for && node.allocator == Allocator::Contig);
    let is_of_place = refusal.constraint != Constraint::IovaSpace.name();
    if let Some(owner) = owner
        && is_of_place
        && placer::suits(machine, &request, &needs)
    {
        if owner.planes.lazy {
            remedy.pinned_by = pins(&attached, &users);
        } else {
            remedy.lazy = owner.path.clone();
        }
    }
    if let Some(placement) = from_heap.or(from_device) {
        remedy.buffers = request.count;
        remedy.size_bytes = placement.len_bytes;
        remedy.stride_bytes = placement.stride;
    } else if remedy.lazy.is_empty() {
        let all: Vec<Heap<'_>> = heap_views.into_iter().chain(own_views).collect();
        let refused = conflict(&request, &needs, &all)?;
        let demand = |blamed: Blamed| Demand {
            device: names.get(blamed.device).cloned().unwrap_or_default(),
            constraint: blamed.rule.name().to_owned(),
            value: blamed.value,
            enough: blamed.enough,
        };
        remedy.conflict = refused.map(demand).collect();
    }
    Some(remedy)
}

/// Returns the devices whose attachments prevent the memory from being moved.
fn pins(attached: &[(Device, bool)], users: &[&Node]) -> Vec<String> {
    let mut users = users.to_vec();
    users.retain(|node| attached.contains(&(node.dma, true)));
    users.into_iter().map(name).collect()
}

/// Describes the memory that the importing queue needs: for each plane of each buffer, a piece of the refused
/// length, with the current picture's line length.
fn request(importer: Option<&Node>, len_bytes: u64, page_bytes: u64) -> MemoryRequest {
    let mut request = MemoryRequest {
        len_bytes,
        line_bytes: 0,
        lines: 0,
        count: 1,
        page_bytes,
    };
    let Some(importer) = importer else {
        return request;
    };
    for context in importer.video.contexts() {
        for &flow in importer.video.role().flows() {
            let format = context.driver().format(flow);
            // `len_bytes` is the length that the program gave, or else the buffer's length. Both may exceed
            // `sizeimage`.
            let planes = format.planes.iter().take(format.num_planes);
            let planes = planes.filter(|plane| u64::from(plane.sizeimage) <= len_bytes);
            let plane = planes.max_by_key(|plane| plane.sizeimage);
            let (Some(plane), Some(queue)) = (plane, context.queue(flow)) else {
                continue;
            };
            let num_planes = u32::try_from(format.num_planes).unwrap_or(1);
            let count = queue.num_buffers().saturating_mul(num_planes).max(1);
            if let Some(lines) = plane.sizeimage.checked_div(plane.bytesperline) {
                request.line_bytes = u64::from(plane.bytesperline);
                request.lines = u64::from(lines);
            }
            request.count = request.count.max(count);
        }
    }
    request
}

/// Memory where buffers can be allocated, with its name for the user.
type NamedHeap = (String, Area);

fn views(places: &[NamedHeap]) -> Vec<Heap<'_>> {
    places.iter().map(|(_, area)| area.heap(false)).collect()
}

/// Returns the heaps of the machine's RAM, without devices' own memory.
fn heaps(machine: &Machine, request: &MemoryRequest) -> Vec<NamedHeap> {
    let free = machine.free_memory();
    let profile = machine.profile();
    let heap = |piece, free: &[Segment]| Area {
        // On a machine with private memory, devices reach only shared memory. This memory is not shared.
        protected: profile.private_memory,
        ..placer::ordinary(machine, piece, free)
    };
    let pieces = Some(machine.unmapped_granule());
    let mut heaps = vec![(SYSTEM_HEAP.to_owned(), heap(pieces, &free.ordinary))];
    if profile.cma > 0 {
        let pool = Area {
            align: machine.cma_align(request.len_bytes),
            ..heap(None, &free.contiguous)
        };
        heaps.push((CMA_HEAP.to_owned(), pool));
    }
    for (known, free) in profile.areas.iter().zip(&free.areas) {
        let area = Area {
            pages: known.pages,
            cached: known.pages,
            protected: profile.private_memory || known.protected,
            ..heap(None, free)
        };
        heaps.push((known.name.clone(), area));
    }
    heaps
}

/// Returns the memory that each device allocates from; empty on a machine with SRAM for devices.
fn own_memory_of(nodes: &[&Node], machine: &Machine, request: &MemoryRequest) -> Vec<NamedHeap> {
    let nodes = nodes.iter().filter(|_| machine.profile().sram == 0);
    nodes
        .filter_map(|node| own_memory(node, machine, request))
        .collect()
}

/// Returns the memory that a device's queues allocate from.
fn own_memory(node: &Node, machine: &Machine, request: &MemoryRequest) -> Option<NamedHeap> {
    let info = machine.device_info(node.dma)?;
    let free = machine.free_memory();
    let last = machine.phys_limit(node.dma, info.limits.mask).get();
    let whole = info.limits.block_align(request.len_bytes);
    let mut align = machine
        .min_address_align(node.dma)
        .max(whole)
        .max(machine.page_size());
    let (piece, free) = match (node.allocator, &info.iommu) {
        (Allocator::Contig, None) if machine.profile().cma > 0 => {
            align = align.max(machine.cma_align(request.len_bytes));
            (None, runs(&free.contiguous, last, 0))
        }
        (Allocator::Contig, None) if request.len_bytes <= machine.profile().max_ordinary_run() => {
            (None, runs(&free.ordinary, last, request.len_bytes))
        }
        (Allocator::Contig, Some(iommu)) => (
            Some(iommu.granule()?.max(machine.page_size())),
            runs(&free.ordinary, u64::MAX, 0),
        ),
        _ => return None,
    };
    let area = Area {
        piece,
        free,
        align,
        pages: true,
        cached: info.coherency == Coherency::Coherent,
        protected: false,
    };
    Some((node.path.clone(), area))
}
