//! Collects what devices and memory did, for the report.

use crate::memory::RunMemory;
use crate::node::Node;
use crate::observer::Missed;
use vb3_devices::spec::Allocator;
use vb3_dma::DmaOps as _;
use vb3_dma::SyncFor;
use vb3_dmabuf::{MemoryId, SlabKey};
use vb3_queue::{Memory as MemoryModel, Queue};
use vb3_report::{DeviceReport, EarlyAccess, Held, MemoryReport, MissingSync, QueueReport};
use vb3_v4l2::{Flow, Format, Planarity, Role};

const fn model_name(memory: Option<MemoryModel>) -> &'static str {
    match memory {
        Some(MemoryModel::Mmap) => "mmap",
        Some(MemoryModel::UserPtr) => "userptr",
        Some(MemoryModel::DmaBuf) => "dmabuf",
        None => "",
    }
}

pub(super) const fn queue_name(flow: Flow, planarity: Planarity) -> &'static str {
    match (flow, planarity) {
        (Flow::Capture, Planarity::Single) => "video-capture",
        (Flow::Capture, Planarity::Multi) => "video-capture-mplane",
        (Flow::Output, Planarity::Single) => "video-output",
        (Flow::Output, Planarity::Multi) => "video-output-mplane",
        (Flow::Capture, Planarity::Meta) => "meta-capture",
        (Flow::Output, Planarity::Meta) => "meta-output",
    }
}

/// Returns a format's name and size, such as `YUYV 640x480`.
fn format_name(format: Format) -> String {
    let name = format.fourcc.to_string();
    match (format.width, format.height) {
        (0, 0) => name,
        (width, height) => format!("{name} {width}x{height}"),
    }
}

/// The kind of a loopback's nodes begins with this.
const LOOPBACK: &str = "loopback";

/// Returns a device's entry. The machine counts memory operations per device, not per queue. The entry of the
/// first queue lists them.
pub(super) fn device(node: &Node, memory: &RunMemory) -> DeviceReport {
    let planes = memory.host().counters(node.dma);
    let mapper = memory.ops().counters(node.dma);
    let queue = |flow| {
        let statistics = node.video.statistics(flow);
        let watch = node.watch.of(flow);
        QueueReport {
            queue: queue_name(flow, node.video.planarity()).to_owned(),
            memory: model_name(watch.memory).to_owned(),
            frames: statistics.queue.done,
            dropped: statistics.driver.dropped,
            lost: match (node.video.role(), flow) {
                // A loopback drops only frames that a streaming reader would have got.
                (_, Flow::Capture) if node.kind.starts_with(LOOPBACK) => statistics
                    .driver
                    .dropped
                    .saturating_add(statistics.queue.errors),
                (Role::Capture, _) | (Role::Duplex, Flow::Capture) => {
                    watch.lost.saturating_add(statistics.queue.errors)
                }
                (Role::Output, _) | (Role::Duplex, Flow::Output) => statistics.queue.errors,
                (Role::MemToMem, Flow::Capture) => {
                    statistics.driver.dropped.max(statistics.queue.errors)
                }
                (Role::MemToMem, Flow::Output) | (Role::Subdevice, _) => 0,
            },
            taken_back: match flow {
                Flow::Output => statistics.queue.taken_back,
                Flow::Capture => 0,
            },
            format: watch.format.map(format_name).unwrap_or_default(),
            span_ns: watch.longest_ns,
            span_frames: watch.longest_frames,
            ..QueueReport::default()
        }
    };
    let mut queues: Vec<_> = node
        .video
        .role()
        .flows()
        .iter()
        .copied()
        .map(queue)
        .collect();
    if let Some(first) = queues.first_mut() {
        let flow = node.video.role().flows().first();
        let own = flow.map(|flow| node.video.statistics(*flow).driver);
        let own = own.unwrap_or_default();
        first.bytes_copied = planes.copied_bytes.saturating_add(own.bytes_copied);
        first.bytes_copied_by_codec = own.codec_bytes_copied;
        first.bytes_bounced = mapper.bytes_bounced;
        first.bytes_moved = planes.moved_bytes;
        first.syncs_for_device = planes.syncs_for_device;
        first.syncs_for_cpu = planes.syncs_for_cpu;
        first.maps = planes.maps;
        first.unmaps = planes.unmaps;
        first.peak_bytes = planes.peak_bytes;
    }
    DeviceReport {
        node: node.path.clone(),
        kind: node.kind.clone(),
        allocator: match node.allocator {
            Allocator::Contig => "contig",
            Allocator::Sg => "sg",
            Allocator::Vmalloc => "vmalloc",
        }
        .to_owned(),
        queues,
    }
}

