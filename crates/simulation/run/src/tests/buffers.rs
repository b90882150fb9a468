//! Tests the list of buffers and their holders.

use super::{Bench, CAPTURE, DMABUF, MMAP, OUTPUT};
use crate::BufferList;
use vb3_frontend::{Devices as _, Perform as _, Program as _};
use vb3_machine::profile::PAGE_SIZE;
use vb3_report::sentence;
use vb3_v4l2::sys::*;

const PROT_READ: i32 = 1;
const MAP_SHARED: i32 = 1;

/// Returns a buffer's place and its holders.
fn entry(bench: &Bench, name: &str) -> (String, Vec<String>) {
    let list = bench.run.list_buffers();
    let found = list.buffers.iter().find(|buffer| buffer.name == name);
    let Some(found) = found else {
        panic!("{name} is missing in:\n{list}")
    };
    (found.place.clone(), found.holders.clone())
}

#[test]
fn each_holder_of_a_buffer_is_named_until_it_lets_go() {
    let mut bench = Bench::new(
        "soc-noncoherent",
        &[
            "camera,sizes=64x48,place=lazy",
            "display,size=64x48,contiguous=on",
        ],
    );
    let (camera, display) = (bench.open(0), bench.open(1));
    assert_eq!(bench.run.list_buffers(), BufferList::default());
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    let first = "/dev/video0 video-capture buffer 0 plane 0";
    let (head, holders) = entry(&bench, first);
    assert!(head == "not placed yet", "{head}");
    assert_eq!(holders, ["its queue", "/dev/video0, attached"]);
    let fd = bench.export(camera, CAPTURE, 0);
    let args = vb3_frontend::Mmap {
        offset: 0,
        len: PAGE_SIZE,
        prot: PROT_READ,
        flags: MAP_SHARED,
    };
    let map = bench
        .run
        .mmap(camera, &args, bench.program.origin())
        .unwrap();
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    let pid = std::process::id();
    let process = format!("process {pid} (a test)");
    let (head, holders) = entry(&bench, first);
    assert!(head.contains(" runs of 2 pages"), "{head}");
    let mapping = format!("a mapping in {process}");
    let descriptor = format!("a descriptor given to {process}");
    assert_eq!(
        holders,
        ["its queue", &mapping, &descriptor, "/dev/video0, in use"]
    );
    // The other buffer has no holder but its queue.
    let (_, holders) = entry(&bench, "/dev/video0 video-capture buffer 1 plane 0");
    assert_eq!(holders, ["its queue", "/dev/video0, attached"]);
    bench.stream(camera, CAPTURE, true);
    let (_, used) = bench.dequeue(camera, CAPTURE, MMAP);
    bench.reqbufs(display, OUTPUT, DMABUF, 2);
    bench.show(display, fd, used).unwrap();
    // The buffer moved for the display, so the camera must map it again.
    let (head, holders) = entry(&bench, first);
    assert!(head.starts_with("at 0x"), "{head}");
    assert_eq!(
        holders[3..],
        ["/dev/video0, attached", "/dev/video1, in use"]
    );
    assert_eq!(bench.run.report().total(|q| q.bytes_moved), 2 * PAGE_SIZE);
    // The queue releases the buffer. Only the program's handles are left.
    bench.stream(camera, CAPTURE, false);
    bench.reqbufs(display, OUTPUT, DMABUF, 0);
    bench.reqbufs(camera, CAPTURE, MMAP, 0);
    let (_, holders) = entry(&bench, "left by /dev/video0");
    assert_eq!(holders, [mapping, descriptor]);
    bench.run.tag_ended(map.tag);
    bench.close_all(&[camera, display]);
    bench.run.report();
    assert_eq!(bench.run.list_buffers(), BufferList::default());
}

#[test]
fn a_long_list_says_how_many_it_leaves_out() {
    let mut bench = Bench::new("pc", &["camera,sizes=64x48,max-buffers=2048"]);
    let camera = bench.open(0);
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2048), 2048);
    let list = bench.run.list_buffers();
    assert_eq!(list.buffers.len() as u64 + list.left_out, 2048);
    assert!(list.left_out > 0 && !list.buffers.is_empty());
    assert!(
        list.to_string()
            .ends_with(&format!("\n{} more\n", list.left_out))
    );
    let answer = serde_json::to_string(&list).unwrap();
    assert!(answer.len() < 64 << 10, "{}", answer.len());
    bench.close_all(&[camera]);
}

/// A buffer does not move for a second device while a first device uses it.
#[test]
fn a_refusal_names_who_keeps_a_buffer_where_it_is() {
    let mut bench = Bench::new(
        "soc-noncoherent",
        &[
            "camera,sizes=64x48,place=lazy",
            "display,size=64x48",
            "display,size=64x48,contiguous=on",
        ],
    );
    let (camera, first, second) = (bench.open(0), bench.open(1), bench.open(2));
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    let fd = bench.export(camera, CAPTURE, 0);
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    bench.stream(camera, CAPTURE, true);
    let (_, used) = bench.dequeue(camera, CAPTURE, MMAP);
    bench.reqbufs(first, OUTPUT, DMABUF, 1);
    bench.reqbufs(second, OUTPUT, DMABUF, 1);
    bench.show(first, fd, used).unwrap();
    bench.show(second, fd, used).unwrap_err();
    let report = bench.run.report();
    let [refusal] = &report.refusals[..] else {
        panic!("{:?}", report.refusals)
    };
    assert_eq!(
        (&*refusal.device, &*refusal.constraint),
        ("/dev/video2", "contiguous")
    );
    let remedy = refusal.remedy.as_ref().expect("a remedy");
    assert_eq!(remedy.pinned_by, ["display (/dev/video1)"]);
    assert_eq!(remedy.lazy, "", "it is so already");
    let hint = sentence::refusal(refusal, &[]).hint;
    assert!(
        hint.contains("display (/dev/video1) keeps it where it is"),
        "{hint}"
    );
    assert_eq!(report.total(|q| q.bytes_moved), 0);
    // Once the first device has released the buffer, the buffer moves.
    bench.reqbufs(first, OUTPUT, DMABUF, 0);
    bench.show(second, fd, used).unwrap();
    assert_eq!(bench.run.report().total(|q| q.bytes_moved), 2 * PAGE_SIZE);
    bench.close_all(&[camera, first, second]);
}

/// The device still shows a due frame if its file is closed before the next tick.
#[test]
fn written_frame_is_shown_after_immediate_close() {
    let mut bench = Bench::new("pc", &["display,format=YUYV,size=64x64,pace=free"]);
    let display = bench.open(0);
    let frame = vec![7u8; 64 * 64 * 2];
    let (addr, len) = (frame.as_ptr().addr() as u64, frame.len() as u64);
    for _ in 0..2 {
        let program = &bench.program;
        let written = bench.run.write(display, addr, len, true, program);
        assert!(
            matches!(written, vb3_frontend::CallOutcome::Done(8192)),
            "{written:?}"
        );
    }
    bench.close_all(&[display]);
    let report = bench.run.report();
    assert_eq!(report.devices[0].queues[0].frames, 2);
}
