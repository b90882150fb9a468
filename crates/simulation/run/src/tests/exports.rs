//! Exports as real dma-bufs, with a replacement for the kernel's `/dev/udmabuf`. The kernel does not report
//! when a program closes a dma-buf, so the run checks when it needs the memory.

use super::{Arg, Bench, CAPTURE, MMAP};
use crate::shares::Exporter;
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use std::collections::BTreeSet;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use vb3_frontend::{Devices as _, FileId, Perform as _, Program as _};
use vb3_report::trace;
use vb3_v4l2::sys::*;

/// Makes files that stand for dma-bufs, and records which of these files programs have closed.
#[derive(Clone, Debug, Default)]
struct StandIn(Arc<Mutex<BTreeSet<u64>>>, Arc<AtomicBool>);

impl Exporter for StandIn {
    fn export(&self, _: BorrowedFd<'_>, _: u64) -> Option<OwnedFd> {
        memfd_create("dma-buf", MemfdFlags::CLOEXEC).ok()
    }

    fn holders(&self, buf: BorrowedFd<'_>) -> Option<u64> {
        let is_closed = self.0.lock().unwrap().contains(&fstat(buf).ok()?.st_ino);
        let counts = !self.1.load(Ordering::Relaxed);
        counts.then_some(if is_closed { 1 } else { 2 })
    }
}

impl StandIn {
    /// Makes the counts of holders fail from now on, or succeed again.
    fn fail_counts(&self, fail: bool) {
        self.1.store(fail, Ordering::Relaxed);
    }

    /// Closes a descriptor that the program was given.
    fn close(&self, bench: &Bench, number: i32) {
        let mut given = bench.program.given.borrow_mut();
        let is_it = |(fd, _): &(OwnedFd, _)| fd.as_raw_fd() == number;
        let at = given.iter().position(is_it).unwrap();
        let (fd, _) = given.remove(at);
        let file = fstat(fd.as_fd()).unwrap().st_ino;
        self.0.lock().unwrap().insert(file);
    }
}

fn bench(specs: &[&str]) -> (Bench, StandIn) {
    let mut bench = Bench::new("soc-cma", specs);
    let stand_in = StandIn::default();
    let exporter = Box::new(stand_in.clone());
    bench.run.shares.get_mut().set_exporter(exporter);
    (bench, stand_in)
}

/// Allocates a buffer from a heap, or returns the errno.
fn allocate(bench: &mut Bench, heap: FileId, len: u32) -> Result<i32, i32> {
    let mut arg = Arg::new(24, &[(0, len), (12, 2)]);
    bench.try_ioctl(heap, 0xc018_4800, &mut arg)?;
    Ok(arg.u32(8).cast_signed())
}

/// Asserts that everything but descriptors was freed. Other tests in this process have descriptors, too.
fn expect_nothing_held(bench: &mut Bench) {
    let mut held = bench.run.report().held;
    held.fds = 0;
    assert!(held.is_empty(), "{held:?}");
}

/// Calls REQBUFS for 32 buffers. Returns how many were made, or the errno.
fn reqbufs(bench: &mut Bench, file: FileId) -> Result<u32, i32> {
    let fields = [
        (offset_of!(v4l2_requestbuffers, count), 32),
        (offset_of!(v4l2_requestbuffers, type_), CAPTURE),
        (offset_of!(v4l2_requestbuffers, memory), MMAP),
    ];
    let mut arg = Arg::new(size_of::<v4l2_requestbuffers>(), &fields);
    bench.try_ioctl(file, VIDIOC_REQBUFS, &mut arg)?;
    Ok(arg.u32(offset_of!(v4l2_requestbuffers, count)))
}

/// Calls CREATE_BUFS for 32 buffers in the current format. Returns how many were made, or the errno.
fn create_bufs(bench: &mut Bench, file: FileId) -> Result<u32, i32> {
    let fields = [(offset_of!(v4l2_format, type_), CAPTURE)];
    let mut format = Arg::new(size_of::<v4l2_format>(), &fields);
    bench.try_ioctl(file, VIDIOC_G_FMT, &mut format)?;
    let fields = [
        (offset_of!(v4l2_create_buffers, count), 32),
        (offset_of!(v4l2_create_buffers, memory), MMAP),
    ];
    let mut arg = Arg::new(size_of::<v4l2_create_buffers>(), &fields);
    let at = offset_of!(v4l2_create_buffers, format);
    arg.0[at..at + format.0.len()].copy_from_slice(&format.0);
    bench.try_ioctl(file, VIDIOC_CREATE_BUFS, &mut arg)?;
    Ok(arg.u32(offset_of!(v4l2_create_buffers, count)))
}

