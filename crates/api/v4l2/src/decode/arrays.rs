//! Decodes arrays that a program's structure points at: controls, and planes of a buffer.

use super::{Fields, Value};
use crate::arrays::{CONTROLS, PLANES};
use crate::bytes::{Image, field};
use crate::cid;
use crate::request::{Call, lookup};
use crate::shown::{Bytes, buffer_type, is_output};
use crate::sys;

/// Maximum number of array elements that are decoded.
const MAX_ELEMENTS: u32 = 64;

const CONTROL_BYTES: usize = CONTROLS.element;
const PLANE_BYTES: usize = PLANES.element;

/// The type of an array's elements, and their valid fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elements {
    Controls {
        asked_with_values: bool,
    },
    Planes {
        asked_with_bytes: bool,
        answered_with_bytes: bool,
        by_fd: bool,
    },
}

/// Location of a call's array in the program's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// Address of the array.
    pub addr: u64,
    /// Length of the decoded part in bytes.
    pub len_bytes: usize,
    elements: Elements,
}

/// Returns the array of a call, from the bytes of its structure.
#[must_use]
pub fn array(request: u32, bytes: &[u8]) -> Option<Array> {
    let spec = lookup(request).filter(|spec| spec.size() <= bytes.len())?;
    let array = spec.array?;
    let (addr, count) = array.place(&Image(bytes))?;
    let kind = buffer_type(&Bytes(bytes));
    let elements = match spec.call {
        Call::GetExtCtrls | Call::SetExtCtrls | Call::TryExtCtrls => Elements::Controls {
            asked_with_values: spec.call != Call::GetExtCtrls,
        },
        Call::QueueBuf | Call::PrepareBuf | Call::DequeueBuf => Elements::Planes {
            asked_with_bytes: spec.call != Call::DequeueBuf && is_output(kind),
            answered_with_bytes: spec.call == Call::DequeueBuf,
            by_fd: Image(bytes).u32(field!(v4l2_buffer.memory)) == sys::V4L2_MEMORY_DMABUF,
        },
        _ => return None,
    };
    // CAST: no more than MAX_ELEMENTS.
    let len_bytes = count.min(MAX_ELEMENTS) as usize * array.element;
    (addr != 0 && len_bytes != 0).then_some(Array {
        addr,
        len_bytes,
        elements,
    })
}

impl Array {
    /// Decodes the program's arguments from the array's bytes before the call.
    #[must_use]
    pub fn arguments(&self, bytes: &[u8]) -> Fields {
        match self.elements {
            Elements::Controls {
                asked_with_values: true,
            } => values(bytes),
            Elements::Controls { .. } => {
                let names = bytes.chunks_exact(CONTROL_BYTES).map(id);
                vec![("controls", Value::List(names.map(Value::Word).collect()))]
            }
            Elements::Planes {
                asked_with_bytes,
                by_fd,
                ..
            } => planes(bytes, asked_with_bytes, by_fd),
        }
    }

    /// Decodes the device's results from the array's bytes after a successful call.
    #[must_use]
    pub fn results(&self, bytes: &[u8]) -> Fields {
        match self.elements {
            Elements::Controls { .. } => values(bytes),
            Elements::Planes {
                answered_with_bytes: true,
                by_fd,
                ..
            } => planes(bytes, true, by_fd),
            Elements::Planes { .. } => Fields::new(),
        }
    }
}

/// Returns the name of a control, or its number if it is unknown, with the flags of a query.
pub(super) fn control(id: u32) -> String {
    const FLAGS: [(u32, &str); 2] = [
        (sys::V4L2_CTRL_FLAG_NEXT_CTRL, "|NEXT_CTRL"),
        (sys::V4L2_CTRL_FLAG_NEXT_COMPOUND, "|NEXT_COMPOUND"),
    ];
    let plain = id & sys::V4L2_CTRL_ID_MASK;
    let mut name = cid::name(plain).map_or_else(|| format!("{plain:#x}"), str::to_owned);
    for (flag, said) in FLAGS {
        if id & flag != 0 {
            name.push_str(said);
        }
    }
    name
}

fn id(entry: &[u8]) -> String {
    control(Bytes(entry).u32(field!(v4l2_ext_control.id)))
}

/// Decodes controls with their values. For a control with a payload, the value is the payload's length.
fn values(bytes: &[u8]) -> Fields {
    let values = bytes.chunks_exact(CONTROL_BYTES).map(|entry| {
        let fields = Bytes(entry);
        let value = field!(v4l2_ext_control.__bindgen_anon_1);
        let value = match fields.u32(field!(v4l2_ext_control.size)) {
            0 if fields.u32(field!(v4l2_ext_control.id)) == sys::V4L2_CID_PIXEL_RATE => {
                Value::Unsigned(fields.u64(value))
            }
            0 => Value::Number(fields.i32(value).into()),
            len => Value::Word(format!("{len} bytes")),
        };
        (id(entry), value)
    });
    vec![("controls", Value::Map(values.collect()))]
}

fn planes(bytes: &[u8], with_bytes: bool, by_fd: bool) -> Fields {
    let list = |value: &dyn Fn(&Bytes<'_>) -> Value| {
        let planes = bytes.chunks_exact(PLANE_BYTES);
        Value::List(planes.map(|plane| value(&Bytes(plane))).collect())
    };
    let mut fields = Fields::new();
    if by_fd {
        fields.push((
            "plane_fds",
            list(&|plane| Value::Number(plane.i32(field!(v4l2_plane.m.fd)).into())),
        ));
    }
    if with_bytes {
        fields.push((
            "plane_bytesused",
            list(&|plane| Value::Unsigned(plane.u32(field!(v4l2_plane.bytesused)).into())),
        ));
    }
    fields
}
