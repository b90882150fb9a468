//! What calls cost in a guest, without the virtual machine itself, and in the devices alone.
//!
//! `cargo test --release -p vb3-guest --test guests -- --ignored --nocapture costs_of_calls` prints it.

use std::time::{Duration, Instant};

use crate::client::{BASE, Client as _};
use crate::guest::{u32_at, words};
use crate::lifecycle::{buffer, ioctl, ok, stream};
use crate::process::Process;
use crate::same::{CAPTURE, MMAP, run};
use crate::vmm::{Server, Vmm};
use vb3_run::Pace;
use vb3_v4l2::sys;

const CAMERA: &[&str] = &["camera=pattern,size=64x48,format=YUYV,pace=free"];
const CYCLES: usize = 20_000;

/// Returns the median in microseconds.
fn median_us(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// Returns the time of each result, and the results.
fn timed<T>(call: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = call();
    (start.elapsed(), done)
}

fn in_a_guest() -> [f64; 3] {
    let server = Server::new(|| run(CAMERA, Pace::Real));
    let mut vmm = Vmm::connect(&server.dir.join("video0.sock"));
    let session = stream(&mut vmm);
    let (mut refused, mut queue, mut dequeue) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..CYCLES {
        let (time, answer) = timed(|| ioctl(&mut vmm, session, 199, &[]));
        assert_eq!(u32_at(&answer, 0), 25);
        refused.push(time);
        // The camera has filled a buffer meanwhile.
        let (time, event) = timed(|| vmm.event(Duration::from_secs(20)));
        dequeue.push(time);
        let buffer = buffer(u32_at(&event.expect("a frame"), 8));
        let (time, answer) = timed(|| ioctl(&mut vmm, session, sys::VIDIOC_QBUF, &buffer));
        ok(&answer);
        queue.push(time);
    }
    server.end();
    [refused, queue, dequeue].map(median_us)
}

fn in_the_devices() -> [f64; 3] {
    let mut process = Process::new(run(CAMERA, Pace::Real));
    let file = process.open(0).unwrap();
    process.poke(BASE, &words(&[2, CAPTURE, MMAP, 0, 0]));
    process.ioctl(file, sys::VIDIOC_REQBUFS, BASE).unwrap();
    for index in 0..2 {
        process.poke(BASE, &buffer(index));
        process.ioctl(file, sys::VIDIOC_QBUF, BASE).unwrap();
    }
    process.poke(BASE, &words(&[CAPTURE]));
    process.ioctl(file, sys::VIDIOC_STREAMON, BASE).unwrap();
    let (mut refused, mut queue, mut dequeue) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..CYCLES {
        let (time, done) = timed(|| process.ioctl(file, 199, BASE));
        assert_eq!(done, Err(25));
        refused.push(time);
        process.poke(BASE, &buffer(0));
        // Lets the camera fill the buffer, if it has not yet.
        process.dequeue(file, sys::VIDIOC_DQBUF, BASE);
        let index = u32_at(&process.peek(BASE, 4), 0);
        process.poke(BASE, &buffer(index));
        let (time, done) = timed(|| process.ioctl(file, sys::VIDIOC_QBUF, BASE));
        done.unwrap();
        queue.push(time);
        process.poke(BASE, &buffer(0));
        let (time, done) = timed(|| process.ioctl(file, sys::VIDIOC_DQBUF, BASE));
        done.unwrap();
        dequeue.push(time);
        let index = u32_at(&process.peek(BASE, 4), 0);
        process.poke(BASE, &buffer(index));
        process.ioctl(file, sys::VIDIOC_QBUF, BASE).unwrap();
    }
    [refused, queue, dequeue].map(median_us)
}

#[test]
#[ignore = "a measurement"]
fn costs_of_calls() {
    let (guest, devices) = (in_a_guest(), in_the_devices());
    let names = ["an unknown ioctl", "QBUF", "DQBUF"];
    for ((name, guest), devices) in names.iter().zip(guest).zip(devices) {
        println!("{name}: {guest:.1} µs in a guest, {devices:.1} µs in the devices alone");
    }
}
