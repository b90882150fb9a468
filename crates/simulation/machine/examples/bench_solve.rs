//! Measures `solve` for 16 devices with 6 and with 24 heaps:
//! `cargo run --release -p vb3-machine --example bench_solve`. Prints one line for each case: the median of 101 rounds
//! of 1,000 calls.

use std::hint::black_box;
use std::time::Instant;
use vb3_dma::{Limits, Protected};
use vb3_machine::solve::{Heap, MemoryRequest, Needs, Run, Translation, conflict, solve};

const ROUNDS: usize = 101;
const CALLS: u32 = 1000;

/// Returns 16 devices with different demands, half of them behind an IOMMU.
fn devices(last_mask: u64) -> Vec<Needs> {
    (0u32..16)
        .map(|n| Needs {
            limits: Limits {
                mask: if n == 15 {
                    last_mask
                } else {
                    (1 << (32 + n % 4)) - 1
                },
                max_segment: (8 << 20) << (n % 3),
                boundary: (1 << (28 + n % 3)) - 1,
                max_segments: 1,
            },
            align: 64 << (n % 7),
            iommu: (n % 2 == 0).then_some(Translation {
                granule: 4096 << (n % 3),
                free_bytes: 1 << 30,
            }),
            one_run: true,
            stride_align: 16 << (n % 5),
            ..Needs::default()
        })
        .collect()
}

/// Returns the same devices, but one never syncs, one needs struct pages, and one needs protected memory.
/// Unless `is_let_in`, the last one refuses protected memory, so no placement exists.
fn picky(is_let_in: bool) -> Vec<Needs> {
    let mut devices = devices(u64::from(u32::MAX));
    devices[3].pages = true;
    devices[5].protection = Protected::Only;
    devices[9].coherent = true;
    devices[9].snoops = is_let_in;
    if !is_let_in {
        devices[15].protection = Protected::Never;
    }
    devices
}

fn heap(piece: Option<u64>, free: &[Run]) -> Heap<'_> {
    Heap {
        piece,
        free,
        directed: true,
        align: 4096,
        cached: true,
        pages: true,
        protected: false,
    }
}

fn measure(name: &str, request: &MemoryRequest, devices: &[Needs], heaps: &[Heap<'_>]) {
    let call = || {
        let (request, devices, heaps) = (black_box(request), black_box(devices), black_box(heaps));
        let placed = solve(request, devices, heaps);
        (
            placed,
            placed.is_none().then(|| conflict(request, devices, heaps)),
        )
    };
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                let _ = black_box(call());
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let said = match call() {
        (Some(placed), _) => format!("heap {}, {} bytes", placed.heap, placed.len_bytes),
        (None, refused) => {
            let count = refused.flatten().map_or(0, |refused| refused.count());
            format!("refused for {count} of the demands")
        }
    };
    println!("{name:32} {:8.2} us   ({said})", times[ROUNDS / 2]);
}

fn main() {
    let request = MemoryRequest {
        len_bytes: 0,
        line_bytes: 1920,
        lines: 1620,
        count: 4,
        page_bytes: 4096,
    };
    // The heaps have pages above 4 GiB, small runs, and in the last heap the contiguous area.
    let high = [Run {
        first: 1 << 36,
        len: 1 << 32,
    }];
    let small: Vec<Run> = (0..64)
        .map(|n| Run {
            first: (1 << 30) + n * (4 << 20),
            len: 2 << 20,
        })
        .collect();
    let cma = [Run {
        first: 1 << 20,
        len: 256 << 20,
    }];
    let heaps = [
        heap(Some(4096), &high),
        heap(None, &high),
        heap(None, &small),
        heap(Some(65536), &small),
        heap(None, &small),
        heap(None, &cma),
    ];
    let suits = devices(u64::from(u32::MAX));
    let refused = devices((1 << 20) - 1);
    measure("16 devices, 6 heaps: placed", &request, &suits, &heaps);
    measure("one of them reaches 1 MiB", &request, &refused, &heaps);
    measure("without the contiguous area", &request, &suits, &heaps[..5]);
    // The same memory four times: cached, uncached, without struct pages, and protected.
    let kinds = [
        (true, true, false),
        (false, true, false),
        (false, false, false),
        (true, true, true),
    ];
    let all: Vec<Heap<'_>> = (kinds.iter())
        .flat_map(|&(cached, pages, protected)| {
            heaps.map(|heap| Heap {
                cached,
                pages,
                protected,
                ..heap
            })
        })
        .collect();
    measure("of 24 heaps one is protected", &request, &picky(true), &all);
    measure(
        "and a device has no access to it",
        &request,
        &picky(false),
        &all,
    );
}
