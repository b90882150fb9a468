//! Memory that is lent while the codec decodes.

use crate::tools::*;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Barrier;
use vb3_codec::{
    Chroma, Codec, Event, Field, Job, Kind, Launch, Lent, LentPlane, Out, Planes, Stop,
    StreamFormat,
};

const SIDE: u32 = 64;
const BYTES: u64 = 64 * 64 * 3 / 2;

/// Is passed once by the codec in its second input, and once by the test after lending memory.
static IS_LENT: Barrier = Barrier::new(2);

/// A decoder that announces a format at its first input, and returns a picture at its second.
struct Borrower;

impl Codec for Borrower {
    fn decode(&mut self, tag: u64, _: &[u8], out: &mut Out) -> Result<(), Stop> {
        if tag == 1 {
            return out.format(&StreamFormat::of_size(SIDE, SIDE));
        }
        IS_LENT.wait();
        let plane = [7; 64 * 64];
        let picture = Planes {
            width: SIDE,
            height: SIDE,
            data: [&plane; 3],
            strides: [64, 32, 32],
        };
        out.picture(tag, false, &picture, Field::Progressive)
    }
}

#[test]
fn loan_that_arrives_during_a_job_is_used() {
    let launch = Launch::in_thread_with(|_| Some(Box::new(Borrower)));
    let mut driven = Driven::new(Kind::H264Decoder, &launch);
    driven.proceeds = false;
    driven.submit(Job::Decode { tag: 1, data: b"a" });
    driven.wait_for(|event| matches!(event, TestEvent::Format(_)));
    driven.submit(Job::ProceedByLoan(Chroma::Pairs));
    driven.wait_for(|event| *event == TestEvent::Consumed(1));
    driven.submit(Job::Decode { tag: 2, data: b"b" });
    let file = memfd_create("buffer", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, BYTES).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    let plane = |offset| LentPlane {
        memory: file.as_fd(),
        number: 7,
        len: BYTES,
        offset,
        stride: 64,
    };
    let lent = Lent {
        chroma: Chroma::Pairs,
        planes: &[plane(0), plane(64 * 64)],
    };
    let number = driven.worker.lend(Some(&lent)).unwrap();
    IS_LENT.wait();
    let filled = loop {
        driven.wait_until_ready();
        match driven.worker.poll() {
            Some(Event::Filled { loan, .. }) => break loan,
            Some(event) => panic!("{event:?}"),
            None => {}
        }
    };
    assert_eq!(filled, number);
    let mut bytes = [0; BYTES as usize];
    std::fs::File::from(file)
        .read_exact_at(&mut bytes, 0)
        .unwrap();
    assert_eq!(bytes, [7; BYTES as usize]);
}