/// There are more exports than a partial check covers, and only the last one is closed.
#[test]
fn heap_checks_all_exports_before_enomem() {
    const LEN: u32 = 512 << 10;
    let with_heap = || {
        let (mut bench, stand_in) = bench(&["camera,sizes=64x48"]);
        let nodes = bench.run.nodes().into_iter();
        let mut heaps = nodes.filter(|node| node.path.ends_with("default_cma_region"));
        let heap = heaps.next().expect("contiguous memory").id;
        let heap = bench.run.open(heap, 2, bench.program.origin()).unwrap();
        (bench, stand_in, heap)
    };
    let (mut other, _, heap) = with_heap();
    let fit = std::iter::repeat_with(|| allocate(&mut other, heap, LEN)).take_while(Result::is_ok);
    let fit = fit.count();
    assert!(fit > 65, "{fit} fit");
    // The failing call must check all exports to find the closed one.
    let (mut bench, stand_in, heap) = with_heap();
    let buffers = (0..fit).map(|_| allocate(&mut bench, heap, LEN).expect("memory"));
    let mut buffers: Vec<i32> = buffers.collect();
    let last = buffers.pop().unwrap();
    stand_in.close(&bench, last);
    let again = allocate(&mut bench, heap, LEN).expect("memory that was given back");
    assert_eq!(
        allocate(&mut bench, heap, LEN),
        Err(12),
        "no more than that"
    );
    buffers.push(again);
    buffers
        .drain(..)
        .for_each(|number| stand_in.close(&bench, number));
    bench.run.release(heap);
    expect_nothing_held(&mut bench);
}

/// Counting needs a descriptor, of which there may be none.
#[test]
fn exports_whose_holders_cannot_be_counted_stay() {
    let (mut bench, stand_in) = bench(&["camera,sizes=1920x1080,formats=YUYV,max-buffers=32"]);
    let camera = bench.open(0);
    let made = bench.reqbufs(camera, CAPTURE, MMAP, 32);
    let export = |index| bench.export(camera, CAPTURE, index);
    let exports: Vec<i32> = (0..made).map(export).collect();
    bench.reqbufs(camera, CAPTURE, MMAP, 0);
    stand_in.fail_counts(true);
    assert_eq!(reqbufs(&mut bench, camera), Err(12), "programs hold them");
    stand_in.fail_counts(false);
    for number in exports {
        stand_in.close(&bench, number);
    }
    assert_eq!(reqbufs(&mut bench, camera), Ok(made));
    bench.close_all(&[camera]);
    expect_nothing_held(&mut bench);
}

/// Exported buffers outlive their queue. When they are closed, a queue that needs their memory gets it
/// immediately.
#[test]
fn queue_reuses_memory_of_just_closed_exports() {
    let spec = "camera,sizes=1920x1080,formats=YUYV,max-buffers=32";
    for create in [false, true] {
        let (mut bench, stand_in) = bench(&[spec]);
        let camera = bench.open(0);
        let made = bench.reqbufs(camera, CAPTURE, MMAP, 32);
        assert!((2..32).contains(&made), "{made} buffers fill the memory");
        let exports: Vec<i32> = (0..made)
            .map(|index| bench.export(camera, CAPTURE, index))
            .collect();
        bench.reqbufs(camera, CAPTURE, MMAP, 0);
        let get = |bench: &mut Bench| match create {
            false => reqbufs(bench, camera),
            true => create_bufs(bench, camera),
        };
        assert_eq!(get(&mut bench), Err(12), "exports hold the memory");
        for number in exports {
            stand_in.close(&bench, number);
        }
        assert_eq!(get(&mut bench), Ok(made));
        bench.close_all(&[camera]);
        expect_nothing_held(&mut bench);
    }
}

/// A step does not know the number of a new descriptor, so its trace waits for the front end.
#[test]
fn traces_show_the_numbers_of_descriptors() {
    let mut bench = Bench::new("pc", &["camera,sizes=64x48"]);
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.txt");
    let mut sinks = trace::sinks(Some(&path), None, false).unwrap();
    let mut export = |index| {
        let mut arg = Bench::exported(CAPTURE, index);
        let start = std::time::Instant::now();
        let mut traced = trace::Traced::new(
            &mut bench.run,
            std::mem::take(&mut sinks),
            start,
            crate::Run::own_time,
            None,
        );
        let addr = arg.0.as_mut_ptr() as u64;
        bench.program.call.set(bench.program.call.get() + 1);
        traced.ioctl(camera, VIDIOC_EXPBUF, addr, false, &bench.program);
        (_, sinks, _) = traced.into_parts();
        arg.u32(offset_of!(v4l2_exportbuffer, fd))
    };
    let number = export(0);
    export(7);
    sinks.into_iter().for_each(|sink| drop(sink.finish()));
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains(&format!(" -> 0 fd={number} (")), "{text}");
    assert!(lines[1].contains(" -> EINVAL ("), "{text}");
    bench.close_all(&[camera]);
}
