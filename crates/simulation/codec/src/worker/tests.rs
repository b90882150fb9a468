//! Tests of parents whose workers violate the protocol.

use super::*;
use crate::loan::{Lent, LentPlane};
use crate::socket::Socket;
use crate::wire::{MAX_TEXT, OPS, WORDS};
use crate::words::format_to_words;
use std::cell::Cell;
use std::os::fd::OwnedFd;

thread_local! {
    static END: Cell<Option<OwnedFd>> = const { Cell::new(None) };
}

/// Returns a worker, and a socket for the test, which plays the worker's part. No message was sent yet.
fn unknown(kind: Kind) -> (Worker, Socket) {
    let launch = Launch::handed(|end| END.set(Some(end)));
    let worker = Worker::spawn(kind, &launch).unwrap();
    (worker, Socket::new(END.take().unwrap()))
}

/// As [`unknown`], after the worker's first message.
fn played(kind: Kind) -> (Worker, Socket) {
    let (worker, end) = unknown(kind);
    say(&end, Op::Version, &[VERSION]);
    (worker, end)
}

fn say(end: &Socket, op: Op, words: &[u64]) {
    end.send(&Message::new(op, words), None, false).unwrap();
}

/// Closes a worker's end, even if a process that another test has just started still has a copy of it.
fn close(end: &Socket) {
    rustix::net::shutdown(end.fd(), rustix::net::Shutdown::Both).unwrap();
}

fn died(worker: &mut Worker) -> String {
    let Some(Event::Died { sentence }) = worker.poll() else {
        panic!("it lives");
    };
    assert!(worker.poll().is_none(), "it is told once");
    sentence
}

/// Lends memory for a picture of 512x512.
fn lend(worker: &mut Worker, memory: &Shared) -> u64 {
    let plane = |offset| LentPlane {
        memory: memory.fd(),
        number: 3,
        len: 512 * 768,
        offset,
        stride: 512,
    };
    let lent = Lent {
        chroma: Chroma::Pairs,
        planes: &[plane(0), plane(512 * 512)],
    };
    worker.lend(Some(&lent)).unwrap()
}

/// Returns a decoder with lent memory for a picture of 512x512. The test plays the decoder's part.
/// Also returns the test's end of the socket, and its mappings of input and lent memory.
fn lent() -> (Worker, Socket, Shared, Shared) {
    let (mut worker, end) = played(Kind::H264Decoder);
    let hear = |wanted| loop {
        match end.receive(false) {
            Received::Message(message, fd) if message.op == wanted => return fd,
            Received::Message(..) => {}
            other => panic!("{other:?}"),
        }
    };
    let input = Shared::open(hear(Op::Hello).unwrap(), INPUT_LEN).unwrap();
    say(
        &end,
        Op::Format,
        &[512, 512, 0, 0, 512, 512, 2, 2, 2, 0, 66, 10, 8],
    );
    assert!(matches!(worker.poll(), Some(Event::Format(_))));
    worker.submit(Job::ProceedByLoan(Chroma::Pairs)).unwrap();
    let memory = Shared::new(512 * 768).unwrap();
    assert_eq!(lend(&mut worker, &memory), 1);
    let seen = Shared::open_whole(hear(Op::Map).unwrap()).unwrap();
    assert!(hear(Op::Lend).is_none());
    (worker, end, input, seen)
}

#[test]
fn revoked_loans_are_not_written() {
    let (mut worker, _end, input, seen) = lent();
    let memory = || seen.bytes(0, 512 * 768).unwrap().to_vec();
    std::thread::scope(|scope| {
        let (began, begins) = std::sync::mpsc::channel();
        let (input, seen) = (&input, &seen);
        let player = scope.spawn(move || {
            assert!(loan::claim(input, 1));
            began.send(()).unwrap();
            for pass in 1..=20 {
                let line = [pass; 512];
                for row in 0..768 {
                    assert!(seen.put(row * 512, &line));
                }
            }
            loan::release(input, 1);
        });
        begins.recv().unwrap();
        worker.take_back();
        let after = memory();
        player.join().unwrap();
        assert!(memory() == after, "it was written later");
        assert!(after.iter().all(|byte| *byte == 20));
    });
}

