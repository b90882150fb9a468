//! Buffers of other drivers. A memfd stands for a kernel dma-buf: the run maps, reads and writes both in
//! the same way. The tests only replace the check whether a file is a dma-buf.

use super::*;
use crate::imports::Imports;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI16, Ordering};
use vb3_frontend::{Call, Gathered, On, Op, Step, perform};
use vb3_picture::{Background, Frame, Picture, Size, read_number, render};
use vb3_v4l2::pixfmt;

const WIDTH: u32 = 64;
const HEIGHT: u32 = 48;
/// Bytes of a YUYV picture: one and a half pages.
const LEN: u32 = WIDTH * HEIGHT * 2;
const EINVAL: i32 = 22;
const SHAPE: &str = "format=YUYV,size=64x48,pace=free";

fn bench(machine: &str, specs: &[String]) -> Bench {
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    let mut bench = Bench::new(machine, &specs);
    bench.run.shares.get_mut().imports = Imports::new(|_| true);
    bench
}

fn camera_and_display(machine: &str, options: &str) -> Bench {
    let spec = |kind| format!("{kind},{SHAPE}{options}");
    bench(machine, &[spec("camera=pattern"), spec("display=null")])
}

/// Makes a buffer of another driver with room for `bytes`, in whole pages. Returns its descriptor.
fn other_buffer(bench: &Bench, bytes: u32) -> i32 {
    let fd = memfd_create("other", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, u64::from(bytes).next_multiple_of(PAGE_SIZE)).unwrap();
    let number = fd.as_raw_fd();
    bench.program.others.borrow_mut().push(fd);
    number
}

fn with_fd<T>(bench: &Bench, number: i32, with: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
    let others = bench.program.others.borrow();
    let fd = others.iter().find(|fd| fd.as_raw_fd() == number).unwrap();
    with(fd.as_fd())
}

fn bytes_of(bench: &Bench, number: i32) -> Vec<u8> {
    let mut bytes = vec![0; LEN as usize];
    with_fd(bench, number, |fd| rustix::io::pread(fd, &mut bytes, 0)).unwrap();
    bytes
}

