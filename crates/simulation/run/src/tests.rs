//! Tests the whole stack in one process, with programs' calls made by hand.

mod buffers;
mod exports;
mod fences;
mod fits;
mod imports;
mod ledger;
mod loopback;
mod orders;
mod pieces;
mod placing;
mod refusals;
mod revoke;
mod standstill;
mod ticks;
mod udmabuf;
mod webcams;

use super::Run;
use super::clock::Clock;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use vb3_frontend::{
    CallId, CallOutcome, Descriptor, Detail, Devices, Errno, FdIdentity, FileId, Label, Made, Map,
    Mmap, NodeId, Origin, Perform, ProcessFiles, Program, Tag,
};
use vb3_machine::Profile;
use vb3_machine::profile::{BUILTINS, PAGE_SIZE};
use vb3_v4l2::sys::*;

const CAPTURE: u32 = 1;
const OUTPUT: u32 = 2;
const MMAP: u32 = 1;
const DMABUF: u32 = 4;

/// A program whose memory is that of this test process.
struct Local {
    mem: File,
    call: Cell<u64>,
    given: RefCell<Vec<(OwnedFd, Tag)>>,
    /// The program's descriptors.
    others: RefCell<Vec<OwnedFd>>,
    /// Files that the run has installed, and their descriptors' numbers.
    made: RefCell<Vec<(FileId, i32)>>,
    /// Whether writes to the program's memory fail.
    unwritable: Cell<bool>,
}

impl Local {
    fn new() -> Self {
        let mem = File::options()
            .read(true)
            .write(true)
            .open("/proc/self/mem")
            .unwrap();
        Self {
            mem,
            call: Cell::new(0),
            given: RefCell::default(),
            others: RefCell::default(),
            made: RefCell::default(),
            unwritable: Cell::new(false),
        }
    }
}

impl Local {
    /// Returns the program's own copy of a descriptor.
    fn borrow_fd(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let (given, others) = (self.given.borrow(), self.others.borrow());
        given
            .iter()
            .map(|(fd, _)| fd)
            .chain(others.iter())
            .find(|f| f.as_raw_fd() == fd)
            .map(|fd| fd.try_clone().unwrap())
            .ok_or(Errno(9))
    }

    fn identify(&self, fd: i32) -> Result<FdIdentity, Errno> {
        let stat = rustix::fs::fstat(self.borrow_fd(fd)?).unwrap();
        Ok(FdIdentity {
            dev: stat.st_dev,
            ino: stat.st_ino,
        })
    }
}

impl Program for Local {
    fn origin(&self) -> Origin {
        let pid = std::process::id();
        Origin::process(pid, pid).named(Label::new(b"a test"))
    }

    fn call(&self) -> CallId {
        CallId(self.call.get())
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.mem.read_exact_at(out, addr).map_err(|_| Errno(14))
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        if self.unwritable.get() {
            return Err(Errno(14));
        }
        self.mem.write_all_at(data, addr).map_err(|_| Errno(14))
    }

    fn descriptor(&self, fd: i32, _: Detail) -> Result<Descriptor, Errno> {
        let made = self.made.borrow();
        let file = made.iter().find(|(_, number)| *number == fd);
        let given = self.given.borrow();
        let tag = given.iter().find(|(given, _)| given.as_raw_fd() == fd);
        Ok(Descriptor {
            tag: tag.map(|(_, tag)| *tag),
            fd: Some(Arc::new(self.borrow_fd(fd)?)),
            ..Descriptor::named(self.identify(fd)?, file.map(|(file, _)| *file))
        })
    }

