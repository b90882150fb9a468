//! What calls cost in a guest, without the virtual machine itself.
//!
//! `cargo test --release -p vb3-guest --test guests -- --ignored --nocapture costs_of_calls` prints it. In a process, the same
//! calls cost what `cargo xtask bench` prints.

use std::time::{Duration, Instant};

use crate::guest::{u32_at, words};
use crate::lifecycle::{buffer, ioctl, ok, open, stream};
use crate::same::{CAPTURE, run};
use crate::vmm::{Server, Vmm};
use vb3_run::Pace;
use vb3_v4l2::sys;

/// The camera of `cargo xtask bench`.
const CAMERA: &[&str] = &["camera=pattern,profile=sensor,pace=free"];
const CYCLES: usize = 5000;

/// Runs a call. Returns its time in microseconds, and its result.
fn timed<T>(call: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = call();
    (start.elapsed().as_secs_f64() * 1e6, done)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

#[test]
#[ignore = "a measurement"]
fn costs_of_calls() {
    let server = Server::new(|| run(CAMERA, Pace::Real));
    let mut vmm = Vmm::connect(&server.dir.join("video0.sock"));
    let session = open(&mut vmm);
    let mut format = vec![0; size_of::<sys::v4l2_format>()];
    format[..4].copy_from_slice(&words(&[CAPTURE]));
    format[8..20].copy_from_slice(&words(&[64, 64, u32::from_le_bytes(*b"YUYV")]));
    ok(&ioctl(&mut vmm, session, sys::VIDIOC_S_FMT, &format));
    stream(&mut vmm, session);
    let [mut refused, mut queue, mut cycle] = [const { Vec::new() }; 3];
    for _ in 0..CYCLES {
        let (time, answer) = timed(|| ioctl(&mut vmm, session, 199, &[]));
        assert_eq!(u32_at(&answer, 0), 25);
        refused.push(time);
        let (dequeue, event) = timed(|| vmm.event(Duration::from_secs(20)));
        let buffer = buffer(u32_at(&event.expect("a frame"), 8));
        let (time, answer) = timed(|| ioctl(&mut vmm, session, sys::VIDIOC_QBUF, &buffer));
        ok(&answer);
        queue.push(time);
        cycle.push(dequeue + time);
    }
    let [refused, queue, cycle] = [refused, queue, cycle].map(median);
    println!("an unknown ioctl {refused:.1} µs, QBUF {queue:.1} µs, QBUF and DQBUF {cycle:.1} µs");
    server.end();
}
