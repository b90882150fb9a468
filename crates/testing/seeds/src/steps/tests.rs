//! Calls must return what the model expects.

use super::*;
use crate::model::At;
use crate::plan::Plan;
use crate::tests::{CAMERA, expect_refusal, plan, stream, take};
use std::collections::BTreeSet;

const DISPLAY: &str = "display,size=32x16";

/// Changes all buffers of a queue in the model only.
fn change(sim: &mut Sim<'_>, at: At, change: impl Fn(&mut Buffer)) {
    let queue = sim.queue_mut(at).unwrap();
    queue.buffers.values_mut().for_each(change);
}

/// Makes a call with many different numbers. Returns the failures.
fn often(mut call: impl FnMut(&mut Dice) -> Check) -> BTreeSet<String> {
    let all = (0..60).filter_map(|n| call(&mut Dice::new(n, 9)).err());
    all.collect()
}

#[test]
fn errno_needs_a_reason() {
    let plan = plan(&[CAMERA]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    const EPERM: i32 = 1;
    let all = [EPERM, EIO, ENOMEM, EBUSY, ENODEV, EINVAL];
    for (dead, disturbed, revoked, right) in [
        (false, false, false, &[EBUSY][..]),
        (false, true, false, &[EBUSY, EIO, ENOMEM]),
        (false, true, true, &[EBUSY, EIO, ENOMEM, ENODEV]),
        (true, true, false, &[ENODEV]),
    ] {
        (sim.disturbed, sim.revoked) = (disturbed, revoked);
        sim.files[at.0].dead = dead;
        for errno in all {
            let is_right = sim.expect(at, "CALL", errno, &[EBUSY]).is_ok();
            assert_eq!(is_right, right.contains(&errno), "{errno} {right:?}");
        }
    }
}

#[test]
fn state_of_a_buffer_must_be_that_of_the_model() {
    let plan = plan(&[DISPLAY]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    let query = |sim: &mut Sim<'_>| often(|dice| sim.query(at, dice));
    assert!(query(&mut sim).is_empty());
    for place in [BufferHolder::Program, BufferHolder::Prepared] {
        change(&mut sim, at, |buffer| buffer.place = place);
        assert!(query(&mut sim).iter().all(|why| why.contains("flags")));
        assert_eq!(query(&mut sim).len(), 4);
    }
    change(&mut sim, at, |buffer| buffer.place = BufferHolder::Queue);
    let least = sim.queue(at).unwrap().buffers[&0].least;
    assert!(least > 0);
    change(&mut sim, at, |buffer| buffer.least += 1 << 20);
    assert!(query(&mut sim).iter().all(|why| why.contains("length")));
    assert_eq!(query(&mut sim).len(), 4);
    change(&mut sim, at, |buffer| buffer.least = least);
    let buffer = sim.queue_mut(at).unwrap().buffers.remove(&2).unwrap();
    assert!(
        query(&mut sim)
            .iter()
            .all(|why| why.contains("2, which does not exist"))
    );
    assert_eq!(query(&mut sim).len(), 1);
    let queue = sim.queue_mut(at).unwrap();
    queue.buffers.insert(2, buffer.clone());
    queue.buffers.insert(5, buffer);
    assert!(query(&mut sim).iter().all(|why| why.contains("errno 22")));
    assert_eq!(query(&mut sim).len(), 1);
}

#[test]
fn buffers_are_created_and_removed_once() {
    let plan = plan(&[DISPLAY]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    let mut dice = Dice::new(1, 1);
    // The queue has all buffers.
    change(&mut sim, at, |buffer| buffer.place = BufferHolder::Program);
    assert_eq!(sim.remove(at, &mut dice), Ok(()));
    assert_eq!(sim.queue(at).unwrap().buffers.len(), 4);
    assert_eq!(sim.create(at, &mut dice), Ok(()));
    let count = sim.queue(at).unwrap().buffers.len();
    assert!((5..=6).contains(&count));
    let last = sim.queue(at).unwrap().buffers[&4].clone();
    for index in 6..10 {
        sim.queue_mut(at)
            .unwrap()
            .buffers
            .insert(index, last.clone());
    }
    let again = often(|dice| sim.create(at, dice));
    assert!(again.iter().any(|why| why.contains("again")), "{again:?}");

    sim.stream(at, false).unwrap();
    change(&mut sim, at, |buffer| buffer.place = BufferHolder::Queue);
    expect_refusal(sim.remove(at, &mut dice), "from the queue");
    change(&mut sim, at, |buffer| buffer.place = BufferHolder::Program);
    let before = sim.queue(at).unwrap().buffers.len();
    assert_eq!(sim.remove(at, &mut Dice::new(2, 1)), Ok(()));
    assert!(sim.queue(at).unwrap().buffers.len() <= before);
}

#[test]
fn only_a_camera_lacks_remove_bufs() {
    let plan = plan(&[CAMERA]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    assert_eq!(sim.remove(at, &mut Dice::new(1, 1)), Ok(()));
    assert_eq!(sim.queue(at).unwrap().buffers.len(), 4);
    sim.nodes[0].name = "display".to_owned();
    expect_refusal(sim.remove(at, &mut Dice::new(1, 1)), "errno 25");
}

#[test]
fn only_own_buffers_are_exported_and_mapped() {
    let plan = plan(&[DISPLAY]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    let mut dice = Dice::new(1, 1);
    assert_eq!(sim.export(at, &mut dice), Ok(()));
    let fds = sim.programs[&0].numbers();
    let memory = sim.programs[&0].shared(fds[0]).unwrap().memory.get();
    let buffers = &sim.queue(at).unwrap().buffers;
    assert!(buffers.values().any(|buffer| buffer.memory == memory));
    let maps = sim.mappings.len();
    sim.map(at, &mut dice).unwrap();
    assert_eq!(sim.mappings.len(), maps + 1);
    sim.unmap(0, &mut dice).unwrap();
    assert_eq!(sim.mappings.len(), maps);
    sim.queue_mut(at).unwrap().model = Some(Model::DmaBuf);
    expect_refusal(sim.export(at, &mut dice), "not the queue's own");
    sim.map(at, &mut dice).unwrap();
    assert_eq!(sim.mappings.len(), maps);
    sim.queue_mut(at).unwrap().model = Some(Model::Mmap);
    (0..40).for_each(|_| sim.map(at, &mut dice).unwrap());
    assert_eq!(sim.mappings.len(), 24);
}

#[test]
fn streams_start_with_buffers_only() {
    let plan = plan(&[CAMERA]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let file = sim.open_node(0, 0).unwrap().unwrap();
    let at = (file, 0);
    assert_eq!(sim.stream(at, true), Ok(false));
    assert!(!sim.queue(at).unwrap().streaming);
    assert_eq!(sim.request(at, Model::Mmap, 2, false), Ok(true));
    assert_eq!(sim.queue(at).unwrap().buffers.len(), 2);
    sim.pass(40_000_000).unwrap();
    assert_eq!(sim.stream(at, true), Ok(true));
    let queue = sim.queue(at).unwrap();
    assert!(queue.streaming && queue.began_ns == sim.now_ns());
    // A second STREAMON changes nothing.
    let began_ns = queue.began_ns;
    sim.run.tick();
    assert_eq!(sim.stream(at, true), Ok(true));
    assert_eq!(sim.queue(at).unwrap().began_ns, began_ns);
    assert_eq!(sim.stream(at, false), Ok(true));
    assert!(!sim.queue(at).unwrap().streaming);
    sim.queue_mut(at).unwrap().buffers.clear();
    expect_refusal(sim.stream(at, true), "without buffers");
    assert_eq!(sim.stream(at, false), Ok(true));
    assert_eq!(sim.request(at, Model::Mmap, 0, false), Ok(false));
    assert_eq!(sim.queue(at).unwrap().model, None);
}

#[test]
fn only_a_plugged_device_opens() {
    let plan = plan(&[CAMERA]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    sim.queue_mut(at).unwrap().waits = true;
    sim.plug(0, false).unwrap();
    assert!(sim.files[0].dead && sim.disturbed && !sim.nodes[0].present);
    assert_eq!(sim.ended_waits, [sim.files[0].id]);
    assert!(sim.queue(at).unwrap().buffers.is_empty());
    assert_eq!(sim.open_node(0, 0), Ok(None));
    assert_eq!(sim.request(at, Model::Mmap, 1, false), Ok(false));
    sim.nodes[0].present = true;
    expect_refusal(sim.open_node(0, 0), "present: true");
    sim.nodes[0].present = false;
    sim.plug(0, true).unwrap();
    assert!(sim.files[0].dead && sim.nodes[0].present);
    assert_eq!(sim.open_node(0, 0), Ok(Some(1)));
    sim.nodes[0].present = false;
    expect_refusal(sim.open_node(0, 0), "present: false");
}

#[test]
fn killed_program_leaves_nothing() {
    let mut plan = plan(&[CAMERA, DISPLAY]);
    plan.programs = [0, 1].into();
    let mut sim = Sim::new(&plan, false).unwrap();
    let (camera, display) = (stream(&mut sim, 0)[0], stream(&mut sim, 1)[0]);
    sim.map_buffer(camera, 0).unwrap();
    sim.files[display.0].program = 1;
    sim.mappings[0].program = 1;
    let pid = sim.programs[&0].pid;
    sim.kill(0).unwrap();
    assert_eq!(sim.files.len(), 1);
    assert_eq!(sim.files[0].program, 1);
    assert!(sim.mappings.iter().all(|mapping| mapping.program == 1));
    assert_eq!((sim.mappings.len(), sim.programs.len()), (1, 2));
    assert_ne!(sim.programs[&0].pid, pid);
    let told = take(&mut sim, (0, 0));
    assert_eq!(sim.dequeued((0, 0), told), Ok(()));
}

#[test]
fn revoked_buffers_and_faults_are_recorded() {
    let mut plan = plan(&[CAMERA]);
    (plan.faults, plan.unmap_faults) = (true, true);
    let mut revoked = 0;
    for seed in 0..60 {
        let mut sim = Sim::new(&plan, true).unwrap();
        let at = stream(&mut sim, 0)[0];
        sim.export(at, &mut Dice::new(1, 1)).unwrap();
        sim.event(&mut Dice::new(seed, 7)).unwrap();
        let log = sim.log.take().unwrap();
        let has = |word: &str| log.lines().any(|line| line.contains(word));
        let is_fault = has("faults 20000") || has("faults 200000");
        let is_revoked = log
            .lines()
            .any(|l| l.contains("revoke ") && l.ends_with("true"));
        let is_unplugged = has("unplug");
        assert_eq!(sim.revoked, is_revoked, "{log}");
        let is_event = is_fault || is_revoked || is_unplugged;
        assert_eq!(sim.disturbed, is_event, "{log}");
        assert!(is_event || has("faults 0") || has("revoke "), "{log}");
        revoked += u32::from(is_revoked);
    }
    assert!(revoked > 0);
}

#[test]
fn programs_open_several_files() {
    let (mut most, mut time_ns) = (Vec::new(), 0);
    for seed in 0..10 {
        let plan = Plan::of(seed);
        let mut sim = Sim::new(&plan, true).unwrap();
        let mut files = 0;
        for &step in &plan.steps {
            sim.step(&mut plan.dice(step)).unwrap();
            sim.run_due_work().unwrap();
            files = files.max(sim.files.len());
        }
        // A program without a file may open one more.
        assert!(files < 6 + plan.programs.len());
        most.push(files);
        let log = sim.log.take().unwrap();
        assert!(plan.codecs || !log.contains(" allocates "), "{plan}");
        time_ns += sim.counts.time_ns;
    }
    // Only a given clock adds to this time. A pass waits for milliseconds.
    assert!(time_ns > 1_000_000_000, "{time_ns}");
    assert!(most.iter().any(|files| *files > 3), "{most:?}");
}

#[test]
fn faults_of_memory_fail_no_open() {
    let devices = [CAMERA, DISPLAY, "convert,size=32x16", "jpegdec", "loopback"];
    let plan = plan(&devices);
    let mut sim = Sim::new(&plan, false).unwrap();
    let (per_million, seed) = (1_000_000, 1);
    let faults = Faults::Random { per_million, seed };
    sim.run.machine_mut().set_faults(faults);
    sim.disturbed = true;
    for node in 0..sim.nodes.len() {
        assert_eq!(sim.open_node(0, node), Ok(Some(node)));
    }
}

/// Makes 600 calls on a display's queue with or without buffers. Returns their trace.
fn calls(has_buffers: bool) -> String {
    let mut plan = plan(&[DISPLAY]);
    plan.codecs = false;
    let mut sim = Sim::new(&plan, true).unwrap();
    let (at, mut calls) = ((0, 0), String::new());
    for number in 0..600 {
        if sim.files.is_empty() {
            sim.open_node(0, 0).unwrap();
        }
        if sim.queue(at).unwrap().buffers.is_empty() == has_buffers {
            let count = if has_buffers { 3 } else { 0 };
            sim.stream(at, false).unwrap();
            sim.request(at, Model::Mmap, count, false).unwrap();
        }
        sim.log = Some(String::new());
        sim.on_file(0, &mut Dice::new(number, 9)).unwrap();
        calls += &sim.log.take().unwrap();
        sim.run_due_work().unwrap();
    }
    calls
}

#[test]
fn programs_make_all_calls() {
    let both = [
        " STREAM true",
        " DQBUF:",
        " REQBUFS DmaBuf",
        " CREATE_BUFS",
        " closes ",
    ];
    let with_buffers = [
        " STREAM false",
        " EXPBUF",
        " maps ",
        " QUERYBUF",
        " prepare false",
        " prepare true",
        " REQBUFS Mmap 0",
        " REMOVE_BUFS",
    ];
    let calls = [calls(false), calls(true)];
    for call in both {
        assert!(calls.iter().all(|calls| calls.contains(call)), "{call}");
    }
    for call in with_buffers {
        assert!(calls[1].contains(call), "{call}");
    }
}

#[test]
fn only_a_revoked_buffer_may_not_be_exported() {
    let plan = plan(&[DISPLAY]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let file = sim.open_node(0, 0).unwrap().unwrap();
    let at = (file, 0);
    assert_eq!(sim.request(at, Model::DmaBuf, 2, false), Ok(true));
    let mut dice = Dice::new(1, 1);
    // The kernel exports no imported buffer.
    assert_eq!(sim.export(at, &mut dice), Ok(()));
    sim.queue_mut(at).unwrap().model = Some(Model::Mmap);
    expect_refusal(sim.export(at, &mut dice), "EXPBUF gave errno 22");
    sim.revoked = true;
    assert_eq!(sim.export(at, &mut dice), Ok(()));
}
