//! Memory that is lent to a worker for one picture, and the protocol for its ownership.
//!
//! A *loan* is the permission to write one picture. It has a number, and a 32-bit word with its state, in
//! memory that the worker shares with its parent (the process with the `Worker`). The worker sets the word to
//! claim the loan before it writes the first byte, and to release the loan after the last byte. The parent
//! sets the word to revoke an unclaimed loan, and waits for the release of a claimed one. So the parent never
//! waits until the worker reads its socket, which may take as long as decoding a picture.

use crate::job::Chroma;
use crate::shm::Shared;
use crate::slots::{Layout, rows};
use crate::{MAX_IN_FLIGHT, MAX_INPUT};
use rustix::thread::futex;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Maximum number of loans at a time.
pub const MAX_LOANS: usize = 32;
/// Replaces the chroma layout in the message of a loan without memory, whose picture uses an output slot.
pub(crate) const BY_SLOT: u64 = u64::MAX;
/// Number of words for loans' states. There are more words than loans, so that a word is always free.
const WORDS: usize = 4 * MAX_LOANS;
/// Offset of the words in the input's memory.
const START: usize = MAX_INPUT * MAX_IN_FLIGHT;
/// Offset of a word: whether the parent waits for a change of a word.
const AWAITED: usize = START + WORDS * size_of::<u32>();
/// Number of messages that the worker has sent since the first.
const SENT: usize = AWAITED + size_of::<u32>();
/// Bytes of the memory for input, including the words.
pub(crate) const INPUT_LEN: usize = SENT + size_of::<u32>();

const LENT: u32 = 0;
const WRITING: u32 = 1;
const WRITTEN: u32 = 2;
const BACK: u32 = 3;

/// Longest time that the parent waits for the release of a loan while the worker copies a picture to it.
/// A busy machine needs only a small part of this time.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);
/// Interval at which the parent checks that the worker still exists.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Returns the value of a loan's word for a state. Values repeat after 2^30 loans.
const fn word(number: u64, state: u32) -> u32 {
    // CAST: the lower bits are intended.
    (number as u32) << 2 | state
}

/// Returns whether two loans have the same word, so that they cannot exist at the same time.
pub(crate) const fn share_a_word(one: u64, other: u64) -> bool {
    one % WORDS as u64 == other % WORDS as u64
}

fn of(input: &Shared, number: u64) -> Option<&AtomicU32> {
    let at = usize::try_from(number % WORDS as u64).ok()?;
    input.word(START + at * size_of::<u32>())
}

/// Parent: marks a loan as lent, before announcing it.
pub(crate) fn lend(input: &Shared, number: u64) {
    if let Some(state) = of(input, number) {
        state.store(word(number, LENT), Ordering::Release);
    }
}

/// Returns whether the worker can still claim a loan.
pub(crate) fn is_lent(input: &Shared, number: u64) -> bool {
    let found = of(input, number).map(|state| state.load(Ordering::Acquire));
    found == Some(word(number, LENT))
}

/// Changes a loan's word if the loan is still lent. Returns whether it was.
fn change(input: &Shared, number: u64, state: u32) -> bool {
    let (from, to) = (word(number, LENT), word(number, state));
    of(input, number).is_some_and(|state| {
        let found = state.compare_exchange(from, to, Ordering::SeqCst, Ordering::Acquire);
        found.is_ok()
    })
}

/// Worker: claims a loan before writing to it. Returns false if the loan was revoked.
pub(crate) fn claim(input: &Shared, number: u64) -> bool {
    change(input, number, WRITING)
}

/// Worker: releases a loan after writing the last byte.
pub(crate) fn release(input: &Shared, number: u64) {
    if let Some(state) = of(input, number) {
        state.store(word(number, WRITTEN), Ordering::SeqCst);
        wake(input, state);
    }
}

/// Parent: revokes an unclaimed loan. Returns false if the worker has claimed it.
pub(crate) fn revoke(input: &Shared, number: u64) -> bool {
    change(input, number, BACK)
}

/// Parent: as [`take_back`], without waiting.
pub(crate) fn try_take_back(input: &Shared, number: u64) -> bool {
    let is_written = |state: &AtomicU32| state.load(Ordering::SeqCst) == word(number, WRITTEN);
    revoke(input, number) || of(input, number).is_some_and(is_written)
}

/// Parent: revokes a loan, or waits until the worker has released it. Returns false on timeout.
pub(crate) fn take_back(input: &Shared, number: u64, is_gone: impl Fn() -> bool) -> bool {
    let Some(state) = of(input, number) else {
        return false;
    };
    // Values other than the expected ones come from a faulty worker and are ignored.
    revoke(input, number) || wait(input, state, word(number, WRITTEN), is_gone)
}

/// Worker: wakes the parent if the parent waits for a change of `word`. Before this call, the worker has
/// stored the word's new value. The parent first stores that it waits, and then loads the word. So at least
/// one of the two sees what the other has stored.
fn wake(input: &Shared, word: &AtomicU32) {
    let awaited = input.word(AWAITED);
    if awaited.is_some_and(|awaited| awaited.load(Ordering::SeqCst) != 0) {
        let _ = futex::wake(word, futex::Flags::empty(), 1);
    }
}

