//! Random operations with faults, against a small model that predicts each result. An operation fails
//! exactly when a fault is injected or the model expects it, and never leaks.

use super::super::Allocator;
use super::*;
use alloc::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Alloc { dev: u8, len: u8, cached: bool },
    UserPtr { dev: u8, page: u8, len: u8 },
    Export(u8),
    Import { dev: u8, buf: u8, len: u8 },
    Map(u8),
    Unmap(u8),
    Prepare(u8, u8),
    Finish(u8, u8),
    Copy(u8),
    Put(u8),
    CloneBuf(u8),
    PutBuf(u8),
    VmaOpen(u8),
    VmaClose(u8),
    Sync(u8, u8),
    Revoke(u8),
    Fault(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let n = any::<u8>;
    prop_oneof![
        4 => (n(), 1u8..4, any::<bool>()).prop_map(|(dev, len, cached)| Op::Alloc { dev, len, cached }),
        3 => (n(), 0u8..4, 0u8..5).prop_map(|(dev, page, len)| Op::UserPtr { dev, page, len }),
        4 => n().prop_map(Op::Export),
        6 => (n(), n(), 0u8..4).prop_map(|(dev, buf, len)| Op::Import { dev, buf, len }),
        6 => n().prop_map(Op::Map),
        2 => n().prop_map(Op::Unmap),
        5 => (n(), 0u8..4).prop_map(|(i, h)| Op::Prepare(i, h)),
        5 => (n(), 0u8..4).prop_map(|(i, h)| Op::Finish(i, h)),
        2 => n().prop_map(Op::Copy),
        4 => n().prop_map(Op::Put),
        1 => n().prop_map(Op::CloneBuf),
        3 => n().prop_map(Op::PutBuf),
        2 => n().prop_map(Op::VmaOpen),
        2 => n().prop_map(Op::VmaClose),
        2 => (n(), 0u8..10).prop_map(|(i, f)| Op::Sync(i, f)),
        1 => n().prop_map(Op::Revoke),
        4 => (0u8..4).prop_map(Op::Fault),
    ]
}

/// A plane in the model.
struct Known {
    plane: TestPlane,
    dev: Device<u32>,
    /// The model's number of the memory, for allocated or imported planes.
    memory: Option<usize>,
    imported: bool,
    /// Length in bytes for which the queue got an address.
    mapped: Option<u64>,
    /// Reference that keeps an imported buffer alive.
    buf: Option<BufRef>,
}

#[derive(Default)]
struct Model {
    planes: Vec<Known>,
    bufs: Vec<(BufRef, usize)>,
    vmas: Vec<(vb3_dmabuf::Vma, usize)>,
    /// All memories ever made, including freed ones.
    memories: Vec<Made>,
}

/// A memory in the model.
struct Made {
    len: u64,
    /// Whether the memory is scattered for devices without an IOMMU.
    scattered: bool,
    revoked: bool,
}

/// Returns whether `dev` gets `len` bytes of scattered memory as one run.
fn is_one_run(dev: Device<u32>, len: u64) -> bool {
    let joins = dev.dma != DIRECT;
    dev.allocator != Allocator::Contig || joins || len <= PAGE
}

/// Compares a result with the predicted one, whose `Err` is an errno. After an injected fault, any error is
/// correct.
fn assert_foretold<T>(
    what: &Op,
    done: &Result<T, PlaneError>,
    foretold: Result<(), i32>,
    fault: bool,
) {
    let found = done.as_ref().map(|_| ()).map_err(|e| e.errno());
    if fault {
        assert!(found.is_err(), "{what:?} hid a fault");
    } else {
        assert_eq!(found, foretold, "{what:?}");
    }
}

impl Model {
    /// Counts the memories that have a plane, a dma-buf or a mapping.
    fn live(&self) -> u64 {
        let named = |m: usize| {
            self.planes
                .iter()
                .any(|p| p.memory == Some(m) && (!p.imported || p.buf.is_some()))
                || self.bufs.iter().any(|b| b.1 == m)
                || self.vmas.iter().any(|v| v.1 == m)
        };
        (0..self.memories.len()).filter(|&m| named(m)).count() as u64
    }
}

