//! DQBUF and QBUF must return what the model expects.

use super::{EAGAIN, EPIPE, LOST};
use crate::api::{EINVAL, ENODEV, ERROR, LAST, Source, Told};
use crate::model::{At, Buffer, BufferHolder, Content, Input};
use crate::plan::{Dice, Plan};
use crate::run::Sim;
use crate::steps::{EBUSY, EIO};
use crate::tests::{CAMERA, expect_refusal, fill, stream, take};

const CONVERTER: &str = "convert,size=32x16,format=YUYV";

fn plan() -> Plan {
    crate::tests::plan(&[CAMERA, CONVERTER])
}

/// Opens a file of each node. Returns the files' queues that stream.
fn stream_all(sim: &mut Sim<'_>) -> Vec<At> {
    let program = *sim.programs.keys().next().unwrap();
    for node in 0..sim.nodes.len() {
        sim.open_node(program, node).unwrap().unwrap();
    }
    let files = sim.files.iter_mut().enumerate();
    let queues = files.flat_map(|(file, of)| {
        let queues = of.queues.iter_mut().enumerate();
        queues.map(move |(queue, of)| {
            of.streaming = true;
            (file, queue)
        })
    });
    queues.collect()
}

fn is_converted(sim: &Sim<'_>, at: At) -> bool {
    sim.node_of(at).unwrap().is_mem2mem() && !sim.queue(at).unwrap().kind.output
}

#[test]
fn only_results_of_mem2mem_devices_end() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let queues = stream_all(&mut sim);
    let ends: Vec<bool> = queues
        .iter()
        .map(|&at| {
            let ends = sim.not_dequeued(at, EPIPE).is_ok();
            assert_eq!(ends, is_converted(&sim, at), "{at:?}");
            ends
        })
        .collect();
    assert!(ends.contains(&true) && ends.contains(&false));
}

#[test]
fn empty_result_needs_the_last_flag() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let queues = stream_all(&mut sim);
    let at = queues.into_iter().find(|at| is_converted(&sim, *at));
    let buffer = Buffer {
        place: BufferHolder::Queue,
        least: 0,
        memory: 0,
        generation: 0,
        used: 0,
        fd: -1,
        slot: 0,
        time_us: 0,
        request: 0,
    };
    for (flags, is_right) in [(0, false), (LAST, true)] {
        let told = Told {
            index: 0,
            flags,
            used: 0,
            length: 1024,
            sequence: 0,
            offset: 0,
            time_us: 0,
        };
        let checked = sim.check_result(at.unwrap(), &buffer, told);
        assert_eq!(checked.is_ok(), is_right, "{flags:#x} {checked:?}");
    }
}

/// Returns a picture that DQBUF returned, which is not the first one.
fn second_picture(sim: &mut Sim<'_>) -> (At, Told) {
    let at = stream(sim, 0)[0];
    let first = take(sim, at);
    sim.dequeued(at, first).unwrap();
    (at, take(sim, at))
}

#[test]
fn captured_picture_must_be_right() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let (at, told) = second_picture(&mut sim);
    let (last, last_us) = sim.queue(at).unwrap().last.unwrap();
    let free = sim.queue(at).unwrap().at(BufferHolder::Program)[0];
    let (other, soon) = (told.sequence + 1, told.sequence + 1000);
    for (wrong, words) in [
        (Told { index: 9, ..told }, "which does not exist"),
        (
            Told {
                index: free,
                ..told
            },
            "which is Program",
        ),
        (
            Told {
                flags: told.flags | ERROR,
                ..told
            },
            "and nothing failed",
        ),
        (
            Told {
                sequence: last,
                ..told
            },
            "after",
        ),
        (
            Told {
                time_us: last_us - 1,
                ..told
            },
            "after",
        ),
        (
            Told {
                sequence: soon,
                ..told
            },
            "that had time for",
        ),
        (
            Told {
                used: told.used - 1,
                ..told
            },
            "bytes of a picture of",
        ),
        (
            Told {
                sequence: other,
                ..told
            },
            "not the bytes of picture",
        ),
    ] {
        expect_refusal(sim.dequeued(at, wrong), words);
    }
    let elapsed_ns = sim.now_ns() - sim.queue(at).unwrap().began_ns;
    let most = (elapsed_ns / (1_000_000_000 / 60) + 1) as u32;
    for (sequence, is_right) in [(most, true), (most + 1, false)] {
        let told = Told { sequence, ..told };
        assert_eq!(sim.check_sequence(at, told).is_ok(), is_right);
    }
    sim.queue_mut(at).unwrap().streaming = false;
    expect_refusal(sim.dequeued(at, told), "which is Queue");
    sim.queue_mut(at).unwrap().streaming = true;

    let before = (sim.counts, sim.queue(at).unwrap().taken);
    // Two pictures may have the same time.
    let told = Told {
        time_us: last_us,
        ..told
    };
    assert_eq!(sim.dequeued(at, told), Ok(()));
    assert_eq!(sim.counts.cycles, before.0.cycles + 1);
    assert_eq!(sim.counts.pictures, before.0.pictures + 1);
    let queue = sim.queue(at).unwrap();
    assert_eq!(queue.taken, before.1 + 1);
    assert_eq!(queue.last, Some((told.sequence, told.time_us)));
    let buffer = &queue.buffers[&told.index];
    assert_eq!(buffer.place, BufferHolder::Program);
    let memory = &sim.memories[&buffer.memory];
    assert_eq!(memory.writers, 0);
    assert_eq!(memory.content.map(|content| content.len), Some(told.used));
}

