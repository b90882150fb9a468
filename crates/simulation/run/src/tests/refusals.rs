//! Tests which failed calls the report counts as refused, and which frames it counts as lost.

use super::ledger::open;
use super::{Arg, Bench, CAPTURE, Local, MMAP};
use crate::script::Script;
use crate::{Outside, Run};
use std::mem::{offset_of, size_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vb3_frontend::{CallOutcome, Devices as _, Errno, FileId, NodeId, Perform as _, Program as _};
use vb3_machine::Profile;
use vb3_v4l2::sys::*;

const USERPTR: u32 = 2;
/// `DMA_HEAP_IOCTL_ALLOC`.
const ALLOC: u32 = 0xc018_4800;
const FRAME_NS: u64 = 40_000_000;

fn reqbufs(memory: u32, count: u32) -> Arg {
    Arg::new(
        size_of::<v4l2_requestbuffers>(),
        &[
            (offset_of!(v4l2_requestbuffers, count), count),
            (offset_of!(v4l2_requestbuffers, type_), CAPTURE),
            (offset_of!(v4l2_requestbuffers, memory), memory),
        ],
    )
}

/// Returns the report's refusals: call, errno, constraint, count.
fn refused(bench: &mut Bench) -> Vec<(String, i32, String, u64)> {
    let all = bench.run.report().refusals.into_iter();
    all.map(|r| (r.call, r.errno, r.constraint, r.times))
        .collect()
}

#[test]
fn failed_calls_are_refusals_and_queries_are_not() {
    let mut bench = Bench::new("soc-cma", &["camera,sizes=64x48"]);
    let camera = bench.open(0);
    // Asks for USERPTR support, for a format after the last one, for an unknown control, and for a buffer
    // before any is done.
    let mut format = Arg::new(size_of::<v4l2_fmtdesc>(), &[(0, 99), (4, CAPTURE)]);
    let mut control = Arg::new(size_of::<v4l2_control>(), &[(0, 0xdead)]);
    let mut export = Bench::exported(CAPTURE, u32::MAX);
    for (request, arg) in [
        (VIDIOC_REQBUFS, &mut reqbufs(USERPTR, 0)),
        (VIDIOC_EXPBUF, &mut export),
        (VIDIOC_ENUM_FMT, &mut format),
        (VIDIOC_G_CTRL, &mut control),
    ] {
        assert_eq!(bench.try_ioctl(camera, request, arg), Err(22));
    }
    assert_eq!(refused(&mut bench), []);
    bench.reqbufs(camera, CAPTURE, MMAP, 2);
    for _ in 0..97 {
        let mut beyond = Bench::buffer(CAPTURE, MMAP, 7);
        assert_eq!(bench.try_ioctl(camera, VIDIOC_QBUF, &mut beyond), Err(22));
    }
    let mut other = reqbufs(USERPTR, 2);
    assert_eq!(bench.try_ioctl(camera, VIDIOC_REQBUFS, &mut other), Err(22));
    let row = |call: &str, times| (call.to_owned(), 22, String::new(), times);
    assert_eq!(refused(&mut bench), [row("QBUF", 97), row("REQBUFS", 1)]);
    bench.close_all(&[camera]);
}

#[test]
fn refused_opens_are_counted() {
    let mut bench = Bench::new("pc", &["camera"]);
    let mut open = || bench.run.open(NodeId(0), 0, bench.program.origin());
    while open().is_ok() {}
    assert_eq!(open(), Err(Errno(24)));
    let row = ("open".to_owned(), 24, String::new(), 2);
    assert_eq!(refused(&mut bench), [row]);
}

#[test]
fn refused_calls_on_other_files_are_counted() {
    const SYNC: u32 = 0x4008_6200;
    let mut bench = Bench::new("pc", &["camera,sizes=64x48", "convert"]);
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 2);
    let number = bench.export(camera, CAPTURE, 0);
    let buf = bench.program.identify(number).unwrap();
    let mut flags = 0xff_u64;
    let at = (&raw mut flags) as u64;
    let run = &mut bench.run;
    for (request, errno) in [(SYNC, Errno::EINVAL), (0x6299, Errno::ENOTTY)] {
        let done = run.buffer_ioctl(buf, request, at, &bench.program);
        assert!(
            matches!(done, CallOutcome::Fail(e) if e == errno),
            "{done:?}"
        );
    }
    let nodes = run.nodes();
    let node = |path: &str| nodes.iter().find(|n| n.path.ends_with(path)).unwrap().id;
    let heap = run.open(node("system"), 0, bench.program.origin()).unwrap();
    let media = run.open(node("media0"), 0, bench.program.origin()).unwrap();
    let fence = run
        .open(node("sw_sync"), 0, bench.program.origin())
        .unwrap();
    // Zeroed arguments, for a link and for an entity that do not exist.
    for (file, request, bytes) in [
        (heap, ALLOC, 24),
        (media, MEDIA_IOC_SETUP_LINK, 52),
        (media, MEDIA_IOC_ENUM_ENTITIES, 256),
        (fence, 0x5799, 8),
    ] {
        let mut arg = Arg::new(bytes, &[(0, 0)]);
        bench.try_ioctl(file, request, &mut arg).unwrap_err();
    }
    let all = bench.run.report().refusals.into_iter();
    let all: Vec<_> = all.map(|r| (r.device, r.call, r.errno)).collect();
    let row = |device: &str, call: &str| (device.to_owned(), call.to_owned(), 22);
    assert_eq!(
        all,
        [
            row("/dev/video0", "DMA_BUF_IOCTL_SYNC"),
            row("/dev/dma_heap/system", "DMA_HEAP_IOCTL_ALLOC"),
            row("/dev/media0", "SETUP_LINK"),
        ]
    );
    bench.close_all(&[camera, heap, media, fence]);
}