/// Queues a dma-buf with an explicit length; zero stands for the dma-buf's own length.
fn queue(
    bench: &mut Bench,
    file: FileId,
    place: (u32, u32),
    fd: i32,
    len: u32,
) -> Result<i64, i32> {
    let (kind, index) = place;
    let mut arg = Bench::buffer(kind, DMABUF, index);
    let used = if kind == OUTPUT { LEN } else { 0 };
    for (at, value) in [
        (offset_of!(v4l2_buffer, bytesused), used),
        (offset_of!(v4l2_buffer, length), len),
        (offset_of!(v4l2_buffer, m), fd as u32),
    ] {
        arg.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    bench.try_ioctl(file, VIDIOC_QBUF, &mut arg)
}

/// Returns which picture of the pattern `bytes` contains. All bytes must be equal to that picture.
fn picture_number(bytes: &[u8]) -> u32 {
    let size = Size::new(WIDTH, HEIGHT).unwrap();
    let frame = Frame::from_bytes(&pixfmt::YUYV, size, bytes.to_vec()).unwrap();
    let (number, _) = read_number(&frame);
    let sent = render(
        &pixfmt::YUYV,
        size,
        number,
        Background::Bars,
        &Picture::default(),
    );
    assert!(sent.bytes() == bytes, "not picture {number}");
    number
}

fn expect_nothing_held(bench: &mut Bench, of: &str) {
    bench.program.others.borrow_mut().clear();
    let report = bench.run.report();
    // Counts no descriptors, since all tests share those of this process.
    let held = vb3_report::Held {
        fds: 0,
        ..report.held
    };
    assert!(held.is_empty(), "{of}: {held:?}");
    assert_eq!(
        report.total(|q| q.maps),
        report.total(|q| q.unmaps),
        "{of}: mappings"
    );
    let held = bench.run.memory.ops().platform().held();
    assert_eq!((held.objects, held.ram_bytes), (0, 0), "{of}");
    assert_eq!(bench.run.shares.borrow().imports.len(), 0, "{of}");
}

/// Passes four buffers from camera to display and back, each time at different indices.
fn go_round(machine: &str, options: &str) -> Bench {
    let mut bench = camera_and_display(machine, options);
    let (camera, display) = (bench.open(0), bench.open(1));
    bench.reqbufs(camera, CAPTURE, DMABUF, 5);
    bench.reqbufs(display, OUTPUT, DMABUF, 5);
    let buffers: Vec<i32> = (0..4).map(|_| other_buffer(&bench, LEN)).collect();
    bench.stream(camera, CAPTURE, true);
    bench.stream(display, OUTPUT, true);
    let mut last = None;
    for turn in 0..20u32 {
        let fd = buffers[turn as usize % 4];
        queue(&mut bench, camera, (CAPTURE, turn % 5), fd, 0).unwrap();
        let (index, used) = bench.dequeue(camera, CAPTURE, DMABUF);
        assert_eq!((index, used), (turn % 5, LEN), "{machine}");
        queue(&mut bench, display, (OUTPUT, turn % 5), fd, 0).unwrap();
        bench.dequeue(display, OUTPUT, DMABUF);
        if bench.run.memory.ops().platform().profile().coherent {
            let number = picture_number(&bytes_of(&bench, fd));
            assert!(last < Some(number), "{machine}: {last:?}, then {number}");
            last = Some(number);
        }
    }
    bench.stream(camera, CAPTURE, false);
    bench.stream(display, OUTPUT, false);
    bench.close_all(&[camera, display]);
    bench
}

#[test]
fn foreign_memory_is_one_iommu_run_and_stays_mapped() {
    for machine in ["pc", "soc-iommu", "soc-noncoherent"] {
        let mut bench = go_round(machine, "");
        let report = bench.run.report();
        for device in &report.devices {
            let queue = &device.queues[0];
            assert_eq!((queue.frames, queue.maps), (20, 4), "{machine} {device:?}");
            assert_eq!(queue.bytes_copied + queue.bytes_bounced, 0, "{machine}");
        }
        assert!(
            report.refusals.is_empty(),
            "{machine}: {:?}",
            report.refusals
        );
        expect_nothing_held(&mut bench, machine);
    }
}

#[test]
fn vmalloc_and_dma_sg_take_scattered_memory_anywhere() {
    for machine in ["pc", "soc-cma", "soc-noncoherent", "vm-bounce"] {
        for alloc in [",alloc=vmalloc", ",alloc=sg"] {
            let mut bench = go_round(machine, alloc);
            expect_nothing_held(&mut bench, machine);
        }
    }
}

#[test]
fn scattered_import_needs_an_iommu() {
    let mut bench = camera_and_display("soc-cma", "");
    for (node, kind) in [(0, CAPTURE), (1, OUTPUT)] {
        let file = bench.open(node);
        bench.reqbufs(file, kind, DMABUF, 2);
        let fd = other_buffer(&bench, LEN);
        for _ in 0..10 {
            assert_eq!(queue(&mut bench, file, (kind, 0), fd, 0), Err(14));
        }
        let report = bench.run.report();
        let refusal = report.refusals.last().unwrap();
        assert_eq!(
            (
                refusal.device.as_str(),
                refusal.call.as_str(),
                refusal.errno
            ),
            (format!("/dev/video{node}").as_str(), "QBUF", 14)
        );
        assert_eq!(
            (refusal.constraint.as_str(), refusal.wanted, refusal.found),
            ("contiguous", 2 * PAGE_SIZE, PAGE_SIZE)
        );
        assert_eq!(bench.run.shares.borrow().imports.len(), 0, "let go at once");
        bench.close_all(&[file]);
        expect_nothing_held(&mut bench, "soc-cma");
    }
}

#[test]
fn what_is_too_small_or_no_dmabuf_is_refused_as_ever() {
    let mut bench = camera_and_display("soc-iommu", "");
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, DMABUF, 2);
    let small = other_buffer(&bench, 4096);
    assert_eq!(queue(&mut bench, camera, (CAPTURE, 0), small, 0), Err(22));
    assert_eq!(queue(&mut bench, camera, (CAPTURE, 0), small, LEN), Err(14));
    let good = other_buffer(&bench, LEN);
    assert_eq!(
        queue(&mut bench, camera, (CAPTURE, 0), good, LEN - 1),
        Err(22)
    );
    assert_eq!(
        queue(&mut bench, camera, (CAPTURE, 0), good, LEN * 16),
        Err(14)
    );
    assert_eq!(queue(&mut bench, camera, (CAPTURE, 0), -1, 0), Err(22));
    assert_eq!(bench.run.shares.borrow().imports.len(), 0);
    // With the real check whether a file is a dma-buf, a memfd is refused.
    bench.run.shares.get_mut().imports = Imports::of_kernel();
    assert_eq!(queue(&mut bench, camera, (CAPTURE, 0), good, 0), Err(22));
    bench.close_all(&[camera]);
    expect_nothing_held(&mut bench, "soc-iommu");
}