/// Parent: waits until a word has the value `wanted`, and lets the worker know that it waits. Returns false on
/// timeout, or if the worker is gone.
fn wait(input: &Shared, word: &AtomicU32, wanted: u32, is_gone: impl Fn() -> bool) -> bool {
    let note = |is_awaited: bool| {
        if let Some(awaited) = input.word(AWAITED) {
            awaited.store(is_awaited.into(), Ordering::SeqCst);
        }
    };
    note(true);
    let until = Instant::now() + WRITE_TIMEOUT;
    let is_over = loop {
        let found = word.load(Ordering::SeqCst);
        if found == wanted || is_gone() || Instant::now() >= until {
            break found == wanted;
        }
        let look = futex::Timespec::try_from(CHECK_INTERVAL).ok();
        let _ = futex::wait(word, futex::Flags::empty(), found, look.as_ref());
    };
    note(false);
    is_over
}

/// Worker: counts a message, before sending it.
pub(crate) fn count_sent(input: &Shared) {
    if let Some(word) = input.word(SENT) {
        word.fetch_add(1, Ordering::Release);
    }
}

/// Parent: returns how many messages the worker has counted, modulo 2^32.
pub(crate) fn sent(input: &Shared) -> u32 {
    let word = input.word(SENT);
    word.map_or(0, |word| word.load(Ordering::Acquire))
}

/// A plane of samples in lent memory.
#[derive(Clone, Copy, Debug)]
pub struct LentPlane<'a> {
    /// The memory's file, of sealed size. The worker maps all of it, so it must contain no other data.
    pub memory: BorrowedFd<'a>,
    /// Unique number of this memory, never reused.
    pub number: u64,
    /// Length of the memory in bytes.
    pub len: u64,
    /// Offset of the first sample in bytes.
    pub offset: u64,
    /// Bytes from one row to the next.
    pub stride: u64,
}

/// Memory for one picture.
#[derive(Clone, Copy, Debug)]
pub struct Lent<'a> {
    /// The arrangement of the chroma samples.
    pub chroma: Chroma,
    /// Y, U and V, or Y and UV pairs.
    pub planes: &'a [LentPlane<'a>],
}

/// Returns, for each plane of a picture, the bytes of a row and the number of rows.
pub(crate) fn shapes(layout: &Layout, chroma: Chroma) -> Vec<(usize, usize)> {
    let (columns, lines) = layout.plane(1);
    match chroma {
        Chroma::Planar => vec![layout.plane(0), (columns, lines), (columns, lines)],
        Chroma::Pairs => vec![layout.plane(0), (2 * columns, lines)],
    }
}

/// Returns the number of bytes of a plane, including padding between rows, but not after the last row.
pub(crate) fn extent((columns, lines): (usize, usize), stride: u64) -> Option<u64> {
    let before = u64::try_from(lines.checked_sub(1)?).ok()?;
    let last = u64::try_from(columns).ok()?;
    (stride >= last).then_some(before.checked_mul(stride)?.checked_add(last)?)
}

/// The destination of one plane of a picture, in the worker's mapping.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) memory: Rc<Shared>,
    pub(crate) offset: usize,
    pub(crate) stride: usize,
}

/// Writes a picture row by row. Returns false if it does not fit.
pub(crate) fn write(
    layout: &Layout,
    from: &crate::Planes<'_>,
    chroma: Chroma,
    spots: &[Spot],
) -> bool {
    if !fits(layout, chroma, spots) {
        return false;
    }
    spots.iter().for_each(|spot| spot.memory.populate());
    let plane = |index: usize, spot: &Spot| {
        rows(layout, from, index).is_some_and(|rows| {
            let (mut rows, mut line) = (rows.enumerate(), Vec::new());
            rows.all(|(row, bytes)| {
                let bytes = layout.row(bytes, &mut line);
                spot.memory.put(spot.offset + row * spot.stride, bytes)
            })
        })
    };
    match (chroma, spots) {
        (Chroma::Planar, [y, u, v]) => plane(0, y) && plane(1, u) && plane(2, v),
        (Chroma::Pairs, [y, uv]) => plane(0, y) && write_pairs(layout, from, uv),
        _ => false,
    }
}

/// Returns whether a picture has as many planes as there are spots, and each of its rows fits the stride.
fn fits(layout: &Layout, chroma: Chroma, spots: &[Spot]) -> bool {
    let shapes = shapes(layout, chroma);
    let fits = |(spot, shape): (&Spot, &(usize, usize))| {
        let end = spot.stride.checked_mul(shape.1);
        spot.stride >= shape.0 && end.is_some_and(|end| spot.offset.checked_add(end).is_some())
    };
    spots.len() == shapes.len() && spots.iter().zip(&shapes).all(fits)
}

/// Writes a picture's chroma as UV pairs. Returns false if they do not fit.
fn write_pairs(layout: &Layout, from: &crate::Planes<'_>, uv: &Spot) -> bool {
    let (Some(u), Some(v)) = (rows(layout, from, 1), rows(layout, from, 2)) else {
        return false;
    };
    let mut line = vec![0; 2 * layout.plane(1).0];
    u.zip(v).enumerate().all(|(row, (u, v))| {
        layout.join(u, v, &mut line);
        uv.memory.put(uv.offset + row * uv.stride, &line)
    })
}