    fn install(&self, made: &Made, _: bool) -> Result<i32, Errno> {
        match made {
            Made::Memory { fd, tag } => {
                let fd = fd.try_clone().unwrap();
                let number = fd.as_raw_fd();
                self.given.borrow_mut().push((fd, *tag));
                Ok(number)
            }
            Made::File { file, name } => {
                let fd = rustix::fs::memfd_create(*name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
                let number = fd.as_raw_fd();
                self.others.borrow_mut().push(fd);
                self.made.borrow_mut().push((*file, number));
                Ok(number)
            }
        }
    }
}

/// A structure of the API, stored as bytes.
struct Arg(Vec<u8>);

impl Arg {
    fn new(size: usize, fields: &[(usize, u32)]) -> Self {
        let mut arg = Self(vec![0; size]);
        for &(at, value) in fields {
            arg.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        arg
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().unwrap())
    }
}

struct Bench {
    run: Run,
    program: Local,
}

impl Bench {
    /// Makes a run whose clock advances by 50 µs at each reading.
    fn new(machine: &str, specs: &[&str]) -> Self {
        Self::seeded(machine, specs, 1)
    }

    fn seeded(machine: &str, specs: &[&str], seed: u64) -> Self {
        let profile = Profile::builtin(machine).unwrap();
        let specs: Vec<_> = specs.iter().map(|s| s.parse().unwrap()).collect();
        let mut run = Run::new(profile, &specs, seed).unwrap();
        let now = Cell::new(1_000_000_000);
        run.clock = Clock::given(move || now.replace(now.get() + 50_000));
        Self {
            run,
            program: Local::new(),
        }
    }

    fn open(&mut self, node: u32) -> FileId {
        (self.run)
            .open(self.run.video_node(node), 2, self.program.origin())
            .unwrap()
    }

    fn try_ioctl(&mut self, file: FileId, request: u32, arg: &mut Arg) -> Result<i64, i32> {
        self.program.call.set(self.program.call.get() + 1);
        let addr = arg.0.as_mut_ptr() as u64;
        match self.run.ioctl(file, request, addr, true, &self.program) {
            CallOutcome::Done(value) => Ok(value),
            CallOutcome::Fail(e) => Err(e.0),
            CallOutcome::Wait | CallOutcome::Part(_) => panic!("is not over"),
        }
    }

    fn ioctl(&mut self, file: FileId, request: u32, mut arg: Arg) -> Arg {
        self.try_ioctl(file, request, &mut arg)
            .unwrap_or_else(|e| panic!("request {request:#x}: errno {e}"));
        arg
    }

    fn reqbufs(&mut self, file: FileId, kind: u32, memory: u32, count: u32) -> u32 {
        let arg = Arg::new(
            size_of::<v4l2_requestbuffers>(),
            &[
                (offset_of!(v4l2_requestbuffers, count), count),
                (offset_of!(v4l2_requestbuffers, type_), kind),
                (offset_of!(v4l2_requestbuffers, memory), memory),
            ],
        );
        self.ioctl(file, VIDIOC_REQBUFS, arg)
            .u32(offset_of!(v4l2_requestbuffers, count))
    }

    fn buffer(kind: u32, memory: u32, index: u32) -> Arg {
        Arg::new(
            size_of::<v4l2_buffer>(),
            &[
                (offset_of!(v4l2_buffer, index), index),
                (offset_of!(v4l2_buffer, type_), kind),
                (offset_of!(v4l2_buffer, memory), memory),
            ],
        )
    }

    /// Returns EXPBUF's argument for a descriptor with read and write access.
    fn exported(kind: u32, index: u32) -> Arg {
        Arg::new(
            size_of::<v4l2_exportbuffer>(),
            &[
                (offset_of!(v4l2_exportbuffer, index), index),
                (offset_of!(v4l2_exportbuffer, type_), kind),
                (offset_of!(v4l2_exportbuffer, flags), 2),
            ],
        )
    }

    fn export(&mut self, file: FileId, kind: u32, index: u32) -> i32 {
        self.ioctl(file, VIDIOC_EXPBUF, Self::exported(kind, index))
            .u32(offset_of!(v4l2_exportbuffer, fd)) as i32
    }

    /// Maps the first page of a camera's buffer through the device file.
    fn map(&mut self, camera: FileId, index: u32) -> Result<Map, Errno> {
        let mut arg = Self::buffer(CAPTURE, MMAP, index);
        self.try_ioctl(camera, VIDIOC_QUERYBUF, &mut arg).unwrap();
        let args = Mmap {
            offset: arg.u32(offset_of!(v4l2_buffer, m)).into(),
            len: PAGE_SIZE,
            prot: 3,
            flags: 1,
        };
        self.run.mmap(camera, &args, self.program.origin())
    }

