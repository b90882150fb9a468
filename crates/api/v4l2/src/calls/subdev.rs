//! Calls of subdevices: formats and selections of pads. No subdevice has frame intervals.
//!
//! Source: Linux 7.2 drivers/media/v4l2-core/v4l2-subdev.c `subdev_do_ioctl`.

use super::selection::{read_rect, write_rect};
use crate::bytes::{Image, field};
use crate::context::Context;
use crate::file::FileHandle;
use crate::request::Call;
use crate::selection::SelectionTarget;
use crate::{
    Colorimetry, Error, Follows, MbusFormat, MediaGraph, Pads, Rect, Sensor, VideoDriver, sys,
};
use vb3_plane::MemOps;

/// `V4L2_SEL_TGT_NATIVE_SIZE`, which only sensors have.
const NATIVE_SIZE: u32 = 3;

/// The format in a `v4l2_subdev_format`.
const FORMAT: usize = field!(v4l2_subdev_format.format);

/// The only client capability that subdevices know. CAST: widening.
const USES_WHICH: u64 = sys::V4L2_SUBDEV_CLIENT_CAP_INTERVAL_USES_WHICH as u64;

macro_rules! bus {
    ($name:ident) => {
        FORMAT + field!(v4l2_mbus_framefmt.$name)
    };
}

/// Returns the offsets of `pad` and `which` in a call's structure.
const fn places(call: Call) -> (usize, usize) {
    match call {
        Call::SubdevEnumMbusCode => (0, field!(v4l2_subdev_mbus_code_enum.which)),
        Call::SubdevEnumFrameSize => (4, field!(v4l2_subdev_frame_size_enum.which)),
        _ => (4, 0),
    }
}

fn read_format(arg: &Image<&mut [u8]>) -> MbusFormat {
    MbusFormat {
        width: arg.u32(bus!(width)),
        height: arg.u32(bus!(height)),
        code: arg.u32(bus!(code)),
        color: Colorimetry {
            colorspace: arg.u32(bus!(colorspace)),
            xfer_func: arg.u16(bus!(xfer_func)).into(),
            ycbcr_enc: arg.u16(bus!(__bindgen_anon_1)).into(),
            quantization: arg.u16(bus!(quantization)).into(),
        },
    }
}

fn write_format(arg: &mut Image<&mut [u8]>, format: &MbusFormat) {
    arg.clear(FORMAT, size_of::<sys::v4l2_mbus_framefmt>());
    let narrow = |value: u32| u16::try_from(value).unwrap_or(0).to_ne_bytes();
    arg.set_u32(bus!(width), format.width);
    arg.set_u32(bus!(height), format.height);
    arg.set_u32(bus!(code), format.code);
    arg.set_u32(bus!(field), crate::format::FIELD_NONE);
    arg.set_u32(bus!(colorspace), format.color.colorspace);
    arg.set_bytes(bus!(__bindgen_anon_1), narrow(format.color.ycbcr_enc));
    arg.set_bytes(bus!(quantization), narrow(format.color.quantization));
    arg.set_bytes(bus!(xfer_func), narrow(format.color.xfer_func));
}

/// One pad of a subdevice during a call.
struct Pad<'a> {
    graph: &'a MediaGraph,
    entity: usize,
    index: usize,
    pads: Pads,
}

