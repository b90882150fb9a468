//! The ioctls: numbers, names, and copying of their structures.

use crate::arrays::{ArraySpec, BLOCKS, CONTROLS as VALUES, PLANES};
use crate::bytes::{Image, MAX_ARG};
use crate::shown::Kind::{Enum, Fraction, Hex, Rect, Text, U32, U64};
use crate::shown::words::STATES;
use crate::shown::{
    BOUNDS, BUFFER_ASKED, BUFFER_DONE, BUFFER_FLAGGED, BUFFER_QUEUED, BUFFER_TOLD, BUFFER_WANTED,
    BUS_FORMAT, BUS_FORMAT_WANTED, CAPABILITY, CLIENT_CAPS, CONTROL, CONTROL_ID, CONTROL_TOLD,
    CONTROL_VALUE, CONTROLS, CONTROLS_DONE, CREATE, CREATED, CROP, CROPPED, DECODER_COMMAND,
    DESCRIPTION, DESCRIPTION_WANTED, EDID, EDID_BLOCKS, ENCODER_COMMAND, EVENT, EXPORT, EXPORTED,
    EXT_CONTROL_TOLD, FORMAT, FORMAT_WANTED, Field, GRANTED, INTERVAL_WANTED, INTERVALS, MENU,
    MENU_WANTED, NOTHING, PAD_INTERVAL, PAD_SELECTED, PAD_SELECTION, PAD_SELECTION_WANTED,
    PARAMETERS, PORT, PRIORITY, REMOVE, REQUESTED, SELECTED, SELECTION, SELECTION_WANTED,
    SIZE_WANTED, SIZES, SUBSCRIPTION, TIMINGS, TYPE, fields,
};
use crate::sys;

impl Call {
    /// Returns whether only subdevices support the call.
    pub(crate) const fn is_of_subdevices(self) -> bool {
        self as u32 >= Self::SubdevQueryCap as u32
    }
}

/// Properties of a call: how its structure is copied and shown, and whether it checks priorities.
#[derive(Clone, Copy)]
pub(crate) struct CallSpec {
    pub(crate) call: Call,
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    /// Number of bytes that are copied from the program. The rest is zeroed.
    pub(crate) keep: usize,
    /// The array that the structure points to, if the call reads one.
    pub(crate) array: Option<ArraySpec>,
    /// Whether a file gets EBUSY while another file has a higher priority.
    pub(crate) prio: bool,
    /// Fields that a trace shows before the call, and after a successful one.
    pub(crate) arguments: &'static [Field],
    pub(crate) results: &'static [Field],
}

impl CallSpec {
    /// Returns the size of the structure in bytes.
    pub(crate) const fn size(&self) -> usize {
        ((self.number >> 16) & 0x3fff) as usize
    }

    /// Returns whether the program's structure is read.
    pub(crate) const fn reads(&self) -> bool {
        self.number >> 30 & 1 != 0
    }

    /// Returns whether the program's structure is written.
    pub(crate) const fn writes(&self) -> bool {
        self.number >> 31 & 1 != 0
    }
}

/// Offset of the first byte after a field.
macro_rules! through {
    ($ty:ident . $name:ident, $bytes:literal) => {
        core::mem::offset_of!(sys::$ty, $name) + $bytes
    };
}

const ALL: usize = MAX_ARG;

/// The optional array of a row.
macro_rules! array {
    () => {
        None
    };
    ($array:ident) => {
        Some($array)
    };
}

/// Defines [`Call`] and [`REQUESTS`] by one row for each ioctl. A row has the ioctl's number; how many bytes of the
/// structure are read from the program; after `with`, the array that the structure points to; whether the call checks
/// priorities; and the fields that a trace shows before the call and after it.
macro_rules! requests {
    ($($call:ident = $number:ident, $keep:expr, $(with $array:ident,)? $prio:literal, $arguments:expr => $results:expr;)*) => {
        /// The operation of an ioctl.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Call {
            $($call),*
        }

        /// Every ioctl that some device supports. Any other gets ENOTTY.
        pub(crate) static REQUESTS: &[CallSpec] = &[$(CallSpec {
            call: Call::$call,
            number: sys::$number,
            name: stringify!($number),
            keep: $keep,
            array: array!($($array)?),
            prio: $prio,
            arguments: $arguments,
            results: $results,
        }),*];
    };
}

