//! Finds memory that all devices attached to a buffer can use.
//!
//! [`solve`] takes the demands of each device and the free memory of each heap. It returns the heap, the
//! length and the stride that suit all devices. If there is no such placement, [`conflict`] returns the
//! fewest demands that exclude each other, and for each a value that would suffice.
//!
//! ```
//! use vb3_dma::Limits;
//! use vb3_machine::solve::{Heap, Needs, MemoryRequest, Rule, Run, conflict, solve};
//!
//! // A camera behind an IOMMU accepts any memory; a converter reaches 4 GiB and needs one run.
//! let camera = Needs::default();
//! let mut convert = Needs { one_run: true, ..Needs::default() };
//! convert.limits = Limits { mask: 0xffff_ffff, ..convert.limits };
//! convert.stride_align = 64;
//!
//! let heap = |piece, free| Heap {
//!     piece,
//!     free,
//!     directed: false,
//!     align: 4096,
//!     cached: true,
//!     pages: true,
//!     protected: false,
//! };
//! let high = [Run { first: 4 << 30, len: 1 << 30 }];
//! let cma = [Run { first: 1 << 20, len: 64 << 20 }];
//! let heaps = [heap(Some(4096), &high), heap(None, &cma)];
//!
//! let request = MemoryRequest {
//!     len_bytes: 0,
//!     line_bytes: 1900,
//!     lines: 1620,
//!     count: 4,
//!     page_bytes: 4096,
//! };
//! let placed = solve(&request, &[camera, convert], &heaps).expect("the second heap");
//! assert_eq!((placed.heap, placed.stride), (1, 1920));
//!
//! // On the first heap alone, either of the converter's demands is enough to refuse it.
//! let mut refused = conflict(&request, &[camera, convert], &heaps[..1]).expect("out of reach");
//! let blamed = refused.next().expect("one demand");
//! assert_eq!((blamed.device, blamed.rule), (1, Rule::Last));
//! assert!(refused.next().is_none());
//! ```
//!
//! # Cost
//!
//! Nothing is allocated. The time of a placement is proportional to devices, heaps and free runs. A refusal
//! tries sets of kinds of demand, smallest first, until a set excludes every heap.
//!
//! # Guarantees
//!
//! A placement holds for any pieces that the heap returns: a device with a limited number of segments gets no
//! more bytes than its segments hold in the worst layout. [`solve`] reserves nothing: other callers may take the free
//! memory before the host allocates the placement.

mod conflict;
mod needs;
mod place;
mod rule;
#[cfg(test)]
mod tests;

pub use conflict::{Blamed, conflict};
pub use needs::{Heap, MemoryRequest, Needs, Placement, Run, Translation};
pub use rule::Rule;

/// Finds a heap, a length and a stride that suit all devices: the first such heap, and its lowest addresses.
/// `None` if the devices' demands exclude each other; [`conflict`] returns these demands.
///
/// The caller must first refuse devices that are not [valid](Needs::is_valid), a page size that is not a
/// power of two, and a count of zero; for these, the result may be `None`.
#[must_use]
pub fn solve(request: &MemoryRequest, devices: &[Needs], heaps: &[Heap<'_>]) -> Option<Placement> {
    let all = rule::Strictest::of(devices, request, None);
    conflict::first_fit(request, &all, all.rules(), heaps)
}
