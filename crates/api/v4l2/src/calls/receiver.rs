//! DV timings and EDID.

use crate::bytes::{Image, field, read_user, write_user};
use crate::calls::Answer;
use crate::context::Context;
use crate::program::Run;
use crate::progress::DriverEvent;
use crate::receiver::{
    EDID_BLOCK, MAX_EDID_BLOCKS, NoTimings, Receiver, Timings, has_valid_address,
};
use crate::request::Call;
use crate::{Error, Flow, VideoDriver, arrays, sys};
use vb3_plane::MemOps;

macro_rules! bt {
    ($name:ident) => {
        field!(v4l2_dv_timings.__bindgen_anon_1.bt.$name)
    };
}

const HORIZONTAL: [usize; 3] = [bt!(hfrontporch), bt!(hsync), bt!(hbackporch)];
const VERTICAL: [usize; 3] = [bt!(vfrontporch), bt!(vsync), bt!(vbackporch)];

/// Reads the timings in `arg` (a `v4l2_dv_timings`). Returns `None` if the timings are interlaced, or if their
/// type is not `V4L2_DV_BT_656_1120`.
fn read_timings(arg: &Image<&mut [u8]>) -> Option<Timings> {
    let is_progressive = arg.u32(field!(v4l2_dv_timings.type_)) == sys::V4L2_DV_BT_656_1120
        && arg.u32(bt!(interlaced)) == 0;
    is_progressive.then(|| Timings {
        width: arg.u32(bt!(width)),
        height: arg.u32(bt!(height)),
        polarities: arg.u32(bt!(polarities)),
        pixelclock: arg.u64(bt!(pixelclock)),
        horizontal: HORIZONTAL.map(|at| arg.u32(at)),
        vertical: VERTICAL.map(|at| arg.u32(at)),
        standards: 0,
        flags: 0,
        aspect: [0; 2],
        cea861_vic: 0,
        hdmi_vic: 0,
    })
}

/// Writes timings at `base`, with zeroes in all other fields.
fn write_timings(arg: &mut Image<&mut [u8]>, base: usize, timings: &Timings) {
    arg.clear(base, size_of::<sys::v4l2_dv_timings>());
    arg.set_u32(
        base + field!(v4l2_dv_timings.type_),
        sys::V4L2_DV_BT_656_1120,
    );
    arg.set_u64(base + bt!(pixelclock), timings.pixelclock);
    arg.set_u8(base + bt!(cea861_vic), timings.cea861_vic);
    arg.set_u8(base + bt!(hdmi_vic), timings.hdmi_vic);
    let words = [
        (bt!(width), timings.width),
        (bt!(height), timings.height),
        (bt!(polarities), timings.polarities),
        (bt!(standards), timings.standards),
        (bt!(flags), timings.flags),
        (bt!(picture_aspect), timings.aspect[0]),
        (bt!(picture_aspect) + 4, timings.aspect[1]),
    ];
    let porches = HORIZONTAL.into_iter().zip(timings.horizontal);
    let porches = porches.chain(VERTICAL.into_iter().zip(timings.vertical));
    for (at, value) in words.into_iter().chain(porches) {
        arg.set_u32(base + at, value);
    }
}