const DEVICES: [Device<u32>; 6] = [
    Device::contig(CAMERA),
    Device::contig(DISPLAY),
    Device::contig(DIRECT),
    Device::contig(BOUNCER),
    Device::vmalloc(DISPLAY),
    Device::sg(DIRECT),
];

fn pick<T>(list: &mut [T], n: u8) -> Option<(usize, &mut T)> {
    let index = usize::from(n) % list.len().max(1);
    list.get_mut(index).map(|item| (index, item))
}

fn direction(n: u8) -> Direction {
    [
        Direction::ToDevice,
        Direction::FromDevice,
        Direction::Bidirectional,
    ][usize::from(n / 5 % 3)]
}

struct Run {
    t: Test,
    m: Model,
    user: FakeUser,
}

impl Run {
    fn new() -> Self {
        let t = planes();
        let user = t.ops().platform().add_user(4, false);
        Self {
            t,
            m: Model::default(),
            user,
        }
    }

    /// Returns whether a fault was injected since `faults` was read.
    fn fault_since(&self, faults: u64) -> bool {
        self.t.ops().faults() > faults
    }

    fn acquire(&mut self, op: &Op) {
        let before = (self.t.live(), self.t.ops().live());
        let faults = self.t.ops().faults();
        let made = match *op {
            Op::Alloc { dev, len, cached } => {
                let d = DEVICES[usize::from(dev % 6)];
                let coherency = if cached {
                    Coherency::NonCoherent
                } else {
                    Coherency::Coherent
                };
                let len = u64::from(len) * PAGE;
                let made = self.t.alloc(d, len, direction(dev), coherency);
                assert_foretold(op, &made, Ok(()), self.fault_since(faults));
                made.map(|plane| {
                    self.m.memories.push(Made {
                        len,
                        // Behind an IOMMU, pages make one run.
                        scattered: d.allocator != Allocator::Contig || d.dma != DIRECT,
                        revoked: false,
                    });
                    (plane, d, Some(self.m.memories.len() - 1), None)
                })
            }
            Op::UserPtr { dev, page, len } => {
                let d = DEVICES[usize::from(dev % 6)];
                let (addr, len) = (u64::from(page) * PAGE, u64::from(len) * PAGE);
                let there = len > 0 && addr + len <= 4 * PAGE;
                let base = FakeUser::BASE + addr;
                let made = self.t.get_userptr(d, &self.user, base, len, direction(dev));
                let foretold = match len {
                    // dma-sg returns ENOMEM for every cause.
                    _ if d.allocator == Allocator::Sg && (len == 0 || !there) => Err(12),
                    0 => Err(22),
                    _ if !there || !is_one_run(d, len) => Err(14),
                    _ => Ok(()),
                };
                assert_foretold(op, &made, foretold, self.fault_since(faults));
                made.map(|plane| (plane, d, None, None))
            }
            Op::Import { dev, buf, len } => {
                let d = DEVICES[usize::from(dev % 6)];
                let Some((_, (buf, memory))) = pick(&mut self.m.bufs, buf) else {
                    return;
                };
                let memory = *memory;
                let len = u64::from(len) * PAGE;
                let Ok(own) = self.t.clone_dmabuf(buf) else {
                    panic!("a reference can always be taken");
                };
                let before = (self.t.live(), self.t.ops().live());
                let attached = self.t.attach_dmabuf(d, &own, len, direction(dev));
                let fault = self.fault_since(faults);
                let made = &self.m.memories[memory];
                // An import from before the revocation may still exist.
                let may_be_kept = made.revoked && d.allocator != Allocator::Vmalloc;
                let foretold = match len {
                    _ if len > made.len => Err(14),
                    0 => Err(22),
                    _ if may_be_kept && attached.is_err() => Err(19),
                    _ => Ok(()),
                };
                assert_foretold(op, &attached, foretold, fault);
                match attached {
                    Ok(plane) => Ok((plane, d, Some(memory), Some(own))),
                    Err(_) => {
                        assert_eq!((self.t.live(), self.t.ops().live()), before);
                        self.t.put_dmabuf(own);
                        return;
                    }
                }
            }
            _ => return,
        };
        match made {
            Ok((plane, dev, memory, buf)) => self.m.planes.push(Known {
                mapped: None,
                imported: buf.is_some(),
                plane,
                dev,
                memory,
                buf,
            }),
            Err(_) => {
                assert_eq!((self.t.live(), self.t.ops().live()), before);
            }
        }
    }

