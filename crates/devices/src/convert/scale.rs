//! Planes in other measures.

use super::error::{ConvertError, Step};
use super::form::{Buffer, Picture, PictureMut, Plane, PlaneMut, Shape};
use super::pack;
use super::turn::{self, Turn};
use pic_scale::{
    BufferStore, ImageSize, ImageStore, ImageStoreMut, Resampling, ResamplingFunction,
};
use std::borrow::Cow;
use std::sync::Arc;

/// Tables of weights that are kept: those of two jobs of three planes, and some.
const MAX_PLANS: usize = 8;

/// Weights for one pair of measures, by bytes of a cell.
enum Weights {
    One(Arc<Resampling<u8, 1>>),
    Two(Arc<Resampling<u8, 2>>),
    Three(Arc<Resampling<u8, 3>>),
    Four(Arc<Resampling<u8, 4>>),
}

/// Moves planes.
#[derive(Default)]
pub(super) struct Scaler {
    /// Least recently made first.
    plans: Vec<(Shape, Shape, Weights)>,
    /// A plane before it is turned.
    turned: Buffer,
    /// A few lines for the library.
    lines: Buffer,
}

impl std::fmt::Debug for Scaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scaler")
            .field("plans", &self.plans.len())
            .finish_non_exhaustive()
    }
}

/// Which planes of a picture to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Luma,
    Chroma,
}

impl Scaler {
    /// Scales and turns planes of a picture into those of one of the same form, but for the
    /// measures.
    pub(super) fn move_planes(
        &mut self,
        turn: Turn,
        from: &Picture<'_>,
        to: &mut PictureMut<'_>,
        which: Which,
    ) -> Result<(), ConvertError> {
        let range = match which {
            Which::All => 0..3,
            Which::Luma => 0..1,
            Which::Chroma => 1..3,
        };
        let planes = from.planes.iter().zip(&mut to.planes);
        for (from, to) in planes.skip(range.start).take(range.len()) {
            if to.shape.lines == 0 {
                break;
            }
            self.move_plane(turn, *from, to)?;
        }
        Ok(())
    }

    fn move_plane(
        &mut self,
        turn: Turn,
        from: Plane<'_>,
        to: &mut PlaneMut<'_>,
    ) -> Result<(), ConvertError> {
        let (width, lines) = turn.swap((to.shape.width, to.shape.lines));
        let before = Shape {
            width,
            lines,
            ..to.shape
        };
        if before == from.shape {
            if turn.is_none() {
                pack::copy(from, to);
            } else {
                turn::turn(turn, from, to);
            }
            return Ok(());
        }
        if turn.is_none() {
            return self.scale(from, to);
        }
        let mut turned = std::mem::take(&mut self.turned);
        let result = turned
            .bytes(before.line_bytes() * before.lines)
            .and_then(|bytes| {
                let mut scaled = PlaneMut::new(bytes, before.line_bytes(), before);
                self.scale(from, &mut scaled)?;
                turn::turn(turn, scaled.as_plane(), to);
                Ok(())
            });
        self.turned = turned;
        result
    }

    fn scale(&mut self, from: Plane<'_>, to: &mut PlaneMut<'_>) -> Result<(), ConvertError> {
        let key = (from.shape, to.shape);
        let known = self.plans.iter().position(|plan| (plan.0, plan.1) == key);
        if known.is_none() {
            let weights = weights(from.shape, to.shape)?;
            if self.plans.len() >= MAX_PLANS {
                self.plans.remove(0);
            }
            self.plans
                .try_reserve(1)
                .map_err(|_| ConvertError::NoMemory { bytes: MAX_PLANS })?;
            self.plans.push((key.0, key.1, weights));
        }
        let plan = match known {
            Some(index) => self.plans.get(index),
            None => self.plans.last(),
        };
        match plan.map(|plan| &plan.2) {
            Some(Weights::One(plan)) => apply(&**plan, from, to, &mut self.lines),
            Some(Weights::Two(plan)) => apply(&**plan, from, to, &mut self.lines),
            Some(Weights::Three(plan)) => apply(&**plan, from, to, &mut self.lines),
            Some(Weights::Four(plan)) => apply(&**plan, from, to, &mut self.lines),
            None => Err(ConvertError::Refused(Step::Scale)),
        }
    }
}

fn weights(from: Shape, to: Shape) -> Result<Weights, ConvertError> {
    let scaler = pic_scale::Scaler::new(ResamplingFunction::Bilinear);
    let a = ImageSize::new(from.width, from.lines);
    let b = ImageSize::new(to.width, to.lines);
    match from.cell {
        1 => scaler.plan_planar_resampling(a, b).map(Weights::One),
        2 => scaler.plan_cbcr_resampling(a, b).map(Weights::Two),
        3 => scaler.plan_rgb_resampling(a, b).map(Weights::Three),
        _ => scaler.plan_rgba_resampling(a, b, false).map(Weights::Four),
    }
    .map_err(refusal)
}

fn refusal(error: pic_scale::PicScaleError) -> ConvertError {
    match error {
        pic_scale::PicScaleError::OutOfMemory(bytes) => ConvertError::NoMemory { bytes },
        _ => ConvertError::Refused(Step::Scale),
    }
}

fn apply<const N: usize>(
    plan: &Resampling<u8, N>,
    from: Plane<'_>,
    to: &mut PlaneMut<'_>,
    lines: &mut Buffer,
) -> Result<(), ConvertError> {
    let source = ImageStore::<u8, N> {
        buffer: Cow::Borrowed(from.data),
        channels: N,
        width: from.shape.width,
        height: from.shape.lines,
        stride: from.stride,
        bit_depth: 8,
    };
    let mut target = ImageStoreMut::<u8, N> {
        buffer: BufferStore::Borrowed(to.data),
        channels: N,
        width: to.shape.width,
        height: to.shape.lines,
        stride: to.stride,
        bit_depth: 8,
    };
    let lines = lines.bytes(plan.scratch_size())?;
    plan.resample_with_scratch(&source, &mut target, lines)
        .map_err(refusal)
}
