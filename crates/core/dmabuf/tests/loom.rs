//! Runs two threads on `Buffers`, in all orders with at most two preemptions.
//!
//! All locks are loom's: those of memories, of the tables, of fences and of the mapping layer. At each lock,
//! loom may switch to the other thread, and so it finds two locks that are taken in either order. It does not
//! explore the atomics, which are those of `core`: the pointer by which a table publishes new slots, the count of
//! imported fences, and the clock.

use loom::sync::{Arc, Mutex};
use std::collections::BTreeMap;
use std::sync::MutexGuard;
use vb3_dma::{
    Attrs, DeviceInfo, Direction, DmaAddr, Error, IommuInfo, Limits, Locks, Mapper, PageRequest,
    PhysAddr, Platform, Prot, Segment, SegmentKind,
};
use vb3_dmabuf::fence::{Owner, Status, Usage};
use vb3_dmabuf::{Backing, Buffers, Live, MemoryId, Spec, UserKind};

const PAGE: u64 = 4096;
const CAMERA: u8 = 0;
const DISPLAY: u8 = 1;

#[derive(Debug)]
struct Modelled;

impl Locks for Modelled {
    type Lock<T> = Mutex<T>;

    fn new_lock<T>(value: T) -> Mutex<T> {
        Mutex::new(value)
    }

    fn with<T, R>(lock: &Mutex<T>, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut lock.lock().unwrap())
    }
}

/// A host with page tables that counts pages.
struct Host {
    /// Numbers of pages allocated and freed so far.
    pages: Mutex<(u64, u64)>,
    /// The memory at each device's addresses. Not loom's lock, because each call uses it once.
    entries: std::sync::Mutex<BTreeMap<(u8, u64), u64>>,
}

impl Platform for Host {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn device_info(&self, _: u8) -> Option<DeviceInfo> {
        let space = IommuInfo::new(PAGE, 32);
        Some(DeviceInfo::new(Limits::default()).with_iommu(Some(space)))
    }

    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment, Error> {
        let mut pages = self.pages.lock().unwrap();
        pages.0 += 1;
        Ok(Segment {
            addr: PhysAddr::new(pages.0 << 20),
            len: request.len,
            kind: SegmentKind::Pages,
        })
    }

    fn free_pages(&self, pages: Segment) {
        let is_reached = |entries: MutexGuard<'_, BTreeMap<(u8, u64), u64>>| {
            entries.values().any(|at| *at == pages.addr.get())
        };
        let reached = is_reached(self.entries.lock().unwrap());
        assert!(!reached, "freed, although a device reaches it");
        self.pages.lock().unwrap().1 += 1;
    }

    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }

    fn iommu_map(
        &self,
        dev: u8,
        iova: DmaAddr,
        at: PhysAddr,
        _: u64,
        _: Prot,
    ) -> Result<(), Error> {
        let mut entries = self.entries.lock().unwrap();
        let former = entries.insert((dev, iova.get()), at.get());
        assert_eq!(former, None, "mapped twice at once");
        Ok(())
    }

    fn iommu_unmap(&self, dev: u8, iova: DmaAddr, _: u64) -> Result<(), Error> {
        self.entries.lock().unwrap().remove(&(dev, iova.get()));
        Ok(())
    }

    fn iommu_flush(&self, _: u8) -> Result<(), Error> {
        Ok(())
    }

    vb3_dma::without!(caches, bounce, users, views);
}

type Shared = Buffers<Mapper<Host, Modelled>, (), Modelled>;

fn allocate(buffers: &Shared) -> MemoryId {
    let spec = Spec {
        backing: Backing::Coherent(CAMERA),
        len_bytes: PAGE,
        direction: Direction::FromDevice,
        attrs: Attrs::empty(),
    };
    buffers.allocate(spec).unwrap()
}

/// Runs two threads on a memory, in all orders. Each thread releases what it acquires; `end` releases the
/// rest.
fn explore(
    one: impl Fn(&Shared, MemoryId) + Send + Sync + Copy + 'static,
    two: impl Fn(&Shared, MemoryId) + Send + Sync + Copy + 'static,
    end: impl Fn(&Shared, MemoryId) + Send + Sync + Copy + 'static,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let host = Host {
            pages: Mutex::new((0, 0)),
            entries: std::sync::Mutex::default(),
        };
        let layer = Mapper::with_locks(host, 2).unwrap();
        let buffers = Arc::new(Shared::with_locks(layer, ()));
        let id = allocate(&buffers);
        let other = Arc::clone(&buffers);
        let thread = loom::thread::spawn(move || one(&other, id));
        two(&buffers, id);
        thread.join().unwrap();
        end(&buffers, id);
        assert_eq!(buffers.live(), Live::default());
        assert!(buffers.ops().live().is_empty());
        let (given, back) = *buffers.ops().platform().pages.lock().unwrap();
        assert_eq!(given, back, "each freed once");
        assert!(buffers.with_fences(|fences, _| fences.is_empty()));
    });
}