#[test]
fn failed_picture_needs_a_fault() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let (at, told) = second_picture(&mut sim);
    let (last, pictures) = (sim.queue(at).unwrap().last, sim.counts.pictures);
    sim.disturbed = true;
    let failed = Told {
        flags: told.flags | ERROR,
        used: 0,
        sequence: 0,
        ..told
    };
    assert_eq!(sim.dequeued(at, failed), Ok(()));
    // The next picture is compared with the last good one.
    assert_eq!(sim.queue(at).unwrap().last, last);
    assert_eq!(sim.counts.pictures, pictures);
}

#[test]
fn bytes_are_compared_unless_others_may_write() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let (at, told) = second_picture(&mut sim);
    let buffer = sim.queue(at).unwrap().buffers[&told.index].clone();
    let wrong = Told {
        sequence: told.sequence + 1,
        ..told
    };
    let compare = |sim: &mut Sim<'_>, told| sim.compare(at, &buffer, told);
    expect_refusal(compare(&mut sim, wrong), "not the bytes");
    sim.revoked = true;
    assert_eq!(compare(&mut sim, wrong), Ok(()));
    sim.revoked = false;
    let memory = buffer.memory;
    sim.memories.get_mut(&memory).unwrap().writers = 2;
    assert_eq!(compare(&mut sim, wrong), Ok(()));
    sim.memories.get_mut(&memory).unwrap().writers = 1;
    sim.memories.get_mut(&memory).unwrap().generation += 1;
    assert_eq!(compare(&mut sim, wrong), Ok(()));
    sim.memories.get_mut(&memory).unwrap().generation -= 1;
    expect_refusal(compare(&mut sim, wrong), "not the bytes");
    assert_eq!(compare(&mut sim, told), Ok(()));
}

#[test]
fn result_must_be_that_of_its_input() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let queues = stream(&mut sim, 1);
    let at = queues
        .into_iter()
        .find(|at| is_converted(&sim, *at))
        .unwrap();
    let told = take(&mut sim, at);
    let buffer = sim.queue(at).unwrap().buffers[&told.index].clone();
    let content = sim.files[at.0].inputs[&told.time_us].content.unwrap();
    let set = |sim: &mut Sim<'_>, content| {
        let input = Input { memory: 0, content };
        sim.files[at.0].inputs.insert(told.time_us, input);
    };
    let other_time = Told {
        time_us: told.time_us - 1,
        ..told
    };
    expect_refusal(sim.check_result(at, &buffer, other_time), "names no input");
    let failed = Told {
        flags: told.flags | ERROR,
        ..told
    };
    expect_refusal(sim.check_result(at, &buffer, failed), "for good input");
    set(&mut sim, Some(content));
    sim.disturbed = true;
    assert_eq!(sim.check_result(at, &buffer, failed), Ok(()));
    sim.disturbed = false;
    let other = Content {
        sum: !content.sum,
        ..content
    };
    set(&mut sim, Some(other));
    expect_refusal(sim.check_result(at, &buffer, told), "not the result");
    // The model does not know these bytes.
    let pictures = sim.counts.pictures;
    set(&mut sim, None);
    assert_eq!(sim.check_result(at, &buffer, told), Ok(()));
    assert_eq!(sim.counts.pictures, pictures);
    set(&mut sim, Some(content));
    assert_eq!(sim.check_result(at, &buffer, told), Ok(()));
    assert_eq!(sim.counts.pictures, pictures + 1);
    expect_refusal(sim.check_result(at, &buffer, told), "that had its result");
    // A revoked buffer has no timestamp.
    let revoked = Told {
        used: 0,
        time_us: 0,
        ..failed
    };
    expect_refusal(sim.check_result(at, &buffer, revoked), "names no input");
    sim.revoked = true;
    assert_eq!(sim.check_result(at, &buffer, revoked), Ok(()));
}