    fn plane_op(&mut self, op: &Op) {
        let faults = self.t.ops().faults();
        // If the copy of a bounced mapping fails, a sync cannot return the error.
        let bounces = self.m.planes.iter().any(|p| p.dev.dma == BOUNCER);
        let t = &mut self.t;
        let (Op::Map(n) | Op::Unmap(n) | Op::Prepare(n, _) | Op::Finish(n, _) | Op::Copy(n)) = *op
        else {
            return;
        };
        let Some((_, known)) = pick(&mut self.m.planes, n) else {
            return;
        };
        let plane = &mut known.plane;
        let made = known.memory.map(|m| &self.m.memories[m]);
        let revoked = made.is_some_and(|m| m.revoked);
        let has_device = known.dev.allocator != Allocator::Vmalloc;
        let fault = |t: &Test| t.ops().faults() > faults;
        match *op {
            Op::Map(_) => {
                let scattered = made.is_some_and(|m| m.scattered);
                let foretold = match known.mapped {
                    _ if !known.imported => Err(22),
                    Some(_) => Ok(()),
                    None if revoked => Err(19),
                    None if scattered && !is_one_run(known.dev, plane.len_bytes()) => Err(14),
                    None => Ok(()),
                };
                let mapped = t.map_dmabuf(plane);
                let is_silent = bounces && mapped.is_ok();
                assert_foretold(op, &mapped, foretold, fault(t) && !is_silent);
                if mapped.is_ok() {
                    known.mapped = Some(plane.len_bytes());
                }
            }
            Op::Unmap(_) => {
                t.unmap_dmabuf(plane);
                known.mapped = None;
            }
            Op::Prepare(_, h) => {
                let done = t.prepare(plane, HintSkip::from_bits_truncate(h));
                let not_there = known.imported && known.mapped.is_none();
                let own = known.dev.allocator == Allocator::Sg && known.memory.is_some();
                let taken_back = revoked && (known.imported || own);
                let must_fail = has_device && (not_there || taken_back);
                // A bounced plane is copied, and the copy may fail.
                assert!(done.is_err() == must_fail || fault(t), "{op:?}: {done:?}");
            }
            Op::Finish(_, h) => drop(t.finish(plane, HintSkip::from_bits_truncate(h))),
            _ => {
                let mut byte = [0];
                let foretold = if revoked { Err(22) } else { Ok(()) };
                let copied = t.copy_from(plane, 0, &mut byte);
                let is_silent = bounces && copied.is_ok();
                assert_foretold(op, &copied, foretold, fault(t) && !is_silent);
                let past = plane.len_bytes();
                let copied = t.copy_from(plane, past, &mut byte);
                assert_eq!(copied.map_err(PlaneError::errno), Err(22));
            }
        }
        // The device reaches the whole mapped plane from its address.
        if let (Some(len), false, Some(Cookie::Dma(addr))) =
            (known.mapped, revoked, t.cookie(&known.plane))
        {
            let zeroes = vec![0; usize::try_from(len).unwrap()];
            let dev = known.dev.dma;
            let reads = t.ops().dev_read(dev, addr, len).is_some();
            assert!(reads || t.ops().dev_write(dev, addr, &zeroes));
        }
        assert!(known.mapped.is_some() || !known.imported || t.cookie(&known.plane).is_none());
    }

    fn put(&mut self, index: usize) {
        let known = self.m.planes.swap_remove(index);
        self.t.put(known.plane);
        if let Some(buf) = known.buf {
            self.t.put_dmabuf(buf);
        }
    }

