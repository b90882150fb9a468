//! Owners of workers that lie.

use super::*;
use crate::socket::Socket;
use std::cell::Cell;
use std::os::fd::OwnedFd;

thread_local! {
    static END: Cell<Option<OwnedFd>> = const { Cell::new(None) };
}

/// A worker that the test plays.
fn played(kind: Kind) -> (Worker, Socket) {
    let launch = Launch::handed(|end| END.set(Some(end)));
    let worker = Worker::spawn(kind, &launch).unwrap();
    (worker, Socket::new(END.take().unwrap()))
}

fn say(end: &Socket, op: Op, words: &[u64]) {
    end.send(&Message::new(op, words), None, false).unwrap();
}

fn died(worker: &mut Worker) -> String {
    let Some(Event::Died { sentence }) = worker.poll() else {
        panic!("it lives");
    };
    assert!(worker.poll().is_none(), "it is told once");
    sentence
}

#[test]
fn what_another_kind_of_codec_sends_is_its_death() {
    const FORMAT: [u64; 13] = [16, 16, 0, 0, 16, 16, 2, 2, 2, 0, 0, 66, 10];
    let (mut decoder, end) = played(Kind::H264Decoder);
    say(&end, Op::Format, &FORMAT);
    assert!(matches!(decoder.poll(), Some(Event::Format(_))));
    decoder.submit(Job::Proceed(Chroma::Planar)).unwrap();
    say(&end, Op::Packet, &[1, 1, 0, 5, 1]);
    let sentence = "the codec process sent a packet unasked and was ended";
    assert_eq!(died(&mut decoder), sentence);

    let (mut encoder, end) = played(Kind::JpegEncoder);
    say(&end, Op::Format, &FORMAT);
    let sentence = "the codec process sent a format unasked and was ended";
    assert_eq!(died(&mut encoder), sentence);

    let (mut encoder, end) = played(Kind::JpegEncoder);
    let (width, height, quality) = (16, 16, 50);
    let config = Config::JpegEncoder {
        width,
        height,
        quality,
    };
    encoder.submit(Job::Configure(config)).unwrap();
    say(&end, Op::Picture, &[1, 1, 0]);
    let sentence = "the codec process sent a picture unasked and was ended";
    assert_eq!(died(&mut encoder), sentence);
}

#[test]
fn a_flood_of_what_is_not_for_the_owner_does_not_hold_it_up() {
    let (mut worker, end) = played(Kind::H264Decoder);
    worker.submit(Job::Flush).unwrap();
    let flood = Message::new(Op::Corrupt, &[1]);
    let mut sent = 0;
    while end.send(&flood, None, false).is_ok() {
        sent += 1;
    }
    assert!(sent > MAX_SILENT, "the socket takes {sent}");
    // What is left of it is there for the next time.
    let mut polls = 0;
    while sent > 0 {
        assert!(worker.poll().is_none());
        sent = sent.saturating_sub(MAX_SILENT);
        polls += 1;
    }
    assert!(polls > 1);
    say(&end, Op::Flushed, &[]);
    assert!(matches!(worker.poll(), Some(Event::Flushed)));
}