impl Pad<'_> {
    /// Runs a call. Returns whether the call changed the pads' state.
    fn run(&mut self, call: Call, arg: &mut Image<&mut [u8]>) -> Result<bool, Error> {
        match call {
            Call::SubdevEnumMbusCode => self.enum_code(arg)?,
            Call::SubdevEnumFrameSize => self.enum_size(arg)?,
            Call::SubdevGetFmt => {
                let format = self.pads.formats.get(self.index).ok_or(Error::Invalid)?;
                write_format(arg, format);
            }
            Call::SubdevSetFmt => {
                let wanted = (self.index, read_format(arg));
                let set = self.graph.set_format(self.entity, &mut self.pads, wanted);
                write_format(arg, &set.ok_or(Error::Invalid)?);
                return Ok(true);
            }
            Call::SubdevGetSelection => {
                let rect = self.rect(arg.u32(field!(v4l2_subdev_selection.target)))?;
                write_rect(arg, field!(v4l2_subdev_selection.r), rect);
            }
            Call::SubdevGetCrop => {
                let rect = self.rect(0)?;
                write_rect(arg, field!(v4l2_subdev_crop.rect), rect);
            }
            Call::SubdevSetSelection => {
                if arg.u32(field!(v4l2_subdev_selection.target)) != 0 {
                    return Err(Error::Invalid);
                }
                return self.set_crop(arg, field!(v4l2_subdev_selection.r));
            }
            Call::SubdevSetCrop => return self.set_crop(arg, field!(v4l2_subdev_crop.rect)),
            _ => return Err(Error::NotTty),
        }
        Ok(false)
    }

    /// Returns the pad's format, if it is the only format that the pad enumerates.
    fn only_format(&self) -> Option<&MbusFormat> {
        let spec = self.graph.entity(self.entity)?.pads.get(self.index)?;
        let format = self.pads.formats.get(self.index)?;
        (spec.follows == Follows::Everything).then_some(format)
    }

    /// Returns a bus code of the pad by index.
    fn code(&self, index: u32) -> Result<u32, Error> {
        let spec = self.graph.entity(self.entity).ok_or(Error::Invalid)?;
        let codes = spec.pads.get(self.index).ok_or(Error::Invalid)?.codes;
        let only = self.only_format().map(|format| [format.code]);
        let codes = only.as_ref().map_or(codes, |only| only.as_slice());
        let index = usize::try_from(index).map_err(|_| Error::Invalid)?;
        let code = codes.get(index).ok_or(Error::Invalid)?;
        Ok(self.graph.flips(self.entity).mirrored(*code))
    }

    /// Checks that the pad offers a bus code. EINVAL if it does not.
    fn check_code(&self, code: u32) -> Result<(), Error> {
        let mut codes = (0..).map_while(|index| self.code(index).ok());
        codes
            .find(|known| *known == code)
            .map(drop)
            .ok_or(Error::Invalid)
    }

    fn enum_code(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let code = self.code(arg.u32(field!(v4l2_subdev_mbus_code_enum.index)))?;
        arg.set_u32(field!(v4l2_subdev_mbus_code_enum.code), code);
        Ok(())
    }

    fn enum_size(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        self.check_code(arg.u32(field!(v4l2_subdev_frame_size_enum.code)))?;
        let index = arg.u32(field!(v4l2_subdev_frame_size_enum.index));
        let index = usize::try_from(index).map_err(|_| Error::Invalid)?;
        let (width, height) = match self.sensor() {
            Some(sensor) => {
                let (width, height) = sensor.modes.get(index).ok_or(Error::Invalid)?.size;
                ((width, width), (height, height))
            }
            None if index > 0 => return Err(Error::Invalid),
            None => match self.only_format() {
                Some(only) => ((only.width, only.width), (only.height, only.height)),
                None => (self.graph.topology().width, self.graph.topology().height),
            },
        };
        arg.set_u32(field!(v4l2_subdev_frame_size_enum.min_width), width.0);
        arg.set_u32(field!(v4l2_subdev_frame_size_enum.max_width), width.1);
        arg.set_u32(field!(v4l2_subdev_frame_size_enum.min_height), height.0);
        arg.set_u32(field!(v4l2_subdev_frame_size_enum.max_height), height.1);
        Ok(())
    }

    fn sensor(&self) -> Option<&'static Sensor> {
        self.graph.entity(self.entity)?.sensor
    }

    /// Returns the rectangle of a target. EINVAL for a pad without crop rectangle and for unknown targets.
    fn rect(&self, target: u32) -> Result<Rect, Error> {
        let bounds = self.pads.formats.first().filter(|_| self.index == 0);
        let bounds = bounds.ok_or(Error::Invalid)?.whole();
        match (SelectionTarget::from_number(target), self.sensor()) {
            (Some(SelectionTarget::Crop), _) => Ok(self.pads.crop),
            (Some(SelectionTarget::CropBounds), None) => Ok(bounds),
            (Some(SelectionTarget::CropBounds | SelectionTarget::CropDefault), Some(sensor)) => {
                Ok(sensor.active)
            }
            (None, Some(sensor)) if target == NATIVE_SIZE => {
                Ok(Rect::whole(sensor.native.0, sensor.native.1))
            }
            _ => Err(Error::Invalid),
        }
    }

    fn set_crop(&mut self, arg: &mut Image<&mut [u8]>, at: usize) -> Result<bool, Error> {
        self.rect(0)?;
        let set = self.graph.set_crop(&mut self.pads, read_rect(arg, at));
        write_rect(arg, at, set.ok_or(Error::Invalid)?);
        Ok(true)
    }
}

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Returns whether the subdevice supports a call.
    pub(crate) fn subdev_offers(&self, call: Call) -> bool {
        let Some((graph, entity)) = self.driver.subdevice() else {
            return false;
        };
        let Some(spec) = graph.entity(entity) else {
            return false;
        };
        match call {
            Call::SubdevQueryCap | Call::SubdevGetClientCap | Call::SubdevSetClientCap => true,
            // vimc's subdevices log their controls. Drivers of sensors log nothing.
            Call::LogStatus => spec.sensor.is_none() && !spec.controls.is_empty(),
            Call::SubdevGetSelection | Call::SubdevGetCrop => spec.crop || spec.sensor.is_some(),
            Call::SubdevSetSelection | Call::SubdevSetCrop => spec.crop,
            Call::SubdevEnumFrameInterval | Call::SubdevGetInterval | Call::SubdevSetInterval => {
                false
            }
            _ => !spec.pads.is_empty(),
        }
    }

    /// Runs a call of a subdevice. Each file has its own TRY state; the ACTIVE state is in the graph.
    pub(crate) fn subdev_call(
        &mut self,
        file: FileHandle,
        call: Call,
        arg: &mut Image<&mut [u8]>,
        now_ns: u64,
    ) -> Result<(), Error> {
        let (graph, entity) = self.driver.subdevice().ok_or(Error::NotTty)?;
        let (graph, entity) = (graph.clone(), entity);
        match call {
            Call::SubdevQueryCap => {
                arg.set_u32(field!(v4l2_subdev_capability.version), sys::API_VERSION);
                return Ok(());
            }
            // LOG_STATUS writes nothing, because there is no kernel log.
            Call::LogStatus => return Ok(()),
            Call::SubdevGetClientCap => {
                arg.set_u64(0, self.file_mut(file)?.client_caps);
                return Ok(());
            }
            Call::SubdevSetClientCap => {
                // The other capability is for streams, which no subdevice has.
                let caps = arg.u64(0) & USES_WHICH;
                self.file_mut(file)?.client_caps = caps;
                arg.set_u64(0, caps);
                return Ok(());
            }
            _ => {}
        }
        let (pad_at, which_at) = places(call);
        let handle = self.file_mut(file)?;
        let which = arg.u32(which_at);
        let index = usize::try_from(arg.u32(pad_at)).map_err(|_| Error::Invalid)?;
        let pads = match which {
            sys::V4L2_SUBDEV_FORMAT_TRY => match handle.pads.clone() {
                Some(pads) => Some(graph.flipped(entity, pads)),
                None => graph.initial(entity),
            },
            sys::V4L2_SUBDEV_FORMAT_ACTIVE => graph.pads(entity),
            _ => None,
        };
        let pads = pads.filter(|pads| index < pads.formats.len());
        let mut pad = Pad {
            graph: &graph,
            entity,
            index,
            pads: pads.ok_or(Error::Invalid)?,
        };
        if pad.run(call, arg)? {
            match which {
                sys::V4L2_SUBDEV_FORMAT_TRY => handle.pads = Some(pad.pads),
                _ => {
                    graph.set_pads(entity, pad.pads)?;
                    self.change_ranges(now_ns);
                }
            }
        }
        Ok(())
    }
}