#[test]
fn query_of_a_sync_file_is_no_refusal() {
    const CREATE_FENCE: u32 = 0xc028_5700;
    const SYNC_IOC_MERGE: u32 = 0xc030_3e03;
    const SYNC_IOC_FILE_INFO: u32 = 0xc038_3e04;
    let mut bench = Bench::new("pc", &["camera"]);
    let timeline = open(&mut bench, "/sys/kernel/debug/sync/sw_sync").unwrap();
    let fence = Arg::new(40, &[(0, 1)]);
    bench.ioctl(timeline, CREATE_FENCE, fence);
    let (file, _) = bench.program.made.take()[0];
    // A program asks for the number of fences with flags that no kernel knows.
    let mut info = Arg::new(56, &[(36, 1)]);
    let asked = bench.try_ioctl(file, SYNC_IOC_FILE_INFO, &mut info);
    assert_eq!(asked, Err(22));
    assert_eq!(refused(&mut bench), []);
    let mut merge = Arg::new(48, &[(40, 1)]);
    let merged = bench.try_ioctl(file, SYNC_IOC_MERGE, &mut merge);
    assert_eq!(merged, Err(22));
    let row = ("SYNC_IOC_MERGE".to_owned(), 22, String::new(), 1);
    assert_eq!(refused(&mut bench), [row]);
    bench.close_all(&[timeline, file]);
}

#[test]
fn heap_names_the_ram_that_it_lacks() {
    let mut bench = Bench::new("pc", &["camera"]);
    let heap = open(&mut bench, "/dev/dma_heap/system").unwrap();
    // 2^40 bytes.
    let mut alloc = Arg::new(24, &[(4, 1 << 8), (12, 2)]);
    assert_eq!(bench.try_ioctl(heap, ALLOC, &mut alloc), Err(12));
    let ram = ("DMA_HEAP_IOCTL_ALLOC".to_owned(), 12, "ram".to_owned(), 1);
    assert_eq!(refused(&mut bench), [ram]);
    bench.close_all(&[heap]);
}

#[test]
fn refusal_with_a_reason_is_counted_once() {
    let mut bench = Bench::new("soc-cma", &["camera,sizes=4096x2304,formats=YUYV"]);
    let camera = bench.open(0);
    let mut create = Arg::new(
        size_of::<v4l2_create_buffers>(),
        &[
            (offset_of!(v4l2_create_buffers, count), 1),
            (offset_of!(v4l2_create_buffers, memory), MMAP),
            (offset_of!(v4l2_create_buffers, format), CAPTURE),
        ],
    );
    let at = offset_of!(v4l2_create_buffers, format) + 8 + offset_of!(v4l2_pix_format, sizeimage);
    create.0[at..at + 4].copy_from_slice(&(1_u32 << 30).to_ne_bytes());
    assert_eq!(
        bench.try_ioctl(camera, VIDIOC_CREATE_BUFS, &mut create),
        Err(12)
    );
    let [(call, errno, constraint, times)] = refused(&mut bench).try_into().unwrap();
    assert_eq!((&*call, errno, times), ("CREATE_BUFS", 12, 1));
    assert_ne!(constraint, "");
    bench.close_all(&[camera]);
}