    /// Queues a dma-buf at a display.
    fn show(&mut self, display: FileId, fd: i32, used: u32) -> Result<i64, i32> {
        let mut arg = Self::buffer(OUTPUT, DMABUF, 0);
        for (at, value) in [
            (offset_of!(v4l2_buffer, bytesused), used),
            (offset_of!(v4l2_buffer, m), fd as u32),
        ] {
            arg.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        self.try_ioctl(display, VIDIOC_QBUF, &mut arg)
    }

    fn stream(&mut self, file: FileId, kind: u32, on: bool) {
        let request = if on {
            VIDIOC_STREAMON
        } else {
            VIDIOC_STREAMOFF
        };
        self.ioctl(file, request, Arg::new(4, &[(0, kind)]));
    }

    /// Ticks until a buffer can be dequeued. Returns its index and bytes used.
    fn dequeue(&mut self, file: FileId, kind: u32, memory: u32) -> (u32, u32) {
        for _ in 0..1000 {
            self.run.tick();
            let mut arg = Self::buffer(kind, memory, 0);
            match self.try_ioctl(file, VIDIOC_DQBUF, &mut arg) {
                Ok(_) => {
                    return (
                        arg.u32(offset_of!(v4l2_buffer, index)),
                        arg.u32(offset_of!(v4l2_buffer, bytesused)),
                    );
                }
                Err(11) => {}
                Err(e) => panic!("DQBUF: errno {e}"),
            }
        }
        panic!("no buffer came");
    }

    /// Returns the files that have changed since the last call.
    fn changed(&mut self) -> Vec<FileId> {
        let mut files = Vec::new();
        self.run.take_changed(&mut files);
        files
    }

    fn close_all(&mut self, files: &[FileId]) {
        for (_, tag) in self.program.given.take() {
            self.run.tag_ended(tag);
        }
        for file in files {
            self.run.release(*file);
        }
    }
}

/// Moves frames from a camera to a display. Each buffer is exported once and queued at both
/// devices.
fn camera_to_display(machine: &str, frames: u32) -> (Bench, vb3_report::Report) {
    let specs = ["camera=pattern,pace=free", "display,pace=free"];
    pass_frames(Bench::new(machine, &specs), frames)
}

fn pass_frames(mut bench: Bench, frames: u32) -> (Bench, vb3_report::Report) {
    let (camera, display) = (bench.open(0), bench.open(1));
    bench
        .run
        .memory
        .ops_mut()
        .platform_mut()
        .trace_mut()
        .start(1 << 16);
    let count = bench.reqbufs(camera, CAPTURE, MMAP, 4);
    assert_eq!(bench.reqbufs(display, OUTPUT, DMABUF, count), count);
    let fds: Vec<i32> = (0..count)
        .map(|i| bench.export(camera, CAPTURE, i))
        .collect();
    for index in 0..count {
        bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, index));
    }
    bench.stream(camera, CAPTURE, true);
    bench.stream(display, OUTPUT, true);
    for _ in 0..frames {
        let (index, used) = bench.dequeue(camera, CAPTURE, MMAP);
        let mut arg = Bench::buffer(OUTPUT, DMABUF, index);
        for (at, value) in [
            (offset_of!(v4l2_buffer, bytesused), used),
            (offset_of!(v4l2_buffer, length), used),
            (offset_of!(v4l2_buffer, m), fds[index as usize] as u32),
        ] {
            arg.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        bench.ioctl(display, VIDIOC_QBUF, arg);
        let (shown, _) = bench.dequeue(display, OUTPUT, DMABUF);
        bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, shown));
    }
    let report = bench.run.report();
    bench.stream(camera, CAPTURE, false);
    bench.stream(display, OUTPUT, false);
    bench.close_all(&[camera, display]);
    (bench, report)
}

