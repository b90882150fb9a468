//! dma-heaps: programs allocate dma-bufs of the machine's memory at `/dev/dma_heap/NAME`.
//!
//! A heap allocates pages, or a contiguous run, before any device is involved.
//!
//! Source: Linux 7.2 drivers/dma-buf/dma-heap.c, heaps/system_heap.c and heaps/cma_heap.c; differs:
//! a call that cannot write the descriptor's number leaves no descriptor open.

use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::node::Node;
use crate::refusals::Refused;
use crate::remedy::{CMA_HEAP, SYSTEM_HEAP};
use std::collections::BTreeMap;
use vb3_dma::{
    Attrs, Caching, Constraint, DmaOps as _, Mapper, PageRequest, PhysAddr, Platform as _, Reason,
};
use vb3_dmabuf::BufRef;
use vb3_dmabuf_files::Allocate;
use vb3_frontend::{Errno, FileId, Ioctl, NodeId, NodeKind, Origin};
use vb3_machine::{Device, Machine, Profile};
use vb3_plane::MemOps as _;

/// Major number of heaps. Linux assigns one at boot.
const MAJOR: u32 = 511;

type Alloc = vb3_dma::Memory<Machine>;

/// A heap of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heap {
    name: String,
    of: HeapSource,
}

/// The memory that a heap allocates from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeapSource {
    /// Ordinary memory with this layout.
    Any { contiguous: bool },
    /// The reserved area with this index.
    Area(usize),
    /// A device's own memory.
    Own(Device),
}

/// The heaps of a run.
#[derive(Debug)]
pub(super) struct Heaps {
    all: Vec<Heap>,
    /// The heap's index of each open file.
    files: BTreeMap<FileId, usize>,
}

impl Heaps {
    /// Makes the machine's heaps: pages, the contiguous area, reserved areas and devices' own
    /// memory.
    pub(super) fn new(profile: &Profile, nodes: &[Node]) -> Self {
        let mut all = vec![Heap {
            name: SYSTEM_HEAP.to_owned(),
            of: HeapSource::Any { contiguous: false },
        }];
        if profile.cma > 0 {
            all.push(Heap {
                name: CMA_HEAP.to_owned(),
                of: HeapSource::Any { contiguous: true },
            });
        }
        // Source: Linux 7.2 drivers/dma-buf/heaps/cma_heap.c, CONFIG_DMABUF_HEAPS_CMA_LEGACY.
        all.extend(profile.cma_heap.iter().map(|name| Heap {
            name: name.clone(),
            of: HeapSource::Any { contiguous: true },
        }));
        all.extend(profile.areas.iter().enumerate().map(|(number, area)| Heap {
            name: area.name.clone(),
            of: HeapSource::Area(number),
        }));
        let with_own = nodes.iter().filter(|node| node.sram > 0);
        all.extend(with_own.map(|node| Heap {
            name: node.sram_heap(),
            of: HeapSource::Own(node.dma),
        }));
        Self {
            all,
            files: BTreeMap::new(),
        }
    }
}

fn path(heap: &Heap) -> String {
    format!("/dev/dma_heap/{}", heap.name)
}

impl Kind for Heaps {
    fn name(&self) -> &'static str {
        "heap"
    }

    fn nodes(&self, _: &Run) -> Vec<vb3_frontend::Node> {
        let kind = NodeKind::Class {
            name: "dma_heap",
            major: MAJOR,
        };
        let node = |(minor, heap)| vb3_frontend::Node {
            kind,
            ..vb3_frontend::Node::video(NodeId(0), path(heap), minor)
        };
        (0..).zip(&self.all).map(node).collect()
    }

    fn open(&mut self, _: &mut Run, node: usize, file: FileId, _: Origin) -> Result<(), Refused> {
        self.files.insert(file, node);
        Ok(())
    }

    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        let ioctl = call.ioctl()?;
        let heap = self.files.get(&call.file).and_then(|at| self.all.get(*at));
        let heap = heap.ok_or(Errno::ENODEV)?;
        let done = run.allocate_dmabuf(heap, ioctl).map(Answer::from);
        done.map_err(|refused| refused.by(|| path(heap), Some(Allocate::NAME)))
    }

    fn release(&mut self, _: &mut Run, file: FileId) {
        self.files.remove(&file);
    }
}

impl Run {
    /// Answers `DMA_HEAP_IOCTL_ALLOC`.
    fn allocate_dmabuf(&mut self, heap: &Heap, call: Ioctl<'_>) -> Result<(), Refused> {
        self.set_now();
        let wanted = Allocate::read(call, self.memory.ops().page_size())?;
        let buf = self.heap_buffer(heap, wanted.len_bytes)?;
        let how = (wanted.cloexec, wanted.access, wanted.number);
        let shares = self.shares.get_mut();
        let made = shares.install(&mut self.memory, buf, call.caller, how);
        made.map_err(|(e, buf)| {
            self.memory.put_dmabuf(buf);
            e.into()
        })
    }

    /// Allocates a dma-buf from a heap.
    fn heap_buffer(&mut self, heap: &Heap, len: u64) -> Result<BufRef, Refused> {
        let no_memory = |reason| Refused::for_reason(Errno::ENOMEM, reason);
        let ram = self.memory.ops().platform().ram_bytes();
        if len > ram {
            return Err(no_memory(Some(Reason {
                constraint: Constraint::Ram,
                wanted: len,
                found: ram,
            })));
        }
        let mut alloc = allocate(self.memory.ops(), heap.of, len);
        if alloc.is_err() && self.shares.get_mut().look(&mut self.memory) {
            // `look` has freed the memory of exports that programs had closed, so this tries again.
            alloc = allocate(self.memory.ops(), heap.of, len);
        }
        let alloc = alloc.map_err(|e| no_memory(e.reason()))?;
        let buf = (self.memory.buffers()).adopt(alloc, len);
        buf.map_err(|_| no_memory(None))
    }
}

/// Allocates `len` bytes, rounded up to whole pages, from the memory `of`.
fn allocate(ops: &Mapper<Machine>, of: HeapSource, len: u64) -> Result<Alloc, vb3_dma::Error> {
    let machine = ops.platform();
    let pages = match of {
        HeapSource::Own(dev) => return ops.alloc_coherent(dev, len, Attrs::empty()),
        HeapSource::Area(area) => machine.alloc_in_area(area, len)?,
        HeapSource::Any { contiguous } => {
            let granule = match contiguous {
                false => machine.unmapped_granule(),
                true => machine.page_size(),
            };
            machine.alloc_pages(PageRequest {
                len: len
                    .checked_next_multiple_of(granule)
                    .ok_or(vb3_dma::Error::Invalid)?,
                granule,
                contiguous,
                max_addr: PhysAddr::new(u64::MAX),
                caching: Caching::Cached,
                device: None,
            })?
        }
    };
    ops.adopt(pages)
}
