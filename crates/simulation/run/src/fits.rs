//! Checks how many buffers fit in memory, before a program asks for any.

use crate::Run;
use crate::memory::RunMemory;
use crate::node::Node;
use crate::summary::queue_name;
use vb3_dma::{Direction, Reason};
use vb3_plane::{Coherency, MemOps as _};
use vb3_v4l2::{Flow, with_queue_driver};

/// How many buffers of a queue fit in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Path of the device node.
    pub device: String,
    /// The device's kind, such as `camera`.
    pub kind: String,
    /// The queue's name in reports.
    pub queue: &'static str,
    /// Number of buffers that REQBUFS would make of those that the caller asked for, with enough memory.
    pub wanted: u32,
    /// Number of buffers that fit, at most `wanted`.
    pub buffers: u32,
    /// Size of one buffer in bytes, all planes together.
    pub size_bytes: u64,
    /// Why no more buffers fit.
    pub reason: Option<Reason>,
}

impl Run {
    /// Finds how many of `buffers` buffers fit in every queue, and frees them again.
    ///
    /// Allocates for one queue after the other, as REQBUFS does, in the initial format of each device. Then
    /// uses the buffers, as QBUF does, which places those with `place=lazy`. With `admission=on`, buffers
    /// that do not all fit are freed before the next queue is tried.
    pub fn fits(&mut self, buffers: u32) -> Vec<Fit> {
        let (mut fits, mut queues, mut files) = (Vec::new(), Vec::new(), Vec::new());
        let devices = self.nodes.iter_mut();
        for node in devices.filter(|node| node.is_listed()) {
            // A memory-to-memory device has queues only while it is open.
            let file = node.video.open(&self.memory).ok();
            let flows = node.video.role().flows();
            for &flow in flows {
                let Some((sizes, bounds)) = setup(node, flow, buffers) else {
                    continue;
                };
                let mut fit = Fit {
                    device: node.path.clone(),
                    kind: node.kind.clone(),
                    queue: queue_name(flow, node.video.planarity()),
                    wanted: bounds.wanted,
                    buffers: 0,
                    size_bytes: sizes.iter().sum(),
                    reason: None,
                };
                let mut made = Vec::new();
                while fit.buffers < bounds.wanted {
                    match allocate(&mut self.memory, node, flow, &sizes) {
                        Ok(buffer) => made.push(buffer),
                        Err(reason) => {
                            fit.reason = reason;
                            break;
                        }
                    }
                    fit.buffers += 1;
                }
                if bounds.all {
                    // With `admission=on`, REQBUFS places all buffers, and keeps none if too few fit.
                    place(&mut self.memory, &mut made, &mut fit);
                    if fit.buffers < bounds.wanted {
                        give_back(&mut self.memory, made.drain(..));
                    }
                }
                if fit.buffers < bounds.least {
                    // A queue with too few buffers keeps none.
                    give_back(&mut self.memory, made.drain(..));
                    fit.buffers = 0;
                }
                queues.push(made);
                fits.push(fit);
            }
            files.push(file);
        }
        for (fit, made) in fits.iter_mut().zip(&mut queues) {
            place(&mut self.memory, made, fit);
        }
        for made in queues {
            give_back(&mut self.memory, made);
        }
        let devices = self.nodes.iter_mut();
        for (node, file) in devices.filter(|node| node.is_listed()).zip(files) {
            if let Some(file) = file {
                node.video.release(&mut self.memory, file);
            }
        }
        fits
    }
}

/// The number of buffers that REQBUFS makes: the wanted number, but at least `least`.
struct Bounds {
    wanted: u32,
    least: u32,
    /// Whether the call fails unless it gets all buffers.
    all: bool,
}

/// Returns the size of each plane in bytes, and the number of buffers with which a device answers REQBUFS.
fn setup(node: &mut Node, flow: Flow, buffers: u32) -> Option<(Vec<u64>, Bounds)> {
    let context = node.video.contexts_mut().next()?;
    let config = context.queue(flow)?.config();
    let (least, max) = (config.min_reqbufs_allocation, config.max_num_buffers);
    let all = config.admission;
    let (sizes, wanted) = with_queue_driver(context.driver_mut(), flow, |driver| {
        let sizes = driver.queue_setup(None).ok()?.as_slice().to_vec();
        let wanted = driver.buffer_count(buffers.max(least).min(max)).ok()?;
        Some((sizes, wanted))
    })??;
    let wanted = wanted.min(max);
    Some((sizes, Bounds { wanted, least, all }))
}

type Plane = vb3_plane::Plane<vb3_machine::Device>;

/// Places a queue's buffers one after the other. At the first failure, records its reason and how many fit.
fn place(memory: &mut RunMemory, made: &mut [Vec<Plane>], fit: &mut Fit) {
    for (placed, buffer) in (0..).zip(made) {
        let refused = buffer
            .iter_mut()
            .find_map(|plane| memory.place(plane).err());
        if let Some(refused) = refused {
            fit.reason = refused.reason();
            fit.buffers = placed;
            return;
        }
    }
}

fn give_back(memory: &mut RunMemory, buffers: impl IntoIterator<Item = Vec<Plane>>) {
    for plane in buffers.into_iter().flatten() {
        memory.put(plane);
    }
}

/// Returns all planes of one buffer, or the reason for the failure.
fn allocate(
    memory: &mut RunMemory,
    node: &Node,
    flow: Flow,
    sizes: &[u64],
) -> Result<Vec<Plane>, Option<Reason>> {
    let direction = match flow {
        Flow::Capture => Direction::FromDevice,
        Flow::Output => Direction::ToDevice,
    };
    let mut planes = Vec::new();
    for &len_bytes in sizes {
        match memory.alloc(node.planes, len_bytes, direction, Coherency::Coherent) {
            Ok(plane) => planes.push(plane),
            Err(e) => {
                planes.into_iter().for_each(|plane| memory.put(plane));
                return Err(e.reason());
            }
        }
    }
    Ok(planes)
}
