//! Times mapping, unmapping, flushing and bouncing, and measures the memory that they need.

use crate::iova;
use crate::platform::{BOUNCED, Bench, Devices, PAGE, RAM, TRANSLATED, Table};
use crate::stats::{Summary, time};
use std::hint::black_box;
use std::time::Duration;
use vb3_dma::{Attrs, Direction, DmaOps as _, FlushPolicy, Mapper, PhysAddr, Segment};
use vb3_dma_test::fake::Mutexes;

const LIMIT: Duration = Duration::from_millis(1500);
const K: u64 = 1 << 10;
const M: u64 = 1 << 20;

fn pieces(len: u64, piece: u64) -> Vec<Segment> {
    // Scattered pieces have gaps; each begins at a multiple of its length.
    let at = |n| PhysAddr::new((1 << 40) + 2 * n * piece);
    (0..len / piece)
        .map(|n| Segment::pages(at(n), piece))
        .collect()
}

fn mapped(list: &[Segment], page_sizes: u64, clock: f64) -> Summary {
    let mapper = Mapper::new(Bench::new(page_sizes)).expect("a mapper");
    let table = mapper.lend(list).expect("a table");
    time(20_000, LIMIT, clock, || {
        let mapping = mapper.map(TRANSLATED, &table, Direction::Bidirectional, Attrs::empty());
        mapper.unmap(black_box(mapping.expect("mapped")), Attrs::empty());
    })
}

/// Times writing and clearing the same page-table entries without the layer: no addresses to choose, no
/// records to keep.
fn entries(list: &[Segment], page_sizes: u64, clock: f64) -> Summary {
    let mut table = Table::new(page_sizes);
    let base = 1 << 40;
    let total: u64 = list.iter().map(|s| s.len).sum();
    time(20_000, LIMIT, clock, || {
        let mut at = base;
        for s in list {
            table.map(at, s.addr, s.len).expect("mapped");
            at += s.len;
        }
        table.unmap(base, total);
        table.flush();
    })
}

/// Times one store for each page to set its entry, and one to clear the entry.
fn stores(list: &[Segment], clock: f64) -> Summary {
    let pages: usize = list.iter().map(|s| (s.len / PAGE) as usize).sum();
    let mut words = vec![0u64; pages];
    time(20_000, LIMIT, clock, || {
        let mut next = words.iter_mut();
        for s in list {
            for (word, n) in next.by_ref().take((s.len / PAGE) as usize).zip(0..) {
                *word = (s.addr.get() + n * PAGE) | 3;
            }
        }
        black_box(&mut words);
        words.iter_mut().for_each(|word| *word = 0);
        black_box(&mut words);
    })
}

pub(crate) fn mapping(clock: f64) {
    println!("map + unmap, strict, ns a page (median of calls; p99 of calls)");
    println!(
        "{:<30} {:>9} {:>9} {:>14} {:>9} {:>14} {:>9}",
        "", "ours", "p99", "entries alone", "ratio", "plain stores", "ratio"
    );
    let pages_only = PAGE;
    let blocks = PAGE | (2 * M);
    for (name, len, piece, sizes) in [
        ("4 KiB", 4 * K, 4 * K, pages_only),
        ("64 KiB contiguous", 64 * K, 64 * K, pages_only),
        ("64 KiB scattered", 64 * K, 4 * K, pages_only),
        ("8 MiB contiguous", 8 * M, 8 * M, pages_only),
        ("8 MiB scattered", 8 * M, 4 * K, pages_only),
        ("8 MiB contiguous, 2 MiB blocks", 8 * M, 8 * M, blocks),
    ] {
        let list = pieces(len, piece);
        let pages = (len / PAGE) as f64;
        let ours = mapped(&list, sizes, clock);
        let entries = entries(&list, sizes, clock);
        let stores = stores(&list, clock);
        println!(
            "{name:<30} {:>9.2} {:>9.2} {:>14.2} {:>8.2}x {:>14.2} {:>8.2}x",
            ours.median / pages,
            ours.p99 / pages,
            entries.median / pages,
            ours.median / entries.median,
            stores.median / pages,
            ours.median / stores.median.max(1.0),
        );
    }
    println!();
}

/// Measures how a second thread slows the first, with one device each and with a shared one.
pub(crate) fn parallel() {
    println!("map + unmap of 64 KiB in pages with 1 and 2 threads, ns for each thread's pair");
    println!("{:<34} {:>9} {:>9}", "", "1 thread", "2 threads");
    let list = pieces(64 * K, 4 * K);
    for (name, is_shared) in [("two devices", false), ("one device", true)] {
        let run = |count: usize| {
            let dma = Mapper::<_, Mutexes>::with_locks(Devices::new(count), count);
            let dma = dma.expect("a mapper");
            let table = dma.lend(&list).expect("a table");
            let found = iova::threads(count, |thread, _, _| {
                let dev = if is_shared { 0 } else { thread as u32 };
                let both = Direction::Bidirectional;
                let mapping = dma.map(dev, &table, both, Attrs::empty());
                dma.unmap(black_box(mapping.expect("mapped")), Attrs::empty());
            });
            dma.free(table);
            found
        };
        println!("{name:<34} {:>9.0} {:>9.0}", run(1), run(2));
    }
    println!();
}

