//! Formats, frame sizes and frame intervals.

use crate::bytes::{Image, field};
use crate::context::Context;
use crate::format::{Colorimetry, FIELD_NONE};
use crate::pixfmt::{FourCc, PixelFormat};
use crate::{
    Error, Flow, Format, Fraction, FrameIntervals, FrameSizes, Planarity, PlaneLayout, VideoDriver,
    sys,
};
use vb3_plane::MemOps;
use vb3_queue::MAX_PLANES;

/// Offset of the union in `v4l2_format`.
const PIX: usize = field!(v4l2_format.fmt);

macro_rules! pix {
    ($name:ident) => {
        PIX + field!(v4l2_pix_format.$name)
    };
}
macro_rules! pix_mp {
    ($name:ident) => {
        PIX + field!(v4l2_pix_format_mplane.$name)
    };
}

macro_rules! meta {
    ($name:ident) => {
        PIX + field!(v4l2_meta_format.$name)
    };
}

/// Offset of plane `index` in a multi-planar `v4l2_format`.
const fn plane_at(index: usize) -> usize {
    pix_mp!(plane_fmt) + index * size_of::<sys::v4l2_plane_pix_format>()
}

/// Reads the `v4l2_format` at the start of `arg`. A multi-planar format's number of planes is not checked.
pub(crate) fn read_format(arg: &Image<&mut [u8]>, planarity: Planarity) -> Format {
    let mut planes = [PlaneLayout::default(); MAX_PLANES];
    let (color, num_planes) = match planarity {
        Planarity::Single => {
            // Without the magic number in `priv`, a program does not know the fields after `priv`.
            let extended = arg.u32(pix!(priv_)) == sys::V4L2_PIX_FMT_PRIV_MAGIC;
            let ext = |at| if extended { arg.u32(at) } else { 0 };
            planes[0].bytesperline = arg.u32(pix!(bytesperline));
            planes[0].sizeimage = arg.u32(pix!(sizeimage));
            let color = Colorimetry {
                colorspace: arg.u32(pix!(colorspace)),
                xfer_func: ext(pix!(xfer_func)),
                ycbcr_enc: ext(pix!(__bindgen_anon_1)),
                quantization: ext(pix!(quantization)),
            };
            (color, 1)
        }
        Planarity::Multi => {
            for (index, plane) in planes.iter_mut().enumerate() {
                let at = plane_at(index);
                plane.bytesperline = arg.u32(at + field!(v4l2_plane_pix_format.bytesperline));
                plane.sizeimage = arg.u32(at + field!(v4l2_plane_pix_format.sizeimage));
            }
            let color = Colorimetry {
                colorspace: arg.u32(pix_mp!(colorspace)),
                xfer_func: arg.u8(pix_mp!(xfer_func)).into(),
                ycbcr_enc: arg.u8(pix_mp!(__bindgen_anon_1)).into(),
                quantization: arg.u8(pix_mp!(quantization)).into(),
            };
            (color, arg.u8(pix_mp!(num_planes)).into())
        }
        Planarity::Meta => {
            let code = FourCc(arg.u32(meta!(dataformat)));
            return Format::meta(code, arg.u32(meta!(buffersize)));
        }
    };
    // `v4l2_pix_format` and `v4l2_pix_format_mplane` begin with the same fields.
    Format {
        width: arg.u32(pix!(width)),
        height: arg.u32(pix!(height)),
        fourcc: FourCc(arg.u32(pix!(pixelformat))),
        field: arg.u32(pix!(field)),
        color,
        planes,
        num_planes,
    }
}

/// Writes a format to the start of `arg`. Except for the type, all fields that `format` lacks become zero.
pub(crate) fn write_format(arg: &mut Image<&mut [u8]>, format: &Format, planarity: Planarity) {
    let start = field!(v4l2_format.type_) + 4;
    arg.clear(start, size_of::<sys::v4l2_format>() - start);
    let layout = format.layouts().first().copied().unwrap_or_default();
    if planarity == Planarity::Meta {
        arg.set_u32(meta!(dataformat), format.fourcc.0);
        arg.set_u32(meta!(buffersize), layout.sizeimage);
        return;
    }
    // `v4l2_pix_format` and `v4l2_pix_format_mplane` begin with the same fields.
    arg.set_u32(pix!(width), format.width);
    arg.set_u32(pix!(height), format.height);
    arg.set_u32(pix!(pixelformat), format.fourcc.0);
    arg.set_u32(pix!(field), format.field);
    if planarity == Planarity::Multi {
        write_planes(arg, format);
        return;
    }
    arg.set_u32(pix!(bytesperline), layout.bytesperline);
    arg.set_u32(pix!(sizeimage), layout.sizeimage);
    arg.set_u32(pix!(colorspace), format.color.colorspace);
    arg.set_u32(pix!(priv_), sys::V4L2_PIX_FMT_PRIV_MAGIC);
    arg.set_u32(pix!(__bindgen_anon_1), format.color.ycbcr_enc);
    arg.set_u32(pix!(quantization), format.color.quantization);
    arg.set_u32(pix!(xfer_func), format.color.xfer_func);
}