/// Writes the limits of the receiver's modes. `V4L2_DV_BT_CAP_CUSTOM` is not set, because the receiver accepts only
/// the timings of its modes, not any timings within these limits.
fn write_cap(arg: &mut Image<&mut [u8]>, modes: &[Timings]) {
    const CAP: usize = field!(v4l2_dv_timings_cap.__bindgen_anon_1);
    let range = |part: fn(&Timings) -> u64| {
        let values = modes.iter().map(part);
        (values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
    };
    // Widths and heights fit, because `range` widened them from 32-bit fields.
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let (width, height) = (
        range(|mode| mode.width.into()),
        range(|mode| mode.height.into()),
    );
    let clock = range(|mode| mode.pixelclock);
    arg.set_u32(field!(v4l2_dv_timings_cap.type_), sys::V4L2_DV_BT_656_1120);
    arg.set_u64(CAP + field!(v4l2_bt_timings_cap.min_pixelclock), clock.0);
    arg.set_u64(CAP + field!(v4l2_bt_timings_cap.max_pixelclock), clock.1);
    let standards = modes.iter().fold(0, |all, mode| all | mode.standards);
    let capabilities = sys::V4L2_DV_BT_CAP_PROGRESSIVE | sys::V4L2_DV_BT_CAP_REDUCED_BLANKING;
    for (at, value) in [
        (field!(v4l2_bt_timings_cap.min_width), narrow(width.0)),
        (field!(v4l2_bt_timings_cap.max_width), narrow(width.1)),
        (field!(v4l2_bt_timings_cap.min_height), narrow(height.0)),
        (field!(v4l2_bt_timings_cap.max_height), narrow(height.1)),
        (field!(v4l2_bt_timings_cap.standards), standards),
        (field!(v4l2_bt_timings_cap.capabilities), capabilities),
    ] {
        arg.set_u32(CAP + at, value);
    }
}

/// QUERY_DV_TIMINGS. If the source's timings are out of range, the call fails, and it writes only a pixel clock to
/// the structure: twice the highest pixel clock of the receiver's modes.
///
/// Source: Linux 7.2 drivers/media/test-drivers/vivid/vivid-vid-cap.c `vidioc_query_dv_timings`.
fn query(arg: &mut Image<&mut [u8]>, receiver: &Receiver) -> Result<(), Error> {
    match receiver.found {
        Ok(timings) => write_timings(arg, 0, &timings),
        Err(why) => {
            if why == NoTimings::OutOfRange {
                let most = receiver.modes.iter().map(|mode| mode.pixelclock).max();
                arg.set_u64(bt!(pixelclock), most.unwrap_or(0).saturating_mul(2));
            }
            return Err(why.error().into());
        }
    }
    Ok(())
}

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    fn receiver(&self) -> Result<&Receiver, Error> {
        self.driver.receiver().ok_or(Error::NotTty)
    }

    /// Runs a call about timings.
    pub(crate) fn timings_call(
        &mut self,
        call: Call,
        arg: &mut Image<&mut [u8]>,
    ) -> Result<Answer, Error> {
        let receiver = self.receiver()?;
        match call {
            Call::EnumDvTimings => {
                let index = usize::try_from(arg.u32(field!(v4l2_enum_dv_timings.index)));
                let mode = index.ok().and_then(|index| receiver.modes.get(index));
                let at = field!(v4l2_enum_dv_timings.timings);
                write_timings(arg, at, mode.ok_or(Error::Invalid)?);
            }
            Call::DvTimingsCap => write_cap(arg, receiver.modes),
            Call::GetDvTimings => write_timings(arg, 0, &receiver.timings),
            Call::QueryDvTimings => {
                if let Err(why) = query(arg, receiver) {
                    return Ok(Answer::Failed(why));
                }
            }
            _ => self.set_timings(arg)?,
        }
        Ok(Answer::Done)
    }

    /// S_DV_TIMINGS. EINVAL if no mode has these timings; EBUSY if the mode would change while buffers exist.
    ///
    /// Source: Linux 7.2 drivers/media/test-drivers/vivid/vivid-vid-cap.c `vivid_vid_cap_s_dv_timings`.
    fn set_timings(&mut self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let receiver = self.receiver()?;
        let wanted = read_timings(arg).ok_or(Error::Invalid)?;
        let mode = receiver.modes.iter().find(|mode| mode.matches(&wanted));
        let mode = mode.copied().ok_or(Error::Invalid)?;
        if !mode.matches(&receiver.timings) {
            if self.is_busy(Flow::Capture) {
                return Err(Error::Busy);
            }
            self.driver.set_timings(&mode);
        }
        write_timings(arg, 0, &mode);
        Ok(())
    }

    /// G_EDID, or S_EDID with `set`. The structure is copied out even if the call fails.
    ///
    /// Source: Linux 7.2 drivers/media/v4l2-core/v4l2-ioctl.c `check_array_args`.
    pub(crate) fn edid_call(
        &mut self,
        run: &Run<'_, M>,
        arg: &mut Image<&mut [u8]>,
        set: bool,
    ) -> Result<Answer, Error> {
        let (pointer, count) = arrays::BLOCKS.checked(arg)?;
        let mut bytes = vec![0; count * EDID_BLOCK];
        if count != 0 {
            read_user(run.program, pointer, &mut bytes)?;
        }
        arg.clear(field!(v4l2_edid.reserved), 5 * 4);
        let done = match set {
            true => self.set_edid(run.cx.now_ns, arg, bytes),
            false => self.get_edid(arg, &mut bytes).and_then(|len| {
                let used = bytes.get(..len).unwrap_or_default();
                if used.is_empty() {
                    Ok(())
                } else {
                    write_user(run.program, pointer, used)
                }
            }),
        };
        Ok(done.map_or_else(Answer::Failed, Answer::from))
    }

    /// Copies blocks of the EDID, and returns their length in bytes.
    fn get_edid(&self, arg: &mut Image<&mut [u8]>, out: &mut [u8]) -> Result<usize, Error> {
        const NO_DATA: Error = Error::Driver(vb3_queue::DriverError::ENODATA);
        let edid = &self.receiver()?.edid;
        self.port_at(arg.u32(field!(v4l2_edid.pad)))?;
        let start = usize::try_from(arg.u32(field!(v4l2_edid.start_block))).unwrap_or(usize::MAX);
        if start == 0 && out.is_empty() {
            let blocks = edid.len() / EDID_BLOCK;
            arg.set_u32(field!(v4l2_edid.blocks), u32::try_from(blocks).unwrap_or(0));
            return Ok(0);
        }
        if edid.is_empty() {
            return Err(NO_DATA);
        }
        let rest = edid
            .get(start.saturating_mul(EDID_BLOCK)..)
            .unwrap_or_default();
        if rest.is_empty() {
            return Err(Error::Invalid);
        }
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        let blocks = u32::try_from(len / EDID_BLOCK).unwrap_or(0);
        arg.set_u32(field!(v4l2_edid.blocks), blocks);
        Ok(len)
    }

    /// Replaces the EDID. If the source starts or stops sending a signal because of the new EDID, programs get an
    /// event.
    fn set_edid(
        &mut self,
        now_ns: u64,
        arg: &mut Image<&mut [u8]>,
        edid: Vec<u8>,
    ) -> Result<(), Error> {
        const TOO_BIG: Error = Error::Driver(vb3_queue::DriverError::E2BIG);
        let before = self.receiver()?.found;
        self.port_at(arg.u32(field!(v4l2_edid.pad)))?;
        if arg.u32(field!(v4l2_edid.start_block)) != 0 {
            return Err(Error::Invalid);
        }
        if edid.len() > MAX_EDID_BLOCKS * EDID_BLOCK {
            let most = u32::try_from(MAX_EDID_BLOCKS).unwrap_or(0);
            arg.set_u32(field!(v4l2_edid.blocks), most);
            return Err(TOO_BIG);
        }
        if !has_valid_address(&edid) {
            return Err(Error::Invalid);
        }
        if self.is_busy(Flow::Capture) {
            return Err(Error::Busy);
        }
        self.driver.set_edid(edid);
        if self.receiver()?.found != before {
            let (port, changes) = (0, sys::V4L2_EVENT_SRC_CH_RESOLUTION);
            self.raise_driver_event(DriverEvent::SourceChange { port, changes }, now_ns);
        }
        Ok(())
    }
}
