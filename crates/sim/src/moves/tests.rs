//! Ends of streams that DQBUF must not report.

use super::EPIPE;
use crate::api::{LAST, Told};
use crate::model::{At, Buffer, BufferHolder};
use crate::plan::Plan;
use crate::run::Sim;

fn plan() -> Plan {
    let devices = ["camera,size=32x16", "convert,size=32x16"];
    Plan {
        machine: "pc",
        devices: devices.map(str::to_owned).to_vec(),
        ..Plan::basic(1)
    }
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