#[test]
fn unmappable_dmabuf_is_refused_with_reason() {
    let mut bench = camera_and_display("soc-iommu", "");
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, DMABUF, 2);
    let directory = OwnedFd::from(File::open("/proc/self/fd").unwrap());
    let number = directory.as_raw_fd();
    bench.program.others.borrow_mut().push(directory);
    assert_eq!(queue(&mut bench, camera, (CAPTURE, 0), number, 0), Err(22));
    let report = bench.run.report();
    let [refusal] = &report.refusals[..] else {
        panic!("{:?}", report.refusals)
    };
    assert_eq!(
        (
            refusal.device.as_str(),
            refusal.errno,
            refusal.constraint.as_str()
        ),
        ("/dev/video0", 22, "cpu-mapping")
    );
    bench.close_all(&[camera]);
    expect_nothing_held(&mut bench, "soc-iommu");
}

#[test]
fn oversized_import_is_refused_with_reason() {
    let mut bench = camera_and_display("soc-iommu", "");
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, DMABUF, 2);
    let huge = other_buffer(&bench, LEN);
    let ram = Profile::builtin("soc-iommu").unwrap().ram;
    with_fd(&bench, huge, |fd| ftruncate(fd, ram)).unwrap();
    assert_eq!(queue(&mut bench, camera, (CAPTURE, 0), huge, 0), Err(22));
    let (_, _, constraint, wanted, found) = refusals(&mut bench).remove(0);
    assert_eq!((constraint.as_str(), wanted), ("ram", ram));
    assert!(found < ram);
    bench.close_all(&[camera]);
    expect_nothing_held(&mut bench, "soc-iommu");
}

#[test]
fn only_so_many_are_held_at_one_time() {
    let bench = camera_and_display("soc-iommu", "");
    let (mut run, program) = (bench.run, bench.program);
    let imports = &mut run.shares.get_mut().imports;
    let mut known = Vec::new();
    loop {
        let fd = memfd_create("other", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, PAGE_SIZE).unwrap();
        let number = fd.as_raw_fd();
        program.others.borrow_mut().push(fd);
        let file = program.identify(number).unwrap();
        let mut have = Gathered::default();
        let of = Detail::Description;
        have.add_descriptor(number, of, program.descriptor(number, of));
        let call = Call {
            id: program.call(),
            origin: program.origin(),
            on: On::Foreign(file),
            op: Op::Resume { addr: 0 },
            nonblocking: false,
            have: &have,
        };
        match imports.resolve(&mut run.memory, &Step::new(&call), (number, file)) {
            Some(buf) => known.push((file, buf)),
            None => break,
        }
    }
    let [reason] = imports.take_refused()[..] else {
        panic!("one refusal")
    };
    assert_eq!(
        (reason.constraint.name(), reason.wanted, reason.found),
        ("imports", 513, known.len() as u64)
    );
    assert!(
        known
            .iter()
            .all(|&(file, buf)| imports.buf(file) == Some(buf))
    );
    imports.sweep(&mut run.memory);
    assert_eq!(imports.len(), 0);
    assert!(run.memory.live().is_empty());
}

