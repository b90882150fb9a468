//! Drains of a codec, which end or wait with its queues.

use super::super::{EAGAIN, EPIPE};
use super::*;

/// Makes a codec that streams, and lets its first OUTPUT buffer wait for a fence.
fn fenced() -> Bench {
    let mut b = Bench::new(Requests::Optional);
    let [file, _] = b.files;
    let output = b.device.context().queue(Flow::Output).unwrap();
    let fence = |plane: &TestPlane| b.mem.fenced.borrow_mut().insert(plane.id);
    assert_eq!(output.find_plane(fence), Some((0, 0)));
    b.stream(file, Flow::Output, true);
    b.stream(file, Flow::Capture, true);
    assert_eq!(b.qbuf(file, Flow::Output, 0, None), 0);
    b
}

fn stop(b: &mut Bench) -> i32 {
    let mut stop: [u8; 40] = record(&[(0, sys::V4L2_ENC_CMD_STOP)]);
    b.call(b.files[0], sys::VIDIOC_ENCODER_CMD, &mut stop)
}

/// Ends the fence.
fn settle(b: &mut Bench) {
    b.mem.fenced.borrow_mut().clear();
    b.device.settle_queues(&mut b.mem, 2);
}

#[test]
fn a_codecs_stop_waits_for_fences_of_output() {
    let mut b = fenced();
    assert_eq!((stop(&mut b), stop(&mut b)), (0, EBUSY));
    assert!(b.told().is_empty());
    settle(&mut b);
    assert_eq!(b.told(), ["stop behind 1"]);
    b.finish();
}

/// Source: Linux `v4l2_m2m_clear_state`.
#[test]
fn streamoff_ends_a_stop_that_waits_for_fences() {
    let mut b = fenced();
    assert_eq!(stop(&mut b), 0);
    b.stream(b.files[0], Flow::Capture, false);
    settle(&mut b);
    assert!(b.told().is_empty(), "the old stream's STOP");
    assert_eq!(stop(&mut b), 0);
    assert_eq!(b.told(), ["stop behind 1"]);
    b.finish();
}

/// Source: Linux Documentation/userspace-api/media/v4l/dev-encoder.rst, "Drain".
#[test]
fn restarting_output_resumes_a_drained_codec() {
    let mut b = Bench::new(Requests::Optional);
    let [file, _] = b.files;
    b.device.driver_mut().last = true;
    for flow in [Flow::Output, Flow::Capture] {
        assert_eq!(b.qbuf(file, flow, 0, None), 0);
        b.stream(file, flow, true);
    }
    b.tick();
    let dqbuf = |b: &mut Bench| {
        let mut buf: Buf = record(&[
            (field!(v4l2_buffer.type_), kind(Flow::Capture)),
            (field!(v4l2_buffer.memory), MMAP),
        ]);
        b.call(file, sys::VIDIOC_DQBUF, &mut buf)
    };
    assert_eq!((dqbuf(&mut b), dqbuf(&mut b)), (0, EPIPE));
    b.stream(file, Flow::Output, true);
    assert_eq!(dqbuf(&mut b), EPIPE, "it streams already");
    b.stream(file, Flow::Output, false);
    b.stream(file, Flow::Output, true);
    assert_eq!(dqbuf(&mut b), EAGAIN);
    b.finish();
}
