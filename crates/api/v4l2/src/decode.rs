//! Decodes ioctls for traces: names, arguments and results from the bytes of a structure.
//!
//! Decoding does not validate. Any bytes can be decoded, including those of a refused call.

mod arrays;
#[cfg(test)]
mod tests;

use crate::pixfmt::FourCc;
use crate::request::REQUESTS;
use crate::shown::{self, Bytes, Field, Kind, words};
pub use arrays::{Array, array};
use core::fmt;

/// Length of the longest decoded structure, in bytes.
pub const MAX_STRUCTURE: usize = crate::bytes::MAX_ARG;

/// A value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A field that may be negative.
    Number(i64),
    /// A field that is never negative.
    Unsigned(u64),
    /// A name, flags joined by `|`, a pixel format, a text, a fraction or an area.
    Word(String),
    /// Elements of an array.
    List(Vec<Value>),
    /// Named elements of an array.
    Map(Vec<(String, Value)>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Unsigned(number) => write!(f, "{number}"),
            Self::Word(word) if word.is_empty() || word.contains([' ', '"']) => {
                write!(f, "{word:?}")
            }
            Self::Word(word) => f.write_str(word),
            Self::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Map(values) => {
                f.write_str("{")?;
                for (at, (name, value)) in values.iter().enumerate() {
                    write!(f, "{}{name}={value}", if at == 0 { "" } else { "," })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Fields of a structure, by name.
pub type Fields = Vec<(&'static str, Value)>;

/// Returns the name of an ioctl of V4L2 or media devices.
#[must_use]
pub fn name(request: u32) -> Option<&'static str> {
    let answered = REQUESTS.iter().find(|known| known.number == request);
    answered.map(|known| known.name).or_else(|| {
        let others = words::OTHER_CALLS.iter();
        let mut others = others.filter(|(number, _)| *number == request);
        others.next().map(|&(_, name)| name)
    })
}

/// Returns the number of a video ioctl by name, such as `VIDIOC_QBUF`.
#[must_use]
pub fn request(name: &str) -> Option<u32> {
    let known = REQUESTS.iter().find(|known| known.name == name);
    known.map(|known| known.number)
}

/// Returns the size of a call's structure in bytes.
#[must_use]
pub const fn size(request: u32) -> usize {
    (request >> 16 & 0x3fff) as usize
}

/// Returns the fields to show before a call, and those after its success.
fn layout(request: u32) -> Option<[&'static [Field]; 2]> {
    let known = REQUESTS.iter().find(|known| known.number == request);
    if let Some(known) = known {
        return Some([known.arguments, known.results]);
    }
    let other = shown::OTHERS.iter().find(|other| other.number == request);
    other.map(|other| [other.arguments, other.results])
}

/// Decodes the program's arguments from the bytes before the call.
#[must_use]
pub fn arguments(request: u32, bytes: &[u8]) -> Fields {
    layout(request).map_or_else(Vec::new, |[asked, _]| fields(asked, bytes))
}

/// Decodes the device's results from the bytes after a successful call.
#[must_use]
pub fn results(request: u32, bytes: &[u8]) -> Fields {
    layout(request).map_or_else(Vec::new, |[_, told]| fields(told, bytes))
}

fn fields(fields: &[Field], bytes: &[u8]) -> Fields {
    let bytes = Bytes(bytes);
    fields
        .iter()
        .filter(|field| (field.when)(&bytes))
        .map(|field| (label(field.path), field.kind.read(&bytes, field.at)))
        .collect()
}

/// Returns a field's name for output: `fmt.pix.width` becomes `width`, and `type_` becomes `type`.
fn label(path: &'static str) -> &'static str {
    let last = path.rsplit('.').next().unwrap_or(path);
    last.trim().trim_end_matches('_')
}

impl Kind {
    fn read(self, bytes: &Bytes<'_>, at: usize) -> Value {
        match self {
            Self::U8 => Value::Unsigned(u8::from_ne_bytes(bytes.get(at)).into()),
            Self::U32 => Value::Unsigned(bytes.u32(at).into()),
            Self::I32 => Value::Number(bytes.i32(at).into()),
            Self::I64 => Value::Number(i64::from_ne_bytes(bytes.get(at))),
            Self::U64 => Value::Unsigned(u64::from_ne_bytes(bytes.get(at))),
            Self::Hex => Value::Word(format!("{:#x}", bytes.u32(at))),
            Self::Enum(names) => {
                let value = bytes.u32(at);
                let known = names.iter().find(|(number, _)| *number == value);
                known.map_or(Value::Unsigned(value.into()), |(_, name)| {
                    Value::Word((*name).to_owned())
                })
            }
            Self::Flags(names) => Value::Word(flags(bytes.u32(at), names)),
            Self::FourCc => Value::Word(FourCc(bytes.u32(at)).to_string()),
            Self::ControlId => Value::Word(arrays::control(bytes.u32(at))),
            Self::Text(len) => Value::Word(text(bytes.0, at, len)),
            Self::Fraction => Value::Word(format!("{}/{}", bytes.u32(at), bytes.u32(at + 4))),
            Self::Rect => Value::Word(format!(
                "{}x{}{:+}{:+}",
                bytes.u32(at + 8),
                bytes.u32(at + 12),
                bytes.i32(at),
                bytes.i32(at + 4)
            )),
            Self::Time => {
                let seconds = i64::from_ne_bytes(bytes.get(at));
                let micros = i64::from_ne_bytes(bytes.get(at + 8));
                Value::Word(format!("{seconds}.{micros:06}"))
            }
        }
    }
}

/// Formats flags by name, and unnamed bits as a number.
fn flags(value: u32, names: &[(u32, &'static str)]) -> String {
    let set = names
        .iter()
        .filter(|(bit, _)| *bit != 0 && value & bit == *bit);
    let mut words: Vec<String> = set.clone().map(|(_, name)| (*name).to_owned()).collect();
    let rest = set.fold(value, |rest, (bit, _)| rest & !bit);
    if rest != 0 || words.is_empty() {
        words.push(if rest == 0 {
            "0".to_owned()
        } else {
            format!("{rest:#x}")
        });
    }
    words.join("|")
}

/// Returns the text before the first zero. Non-ASCII characters are replaced.
fn text(bytes: &[u8], at: usize, len: usize) -> String {
    let tail = bytes.get(at..).unwrap_or_default();
    let text = tail.iter().take(len).take_while(|&&byte| byte != 0);
    text.map(|&byte| {
        if byte.is_ascii_graphic() || byte == b' ' {
            char::from(byte)
        } else {
            '?'
        }
    })
    .collect()
}