#[test]
fn calls_that_are_made_anew_are_not_refusals() {
    let mut bench = Bench::new("pc", &["display,size=64x48,format=YUYV"]);
    let display = bench.open(0);
    let frame = vec![0_u8; 64 * 48 * 2];
    let write = |bench: &mut Bench, addr: u64| {
        let len = frame.len() as u64;
        bench.run.write(display, addr, len, true, &bench.program)
    };
    let addr = frame.as_ptr() as u64;
    // The first attempt at each call lacks the program's memory.
    assert!(matches!(write(&mut bench, addr), CallOutcome::Done(_)));
    assert_eq!(refused(&mut bench), []);
    // Address 8 has no memory.
    assert!(matches!(write(&mut bench, 8), CallOutcome::Fail(_)));
    let row = ("write".to_owned(), 14, String::new(), 1);
    assert_eq!(refused(&mut bench), [row]);
    bench.close_all(&[display]);
}

/// Makes a camera whose clock the test sets.
fn timed() -> (Bench, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&now);
    let outside = Outside::new(
        move || clock.load(Ordering::Relaxed),
        vb3_codec::Launch::in_thread(),
    );
    let specs = ["camera,sizes=64x48,formats=YUYV,fps=25".parse().unwrap()];
    let profile = Profile::builtin("pc").unwrap();
    let bench = Bench {
        run: Run::with(profile, &specs, 1, outside).unwrap(),
        program: Local::new(),
    };
    (bench, now)
}

fn queue(bench: &mut Bench, camera: FileId, index: u32) {
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, index));
}

/// Lets `frames` frames pass, dequeues one buffer and queues it again.
fn take(bench: &mut Bench, camera: FileId, now: &AtomicU64, frames: u64) {
    for _ in 0..frames {
        now.fetch_add(FRAME_NS, Ordering::Relaxed);
        bench.run.tick();
    }
    bench.ioctl(camera, VIDIOC_DQBUF, Bench::buffer(CAPTURE, MMAP, 0));
}

fn lost(bench: &mut Bench) -> (u64, u64) {
    let report = bench.run.report();
    let queue = &report.devices[0].queues[0];
    (queue.dropped, queue.lost)
}

#[test]
fn only_frames_missed_between_two_are_lost() {
    let (mut bench, now) = timed();
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 1);
    queue(&mut bench, camera, 0);
    bench.stream(camera, CAPTURE, true);
    take(&mut bench, camera, &now, 1);
    assert_eq!(lost(&mut bench), (0, 0));
    // The program keeps its only buffer for some frames, and the newest frame waits for it.
    now.fetch_add(4 * FRAME_NS, Ordering::Relaxed);
    bench.run.tick();
    queue(&mut bench, camera, 0);
    take(&mut bench, camera, &now, 1);
    let (dropped, missed) = lost(&mut bench);
    assert!(missed > 0 && missed == dropped, "{missed} of {dropped}");
    now.fetch_add(9 * FRAME_NS, Ordering::Relaxed);
    bench.run.tick();
    bench.stream(camera, CAPTURE, false);
    let (more, still) = lost(&mut bench);
    assert!(more > dropped, "{more}");
    assert_eq!(still, missed, "nobody waited for those");
    bench.close_all(&[camera]);
}

#[test]
fn frames_that_a_script_takes_are_not_lost() {
    let (mut bench, now) = timed();
    let script = "[[step]]\ndevice = \"/dev/video0\"\nframe = 0\nerror = true\n\
                  [[step]]\ndevice = \"/dev/video0\"\ncall = 5\nfail = \"QBUF\"\nerrno = \"EIO\"\n\
                  [[step]]\ndevice = \"/dev/video0\"\nframe = 7\nlose = true\n";
    bench.run.play(&Script::parse(script).unwrap()).unwrap();
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 2);
    (0..2).for_each(|index| queue(&mut bench, camera, index));
    bench.stream(camera, CAPTURE, true);
    take(&mut bench, camera, &now, 1);
    let report = bench.run.report();
    assert_eq!(report.devices[0].queues[0].lost, 0, "{report:?}");
    let missed: Vec<_> = report
        .script_missed
        .iter()
        .map(|m| (m.step, m.line, &*m.why))
        .collect();
    let wanted = [
        (2, 5, "QBUF was called only 2 times"),
        (3, 10, "the device delivered only one frame"),
    ];
    assert_eq!(missed, wanted);
    assert_eq!(report.refusals, []);
    bench.close_all(&[camera]);
}