/// Writes those fields of a `v4l2_pix_format_mplane` that follow the fields shared with `v4l2_pix_format`.
fn write_planes(arg: &mut Image<&mut [u8]>, format: &Format) {
    let narrow = |value: u32| u8::try_from(value).unwrap_or(0);
    arg.set_u32(pix_mp!(colorspace), format.color.colorspace);
    for (index, layout) in format.layouts().iter().enumerate() {
        let size = plane_at(index) + field!(v4l2_plane_pix_format.sizeimage);
        arg.set_u32(size, layout.sizeimage);
        let line = plane_at(index) + field!(v4l2_plane_pix_format.bytesperline);
        arg.set_u32(line, layout.bytesperline);
    }
    let count = u8::try_from(format.layouts().len()).unwrap_or(0);
    arg.set_u8(pix_mp!(num_planes), count);
    arg.set_u8(pix_mp!(__bindgen_anon_1), narrow(format.color.ycbcr_enc));
    arg.set_u8(pix_mp!(quantization), narrow(format.color.quantization));
    arg.set_u8(pix_mp!(xfer_func), narrow(format.color.xfer_func));
}

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    fn pixel_format(&self, fourcc: u32) -> Result<&'static PixelFormat, Error> {
        let flows = self.driver.role().flows();
        let formats = flows.iter().flat_map(|&flow| self.driver.formats(flow));
        formats
            .copied()
            .find(|p| p.fourcc == FourCc(fourcc))
            .ok_or(Error::Invalid)
    }

    pub(crate) fn enum_fmt(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let flow = self.flow_of(arg.u32(field!(v4l2_fmtdesc.type_)))?;
        let index = usize::try_from(arg.u32(field!(v4l2_fmtdesc.index)));
        let code = arg.u32(field!(v4l2_fmtdesc.mbus_code));
        let formats = self.driver.formats(flow);
        let pixel = match self.driver.stored_as(code).filter(|_| code != 0) {
            Some(stored) if index == Ok(0) => {
                formats.iter().find(|pixel| Some(pixel.fourcc) == stored)
            }
            Some(_) => None,
            None => {
                arg.set_u32(field!(v4l2_fmtdesc.mbus_code), 0);
                index.ok().and_then(|i| formats.get(i))
            }
        };
        let pixel = *pixel.ok_or(Error::Invalid)?;
        let is_picture = self.driver.planarity() != Planarity::Meta;
        let compressed = match is_picture && pixel.is_compressed() {
            true => sys::V4L2_FMT_FLAG_COMPRESSED,
            false => 0,
        };
        let flags = self.driver.format_flags(flow, pixel).bits() | compressed;
        arg.set_u32(field!(v4l2_fmtdesc.flags), flags);
        arg.set_text(field!(v4l2_fmtdesc.description), 32, pixel.description);
        arg.set_u32(field!(v4l2_fmtdesc.pixelformat), pixel.fourcc.0);
        Ok(())
    }

    pub(crate) fn get_fmt(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let flow = self.flow_of(arg.u32(field!(v4l2_format.type_)))?;
        write_format(arg, &self.driver.format(flow), self.driver.planarity());
        Ok(())
    }

    /// Runs TRY_FMT. With `set`, runs S_FMT, which fails with EBUSY while buffers exist.
    pub(crate) fn set_fmt(&mut self, arg: &mut Image<&mut [u8]>, set: bool) -> Result<(), Error> {
        let flow = self.flow_of(arg.u32(field!(v4l2_format.type_)))?;
        let planarity = self.driver.planarity();
        let wanted = read_format(arg, planarity);
        if self.driver.refuses_format(flow, wanted.fourcc) {
            return Err(Error::Invalid);
        }
        let format = self.driver.try_format(flow, &wanted);
        if set {
            if self.is_busy(flow) {
                return Err(Error::Busy);
            }
            let peer_busy = self.is_busy(flow.other());
            self.driver.set_format(flow, &format, peer_busy)?;
        }
        write_format(arg, &format, planarity);
        Ok(())
    }

    pub(crate) fn enum_frame_sizes(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let pixel = self.pixel_format(arg.u32(field!(v4l2_frmsizeenum.pixel_format)))?;
        let index = arg.u32(field!(v4l2_frmsizeenum.index));
        let base = field!(v4l2_frmsizeenum.__bindgen_anon_1);
        let one;
        let sizes = match self.driver.frame_sizes(pixel) {
            FrameSizes::One(width, height) => {
                one = [(width, height)];
                FrameSizes::Discrete(&one)
            }
            sizes => sizes,
        };
        let (width, height) = match (sizes, index) {
            (FrameSizes::Discrete(sizes), _) => {
                let index = usize::try_from(index).map_err(|_| Error::Invalid)?;
                let (width, height) = sizes.get(index).copied().ok_or(Error::Invalid)?;
                arg.set_u32(
                    field!(v4l2_frmsizeenum.type_),
                    sys::V4L2_FRMSIZE_TYPE_DISCRETE,
                );
                arg.set_u32(base + field!(v4l2_frmsize_discrete.width), width);
                arg.set_u32(base + field!(v4l2_frmsize_discrete.height), height);
                return Ok(());
            }
            (FrameSizes::Stepwise { width, height }, 0) => (width, height),
            _ => return Err(Error::Invalid),
        };
        let kind = match (width.2, height.2) {
            (1, 1) => sys::V4L2_FRMSIZE_TYPE_CONTINUOUS,
            _ => sys::V4L2_FRMSIZE_TYPE_STEPWISE,
        };
        arg.set_u32(field!(v4l2_frmsizeenum.type_), kind);
        for (at, value) in [
            (field!(v4l2_frmsize_stepwise.min_width), width.0),
            (field!(v4l2_frmsize_stepwise.max_width), width.1),
            (field!(v4l2_frmsize_stepwise.step_width), width.2),
            (field!(v4l2_frmsize_stepwise.min_height), height.0),
            (field!(v4l2_frmsize_stepwise.max_height), height.1),
            (field!(v4l2_frmsize_stepwise.step_height), height.2),
        ] {
            arg.set_u32(base + at, value);
        }
        Ok(())
    }

    pub(crate) fn enum_frame_intervals(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let pixel = self.pixel_format(arg.u32(field!(v4l2_frmivalenum.pixel_format)))?;
        let width = arg.u32(field!(v4l2_frmivalenum.width));
        let height = arg.u32(field!(v4l2_frmivalenum.height));
        if !self.driver.frame_sizes(pixel).contains(width, height) {
            return Err(Error::Invalid);
        }
        let index = arg.u32(field!(v4l2_frmivalenum.index));
        let base = field!(v4l2_frmivalenum.__bindgen_anon_1);
        let intervals = self.driver.frame_intervals(pixel, width, height);
        let intervals = intervals.ok_or(Error::Invalid)?;
        let (kind, values) = match (intervals, index) {
            (FrameIntervals::Discrete(list), _) => {
                let index = usize::try_from(index).map_err(|_| Error::Invalid)?;
                let one = list.get(index).copied().ok_or(Error::Invalid)?;
                (sys::V4L2_FRMIVAL_TYPE_DISCRETE, vec![one])
            }
            (FrameIntervals::One(one), 0) => (sys::V4L2_FRMIVAL_TYPE_DISCRETE, vec![one]),
            (FrameIntervals::Stepwise { min, max, step }, 0) => {
                (sys::V4L2_FRMIVAL_TYPE_STEPWISE, vec![min, max, step])
            }
            (FrameIntervals::Continuous { min, max }, 0) => {
                let step = Fraction::new(1, 1);
                (sys::V4L2_FRMIVAL_TYPE_CONTINUOUS, vec![min, max, step])
            }
            _ => return Err(Error::Invalid),
        };
        arg.set_u32(field!(v4l2_frmivalenum.type_), kind);
        for (index, value) in values.into_iter().enumerate() {
            write_fraction(arg, base + index * size_of::<sys::v4l2_fract>(), value);
        }
        Ok(())
    }

    /// Runs G_PARM. With `set`, runs S_PARM: changes the interval first, or fails with EBUSY if the queue streams and
    /// its policy fixes the interval.
    pub(crate) fn parm(&mut self, arg: &mut Image<&mut [u8]>, set: bool) -> Result<(), Error> {
        let flow = self.flow_of(arg.u32(field!(v4l2_streamparm.type_)))?;
        let base = field!(v4l2_streamparm.parm);
        // Capture and output parameters have the same layout.
        let interval_at = base + field!(v4l2_captureparm.timeperframe);
        self.driver.interval(flow).ok_or(Error::Invalid)?;
        if set {
            let queue = &self.stream(flow)?.queue;
            if queue.is_streaming() && self.driver.queue_policy(flow).fixes_interval {
                return Err(Error::Busy);
            }
            let wanted = Fraction::new(arg.u32(interval_at), arg.u32(interval_at + 4));
            self.driver.set_interval(flow, wanted);
        }
        let interval = self.driver.interval(flow).ok_or(Error::Invalid)?;
        arg.clear_from(base);
        arg.set_u32(
            base + field!(v4l2_captureparm.capability),
            sys::V4L2_CAP_TIMEPERFRAME,
        );
        write_fraction(arg, interval_at, interval);
        let stream = self.stream(flow)?;
        if stream.offers_file_io() {
            let buffers = stream.queue.config().min_reqbufs_allocation.clamp(1, 32);
            arg.set_u32(base + field!(v4l2_captureparm.readbuffers), buffers);
        }
        Ok(())
    }

    /// Returns the field order (`V4L2_FIELD_*`) for buffers whose program did not choose one.
    pub(crate) fn default_field(&self, flow: Flow) -> u32 {
        match self.driver.format(flow).field {
            0 => FIELD_NONE,
            field => field,
        }
    }
}

pub(crate) fn write_fraction(arg: &mut Image<&mut [u8]>, at: usize, value: Fraction) {
    arg.set_u32(at + field!(v4l2_fract.numerator), value.numerator);
    arg.set_u32(at + field!(v4l2_fract.denominator), value.denominator);
}
