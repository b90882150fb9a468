//! Decides whether a heap has room for buffers under some demands, and at which addresses.

use super::needs::{Heap, MemoryRequest, Placement, Run};
use super::rule::{Rule, Rules, Strictest};

/// Returns length and stride of the buffers under the chosen demands; `None` if no layout meets them.
fn layout(request: &MemoryRequest, all: &Strictest, among: Rules) -> Option<(u64, u64)> {
    let mut len = request.len_bytes;
    let mut stride = 0;
    if request.line_bytes > 0 {
        let align = all.value(Rule::StrideAlign, among, 1);
        stride = request.line_bytes.checked_next_multiple_of(align)?;
        if stride > all.value(Rule::MaxStride, among, u64::MAX) {
            return None;
        }
        len = len.max(stride.checked_mul(request.lines)?);
    }
    len = len.max(all.value(Rule::MinLen, among, 0)).max(1);
    // All are powers of two, so the largest is a multiple of the others.
    let align = all
        .value(Rule::LenAlign, among, 1)
        .max(all.value(Rule::Granule, among, 1))
        .max(request.page_bytes);
    len = len.checked_next_multiple_of(align)?;
    let together = len.checked_mul(u64::from(request.count))?;
    let fits = len <= all.value(Rule::MaxSegment, among, u64::MAX)
        && len <= all.value(Rule::SegmentCount, among, u64::MAX)
        && len - 1 <= all.value(Rule::Boundary, among, u64::MAX)
        && len - 1 <= all.value(Rule::IoBoundary, among, u64::MAX)
        && together <= all.value(Rule::IovaSpace, among, u64::MAX);
    fits.then_some((len, stride))
}

/// Places all buffers in a heap under the demands of the kinds in `among`.
pub(super) fn place(
    request: &MemoryRequest,
    all: &Strictest,
    among: Rules,
    (index, heap): (usize, &Heap<'_>),
) -> Option<Placement> {
    let refuses = (among.has(Rule::Protected) && !heap.protected)
        || (among.has(Rule::Unprotected) && heap.protected)
        || (among.has(Rule::Coherent) && heap.cached)
        || (among.has(Rule::Pages) && !heap.pages);
    if refuses {
        return None;
    }
    let (len, stride) = layout(request, all, among)?;
    let alignment = all.value(Rule::Alignment, among, 1);
    let granule = all.value(Rule::Granule, among, 1);
    let align = alignment.max(granule).max(request.page_bytes);
    let window = Window {
        first: all.value(Rule::First, among, 0),
        last: all.value(Rule::Last, among, u64::MAX),
    };
    let boundary = all.value(Rule::Boundary, among, u64::MAX);
    if !heap.directed && !heap.free.iter().all(|run| window.has(run)) {
        return None;
    }
    let runs = |align, taken, boundary| {
        let block = Block { len, align, taken };
        window.runs(heap.free, block, boundary, request.count)
    };
    let used = match heap.piece {
        None if heap.directed => runs(align, len, boundary),
        None => {
            let given = heap.align.max(request.page_bytes);
            let crosses = len > given && !heap.free.iter().all(|run| is_in_block(run, boundary));
            if align > given || crosses {
                return None;
            }
            runs(given, len, u64::MAX)
        }
        // A single piece is contiguous.
        Some(piece) if len <= piece && align <= piece => runs(piece, piece, boundary),
        Some(piece) => {
            // No piece crosses a boundary: `layout` refuses a buffer that is longer than the distance between
            // boundaries, and a piece is shorter than the buffer here. The piece's length and the distance are powers
            // of two, and pieces are aligned to their length.
            if among.has(Rule::Contiguous) || align > piece {
                return None;
            }
            let each = len.div_ceil(piece);
            let pieces = each.checked_mul(u64::from(request.count))?;
            window.pieces(heap.free, piece, pieces)
        }
    }?;
    let used = heap.directed.then_some(used);
    let (first, last) = used.or_else(|| extent(heap.free))?;
    Some(Placement {
        heap: index,
        len_bytes: len,
        stride,
        first,
        last,
    })
}

/// A physical run for a buffer.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Bytes of the buffer.
    len: u64,
    /// Required alignment of its address in bytes.
    align: u64,
    /// Bytes that the heap spends on the buffer.
    taken: u64,
}

/// The physical addresses that all devices reach.
#[derive(Clone, Copy, Debug)]
struct Window {
    first: u64,
    last: u64,
}

impl Window {
    /// Returns whether the whole run lies in the window.
    fn has(self, run: &Run) -> bool {
        run.first >= self.first && run.first.saturating_add(run.len.saturating_sub(1)) <= self.last
    }

    /// Returns the part of a free run in the window: its first byte, and the byte after its last.
    fn part(self, run: &Run) -> Option<(u64, u64)> {
        let end = run.first.checked_add(run.len)?;
        let first = run.first.max(self.first);
        let end = end.min(self.last.saturating_add(1));
        (first < end).then_some((first, end))
    }

    /// Places `count` runs one after the other, each at the lowest possible address. Runs have equal lengths,
    /// so no other order places more. Returns the lowest and the highest address used.
    fn runs(self, free: &[Run], block: Block, boundary: u64, count: u32) -> Option<(u64, u64)> {
        let (mut left, mut lowest) = (count, None);
        for (first, end) in free.iter().filter_map(|run| self.part(run)) {
            let mut from = first;
            while let Some(at) = next(from, block, boundary) {
                let behind = match at.checked_add(block.taken) {
                    Some(behind) if behind <= end => behind,
                    _ => break,
                };
                let lowest = *lowest.get_or_insert(at);
                left = left.saturating_sub(1);
                if left == 0 {
                    return Some((lowest, behind - 1));
                }
                from = behind;
            }
        }
        None
    }

    /// Takes `count` pieces, the lowest first. Returns the lowest and the highest address used.
    fn pieces(self, free: &[Run], piece: u64, count: u64) -> Option<(u64, u64)> {
        let (mut left, mut lowest) = (count, None);
        for (first, end) in free.iter().filter_map(|run| self.part(run)) {
            let Some(at) = first.checked_next_multiple_of(piece) else {
                continue;
            };
            let here = end.saturating_sub(at) / piece;
            if here == 0 {
                continue;
            }
            let lowest = *lowest.get_or_insert(at);
            if let Some(last) = left.checked_mul(piece).filter(|_| left <= here) {
                return Some((lowest, at + last - 1));
            }
            left -= here;
        }
        None
    }
}

/// Returns the first and the last byte of ascending runs.
fn extent(free: &[Run]) -> Option<(u64, u64)> {
    let (first, last) = (free.first()?, free.last()?);
    let end = last.first.checked_add(last.len)?;
    Some((first.first, end.checked_sub(1)?))
}

/// Returns whether the run lies within one block of `boundary + 1` bytes.
fn is_in_block(run: &Run, boundary: u64) -> bool {
    (run.first ^ run.first.saturating_add(run.len.saturating_sub(1))) & !boundary == 0
}

/// Returns the lowest aligned address from `from` whose `len` bytes cross no multiple of `boundary + 1`.
fn next(from: u64, Block { len, align, .. }: Block, boundary: u64) -> Option<u64> {
    let at = from.checked_next_multiple_of(align)?;
    let last = at.checked_add(len - 1)?;
    if (at ^ last) & !boundary == 0 {
        return Some(at);
    }
    // Later addresses below the next multiple of `boundary + 1` cross it, too, so this tries the multiple itself.
    // `boundary + 1` and `align` are powers of two, so one is a multiple of the other.
    (at | boundary)
        .checked_add(1)?
        .checked_next_multiple_of(align)
}