pub(crate) fn flushing(clock: f64) {
    println!("strict and lazy: map + unmap of 64 KiB, ns (median, p99), flushes in 1000 unmaps");
    for wait_ns in [0, 500, 2000] {
        for policy in [FlushPolicy::Strict, FlushPolicy::Lazy] {
            let mut mapper = Mapper::new(Bench::new(PAGE)).expect("a mapper");
            mapper.platform_mut().flush_wait = Duration::from_nanos(wait_ns);
            mapper
                .set_flush_policy(TRANSLATED, policy)
                .expect("a queue");
            let table = mapper.lend(&pieces(64 * K, 4 * K));
            let table = table.expect("a table");
            let mut unmaps = 0u64;
            let found = time(50_000, LIMIT, clock, || {
                let both = Direction::Bidirectional;
                let mapping = mapper.map(TRANSLATED, &table, both, Attrs::empty());
                mapper.unmap(mapping.expect("mapped"), Attrs::empty());
                unmaps += 1;
            });
            println!(
                "  a flush takes {wait_ns:>4} ns, {:<6} {:>9.0} {:>9.0} {:>9.1}",
                format!("{policy:?}").to_lowercase(),
                found.median,
                found.p99,
                mapper.platform().flushes.get() as f64 * 1000.0 / unmaps as f64,
            );
        }
    }
    println!();
}

pub(crate) fn bouncing(clock: f64) {
    println!("bouncing: map + unmap against a plain copy of the same bytes, ns (median, p99)");
    for (direction, copies) in [(Direction::ToDevice, 1), (Direction::Bidirectional, 2)] {
        for len in [4 * K, 64 * K, M, 8 * M] {
            let memory = Segment::pages(PhysAddr::new(RAM), len);
            let mapper = Mapper::new(Bench::new(PAGE).with_memory()).expect("a mapper");
            let table = mapper.lend(&[memory]).expect("a table");
            let ours = time(20_000, LIMIT, clock, || {
                let mapping = mapper.map(BOUNCED, &table, direction, Attrs::empty());
                mapper.unmap(mapping.expect("mapped"), Attrs::empty());
            });
            // Uses the slots that the pool would allocate, so that both copies touch the same bytes.
            let mut bytes = mapper.platform().bytes.borrow_mut();
            let half = bytes.len() / 2;
            let len_here = len as usize;
            let plain = time(20_000, LIMIT, clock, || {
                for copy in 0..copies {
                    let (from, to) = if copy == 0 {
                        (half, half - len_here)
                    } else {
                        (half - len_here, half)
                    };
                    bytes.copy_within(from..from + len_here, to);
                    black_box(&mut bytes);
                }
            });
            println!(
                "  {:>5} KiB, {copies} copies: {:>10.0} {:>10.0}, plain {:>10.0}: {:>5.2}x",
                len / K,
                ours.median,
                ours.p99,
                plain.median,
                ours.median / plain.median
            );
        }
    }
    println!();
}

pub(crate) fn metadata() {
    println!("bytes of bookkeeping for a mapped MiB");
    println!(
        "  addresses, in single granules: {:>10.1} with 1k live",
        iova::metadata(1000)
    );
    println!(
        "  addresses, in single granules: {:>10.1} with 1M live",
        iova::metadata(1_000_000)
    );
    for (name, piece) in [("scattered", 4 * K), ("contiguous", 8 * M)] {
        let list = pieces(8 * M, piece);
        let mapper = Mapper::new(Bench::new(PAGE)).expect("a mapper");
        let table = mapper.lend(&list).expect("a table");
        let both = Direction::Bidirectional;
        let mapping = mapper.map(TRANSLATED, &table, both, Attrs::empty());
        let mapping = mapping.expect("mapped");
        // The mapping stores the device's segments, and the physical runs for cache maintenance.
        let kept = size_of_val(mapping.segments()) + size_of_val(table.segments());
        let tables = mapper.platform().table.borrow().table.tables() * PAGE;
        println!(
            "  8 MiB {name:<11} mapping: {:>8.1}; page tables (of the host): {:>8.1}",
            kept as f64 / 8.0,
            tables as f64 / 8.0
        );
        mapper.unmap(mapping, Attrs::empty());
    }
    println!();
}