#[test]
fn camera_to_display_copies_nothing_on_any_machine() {
    for (machine, _) in BUILTINS {
        let (mut bench, report) = camera_to_display(machine, 12);
        let [camera, display] = &report.devices[..] else {
            panic!("two devices")
        };
        assert!(camera.queues[0].frames >= 12, "{machine}: {camera:?}");
        assert_eq!(display.queues[0].frames, 12, "{machine}");
        assert_eq!(report.total(|q| q.bytes_copied), 0, "{machine}");
        assert_eq!(report.total(|q| q.bytes_bounced), 0, "{machine}");
        assert_eq!(
            display.queues[0].maps, 4,
            "{machine}: each buffer is mapped once"
        );
        let held = vb3_report::Held {
            fds: 0,
            ..bench.run.report().held
        };
        assert!(held.is_empty(), "{machine}: {held:?}");
    }
}

/// `vb3 fits` reports what a program gets from REQBUFS on one queue after the other.
/// Returns how often all buffers fit, and how often not all.
fn what_fits_is_what_reqbufs_gives(seed: u64, size: &str) -> (u32, u32) {
    let bench = |machine: &str, specs: &[&str], seed| {
        let mut profile = Profile::builtin(machine).unwrap();
        // RAM is small, so that the run soon runs out of memory.
        profile.ram = 64 << 20;
        profile.cma = profile.cma.min(12 << 20);
        profile.bounce.pool = profile.bounce.pool.min(8 << 20);
        let specs: Vec<_> = specs.iter().map(|s| s.parse().unwrap()).collect();
        Bench {
            run: Run::new(profile, &specs, seed).unwrap(),
            program: Local::new(),
        }
    };
    let (mut all, mut not_all) = (0, 0);
    for (machine, _) in BUILTINS {
        for (buffers, more) in [(1, ""), (18, ""), (9, ",alloc=sg")] {
            let specs = [
                format!("camera,size={size},sizes={size}"),
                format!("display,size=640x480{more}"),
                format!("camera,size={size},sizes={size}{more}"),
            ];
            let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
            let fits = bench(machine, &specs, seed).run.fits(buffers);
            let said: Vec<u32> = fits.iter().map(|fit| fit.buffers).collect();
            let mut bench = bench(machine, &specs, seed);
            // The second call finds the same free memory, since `fits` frees everything.
            assert_eq!(bench.run.fits(buffers), fits, "{machine}, {specs:?}");
            let files = [0, 1, 2].map(|node| bench.open(node));
            let mut given = Vec::new();
            for (file, kind) in files.into_iter().zip([CAPTURE, OUTPUT, CAPTURE]) {
                let arg = Arg::new(
                    size_of::<v4l2_requestbuffers>(),
                    &[
                        (offset_of!(v4l2_requestbuffers, count), buffers),
                        (offset_of!(v4l2_requestbuffers, type_), kind),
                        (offset_of!(v4l2_requestbuffers, memory), MMAP),
                    ],
                );
                let mut arg = arg;
                let made = bench.try_ioctl(file, VIDIOC_REQBUFS, &mut arg);
                let count = arg.u32(offset_of!(v4l2_requestbuffers, count));
                given.push(if made.is_ok() { count } else { 0 });
            }
            assert_eq!(given, said, "{machine}, {specs:?}");
            if said.iter().all(|count| *count >= buffers) {
                all += 1;
            } else {
                assert!(fits.iter().any(|fit| fit.reason.is_some()), "{fits:?}");
                not_all += 1;
            }
        }
    }
    (all, not_all)
}

#[test]
fn small_buffers_are_what_reqbufs_gives() {
    let (all, not_all) = what_fits_is_what_reqbufs_gives(0, "640x480");
    assert!(all >= 20 && not_all >= 1, "{all} fit, {not_all} do not");
}

#[test]
fn large_buffers_are_what_reqbufs_gives() {
    let (all, not_all) = what_fits_is_what_reqbufs_gives(1, "1280x720");
    assert!(all >= 5 && not_all >= 9, "{all} fit, {not_all} do not");
}