/// Returns the entry of the machine's memory.
pub(super) fn memory(memory: &RunMemory, peak_bytes: u64) -> MemoryReport {
    let machine = memory.ops().platform();
    MemoryReport {
        peak_bytes,
        peak_contiguous_bytes: machine.cma_peak(),
        ..MemoryReport::default()
    }
}

/// Returns all queues of a node's files.
pub(super) fn queues(node: &Node) -> impl Iterator<Item = (Flow, &Queue<RunMemory>)> {
    let flows = node.video.role().flows();
    node.video.contexts().flat_map(move |context| {
        let queue = |&flow| Some((flow, context.queue(flow)?));
        flows.iter().filter_map(queue)
    })
}

/// Returns the resources that programs hold now.
pub(super) fn held(memory: &RunMemory, nodes: &[Node], files: usize) -> Held {
    let page = memory.ops().page_size();
    let machine = memory.ops().platform().held();
    let mapper = memory.ops().live();
    let planes = memory.live();
    Held {
        pages: machine.ram_bytes.div_ceil(page),
        iova_bytes: mapper.iova_bytes,
        mappings: mapper.mappings,
        bounce_bytes: mapper.bounce_bytes,
        buffers: nodes
            .iter()
            .flat_map(queues)
            .map(|(_, queue)| u64::from(queue.num_buffers()))
            .sum(),
        dmabufs: planes.bufs,
        attachments: planes.attachments,
        files: files as u64,
        fds: 0,
    }
}

/// A plane, by device, queue and buffer, for the report.
#[derive(Clone, Debug, Default)]
pub(super) struct PlaneName {
    pub(super) device: String,
    pub(super) queue: &'static str,
    pub(super) buffer: u32,
    pub(super) plane: u32,
}

impl PlaneName {
    /// Makes the report's entry of an early access, without the accessing process.
    pub(super) fn early(self) -> EarlyAccess {
        EarlyAccess {
            device: self.device,
            queue: self.queue.to_owned(),
            buffer: self.buffer,
            plane: self.plane,
            ..EarlyAccess::default()
        }
    }
}

/// Finds a device's plane that imports this memory.
pub(super) fn import_place(
    nodes: &[Node],
    id: MemoryId,
    dma: vb3_machine::Device,
) -> Option<PlaneName> {
    let node = nodes.iter().find(|node| node.dma == dma)?;
    place_of(std::slice::from_ref(node), |plane| {
        plane.used_memory() == Some(id)
    })
}

/// Finds the plane whose memory has this number.
pub(super) fn place(nodes: &[Node], memory: u64) -> Option<PlaneName> {
    place_of(nodes, |plane| {
        plane.memory().is_some_and(|id| id.get() == memory)
    })
}

/// Finds the plane that uses a program's pinned range of memory.
pub(super) fn user_place(nodes: &[Node], id: SlabKey) -> Option<PlaneName> {
    place_of(nodes, |plane| plane.user() == Some(id))
}

fn place_of(
    nodes: &[Node],
    is_it: impl Fn(&vb3_plane::Plane<vb3_machine::Device>) -> bool,
) -> Option<PlaneName> {
    nodes.iter().find_map(|node| {
        let (flow, (buffer, plane)) =
            queues(node).find_map(|(flow, queue)| Some((flow, queue.find_plane(&is_it)?)))?;
        Some(PlaneName {
            device: node.path.clone(),
            queue: queue_name(flow, node.video.planarity()),
            buffer,
            plane,
        })
    })
}

/// Makes the report's entry of a missed sync.
pub(super) fn missing(place: PlaneName, missed: Missed) -> MissingSync {
    MissingSync {
        device: place.device,
        queue: place.queue.to_owned(),
        buffer: place.buffer,
        plane: place.plane,
        sync: match missed.sync {
            SyncFor::Cpu => "for-cpu",
            SyncFor::Device => "for-device",
        }
        .to_owned(),
        times: missed.times,
    }
}