fn drop_plane(buffers: &Shared, id: MemoryId) {
    buffers.drop_user(id, UserKind::Plane);
}

/// Opens and closes a mapping of the memory, if the memory still exists.
fn map_once(buffers: &Shared, id: MemoryId) {
    match buffers.vma_open(id) {
        Ok(vma) => {
            let is_there = buffers.inspect(id, |_| ()).is_some();
            assert!(is_there, "a mapping keeps the memory");
            assert!(!buffers.vma_close(vma), "no dma-buf");
        }
        Err(err) => assert_eq!(err.errno(), 22, "gone"),
    }
}

#[test]
fn last_handle_frees_memory_once() {
    explore(map_once, drop_plane, |_, _| ());
}

#[test]
fn two_threads_allocate_at_the_same_time() {
    let both = |buffers: &Shared, id| {
        let own = allocate(buffers);
        assert_ne!(own, id);
        drop_plane(buffers, own);
    };
    explore(both, both, drop_plane);
}

/// Exports the memory, maps it for another device, and releases both.
fn show(buffers: &Shared, id: MemoryId) {
    let Ok(buf) = buffers.export(id) else {
        return;
    };
    if let Ok(shown) = buffers.attach_dynamic(id, DISPLAY) {
        let key = shown.key();
        let mapped = buffers.with_memory(id, |memory, cx| memory.map(cx, key, Direction::ToDevice));
        match mapped {
            Ok(()) => {
                let unmapped = buffers.with_memory(id, |memory, cx| {
                    memory.unmap(cx, key);
                    Ok(())
                });
                unmapped.unwrap();
            }
            Err(err) => assert_eq!(err.errno(), 19, "revoked"),
        }
        buffers.detach(shown);
    }
    assert!(buffers.put_buf(buf), "the only reference");
}

#[test]
fn revoked_memory_is_mapped_no_more() {
    let revoke = |buffers: &Shared, id| buffers.revoke(id).unwrap();
    explore(show, revoke, |buffers, id| {
        let revoked = buffers.inspect(id, |memory| (memory.is_revoked(), memory.is_shared(0)));
        assert_eq!(revoked, Some((true, false)));
        drop_plane(buffers, id);
    });
}

#[test]
fn memory_is_revoked_while_its_last_handle_ends() {
    let end = |buffers: &Shared, id| {
        let shown = buffers.attach(id, DISPLAY);
        let mapped = shown.map(|shown| (buffers.map(&shown, Direction::ToDevice), shown));
        drop_plane(buffers, id);
        match mapped {
            Ok((mapped, shown)) => {
                assert!(mapped.map_or_else(|err| err.errno() == 19, |runs| runs.len() == 1));
                // The memory is gone, and the mapping with it.
                buffers.detach(shown);
            }
            Err(err) => assert_eq!(err.errno(), 19, "revoked"),
        }
    };
    let revoke = |buffers: &Shared, id| buffers.revoke(id).unwrap();
    explore(end, revoke, |_, _| ());
}

/// Makes a sync file of the memory's fences, imports it into the memory, and drops it.
fn ask(buffers: &Shared, id: MemoryId) {
    let file = buffers.export_fences(id, Usage::Read).unwrap();
    buffers
        .import_fences(id, file.fences(), Usage::Write)
        .unwrap();
    let waits = buffers.is_held_back(id, Usage::Read);
    let status = buffers.with_fences(|fences, _| fences.sync_file_status(&file));
    assert!(
        waits || status != Status::Pending,
        "a pending fence holds readers back"
    );
    buffers.fence_owners(id, |owner| assert_eq!(owner, Owner::Device(CAMERA)));
    buffers.with_fences(|fences, _| fences.put_sync_file(file));
}

#[test]
fn a_program_asks_for_the_fence_of_an_ending_access() {
    let access = |buffers: &Shared, id| {
        let access = buffers.begin_access(id, Owner::Device(CAMERA), Usage::Write);
        buffers.end_access(id, access.unwrap(), Ok(()));
    };
    explore(ask, access, |buffers, id| {
        assert!(!buffers.has_imports() && !buffers.is_busy(id, Usage::Write));
        assert_eq!(buffers.fence_counts(), (1, 1));
        drop_plane(buffers, id);
    });
}

#[test]
fn a_program_asks_for_the_fence_of_a_revoked_access() {
    let access = |buffers: &Shared, id| {
        let access = buffers.begin_access(id, Owner::Device(CAMERA), Usage::Write);
        buffers.revoke(id).unwrap();
        buffers.end_access(id, access.unwrap(), Ok(()));
    };
    explore(ask, access, |buffers, id| {
        assert_eq!(buffers.fence_counts(), (1, 1));
        drop_plane(buffers, id);
    });
}