/// Seed 001: buffers are in the camera's own memory, without struct pages. The display reaches them by
/// physical address.
#[test]
fn memory_without_pages_is_shared_by_address() {
    use vb3_machine::Event;
    let (bench, report) = camera_to_display("soc-sram", 12);
    let nodes = bench.run.nodes().into_iter();
    let heaps = nodes.filter_map(|node| {
        let path = node.path.to_str()?;
        path.strip_prefix("/dev/dma_heap/video").map(str::to_owned)
    });
    assert_eq!(heaps.collect::<Vec<_>>(), ["0-sram", "1-sram"]);
    assert_eq!(report.total(|q| q.bytes_copied + q.bytes_bounced), 0);
    assert_eq!(report.total(|q| q.syncs_for_device + q.syncs_for_cpu), 0);
    let ops = bench.run.memory.ops();
    let own = Profile::builtin("soc-sram").unwrap().sram;
    // The area is allocated from its start, and the camera allocates first.
    let camera = (3 << 30)..(3 << 30) + own;
    let (mut written, mut read) = (0u64, 0u64);
    for (_, event) in ops.platform().trace().events() {
        match *event {
            Event::BusWrite { dev: 0, addr, len } => {
                assert!(camera.contains(&addr) && camera.contains(&(addr + len - 1)));
                written += len;
            }
            Event::BusRead { dev: 1, addr, len } => {
                assert!(camera.contains(&addr) && camera.contains(&(addr + len - 1)));
                read += len;
            }
            Event::Alloc { addr, .. } => assert!(camera.contains(&addr), "{addr:#x}"),
            Event::Clean { .. } | Event::Invalidate { .. } => panic!("{event:?}"),
            _ => {}
        }
    }
    assert!(written > 0 && read > 0, "{written} written, {read} read");
    let held = ops.platform().held();
    assert_eq!((held.objects, held.ram_bytes, held.cma_bytes), (0, 0, 0));
    assert_eq!(ops.platform().cma_peak(), 0);
}

#[test]
fn a_devices_own_memory_runs_out_with_the_reason() {
    let mut bench = Bench::new("soc-sram", &["camera=pattern,pace=free,size=1920x1080"]);
    let camera = bench.open(0);
    // REQBUFS makes as many buffers as fit, and the report has the reason for the limit.
    let count = u64::from(bench.reqbufs(camera, CAPTURE, MMAP, 32));
    let own = Profile::builtin("soc-sram").unwrap().sram;
    let used = bench.run.memory.ops().platform().claimed_bytes();
    let each = used / count;
    assert!(count < 32 && used <= own && used + each > own, "{count}");
    let told = refusals(&mut bench);
    let [(device, call, constraint, wanted, found)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (device.as_str(), call.as_str(), constraint.as_str()),
        ("/dev/video0", "REQBUFS", "coherent-region")
    );
    assert!(*found <= own - used, "{found} in one run");
    assert!(wanted > found && *wanted <= each);
    assert_eq!(bench.run.report().memory.peak_bytes, used);
    bench.close_all(&[camera]);
    assert!(bench.run.memory.live().is_empty());
    assert_eq!(bench.run.memory.ops().platform().claimed_bytes(), 0);
}

#[test]
fn what_the_camera_writes_is_where_the_display_reads() {
    use vb3_machine::Event;
    for (machine, _) in BUILTINS {
        let profile = Profile::builtin(machine).unwrap();
        let (bench, _) = camera_to_display(machine, 8);
        let trace = bench.run.memory.ops().platform().trace();
        assert_eq!(trace.dropped(), 0, "{machine}");
        // Replays the changes of page tables in the trace.
        let mut tables = std::collections::BTreeMap::new();
        let (mut written, mut read) = (BTreeSet::new(), BTreeSet::new());
        for (_, event) in trace.events() {
            match *event {
                Event::IommuMap {
                    dev,
                    iova,
                    addr,
                    len,
                } => {
                    for page in 0..len / PAGE_SIZE {
                        tables.insert((dev, iova + page * PAGE_SIZE), addr + page * PAGE_SIZE);
                    }
                }
                Event::BusWrite { dev, addr, .. } | Event::BusRead { dev, addr, .. } => {
                    let page = addr / PAGE_SIZE * PAGE_SIZE;
                    let phys = match profile.iommu {
                        Some(_) => tables[&(dev, page)],
                        None => page,
                    };
                    let seen = if dev == 0 { &mut written } else { &mut read };
                    seen.insert(phys);
                }
                Event::BounceIn { .. } | Event::BounceOut { .. } => {
                    panic!("{machine}: {event:?} moves bytes")
                }
                _ => {}
            }
        }
        assert!(!read.is_empty(), "{machine}: the display read nothing");
        assert!(
            read.is_subset(&written),
            "{machine}: the display read what no camera wrote"
        );
    }
}

