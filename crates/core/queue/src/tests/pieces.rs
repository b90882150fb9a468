//! read() and write() in pieces.

use super::Bench;
use super::calls::{EBUSY, EFAULT, seen};
use super::fake::{SIZE, done};
use super::std::vec;
use super::std::vec::Vec;
use crate::{Completion, Error, MAX_PLANES, Pieces, QueueType, Source};

const PIECE_BYTES: u64 = SIZE / 4;
const MINE: Pieces = Pieces {
    call: 7,
    most_bytes: PIECE_BYTES,
};
const OTHER: Pieces = Pieces { call: 8, ..MINE };

/// The program's memory of one piece: `bad` cannot be accessed, `absent` has not been fetched.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    bad: bool,
    absent: bool,
}

impl Piece {
    fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        if self.bad {
            return Err(Error::Fault);
        }
        assert_eq!(usize::try_from(offset).unwrap(), self.bytes.len());
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Source for Piece {
    fn prepare(&mut self, len_bytes: u64) -> Result<(), Error> {
        assert!(len_bytes <= PIECE_BYTES);
        if self.absent {
            Err(Error::Fault)
        } else {
            Ok(())
        }
    }

    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        if self.bad {
            return Err(Error::Fault);
        }
        let from = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.bytes[from..from + out.len()]);
        Ok(())
    }
}

fn reader(frames: u8) -> Bench {
    let mut b = Bench::with(QueueType::Capture, |c| c.min_reqbufs_allocation = 2);
    let started =
        b.session()
            .begin_read(&mut |at, data| Piece::default().put(at, data), SIZE, MINE);
    assert_eq!(started, Err(Error::WouldBlock));
    for value in 1..=frames {
        let cookie = b.driver.tokens[0].plane(0).unwrap().unwrap().cookie;
        for (at, byte) in b.mem.get().bytes_at(cookie).iter_mut().enumerate() {
            *byte = (at as u8).wrapping_add(value);
        }
        let mut payloads = [0; MAX_PLANES];
        payloads[0] = SIZE;
        let payloads = Some(payloads);
        b.complete(Completion { payloads, ..done() }).unwrap();
    }
    b
}

fn pattern(value: u8, from: u64, to: u64) -> Vec<u8> {
    (from..to)
        .map(|at| (at as u8).wrapping_add(value))
        .collect()
}

/// Reads on to the end. Returns all bytes, and the length of the longest piece.
fn rest(b: &mut Bench, first: Vec<u8>) -> (Vec<u8>, usize) {
    let (mut all, mut most) = (first, 0);
    loop {
        let mut piece = Piece::default();
        let moved = b
            .session()
            .resume_read(&mut |at, data| piece.put(at, data), MINE)
            .unwrap();
        b.check();
        let len = piece.bytes.len();
        most = most.max(len);
        all.extend(piece.bytes);
        assert_eq!(moved, len as u64);
        if b.queue.transfer_under_way().is_none() {
            assert_eq!(len, 0, "all had been moved");
            return (all, most);
        }
    }
}

#[test]
fn other_calls_wait_for_a_read_in_pieces() {
    let mut b = reader(2);
    let mut piece = Piece::default();
    let moved = b
        .session()
        .begin_read(&mut |at, data| piece.put(at, data), SIZE * 2, MINE);
    assert_eq!(moved, Ok(PIECE_BYTES));
    assert_eq!(
        piece.bytes.len() as u64,
        PIECE_BYTES,
        "no more than a piece"
    );
    assert_eq!(b.queue.transfer_under_way(), Some(7));
    let other = b
        .session()
        .begin_read(&mut |at, data| Piece::default().put(at, data), SIZE, OTHER);
    assert_eq!(seen(other.map(|_| ())), EBUSY);
    let other = b
        .session()
        .resume_read(&mut |at, data| Piece::default().put(at, data), OTHER);
    assert_eq!(seen(other.map(|_| ())), EBUSY);
    assert_eq!(b.session().poll(true), Ok(true));
    assert_eq!(
        b.driver.tokens.len(),
        0,
        "the buffer is not given back before"
    );
    let (all, most) = rest(&mut b, piece.bytes);
    assert!(all == pattern(1, 0, SIZE) && most as u64 == PIECE_BYTES);
    assert_eq!(b.queue.transfer_under_way(), None);
    assert_eq!(b.driver.tokens.len(), 1, "once");
    let ended = b
        .session()
        .resume_read(&mut |at, data| Piece::default().put(at, data), MINE);
    assert_eq!(seen(ended.map(|_| ())), EBUSY, "never into the next frame");
    let next = b
        .session()
        .begin_read(&mut |at, data| Piece::default().put(at, data), 10, OTHER);
    assert_eq!((next, b.queue.transfer_under_way()), (Ok(10), None));
    b.finish();
}

