//! What there is to report of devices and memory.

use super::memory::{Memory, Missed};
use super::node::Node;
use crate::report::{DeviceReport, Held, MemoryReport, MissingSync, QueueReport};
use vb3_devices::Device;
use vb3_devices::spec::Allocator;
use vb3_dmabuf::SyncKind;
use vb3_machine::profile::PAGE_SIZE;
use vb3_plane::Cookie;
use vb3_queue::Memory as MemoryModel;
use vb3_v4l2::{Flow, Planarity, VideoDevice, VideoDriver};

/// Sees frames come, and which memory they came in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamWatch {
    memory: Option<MemoryModel>,
    done: u64,
    first_ns: Option<u64>,
    longest_ns: u64,
}

impl StreamWatch {
    /// Looks at the queue after a tick or call.
    pub(super) fn look(&mut self, video: &VideoDevice<Memory, Device<Cookie>>, now_ns: u64) {
        self.memory = video.queue().memory().or(self.memory);
        if !video.queue().is_streaming() {
            self.first_ns = None;
        }
        let done = video.statistics().queue.done;
        if done != self.done {
            self.done = done;
            let first = *self.first_ns.get_or_insert(now_ns);
            self.longest_ns = self.longest_ns.max(now_ns.saturating_sub(first));
        }
    }
}

const fn model_name(memory: Option<MemoryModel>) -> &'static str {
    match memory {
        Some(MemoryModel::Mmap) => "mmap",
        Some(MemoryModel::UserPtr) => "userptr",
        Some(MemoryModel::DmaBuf) => "dmabuf",
        None => "",
    }
}

fn queue_name(driver: &Device<Cookie>) -> &'static str {
    match (driver.flow(), driver.planarity()) {
        (Flow::Capture, Planarity::Single) => "video-capture",
        (Flow::Capture, Planarity::Multi) => "video-capture-mplane",
        (Flow::Output, Planarity::Single) => "video-output",
        (Flow::Output, Planarity::Multi) => "video-output-mplane",
    }
}

/// What a device did.
pub(super) fn device(node: &Node, memory: &Memory) -> DeviceReport {
    let statistics = node.video.statistics();
    let planes = memory.counters(node.dma);
    let mapper = memory.ops().counters(node.dma);
    DeviceReport {
        node: node.path.display().to_string(),
        kind: node.kind.clone(),
        allocator: match node.allocator {
            Allocator::Contig => "contig",
            Allocator::Vmalloc => "vmalloc",
        }
        .to_owned(),
        queues: vec![QueueReport {
            queue: queue_name(node.video.driver()).to_owned(),
            memory: model_name(node.watch.memory).to_owned(),
            frames: statistics.queue.done,
            dropped: statistics.driver.dropped,
            bytes_copied: planes.copied_bytes,
            bytes_bounced: mapper.bytes_bounced,
            syncs_for_device: planes.syncs_for_device,
            syncs_for_cpu: planes.syncs_for_cpu,
            maps: planes.maps,
            unmaps: planes.unmaps,
            span_ns: node.watch.longest_ns,
            peak_bytes: planes.peak_bytes,
        }],
    }
}

/// What the machine's memory went through.
pub(super) fn memory(memory: &Memory, peak_bytes: u64) -> MemoryReport {
    let machine = memory.ops().platform();
    MemoryReport {
        peak_bytes,
        peak_contiguous_bytes: machine.cma_peak(),
    }
}

/// What is held now.
pub(super) fn held(memory: &Memory, nodes: &[Node], files: usize) -> Held {
    let machine = memory.ops().platform().held();
    let mapper = memory.ops().live();
    let planes = memory.live();
    Held {
        pages: machine.ram_bytes.div_ceil(PAGE_SIZE),
        iova_bytes: mapper.iova_bytes,
        mappings: mapper.mappings,
        bounce_slots: mapper.bounce_bytes,
        buffers: nodes
            .iter()
            .map(|node| u64::from(node.video.queue().num_buffers()))
            .sum(),
        dmabufs: planes.buffers.bufs,
        attachments: planes.buffers.attachments,
        files: files as u64,
        fds: 0,
    }
}

/// Which plane a memory is.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    device: String,
    queue: &'static str,
    buffer: u32,
    plane: u32,
}

/// Finds the plane whose memory has this number.
pub(super) fn place(nodes: &[Node], memory: u64) -> Option<Place> {
    nodes.iter().find_map(|node| {
        let is_it =
            |plane: &vb3_plane::Plane<_>| plane.memory().is_some_and(|id| id.get() == memory);
        let (buffer, plane) = node.video.queue().find_plane(is_it)?;
        Some(Place {
            device: node.path.display().to_string(),
            queue: queue_name(node.video.driver()),
            buffer,
            plane,
        })
    })
}

/// Whose buffer missed which sync.
pub(super) fn missing(place: Place, missed: Missed) -> MissingSync {
    MissingSync {
        device: place.device,
        queue: place.queue.to_owned(),
        buffer: place.buffer,
        plane: place.plane,
        sync: match missed.sync {
            SyncKind::BeginRead => "for-cpu",
            SyncKind::EndWrite => "for-device",
        }
        .to_owned(),
        times: missed.times,
    }
}
