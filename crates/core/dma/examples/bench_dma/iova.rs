//! Times address allocation with few and with many live ranges, and compares it with three other allocators.

use crate::stats::{Dice, Summary, time_with};
use crate::tree::Tree;
use std::hint::black_box;
use std::ops::Range;
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};
use vb3_dma::{Constraint, RangeAllocator};
use vm_allocator::{AddressAllocator, AllocPolicy, RangeInclusive};

/// 48-bit addresses in granules of 4 KiB.
const BITS: u32 = 36;
const LAST: u64 = (1 << BITS) - 1;
const GRANULE_BITS: u32 = 12;

trait Contender {
    fn alloc(&mut self, units: u64) -> u64;
    fn free(&mut self, at: u64, units: u64);
}

fn ours() -> RangeAllocator {
    RangeAllocator::new(Constraint::IovaSpace, 1, 1, LAST).expect("a space")
}

impl Contender for RangeAllocator {
    fn alloc(&mut self, units: u64) -> u64 {
        let align = units.next_power_of_two();
        self.take(units, align, u64::MAX).expect("room")
    }

    fn free(&mut self, at: u64, units: u64) {
        self.give_back(at, units).expect("live");
    }
}

impl Contender for Tree {
    fn alloc(&mut self, units: u64) -> u64 {
        Tree::alloc(self, units, LAST).expect("room")
    }

    fn free(&mut self, at: u64, _: u64) {
        Tree::free(self, at);
    }
}

impl Contender for AddressAllocator {
    fn alloc(&mut self, units: u64) -> u64 {
        let (len, align) = (
            units << GRANULE_BITS,
            units.next_power_of_two() << GRANULE_BITS,
        );
        let found = self.allocate(len, align, AllocPolicy::FirstMatch);
        found.expect("room").start() >> GRANULE_BITS
    }

    fn free(&mut self, at: u64, units: u64) {
        let (first, end) = (at << GRANULE_BITS, (at + units) << GRANULE_BITS);
        let range = RangeInclusive::new(first, end - 1).expect("a range");
        AddressAllocator::free(self, &range).expect("live");
    }
}

impl Contender for range_alloc::RangeAllocator<u64> {
    fn alloc(&mut self, units: u64) -> u64 {
        self.allocate_range(units).expect("room").start
    }

    fn free(&mut self, at: u64, units: u64) {
        self.free_range(Range {
            start: at,
            end: at + units,
        });
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    /// Single granules, freed in any order.
    Uniform,
    /// Mostly single granules, allocated and freed between larger ranges of all sizes.
    Mixed,
}

impl Load {
    fn size(self, dice: &mut Dice) -> u64 {
        match self {
            Self::Uniform => 1,
            Self::Mixed if dice.below(8) > 0 => 1,
            Self::Mixed => 2 + dice.below(255),
        }
    }
}

/// Allocates `live` ranges, then times a free with an allocation. `None` if the first allocations take too
/// long.
fn run(who: &mut dyn Contender, load: Load, live: usize, clock: f64) -> Option<Summary> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut held = Vec::with_capacity(live);
    let begin = Instant::now();
    for _ in 0..live {
        let units = load.size(&mut dice);
        held.push((who.alloc(units), units));
        if begin.elapsed() > Duration::from_secs(4) {
            return None;
        }
    }
    let held = std::cell::RefCell::new(held);
    // Chooses the range to free before the clock starts, because the list of ranges is not part of the
    // allocator.
    let mut prepare = || {
        let which = dice.below(live as u64) as usize;
        (which, held.borrow()[which], load.size(&mut dice))
    };
    let mut step = |(which, (at, old), units): (usize, (u64, u64), u64)| {
        who.free(at, old);
        held.borrow_mut()[which] = (black_box(who.alloc(units)), units);
    };
    // Runs without timing for up to a second, to reach the steady state.
    let second = Duration::from_secs(1);
    time_with(2 * live, second, clock, &mut prepare, &mut step);
    Some(time_with(
        100_000,
        2 * second,
        clock,
        &mut prepare,
        &mut step,
    ))
}

fn cell(found: Option<Summary>, base: Summary) -> String {
    match found {
        Some(s) => format!(
            "{:>6.0} {:>8.0} {:>8.0} {:>6.1}x",
            s.median,
            s.mean,
            s.p99,
            s.mean / base.mean
        ),
        None => format!("{:>6} {:>8} {:>8} {:>7}", "-", "-", "-", "no end"),
    }
}

