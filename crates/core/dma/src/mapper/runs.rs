//! Lists of physical runs. None of these functions panics or aborts if memory runs out.

use super::heap_exhausted;
use crate::{Error, Locks, Segment};
use alloc::boxed::Box;
use alloc::vec::Vec;
use smallvec::SmallVec;

/// A list that needs no heap for its first item, because most mapped memory is one run.
pub(super) type List<T> = SmallVec<[T; 1]>;

/// Makes sure that `more` items can be appended; returns an error if memory runs out.
#[inline]
pub(super) fn reserve<T>(list: &mut List<T>, more: usize) -> Result<(), Error> {
    list.try_reserve(more)
        .map_err(|_| heap_exhausted(size_of::<T>().saturating_mul(more)))
}

/// Appends an item; returns an error if memory runs out.
#[inline]
pub(super) fn append<T>(list: &mut List<T>, item: T) -> Result<(), Error> {
    reserve(list, 1)?;
    list.push(item);
    Ok(())
}

/// Returns an empty list with room for `len` items; an error if memory runs out.
pub(super) fn room<T>(len: usize) -> Result<Vec<T>, Error> {
    let mut list = Vec::new();
    list.try_reserve_exact(len)
        .map_err(|_| heap_exhausted(size_of::<T>().saturating_mul(len)))?;
    Ok(list)
}

/// Maximum number of attempts of [`with_room`].
const MAX_ROUNDS: usize = 16;

/// Calls `take` with the value behind a lock. `take` returns `None` if the value's list, which `list` names, is full;
/// then this makes the list longer, and calls `take` again. The memory for a longer list is allocated while the lock is
/// free, so other threads may fill the longer list before `take` is called. Therefore the number of attempts is limited.
///
/// Fails with `NoMemory` if there is no memory for a longer list, and with `Busy` after the last attempt.
pub(super) fn with_room<L: Locks, S, T, R>(
    lock: &L::Lock<S>,
    list: impl Fn(&mut S) -> &mut Vec<T>,
    take: impl Fn(&mut S) -> Option<R>,
) -> Result<R, Error> {
    let mut longer = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let taken = L::with(lock, |state| {
            let items = list(state);
            if longer.capacity() > items.capacity() {
                longer.append(items);
                core::mem::swap(items, &mut longer);
            }
            take(state).ok_or_else(|| list(state).len())
        });
        match taken {
            Ok(taken) => return Ok(taken),
            Err(len) => longer = room(len.saturating_mul(2).max(8))?,
        }
    }
    Err(Error::Busy)
}

/// Makes a value on the heap; returns an error if memory runs out, where `Box::new` would abort. The box
/// holds an array because only vectors allocate fallibly in stable Rust.
#[inline]
pub(super) fn boxed<T>(make: impl FnOnce() -> T) -> Result<Box<[T; 1]>, Error> {
    let full = || heap_exhausted(size_of::<T>());
    let mut list = Vec::new();
    list.try_reserve_exact(1).map_err(|_| full())?;
    list.push(make());
    Box::try_from(list).map_err(|_| full())
}

/// Appends a physical run, or joins it to the last run if both are adjacent.
pub(super) fn push_segment(list: &mut Vec<Segment>, segment: Segment) -> Result<(), Error> {
    if !join_segment(list.last_mut(), segment)? {
        list.try_reserve(1)
            .map_err(|_| heap_exhausted(size_of::<Segment>()))?;
        list.push(segment);
    }
    Ok(())
}

/// Extends `last` by `segment` if that is of the same kind and begins where `last` ends. Returns whether it
/// did.
pub(super) fn join_segment(last: Option<&mut Segment>, segment: Segment) -> Result<bool, Error> {
    if segment.len == 0 || segment.addr.checked_add(segment.len - 1).is_none() {
        return Err(Error::Invalid);
    }
    let touching = last.filter(|last| last.addr.checked_add(last.len) == Some(segment.addr));
    match touching {
        Some(last) if last.kind == segment.kind => {
            last.len = last.len.checked_add(segment.len).ok_or(Error::Invalid)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

pub(super) fn copy_segments(from: &[Segment]) -> Result<Vec<Segment>, Error> {
    let mut list = room(from.len())?;
    list.extend_from_slice(from);
    Ok(list)
}

pub(super) fn total_len(segments: &[Segment]) -> Result<u64, Error> {
    segments
        .iter()
        .try_fold(0u64, |sum, segment| sum.checked_add(segment.len))
        .ok_or(Error::Invalid)
}

/// Appends the physical runs that `next` returns for the indexes from 0 on, up to the first `None`. Fails with
/// `Invalid` for more than `most` bytes, so that the call ends even if a host's runs do not.
pub(super) fn collect(
    mut list: Vec<Segment>,
    most: u64,
    next: impl Fn(usize) -> Option<Segment>,
) -> Result<Vec<Segment>, Error> {
    let (mut index, mut left) = (0usize, most);
    while let Some(segment) = next(index) {
        left = left.checked_sub(segment.len).ok_or(Error::Invalid)?;
        push_segment(&mut list, segment)?;
        index = index.checked_add(1).ok_or(Error::Invalid)?;
    }
    Ok(list)
}