#[test]
fn withdrawn_memory_fails_the_frame() {
    let mut bench = camera_and_display("soc-iommu", "");
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, DMABUF, 2);
    let fd = other_buffer(&bench, LEN);
    queue(&mut bench, camera, (CAPTURE, 0), fd, 0).unwrap();
    with_fd(&bench, fd, |fd| ftruncate(fd, 0)).unwrap();
    bench.stream(camera, CAPTURE, true);
    let mut arg = Bench::buffer(CAPTURE, DMABUF, 0);
    for _ in 0..1000 {
        bench.run.tick();
        if bench.try_ioctl(camera, VIDIOC_DQBUF, &mut arg).is_ok() {
            break;
        }
    }
    let flags = arg.u32(offset_of!(v4l2_buffer, flags));
    assert_ne!(flags & V4L2_BUF_FLAG_ERROR, 0, "{flags:#x}");
    bench.close_all(&[camera]);
    expect_nothing_held(&mut bench, "soc-iommu");
}

#[test]
fn foreign_memory_is_stale_until_sync() {
    let mut bench = camera_and_display("soc-noncoherent", "");
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, DMABUF, 1);
    let fd = other_buffer(&bench, LEN);
    let file = bench.program.identify(fd).unwrap();
    bench.stream(camera, CAPTURE, true);
    for turn in 0..3u64 {
        queue(&mut bench, camera, (CAPTURE, 0), fd, 0).unwrap();
        if turn == 0 {
            assert!(bench.run.is_foreign(file));
            let origin = Origin::process(1, 1);
            bench.run.buffer_mapped(file, origin).unwrap();
        }
        bench.dequeue(camera, CAPTURE, DMABUF);
        let stale = bytes_of(&bench, fd);
        if turn == 0 {
            assert!(stale.iter().all(|&byte| byte == 0), "nothing has arrived");
            let flags = 1u64; // DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ
            let at = (&raw const flags) as u64;
            let op = Op::Ioctl {
                request: 0x4008_6200,
                arg: at,
            };
            perform(&mut bench.run, On::Foreign(file), op, false, &bench.program);
            picture_number(&bytes_of(&bench, fd));
        }
    }
    bench.stream(camera, CAPTURE, false);
    bench.close_all(&[camera]);
    let missed = bench.run.report().missing_syncs;
    let times: u64 = missed.iter().map(|missed| missed.times).sum();
    assert!(
        times >= 1,
        "two frames were taken without a sync: {missed:?}"
    );
    assert!(missed.iter().all(|missed| missed.sync == "for-cpu"));
    expect_nothing_held(&mut bench, "soc-noncoherent");
}

#[test]
fn a_new_buffer_each_time_leaves_few_behind() {
    for machine in ["soc-iommu", "soc-noncoherent"] {
        let mut bench = camera_and_display(machine, "");
        let display = bench.open(1);
        bench.reqbufs(display, OUTPUT, DMABUF, 4);
        bench.stream(display, OUTPUT, true);
        for _ in 0..80 {
            let fd = other_buffer(&bench, LEN);
            queue(&mut bench, display, (OUTPUT, 0), fd, 0).unwrap();
            let file = bench.program.identify(fd).unwrap();
            let origin = Origin::process(1, 1);
            bench.run.buffer_mapped(file, origin).unwrap();
            bench.dequeue(display, OUTPUT, DMABUF);
            bench.program.others.borrow_mut().clear();
            // The display keeps mappings of earlier buffers, too.
            assert!(bench.run.shares.borrow().imports.len() <= 65, "{machine}");
        }
        bench.stream(display, OUTPUT, false);
        bench.close_all(&[display]);
        expect_nothing_held(&mut bench, machine);
    }
}