#[test]
fn loans_being_written_come_back_later() {
    let (mut worker, _end, input, _seen) = lent();
    let file = Shared::new(512 * 768).unwrap();
    let next = lend(&mut worker, &file);
    assert!(loan::claim(&input, 1));
    assert!(!worker.try_take_back(), "the first one is being written");
    assert_eq!([1, next].map(|loan| worker.has_loan(loan)), [true, false]);
    assert!(!loan::claim(&input, next), "the other one is back");
    loan::release(&input, 1);
    assert!(worker.try_take_back() && !worker.has_loan(1));
}

#[test]
fn revoked_loans_cannot_be_claimed() {
    let (mut worker, end, input, _seen) = lent();
    worker.take_back();
    assert!(!loan::claim(&input, 1), "it may not write");
    // The next loan has its own word; the old loan's word is unchanged.
    let file = Shared::new(512 * 768).unwrap();
    let next = lend(&mut worker, &file);
    assert!(!loan::claim(&input, 1));
    assert!(loan::claim(&input, next));
    loan::release(&input, next);
    // The report on the old loan is too late. The report on the new loan is valid.
    say(&end, Op::Picture, &[5, 0, NO_SLOT.into(), 0, 0, 1]);
    say(&end, Op::Picture, &[6, 0, NO_SLOT.into(), 0, 0, next]);
    let Some(Event::Filled { tag, loan, .. }) = worker.poll() else {
        panic!("the picture comes");
    };
    assert_eq!((tag, loan), (6, next));
    // A loan cannot be used twice, and a report on an unknown loan ends the worker.
    say(&end, Op::Picture, &[6, 0, NO_SLOT.into(), 0, 0, next]);
    say(&end, Op::Picture, &[7, 0, NO_SLOT.into(), 0, 0, next + 1]);
    let sentence = "the codec process used a loan that it was not given and was ended";
    assert_eq!(died(&mut worker), sentence);
}

/// The worker keeps memory in use mapped, and its address space is limited.
#[test]
fn memory_in_use_counts_against_the_limit() {
    let (mut worker, end, input, _seen) = lent();
    let hundred = 100 << 20;
    let memory = Shared::new(hundred).unwrap();
    let lend = |worker: &mut Worker, number| {
        let plane = |offset| LentPlane {
            memory: memory.fd(),
            number,
            len: hundred as u64,
            offset,
            stride: 512,
        };
        let lent = Lent {
            chroma: Chroma::Pairs,
            planes: &[plane(0), plane(512 * 512)],
        };
        worker.lend(Some(&lent))
    };
    // Of 512 MiB, the first loan uses less than one.
    let loans: Vec<_> = (10..15).map(|number| lend(&mut worker, number)).collect();
    assert!(loans.iter().all(Result::is_ok), "{loans:?}");
    let refused = Refused::Wrong("too much memory is lent");
    assert_eq!(lend(&mut worker, 15), Err(refused));
    assert!(lend(&mut worker, 14).is_ok(), "memory in use is lent again");
    // A loan that has ended makes room.
    let first = *loans[0].as_ref().unwrap();
    assert!(loan::claim(&input, first));
    loan::release(&input, first);
    say(&end, Op::Picture, &[5, 0, NO_SLOT.into(), 0, 0, first]);
    assert!(matches!(worker.poll(), Some(Event::Filled { .. })));
    assert!(lend(&mut worker, 15).is_ok());
}

/// A faulty worker may claim a loan and never release it.
#[test]
fn a_loan_that_is_out_keeps_its_word() {
    let (mut worker, end, input, _seen) = lent();
    assert!(loan::claim(&input, 1));
    let file = Shared::new(512 * 768).unwrap();
    for tag in 0..300 {
        let next = lend(&mut worker, &file);
        assert!(matches!(end.receive(false), Received::Message(m, _) if m.op == Op::Lend));
        assert!(loan::claim(&input, next));
        loan::release(&input, next);
        say(&end, Op::Picture, &[tag, 0, NO_SLOT.into(), 0, 0, next]);
        assert!(matches!(worker.poll(), Some(Event::Filled { loan, .. }) if loan == next));
    }
    assert!(!loan::revoke(&input, 1), "its word belongs to another loan");
}

#[test]
fn loans_without_memory_cannot_be_filled() {
    let (mut worker, end, ..) = lent();
    let loan = worker.lend(None).unwrap();
    say(&end, Op::Picture, &[5, 0, NO_SLOT.into(), 0, 0, loan]);
    let sentence = "the codec process filled memory that it was not lent and was ended";
    assert_eq!(died(&mut worker), sentence);
}

