//! Planes that are refused, and a plane whose cells are only a part of each line.

use vb3_scaling::{Cells, Resizer};

const CELLS: Cells = Cells {
    bytes: 2,
    stride: 12,
    left: 2,
    width: 4,
    lines: 2,
};

fn resize(from: Cells, to: Cells) -> Option<[u8; 24]> {
    let mut target = [7; 24];
    let done = Resizer::default().resize((&[100; 24], from), (&mut target, to));
    done.map(|()| target)
}

#[test]
fn only_the_planes_cells_are_written() {
    let half = Cells { width: 2, ..CELLS };
    let line = [7, 7, 100, 100, 100, 100, 7, 7, 7, 7, 7, 7];
    assert_eq!(resize(CELLS, half).unwrap(), [line, line].concat()[..]);
}

#[test]
fn cells_outside_the_memory_are_refused() {
    for bad in [
        Cells { lines: 3, ..CELLS },
        Cells { width: 6, ..CELLS },
        Cells { left: 6, ..CELLS },
        Cells {
            width: usize::MAX,
            ..CELLS
        },
        Cells {
            bytes: 3,
            left: 3,
            ..CELLS
        },
        Cells {
            bytes: 4,
            lines: usize::MAX,
            ..CELLS
        },
        Cells {
            bytes: 3,
            width: usize::MAX / 2,
            ..CELLS
        },
        Cells { bytes: 0, ..CELLS },
        Cells { bytes: 6, ..CELLS },
    ] {
        assert_eq!(resize(bad, CELLS), None, "{bad:?}");
        assert_eq!(resize(CELLS, bad), None, "{bad:?}");
        assert_eq!(resize(bad, bad), None, "{bad:?}");
    }
    // With its bytes, this plane fits into the memory as cells of either size.
    let other = Cells {
        bytes: 1,
        lines: 1,
        ..CELLS
    };
    assert_eq!(resize(CELLS, other), None, "cells of two sizes");
}

/// Each byte of a cell is scaled as if it were alone.
#[test]
fn bytes_of_cells_do_not_mix() {
    const SAMPLES: [u8; 240] = {
        let mut samples = [0; 240];
        let mut at = 0;
        while at < samples.len() {
            samples[at] = (at * at / 7 % 256) as u8;
            at += 1;
        }
        samples
    };
    for bytes in 1..=4 {
        let plane = |bytes, width, lines| Cells {
            bytes,
            stride: (width + 2) * bytes,
            left: bytes,
            width,
            lines,
        };
        let mut scaled = [0; 240];
        let cells = (plane(bytes, 8, 6), plane(bytes, 5, 8));
        let mut resizer = Resizer::default();
        resizer
            .resize((&SAMPLES, cells.0), (&mut scaled, cells.1))
            .unwrap();
        for byte in 0..bytes {
            let alone: Vec<u8> = SAMPLES[byte..].iter().step_by(bytes).copied().collect();
            let mut wanted = [0; 56];
            let cells = (plane(1, 8, 6), plane(1, 5, 8));
            resizer
                .resize((&alone, cells.0), (&mut wanted, cells.1))
                .unwrap();
            let found: Vec<u8> = scaled[byte..].iter().step_by(bytes).copied().collect();
            assert_eq!(found[..56], wanted, "byte {byte} of {bytes}");
        }
    }
}
