//! Planes that are refused, and one that is scaled inside wider lines.

use vb3_resize::{Cells, Resizer};

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
