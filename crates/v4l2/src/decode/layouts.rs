//! Which fields of which structure say what a call asks and answers.

use super::words::{
    BUFFER_CAPS, BUFFER_FLAGS, CAPS, COLORSPACES, DECODER_COMMANDS, ENCODER_COMMANDS, EVENTS,
    FIELDS, FORMAT_FLAGS, MEMORIES, SIZE_TYPES, SYNC_FLAGS, TARGETS, TYPES,
};
use super::{
    Bytes,
    Kind::{
        self, ControlId, Enum, Flags, FourCc, Fraction, Hex, I32, I64, Rect, Text, Time, U8, U32,
        U64,
    },
};
use crate::bytes::field;
use crate::sys;

/// A field of a structure.
pub(super) struct Field {
    pub(super) path: &'static str,
    pub(super) at: usize,
    pub(super) kind: Kind,
    /// Whether it means something in these bytes.
    pub(super) when: fn(&Bytes<'_>) -> bool,
}

/// What of a call's structure is shown.
pub(super) struct Layout {
    pub(super) number: u32,
    pub(super) arguments: &'static [Field],
    pub(super) results: &'static [Field],
}

macro_rules! when {
    () => {
        |_| true
    };
    ($when:expr) => {
        $when
    };
}

macro_rules! fields {
    ($ty:ident $($($name:ident).+ = $kind:expr $(, if $when:expr)?;)*) => {
        &[$(Field {
            path: stringify!($($name).+),
            at: field!($ty.$($name).+),
            kind: $kind,
            when: when!($($when)?),
        }),*]
    };
}

macro_rules! layouts {
    ($($($number:ident)|+ : $arguments:expr => $results:expr;)*) => {
        &[$($(Layout { number: sys::$number, arguments: $arguments, results: $results }),+),*]
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

const NOTHING: &[Field] = &[];
const TYPE: &[Field] = &[plain("type", Enum(TYPES))];
const PORT: &[Field] = &[plain("index", U32)];
const PRIORITY: &[Field] = &[plain("priority", U32)];

pub(super) fn is_mplane(kind: u32) -> bool {
    matches!(
        kind,
        sys::V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE | sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
    )
}

pub(super) fn is_output(kind: u32) -> bool {
    matches!(
        kind,
        sys::V4L2_BUF_TYPE_VIDEO_OUTPUT | sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
    )
}

pub(super) fn buffer_type(bytes: &Bytes<'_>) -> u32 {
    bytes.u32(field!(v4l2_buffer.type_))
}

fn has_one_plane(bytes: &Bytes<'_>, memory: u32) -> bool {
    !is_mplane(buffer_type(bytes)) && bytes.u32(field!(v4l2_buffer.memory)) == memory
}

const BUFFER_QUEUED: &[Field] = fields! { v4l2_buffer
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

const BUFFER_ASKED: &[Field] = fields! { v4l2_buffer
    type_ = Enum(TYPES);
    index = U32;
};

const BUFFER_FLAGGED: &[Field] = fields! { v4l2_buffer flags = Flags(BUFFER_FLAGS); };

const BUFFER_TOLD: &[Field] = fields! { v4l2_buffer
    memory = Enum(MEMORIES);
    m.offset = Hex, if |b| has_one_plane(b, sys::V4L2_MEMORY_MMAP);
    length = U32;
    flags = Flags(BUFFER_FLAGS);
};

const BUFFER_WANTED: &[Field] = fields! { v4l2_buffer
    type_ = Enum(TYPES);
    memory = Enum(MEMORIES);
};

const BUFFER_DONE: &[Field] = fields! { v4l2_buffer
    index = U32;
    m.fd = I32, if |b| has_one_plane(b, sys::V4L2_MEMORY_DMABUF);
    bytesused = U32, if |b| !is_mplane(buffer_type(b));
    field = Enum(FIELDS);
    sequence = U32;
    timestamp = Time;
    flags = Flags(BUFFER_FLAGS);
};

fn is_pix(bytes: &Bytes<'_>) -> bool {
    !is_mplane(bytes.u32(0))
}

fn is_pix_mp(bytes: &Bytes<'_>) -> bool {
    is_mplane(bytes.u32(0))
}

const FORMAT: &[Field] = fields! { v4l2_format
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
};

/// What a program asks of a format; the rest is the device's to say.
const FORMAT_WANTED: &[Field] = fields! { v4l2_format
    type_ = Enum(TYPES);
    fmt.pix.width = U32, if is_pix;
    fmt.pix.height = U32, if is_pix;
    fmt.pix.pixelformat = FourCc, if is_pix;
    fmt.pix.field = Enum(FIELDS), if is_pix;
    fmt.pix_mp.width = U32, if is_pix_mp;
    fmt.pix_mp.height = U32, if is_pix_mp;
    fmt.pix_mp.pixelformat = FourCc, if is_pix_mp;
    fmt.pix_mp.num_planes = U8, if is_pix_mp;
};

fn is_discrete_size(bytes: &Bytes<'_>) -> bool {
    bytes.u32(field!(v4l2_frmsizeenum.type_)) == sys::V4L2_FRMSIZE_TYPE_DISCRETE
}

fn is_stepwise_size(bytes: &Bytes<'_>) -> bool {
    !is_discrete_size(bytes)
}

const SIZES: &[Field] = fields! { v4l2_frmsizeenum
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

const INTERVALS: &[Field] = fields! { v4l2_frmivalenum
    type_ = Enum(SIZE_TYPES);
    __bindgen_anon_1.discrete = Fraction, if is_discrete_interval;
    __bindgen_anon_1.stepwise.min = Fraction, if is_stepwise_interval;
    __bindgen_anon_1.stepwise.max = Fraction, if is_stepwise_interval;
    __bindgen_anon_1.stepwise.step = Fraction, if is_stepwise_interval;
};

const PARAMETERS: &[Field] = fields! { v4l2_streamparm
    type_ = Enum(TYPES);
    parm.capture.timeperframe = Fraction;
};

const CAPABILITY: &[Field] = fields! { v4l2_capability
    driver = Text(16);
    card = Text(32);
    bus_info = Text(32);
    device_caps = Flags(CAPS);
};

const REQUESTED: &[Field] = fields! { v4l2_requestbuffers
    type_ = Enum(TYPES);
    memory = Enum(MEMORIES);
    count = U32;
};

const GRANTED: &[Field] = fields! { v4l2_requestbuffers
    count = U32;
    capabilities = Flags(BUFFER_CAPS);
};

const CREATE: &[Field] = fields! { v4l2_create_buffers
    format.type_ = Enum(TYPES);
    memory = Enum(MEMORIES);
    count = U32;
};

const CREATED: &[Field] = fields! { v4l2_create_buffers
    index = U32;
    count = U32;
};

const REMOVE: &[Field] = fields! { v4l2_remove_buffers
    type_ = Enum(TYPES);
    index = U32;
    count = U32;
};

const EXPORT: &[Field] = fields! { v4l2_exportbuffer
    type_ = Enum(TYPES);
    index = U32;
    plane = U32;
    flags = Hex;
};

const EXPORTED: &[Field] = fields! { v4l2_exportbuffer fd = I32; };

const DESCRIPTION_WANTED: &[Field] = fields! { v4l2_fmtdesc
    type_ = Enum(TYPES);
    index = U32;
};

const DESCRIPTION: &[Field] = fields! { v4l2_fmtdesc
    pixelformat = FourCc;
    description = Text(32);
    flags = Flags(FORMAT_FLAGS);
};

const SIZE_WANTED: &[Field] = fields! { v4l2_frmsizeenum
    index = U32;
    pixel_format = FourCc;
};

const INTERVAL_WANTED: &[Field] = fields! { v4l2_frmivalenum
    index = U32;
    pixel_format = FourCc;
    width = U32;
    height = U32;
};

const INPUT: &[Field] = fields! { v4l2_input name = Text(32); status = Hex; };
const OUTPUT: &[Field] = fields! { v4l2_output name = Text(32); };

const CONTROL_ID: &[Field] = fields! { v4l2_control id = ControlId; };
const CONTROL: &[Field] = fields! { v4l2_control id = ControlId; value = I32; };
const CONTROL_VALUE: &[Field] = fields! { v4l2_control value = I32; };

const CONTROL_TOLD: &[Field] = fields! { v4l2_queryctrl
    id = ControlId;
    name = Text(32);
    minimum = I32;
    maximum = I32;
    step = I32;
    default_value = I32;
};

const EXT_CONTROL_TOLD: &[Field] = fields! { v4l2_query_ext_ctrl
    id = ControlId;
    name = Text(32);
    minimum = I64;
    maximum = I64;
    step = U64;
    default_value = I64;
};

const MENU_WANTED: &[Field] = fields! { v4l2_querymenu id = ControlId; index = U32; };
const MENU: &[Field] = fields! { v4l2_querymenu __bindgen_anon_1.name = Text(32); };

const CONTROLS: &[Field] = fields! { v4l2_ext_controls
    __bindgen_anon_1.which = Hex;
    count = U32;
};

const CONTROLS_DONE: &[Field] = fields! { v4l2_ext_controls error_idx = U32; };

const SUBSCRIPTION: &[Field] = fields! { v4l2_event_subscription
    type_ = Enum(EVENTS);
    id = Hex;
};

const EVENT: &[Field] = fields! { v4l2_event
    type_ = Enum(EVENTS);
    id = Hex;
    sequence = U32;
    pending = U32;
};

const SELECTION_WANTED: &[Field] = fields! { v4l2_selection
    type_ = Enum(TYPES);
    target = Enum(TARGETS);
};

const SELECTION: &[Field] = fields! { v4l2_selection
    type_ = Enum(TYPES);
    target = Enum(TARGETS);
    r = Rect;
};

const SELECTED: &[Field] = fields! { v4l2_selection r = Rect; };
const CROP: &[Field] = fields! { v4l2_crop type_ = Enum(TYPES); c = Rect; };
const CROPPED: &[Field] = fields! { v4l2_crop c = Rect; };
const BOUNDS: &[Field] = fields! { v4l2_cropcap bounds = Rect; defrect = Rect; };
const DECODER_COMMAND: &[Field] = &[plain("cmd", Enum(DECODER_COMMANDS))];
const ENCODER_COMMAND: &[Field] = &[plain("cmd", Enum(ENCODER_COMMANDS))];
const SYNC: &[Field] = &[plain("flags", Flags(SYNC_FLAGS))];
const REQUEST: &[Field] = &[plain("fd", I32)];

const MEDIA: &[Field] = fields! { media_device_info
    driver = Text(16);
    model = Text(32);
    bus_info = Text(32);
};

pub(super) static LAYOUTS: &[Layout] = layouts! {
    VIDIOC_QUERYCAP: NOTHING => CAPABILITY;
    VIDIOC_ENUM_FMT: DESCRIPTION_WANTED => DESCRIPTION;
    VIDIOC_G_FMT: TYPE => FORMAT;
    VIDIOC_S_FMT | VIDIOC_TRY_FMT: FORMAT_WANTED => FORMAT;
    VIDIOC_ENUM_FRAMESIZES: SIZE_WANTED => SIZES;
    VIDIOC_ENUM_FRAMEINTERVALS: INTERVAL_WANTED => INTERVALS;
    VIDIOC_G_PARM: TYPE => PARAMETERS;
    VIDIOC_S_PARM: PARAMETERS => PARAMETERS;
    VIDIOC_REQBUFS: REQUESTED => GRANTED;
    VIDIOC_CREATE_BUFS: CREATE => CREATED;
    VIDIOC_REMOVE_BUFS: REMOVE => NOTHING;
    VIDIOC_QUERYBUF: BUFFER_ASKED => BUFFER_TOLD;
    VIDIOC_QBUF | VIDIOC_PREPARE_BUF: BUFFER_QUEUED => BUFFER_FLAGGED;
    VIDIOC_DQBUF: BUFFER_WANTED => BUFFER_DONE;
    VIDIOC_EXPBUF: EXPORT => EXPORTED;
    VIDIOC_STREAMON | VIDIOC_STREAMOFF: TYPE => NOTHING;
    VIDIOC_ENUMINPUT: PORT => INPUT;
    VIDIOC_ENUMOUTPUT: PORT => OUTPUT;
    VIDIOC_G_INPUT | VIDIOC_G_OUTPUT: NOTHING => PORT;
    VIDIOC_S_INPUT | VIDIOC_S_OUTPUT: PORT => NOTHING;
    VIDIOC_G_PRIORITY: NOTHING => PRIORITY;
    VIDIOC_S_PRIORITY: PRIORITY => NOTHING;
    VIDIOC_QUERYCTRL: CONTROL_ID => CONTROL_TOLD;
    VIDIOC_QUERY_EXT_CTRL: CONTROL_ID => EXT_CONTROL_TOLD;
    VIDIOC_QUERYMENU: MENU_WANTED => MENU;
    VIDIOC_G_CTRL: CONTROL_ID => CONTROL_VALUE;
    VIDIOC_S_CTRL: CONTROL => CONTROL_VALUE;
    VIDIOC_G_EXT_CTRLS | VIDIOC_S_EXT_CTRLS | VIDIOC_TRY_EXT_CTRLS: CONTROLS => CONTROLS_DONE;
    VIDIOC_SUBSCRIBE_EVENT | VIDIOC_UNSUBSCRIBE_EVENT: SUBSCRIPTION => NOTHING;
    VIDIOC_DQEVENT: NOTHING => EVENT;
    VIDIOC_G_SELECTION: SELECTION_WANTED => SELECTED;
    VIDIOC_S_SELECTION: SELECTION => SELECTED;
    VIDIOC_G_CROP: TYPE => CROPPED;
    VIDIOC_S_CROP: CROP => NOTHING;
    VIDIOC_CROPCAP: TYPE => BOUNDS;
    VIDIOC_DECODER_CMD | VIDIOC_TRY_DECODER_CMD: DECODER_COMMAND => NOTHING;
    VIDIOC_ENCODER_CMD | VIDIOC_TRY_ENCODER_CMD: ENCODER_COMMAND => NOTHING;
    DMA_BUF_IOCTL_SYNC: SYNC => NOTHING;
    MEDIA_IOC_DEVICE_INFO: NOTHING => MEDIA;
    MEDIA_IOC_REQUEST_ALLOC: NOTHING => REQUEST;
};
