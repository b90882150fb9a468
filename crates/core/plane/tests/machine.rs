//! Planes over the mapping layer and each built-in simulated machine.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::Mutex;
use vb3_dma::{DmaAddr, Mapper, SyncFor};
use vb3_dmabuf::{BufRef, Observer};
use vb3_machine::profile::BUILTINS;
use vb3_machine::{
    Device as Dev, DeviceLimits, Faults, Machine, Profile, User, UserFault, UserMemory,
};
use vb3_plane::{
    Coherency, Constraint, Cookie, Device, Direction, HintSkip, MemOps, Plane, PlaneError, Planes,
};

const PAGE: u64 = 4096;
const FRAME: u64 = 640 * 480 * 2;

type Layer = Mapper<Machine>;

#[derive(Debug, Default)]
struct Log {
    /// The side whose view lacked each missing sync.
    missing: RefCell<Vec<SyncFor>>,
    syncs: Cell<u32>,
    maps: Cell<u32>,
    copied_bytes: Cell<u64>,
    /// Bytes allocated now.
    bytes: Cell<u64>,
}

impl Observer<Layer> for Log {
    fn stale_bytes(&self, ops: &Layer, alloc: &vb3_dma::Memory<Machine>) -> Option<u64> {
        Some(ops.platform().stale_bytes_of(alloc.pages()?))
    }

    fn synced(&self, _dev: Dev, _sync: SyncFor) {
        self.syncs.set(self.syncs.get() + 1);
    }

    fn mapped(&self, _: Dev) {
        self.maps.set(self.maps.get() + 1);
    }

    fn copied(&self, _: Dev, len_bytes: u64) {
        self.copied_bytes.set(self.copied_bytes.get() + len_bytes);
    }

    fn allocated(&self, _: Dev, len_bytes: u64) {
        self.bytes.set(self.bytes.get() + len_bytes);
    }

    fn freed(&self, _: Dev, len_bytes: u64) {
        self.bytes.set(self.bytes.get() - len_bytes);
    }

    fn missing_sync(&self, _: Dev, _: u64, sync: SyncFor, _: Option<u64>) {
        self.missing.borrow_mut().push(sync);
    }
}

#[derive(Debug)]
struct Program(Mutex<Vec<u8>>);

const BASE: u64 = 0x7000_0000;

impl UserMemory for Program {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), UserFault> {
        let at = usize::try_from(addr - BASE).unwrap();
        let bytes = self.0.lock().unwrap();
        out.copy_from_slice(&bytes[at..at + out.len()]);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), UserFault> {
        let at = usize::try_from(addr - BASE).unwrap();
        self.0.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn probe(&self, addr: u64, len: u64, _: bool) -> u64 {
        let end = BASE + self.0.lock().unwrap().len() as u64;
        if (BASE..end).contains(&addr) {
            len.min(end - addr)
        } else {
            0
        }
    }

    fn id(&self) -> u64 {
        1
    }
}

struct Lab {
    p: Planes<Layer, Log>,
    camera: Device<Dev>,
    display: Device<Dev>,
}

type TestPlane = Plane<Dev>;

impl Lab {
    fn new(machine: &str) -> Self {
        let profile = Profile::builtin(machine).expect("built in");
        let mut machine = Machine::new(&profile, 7).expect("machine");
        let mut add = |name| {
            machine
                .add_device(name, DeviceLimits::default())
                .expect("room")
        };
        let (camera, display) = (
            Device::contig(add("camera")),
            Device::contig(add("display")),
        );
        Self {
            p: Planes::new(Mapper::new(machine).expect("mapper"), Log::default()),
            camera,
            display,
        }
    }

    fn machine(&mut self) -> &mut Machine {
        self.p.ops_mut().platform_mut()
    }

    fn alloc(&mut self, dev: Device<Dev>, direction: Direction, coherency: Coherency) -> TestPlane {
        let plane = self.p.alloc(dev, FRAME, direction, coherency);
        plane.expect("memory")
    }

    fn import(&mut self, dev: Device<Dev>, buf: &BufRef, direction: Direction) -> TestPlane {
        let attached = self.p.attach_dmabuf(dev, buf, FRAME, direction);
        let mut plane = attached.expect("attached");
        self.p.map_dmabuf(&mut plane).expect("mapped");
        plane
    }

