//! Memory that is lent to a worker for one picture, and how both sides agree on who has it.
//!
//! Each loan has a number and a word in shared memory. The worker claims the word before its first
//! byte and lets it go after its last; the parent takes a loan back by changing a word that was not
//! claimed, or waits until it is let go. So the parent need not wait for the worker to read its
//! socket, which may be as long as a picture takes to decode.

use crate::job::Chroma;
use crate::shm::Shared;
use crate::slots::{Layout, join, rows};
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
/// Bytes of the input's memory, with these words.
pub(crate) const INPUT_LEN: usize = START + WORDS * size_of::<u32>();

const LENT: u32 = 0;
const WRITING: u32 = 1;
const WRITTEN: u32 = 2;
const BACK: u32 = 3;

/// Longest time that the worker may go on writing one picture after its memory was asked for:
/// many times what that takes on a busy machine.
const PATIENCE: Duration = Duration::from_millis(500);
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
        let found = state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
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

/// The parent: after this the worker writes no byte of the loan. False if it does not let go.
pub(crate) fn take_back(input: &Shared, number: u64, is_gone: impl Fn() -> bool) -> bool {
    let Some(state) = of(input, number) else {
        return false;
    };
    let (from, to) = (word(number, LENT), word(number, BACK));
    let Err(mut found) = state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    else {
        return true;
    };
    let until = Instant::now() + PATIENCE;
    // What is neither was written by a worker that lies: it is not believed.
    while found != word(number, WRITTEN) {
        if is_gone() || Instant::now() >= until {
            return false;
        }
        let look = futex::Timespec::try_from(LOOK).ok();
        let _ = futex::wait(state, futex::Flags::empty(), found, look.as_ref());
        found = state.load(Ordering::Acquire);
    }
    true
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
    let shapes = shapes(layout, chroma);
    let fits = |(spot, shape): (&Spot<'_>, &(usize, usize))| {
        let end = spot.stride.checked_mul(shape.1);
        spot.stride >= shape.0 && end.is_some_and(|end| spot.offset.checked_add(end).is_some())
    };
    if spots.len() != shapes.len() || !spots.iter().zip(&shapes).all(fits) {
        return false;
    }
    let plane = |index: usize, spot: &Spot<'_>| {
        rows(layout, from, index).is_some_and(|rows| {
            let mut rows = rows.enumerate();
            rows.all(|(row, bytes)| spot.memory.put(spot.offset + row * spot.stride, bytes))
        })
    };
    match (chroma, spots) {
        (Chroma::Planar, [y, u, v]) => plane(0, y) && plane(1, u) && plane(2, v),
        (Chroma::Pairs, [y, uv]) => {
            let (Some(u), Some(v)) = (rows(layout, from, 1), rows(layout, from, 2)) else {
                return false;
            };
            let mut line = vec![0; 2 * layout.plane(1).0];
            let mut pairs = u.zip(v).enumerate();
            plane(0, y)
                && pairs.all(|(row, (u, v))| {
                    join(u, v, &mut line);
                    uv.memory.put(uv.offset + row * uv.stride, &line)
                })
        }
        _ => false,
    }
}
