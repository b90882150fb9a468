//! Mirrors and quarter turns of planes.

use super::Job;
use super::form::{Plane, PlaneMut};

/// A clockwise rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rotate {
    /// No rotation.
    #[default]
    None,
    /// By 90 degrees: the left edge becomes the top.
    Quarter,
    /// By 180 degrees.
    Half,
    /// By 270 degrees: the right edge becomes the top.
    ThreeQuarters,
}

impl Rotate {
    /// Returns the rotation by 0, 90, 180 or 270 degrees; `None` for others.
    #[must_use]
    pub const fn from_degrees(degrees: i32) -> Option<Self> {
        match degrees {
            0 => Some(Self::None),
            90 => Some(Self::Quarter),
            180 => Some(Self::Half),
            270 => Some(Self::ThreeQuarters),
            _ => None,
        }
    }
}

/// One of the eight orientations of a rectangle. If `transpose` is set, rows become columns first. Then
/// `mirror` reverses each line, and `upside_down` reverses the order of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) transpose: bool,
    pub(super) mirror: bool,
    pub(super) upside_down: bool,
}

impl Turn {
    pub(super) const NONE: Self = Self {
        transpose: false,
        mirror: false,
        upside_down: false,
    };

    /// Combines a job's mirrors, which come first, with its rotation.
    pub(super) const fn of(job: &Job) -> Self {
        let (h, v) = (job.hflip, job.vflip);
        let (transpose, mirror, upside_down) = match job.rotate {
            Rotate::None => (false, h, v),
            Rotate::Half => (false, !h, !v),
            // A mirror changes its axis when rows become columns.
            Rotate::Quarter => (true, !v, h),
            Rotate::ThreeQuarters => (true, v, !h),
        };
        Self {
            transpose,
            mirror,
            upside_down,
        }
    }

    pub(super) const fn is_none(self) -> bool {
        !(self.transpose || self.mirror || self.upside_down)
    }

    /// Converts a size before the turn to the size after it, and back.
    pub(super) const fn swap(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.transpose {
            (height, width)
        } else {
            (width, height)
        }
    }
}

/// Copies a plane and turns it. If the sizes differ, copies the part that both planes have.
pub(super) fn turn(turn: Turn, from: Plane<'_>, to: &mut PlaneMut<'_>) {
    match from.shape.cell {
        1 => turn_cells::<1>(turn, from, to),
        2 => turn_cells::<2>(turn, from, to),
        3 => turn_cells::<3>(turn, from, to),
        4 => turn_cells::<4>(turn, from, to),
        _ => {}
    }
}

fn turn_cells<const N: usize>(turn: Turn, from: Plane<'_>, to: &mut PlaneMut<'_>) {
    if turn.transpose {
        return transpose_cells::<N>(turn, from, to);
    }
    let copy = |from: &[u8], to: &mut [u8]| {
        let (from, _) = from.as_chunks::<N>();
        let (to, _) = to.as_chunks_mut::<N>();
        if turn.mirror {
            for (to, from) in to.iter_mut().zip(from.iter().rev()) {
                *to = *from;
            }
        } else {
            let cells = to.len().min(from.len());
            if let (Some(to), Some(from)) = (to.get_mut(..cells), from.get(..cells)) {
                to.copy_from_slice(from);
            }
        }
    };
    if turn.upside_down {
        for (to, from) in to.lines().zip(from.lines().rev()) {
            copy(from, to);
        }
    } else {
        for (to, from) in to.lines().zip(from.lines()) {
            copy(from, to);
        }
    }
}

/// Number of source lines that become columns at once, so that only this many cache lines are in use.
const BAND: usize = 16;

fn transpose_cells<const N: usize>(turn: Turn, from: Plane<'_>, to: &mut PlaneMut<'_>) {
    let lines = from.shape.lines;
    for first in (0..lines).step_by(BAND) {
        let count = BAND.min(lines - first);
        let mut band: [&[[u8; N]]; BAND] = [&[]; BAND];
        for (slot, line) in band.iter_mut().zip(from.lines().skip(first).take(count)) {
            *slot = line.as_chunks::<N>().0;
        }
        let Some(band) = band.get_mut(..count) else {
            return;
        };
        // The first column of the band in each line of the target.
        let left = if turn.mirror {
            band.reverse();
            lines - first - count
        } else {
            first
        };
        let width = from.shape.width;
        for (y, line) in to.lines().enumerate().take(width) {
            let x = if turn.upside_down { width - 1 - y } else { y };
            let cells = line.as_chunks_mut::<N>().0;
            let cells = cells.get_mut(left..left + count).unwrap_or(&mut []);
            for (cell, column) in cells.iter_mut().zip(band.iter()) {
                if let Some(value) = column.get(x) {
                    *cell = *value;
                }
            }
        }
    }
}