// The calls of subdevices come last: see `Call::is_of_subdevices`.
requests! {
    QueueBuf = VIDIOC_QBUF, ALL, with PLANES, false, BUFFER_QUEUED => BUFFER_FLAGGED;
    DequeueBuf = VIDIOC_DQBUF, ALL, with PLANES, false, BUFFER_WANTED => BUFFER_DONE;
    QueryCap = VIDIOC_QUERYCAP, 0, false, NOTHING => CAPABILITY;
    EnumFmt = VIDIOC_ENUM_FMT, through!(v4l2_fmtdesc.mbus_code, 4), false,
        DESCRIPTION_WANTED => DESCRIPTION;
    GetFmt = VIDIOC_G_FMT, through!(v4l2_format.type_, 4), false, TYPE => FORMAT;
    SetFmt = VIDIOC_S_FMT, ALL, true, FORMAT_WANTED => FORMAT;
    TryFmt = VIDIOC_TRY_FMT, ALL, false, FORMAT_WANTED => FORMAT;
    EnumFrameSizes = VIDIOC_ENUM_FRAMESIZES, through!(v4l2_frmsizeenum.pixel_format, 4), false,
        SIZE_WANTED => SIZES;
    EnumFrameIntervals = VIDIOC_ENUM_FRAMEINTERVALS, through!(v4l2_frmivalenum.height, 4), false,
        INTERVAL_WANTED => INTERVALS;
    GetParm = VIDIOC_G_PARM, through!(v4l2_streamparm.type_, 4), false, TYPE => PARAMETERS;
    SetParm = VIDIOC_S_PARM, ALL, true, PARAMETERS => PARAMETERS;
    EnumInput = VIDIOC_ENUMINPUT, through!(v4l2_input.index, 4), false,
        PORT => fields! { v4l2_input name = Text(32); status = Hex; };
    GetInput = VIDIOC_G_INPUT, 0, false, NOTHING => PORT;
    SetInput = VIDIOC_S_INPUT, ALL, true, PORT => NOTHING;
    EnumOutput = VIDIOC_ENUMOUTPUT, through!(v4l2_output.index, 4), false,
        PORT => fields! { v4l2_output name = Text(32); };
    GetOutput = VIDIOC_G_OUTPUT, 0, false, NOTHING => PORT;
    SetOutput = VIDIOC_S_OUTPUT, ALL, true, PORT => NOTHING;
    GetPriority = VIDIOC_G_PRIORITY, 0, false, NOTHING => PRIORITY;
    SetPriority = VIDIOC_S_PRIORITY, ALL, true, PRIORITY => NOTHING;
    QueryCtrl = VIDIOC_QUERYCTRL, through!(v4l2_queryctrl.id, 4), false,
        CONTROL_ID => CONTROL_TOLD;
    QueryExtCtrl = VIDIOC_QUERY_EXT_CTRL, through!(v4l2_query_ext_ctrl.id, 4), false,
        CONTROL_ID => EXT_CONTROL_TOLD;
    QueryMenu = VIDIOC_QUERYMENU, through!(v4l2_querymenu.index, 4), false, MENU_WANTED => MENU;
    GetCtrl = VIDIOC_G_CTRL, through!(v4l2_control.id, 4), false, CONTROL_ID => CONTROL_VALUE;
    SetCtrl = VIDIOC_S_CTRL, ALL, true, CONTROL => CONTROL_VALUE;
    GetExtCtrls = VIDIOC_G_EXT_CTRLS, ALL, with VALUES, false, CONTROLS => CONTROLS_DONE;
    SetExtCtrls = VIDIOC_S_EXT_CTRLS, ALL, with VALUES, true, CONTROLS => CONTROLS_DONE;
    TryExtCtrls = VIDIOC_TRY_EXT_CTRLS, ALL, with VALUES, false, CONTROLS => CONTROLS_DONE;
    SubscribeEvent = VIDIOC_SUBSCRIBE_EVENT, ALL, false, SUBSCRIPTION => NOTHING;
    UnsubscribeEvent = VIDIOC_UNSUBSCRIBE_EVENT, ALL, false, SUBSCRIPTION => NOTHING;
    DequeueEvent = VIDIOC_DQEVENT, 0, false, NOTHING => EVENT;
    ReqBufs = VIDIOC_REQBUFS, through!(v4l2_requestbuffers.flags, 1), true, REQUESTED => GRANTED;
    CreateBufs = VIDIOC_CREATE_BUFS, through!(v4l2_create_buffers.flags, 4), true,
        CREATE => CREATED;
    RemoveBufs = VIDIOC_REMOVE_BUFS, through!(v4l2_remove_buffers.type_, 4), true,
        REMOVE => NOTHING;
    QueryBuf = VIDIOC_QUERYBUF, through!(v4l2_buffer.length, 4), with PLANES, false,
        BUFFER_ASKED => BUFFER_TOLD;
    PrepareBuf = VIDIOC_PREPARE_BUF, ALL, with PLANES, false, BUFFER_QUEUED => BUFFER_FLAGGED;
    ExportBuf = VIDIOC_EXPBUF, through!(v4l2_exportbuffer.flags, 4), false, EXPORT => EXPORTED;
    StreamOn = VIDIOC_STREAMON, ALL, true, TYPE => NOTHING;
    StreamOff = VIDIOC_STREAMOFF, ALL, true, TYPE => NOTHING;
    GetSelection = VIDIOC_G_SELECTION, through!(v4l2_selection.r, 16), false,
        SELECTION_WANTED => SELECTED;
    SetSelection = VIDIOC_S_SELECTION, through!(v4l2_selection.r, 16), true, SELECTION => SELECTED;
    CropCap = VIDIOC_CROPCAP, through!(v4l2_cropcap.type_, 4), false, TYPE => BOUNDS;
    GetCrop = VIDIOC_G_CROP, through!(v4l2_crop.type_, 4), false, TYPE => CROPPED;
    SetCrop = VIDIOC_S_CROP, ALL, true, CROP => NOTHING;
    DecoderCmd = VIDIOC_DECODER_CMD, ALL, true, DECODER_COMMAND => NOTHING;
    TryDecoderCmd = VIDIOC_TRY_DECODER_CMD, ALL, false, DECODER_COMMAND => NOTHING;
    EncoderCmd = VIDIOC_ENCODER_CMD, ALL, true, ENCODER_COMMAND => NOTHING;
    TryEncoderCmd = VIDIOC_TRY_ENCODER_CMD, ALL, false, ENCODER_COMMAND => NOTHING;
    EnumDvTimings = VIDIOC_ENUM_DV_TIMINGS, through!(v4l2_enum_dv_timings.pad, 4), false,
        PORT => fields! { v4l2_enum_dv_timings
            timings.__bindgen_anon_1.bt.width = U32; timings.__bindgen_anon_1.bt.height = U32;
            timings.__bindgen_anon_1.bt.pixelclock = U64; };
    DvTimingsCap = VIDIOC_DV_TIMINGS_CAP, through!(v4l2_dv_timings_cap.pad, 4), false,
        NOTHING => NOTHING;
    GetDvTimings = VIDIOC_G_DV_TIMINGS, 0, false, NOTHING => TIMINGS;
    SetDvTimings = VIDIOC_S_DV_TIMINGS, ALL, true, TIMINGS => TIMINGS;
    QueryDvTimings = VIDIOC_QUERY_DV_TIMINGS, 0, false, NOTHING => TIMINGS;
    GetEdid = VIDIOC_G_EDID, ALL, with BLOCKS, false, EDID => EDID_BLOCKS;
    SetEdid = VIDIOC_S_EDID, ALL, with BLOCKS, true, EDID => EDID_BLOCKS;
    SubdevQueryCap = VIDIOC_SUBDEV_QUERYCAP, 0, false, NOTHING => NOTHING;
    LogStatus = VIDIOC_LOG_STATUS, 0, false, NOTHING => NOTHING;
    SubdevEnumMbusCode = VIDIOC_SUBDEV_ENUM_MBUS_CODE,
        through!(v4l2_subdev_mbus_code_enum.which, 4), false,
        fields! { v4l2_subdev_mbus_code_enum pad = U32; index = U32; which = Enum(STATES); }
        => fields! { v4l2_subdev_mbus_code_enum code = Hex; };
    SubdevEnumFrameSize = VIDIOC_SUBDEV_ENUM_FRAME_SIZE,
        through!(v4l2_subdev_frame_size_enum.which, 4), false,
        fields! { v4l2_subdev_frame_size_enum pad = U32; index = U32; code = Hex; }
        => fields! { v4l2_subdev_frame_size_enum max_width = U32; max_height = U32; };
    SubdevEnumFrameInterval = VIDIOC_SUBDEV_ENUM_FRAME_INTERVAL,
        through!(v4l2_subdev_frame_interval_enum.which, 4), false,
        fields! { v4l2_subdev_frame_interval_enum pad = U32; index = U32; code = Hex; }
        => fields! { v4l2_subdev_frame_interval_enum interval = Fraction; };
    SubdevGetFmt = VIDIOC_SUBDEV_G_FMT, through!(v4l2_subdev_format.pad, 4), false,
        fields! { v4l2_subdev_format pad = U32; which = Enum(STATES); } => BUS_FORMAT;
    SubdevSetFmt = VIDIOC_SUBDEV_S_FMT, through!(v4l2_subdev_format.format, 48), false,
        BUS_FORMAT_WANTED => BUS_FORMAT;
    SubdevGetSelection = VIDIOC_SUBDEV_G_SELECTION, through!(v4l2_subdev_selection.r, 16), false,
        PAD_SELECTION_WANTED => PAD_SELECTED;
    SubdevSetSelection = VIDIOC_SUBDEV_S_SELECTION, through!(v4l2_subdev_selection.r, 16), false,
        PAD_SELECTION => PAD_SELECTED;
    SubdevGetCrop = VIDIOC_SUBDEV_G_CROP, through!(v4l2_subdev_crop.rect, 16), false,
        fields! { v4l2_subdev_crop pad = U32; which = Enum(STATES); }
        => fields! { v4l2_subdev_crop rect = Rect; };
    SubdevSetCrop = VIDIOC_SUBDEV_S_CROP, through!(v4l2_subdev_crop.rect, 16), false,
        fields! { v4l2_subdev_crop pad = U32; which = Enum(STATES); rect = Rect; }
        => fields! { v4l2_subdev_crop rect = Rect; };
    SubdevGetInterval = VIDIOC_SUBDEV_G_FRAME_INTERVAL,
        through!(v4l2_subdev_frame_interval.which, 4), false,
        fields! { v4l2_subdev_frame_interval pad = U32; } => PAD_INTERVAL;
    SubdevSetInterval = VIDIOC_SUBDEV_S_FRAME_INTERVAL,
        through!(v4l2_subdev_frame_interval.which, 4), false,
        fields! { v4l2_subdev_frame_interval pad = U32; interval = Fraction; } => PAD_INTERVAL;
    SubdevGetClientCap = VIDIOC_SUBDEV_G_CLIENT_CAP, 0, false, NOTHING => CLIENT_CAPS;
    SubdevSetClientCap = VIDIOC_SUBDEV_S_CLIENT_CAP, ALL, false, CLIENT_CAPS => CLIENT_CAPS;
}

