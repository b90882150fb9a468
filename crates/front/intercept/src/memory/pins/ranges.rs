//! The current addresses of ranges of a program's memory.

use std::collections::HashMap;

use super::fault::Event;

/// A part of a range that was at `was` when the device got it, and is at `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    was: u64,
    now: u64,
    len: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.now.saturating_add(self.len)
    }

    /// Returns the part of the piece whose current address is in `start..end`.
    fn part(&self, start: u64, end: u64) -> Option<Self> {
        let from = self.now.max(start);
        let to = self.end().min(end);
        (from < to).then(|| Self {
            was: self.was + (from - self.now),
            now: from,
            len: to - from,
        })
    }
}

#[derive(Debug)]
struct Range {
    len: u64,
    /// Size in bytes of the pages of its memory.
    page: u64,
    pieces: Vec<Piece>,
}

impl Range {
    /// Returns the starts and ends of the pages that contain the range's pieces.
    fn spans(&self) -> Vec<(u64, u64)> {
        let span = |piece: &Piece| pages(piece.now, piece.len, self.page);
        self.pieces.iter().filter_map(span).collect()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ranges {
    last: u64,
    by_id: HashMap<u64, Range>,
}

/// Returns the pages of `page` bytes that contain `len` bytes from `addr`: their start and end addresses.
pub(crate) fn pages(addr: u64, len: u64, page: u64) -> Option<(u64, u64)> {
    let end = addr
        .checked_add(len.max(1))?
        .checked_next_multiple_of(page)?;
    Some((addr & !(page - 1), end))
}

impl Ranges {
    pub(crate) fn insert(&mut self, addr: u64, len: u64, page: u64) -> u64 {
        self.last += 1;
        let pieces = vec![Piece {
            was: addr,
            now: addr,
            len,
        }];
        self.by_id.insert(self.last, Range { len, page, pieces });
        self.last
    }

    /// Forgets a range. Returns the starts and ends of its pages that no other range uses.
    pub(crate) fn remove(&mut self, id: u64) -> Vec<(u64, u64)> {
        let Some(range) = self.by_id.remove(&id) else {
            return Vec::new();
        };
        let mut free = range.spans();
        for (start, end) in self.by_id.values().flat_map(Range::spans) {
            let around =
                |&(first, last): &(u64, u64)| [(first, start.min(last)), (end.max(first), last)];
            free = free.iter().flat_map(around).collect();
            free.retain(|(first, last)| first < last);
        }
        free
    }

    pub(crate) fn apply(&mut self, event: Event) {
        let (start, end, to) = match event {
            Event::Moved { from, to, len } => (from, from.saturating_add(len), Some(to)),
            Event::Gone { start, end } => (start, end, None),
        };
        let split = |piece: &Piece| {
            let moved = piece.part(start, end).zip(to).map(|(part, to)| Piece {
                now: to.saturating_add(part.now - start),
                ..part
            });
            [piece.part(0, start), moved, piece.part(end, u64::MAX)]
        };
        for range in self.by_id.values_mut() {
            range.pieces = range.pieces.iter().flat_map(split).flatten().collect();
        }
    }

    /// Returns the current address of the byte that was at `was`, or `None` if the byte is unmapped. Also
    /// returns how many bytes from this byte on, at most `most`, have moved together or are all unmapped.
    pub(crate) fn find(&self, id: u64, was: u64, most: u64) -> (Option<u64>, u64) {
        let pieces = self.by_id.get(&id).map_or(&[][..], |range| &range.pieces);
        let mut until = most;
        for piece in pieces {
            if let Some(into) = was.checked_sub(piece.was).filter(|into| *into < piece.len) {
                return (Some(piece.now + into), most.min(piece.len - into));
            }
            if piece.was > was {
                until = until.min(piece.was - was);
            }
        }
        (None, until)
    }

    /// Returns whether some range contains all of these bytes at their original addresses.
    pub(crate) fn has(&self, addr: u64, len: u64) -> bool {
        let has = |piece: &Piece| {
            piece.now == piece.was
                && piece
                    .part(addr, addr.saturating_add(len))
                    .is_some_and(|part| part.len == len)
        };
        self.by_id.values().flat_map(|range| &range.pieces).any(has)
    }

    /// Returns whether the whole range is where it was when the device got it.
    pub(crate) fn is_whole(&self, id: u64) -> bool {
        self.by_id.get(&id).is_some_and(|range| {
            let stayed = range.pieces.iter().filter(|piece| piece.was == piece.now);
            stayed.map(|piece| piece.len).sum::<u64>() == range.len
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 65536;

    fn gone(start: u64, end: u64) -> Event {
        Event::Gone {
            start: start * PAGE,
            end: end * PAGE,
        }
    }

    fn moved(from: u64, to: u64, len: u64) -> Event {
        Event::Moved {
            from: from * PAGE,
            to: to * PAGE,
            len: len * PAGE,
        }
    }

    #[test]
    fn moved_bytes_are_found_until_unmapped() {
        let mut ranges = Ranges::default();
        // From the middle of page 10 to the middle of page 14.
        let (half, len) = (PAGE / 2, 4 * PAGE);
        let addr = 10 * PAGE + half;
        let id = ranges.insert(addr, len, PAGE);
        assert!(ranges.is_whole(id));
        assert!(ranges.has(addr + 1, len - 1) && !ranges.has(addr, len + 1));
        assert_eq!(ranges.find(id, addr, u64::MAX), (Some(addr), len));
        ranges.apply(moved(12, 100, 1));
        ranges.apply(gone(11, 12));
        ranges.apply(gone(12, 13)); // No piece is at this address any more.
        let at = |page: u64| ranges.find(id, page * PAGE, u64::MAX);
        assert_eq!(ranges.find(id, addr, u64::MAX), (Some(addr), half));
        assert_eq!(at(11), (None, PAGE));
        assert_eq!(at(12), (Some(100 * PAGE), PAGE));
        assert_eq!(at(13), (Some(13 * PAGE), PAGE + half));
        assert_eq!(ranges.find(id, 13 * PAGE, 16), (Some(13 * PAGE), 16));
        assert!(!ranges.is_whole(id) && !ranges.has(addr, len) && ranges.has(13 * PAGE, PAGE));
        assert!(!ranges.has(12 * PAGE, 1) && !ranges.has(100 * PAGE, 1));
        assert_eq!(ranges.find(id + 1, addr, 8), (None, 8));
    }

    #[test]
    fn range_moved_back_is_whole_unmapped_one_is_gone() {
        let mut ranges = Ranges::default();
        let id = ranges.insert(10 * PAGE, 2 * PAGE, PAGE);
        ranges.apply(moved(10, 50, 2));
        assert!(!ranges.is_whole(id));
        ranges.apply(moved(50, 10, 2));
        assert!(ranges.is_whole(id));
        ranges.apply(gone(0, 1000));
        assert_eq!(ranges.find(id, 10 * PAGE, PAGE), (None, PAGE));
    }

    #[test]
    fn pages_are_released_with_their_last_range() {
        let mut ranges = Ranges::default();
        let page = PAGE / 16;
        let first = ranges.insert(10 * PAGE, 3 * PAGE, page);
        let second = ranges.insert(11 * PAGE + 5, 10, page);
        let (start, end) = (11 * PAGE, 11 * PAGE + page);
        assert_eq!(ranges.remove(first), [(10 * PAGE, start), (end, 13 * PAGE)]);
        assert_eq!(ranges.remove(second), [(start, end)]);
        assert_eq!(ranges.remove(second), []);
    }

    #[test]
    fn huge_pages_are_released_whole() {
        let huge = 32 * PAGE;
        let mut ranges = Ranges::default();
        let first = ranges.insert(huge + 5, huge, huge);
        let second = ranges.insert(3 * huge - 1, 1, huge);
        assert_eq!(pages(huge + 5, huge, huge), Some((huge, 3 * huge)));
        assert_eq!(ranges.remove(first), [(huge, 2 * huge)]);
        assert_eq!(ranges.remove(second), [(2 * huge, 3 * huge)]);
    }
}
