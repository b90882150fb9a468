//! G_SELECTION and S_SELECTION, and the older crop calls built on them.

use crate::bytes::{Image, field};
use crate::context::Context;
use crate::selection::{Rect, SelectionFlags, SelectionTarget};
use crate::{Error, Flow, VideoDriver, sys};
use vb3_plane::MemOps;

pub(crate) fn read_rect(arg: &Image<&mut [u8]>, at: usize) -> Rect {
    Rect {
        left: arg.i32(at + field!(v4l2_rect.left)),
        top: arg.i32(at + field!(v4l2_rect.top)),
        width: arg.u32(at + field!(v4l2_rect.width)),
        height: arg.u32(at + field!(v4l2_rect.height)),
    }
}

pub(crate) fn write_rect(arg: &mut Image<&mut [u8]>, at: usize, rect: Rect) {
    arg.set_i32(at + field!(v4l2_rect.left), rect.left);
    arg.set_i32(at + field!(v4l2_rect.top), rect.top);
    arg.set_u32(at + field!(v4l2_rect.width), rect.width);
    arg.set_u32(at + field!(v4l2_rect.height), rect.height);
}

/// Returns the targets of CROPCAP and G_CROP: the active rectangle, its default and its bounds.
const fn crop_targets(flow: Flow) -> [SelectionTarget; 3] {
    match flow {
        Flow::Capture => [
            SelectionTarget::Crop,
            SelectionTarget::CropDefault,
            SelectionTarget::CropBounds,
        ],
        // An OUTPUT queue's crop calls set the part of the display where the picture is shown.
        Flow::Output => [
            SelectionTarget::Compose,
            SelectionTarget::ComposeDefault,
            SelectionTarget::ComposeBounds,
        ],
    }
}

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Returns the queue of a buffer type, single- or multi-planar.
    ///
    /// Source: Linux 7.2 `v4l_g_selection`.
    fn selected_flow(&self, ty: u32) -> Result<Flow, Error> {
        let flow = match ty {
            sys::V4L2_BUF_TYPE_VIDEO_CAPTURE | sys::V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE => {
                Flow::Capture
            }
            sys::V4L2_BUF_TYPE_VIDEO_OUTPUT | sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE => {
                Flow::Output
            }
            _ => return Err(Error::Invalid),
        };
        self.stream(flow).map(|_| flow)
    }

    fn rect(&self, flow: Flow, target: SelectionTarget) -> Result<Rect, Error> {
        self.driver.selection(flow, target).ok_or(Error::Invalid)
    }

    pub(crate) fn get_selection(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let flow = self.selected_flow(arg.u32(field!(v4l2_selection.type_)))?;
        let target = SelectionTarget::from_number(arg.u32(field!(v4l2_selection.target)));
        let rect = self.rect(flow, target.ok_or(Error::Invalid)?)?;
        write_rect(arg, field!(v4l2_selection.r), rect);
        Ok(())
    }

    pub(crate) fn set_selection(&mut self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let flow = self.selected_flow(arg.u32(field!(v4l2_selection.type_)))?;
        let target = SelectionTarget::from_number(arg.u32(field!(v4l2_selection.target)));
        let target = target.ok_or(Error::Invalid)?;
        let flags = SelectionFlags::from_bits_truncate(arg.u32(field!(v4l2_selection.flags)));
        self.rect(flow, target)?;
        let wanted = read_rect(arg, field!(v4l2_selection.r));
        let set = self.driver.set_selection(flow, target, wanted, flags)?;
        write_rect(arg, field!(v4l2_selection.r), set);
        self.wake = true;
        Ok(())
    }

    /// Source: Linux 7.2 `v4l_cropcap`.
    pub(crate) fn crop_cap(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let flow = self.selected_flow(arg.u32(field!(v4l2_cropcap.type_)))?;
        let [_, default, bounds] = crop_targets(flow);
        let (default, bounds) = (self.rect(flow, default)?, self.rect(flow, bounds)?);
        write_rect(arg, field!(v4l2_cropcap.bounds), bounds);
        write_rect(arg, field!(v4l2_cropcap.defrect), default);
        let aspect = field!(v4l2_cropcap.pixelaspect);
        arg.set_u32(aspect + field!(v4l2_fract.numerator), 1);
        arg.set_u32(aspect + field!(v4l2_fract.denominator), 1);
        Ok(())
    }

    pub(crate) fn get_crop(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let flow = self.selected_flow(arg.u32(field!(v4l2_crop.type_)))?;
        let [active, ..] = crop_targets(flow);
        let rect = self.rect(flow, active)?;
        write_rect(arg, field!(v4l2_crop.c), rect);
        Ok(())
    }

    pub(crate) fn set_crop(&mut self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let flow = self.selected_flow(arg.u32(field!(v4l2_crop.type_)))?;
        let [active, ..] = crop_targets(flow);
        self.rect(flow, active)?;
        let wanted = read_rect(arg, field!(v4l2_crop.c));
        let flags = SelectionFlags::empty();
        self.driver.set_selection(flow, active, wanted, flags)?;
        self.wake = true;
        Ok(())
    }
}
