//! Fences of buffers: sync files, and queues that wait for them.

use crate::common::{Run, RunOutput, compiled, expect_pattern, size_option, vb3};
use std::path::Path;
use vb3_v4l2::pixfmt;

/// Expected answers of the calls. Source: Linux 6.12. Only in vb3 do buffers of V4L2 devices have fences, and
/// queues wait for fences.
const ANSWERS: &str = "passed on: as it should
epoll_ctl: ok
epoll_wait: as it should
after a kill: as it should
  status: as it should
sw_sync: ok
export of what nobody has: ok
  it has ended: as it should
  one fence: as it should
  of status: as it should
  stub stub
export without flags: EINVAL
export with other flags: EINVAL
export to nowhere: EFAULT
import of no descriptor: EINVAL
import of a dma-buf: EINVAL
import without flags: EINVAL
import of what has ended: ok
merge with no descriptor: ENOENT
merge with a dma-buf: ENOENT
import of a closed one: EINVAL
import of another file: EINVAL
import of an event: EINVAL
import of a camera: EINVAL
merge with a closed one: ENOENT
merge with another file: ENOENT
merge with an event: ENOENT
merge with a camera: ENOENT
info of an event: ENOTTY
merge with flags: EINVAL
merge of nowhere: EFAULT
info with flags: EINVAL
info of nowhere: EFAULT
other call: ENOTTY
read: EINVAL
mmap: ENODEV
queued, not streaming: as it should
STREAMON: ok
captured: dma-buf: as it should
captured: sync file: as it should
captured: status: as it should
  vb3 video0
select on the copy: as it should
  status: as it should
the dma-buf then: as it should
STREAMOFF: ok
  status: as it should
  it has ended: as it should
merge keeps the last: as it should
  both
increment: ok
  first: as it should
  both: as it should
increment: ok
  the child's wait: as it should
a timeline that is closed: as it should
import: ok
QBUF of the first: ok
QBUF of the second: ok
STREAMON: ok
  is queued: as it should
  nothing is shown: as it should
increment: ok
  comes back: as it should
import: ok
QBUF of the third: ok
STREAMOFF: ok
  is the program's: as it should
before SYNC: as it should
SYNC: ok
  status: as it should
";

#[test]
fn sync_files_match_linux_and_queues_wait_for_them() {
    let Some(program) = compiled("sync_files.c") else {
        return;
    };
    let outcome = Run::on("pc")
        .real_time("fences stay pending until the next second")
        .device("camera,fps=1")
        .device("display")
        .program([&program])
        .and(["/dev/video0", "/dev/video1"])
        .run();
    assert_eq!(outcome.stdout, ANSWERS, "{}", outcome.stderr);
    outcome.expect_success();
}

/// Passes buffers of a camera to a display, in the way that `how` names. Returns the run and the display's
/// pictures.
fn camera_to_display(program: &Path, how: [&str; 2], pace: &str) -> (RunOutput, Vec<u8>) {
    let outcome = Run::on("pc")
        .device(format!(
            "camera=pattern,format=YUYV,{pace},{}",
            size_option()
        ))
        .device(format!("display=shown.raw,pace=free,{}", size_option()))
        .program([&program.display().to_string(), "/dev/video0", "/dev/video1"])
        .and(how)
        .run();
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    outcome.expect_nothing_held();
    let shown = outcome.read("shown.raw");
    (outcome, shown)
}

#[test]
fn early_access_is_reported_unless_sync_files_wait() {
    let Some(program) = compiled("early.c") else {
        return;
    };
    let yuyv = pixfmt::by_name("YUYV").unwrap();

    let (never, _) = camera_to_display(&program, ["4", "never"], "fps=1");
    let rows = &never.report.early_accesses;
    assert!(!rows.is_empty(), "{}", never.stderr);
    for row in rows {
        let owner = (&*row.device, &*row.queue, &*row.owner, &*row.owner_access);
        let wanted = ("/dev/video0", "video-capture", "/dev/video0", "write");
        assert_eq!((owner, &*row.access), (wanted, "read"), "{row:?}");
    }
    // At least the first frame is ready at once and needs no wait.
    for (by, call) in [("/dev/video1", "QBUF"), ("", "DMA_BUF_IOCTL_SYNC")] {
        let of = rows.iter().filter(|row| row.by == by && row.call == call);
        let times: u64 = of.map(|row| row.times).sum();
        assert!((1..=4).contains(&times), "{call}: {rows:?}");
    }
    let why = vb3(never.dir.path()).arg("why").output().unwrap();
    let why = String::from_utf8_lossy(&why.stdout);
    for sentence in [
        "while /dev/video0 was writing it, it was queued at /dev/video1, which reads it",
        "began to read it (DMA_BUF_IOCTL_SYNC)",
        "(DMA_BUF_IOCTL_IMPORT_SYNC_FILE) before QBUF, which then waits",
    ] {
        assert!(why.contains(sentence), "{sentence}: {why}");
    }

    for how in ["fences", "wait"] {
        let (outcome, shown) = camera_to_display(&program, ["9", how], "fps=5");
        assert_eq!(outcome.report.early_accesses, [], "{how}");
        assert_eq!(expect_pattern(yuyv, &shown).len(), 9, "{how}");
    }
    let [fences, wait] =
        ["fences", "wait"].map(|how| camera_to_display(&program, ["9", how], "pace=free").1);
    assert_eq!(expect_pattern(yuyv, &wait), (0..9).collect::<Vec<_>>());
    assert!(fences == wait, "the same pixels");
}