/// Returns the report and the trace of a run from camera to display on a repeatable clock.
fn story(machine: &str, pace: &str, seed: u64) -> (String, vb3_report::Report) {
    let specs = [
        format!("camera=pattern,pace={pace}"),
        format!("display,pace={pace}"),
    ];
    let bench = Bench::seeded(machine, &[&specs[0], &specs[1]], seed);
    let (mut bench, mut report) = pass_frames(bench, 8);
    // The count of descriptors depends on the real system.
    report.held.fds = 0;
    let trace = bench.run.memory.ops_mut().platform_mut().trace();
    assert_eq!(trace.dropped(), 0);
    (trace.to_string(), report)
}

#[test]
fn same_seed_gives_same_events_and_times() {
    for (machine, _) in BUILTINS {
        for pace in ["free", "real"] {
            let first = story(machine, pace, 1);
            assert!(first.0.lines().count() > 20, "{machine} {pace}");
            assert!(first == story(machine, pace, 1), "{machine} {pace}");
            let other = story(machine, pace, 2);
            assert_eq!(first.1, other.1, "{machine} {pace}: only addresses differ");
            let scattered = Profile::builtin(machine).unwrap().iommu.is_some();
            assert_eq!(first.0 != other.0, scattered, "{machine} {pace}");
        }
    }
}

#[test]
fn failed_export_write_back_leaks_nothing() {
    for (machine, _) in BUILTINS {
        let mut bench = Bench::new(machine, &["camera=pattern,pace=free"]);
        let camera = bench.open(0);
        assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
        bench.program.unwritable.set(true);
        let mut arg = Bench::exported(CAPTURE, 0);
        assert_eq!(
            bench.try_ioctl(camera, VIDIOC_EXPBUF, &mut arg),
            Err(14),
            "{machine}"
        );
        bench.program.unwritable.set(false);
        assert!(bench.program.given.borrow().is_empty(), "{machine}");
        let live = bench.run.memory.live();
        assert_eq!((live.memories, live.bufs), (2, 0), "{machine}");
        assert_eq!(bench.run.report().held.dmabufs, 0, "{machine}");
        // The call succeeds once its result can be written, and everything is freed.
        bench.export(camera, CAPTURE, 0);
        assert_eq!(bench.run.memory.live().bufs, 1, "{machine}");
        bench.close_all(&[camera]);
        assert!(bench.run.memory.live().is_empty(), "{machine}");
    }
}

/// Returns the refusals of a run by device, call and constraint, with what was wanted and found.
fn refusals(bench: &mut Bench) -> Vec<(String, String, String, u64, u64)> {
    let report = bench.run.report();
    let told = |r: vb3_report::Refusal| (r.device, r.call, r.constraint, r.wanted, r.found);
    report.refusals.into_iter().map(told).collect()
}