#[test]
fn a_picture_needs_a_slot_or_a_loan() {
    let (mut worker, end, ..) = lent();
    say(&end, Op::Picture, &[5, 0, NO_SLOT.into(), 0, 0, 0]);
    let sentence = "the codec process used memory that it was not given and was ended";
    assert_eq!(died(&mut worker), sentence);
}

#[test]
fn loans_of_dead_workers_return_at_once() {
    let (mut worker, end, input, _seen) = lent();
    assert!(loan::claim(&input, 1));
    close(&end);
    let looks = std::cell::Cell::new(0);
    let is_gone = || {
        looks.update(|count| count + 1);
        worker.is_gone()
    };
    assert!(!loan::take_back(&input, 1, is_gone));
    assert_eq!(looks.get(), 1, "the first look ends the wait");
    worker.take_back();
    died(&mut worker);
}

/// A stopped worker may never run again, so its owner would wait forever.
#[test]
fn stopped_workers_are_killed_without_a_wait() {
    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
    let (mut worker, _end, input, _seen) = lent();
    let mut command = std::process::Command::new("sleep");
    command.arg("1000");
    worker.running = Running::begin(command).unwrap();
    let pid = loop {
        match worker.pid() {
            Some(pid) => break Pid::from_raw(pid.cast_signed()).unwrap(),
            None => std::thread::yield_now(),
        }
    };
    assert!(!worker.is_gone());
    kill_process(pid, Signal::STOP).unwrap();
    // Waits until the worker has stopped. The keeper thread waits for its end.
    waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
    assert!(worker.is_gone());
    assert!(loan::claim(&input, 1));
    worker.take_back();
    assert!(died(&mut worker).contains("did not release"));
}

#[test]
fn messages_of_other_kinds_kill_the_worker() {
    const FORMAT: [u64; 13] = [16, 16, 0, 0, 16, 16, 2, 2, 2, 0, 66, 10, 8];
    let (mut decoder, end) = played(Kind::H264Decoder);
    say(&end, Op::Format, &FORMAT);
    assert!(matches!(decoder.poll(), Some(Event::Format(_))));
    decoder.submit(Job::Proceed(Chroma::Planar)).unwrap();
    say(&end, Op::Packet, &[1, 1, 0, 5, 1]);
    let sentence = "the codec process sent a packet that was not expected and was ended";
    assert_eq!(died(&mut decoder), sentence);

    let (mut encoder, end) = played(Kind::JpegEncoder);
    say(&end, Op::Format, &FORMAT);
    let sentence = "the codec process sent a format that was not expected and was ended";
    assert_eq!(died(&mut encoder), sentence);

    let (mut encoder, end) = played(Kind::JpegEncoder);
    let (width, height, quality) = (16, 16, 50);
    let config = Config::JpegEncoder {
        width,
        height,
        quality,
        sampling: crate::Subsampling::Yuv420,
        has_limited_range: false,
    };
    encoder.submit(Job::Configure(config)).unwrap();
    say(&end, Op::Picture, &[1, 1, 0]);
    let sentence = "the codec process sent a picture that was not expected and was ended";
    assert_eq!(died(&mut encoder), sentence);
}

