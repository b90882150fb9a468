//! Prepares simulations for the tests of the oracles.

use crate::api::{self, Model, Source, Told};
use crate::model::{At, BufferHolder};
use crate::plan::{Dice, Pace, Plan};
use crate::run::{Check, Sim};
use vb3_v4l2::sys::VIDIOC_DQBUF;

/// Makes a plan with these devices and one program, without steps and faults.
pub(crate) fn plan(devices: &[&str]) -> Plan {
    Plan {
        machine: "pc",
        devices: devices.iter().map(|spec| (*spec).to_owned()).collect(),
        programs: [0].into(),
        steps: Vec::new(),
        faults: false,
        pace: Pace::Virtual,
        // Programs then map their buffers before they queue them.
        codecs: true,
        ..Plan::basic(1)
    }
}

pub(crate) const CAMERA: &str = "camera,size=32x16,sizes=32x16,format=YUYV";

/// Opens a node, and queues four buffers to each of its queues. Returns the queues, which stream.
pub(crate) fn stream(sim: &mut Sim<'_>, node: usize) -> Vec<At> {
    let file = sim.open_node(0, node).unwrap().unwrap();
    let queues = sim.queues_of(file).unwrap();
    for &at in &queues {
        assert_eq!(sim.request(at, Model::Mmap, 4, false), Ok(true));
        fill(sim, at);
        assert_eq!(sim.stream(at, true), Ok(true));
    }
    queues
}

/// Queues all buffers that the program holds.
pub(crate) fn fill(sim: &mut Sim<'_>, at: At) {
    let mut dice = Dice::new(1, 1);
    while !sim.queue(at).unwrap().at(BufferHolder::Program).is_empty() {
        sim.enqueue(at, &mut dice, false).unwrap();
    }
}

/// Calls DQBUF until it returns a buffer, and does not tell the model.
pub(crate) fn take(sim: &mut Sim<'_>, at: At) -> Told {
    for _ in 0..100 {
        sim.pass(40_000_000).unwrap();
        let kind = sim.queue(at).unwrap().kind;
        let (mut arg, mut plane) = api::buffer(kind, Model::Mmap, 0, Source::Own, 0);
        let args = (&mut arg, plane.as_mut());
        let done = sim.ioctl(at.0, VIDIOC_DQBUF, args, None).unwrap();
        if done.is_ok() {
            return api::told(&arg, plane.as_ref());
        }
    }
    panic!("{at:?} returns no buffer");
}

/// Expects that a check fails, with these words in its message.
#[track_caller]
pub(crate) fn expect_refusal<T: std::fmt::Debug>(check: Check<T>, words: &str) {
    let why = check.unwrap_err();
    assert!(why.contains(words), "{why}, and not: {words}");
}