    fn dma(&mut self, plane: &TestPlane) -> DmaAddr {
        match self.p.cookie(plane) {
            Some(Cookie::Dma(addr)) => addr,
            other => panic!("no address: {other:?}"),
        }
    }

    fn export(&mut self, plane: &TestPlane) -> BufRef {
        self.p.export(plane).expect("exported")
    }

    /// Lets the device write one frame on the bus, between prepare and finish.
    fn write(&mut self, dev: Dev, plane: &mut TestPlane, skip: HintSkip, byte: u8) {
        let addr = self.dma(plane);
        self.p.prepare(plane, skip).expect("prepared");
        let frame = vec![byte; FRAME as usize];
        self.machine()
            .bus_write(dev, addr, &frame)
            .expect("reached");
        self.p.finish(plane, skip).unwrap();
    }

    fn read(&mut self, dev: Dev, plane: &mut TestPlane) -> Vec<u8> {
        let addr = self.dma(plane);
        self.p.prepare(plane, HintSkip::empty()).expect("prepared");
        let mut frame = vec![0; FRAME as usize];
        self.machine()
            .bus_read(dev, addr, &mut frame)
            .expect("reached");
        self.p.finish(plane, HintSkip::empty()).unwrap();
        frame
    }

    fn end(self) {
        assert!(self.p.live().is_empty(), "{:?}", self.p.live());
        assert!(self.p.ops().live().is_empty(), "{:?}", self.p.ops().live());
        let held = self.p.ops().platform().held();
        assert_eq!((held.objects, held.pins, held.vmaps), (0, 0, 0));
        assert_eq!(
            (held.ram_bytes, held.cma_bytes, held.iommu_pages),
            (0, 0, 0)
        );
    }
}

fn machines() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|(name, _)| *name)
}

#[test]
fn camera_to_display_on_every_machine_without_a_copy() {
    for name in machines() {
        for coherency in [Coherency::Coherent, Coherency::NonCoherent] {
            let mut lab = Lab::new(name);
            let (camera, display) = (lab.camera, lab.display);
            let mut owner = lab.alloc(camera, Direction::FromDevice, coherency);
            let buf = lab.export(&owner);
            let mut plane = lab.import(display, &buf, Direction::ToDevice);
            for byte in 1..5 {
                // The program does not read the frame, so it asks to omit the invalidation.
                lab.write(camera.dma, &mut owner, HintSkip::FINISH, byte);
                let frame = lab.read(display.dma, &mut plane);
                assert!(frame.iter().all(|b| *b == byte), "{name} {coherency:?}");
            }
            let log = lab.p.host();
            assert_eq!((log.copied_bytes.get(), log.maps.get()), (0, 1), "{name}");
            let layer = lab.p.ops().counters(display.dma);
            assert_eq!(layer.bytes_bounced, 0, "{name} {coherency:?}");
            lab.p.put(plane);
            lab.p.put_dmabuf(buf);
            lab.p.put(owner);
            lab.end();
        }
    }
}

#[test]
fn cpu_reads_stale_bytes_without_sync() {
    for name in machines() {
        for sync in [false, true] {
            let mut lab = Lab::new(name);
            let (camera, display) = (lab.camera, lab.display);
            // The camera fills the display's buffer, and a program reads it.
            let owner = lab.alloc(display, Direction::ToDevice, Coherency::NonCoherent);
            let buf = lab.export(&owner);
            let id = buf.id();
            let vma = lab.p.buffers().vma_open_buf(id).expect("there");
            let mut plane = lab.import(camera, &buf, Direction::FromDevice);
            lab.write(camera.dma, &mut plane, HintSkip::empty(), 9);
            if sync {
                lab.p.buffers().sync(id, 1).expect("begin");
            }
            let stale = lab.p.buffers().inspect(buf.memory(), |memory| {
                let machine = lab.p.ops().platform();
                machine.stale_bytes_of(memory.memory().pages().unwrap())
            });
            let stale = stale.expect("there");
            let noncoherent = Profile::builtin(name).is_some_and(|p| !p.coherent);
            assert_eq!(stale > 0, noncoherent && !sync, "{name}");
            lab.p.vma_close(vma);
            let told = lab.p.host().missing.borrow();
            let expected: &[SyncFor] = if noncoherent && !sync {
                &[SyncFor::Cpu]
            } else {
                &[]
            };
            assert_eq!(*told, expected, "{name}");
            drop(told);
            lab.p.put(plane);
            lab.p.put_dmabuf(buf);
            lab.p.put(owner);
            lab.end();
        }
    }
}