#[test]
fn low_mask_device_gets_reachable_memory_or_reason() {
    const REACH: u64 = (1 << 24) - 1;
    let near = "camera=pattern,pace=free,mask=24";
    for machine in ["soc-cma", "vm-bounce", "soc-iommu"] {
        let mut bench = Bench::new(machine, &[near, "camera=pattern,pace=free"]);
        let (camera, big) = (bench.open(0), bench.open(1));
        let platform = bench.run.memory.ops_mut().platform_mut();
        platform.trace_mut().start(1 << 16);
        // Enough is free in the memory that the device reaches.
        let count = bench.reqbufs(camera, CAPTURE, MMAP, 3);
        for index in 0..count {
            bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, index));
        }
        bench.stream(camera, CAPTURE, true);
        bench.dequeue(camera, CAPTURE, MMAP);
        bench.stream(camera, CAPTURE, false);
        let mut written = 0;
        for (_, event) in bench.run.memory.ops().platform().trace().events() {
            if let vb3_machine::Event::BusWrite { dev: 0, addr, len } = *event {
                assert!(addr + len - 1 <= REACH, "{machine}: {event:?}");
                written += len;
            }
        }
        assert!(written > 0, "{machine}");
        assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 0), 0);
        // Another device has allocated all of that memory.
        assert_eq!(bench.reqbufs(big, CAPTURE, MMAP, 32), 32);
        let mut arg = Arg::new(
            size_of::<v4l2_requestbuffers>(),
            &[
                (offset_of!(v4l2_requestbuffers, count), 3),
                (offset_of!(v4l2_requestbuffers, type_), CAPTURE),
                (offset_of!(v4l2_requestbuffers, memory), MMAP),
            ],
        );
        let made = bench.try_ioctl(camera, VIDIOC_REQBUFS, &mut arg);
        if machine == "soc-iommu" {
            assert!(made.is_ok(), "behind an IOMMU any memory will do");
            assert!(refusals(&mut bench).is_empty());
        } else {
            assert_eq!(made, Err(12), "{machine}");
            let told = refusals(&mut bench);
            let [(device, call, constraint, wanted, found)] = &told[..] else {
                panic!("{machine}: {told:?}")
            };
            assert_eq!(
                (device.as_str(), call.as_str(), constraint.as_str(), *found),
                ("/dev/video0", "REQBUFS", "dma-mask", REACH),
                "{machine}"
            );
            assert!(*wanted > REACH, "{machine}: {wanted:#x}");
        }
        bench.close_all(&[camera, big]);
    }
}

#[test]
fn unreachable_buffer_is_refused_with_reason() {
    const REACH: u64 = (1 << 24) - 1;
    let mut bench = Bench::new(
        "soc-cma",
        &["camera=pattern,pace=free", "display,pace=free,mask=24"],
    );
    let (camera, display) = (bench.open(0), bench.open(1));
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 32), 32);
    assert_eq!(bench.reqbufs(display, OUTPUT, DMABUF, 2), 2);
    let queue = |bench: &mut Bench, from: u32| {
        let fd = bench.export(camera, CAPTURE, from);
        let mut arg = Bench::buffer(OUTPUT, DMABUF, 0);
        let at = offset_of!(v4l2_buffer, m);
        arg.0[at..at + 4].copy_from_slice(&fd.to_ne_bytes());
        bench.try_ioctl(display, VIDIOC_QBUF, &mut arg)
    };
    assert_eq!(queue(&mut bench, 31), Err(22), "the highest");
    let told = refusals(&mut bench);
    let [(device, call, constraint, wanted, found)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (device.as_str(), call.as_str(), constraint.as_str(), *found),
        ("/dev/video1", "QBUF", "dma-mask", REACH)
    );
    assert!(*wanted > REACH, "{wanted:#x}");
    assert!(queue(&mut bench, 0).is_ok(), "the lowest");
    bench.close_all(&[camera, display]);
    assert!(bench.run.memory.live().is_empty());
}

#[test]
fn fewer_buffers_are_noted_with_reason() {
    let mut bench = Bench::new("soc-cma", &["camera=pattern,size=4096x2304,format=RGB24"]);
    let camera = bench.open(0);
    let frame = 4096 * 2304 * 3;
    assert_eq!(
        bench.reqbufs(camera, CAPTURE, MMAP, 4),
        2,
        "64 MiB hold two"
    );
    let report = bench.run.report();
    let [refusal] = &report.refusals[..] else {
        panic!("{:?}", report.refusals)
    };
    assert_eq!((refusal.call.as_str(), refusal.errno), ("REQBUFS", 0));
    assert_eq!(
        (refusal.constraint.as_str(), refusal.wanted),
        ("cma-size", frame)
    );
    assert!(refusal.found < frame, "{refusal:?}");
    let sentence = vb3_report::sentence::refusal(refusal, &[]);
    assert!(
        sentence.what.contains("made fewer buffers"),
        "{}",
        sentence.what
    );
    bench.close_all(&[camera]);
}