#[test]
fn loopback_delivers_only_written_pictures() {
    let plan = crate::tests::plan(&["loopback,size=32x16,format=YUYV"]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let reader = sim.nodes.iter().position(|node| node.writer.is_some());
    let reader = reader.unwrap();
    let writer = sim.nodes[reader].writer.unwrap();
    stream(&mut sim, writer);
    let at = stream(&mut sim, reader)[0];
    let told = take(&mut sim, at);
    let buffer = sim.queue(at).unwrap().buffers[&told.index].clone();
    assert_eq!(sim.compare(at, &buffer, told), Ok(()));
    sim.nodes[writer].unknown = false;
    assert_eq!(sim.compare(at, &buffer, told), Ok(()));
    sim.nodes[writer].written.clear();
    expect_refusal(sim.compare(at, &buffer, told), "no device wrote");
    sim.nodes[writer].unknown = true;
    assert_eq!(sim.compare(at, &buffer, told), Ok(()));
}

#[test]
fn errno_of_dqbuf_must_suit_the_queue() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    let expect = |sim: &mut Sim<'_>, allowed: &[i32]| {
        for errno in [EINVAL, EBUSY, EPIPE, EAGAIN, EIO, ENODEV] {
            let is_right = sim.not_dequeued(at, errno).is_ok();
            assert_eq!(is_right, allowed.contains(&errno), "{errno}");
        }
    };
    expect(&mut sim, &[EBUSY]);
    sim.queue_mut(at).unwrap().streaming = false;
    expect(&mut sim, &[EINVAL]);
    sim.queue_mut(at).unwrap().buffers.clear();
    expect(&mut sim, &[EINVAL, EBUSY]);
}

#[test]
fn call_must_suit_the_holder_of_the_buffer() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    let mut dice = Dice::new(1, 1);
    let hold = |sim: &mut Sim<'_>, place| {
        let queue = sim.queue_mut(at).unwrap();
        queue
            .buffers
            .values_mut()
            .for_each(|buffer| buffer.place = place);
    };
    // The queue has all buffers.
    for place in [BufferHolder::Program, BufferHolder::Prepared] {
        for only_prepare in [false, true] {
            hold(&mut sim, place);
            let done = sim.enqueue(at, &mut dice, only_prepare);
            let is_refused = place == BufferHolder::Prepared && only_prepare;
            if is_refused {
                assert_eq!(done, Ok(()));
            } else {
                expect_refusal(done, "QBUF gave errno 22");
            }
        }
    }
    sim.stream(at, false).unwrap();
    hold(&mut sim, BufferHolder::Queue);
    expect_refusal(sim.enqueue(at, &mut dice, false), "is Some(Queue)");
    sim.stream(at, false).unwrap();
    sim.stream(at, false).unwrap();
    hold(&mut sim, BufferHolder::Prepared);
    expect_refusal(sim.enqueue(at, &mut dice, true), "is Some(Prepared)");
    sim.stream(at, false).unwrap();
    hold(&mut sim, BufferHolder::Program);
    fill(&mut sim, at);
    assert_eq!(sim.queue(at).unwrap().queued(), 4);
}

#[test]
fn memory_counts_its_writers_and_readers() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let (capture, memory) = (stream(&mut sim, 0)[0], sim.number());
    let queues = stream(&mut sim, 1);
    let output = queues
        .into_iter()
        .find(|at| !is_converted(&sim, *at))
        .unwrap();
    assert_eq!(sim.hand_over(memory, true), 0);
    assert!(!sim.memories[&memory].is_device_written);
    let first = sim.hand_over(memory, false);
    assert_eq!(first, sim.memories[&memory].generation);
    assert!(first > 0 && sim.memories[&memory].is_device_written);
    // The model cannot predict the bytes while another device may write them.
    assert_eq!(sim.hand_over(memory, false), u64::MAX);
    assert_eq!(sim.hand_over(memory, true), u64::MAX);
    assert_eq!(sim.memories[&memory].writers, 2);
    sim.queue_mut(capture)
        .unwrap()
        .buffers
        .get_mut(&0)
        .unwrap()
        .memory = memory;
    sim.take_back(capture, 0).unwrap();
    assert_eq!(sim.memories[&memory].writers, 1);

    let node = sim.files[output.0].node;
    let buffer = sim.queue(output).unwrap().buffers[&0].clone();
    let read = buffer.memory;
    assert!(sim.memories[&read].readers.contains(&node));
    sim.take_back(output, 0).unwrap();
    assert!(sim.memories[&read].readers.is_empty());
    assert_eq!(sim.files[output.0].inputs[&buffer.time_us].memory, 0);
}