    fn handle_op(&mut self, op: &Op) {
        let faults = self.t.ops().faults();
        let t = &mut self.t;
        match *op {
            Op::Export(n) => {
                let Some((_, known)) = pick(&mut self.m.planes, n) else {
                    return;
                };
                let own = known.memory.filter(|_| !known.imported);
                let foretold = match own {
                    Some(m) if self.m.memories[m].revoked => Err(19),
                    Some(_) => Ok(()),
                    None => Err(22),
                };
                let made = t.export(&known.plane);
                let fault = t.ops().faults() > faults;
                assert_foretold(op, &made, foretold, fault);
                if let (Ok(buf), Some(memory)) = (made, own) {
                    self.m.bufs.push((buf, memory));
                }
            }
            Op::CloneBuf(n) => {
                if let Some((_, (buf, memory))) = pick(&mut self.m.bufs, n) {
                    let more = t.clone_dmabuf(buf).expect("a reference");
                    let memory = *memory;
                    self.m.bufs.push((more, memory));
                }
            }
            Op::PutBuf(n) => {
                if let Some((index, _)) = pick(&mut self.m.bufs, n) {
                    let (buf, _) = self.m.bufs.swap_remove(index);
                    t.put_dmabuf(buf);
                }
            }
            Op::VmaOpen(n) => {
                let Some((_, known)) = pick(&mut self.m.planes, n) else {
                    return;
                };
                let own = known.memory.filter(|_| !known.imported);
                let made = t.mmap(&known.plane, 1);
                let fault = t.ops().faults() > faults;
                let foretold = match own {
                    Some(m) if self.m.memories[m].revoked => Err(19),
                    Some(_) => Ok(()),
                    None => Err(22),
                };
                assert_foretold(op, &made, foretold, fault);
                if let (Ok((id, _)), Some(memory)) = (made, own) {
                    let vma = t.buffers().vma_open(id).expect("there");
                    self.m.vmas.push((vma, memory));
                }
            }
            Op::VmaClose(n) => {
                if let Some((index, _)) = pick(&mut self.m.vmas, n) {
                    let (vma, _) = self.m.vmas.swap_remove(index);
                    t.vma_close(vma);
                }
            }
            Op::Sync(n, flags) => {
                if let Some((_, (buf, _))) = pick(&mut self.m.bufs, n) {
                    let known = flags < 8 && flags & 3 != 0;
                    assert_eq!(t.buffers().sync(buf.id(), u64::from(flags)).is_ok(), known);
                }
            }
            Op::Revoke(n) => {
                if let Some((_, (buf, memory))) = pick(&mut self.m.bufs, n) {
                    t.revoke(buf.memory()).unwrap();
                    self.m.memories[*memory].revoked = true;
                }
            }
            Op::Fault(n) => t.ops().fail_after(u64::from(n)),
            _ => {}
        }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Alloc { .. } | Op::UserPtr { .. } | Op::Import { .. } => self.acquire(op),
            Op::Put(n) => {
                if let Some((index, _)) = pick(&mut self.m.planes, n) {
                    self.put(index);
                }
            }
            Op::Map(_) | Op::Unmap(_) | Op::Prepare(..) | Op::Finish(..) | Op::Copy(_) => {
                self.plane_op(op);
            }
            _ => self.handle_op(op),
        }
        assert_eq!(self.t.live().memories, self.m.live());
    }

    fn end(mut self) {
        while !self.m.planes.is_empty() {
            self.put(0);
        }
        for (buf, _) in self.m.bufs.drain(..) {
            self.t.put_dmabuf(buf);
        }
        for (vma, _) in self.m.vmas.drain(..) {
            self.t.vma_close(vma);
        }
        assert_nothing(&self.t);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_error_and_never_a_leak(ops in prop::collection::vec(op(), 1..80)) {
        let mut run = Run::new();
        for op in &ops {
            run.step(op);
        }
        run.end();
    }
}
