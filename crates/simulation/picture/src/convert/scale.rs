//! Scales planes, and turns them.

use super::error::{ConvertError, Step};
use super::form::{Buffer, Picture, PictureMut, Plane, PlaneMut, Shape};
use super::pack;
use super::turn::{self, Turn};
use vb3_scaling::{Cells, Resizer};

/// Scales and turns planes, and keeps its working memory for the next planes.
#[derive(Debug, Default)]
pub(super) struct Scaler {
    resizer: Resizer,
    /// A scaled plane that is still to be turned.
    turned: Buffer,
    /// Copies of planes that the crate cannot use as they are (see [`is_whole`]).
    packed_from: Buffer,
    packed_to: Buffer,
}

/// Selects the planes of a picture that are scaled and turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Luma,
    Chroma,
}

impl Scaler {
    /// Scales and turns planes of `from` into those of `to`, whose cells must have the same sizes.
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
        let Self {
            packed_from,
            packed_to,
            resizer,
            ..
        } = self;
        let mut source = from;
        if !is_whole(&from) {
            let mut packed = packed_plane(packed_from, from.shape)?;
            pack::copy(from, &mut packed);
            let PlaneMut { data, stride, .. } = packed;
            source = Plane::new(data, stride, from.shape);
        }
        if is_whole(&to.as_plane()) {
            return resize(resizer, source, to);
        }
        let mut packed = packed_plane(packed_to, to.shape)?;
        resize(resizer, source, &mut packed)?;
        pack::copy(packed.as_plane(), to);
        Ok(())
    }
}

fn packed_plane(buffer: &mut Buffer, shape: Shape) -> Result<PlaneMut<'_>, ConvertError> {
    let bytes = buffer.bytes(shape.line_bytes() * shape.lines)?;
    Ok(PlaneMut::new(bytes, shape.line_bytes(), shape))
}

/// Returns whether the crate can use a plane as it is. Its memory must have every line up to the stride. Its
/// stride and the bytes left of it must be multiples of a cell (the bytes that are scaled together).
fn is_whole(plane: &Plane<'_>) -> bool {
    let cell = plane.shape.cell.max(1);
    plane.stride.is_multiple_of(cell) && plane.left.is_multiple_of(cell) && plane.whole().is_some()
}

fn resize(
    resizer: &mut Resizer,
    from: Plane<'_>,
    to: &mut PlaneMut<'_>,
) -> Result<(), ConvertError> {
    let at = |stride, left, shape: Shape| Cells {
        bytes: shape.cell,
        stride,
        left,
        width: shape.width,
        lines: shape.lines,
    };
    let from_cells = at(from.stride, from.left, from.shape);
    let to_cells = at(to.stride, to.left, to.shape);
    let memory = from.whole().zip(to.whole());
    memory
        .and_then(|(from, to)| resizer.resize((from, from_cells), (to, to_cells)))
        .ok_or(ConvertError::Refused(Step::Scale))
}