/// Finds an ioctl by its exact number: type, number, direction and size.
pub(crate) fn lookup(number: u32) -> Option<&'static CallSpec> {
    REQUESTS.iter().find(|request| request.number == number)
}

/// Returns the number of a video device's ioctl whose last byte is `code`, as virtio-media names ioctls. Size and
/// direction follow from the number, as in `_IOC_SIZE` and `_IOC_DIR`.
#[must_use]
pub fn ioctl_of_code(code: u32) -> Option<u32> {
    let is_asked =
        |request: &&CallSpec| request.number & 0xff == code && !request.call.is_of_subdevices();
    REQUESTS.iter().find(is_asked).map(|request| request.number)
}

/// Returns the address and length in bytes of the array that an ioctl's structure points to.
///
/// `None` if the structure has no array, or if the call does not read it.
#[must_use]
pub fn array_of(request: u32, structure: &[u8]) -> Option<(u64, u64)> {
    let spec = lookup(request).filter(|spec| spec.size() <= structure.len())?;
    let array = spec.array?;
    let (addr, count) = array.checked(&Image(structure)).ok()?;
    // CAST: widening.
    (count > 0).then_some((addr, (count * array.element) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::field;

    #[test]
    fn structure_sizes_match_the_headers() {
        for request in REQUESTS {
            assert!(request.size() <= MAX_ARG, "{}", request.name);
            assert_eq!(
                request.number >> 8 & 0xff,
                u32::from(b'V'),
                "{}",
                request.name
            );
        }
        let size = |number| lookup(number).unwrap().size();
        assert_eq!(size(sys::VIDIOC_QBUF), size_of::<sys::v4l2_buffer>());
        assert_eq!(size(sys::VIDIOC_G_FMT), size_of::<sys::v4l2_format>());
        assert_eq!(
            size(sys::VIDIOC_CREATE_BUFS),
            size_of::<sys::v4l2_create_buffers>()
        );
        assert_eq!(
            size(sys::VIDIOC_REMOVE_BUFS),
            size_of::<sys::v4l2_remove_buffers>()
        );
        assert_eq!(
            size(sys::VIDIOC_S_EXT_CTRLS),
            size_of::<sys::v4l2_ext_controls>()
        );
    }

    #[test]
    fn directions_are_in_the_number() {
        let cap = lookup(sys::VIDIOC_QUERYCAP).unwrap();
        assert!(!cap.reads() && cap.writes());
        let on = lookup(sys::VIDIOC_STREAMON).unwrap();
        assert!(on.reads() && !on.writes());
        let q = lookup(sys::VIDIOC_QBUF).unwrap();
        assert!(q.reads() && q.writes());
    }

    #[test]
    fn codes_name_ioctls_of_video_devices() {
        assert_eq!(ioctl_of_code(15), Some(sys::VIDIOC_QBUF));
        assert_eq!(
            ioctl_of_code(5),
            Some(sys::VIDIOC_S_FMT),
            "not SUBDEV_S_FMT"
        );
        assert_eq!(ioctl_of_code(255), None);
        assert_eq!(ioctl_of_code(15 + 256), None);
    }

    #[test]
    fn another_size_or_direction_is_unknown() {
        assert!(lookup(sys::VIDIOC_QBUF ^ 1 << 16).is_none());
        assert!(lookup(sys::VIDIOC_QBUF & !(1 << 31)).is_none());
        assert!(lookup(0x5600 | 0xff).is_none());
    }

    #[test]
    fn structures_say_where_their_arrays_are() {
        let mut buffer = [0; size_of::<sys::v4l2_buffer>()];
        let mut image = Image(&mut buffer[..]);
        image.set_u64(field!(v4l2_buffer.m), 0x5000);
        image.set_u32(field!(v4l2_buffer.length), 2);
        assert_eq!(array_of(sys::VIDIOC_QBUF, &buffer), None, "no planes");
        let kind = sys::V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
        Image(&mut buffer[..]).set_u32(field!(v4l2_buffer.type_), kind);
        assert_eq!(array_of(sys::VIDIOC_QBUF, &buffer), Some((0x5000, 128)));
        assert_eq!(array_of(sys::VIDIOC_QBUF, &buffer[..40]), None, "cut off");
        assert_eq!(array_of(sys::VIDIOC_STREAMON, &buffer), None);
        Image(&mut buffer[..]).set_u32(field!(v4l2_buffer.length), 9);
        assert_eq!(array_of(sys::VIDIOC_QBUF, &buffer), None, "too many");
        let mut edid = [0; size_of::<sys::v4l2_edid>()];
        Image(&mut edid[..]).set_u32(field!(v4l2_edid.blocks), 2);
        assert_eq!(array_of(sys::VIDIOC_G_EDID, &edid), Some((0, 256)));
    }
}