#[test]
fn floods_of_messages_do_not_delay_the_owner() {
    let (mut worker, end) = played(Kind::H264Decoder);
    worker.submit(Job::Flush).unwrap();
    let flood = Message::new(Op::Corrupt, &[1]);
    let mut sent = 0;
    while end.send(&flood, None, false).is_ok() {
        sent += 1;
    }
    assert!(sent > MAX_SILENT, "the socket takes {sent}");
    // A poll leaves the remaining messages for the next one.
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

#[test]
fn other_versions_are_named_with_a_remedy() {
    let newer = Message::new(Op::Version, &[VERSION + 1]).with_text("vb3-codec 9.9.9");
    let silent = Message::new(Op::Consumed, &[1, 0]);
    let newer_found = format!("version {}, as of vb3-codec 9.9.9;", VERSION + 1);
    let wanted = format!("speaks version {VERSION} of their protocol,");
    for (first, found) in [(newer, newer_found.as_str()), (silent, "an older one;")] {
        let (mut worker, end) = unknown(Kind::H264Decoder);
        end.send(&first, None, false).unwrap();
        let sentence = died(&mut worker);
        assert!(
            sentence.contains(" are from different releases: "),
            "{sentence}"
        );
        for part in [found, &wanted, "install", "VB3_CODEC=none"] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
    }
}

#[test]
fn worker_reports_other_versions_and_ends() {
    let memory = Shared::new(INPUT_LEN).unwrap();
    for (told, op, said) in [
        (0, Op::Unsupported, "install both from the same release"),
        (VERSION + 1, Op::Version, "vb3-codec "),
    ] {
        let (ours, theirs) = Socket::pair().unwrap();
        let ours = Socket::new(ours);
        let hello = Message::new(Op::Hello, &[Kind::JpegDecoder.to_number(), told]);
        ours.send(&hello, Some(memory.fd()), false).unwrap();
        crate::serve::serve_here(theirs, crate::built_in::built_in);
        let Received::Message(answer, None) = ours.receive(true) else {
            panic!("no answer")
        };
        assert_eq!((answer.op, answer.words[0] == VERSION), (op, told != 0));
        assert!(answer.text.contains(said), "{}", answer.text);
        assert!(matches!(
            ours.receive(true),
            Received::Closed | Received::Nonsense
        ));
    }
}

#[test]
fn only_counted_messages_are_found_at_once() {
    let (mut worker, end, input, _seen) = lent();
    worker.submit(Job::Drain).unwrap();
    worker.submit(Job::Drain).unwrap();
    // `lent` has received one message, uncounted.
    loan::count_sent(&input);
    assert!(worker.poll().is_none());
    loan::count_sent(&input);
    say(&end, Op::Drained, &[]);
    assert!(matches!(worker.poll(), Some(Event::Drained)));
    say(&end, Op::Drained, &[]);
    let polls = (0..=MAX_UNLOOKED).map(|_| worker.poll().is_some());
    let last = polls.collect::<Vec<_>>();
    let wanted = (0..=MAX_UNLOOKED).map(|poll| poll == MAX_UNLOOKED);
    assert!(last.into_iter().eq(wanted));
}

#[test]
fn end_of_worker_is_found_without_a_count() {
    let (mut worker, end, input, _seen) = lent();
    loan::count_sent(&input);
    close(&end);
    let is_dead = |event| matches!(event, Some(Event::Died { .. }));
    assert!((0..=MAX_UNLOOKED).any(|_| is_dead(worker.poll())));
}

#[test]
fn messages_that_are_too_long_are_not_cut() {
    let (ours, theirs) = Socket::pair().unwrap();
    let (ours, theirs) = (Socket::new(ours), Socket::new(theirs));
    let longest = Message::new(Op::Corrupt, &[]).with_text(&"a".repeat(MAX_TEXT));
    let mut bytes = longest.to_bytes();
    ours.send_bytes(&bytes, None, false).unwrap();
    assert!(matches!(theirs.receive(false), Received::Message(m, None) if m == longest));
    bytes.push(b'a');
    ours.send_bytes(&bytes, None, false).unwrap();
    assert!(matches!(theirs.receive(false), Received::Nonsense));
}

/// Each message with numbers that cannot be true, at each stage of a decoder and an encoder.
#[test]
fn nonsense_at_every_message_is_survived() {
    let words = [0, 1, 7, 8, 63, 1 << 20, 1 << 32, u64::MAX];
    for op in OPS {
        for (word, stage) in words
            .iter()
            .flat_map(|word| (0..4).map(move |stage| (*word, stage)))
        {
            let kind = [Kind::H264Decoder, Kind::JpegEncoder][usize::from(stage == 3)];
            let (mut worker, end) = played(kind);
            if (1..3).contains(&stage) {
                let data = &[0, 0, 1][..];
                worker.submit(Job::Decode { tag: 1, data }).unwrap();
            }
            if stage == 2 {
                let format = StreamFormat::of_size(64, 48);
                say(&end, Op::Format, &format_to_words(&format));
                while let Some(event) = worker.poll() {
                    if matches!(event, Event::Format(_)) {
                        worker.submit(Job::Proceed(Chroma::Planar)).unwrap();
                    }
                }
            }
            say(&end, op, &[word; WORDS]);
            let events = std::iter::from_fn(|| worker.poll()).take(64).count();
            assert!(events < 64, "{op:?} {word} {stage}");
            // Whatever it made of the message, the owner can go on or learns that the worker has ended.
            let asked = worker.submit(Job::Drain);
            assert!(
                matches!(asked, Ok(()) | Err(Refused::Dead)),
                "{op:?} {word} {stage}"
            );
        }
    }
}
