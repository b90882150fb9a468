//! The number of lookups for a CPU mapping, and its equality for all kinds of lookup.

use crate::machine::State;
use crate::{Device, Profile};
use std::sync::atomic::Ordering;
use vb3_dma::{Caching, Layout, PageRequest, PhysAddr, Segment, SegmentKind};

const PAGE: u64 = 4096;
const PAGES: u64 = 512;

/// Makes scattered memory with a different number in each page.
fn scattered(state: &mut State) -> Vec<Segment> {
    let request = PageRequest::<Device> {
        len: PAGES * PAGE,
        granule: PAGE,
        layout: Layout::Scattered,
        max_addr: PhysAddr::new(u64::MAX),
        caching: Caching::Cached,
        device: None,
    };
    let pages = state.alloc_pages(request).unwrap();
    let count = (0..).map_while(|index| state.memory.get(pages.id)?.segments.get(index).copied());
    let segments: Vec<Segment> = count.collect();
    let whole = state.vmap(&segments, Caching::Cached).unwrap();
    for page in 0..PAGES {
        let number = page.to_ne_bytes();
        state.cpu_write(&whole, page * PAGE, &number).unwrap();
    }
    state.vunmap(whole);
    segments
}

fn state() -> State {
    let text = "name = \"test\"\nram = \"64MiB\"\ncoherent = true\ndma_mask = 32\n";
    State::new(&Profile::parse(text).unwrap(), 1).unwrap()
}

/// Maps them; the lookups that took.
fn lookups(state: &mut State, segments: &[Segment]) -> u64 {
    let before = state.memory.looked.load(Ordering::Relaxed);
    let vmap = state.vmap(segments, Caching::Cached).unwrap();
    let looked = state.memory.looked.load(Ordering::Relaxed) - before;
    assert_eq!(
        vmap.len_bytes(),
        segments.iter().map(|segment| segment.len).sum::<u64>()
    );
    for (at, segment) in segments.iter().enumerate() {
        let mut number = [0; 8];
        let there = at as u64 * PAGE;
        state.cpu_read(&vmap, there, &mut number).unwrap();
        let own = state.vmap(&[*segment], Caching::Cached).unwrap();
        let mut same = [0; 8];
        state.cpu_read(&own, 0, &mut same).unwrap();
        assert_eq!(number, same, "page {at}");
        state.vunmap(own);
    }
    state.vunmap(vmap);
    looked
}

#[test]
fn allocation_is_found_by_one_lookup() {
    let mut state = state();
    let mut segments = scattered(&mut state);
    assert!(segments.len() > 8, "scattered: {}", segments.len());
    assert_eq!(lookups(&mut state, &segments), 1);
    // Not the whole of it: its last run shortened, or its first left out.
    segments.last_mut().unwrap().len -= 1;
    assert_eq!(lookups(&mut state, &segments), 1);
    let rest: Vec<Segment> = segments.split_off(1);
    assert!(lookups(&mut state, &rest) <= 2);
    // Runs in another order are found one by one, and are what they are.
    let mut turned = rest.clone();
    turned.last_mut().unwrap().len += 1;
    turned.reverse();
    assert!(lookups(&mut state, &turned) > 8);
}

#[test]
fn vmap_refuses_runs_longer_than_the_object() {
    let mut state = state();
    let segments = scattered(&mut state);
    let longer: Vec<Segment> = segments
        .iter()
        .map(|segment| Segment {
            addr: segment.addr,
            len: segment.len + (1 << 40),
            kind: SegmentKind::Pages,
        })
        .collect();
    assert!(state.vmap(&longer, Caching::Cached).is_err());
    assert!(state.vmap(&longer[..1], Caching::Cached).is_err());
    assert_eq!(state.vmap(&[], Caching::Cached).unwrap().len_bytes(), 0);
}
