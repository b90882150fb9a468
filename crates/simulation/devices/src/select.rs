//! Fits the crop and compose rectangles that programs set.

use crate::surface::{EINVAL, ERANGE};
use vb3_queue::DriverError;
use vb3_v4l2::{Format, Rect, SelectionFlags, SelectionTarget};

/// Step of positions and lengths: a pair of columns or lines shares its chroma.
const STEP: u32 = 2;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection {
    /// Width and height of the source.
    pub(crate) source: (u32, u32),
    /// The part of the source that is used.
    pub(crate) crop: Rect,
    /// The part of the buffer that receives the picture.
    pub(crate) compose: Rect,
}

impl Selection {
    /// Selects the whole source and the whole buffer.
    pub(crate) const fn whole(source: (u32, u32), buffer: &Format) -> Self {
        Self {
            source,
            crop: Rect::whole(source.0, source.1),
            compose: Rect::whole(buffer.width, buffer.height),
        }
    }

    pub(crate) fn rect(&self, target: SelectionTarget, buffer: &Format) -> Rect {
        match target {
            SelectionTarget::Crop => self.crop,
            SelectionTarget::CropDefault | SelectionTarget::CropBounds => {
                Rect::whole(self.source.0, self.source.1)
            }
            SelectionTarget::Compose | SelectionTarget::ComposePadded => self.compose,
            SelectionTarget::ComposeDefault | SelectionTarget::ComposeBounds => {
                Rect::whole(buffer.width, buffer.height)
            }
        }
    }

    /// Sets the crop or compose rectangle to the nearest possible one, and returns it.
    /// Fails with ERANGE if the flags forbid this, and with EINVAL for another target.
    pub(crate) fn set_rect(
        &mut self,
        (target, flags): (SelectionTarget, SelectionFlags),
        wanted: Rect,
        buffer: &Format,
    ) -> Result<Rect, DriverError> {
        let (slot, bounds) = match target {
            SelectionTarget::Crop => (&mut self.crop, self.source),
            SelectionTarget::Compose => (&mut self.compose, (buffer.width, buffer.height)),
            _ => return Err(EINVAL),
        };
        *slot = fit(wanted, STEP, bounds, flags)?;
        Ok(*slot)
    }
}

/// Returns the nearest rectangle with even edges inside a picture.
/// Its sides are at least `least`, which is even.
///
/// Source: Linux Documentation/userspace-api/media/v4l/vidioc-g-selection.rst.
pub(crate) fn fit(
    wanted: Rect,
    least: u32,
    picture: (u32, u32),
    flags: SelectionFlags,
) -> Result<Rect, DriverError> {
    let (width, height) = (
        side(wanted.width, (least, picture.0), flags)?,
        side(wanted.height, (least, picture.1), flags)?,
    );
    Ok(Rect {
        left: move_inside(wanted.left, picture.0.saturating_sub(width)),
        top: move_inside(wanted.top, picture.1.saturating_sub(height)),
        width,
        height,
    })
}

/// Returns the nearest even length between two even limits. Fails with ERANGE if the flags forbid it.
fn side(wanted: u32, (least, most): (u32, u32), flags: SelectionFlags) -> Result<u32, DriverError> {
    let up = flags.contains(SelectionFlags::GE);
    let clamped = wanted.clamp(least, most.max(least));
    let rounded = if up {
        clamped.next_multiple_of(STEP)
    } else {
        clamped - clamped % STEP
    };
    let too_small = up && rounded < wanted;
    let too_large = flags.contains(SelectionFlags::LE) && rounded > wanted;
    if too_small || too_large {
        Err(ERANGE)
    } else {
        Ok(rounded)
    }
}

/// Returns the nearest even position from 0 to `most`, which is even.
fn move_inside(wanted: i32, most: u32) -> i32 {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let clamped = wanted.clamp(0, most);
    clamped - clamped % 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: (u32, u32) = (640, 480);

    #[test]
    fn rectangles_are_moved_and_cut_into_the_picture() {
        let none = SelectionFlags::empty();
        for (wanted, got) in [
            (Rect::new(0, 0, 640, 480), Rect::new(0, 0, 640, 480)),
            (Rect::new(-5, 700, 101, 0), Rect::new(0, 478, 100, 2)),
            (Rect::new(601, 3, 64, 64), Rect::new(576, 2, 64, 64)),
            (
                Rect::new(i32::MIN, i32::MAX, u32::MAX, 7),
                Rect::new(0, 474, 640, 6),
            ),
        ] {
            assert_eq!(fit(wanted, STEP, PICTURE, none), Ok(got), "{wanted:?}");
        }
    }

    #[test]
    fn flags_say_which_way_to_round_or_that_it_cannot_be() {
        let (ge, le) = (SelectionFlags::GE, SelectionFlags::LE);
        let wide = |width| Rect::new(0, 0, width, 480);
        assert_eq!(fit(wide(101), STEP, PICTURE, ge), Ok(wide(102)));
        assert_eq!(fit(wide(101), STEP, PICTURE, le), Ok(wide(100)));
        assert_eq!(fit(wide(101), STEP, PICTURE, ge | le), Err(ERANGE));
        assert_eq!(fit(wide(100), STEP, PICTURE, ge | le), Ok(wide(100)));
        assert_eq!(fit(wide(642), STEP, PICTURE, ge), Err(ERANGE));
        assert_eq!(fit(wide(1), STEP, PICTURE, le), Err(ERANGE));
    }
}