#[test]
fn write_makes_bytes_that_devices_read_unknown() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let queues = stream(&mut sim, 1);
    let output = queues
        .into_iter()
        .find(|at| !is_converted(&sim, *at))
        .unwrap();
    let buffers = sim.queue(output).unwrap().buffers.clone();
    let known = |sim: &Sim<'_>, index: u32| {
        let inputs = &sim.files[output.0].inputs;
        inputs[&buffers[&index].time_us].content.is_some()
    };
    // The generator leaves some inputs unpainted.
    let index = (0..4).find(|index| known(&sim, *index)).unwrap();
    let memory = buffers[&index].memory;
    let others: Vec<u32> = (0..4).filter(|other| *other != index).collect();
    let count = others.iter().filter(|other| known(&sim, **other)).count();
    sim.nodes[1].unknown = false;
    let generation = sim.memories[&memory].generation;
    sim.written(memory);
    assert!(!known(&sim, index) && sim.nodes[1].unknown);
    assert_eq!(
        others.iter().filter(|other| known(&sim, **other)).count(),
        count
    );
    assert_eq!(sim.memories[&memory].generation, generation + 1);
    assert_eq!(sim.memories[&memory].content, None);
}

#[test]
fn programs_write_only_where_they_have_access() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let queues = stream(&mut sim, 1);
    let at = queues
        .into_iter()
        .find(|at| !is_converted(&sim, *at))
        .unwrap();
    let memory = sim.queue(at).unwrap().buffers[&0].memory;
    let size = sim.queue(at).unwrap().picture.3;
    assert_eq!(sim.paint(at, Source::Own, memory), Ok(Some(size)));
    let first = sim.memories[&memory].content;
    assert!(first.is_some());
    // Every picture is new.
    assert_eq!(sim.paint(at, Source::Own, memory), Ok(Some(size)));
    assert_ne!(sim.memories[&memory].content, first);
    // A device that has written to the memory may have written the same bytes.
    sim.memories.get_mut(&memory).unwrap().is_device_written = true;
    assert_eq!(sim.paint(at, Source::Own, memory), Ok(Some(size)));
    assert_eq!(sim.memories[&memory].content, None);
    let nothing = [Source::Fd(77), Source::User(0, size)];
    for source in nothing {
        assert_eq!(sim.paint(at, source, memory), Ok(None), "{source:?}");
    }
    sim.mappings.clear();
    assert_eq!(sim.paint(at, Source::Own, memory), Ok(None));
    assert_eq!(sim.paint((9, 0), Source::Own, memory), Err(LOST.to_owned()));
}

#[test]
fn buffer_is_mapped_once_and_only_for_codecs() {
    let mut plan = plan();
    for (codecs, maps) in [(false, 0), (true, 4)] {
        plan.codecs = codecs;
        let mut sim = Sim::new(&plan, false).unwrap();
        let at = stream(&mut sim, 0)[0];
        let told = take(&mut sim, at);
        sim.dequeued(at, told).unwrap();
        fill(&mut sim, at);
        assert_eq!(sim.mappings.len(), maps);
    }
}

#[test]
fn only_a_stream_may_have_no_buffer_yet() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    let mut dice = Dice::new(1, 1);
    assert_eq!(sim.dequeue(at, &mut dice), Ok(()));
    assert!(sim.queue(at).unwrap().waits);
    sim.queue_mut(at).unwrap().blocked = None;
    sim.queue_mut(at).unwrap().streaming = false;
    expect_refusal(sim.dequeue(at, &mut dice), "DQBUF gave errno 11");
}

#[test]
fn only_a_revoked_buffer_may_not_be_queued() {
    let plan = plan();
    let mut sim = Sim::new(&plan, false).unwrap();
    let at = stream(&mut sim, 0)[0];
    sim.stream(at, false).unwrap();
    let list = sim.run.list_buffers();
    for buffer in list.buffers {
        sim.run.revoke_buffer(&buffer.id).unwrap();
    }
    let mut dice = Dice::new(1, 1);
    expect_refusal(sim.enqueue(at, &mut dice, false), "QBUF gave errno");
    sim.revoked = true;
    assert_eq!(sim.enqueue(at, &mut dice, false), Ok(()));
    assert_eq!(sim.queue(at).unwrap().queued(), 0);
}