#[test]
fn a_device_that_waits_for_its_own_fence_is_named() {
    let Some(program) = compiled("deadlock.c") else {
        return;
    };
    let outcome = Run::on("pc")
        .device("convert")
        .program([&program])
        .and(["/dev/video0"])
        .run();
    outcome.expect_success();
    assert_eq!(outcome.stdout, "after 3 s: 0\nafter STREAMOFF: 1\n");
    let [failure] = &outcome.report.failures[..] else {
        panic!("{:?}", outcome.report.failures)
    };
    assert_eq!((&*failure.device, failure.times), ("/dev/video0", 1));
    let wanted = "buffer 0 has waited for 2 s for its own fence";
    assert!(failure.sentence.starts_with(wanted), "{failure:?}");
}

/// Expected reports of epoll. Source: Linux 6.12, fs/eventpoll.c, drivers/dma-buf/dma-buf.c
/// `dma_buf_poll` and sync_file.c `sync_file_poll`.
const REPORTED: &str = "REQBUFS: ok
add: ok
add again: EEXIST
idle: 1 inout
idle again: 1 inout
being written: nothing
written: 1 inout
being read: 1 in
read: 1 inout
delete: ok
delete again: ENOENT
modify: ENOENT
add while it is written: ok
being written: nothing
by another process: 1 in
add for edges: ok
idle: 2 inout
idle again: 2 inout
modify while it is written: ok
being written: nothing
written: 2 inout
written, again: 2 inout
of a fence that poll has not seen: 2 inout
once: ok
written: 2 out
written, again: nothing
add a sync file: ok
add one for edges: ok
pending: nothing
ended: 3 in 4 in
ended, again: 3 in
add what has ended: ok
ended: 5 in
ended, again: nothing
QBUF: ok
STREAMON: ok
a buffer and a fence pend: nothing
an event: 3 in
all but the camera: 1 in 2 in 3 in
add the camera: ok
a frame: 4 in
add its buffer: ok
both: 4 in 5 in
STREAMOFF: ok
the buffer: 5 in
closed: nothing
";

#[test]
fn epoll_reports_buffers_and_fences_as_linux() {
    let Some(program) = compiled("epoll_buffers.c") else {
        return;
    };
    let outcome = Run::on("pc")
        .device("camera,sizes=64x48")
        .program([&program])
        .and(["/dev/video0"])
        .run();
    assert_eq!(outcome.stdout, REPORTED, "{}", outcome.stderr);
    outcome.expect_success();
    outcome.expect_nothing_held();
}

/// The expected answers are those of stock kernels, measured by `cargo xtask vm buffers`. On a
/// dma-buf, an edge-triggered entry reports at every wait.
#[test]
fn poll_and_epoll_of_buffers_match_stock_kernels() {
    let Some(program) = compiled("epoll_other.c") else {
        return;
    };
    // A run with a trace gives the same answers.
    let recorded: &[&str] = &["--trace", "run.json"];
    for (machine, options) in [("pc", &[][..]), ("soc-cma", recorded)] {
        let outcome = Run::on(machine)
            .device("camera,sizes=64x48")
            .options(options)
            .program([&program])
            .and(["sw_sync"])
            .run();
        let told: Vec<_> = outcome.stdout.lines().collect();
        assert_eq!(told.len(), 55, "{machine}: {told:#?}{}", outcome.stderr);
        let differ = told.iter().filter(|line| line.contains(", not "));
        assert_eq!(differ.count(), 0, "{machine}: {told:#?}");
        outcome.expect_end();
    }
}
