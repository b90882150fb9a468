//! Memory that is lent to a worker for one picture, and how both sides agree on who has it.
//!
//! Each loan has a number and a word in shared memory. The worker claims the word before its first
//! byte and lets it go after its last; the parent takes a loan back by changing a word that was not
//! claimed, or waits until it is let go. So the parent need not wait for the worker to read its
//! socket, which may be as long as a picture takes to decode.
//!
//! A library that decodes straight into loans has several at a time, and reads those that are
//! references for others long after they were let go. While it has any, a word says so
//! ([`set_holding`]); the parent then asks for all of them ([`demand`]), and waits until the worker
//! has given its library copies in their place ([`comply`]).

use crate::job::Chroma;
use crate::shm::Shared;
use crate::slots::{Layout, rows};
use crate::{MAX_IN_FLIGHT, MAX_INPUT};
use rustix::thread::futex;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Most loans at a time.
pub const MAX_LOANS: usize = 32;
/// Of a loan without memory, in place of how the picture lies: it comes in a slot.
pub(crate) const BY_SLOT: u64 = u64::MAX;
/// Words for them: more, so that a number's word is not soon another's.
const WORDS: usize = 4 * MAX_LOANS;
/// Where they lie in the input's memory.
const START: usize = MAX_INPUT * MAX_IN_FLIGHT;
/// Whether the worker's library has memory that was lent; how often all was asked for; how often it
/// was given.
const HOLDING: usize = START + WORDS * size_of::<u32>();
const DEMANDED: usize = HOLDING + size_of::<u32>();
const GIVEN: usize = DEMANDED + size_of::<u32>();
/// Bytes of the input's memory, with these words.
pub(crate) const INPUT_LEN: usize = GIVEN + size_of::<u32>();

const LENT: u32 = 0;
const WRITING: u32 = 1;
const WRITTEN: u32 = 2;
const BACK: u32 = 3;

/// Longest time that the worker may go on writing one picture after its memory was asked for:
/// many times what that takes on a busy machine.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same where the library must finish what it was given before: a piece of a stream.
const LIBRARYS_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether the worker is still there.
const LOOK: Duration = Duration::from_millis(10);

/// A loan's word while it is in a state. Numbers come again after 2^30 loans.
const fn word(number: u64, state: u32) -> u32 {
    // CAST: the lower bits are meant.
    (number as u32) << 2 | state
}

fn of(input: &Shared, number: u64) -> Option<&AtomicU32> {
    let at = usize::try_from(number % WORDS as u64).ok()?;
    input.word(START + at * size_of::<u32>())
}

/// The parent, before it tells of a loan.
pub(crate) fn lend(input: &Shared, number: u64) {
    if let Some(state) = of(input, number) {
        state.store(word(number, LENT), Ordering::Release);
    }
}

/// Whether a loan that was not claimed still can be.
pub(crate) fn is_lent(input: &Shared, number: u64) -> bool {
    let found = of(input, number).map(|state| state.load(Ordering::Acquire));
    found == Some(word(number, LENT))
}

/// The worker, before the first byte. False if the loan was taken back.
pub(crate) fn claim(input: &Shared, number: u64) -> bool {
    let (from, to) = (word(number, LENT), word(number, WRITING));
    of(input, number).is_some_and(|state| {
        let found = state.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed);
        found.is_ok()
    })
}

/// The worker, after the last byte.
pub(crate) fn let_go(input: &Shared, number: u64) {
    if let Some(state) = of(input, number) {
        state.store(word(number, WRITTEN), Ordering::Release);
        // Nobody waits, mostly.
        let _ = futex::wake(state, futex::Flags::empty(), 1);
    }
}

/// The worker, after [`claim`], where nothing came of it: it may be claimed again. False if it was
/// taken back.
pub(crate) fn unclaim(input: &Shared, number: u64) -> bool {
    let (from, to) = (word(number, WRITING), word(number, LENT));
    of(input, number).is_some_and(|state| {
        let found = state.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed);
        found.is_ok()
    })
}

/// The parent: after this the worker claims the loan no more. True if it had not.
pub(crate) fn revoke(input: &Shared, number: u64) -> bool {
    let (from, to) = (word(number, LENT), word(number, BACK));
    of(input, number).is_some_and(|state| {
        let found = state.compare_exchange(from, to, Ordering::SeqCst, Ordering::Acquire);
        found.is_ok()
    })
}

/// The parent: after this the worker writes no byte of the loan, unless its library has it. False if
/// it does not let go.
pub(crate) fn take_back(input: &Shared, number: u64, is_gone: impl Fn() -> bool) -> bool {
    let Some(state) = of(input, number) else {
        return false;
    };
    // What is neither was written by a worker that lies: it is not believed.
    revoke(input, number)
        || wait(state, PATIENCE, is_gone, |found| {
            found == word(number, WRITTEN)
        })
}

/// Waits until a word is as it should be; false if that takes too long.
fn wait(
    word: &AtomicU32,
    patience: Duration,
    is_gone: impl Fn() -> bool,
    is_good: impl Fn(u32) -> bool,
) -> bool {
    let until = Instant::now() + patience;
    loop {
        let found = word.load(Ordering::SeqCst);
        if is_good(found) {
            return true;
        }
        if is_gone() || Instant::now() >= until {
            return false;
        }
        let look = futex::Timespec::try_from(LOOK).ok();
        let _ = futex::wait(word, futex::Flags::empty(), found, look.as_ref());
    }
}