/// As in Linux, a buffer at an index keeps its addresses also after it was dequeued, and another buffer at this index
/// takes them over.
#[test]
fn addresses_belong_to_the_buffers_of_indices() {
    const BYTES: u32 = 256 << 10;
    let mut bench = camera_and_display("soc-iommu", ",mask=20");
    let display = bench.open(1);
    bench.reqbufs(display, OUTPUT, DMABUF, 4);
    bench.stream(display, OUTPUT, true);
    let show = |bench: &mut Bench, index| {
        let fd = other_buffer(bench, BYTES);
        queue(bench, display, (OUTPUT, index), fd, 0)?;
        bench.dequeue(display, OUTPUT, DMABUF);
        Ok::<(), i32>(())
    };
    // Address 0 is never used, so three buffers fit below 1 MiB.
    for index in 0..3 {
        assert_eq!(show(&mut bench, index), Ok(()), "{index}");
    }
    assert_eq!(show(&mut bench, 3), Err(EINVAL));
    for _ in 0..5 {
        assert_eq!(show(&mut bench, 0), Ok(()));
    }
    assert_eq!(show(&mut bench, 3), Err(EINVAL));
    bench.stream(display, OUTPUT, false);
    bench.close_all(&[display]);
    let refused = bench.run.report().refusals;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        (&*refused[0].constraint, refused[0].times),
        ("iova-space", 2)
    );
    expect_nothing_held(&mut bench, "soc-iommu");
}

#[test]
fn foreign_bounce_copies_are_counted() {
    let mut bench = go_round("vm-bounce", "");
    let report = bench.run.report();
    assert!(report.total(|q| q.bytes_bounced) >= 2 * 20 * u64::from(LEN));
    expect_nothing_held(&mut bench, "vm-bounce");
}

/// The poll events that other drivers' buffers return.
static READY: AtomicI16 = AtomicI16::new(0);

#[test]
fn exporter_fence_delays_only_its_buffer() {
    const IN: i16 = 1;
    const OUT: i16 = 4;
    let mut bench = camera_and_display("soc-iommu", "");
    let imports = Imports::new(|_| true).polled_by(|_| READY.load(Ordering::Relaxed));
    bench.run.shares.get_mut().imports = imports;
    let (camera, display) = (bench.open(0), bench.open(1));
    bench.reqbufs(camera, CAPTURE, DMABUF, 2);
    bench.reqbufs(display, OUTPUT, DMABUF, 2);
    bench.stream(camera, CAPTURE, true);
    bench.stream(display, OUTPUT, true);
    let comes = |bench: &mut Bench, file, kind| {
        (0..50).any(|_| {
            bench.run.tick();
            let mut arg = Bench::buffer(kind, DMABUF, 0);
            bench.try_ioctl(file, VIDIOC_DQBUF, &mut arg).is_ok()
        })
    };
    // The buffer's driver still writes it, so no device gets the buffer. Calls return nevertheless.
    let buffer = other_buffer(&bench, LEN);
    READY.store(0, Ordering::Relaxed);
    queue(&mut bench, display, (OUTPUT, 0), buffer, 0).unwrap();
    let begun = |bench: &Bench| {
        let memory = &bench.run.memory;
        memory.buffers().fence_counts().0
    };
    let before = begun(&bench);
    assert!(!comes(&mut bench, display, OUTPUT));
    assert_eq!(begun(&bench), before, "one fence waits for the driver");
    let due = bench.run.next_tick().unwrap();
    assert!(due <= std::time::Duration::from_millis(1), "{due:?}");
    // The driver has written the buffer. Other devices read it, and a display may read it, too.
    READY.store(IN, Ordering::Relaxed);
    assert!(comes(&mut bench, display, OUTPUT));
    // A camera, which writes the buffer, waits until the readers are done.
    queue(&mut bench, camera, (CAPTURE, 0), buffer, 0).unwrap();
    assert!(!comes(&mut bench, camera, CAPTURE));
    READY.store(IN | OUT, Ordering::Relaxed);
    assert!(comes(&mut bench, camera, CAPTURE));
    // A program that exits does not wait for the fence.
    READY.store(0, Ordering::Relaxed);
    queue(&mut bench, display, (OUTPUT, 1), buffer, 0).unwrap();
    bench.close_all(&[camera, display]);
    expect_nothing_held(&mut bench, "soc-iommu");
    let counts = bench.run.memory.buffers().fence_counts();
    assert_eq!(counts.0, counts.1);
    assert!(counts.0 > 4, "{counts:?}");
}
