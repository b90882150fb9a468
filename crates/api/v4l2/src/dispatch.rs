//! Dispatches an ioctl: copies the structure in, runs the call, copies it out.

use crate::bytes::{Image, MAX_ARG, read_user, write_user};
use crate::calls::{Answer, ExtOp};
use crate::codec::CommandSet;
use crate::context::Context;
use crate::driver::Role;
use crate::program::{CallContext, Run};
use crate::request::{Call, CallSpec};
use crate::requests::Scope;
use crate::{Error, Flow, Planarity, VideoDriver};
use vb3_plane::MemOps;

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Runs an ioctl. `None` if the call must be repeated.
    ///
    /// The structure is read once at the beginning, and written once at the end. The bytes after
    /// `request.keep` are pure output, so they are not read from the program.
    ///
    /// Source: Linux `video_usercopy`, `__video_do_ioctl`.
    pub(crate) fn run(
        &mut self,
        run: &mut Run<'_, M>,
        request: &CallSpec,
        arg: u64,
        scope: &mut Scope<'_>,
    ) -> Result<Option<i64>, Error> {
        let Run { cx, program, .. } = *run;
        let mut bytes = [0; MAX_ARG];
        let whole = bytes.get_mut(..request.size()).ok_or(Error::NotTty)?;
        if request.reads() {
            read_user(program, arg, whole)?;
        }
        let mut image = Image(whole);
        image.clear_from(request.keep);
        let array = match request.call {
            Call::GetExtCtrls | Call::SetExtCtrls | Call::TryExtCtrls => {
                Self::ext_array(&image, program)?
            }
            _ => Vec::new(),
        };
        self.check_offered(request.call)?;
        // Source: Linux 7.2 drivers/media/v4l2-core/v4l2-subdev.c `subdev_do_ioctl`: no priorities.
        let has_prio = request.prio && self.driver.role() != Role::Subdevice;
        if has_prio && self.file_mut(cx.file)?.priority.is_outranked() {
            return Err(Error::Busy);
        }
        let answer = match request.call {
            call @ (Call::ReqBufs
            | Call::CreateBufs
            | Call::RemoveBufs
            | Call::QueryBuf
            | Call::PrepareBuf
            | Call::QueueBuf
            | Call::DequeueBuf
            | Call::StreamOn
            | Call::StreamOff) => self.buffer_call(run, call, &mut image, scope)?,
            Call::ExportBuf => {
                self.export_buf(run, &image, arg)?;
                return Ok(Some(0));
            }
            Call::GetExtCtrls => self.ext_ctrls(&mut image, array, ExtOp::Get, run, scope)?,
            Call::SetExtCtrls => self.ext_ctrls(&mut image, array, ExtOp::Set, run, scope)?,
            Call::TryExtCtrls => self.ext_ctrls(&mut image, array, ExtOp::Try, run, scope)?,
            call @ (Call::GetEdid | Call::SetEdid) => {
                self.edid_call(run, &mut image, call == Call::SetEdid)?
            }
            Call::DecoderCmd | Call::EncoderCmd => self.codec_command(run.mem, &mut image)?.into(),
            call => self.plain_call(cx, call, &mut image)?,
        };
        if answer == Answer::Wait {
            return Ok(None);
        }
        if request.writes() {
            write_user(program, arg, image.0)?;
        }
        match answer {
            Answer::Failed(error) => Err(error),
            _ => Ok(Some(0)),
        }
    }

    /// Checks that this device supports a call. ENOTTY if it does not.
    ///
    /// Source: Linux 7.2 drivers/media/usb/uvc/uvc_metadata.c `uvc_meta_ioctl_ops`, for metadata.
    fn check_offered(&self, call: Call) -> Result<(), Error> {
        let is_subdev = self.driver.role() == Role::Subdevice;
        let is_meta = self.driver.planarity() == Planarity::Meta;
        let offered = match call {
            call if call.is_of_subdevices() => self.subdev_offers(call),
            Call::EnumInput
            | Call::GetInput
            | Call::SetInput
            | Call::EnumOutput
            | Call::GetOutput
            | Call::SetOutput
            | Call::GetParm
            | Call::SetParm
            | Call::EnumFrameSizes
            | Call::EnumFrameIntervals
            | Call::ExportBuf
                if is_meta =>
            {
                false
            }
            Call::EnumInput | Call::GetInput | Call::SetInput => self.has_ports(Flow::Capture),
            Call::EnumOutput | Call::GetOutput | Call::SetOutput => self.has_ports(Flow::Output),
            Call::GetParm | Call::SetParm | Call::EnumFrameIntervals => {
                let mut flows = self.driver.role().flows().iter();
                flows.any(|&flow| self.driver.interval(flow).is_some())
            }
            Call::RemoveBufs => !is_subdev && self.streams().all(|stream| stream.removes_buffers),
            Call::GetSelection | Call::CropCap | Call::GetCrop => self.driver.has_selection(),
            Call::SetSelection | Call::SetCrop => self.driver.sets_selection(),
            Call::DecoderCmd | Call::TryDecoderCmd => {
                self.driver.commands() == Some(CommandSet::Decoder)
            }
            Call::EncoderCmd | Call::TryEncoderCmd => {
                self.driver.commands() == Some(CommandSet::Encoder)
            }
            Call::EnumDvTimings
            | Call::DvTimingsCap
            | Call::GetDvTimings
            | Call::SetDvTimings
            | Call::QueryDvTimings
            | Call::GetEdid
            | Call::SetEdid => self.driver.receiver().is_some(),
            Call::QueryCtrl
            | Call::QueryExtCtrl
            | Call::QueryMenu
            | Call::GetCtrl
            | Call::SetCtrl
            | Call::GetExtCtrls
            | Call::SetExtCtrls
            | Call::TryExtCtrls => !self.controls.is_empty(),
            Call::SubscribeEvent | Call::UnsubscribeEvent | Call::DequeueEvent => {
                !self.controls.is_empty() || !self.driver.events().is_empty()
            }
            _ => !is_subdev,
        };
        if offered { Ok(()) } else { Err(Error::NotTty) }
    }

    /// Runs a call that accesses no other memory of the program than its structure.
    fn plain_call(
        &mut self,
        cx: CallContext,
        call: Call,
        arg: &mut Image<&mut [u8]>,
    ) -> Result<Answer, Error> {
        match call {
            Call::QueryCap => self.query_cap(arg),
            Call::EnumFmt => self.enum_fmt(arg)?,
            Call::GetFmt => self.get_fmt(arg)?,
            Call::SetFmt => self.set_fmt(arg, true)?,
            Call::TryFmt => self.set_fmt(arg, false)?,
            Call::EnumFrameSizes => self.enum_frame_sizes(arg)?,
            Call::EnumFrameIntervals => self.enum_frame_intervals(arg)?,
            Call::GetParm => self.parm(arg, false)?,
            Call::SetParm => self.parm(arg, true)?,
            Call::EnumInput => self.enum_input(arg)?,
            Call::EnumOutput => self.enum_output(arg)?,
            Call::GetInput | Call::GetOutput => arg.set_u32(0, self.port),
            Call::SetInput | Call::SetOutput => self.set_port(arg)?,
            Call::GetSelection => self.get_selection(arg)?,
            Call::SetSelection => self.set_selection(arg)?,
            Call::CropCap => self.crop_cap(arg)?,
            Call::GetCrop => self.get_crop(arg)?,
            Call::SetCrop => self.set_crop(arg)?,
            Call::TryDecoderCmd | Call::TryEncoderCmd => drop(Self::try_codec_command(arg)?),
            Call::EnumDvTimings
            | Call::DvTimingsCap
            | Call::GetDvTimings
            | Call::SetDvTimings
            | Call::QueryDvTimings => return self.timings_call(call, arg),
            Call::GetPriority => arg.set_u32(0, self.file_mut(cx.file)?.priority.all.highest()),
            Call::SetPriority => self.file_mut(cx.file)?.priority.set(arg.u32(0))?,
            Call::QueryCtrl => self.query_ctrl(arg)?,
            Call::QueryExtCtrl => self.query_ext_ctrl(arg)?,
            Call::QueryMenu => self.query_menu(arg)?,
            Call::GetCtrl => self.get_ctrl(arg)?,
            Call::SetCtrl => self.set_ctrl(cx.file, arg, cx.now_ns)?,
            Call::SubscribeEvent => self.subscribe(cx.file, arg, cx.now_ns)?,
            Call::UnsubscribeEvent => self.unsubscribe(cx.file, arg)?,
            Call::DequeueEvent => return self.dequeue_event(cx, arg),
            call => self.subdev_call(cx.file, call, arg, cx.now_ns)?,
        }
        Ok(Answer::Done)
    }
}