/// The worker, before its library gets a loan's memory, and once it has none.
pub(crate) fn set_holding(input: &Shared, is_holding: bool) {
    if let Some(word) = input.word(HOLDING) {
        word.store(is_holding.into(), Ordering::SeqCst);
    }
}

/// The parent, after all loans were revoked: whether the worker's library may still have memory.
pub(crate) fn is_holding(input: &Shared) -> bool {
    let found = input.word(HOLDING);
    found.is_some_and(|word| word.load(Ordering::SeqCst) != 0)
}

/// The parent asks for all memory; gives what to wait for.
pub(crate) fn demand(input: &Shared) -> u32 {
    let word = input.word(DEMANDED);
    word.map_or(0, |word| {
        word.fetch_add(1, Ordering::SeqCst).wrapping_add(1)
    })
}

/// The parent waits for the answer to [`demand`]: after it the worker's library neither writes to
/// memory that was lent before nor reads it. False if none comes.
pub(crate) fn await_given(input: &Shared, demand: u32, is_gone: impl Fn() -> bool) -> bool {
    let word = input.word(GIVEN);
    word.is_some_and(|word| wait(word, LIBRARYS_PATIENCE, is_gone, |found| found == demand))
}

/// The worker: a demand that it has not complied with.
pub(crate) fn demanded(input: &Shared) -> Option<u32> {
    let demand = input.word(DEMANDED)?.load(Ordering::SeqCst);
    let given = input.word(GIVEN)?.load(Ordering::Relaxed);
    (demand != given).then_some(demand)
}

/// The worker has given all back.
pub(crate) fn comply(input: &Shared, demand: u32) {
    if let Some(word) = input.word(GIVEN) {
        word.store(demand, Ordering::SeqCst);
        let _ = futex::wake(word, futex::Flags::empty(), 1);
    }
}

/// A plane of samples in memory that is lent.
#[derive(Clone, Copy, Debug)]
pub struct LentPlane<'a> {
    /// The memory: of fixed size, and nothing else in it.
    pub memory: BorrowedFd<'a>,
    /// Names this memory and no other, also after it is gone.
    pub number: u64,
    /// Bytes of the memory.
    pub len: u64,
    /// The first sample, in bytes.
    pub offset: u64,
    /// Bytes from one row to the next.
    pub stride: u64,
}

/// Memory for one picture.
#[derive(Clone, Copy, Debug)]
pub struct Lent<'a> {
    /// How chroma lies.
    pub chroma: Chroma,
    /// Y, U and V, or Y and pairs of U and V.
    pub planes: &'a [LentPlane<'a>],
}

/// Bytes and number of the rows of the planes of a picture with pairs or without.
pub(crate) fn shapes(layout: &Layout, chroma: Chroma) -> Vec<(usize, usize)> {
    let (columns, lines) = layout.plane(1);
    match chroma {
        Chroma::Planar => vec![layout.plane(0), (columns, lines), (columns, lines)],
        Chroma::Pairs => vec![layout.plane(0), (2 * columns, lines)],
    }
}

/// Bytes that rows use, padding between them included.
pub(crate) fn extent((columns, lines): (usize, usize), stride: u64) -> Option<u64> {
    let before = u64::try_from(lines.checked_sub(1)?).ok()?;
    let last = u64::try_from(columns).ok()?;
    (stride >= last).then_some(before.checked_mul(stride)?.checked_add(last)?)
}

/// Where a plane goes, in memory that the worker mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) memory: &'a Shared,
    pub(crate) offset: usize,
    pub(crate) stride: usize,
}

/// Writes a picture, row by row; false where it does not fit.
pub(crate) fn write(
    layout: &Layout,
    from: &crate::Planes<'_>,
    chroma: Chroma,
    spots: &[Spot<'_>],
) -> bool {
    if !fits(layout, chroma, spots) {
        return false;
    }
    let plane = |index: usize, spot: &Spot<'_>| {
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

/// Whether a picture's planes are as many as the spots, and not wider.
pub(crate) fn fits(layout: &Layout, chroma: Chroma, spots: &[Spot<'_>]) -> bool {
    let shapes = shapes(layout, chroma);
    let fits = |(spot, shape): (&Spot<'_>, &(usize, usize))| {
        let end = spot.stride.checked_mul(shape.1);
        spot.stride >= shape.0 && end.is_some_and(|end| spot.offset.checked_add(end).is_some())
    };
    spots.len() == shapes.len() && spots.iter().zip(&shapes).all(fits)
}

/// Writes a picture's chroma as pairs; false where it does not fit.
pub(crate) fn write_pairs(layout: &Layout, from: &crate::Planes<'_>, uv: &Spot<'_>) -> bool {
    let (Some(u), Some(v)) = (rows(layout, from, 1), rows(layout, from, 2)) else {
        return false;
    };
    let mut line = vec![0; 2 * layout.plane(1).0];
    u.zip(v).enumerate().all(|(row, (u, v))| {
        layout.join(u, v, &mut line);
        uv.memory.put(uv.offset + row * uv.stride, &line)
    })
}
