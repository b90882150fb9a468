//! The fields of ioctls' structures that a trace shows. A trace is the list of a run's calls, with their arguments
//! and results.

pub(crate) mod words;

use crate::bytes::field;
use crate::sys;
use Kind::{
    ControlId, Enum, Flags, FourCc, Fraction, Hex, I32, I64, Rect, Text, Time, U8, U32, U64,
};
use words::{
    BUFFER_CAPS, BUFFER_FLAGS, CAPS, COLORSPACES, DECODER_COMMANDS, ENCODER_COMMANDS, EVENTS,
    FIELDS, FORMAT_FLAGS, MEMORIES, SIZE_TYPES, STATES, TARGETS, TYPES,
};

/// A structure's bytes. Reading past their end gives zero.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    pub(crate) fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        let tail = self.0.get(at..).and_then(|tail| tail.first_chunk::<N>());
        tail.copied().unwrap_or([0; N])
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.get(at))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.get(at))
    }

    pub(crate) fn i32(&self, at: usize) -> i32 {
        i32::from_ne_bytes(self.get(at))
    }
}

/// How a field is decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    U8,
    U32,
    I32,
    I64,
    U64,
    Hex,
    /// A named value.
    Enum(&'static [(u32, &'static str)]),
    /// Bits, by name.
    Flags(&'static [(u32, &'static str)]),
    FourCc,
    /// A control's id, shown by name.
    ControlId,
    /// Text in a field of this length.
    Text(usize),
    /// `struct v4l2_fract`.
    Fraction,
    /// `struct v4l2_rect`.
    Rect,
    /// `struct timeval`.
    Time,
}

