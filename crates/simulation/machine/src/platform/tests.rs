//! Tests how many lookups a CPU mapping needs, and that every way of lookup gives the same bytes.

use crate::{Device, Machine, Profile};
use std::sync::atomic::Ordering;
use vb3_dma::{Caching, PageRequest, PhysAddr, Platform, Segment, SegmentKind};

const PAGE: u64 = 4096;
const PAGES: u64 = 512;

/// Makes scattered memory with a different number in each page.
fn scattered(machine: &Machine) -> Vec<Segment> {
    let request = PageRequest::<Device> {
        len: PAGES * PAGE,
        granule: PAGE,
        contiguous: false,
        max_addr: PhysAddr::new(u64::MAX),
        caching: Caching::Cached,
        device: None,
    };
    let pages = machine.alloc_pages(request).unwrap();
    let runs = (0..).map_while(|index| machine.pages_segment(&pages, index));
    let segments: Vec<Segment> = runs.collect();
    let whole = machine.vmap(&segments, Caching::Cached).unwrap();
    for page in 0..PAGES {
        let number = page.to_ne_bytes();
        machine.vmap_write(&whole, page * PAGE, &number).unwrap();
    }
    machine.vunmap(whole);
    segments
}

fn machine() -> Machine {
    let text = "name = \"test\"\nram = \"64MiB\"\ncoherent = true\ndma_mask = 32\n";
    Machine::new(&Profile::parse(text).unwrap(), 1).unwrap()
}

/// Maps the segments, and returns the number of lookups.
fn lookups(machine: &Machine, segments: &[Segment]) -> u64 {
    let before = machine
        .state
        .borrow()
        .memory
        .searched
        .load(Ordering::Relaxed);
    let vmap = machine.vmap(segments, Caching::Cached).unwrap();
    let looked = machine
        .state
        .borrow()
        .memory
        .searched
        .load(Ordering::Relaxed)
        - before;
    assert_eq!(
        vmap.len,
        segments.iter().map(|segment| segment.len).sum::<u64>()
    );
    for (at, segment) in segments.iter().enumerate() {
        let mut number = [0; 8];
        let there = at as u64 * PAGE;
        machine.vmap_read(&vmap, there, &mut number).unwrap();
        let own = machine.vmap(&[*segment], Caching::Cached).unwrap();
        let mut same = [0; 8];
        machine.vmap_read(&own, 0, &mut same).unwrap();
        assert_eq!(number, same, "page {at}");
        machine.vunmap(own);
    }
    machine.vunmap(vmap);
    looked
}

#[test]
fn allocation_is_found_by_one_lookup() {
    let machine = machine();
    let mut segments = scattered(&machine);
    assert!(segments.len() > 8, "scattered: {}", segments.len());
    assert_eq!(lookups(&machine, &segments), 1);
    // Maps only a part of the allocation: its last run is shortened, then its first is left out.
    segments.last_mut().unwrap().len -= 1;
    assert_eq!(lookups(&machine, &segments), 1);
    let rest: Vec<Segment> = segments.split_off(1);
    assert!(lookups(&machine, &rest) <= 2);
    // Runs in another order are looked up one by one.
    let mut turned = rest.clone();
    turned.last_mut().unwrap().len += 1;
    turned.reverse();
    assert!(lookups(&machine, &turned) > 8);
}

#[test]
fn vmap_refuses_runs_longer_than_the_object() {
    let machine = machine();
    let segments = scattered(&machine);
    let longer: Vec<Segment> = segments
        .iter()
        .map(|segment| Segment {
            addr: segment.addr,
            len: segment.len + (1 << 40),
            kind: SegmentKind::Pages,
        })
        .collect();
    assert!(machine.vmap(&longer, Caching::Cached).is_err());
    assert!(machine.vmap(&longer[..1], Caching::Cached).is_err());
    assert_eq!(machine.vmap(&[], Caching::Cached).unwrap().len, 0);
}
