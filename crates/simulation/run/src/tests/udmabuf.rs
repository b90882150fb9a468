//! dma-bufs of programs' memfds, by the run's own `/dev/udmabuf`.

use super::ledger::{import, open};
use super::{Arg, Bench, CAPTURE, DMABUF};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::os::fd::AsRawFd as _;
use vb3_frontend::{Devices as _, ProcessFiles as _};
use vb3_v4l2::sys::*;

const UDMABUF_CREATE: u32 = 0x4018_7542;

/// Makes a memfd of two pages that can grow. Returns its descriptor.
pub(super) fn memfd(bench: &Bench) -> i32 {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = memfd_create("pages", flags).unwrap();
    ftruncate(&memfd, 8192).unwrap();
    fcntl_add_seals(&memfd, SealFlags::SHRINK).unwrap();
    let number = memfd.as_raw_fd();
    bench.program.others.borrow_mut().push(memfd);
    number
}

/// Makes a dma-buf of a memfd's first bytes, or returns `None` if the host supports udmabuf itself.
pub(super) fn of_memfd(bench: &mut Bench, memfd: i32, bytes: u32) -> Option<i32> {
    let Some(device) = open(bench, "/dev/udmabuf") else {
        vb3_skip::elsewhere("the host has /dev/udmabuf, so that the run offers none");
        return None;
    };
    let mut arg = Arg::new(24, &[(0, memfd as u32), (16, bytes)]);
    let made = bench.try_ioctl(device, UDMABUF_CREATE, &mut arg).unwrap();
    bench.run.release(device);
    Some(i32::try_from(made).unwrap())
}

/// Queues a dma-buf at a camera with pictures of 12288 bytes.
fn queue(bench: &mut Bench, fd: i32) -> Result<i64, i32> {
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, DMABUF, 1);
    let queued = bench.try_ioctl(camera, VIDIOC_QBUF, &mut import(CAPTURE, 0, fd));
    bench.run.release(camera);
    queued
}

#[test]
fn a_memfd_itself_is_no_dmabuf() {
    let mut bench = Bench::new("pc", &["camera,size=64x48"]);
    let memfd = memfd(&bench);
    assert_eq!(queue(&mut bench, memfd), Err(22));
    let Some(dmabuf) = of_memfd(&mut bench, memfd, 8192) else {
        return;
    };
    assert_eq!(queue(&mut bench, memfd), Err(22));
    queue(&mut bench, dmabuf).unwrap();
}

#[test]
fn each_dmabuf_of_a_memfd_has_its_own_length() {
    let mut bench = Bench::new("pc", &["camera,size=64x96"]);
    let memfd = memfd(&bench);
    let Some(small) = of_memfd(&mut bench, memfd, 8192) else {
        return;
    };
    for other in bench.program.others.borrow().iter() {
        ftruncate(other, 16384).unwrap();
    }
    let large = of_memfd(&mut bench, memfd, 16384).unwrap();
    assert_eq!(queue(&mut bench, small), Err(22));
    queue(&mut bench, large).unwrap();
    let file = bench.program.identify(large).unwrap();
    assert_eq!(bench.run.buffer_len(file), 16384);
}

#[test]
fn memfd_that_will_be_read_only_is_refused() {
    let mut bench = Bench::new("pc", &["camera,size=64x48"]);
    let number = memfd(&bench);
    let Some(device) = open(&mut bench, "/dev/udmabuf") else {
        return;
    };
    fcntl_add_seals(&bench.program.others.borrow()[0], SealFlags::FUTURE_WRITE).unwrap();
    let mut arg = Arg::new(24, &[(0, number as u32), (16, 8192)]);
    assert_eq!(bench.try_ioctl(device, UDMABUF_CREATE, &mut arg), Err(22));
    bench.run.release(device);
}

#[test]
fn dmabuf_of_several_parts_has_one_explanation() {
    const UDMABUF_CREATE_LIST: u32 = 0x4008_7543;
    let mut bench = Bench::new("pc", &["camera,size=64x48"]);
    let number = memfd(&bench) as u32;
    let Some(device) = open(&mut bench, "/dev/udmabuf") else {
        return;
    };
    let parts = [(8, number), (24, 4096), (32, number), (48, 4096)];
    let list = |parts: &[(usize, u32)]| Arg::new(56, &[&[(4, 2)], parts].concat());
    let mut call = |mut list| bench.try_ioctl(device, UDMABUF_CREATE_LIST, &mut list);
    assert_eq!(call(list(&parts)), Err(12));
    // The first part is no whole page.
    assert_eq!(call(list(&[(8, number), (24, 1)])), Err(22));
    let report = bench.run.report();
    let [failure] = &report.failures[..] else {
        panic!("{:?}", report.failures)
    };
    assert!(failure.sentence.contains("several parts"), "{failure:?}");
    let refusals: Vec<_> = report
        .refusals
        .iter()
        .map(|r| (&*r.call, r.errno))
        .collect();
    assert_eq!(refusals, [("UDMABUF_CREATE_LIST", 22)]);
    bench.run.release(device);
}
