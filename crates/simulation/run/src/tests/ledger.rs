//! Tests the report's list of buffers and their holders.

use super::udmabuf::{memfd, of_memfd};
use super::{Bench, CAPTURE, DMABUF, MMAP, OUTPUT};
use std::mem::offset_of;
use vb3_frontend::{Devices as _, Origin, ProcessFiles as _, Program as _};
use vb3_report::BufferReport;
use vb3_v4l2::sys::*;

/// Returns the kinds of a buffer's holders, each with its device.
fn holders(buffer: &BufferReport) -> Vec<String> {
    let kinds = buffer.holders.iter().map(|holder| {
        let own = if holder.process == std::process::id() {
            " here"
        } else {
            ""
        };
        format!("{}{own} {}", holder.kind, holder.device)
            .trim_end()
            .to_owned()
    });
    let mut kinds: Vec<String> = kinds.collect();
    kinds.sort_unstable();
    kinds
}

pub(super) fn import(kind: u32, index: u32, fd: i32) -> super::Arg {
    let mut arg = Bench::buffer(kind, DMABUF, index);
    for (at, value) in [
        (offset_of!(v4l2_buffer, bytesused), 6144),
        (offset_of!(v4l2_buffer, m), fd as u32),
    ] {
        arg.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    arg
}

#[test]
fn buffer_with_many_handles_is_one_row() {
    let mut bench = Bench::new("soc-iommu", &["camera,sizes=64x48", "display,size=64x48"]);
    let (camera, display) = (bench.open(0), bench.open(1));
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    bench.reqbufs(display, OUTPUT, DMABUF, 2);
    // The buffer is exported twice, mapped by its index, queued at its own device and at two
    // indices of another device.
    let fds = [
        bench.export(camera, CAPTURE, 0),
        bench.export(camera, CAPTURE, 0),
    ];
    let args = vb3_frontend::Mmap {
        offset: 0,
        len: 4096,
        prot: 1,
        flags: 1,
    };
    let map = bench
        .run
        .mmap(camera, &args, bench.program.origin())
        .unwrap();
    bench.stream(display, OUTPUT, true);
    for (index, fd) in (0..).zip(fds) {
        bench.ioctl(display, VIDIOC_QBUF, import(OUTPUT, index, fd));
    }
    let report = bench.run.report();
    let [row, other] = &report.buffers[..] else {
        panic!("{:?}", report.buffers)
    };
    assert_eq!(holders(other), ["queue"]);
    let place = (&*row.device, &*row.queue, row.buffer, row.plane);
    assert_eq!(place, ("/dev/video0", "video-capture", 0, 0));
    let wanted = [
        "attachment /dev/video1",
        "descriptor here",
        "fence /dev/video1",
        "mapping here",
        "queue",
    ];
    assert_eq!(holders(row), wanted);
    assert!(row.holders.iter().all(|holder| holder.at_end));
    assert!(!row.orphaned && !row.revoked);
    // The queue releases the buffer, which stays. Then the buffer is revoked, and all holders release it.
    bench.stream(display, OUTPUT, false);
    bench.reqbufs(camera, CAPTURE, MMAP, 0);
    let number = row.number.clone();
    let report = bench.run.report();
    let row = report.buffers.iter().find(|row| row.number == number);
    let row = row.unwrap();
    assert!(row.orphaned);
    let queue = row.holders.iter().find(|holder| holder.kind == "queue");
    assert!(queue.is_some_and(|queue| !queue.at_end && queue.longest_ns > 0));
    bench.run.revoke_by_name(&number).unwrap();
    assert_eq!(
        bench
            .run
            .report()
            .buffers
            .iter()
            .filter(|row| row.revoked)
            .count(),
        1
    );
    bench.run.tag_ended(map.tag);
    bench.close_all(&[camera, display]);
    let report = bench.run.report();
    assert_eq!(report.buffers.len(), 2);
    let row = report.buffers.iter().find(|row| row.number == number);
    let row = row.unwrap();
    assert_eq!(holders(row), wanted);
    assert!(row.holders.iter().all(|holder| !holder.at_end));
}

#[test]
fn rows_of_a_long_run_are_counted_and_not_all_kept() {
    let mut bench = Bench::new("pc", &["camera,sizes=64x48,max-buffers=512"]);
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 300);
    let report = bench.run.report();
    assert_eq!((report.buffers.len(), report.buffers_left_out), (256, 44));
    for _ in 0..10 {
        bench.reqbufs(camera, CAPTURE, MMAP, 200);
    }
    bench.reqbufs(camera, CAPTURE, MMAP, 0);
    let report = bench.run.report();
    assert_eq!(report.buffers.len(), 768);
    // There were 300 buffers, but 44 got no row, and then ten times 200 buffers. The report lists 768.
    assert_eq!(report.buffers_left_out, 256 + 2000 - 768 + 44);
    bench.close_all(&[camera]);
}