/// A field of a structure.
pub(crate) struct Field {
    pub(crate) path: &'static str,
    pub(crate) at: usize,
    pub(crate) kind: Kind,
    /// Returns whether the field is meaningful in these bytes.
    pub(crate) when: fn(&Bytes<'_>) -> bool,
}

/// The shown fields of a call's structure.
pub(crate) struct Layout {
    pub(crate) number: u32,
    pub(crate) arguments: &'static [Field],
    pub(crate) results: &'static [Field],
}

macro_rules! fields {
    (@when) => {
        |_| true
    };
    (@when $when:expr) => {
        $when
    };
    ($ty:ident $($($name:ident).+ = $kind:expr $(, if $when:expr)?;)*) => {
        &[$($crate::shown::Field {
            path: stringify!($($name).+),
            at: $crate::bytes::field!($ty.$($name).+),
            kind: $kind,
            when: $crate::shown::fields!(@when $($when)?),
        }),*]
    };
}

pub(crate) use fields;

macro_rules! layouts {
    ($($number:ident : $arguments:expr => $results:expr;)*) => {
        &[$(Layout { number: sys::$number, arguments: $arguments, results: $results }),*]
    };
}

const fn plain(path: &'static str, kind: Kind) -> Field {
    Field {
        path,
        at: 0,
        kind,
        when: |_| true,
    }
}

pub(crate) const NOTHING: &[Field] = &[];
pub(crate) const TYPE: &[Field] = &[plain("type", Enum(TYPES))];
pub(crate) const PORT: &[Field] = &[plain("index", U32)];
pub(crate) const PRIORITY: &[Field] = &[plain("priority", U32)];

pub(crate) fn is_mplane(kind: u32) -> bool {
    matches!(
        kind,
        sys::V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE | sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
    )
}

pub(crate) fn is_output(kind: u32) -> bool {
    matches!(
        kind,
        sys::V4L2_BUF_TYPE_VIDEO_OUTPUT | sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
    )
}

pub(crate) fn buffer_type(bytes: &Bytes<'_>) -> u32 {
    bytes.u32(field!(v4l2_buffer.type_))
}

fn has_one_plane(bytes: &Bytes<'_>, memory: u32) -> bool {
    !is_mplane(buffer_type(bytes)) && bytes.u32(field!(v4l2_buffer.memory)) == memory
}

pub(crate) const BUFFER_QUEUED: &[Field] = fields! { v4l2_buffer
    type_ = Enum(TYPES);
    index = U32;
    memory = Enum(MEMORIES);
    m.offset = Hex, if |b| has_one_plane(b, sys::V4L2_MEMORY_MMAP);
    m.userptr = U64, if |b| has_one_plane(b, sys::V4L2_MEMORY_USERPTR);
    m.fd = I32, if |b| has_one_plane(b, sys::V4L2_MEMORY_DMABUF);
    length = U32;
    bytesused = U32, if |b| is_output(buffer_type(b)) && !is_mplane(buffer_type(b));
    timestamp = Time, if |b| is_output(buffer_type(b));
    flags = Flags(BUFFER_FLAGS);
    __bindgen_anon_1.request_fd = I32,
        if |b| b.u32(field!(v4l2_buffer.flags)) & sys::V4L2_BUF_FLAG_REQUEST_FD != 0;
};

pub(crate) const TIMINGS: &[Field] = fields! { v4l2_dv_timings
    __bindgen_anon_1.bt.width = U32;
    __bindgen_anon_1.bt.height = U32;
    __bindgen_anon_1.bt.interlaced = U32;
    __bindgen_anon_1.bt.pixelclock = U64;
};

pub(crate) const EDID: &[Field] = fields! { v4l2_edid pad = U32; start_block = U32; blocks = U32; };
pub(crate) const EDID_BLOCKS: &[Field] = fields! { v4l2_edid blocks = U32; };

pub(crate) const BUFFER_ASKED: &[Field] = fields! { v4l2_buffer
    type_ = Enum(TYPES);
    index = U32;
};

pub(crate) const BUFFER_FLAGGED: &[Field] = fields! { v4l2_buffer flags = Flags(BUFFER_FLAGS); };

pub(crate) const BUFFER_TOLD: &[Field] = fields! { v4l2_buffer
    memory = Enum(MEMORIES);
    m.offset = Hex, if |b| has_one_plane(b, sys::V4L2_MEMORY_MMAP);
    length = U32;
    flags = Flags(BUFFER_FLAGS);
};

pub(crate) const BUFFER_WANTED: &[Field] = fields! { v4l2_buffer
    type_ = Enum(TYPES);
    memory = Enum(MEMORIES);
};

pub(crate) const BUFFER_DONE: &[Field] = fields! { v4l2_buffer
    index = U32;
    m.fd = I32, if |b| has_one_plane(b, sys::V4L2_MEMORY_DMABUF);
    bytesused = U32, if |b| !is_mplane(buffer_type(b));
    field = Enum(FIELDS);
    sequence = U32;
    timestamp = Time;
    flags = Flags(BUFFER_FLAGS);
};

fn is_meta(bytes: &Bytes<'_>) -> bool {
    let metas = [
        sys::V4L2_BUF_TYPE_META_CAPTURE,
        sys::V4L2_BUF_TYPE_META_OUTPUT,
    ];
    metas.contains(&bytes.u32(0))
}

fn is_pix(bytes: &Bytes<'_>) -> bool {
    !is_mplane(bytes.u32(0)) && !is_meta(bytes)
}

fn is_pix_mp(bytes: &Bytes<'_>) -> bool {
    is_mplane(bytes.u32(0))
}

pub(crate) const FORMAT: &[Field] = fields! { v4l2_format
    type_ = Enum(TYPES);
    fmt.pix.width = U32, if is_pix;
    fmt.pix.height = U32, if is_pix;
    fmt.pix.pixelformat = FourCc, if is_pix;
    fmt.pix.field = Enum(FIELDS), if is_pix;
    fmt.pix.bytesperline = U32, if is_pix;
    fmt.pix.sizeimage = U32, if is_pix;
    fmt.pix.colorspace = Enum(COLORSPACES), if is_pix;
    fmt.pix_mp.width = U32, if is_pix_mp;
    fmt.pix_mp.height = U32, if is_pix_mp;
    fmt.pix_mp.pixelformat = FourCc, if is_pix_mp;
    fmt.pix_mp.field = Enum(FIELDS), if is_pix_mp;
    fmt.pix_mp.colorspace = Enum(COLORSPACES), if is_pix_mp;
    fmt.pix_mp.num_planes = U8, if is_pix_mp;
    fmt.meta.dataformat = FourCc, if is_meta;
    fmt.meta.buffersize = U32, if is_meta;
};

/// The fields that a program sets when it requests a format. The device fills the other fields.
pub(crate) const FORMAT_WANTED: &[Field] = fields! { v4l2_format
    type_ = Enum(TYPES);
    fmt.pix.width = U32, if is_pix;
    fmt.pix.height = U32, if is_pix;
    fmt.pix.pixelformat = FourCc, if is_pix;
    fmt.pix.field = Enum(FIELDS), if is_pix;
    fmt.pix_mp.width = U32, if is_pix_mp;
    fmt.pix_mp.height = U32, if is_pix_mp;
    fmt.pix_mp.pixelformat = FourCc, if is_pix_mp;
    fmt.pix_mp.num_planes = U8, if is_pix_mp;
    fmt.meta.dataformat = FourCc, if is_meta;
};

fn is_discrete_size(bytes: &Bytes<'_>) -> bool {
    bytes.u32(field!(v4l2_frmsizeenum.type_)) == sys::V4L2_FRMSIZE_TYPE_DISCRETE
}

fn is_stepwise_size(bytes: &Bytes<'_>) -> bool {
    !is_discrete_size(bytes)
}

pub(crate) const SIZES: &[Field] = fields! { v4l2_frmsizeenum
    type_ = Enum(SIZE_TYPES);
    __bindgen_anon_1.discrete.width = U32, if is_discrete_size;
    __bindgen_anon_1.discrete.height = U32, if is_discrete_size;
    __bindgen_anon_1.stepwise.min_width = U32, if is_stepwise_size;
    __bindgen_anon_1.stepwise.max_width = U32, if is_stepwise_size;
    __bindgen_anon_1.stepwise.step_width = U32, if is_stepwise_size;
    __bindgen_anon_1.stepwise.min_height = U32, if is_stepwise_size;
    __bindgen_anon_1.stepwise.max_height = U32, if is_stepwise_size;
    __bindgen_anon_1.stepwise.step_height = U32, if is_stepwise_size;
};

fn is_discrete_interval(bytes: &Bytes<'_>) -> bool {
    bytes.u32(field!(v4l2_frmivalenum.type_)) == sys::V4L2_FRMIVAL_TYPE_DISCRETE
}

fn is_stepwise_interval(bytes: &Bytes<'_>) -> bool {
    !is_discrete_interval(bytes)
}

pub(crate) const INTERVALS: &[Field] = fields! { v4l2_frmivalenum
    type_ = Enum(SIZE_TYPES);
    __bindgen_anon_1.discrete = Fraction, if is_discrete_interval;
    __bindgen_anon_1.stepwise.min = Fraction, if is_stepwise_interval;
    __bindgen_anon_1.stepwise.max = Fraction, if is_stepwise_interval;
    __bindgen_anon_1.stepwise.step = Fraction, if is_stepwise_interval;
};

pub(crate) const PARAMETERS: &[Field] = fields! { v4l2_streamparm
    type_ = Enum(TYPES);
    parm.capture.timeperframe = Fraction;
};

pub(crate) const CAPABILITY: &[Field] = fields! { v4l2_capability
    driver = Text(16);
    card = Text(32);
    bus_info = Text(32);
    device_caps = Flags(CAPS);
};

pub(crate) const REQUESTED: &[Field] = fields! { v4l2_requestbuffers
    type_ = Enum(TYPES);
    memory = Enum(MEMORIES);
    count = U32;
};

pub(crate) const GRANTED: &[Field] = fields! { v4l2_requestbuffers
    count = U32;
    capabilities = Flags(BUFFER_CAPS);
};

pub(crate) const CREATE: &[Field] = fields! { v4l2_create_buffers
    format.type_ = Enum(TYPES);
    memory = Enum(MEMORIES);
    count = U32;
};

pub(crate) const CREATED: &[Field] = fields! { v4l2_create_buffers
    index = U32;
    count = U32;
};

pub(crate) const REMOVE: &[Field] = fields! { v4l2_remove_buffers
    type_ = Enum(TYPES);
    index = U32;
    count = U32;
};

pub(crate) const EXPORT: &[Field] = fields! { v4l2_exportbuffer
    type_ = Enum(TYPES);
    index = U32;
    plane = U32;
    flags = Hex;
};

pub(crate) const EXPORTED: &[Field] = fields! { v4l2_exportbuffer fd = I32; };

pub(crate) const DESCRIPTION_WANTED: &[Field] = fields! { v4l2_fmtdesc
    type_ = Enum(TYPES);
    index = U32;
};

pub(crate) const DESCRIPTION: &[Field] = fields! { v4l2_fmtdesc
    pixelformat = FourCc;
    description = Text(32);
    flags = Flags(FORMAT_FLAGS);
};

pub(crate) const SIZE_WANTED: &[Field] = fields! { v4l2_frmsizeenum
    index = U32;
    pixel_format = FourCc;
};

pub(crate) const INTERVAL_WANTED: &[Field] = fields! { v4l2_frmivalenum
    index = U32;
    pixel_format = FourCc;
    width = U32;
    height = U32;
};

pub(crate) const CONTROL_ID: &[Field] = fields! { v4l2_control id = ControlId; };
pub(crate) const CONTROL: &[Field] = fields! { v4l2_control id = ControlId; value = I32; };
pub(crate) const CONTROL_VALUE: &[Field] = fields! { v4l2_control value = I32; };

pub(crate) const CONTROL_TOLD: &[Field] = fields! { v4l2_queryctrl
    id = ControlId;
    name = Text(32);
    minimum = I32;
    maximum = I32;
    step = I32;
    default_value = I32;
};

pub(crate) const EXT_CONTROL_TOLD: &[Field] = fields! { v4l2_query_ext_ctrl
    id = ControlId;
    name = Text(32);
    minimum = I64;
    maximum = I64;
    step = U64;
    default_value = I64;
};

pub(crate) const MENU_WANTED: &[Field] = fields! { v4l2_querymenu id = ControlId; index = U32; };
pub(crate) const MENU: &[Field] = fields! { v4l2_querymenu __bindgen_anon_1.name = Text(32); };

pub(crate) const CONTROLS: &[Field] = fields! { v4l2_ext_controls
    __bindgen_anon_1.which = Hex;
    count = U32;
};

pub(crate) const CONTROLS_DONE: &[Field] = fields! { v4l2_ext_controls error_idx = U32; };

pub(crate) const SUBSCRIPTION: &[Field] = fields! { v4l2_event_subscription
    type_ = Enum(EVENTS);
    id = Hex;
};

pub(crate) const EVENT: &[Field] = fields! { v4l2_event
    type_ = Enum(EVENTS);
    id = Hex;
    sequence = U32;
    pending = U32;
};

pub(crate) const SELECTION_WANTED: &[Field] = fields! { v4l2_selection
    type_ = Enum(TYPES);
    target = Enum(TARGETS);
};

pub(crate) const SELECTION: &[Field] = fields! { v4l2_selection
    type_ = Enum(TYPES);
    target = Enum(TARGETS);
    r = Rect;
};

pub(crate) const BUS_FORMAT: &[Field] = fields! { v4l2_subdev_format
    format.width = U32;
    format.height = U32;
    format.code = Hex;
    format.colorspace = Enum(COLORSPACES);
};

pub(crate) const BUS_FORMAT_WANTED: &[Field] = fields! { v4l2_subdev_format
    pad = U32;
    which = Enum(STATES);
    format.width = U32;
    format.height = U32;
    format.code = Hex;
};

pub(crate) const PAD_SELECTION_WANTED: &[Field] = fields! { v4l2_subdev_selection
    pad = U32;
    which = Enum(STATES);
    target = Enum(TARGETS);
};

pub(crate) const PAD_SELECTION: &[Field] = fields! { v4l2_subdev_selection
    pad = U32;
    which = Enum(STATES);
    target = Enum(TARGETS);
    r = Rect;
};

pub(crate) const PAD_SELECTED: &[Field] = fields! { v4l2_subdev_selection r = Rect; };
pub(crate) const PAD_INTERVAL: &[Field] = fields! { v4l2_subdev_frame_interval
    interval = Fraction;
};
pub(crate) const CLIENT_CAPS: &[Field] = fields! { v4l2_subdev_client_capability
    capabilities = U64;
};

pub(crate) const SELECTED: &[Field] = fields! { v4l2_selection r = Rect; };
pub(crate) const CROP: &[Field] = fields! { v4l2_crop type_ = Enum(TYPES); c = Rect; };
pub(crate) const CROPPED: &[Field] = fields! { v4l2_crop c = Rect; };
pub(crate) const BOUNDS: &[Field] = fields! { v4l2_cropcap bounds = Rect; defrect = Rect; };
pub(crate) const DECODER_COMMAND: &[Field] = &[plain("cmd", Enum(DECODER_COMMANDS))];
pub(crate) const ENCODER_COMMAND: &[Field] = &[plain("cmd", Enum(ENCODER_COMMANDS))];
const REQUEST: &[Field] = &[plain("fd", I32)];

/// A `media_pad_desc` is an entity's id and a pad's index.
const LINK: &[Field] = fields! { media_link_desc
    source.entity = U32;
    sink.entity = U32;
    flags = Hex;
};

const MEDIA: &[Field] = fields! { media_device_info
    driver = Text(16);
    model = Text(32);
    bus_info = Text(32);
};

/// Shown fields of calls on media devices and their requests. For calls on video devices, see `request.rs`.
pub(crate) static OTHERS: &[Layout] = layouts! {
    MEDIA_IOC_DEVICE_INFO: NOTHING => MEDIA;
    MEDIA_IOC_SETUP_LINK: LINK => NOTHING;
    MEDIA_IOC_REQUEST_ALLOC: NOTHING => REQUEST;
};