#[test]
fn abandoned_or_failed_read_restarts() {
    let mut b = reader(1);
    let begun = b
        .session()
        .begin_read(&mut |at, data| Piece::default().put(at, data), 10, OTHER)
        .unwrap();
    assert_eq!((begun, b.queue.transfer_under_way()), (10, None));
    let begin = |b: &mut Bench| {
        let mut piece = Piece::default();
        let moved = b
            .session()
            .begin_read(&mut |at, data| piece.put(at, data), SIZE, MINE)
            .unwrap();
        assert_eq!(
            (moved, b.queue.transfer_under_way()),
            (PIECE_BYTES, Some(7))
        );
        assert!(piece.bytes == pattern(1, 10, 10 + PIECE_BYTES));
        piece.bytes
    };
    begin(&mut b);
    b.queue.end_transfer(8);
    assert_eq!(b.queue.transfer_under_way(), Some(7), "another's end");
    b.queue.end_transfer(7);
    assert_eq!(b.queue.transfer_under_way(), None);
    begin(&mut b);
    let mut bad = Piece {
        bad: true,
        ..Piece::default()
    };
    let failed = b
        .session()
        .resume_read(&mut |at, data| bad.put(at, data), MINE);
    assert_eq!(seen(failed.map(|_| ())), EFAULT);
    assert_eq!(b.queue.transfer_under_way(), None);
    let first = begin(&mut b);
    let (all, _) = rest(&mut b, first);
    assert!(all == pattern(1, 10, SIZE));
    b.finish();
}

#[test]
fn a_queue_that_is_let_go_in_between_ends_the_read() {
    let mut b = reader(1);
    let begun = b
        .session()
        .begin_read(&mut |at, data| Piece::default().put(at, data), SIZE, MINE)
        .unwrap();
    assert_eq!(
        (begun, b.queue.transfer_under_way()),
        (PIECE_BYTES, Some(7))
    );
    b.session().release();
    let ended = b
        .session()
        .resume_read(&mut |at, data| Piece::default().put(at, data), MINE);
    assert_eq!(seen(ended.map(|_| ())), EBUSY);
    assert!(!b.queue.fileio_active() && b.queue.transfer_under_way().is_none());
    b.finish();
}

#[test]
fn a_write_in_pieces_is_one_buffer() {
    for immediately in [false, true] {
        let mut b = Bench::with(QueueType::Output, |c| {
            c.min_reqbufs_allocation = 2;
        });
        b.queue.queue_each_write(immediately);
        // A whole buffer; fewer bytes if the queue queues a buffer after every write().
        let len = if immediately { SIZE - 5 } else { SIZE };
        let piece = |at: u64| Piece {
            bytes: pattern(3, at, len.min(at + PIECE_BYTES)),
            ..Piece::default()
        };
        let begun = b.session().begin_write(&mut piece(0), len, 77, MINE);
        assert_eq!(begun, Ok(PIECE_BYTES));
        let mut absent = piece(PIECE_BYTES);
        absent.absent = true;
        let missing = b.session().resume_write(&mut absent, 77, MINE);
        assert_eq!(seen(missing.map(|_| ())), EFAULT);
        assert_eq!(b.queue.transfer_under_way(), Some(7), "it can be fetched");
        let other = b.session().begin_write(&mut piece(0), len, 77, OTHER);
        assert_eq!(seen(other.map(|_| ())), EBUSY);
        let mut at = PIECE_BYTES;
        while b.queue.transfer_under_way().is_some() {
            assert!(b.driver.tokens.is_empty(), "not before all of it is there");
            at += b.session().resume_write(&mut piece(at), 77, MINE).unwrap();
        }
        assert_eq!(at, len);
        assert_eq!(b.driver.tokens.len(), 1);
        let plane = b.driver.tokens[0].plane(0).unwrap().unwrap();
        assert_eq!(plane.payload_bytes, len);
        let written = b.mem.get().bytes_at(plane.cookie)[..usize::try_from(len).unwrap()].to_vec();
        assert!(written == pattern(3, 0, len));
        b.finish();
    }
}

#[test]
fn a_write_that_fails_in_between_counts_for_nothing() {
    let mut b = Bench::with(QueueType::Output, |c| c.min_reqbufs_allocation = 2);
    let mut piece = Piece {
        bytes: vec![9; SIZE as usize],
        ..Piece::default()
    };
    let begun = b.session().begin_write(&mut piece, SIZE, 77, MINE);
    assert_eq!(begun, Ok(PIECE_BYTES));
    piece.bad = true;
    let failed = b.session().resume_write(&mut piece, 77, MINE);
    assert_eq!(seen(failed.map(|_| ())), EFAULT);
    assert!(b.queue.transfer_under_way().is_none() && b.driver.tokens.is_empty());
    // A first piece that has not been fetched starts no transfer, either.
    piece.absent = true;
    let failed = b.session().begin_write(&mut piece, SIZE, 77, MINE);
    assert_eq!(seen(failed.map(|_| ())), EFAULT);
    assert!(b.queue.transfer_under_way().is_none());
    (piece.absent, piece.bad) = (false, false);
    let all = Pieces {
        most_bytes: u64::MAX,
        ..OTHER
    };
    let mut whole = User(vec![4; SIZE as usize]);
    let written = b.session().begin_write(&mut whole, SIZE, 77, all);
    assert_eq!(written, Ok(SIZE), "from the start");
    assert_eq!(b.queue.transfer_under_way(), None);
    let plane = b.driver.tokens[0].plane(0).unwrap().unwrap();
    assert!(
        b.mem
            .get()
            .bytes_at(plane.cookie)
            .iter()
            .all(|byte| *byte == 4)
    );
    b.finish();
}

/// A program's memory that needs no fetching.
struct User(Vec<u8>);

impl Source for User {
    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let from = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0[from..from + out.len()]);
        Ok(())
    }
}