/// Opens the node at a path, or returns `None` if the run has none.
pub(super) fn open(bench: &mut Bench, path: &str) -> Option<vb3_frontend::FileId> {
    let mut nodes = bench.run.nodes().into_iter();
    let node = nodes.find(|node| node.path.as_os_str() == path)?;
    Some(bench.run.open(node.id, 2, bench.program.origin()).unwrap())
}

/// Allocates a dma-buf from the system heap.
fn of_heap(bench: &mut Bench) -> i32 {
    let heap = open(bench, "/dev/dma_heap/system").unwrap();
    let mut arg = super::Arg::new(24, &[(0, 8192), (12, 2)]);
    bench.try_ioctl(heap, 0xc018_4800, &mut arg).unwrap();
    bench.run.release(heap);
    arg.u32(8) as i32
}

#[test]
fn heap_and_memfd_memory_is_one_row() {
    for way in ["heap", "udmabuf"] {
        let specs = ["camera,sizes=64x48", "display,size=64x48"];
        let mut bench = Bench::new("soc-iommu", &specs);
        let made = match way {
            "heap" => Some(of_heap(&mut bench)),
            _ => {
                let memfd = memfd(&bench);
                of_memfd(&mut bench, memfd, 8192)
            }
        };
        let Some(fd) = made else {
            vb3_skip::elsewhere("the host has /dev/udmabuf, so that the run offers none");
            continue;
        };
        let (camera, display) = (bench.open(0), bench.open(1));
        for (file, kind) in [(camera, CAPTURE), (display, OUTPUT)] {
            bench.reqbufs(file, kind, DMABUF, 2);
            for index in 0..2 {
                bench.ioctl(file, VIDIOC_QBUF, import(kind, index, fd));
            }
        }
        let report = bench.run.report();
        let [row] = &report.buffers[..] else {
            panic!("{way}: {:?}", report.buffers)
        };
        assert_eq!((&*row.device, row.bytes, row.orphaned), ("", 8192, false));
        let wanted = [
            "attachment /dev/video0",
            "attachment /dev/video1",
            "descriptor here",
        ];
        assert_eq!(holders(row), wanted, "{way}");
        let revoked = bench.run.revoke_by_name(&row.number);
        // A memfd belongs to the program, so it cannot be revoked.
        assert_eq!(revoked.is_ok(), way == "heap", "{revoked:?}");
        bench.close_all(&[camera, display]);
        let report = bench.run.report();
        assert!(
            report.buffers[0]
                .holders
                .iter()
                .all(|holder| !holder.at_end)
        );
    }
}

#[test]
fn change_cost_ignores_unrelated_buffers() {
    let mut bench = Bench::new("pc", &["camera,sizes=64x48,max-buffers=512"]);
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 200);
    let mut looks = Vec::new();
    for _ in 0..3 {
        bench.export(camera, CAPTURE, 0);
        looks.push(bench.run.history.ledger.looks());
    }
    let [first, second, third] = looks[..] else {
        unreachable!()
    };
    // Each call makes the ledger look at one buffer.
    assert_eq!((second - first, third - second), (1, 1));
    let row = &bench.run.report().buffers[0];
    assert_eq!(holders(row), ["descriptor here", "queue"]);
    bench.close_all(&[camera]);
}

#[test]
fn processes_that_map_a_buffer_are_listed_at_once() {
    let mut bench = Bench::new("pc", &["camera,sizes=64x48"]);
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 2);
    let fd = bench.export(camera, CAPTURE, 1);
    let id = bench.program.identify(fd).unwrap();
    for pid in [1, 2] {
        let origin = Origin::process(pid, pid);
        bench.run.buffer_mapped(id, origin).unwrap();
        let report = bench.run.report();
        let pids = report.buffers.iter().flat_map(|row| &row.holders);
        let pids = pids.filter(|holder| holder.kind == "mapping");
        let pids: Vec<u32> = pids.map(|holder| holder.process).collect();
        assert_eq!(pids, (1..=pid).collect::<Vec<u32>>());
    }
    bench.close_all(&[camera]);
}