#[test]
fn iommu_or_bounce_makes_user_memory_one_run() {
    for name in machines() {
        let mut lab = Lab::new(name);
        let user: User = Arc::new(Program(Mutex::new(vec![0; 1 << 20])));
        let camera = lab.camera;
        let taken = lab
            .p
            .get_userptr(camera, &user, BASE, FRAME, Direction::FromDevice);
        match taken {
            Ok(mut plane) => {
                assert!(!matches!(name, "soc-cma" | "soc-sram" | "soc-64k"));
                lab.write(camera.dma, &mut plane, HintSkip::empty(), 4);
                let mut seen = vec![0; FRAME as usize];
                user.read(BASE, &mut seen).expect("there");
                assert!(seen.iter().all(|b| *b == 4), "{name}");
                assert!(lab.p.is_current(&plane, &user, BASE));
                assert!(!lab.p.is_current(&plane, &user, BASE + PAGE));
                lab.p.put(plane);
            }
            Err(e) => {
                let reason = e.reason().expect("a reason");
                assert_eq!(e.errno(), 14, "{name} {e:?}");
                if name == "soc-64k" {
                    assert_eq!(reason.constraint, Constraint::IommuGranule);
                    assert_eq!(reason.wanted, 64 << 10);
                    assert!(reason.found > 0 && reason.found < 64 << 10);
                    lab.end();
                    continue;
                }
                assert_eq!(reason.constraint, Constraint::Contiguous);
                assert_eq!(reason.wanted, FRAME);
                assert!(reason.found < FRAME && reason.found >= PAGE);
                let text = format!("(contiguous: wanted {FRAME}, found {})", reason.found);
                assert!(e.to_string().ends_with(&text), "{e}");
                assert!(matches!(name, "soc-cma" | "soc-sram"), "{name}");
            }
        }
        lab.end();
    }
}

#[test]
fn full_contiguous_area_is_enomem_with_reason() {
    let lab = Lab::new("soc-cma");
    let camera = lab.camera;
    let alloc = |len_bytes| {
        let (direction, coherency) = (Direction::FromDevice, Coherency::Coherent);
        lab.p.alloc(camera, len_bytes, direction, coherency)
    };
    let mut held = Vec::new();
    let refused = loop {
        match alloc(24 << 20) {
            Ok(plane) => held.push(plane),
            Err(e) => break e,
        }
    };
    assert_eq!(held.len(), 2);
    assert_eq!(refused.errno(), 12);
    let reason = refused.reason().expect("a reason");
    assert!(
        matches!(
            reason.constraint,
            Constraint::ContiguousPool | Constraint::Contiguous
        ),
        "{reason:?}"
    );
    assert_eq!(reason.wanted, 24 << 20);
    assert!(reason.found < 24 << 20);
    assert_eq!(lab.p.host().bytes.get(), 48 << 20);
    for len_bytes in [0xffff_f000, u64::MAX] {
        assert_eq!(alloc(len_bytes).expect_err("huge").errno(), 12);
    }
    for plane in held {
        lab.p.put(plane);
    }
    lab.end();
}

/// Allocates, shares and uses a buffer, and releases everything. The first error ends it.
fn life(lab: &mut Lab) -> Result<(), PlaneError> {
    let (camera, display) = (lab.camera, lab.display);
    let user: User = Arc::new(Program(Mutex::new(vec![0; 1 << 20])));
    if let Ok(plane) = lab
        .p
        .get_userptr(display, &user, BASE, PAGE, Direction::ToDevice)
    {
        lab.p.put(plane);
    }
    let (direction, coherency) = (Direction::FromDevice, Coherency::NonCoherent);
    let mut owner = lab.p.alloc(camera, FRAME, direction, coherency)?;
    let shared = share(lab, &mut owner, display);
    lab.p.put(owner);
    shared
}