pub(crate) fn single(clock: f64) {
    println!("IOVA: free + allocate, ns: median, mean, p99; for others, their mean / our mean");
    println!("48-bit space of 4 KiB granules; ours at 1k live = 1.00x");
    println!(
        "{:<8} {:>8} | {:^32} | {:^31} | {:^31} | {:^31}",
        "load", "live", "ours", "rb-tree, cached node", "vm-allocator", "range-alloc"
    );
    for load in [Load::Uniform, Load::Mixed] {
        let mut small = None;
        for live in [1_000, 32_000, 1_000_000] {
            let Some(base) = run(&mut ours(), load, live, clock) else {
                continue;
            };
            let first = *small.get_or_insert(base.median);
            let mut tree = Tree::new(1 << 20);
            let theirs = run(&mut tree, load, live, clock);
            let mut vm =
                AddressAllocator::new(1 << GRANULE_BITS, LAST << GRANULE_BITS).expect("a space");
            let vm = run(&mut vm, load, live, clock);
            let mut list = range_alloc::RangeAllocator::new(1..LAST + 1);
            let list = run(&mut list, load, live, clock);
            println!(
                "{:<8} {:>8} | {:>6.0} {:>8.0} {:>8.0} {:>6.2}x | {} | {} | {}",
                format!("{load:?}").to_lowercase(),
                live,
                base.median,
                base.mean,
                base.p99,
                base.median / first,
                cell(theirs, base),
                cell(vm, base),
                cell(list, base)
            );
        }
    }
    println!();
}

/// Runs `count` threads on a shared allocator. Each thread frees and allocates its own ranges.
pub(crate) fn threads(count: usize, step: impl Fn(usize, &mut Vec<u64>, &mut Dice) + Sync) -> f64 {
    const STEPS: u32 = 200_000;
    let barrier = Barrier::new(count);
    let (step, barrier) = (&step, &barrier);
    let times: Vec<Duration> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..count)
            .map(|thread| {
                scope.spawn(move || {
                    let mut dice = Dice(thread as u64 + 7);
                    let mut held = Vec::new();
                    barrier.wait();
                    let begin = Instant::now();
                    for _ in 0..STEPS {
                        step(thread, &mut held, &mut dice);
                    }
                    begin.elapsed()
                })
            })
            .collect();
        all.into_iter()
            .map(|t| t.join().expect("a thread"))
            .collect()
    });
    let slowest = times.into_iter().max().unwrap_or_default();
    slowest.as_nanos() as f64 / f64::from(STEPS)
}

const PER_THREAD: usize = 4_000;

/// Allocates a range. If the thread holds enough ranges, first frees a random one.
fn turn(
    held: &mut Vec<u64>,
    dice: &mut Dice,
    mut free: impl FnMut(u64),
    alloc: impl FnOnce() -> u64,
) {
    if held.len() < PER_THREAD {
        held.push(alloc());
        return;
    }
    let which = dice.below(PER_THREAD as u64) as usize;
    free(held[which]);
    held[which] = alloc();
}

pub(crate) fn shared() {
    println!("IOVA with 1 and 2 threads, single granules, ns for each thread's free + allocate");
    println!("{:<34} {:>9} {:>9}", "", "1 thread", "2 threads");
    let row = |name: &str, run: &dyn Fn(usize) -> f64| {
        println!("{name:<34} {:>9.0} {:>9.0}", run(1), run(2));
    };
    row("ours, one lock", &|n| {
        let space = Mutex::new(ours());
        let lock = || space.lock().expect("a lock");
        threads(n, |_, held, dice| {
            turn(
                held,
                dice,
                |at| Contender::free(&mut *lock(), at, 1),
                || Contender::alloc(&mut *lock(), 1),
            );
        })
    });
    row("rb-tree, cached node, one lock", &|n| {
        let tree = Mutex::new(Tree::new(1 << 20));
        let lock = || tree.lock().expect("a lock");
        threads(n, |_, held, dice| {
            turn(
                held,
                dice,
                |at| lock().free(at),
                || lock().alloc(1, LAST).expect("room"),
            );
        })
    });
    println!();
}

/// Checks that the model of Linux's allocator is correct, before the benchmark uses it.
pub(crate) fn check_tree() {
    let mut tree = Tree::new(1 << 20);
    let mut dice = Dice(3);
    let mut held: Vec<(u64, u64)> = Vec::new();
    for step in 0..4000 {
        if held.len() < 200 || dice.below(2) == 0 {
            let units = 1 + dice.below(9);
            let at = tree.alloc(units, LAST).expect("room");
            assert!(held.iter().all(|&(o, n)| at + units <= o || o + n <= at));
            held.push((at, units));
        } else {
            let which = dice.below(held.len() as u64) as usize;
            tree.free(held.swap_remove(which).0);
        }
        if step % 64 == 0 {
            tree.check();
        }
    }
}

/// Returns the bytes of bookkeeping for each MiB of `live` allocated single granules.
pub(crate) fn metadata(live: usize) -> f64 {
    let mut space = ours();
    for _ in 0..live {
        Contender::alloc(&mut space, 1);
    }
    space.metadata_bytes() as f64 / ((live as f64) * 4096.0 / f64::from(1 << 20))
}
