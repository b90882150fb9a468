//! Converts free memory to runs for `vb3_dmabuf::solve`.

use vb3_dma::Segment;
use vb3_dmabuf::solve::Run;

/// Converts free segments of at least `least` bytes to runs, which end at the address `last` at most.
pub(super) fn runs(free: &[Segment], last: u64, least: u64) -> Vec<Run> {
    let runs = free.iter().filter_map(|segment| {
        let first = segment.addr.get();
        let end = first
            .saturating_add(segment.len)
            .min(last.saturating_add(1));
        (first < end && segment.len >= least).then(|| Run {
            first,
            len: end - first,
        })
    });
    runs.collect()
}
