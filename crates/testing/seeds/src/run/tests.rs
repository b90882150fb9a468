//! Waiting programs must be woken, and calls must succeed only where they may.

use super::*;
use crate::tests::{CAMERA, expect_refusal, fill, plan, stream, take};
use vb3_v4l2::sys::VIDIOC_DQBUF;

#[test]
fn program_that_waits_must_be_woken() {
    for (device, words) in [
        (CAMERA, "for capture"),
        ("display,size=32x16", "for output"),
    ] {
        let mut plan = plan(&[device]);
        plan.pace = Pace::Given;
        let mut sim = Sim::new(&plan, false).unwrap();
        let at = stream(&mut sim, 0)[0];
        let told = take(&mut sim, at);
        sim.dequeued(at, told).unwrap();
        for _ in 0..10 {
            sim.pass(100_000_000).unwrap();
        }
        // The notices of these buffers have passed.
        sim.queue_mut(at).unwrap().waits = true;
        expect_refusal(sim.run_due_work(), words);
        for (streaming, has_buffers) in [(false, true), (true, false)] {
            let queue = sim.queue_mut(at).unwrap();
            queue.streaming = streaming;
            let kept = std::mem::take(&mut queue.buffers);
            if has_buffers {
                sim.queue_mut(at).unwrap().buffers = kept.clone();
            }
            assert_eq!(sim.run_due_work(), Ok(()));
            let queue = sim.queue_mut(at).unwrap();
            (queue.buffers, queue.streaming) = (kept, true);
        }
        // The next notice ends the wait.
        sim.queue_mut(at).unwrap().waits = false;
        let told = take(&mut sim, at);
        sim.dequeued(at, told).unwrap();
        sim.stream(at, false).unwrap();
        sim.queue_mut(at).unwrap().waits = true;
        sim.run_due_work().unwrap();
        assert!(!sim.queue(at).unwrap().waits, "{device}");
    }
}

#[test]
fn end_of_a_stream_wakes_the_program() {
    let plan = plan(&[CAMERA]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    sim.run_due_work().unwrap();
    let id = sim.file(at.0).unwrap().id;
    sim.queue_mut(at).unwrap().waits = true;
    sim.stream(at, false).unwrap();
    assert_eq!(sim.ended_waits, [id]);
    assert_eq!(sim.run_due_work(), Ok(()));
    assert!(sim.ended_waits.is_empty());
    sim.ended_waits.push(id);
    expect_refusal(sim.run_due_work(), "at the stream's end");
}

#[test]
fn call_must_not_wait_or_succeed_unexpectedly() {
    let plan = plan(&[CAMERA]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    let kind = sim.queue(at).unwrap().kind;
    let ask = |sim: &mut Sim<'_>| {
        let mut format = api::format(kind);
        sim.ioctl(at.0, VIDIOC_G_FMT, (&mut format, None), None)
    };
    let calls = sim.counts.calls;
    assert_eq!(ask(&mut sim), Ok(Ok(Some(0))));
    assert_eq!(sim.counts.calls, calls + 1);
    sim.files[at.0].dead = true;
    expect_refusal(ask(&mut sim), "whose device is unplugged");
    sim.files[at.0].dead = false;
    // A call that waits has an id, by which it continues.
    let call = CallId(sim.next_call);
    let (mut arg, mut plane) = api::buffer(kind, crate::api::Model::Mmap, 0, api::Source::Own, 0);
    let args = (&mut arg, plane.as_mut());
    let done = sim.ioctl(at.0, VIDIOC_DQBUF, args, Some(call));
    assert_eq!(done, Ok(Ok(None)));
}

#[test]
fn given_clock_moves_to_the_next_work() {
    let mut plan = plan(&[CAMERA]);
    plan.pace = Pace::Given;
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    assert_eq!(sim.now_ns(), START_NS);
    let mut waits = 0;
    for _ in 0..20 {
        let due = sim.run.next_tick().unwrap().as_nanos() as u64;
        for (ns, moved) in [(7, due.min(7)), (due * 2, due.saturating_sub(7))] {
            let before = sim.now_ns();
            sim.pass(ns).unwrap();
            assert_eq!(sim.now_ns() - before, moved);
        }
        waits += u64::from(due > 7);
        fill(&mut sim, at);
    }
    assert!(waits > 0);
    assert_eq!(sim.now_ns() - START_NS, sim.counts.time_ns);
}

#[test]
fn machines_are_small_and_nodes_known() {
    for (name, _) in vb3_machine::profile::BUILTINS {
        let (whole, small) = (Profile::builtin(name).unwrap(), profile(name).unwrap());
        for (whole, small, most_mib) in [
            (whole.ram, small.ram, 64),
            (whole.cma, small.cma, 16),
            (whole.bounce.pool, small.bounce.pool, 8),
            (whole.sram, small.sram, 4),
        ] {
            assert_eq!(small >> 20, (whole >> 20).min(most_mib), "{name}");
        }
    }
    expect_refusal(profile("none"), "no machine none");
    let devices = [
        CAMERA,
        "loopback,size=32x16",
        "convert,size=32x16",
        "display",
    ];
    let plan = plan(&devices);
    let sim = Sim::new(&plan, false).unwrap();
    for node in &sim.nodes {
        let is_reader = node.name == "loopback-capture";
        assert_eq!(node.writer.is_some(), is_reader, "{}", node.name);
        assert_eq!(node.is_mem2mem(), node.name == "convert");
        assert_eq!(node.kinds.len(), 1 + usize::from(node.is_mem2mem()));
        if let Some(writer) = node.writer {
            assert_eq!(sim.nodes[writer].name, "loopback-output");
        }
    }
    assert!(!sim.heaps.is_empty());
}

#[test]
fn failure_names_its_step_or_the_end() {
    let mut plan = plan(&["camera,size=no"]);
    assert!(simulate(&plan, true).failure.is_some());
    plan.devices = vec![CAMERA.to_owned()];
    plan.steps = vec![3];
    let mut sim = Sim::new(&plan, false).unwrap();
    sim.ended_waits.push(FileId(99));
    expect_refusal(sim.run(), "step 3: ");
    plan.steps.clear();
    let mut sim = Sim::new(&plan, false).unwrap();
    sim.ended_waits.push(FileId(99));
    expect_refusal(sim.run(), "at the end: ");
}

#[test]
fn failure_keeps_the_machines_trace() {
    let mut plan = plan(&[CAMERA]);
    plan.steps = vec![3];
    let mut sim = Sim::new(&plan, true).unwrap();
    let _ = stream(&mut sim, 0);
    sim.ended_waits.push(FileId(99));
    expect_refusal(sim.run(), "step 3: ");
    let trace = sim.run.machine().trace().to_string();
    assert!(!trace.is_empty());
    assert!(sim.log.unwrap().ends_with(&trace));
}

#[test]
fn panic_at_the_start_or_end_is_a_failure() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let panics = || -> Check<()> { panic!("made") };
    let failed = |text: &str| Err(format!("panic: {text}"));
    assert_eq!(make_and_use(panics, |()| Ok(())), failed("made"));
    assert_eq!(make_and_use(|| Ok(Bomb), |_| Ok(())), failed("dropped"));
    assert_eq!(
        make_and_use(|| Ok(Bomb), |_| panic!("used")),
        failed("used")
    );
    assert_eq!(make_and_use(|| Ok(1), |_| Ok(())), Ok(()));
}