fn share(lab: &mut Lab, owner: &mut TestPlane, display: Device<Dev>) -> Result<(), PlaneError> {
    lab.p.copy_to(owner, 0, b"frame")?;
    let buf = lab.p.export(owner)?;
    let mapped = lab
        .p
        .attach_dmabuf(display, &buf, FRAME, Direction::ToDevice)
        .and_then(|mut plane| {
            let done = lab
                .p
                .map_dmabuf(&mut plane)
                .and_then(|()| lab.p.prepare(&mut plane, HintSkip::empty()));
            lab.p.put(plane);
            done
        });
    lab.p.put_dmabuf(buf);
    mapped
}

#[test]
fn a_fault_at_any_call_of_any_machine_leaks_nothing() {
    for name in machines() {
        let mut faults = 0;
        loop {
            let mut lab = Lab::new(name);
            lab.machine().set_faults(Faults::Nth(faults));
            let done = life(&mut lab);
            let hit = lab.machine().injected_faults() > 0;
            assert!(hit || done.is_ok(), "{name}: {done:?}");
            lab.end();
            if !hit {
                break;
            }
            faults += 1;
            assert!(faults < 1000, "{name}");
        }
        assert!(faults >= 3, "{name}: {faults}");
    }
}

#[test]
fn scattered_planes_hold_frames_on_every_machine() {
    for name in machines() {
        let mut lab = Lab::new(name);
        let camera = Device::sg(lab.camera.dma);
        let mut plane = lab.alloc(camera, Direction::FromDevice, Coherency::Coherent);
        let Some(Cookie::Sg(view)) = lab.p.cookie(&plane) else {
            panic!("{name}: no segments");
        };
        let frame: Vec<u8> = (0..FRAME).map(|at| (at / 3 % 251) as u8).collect();
        lab.p
            .prepare(&mut plane, HintSkip::empty())
            .expect("handed over");
        let mut at = 0;
        while at < FRAME {
            let (addr, len) = lab.p.sg_find(view, at).expect("a segment");
            let end = at + len.min(FRAME - at);
            let piece = &frame[at as usize..end as usize];
            let dev = camera.dma;
            lab.machine().bus_write(dev, addr, piece).expect("reached");
            at = end;
        }
        lab.p.finish(&mut plane, HintSkip::empty()).unwrap();
        let mut seen = vec![0; FRAME as usize];
        lab.p
            .copy_from(&mut plane, 0, &mut seen)
            .expect("a CPU view");
        assert!(seen == frame, "{name}: another frame");
        lab.p.put(plane);
        lab.end();
    }
}

/// Memory in pieces is synced when it passes to its device, so no sync is missing. Its driver's own copies
/// need no syncs.
#[test]
fn memory_in_pieces_is_synced_once_for_each_hand_over() {
    let mut lab = Lab::new("soc-noncoherent");
    let dev = Device::sg(lab.display.dma);
    let mut plane = lab.alloc(dev, Direction::ToDevice, Coherency::NonCoherent);
    let syncs = |lab: &Lab| lab.p.host().syncs.get();
    for offset in 0..3 {
        let copied = lab
            .p
            .copy_to(&mut plane, offset * PAGE, &[7; PAGE as usize]);
        copied.expect("copied");
    }
    let memory = plane.memory().expect("allocated");
    let stale = lab.p.buffers().inspect(memory, |memory| {
        let machine = lab.p.ops().platform();
        machine.stale_bytes_of(memory.memory().pages().unwrap())
    });
    assert_eq!(stale, Some(3 * PAGE), "the device would read old bytes");
    assert_eq!(syncs(&lab), 0);
    lab.p
        .prepare(&mut plane, HintSkip::empty())
        .expect("prepared");
    assert_eq!(syncs(&lab), 1);
    lab.p.finish(&mut plane, HintSkip::empty()).unwrap();
    let told = |lab: &Lab| lab.p.host().missing.borrow().len();
    assert_eq!(told(&lab), 0);
    let copied = lab.p.copy_to(&mut plane, 0, &[8; PAGE as usize]);
    copied.expect("copied");
    lab.p
        .prepare(&mut plane, HintSkip::PREPARE)
        .expect("prepared");
    assert_eq!(told(&lab), 1, "the program omitted the sync");
    lab.p.finish(&mut plane, HintSkip::PREPARE).unwrap();
    lab.p.put(plane);
    lab.end();
}
