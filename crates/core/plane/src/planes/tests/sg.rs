//! dma-sg: planes of scattered pages.

use super::*;
use Coherency::Coherent;
use Direction::{FromDevice, ToDevice};
use alloc::vec;

const HERE: Device<u32> = Device::sg(DIRECT);

fn view(t: &Test, plane: &TestPlane) -> super::super::View {
    match t.cookie(plane) {
        Some(Cookie::Sg(view)) => view,
        other => panic!("no segments: {other:?}"),
    }
}

/// Fills the whole plane with `byte` as the device does, segment by segment.
fn device_fills(t: &Test, dev: u32, plane: &TestPlane, byte: u8) {
    let view = view(t, plane);
    let mut at = 0;
    while at < plane.len_bytes() {
        let (addr, len) = t.sg_find(view, at).expect("a segment");
        let len = len.min(plane.len_bytes() - at);
        assert!(
            t.ops()
                .dev_write(dev, addr, &vec![byte; usize::try_from(len).unwrap()])
        );
        at += len;
    }
    assert_eq!(t.sg_find(view, plane.len_bytes()), None, "past the end");
}

#[test]
fn scattered_pages_are_reached_segment_by_segment() {
    let t = planes();
    let mut plane = alloc(&t, HERE, FromDevice, Coherent);
    let v = view(&t, &plane);
    let lens: Vec<u64> = (0..3)
        .map_while(|i| t.sg_segment(v, i))
        .map(|s| s.len)
        .collect();
    assert_eq!(lens, [PAGE, PAGE], "two pages that do not touch");
    let memory = plane.memory().expect("allocated");
    let is_pinned = || {
        t.buffers
            .inspect(memory, |shared: &Allocated| shared.is_pinned())
    };
    assert_eq!(is_pinned(), Some(false), "no device uses it");
    for byte in 1..4 {
        t.prepare(&mut plane, HintSkip::empty()).unwrap();
        assert_eq!(is_pinned(), Some(true));
        device_fills(&t, DIRECT, &plane, byte);
        t.finish(&mut plane, HintSkip::empty()).unwrap();
        assert_eq!(is_pinned(), Some(false));
        let mut out = [0; 2];
        t.copy_from(&mut plane, PAGE - 1, &mut out).unwrap();
        assert_eq!(out, [byte; 2], "both sides of the gap");
    }
    assert_eq!((t.num_users(&plane), t.counters(DIRECT).maps), (1, 1));
    t.put(plane);
    assert_nothing(&t);
}

#[test]
fn syncs_are_done_each_time_and_left_out_by_hints() {
    let t = planes();
    let mut plane = alloc(&t, HERE, FromDevice, Coherent);
    cpu_read(&t, &plane, 0, PAGE);
    let syncs = || {
        let done = t.ops().counters(DIRECT);
        (done.syncs_for_device, done.syncs_for_cpu)
    };
    let before = syncs();
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    t.finish(&mut plane, HintSkip::empty()).unwrap();
    let done = (before.0 + 1, before.1 + 1);
    assert_eq!(syncs(), done);
    cpu_read(&t, &plane, 0, PAGE);
    t.prepare(&mut plane, HintSkip::all()).unwrap();
    device_fills(&t, DIRECT, &plane, 7);
    t.finish(&mut plane, HintSkip::all()).unwrap();
    assert_eq!(syncs(), done, "left out");
    assert_eq!(
        cpu_read(&t, &plane, 0, 1),
        [0],
        "so the CPU sees what it had"
    );
    let c = t.counters(DIRECT);
    assert_eq!((c.skipped_for_device, c.skipped_for_cpu), (1, 1));
    t.put(plane);
    assert_nothing(&t);
}

#[test]
fn a_bounced_plane_is_copied_whatever_a_hint_says() {
    for hints in [HintSkip::empty(), HintSkip::all()] {
        let t = planes();
        let mut plane = alloc(&t, Device::sg(BOUNCER), FromDevice, Coherent);
        t.prepare(&mut plane, hints).unwrap();
        device_fills(&t, BOUNCER, &plane, 9);
        t.finish(&mut plane, hints).unwrap();
        assert_eq!(cpu_read(&t, &plane, 0, 4), [9; 4]);
        t.put(plane);
        assert_nothing(&t);
    }
}

#[test]
fn user_memory_needs_no_run_and_no_alignment() {
    let t = planes();
    let user = t.ops().platform().add_user(4, false);
    let base = FakeUser::BASE + 1;
    let mut plane = t
        .get_userptr(HERE, &user, base, 2 * PAGE, FromDevice)
        .unwrap();
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    device_fills(&t, DIRECT, &plane, 5);
    t.finish(&mut plane, HintSkip::empty()).unwrap();
    let at = t.ops().platform().user_memory(user);
    assert_eq!(t.ops().platform().peek_in(&at, 0, 2), [0, 5]);
    assert_eq!(t.ops().platform().peek_in(&at, 2 * PAGE, 2), [5, 0]);
    t.put(plane);
    for (addr, len) in [(0, PAGE), (base, 4 * PAGE), (u64::MAX, PAGE)] {
        let e = t
            .get_userptr(HERE, &user, addr, len, FromDevice)
            .unwrap_err();
        assert_eq!(e.errno(), 12, "dma-sg tells no cause");
        assert_eq!(reason(e).0, Constraint::UserPages, "the log does");
    }
    assert_nothing(&t);
}

#[test]
fn a_scattered_dma_buf_is_taken_where_contig_refuses() {
    let t = planes();
    let mut owner = alloc(&t, HERE, FromDevice, Coherent);
    let buf = export(&t, &owner);
    let mut refused = t
        .attach_dmabuf(Device::contig(DIRECT), &buf, 2 * PAGE, ToDevice)
        .unwrap();
    assert_eq!(t.map_dmabuf(&mut refused).unwrap_err().errno(), 14);
    t.put(refused);
    let small = t.attach_dmabuf(HERE, &buf, 3 * PAGE, ToDevice);
    assert_eq!(small.unwrap_err().errno(), 14);
    let mut plane = t.attach_dmabuf(HERE, &buf, 2 * PAGE, ToDevice).unwrap();
    assert!(t.cookie(&plane).is_none(), "not mapped yet");
    t.map_dmabuf(&mut plane).unwrap();
    t.prepare(&mut owner, HintSkip::empty()).unwrap();
    device_fills(&t, DIRECT, &owner, 8);
    t.finish(&mut owner, HintSkip::empty()).unwrap();
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    let v = view(&t, &plane);
    let (addr, _) = t.sg_find(v, PAGE + 1).unwrap();
    assert_eq!(t.ops().dev_read(DIRECT, addr, 1), Some([8].to_vec()));
    t.finish(&mut plane, HintSkip::empty()).unwrap();
    t.put(owner);
    assert_eq!(t.live().memories, 1, "orphaned");
    assert_eq!(t.live().mapped, 1, "its own device has gone");
    t.put(plane);
    t.put_dmabuf(buf);
    assert_nothing(&t);
}
