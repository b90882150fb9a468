//! Reads an order: one line of JSON.

use crate::control::EventKind;
use crate::script::{MAX_COUNT, MAX_TIME_NS, call_named, errno_named, nearest_call};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use vb3_devices::Signal;
use vb3_devices::sink::FileFormat;
use vb3_devices::spec::SourceSpec;

/// Version of the protocol.
pub(super) const VERSION: u64 = 1;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    State,
    Buffers,
    Plug(String),
    /// Bring a camera back to the state in which the run began.
    Reset(String),
    Unplug {
        device: String,
        revoke: bool,
    },
    Revoke(String),
    /// Make the next `times` calls of an ioctl fail.
    Fail {
        device: String,
        request: u32,
        errno: i32,
        times: u64,
    },
    Signal {
        device: String,
        signal: Signal,
    },
    Set {
        device: String,
        control: String,
        value: i64,
    },
    Play {
        device: String,
        source: SourceSpec,
        at: Option<u32>,
    },
    Pause {
        device: String,
        paused: bool,
    },
    /// Wait until the device has finished this frame. Frames count from 0 over the whole run.
    Wait {
        device: String,
        frame: u64,
    },
    /// Let a virtual clock advance by this time.
    Advance {
        ns: u64,
    },
    /// Pass a frame from a file to the readers of a loopback.
    Push {
        device: String,
        path: PathBuf,
        /// The frame's time since the run began, in nanoseconds.
        after_ns: Option<u64>,
    },
    /// Describe the picture that a display showed last, and write it to a file.
    Shown {
        device: String,
        file: Option<(PathBuf, FileFormat)>,
    },
    /// Send the client a line for each event of these kinds. Replaces its earlier subscription.
    Watch {
        kinds: Vec<EventKind>,
        device: Option<String>,
    },
}

/// An order's name, its fields, and the function that reads them.
pub(super) struct Verb {
    pub(super) name: &'static str,
    /// The order's own fields, besides those of [`COMMON`].
    pub(super) fields: &'static [&'static str],
    read: fn(&mut Fields) -> Result<Order, Refused>,
}

const fn verb(
    name: &'static str,
    fields: &'static [&'static str],
    read: fn(&mut Fields) -> Result<Order, Refused>,
) -> Verb {
    Verb { name, fields, read }
}

/// Fields of every order.
pub(super) const COMMON: &[&str] = &["id", "version", "do"];

/// All orders. docs/control.schema.json describes the same orders.
pub(super) const VERBS: &[Verb] = &[
    verb("state", &[], |_| Ok(Order::State)),
    verb("buffers", &[], |_| Ok(Order::Buffers)),
    verb("plug", &["device"], |fields| {
        Ok(Order::Plug(fields.device()?))
    }),
    verb("reset", &["device"], |fields| {
        Ok(Order::Reset(fields.device()?))
    }),
    verb("unplug", &["device", "revoke"], unplug),
    verb("revoke", &["buffer"], |fields| {
        Ok(Order::Revoke(fields.text("buffer")?))
    }),
    verb("fail", &["device", "call", "errno", "times"], fail),
    verb("signal", &["device", "signal"], signal),
    verb("set", &["device", "control", "value"], |fields| {
        Ok(Order::Set {
            device: fields.device()?,
            control: fields.text("control")?,
            value: fields.integer("value")?,
        })
    }),
    verb("play", &["device", "source", "sequence"], play),
    verb("pause", &["device"], |fields| pause(fields, true)),
    verb("resume", &["device"], |fields| pause(fields, false)),
    verb("wait", &["device", "frame"], |fields| {
        Ok(Order::Wait {
            device: fields.device()?,
            frame: fields.count("frame", 0, MAX_COUNT)?,
        })
    }),
    verb("advance", &["ns"], |fields| {
        Ok(Order::Advance {
            ns: fields.count("ns", 1, MAX_TIME_NS)?,
        })
    }),
    verb("push", &["device", "path", "after_ns"], push),
    verb("shown", &["device", "path", "format"], shown),
    verb("watch", &["events", "device"], watch),
];

/// Why an order is refused: the field, and a message with its allowed values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) field: String,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
        }
    }
}

/// An order and the client's `id` for it, which the answer repeats.
#[derive(Clone, Debug)]
pub(super) struct OrderRequest {
    pub(super) id: Option<Value>,
    pub(super) order: Result<Order, Refused>,
}

/// Parses a line into an order, or a refusal.
pub(super) fn request(line: &str) -> OrderRequest {
    let fields = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return refuse("", "an order is a JSON object, such as {\"do\":\"state\"}"),
        Err(e) => return refuse("", &format!("this is not JSON: {e}")),
    };
    let mut fields = Fields { left: fields };
    let id = fields.left.remove("id");
    let order = order(&mut fields);
    OrderRequest { id, order }
}

fn refuse(field: &str, message: &str) -> OrderRequest {
    OrderRequest {
        id: None,
        order: Err(Refused::new(field, message)),
    }
}

fn order(fields: &mut Fields) -> Result<Order, Refused> {
    let version = fields.left.remove("version");
    if version.is_some_and(|version| version.as_u64() != Some(VERSION)) {
        let message = format!("this run speaks version {VERSION} of the protocol");
        return Err(Refused::new("version", message));
    }
    let name = fields.text("do")?;
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
        let message = format!("there is no order {name:?}; there are {}", names.join(", "));
        return Err(Refused::new("do", message));
    };
    let known = || COMMON.iter().chain(verb.fields);
    let mut given = fields.left.keys();
    if let Some(field) = given.find(|field| !known().any(|known| known == field)) {
        let known: Vec<&str> = known().copied().collect();
        let message = format!("there is no such field; there are {}", known.join(", "));
        return Err(Refused::new(field, message));
    }
    (verb.read)(fields)
}

fn unplug(fields: &mut Fields) -> Result<Order, Refused> {
    let device = fields.device()?;
    let revoke = match fields.take("revoke") {
        None => false,
        Some(Value::Bool(revoke)) => revoke,
        Some(_) => return Err(Refused::new("revoke", "true or false")),
    };
    Ok(Order::Unplug { device, revoke })
}

fn signal(fields: &mut Fields) -> Result<Order, Refused> {
    let device = fields.device()?;
    let text = fields.text("signal")?;
    Ok(Order::Signal {
        device,
        signal: match text.parse() {
            Ok(signal) => signal,
            Err(allowed) => {
                let message = format!("{text:?} is no signal; use {allowed}");
                return Err(Refused::new("signal", message));
            }
        },
    })
}

fn pause(fields: &mut Fields, paused: bool) -> Result<Order, Refused> {
    let device = fields.device()?;
    Ok(Order::Pause { device, paused })
}

fn push(fields: &mut Fields) -> Result<Order, Refused> {
    Ok(Order::Push {
        device: fields.device()?,
        path: fields.path()?,
        after_ns: match fields.left.contains_key("after_ns") {
            true => Some(fields.count("after_ns", 0, MAX_TIME_NS)?),
            false => None,
        },
    })
}

fn shown(fields: &mut Fields) -> Result<Order, Refused> {
    let device = fields.device()?;
    let path = match fields.left.contains_key("path") {
        true => Some(fields.path()?),
        false => None,
    };
    let format = match fields.take("format") {
        None => FileFormat::Png,
        Some(_) if path.is_none() => {
            return Err(Refused::new("format", "needs \"path\""));
        }
        Some(Value::String(format)) if format == "png" => FileFormat::Png,
        Some(Value::String(format)) if format == "raw" => FileFormat::Raw,
        Some(_) => return Err(Refused::new("format", "\"png\" or \"raw\"")),
    };
    let file = path.map(|path| (path, format));
    Ok(Order::Shown { device, file })
}

fn watch(fields: &mut Fields) -> Result<Order, Refused> {
    let refused = || {
        let names = EventKind::ALL.map(EventKind::name).join(", ");
        Refused::new("events", format!("a list of: {names}; empty for none"))
    };
    let Some(Value::Array(names)) = fields.take("events") else {
        return Err(refused());
    };
    let mut kinds = Vec::new();
    for name in names {
        let named = |kind: &EventKind| Some(kind.name()) == name.as_str();
        let kind = EventKind::ALL.into_iter().find(named);
        kinds.push(kind.ok_or_else(refused)?);
    }
    let device = match fields.left.contains_key("device") {
        true => Some(fields.device()?),
        false => None,
    };
    Ok(Order::Watch { kinds, device })
}

fn fail(fields: &mut Fields) -> Result<Order, Refused> {
    let device = fields.device()?;
    let call = fields.text("call")?;
    let request = call_named(&call).ok_or_else(|| {
        Refused::new(
            "call",
            format!(
                "{call:?} is no ioctl of a video device{} Write its name, such as \"QBUF\"",
                nearest_call(&call)
            ),
        )
    })?;
    let errno = fields.text("errno")?;
    let errno = errno_named(&errno).ok_or_else(|| {
        let message = format!("{errno:?} is no errno; write its name, such as \"EIO\"");
        Refused::new("errno", message)
    })?;
    let times = match fields.left.contains_key("times") {
        true => fields.count("times", 1, MAX_COUNT)?,
        false => 1,
    };
    Ok(Order::Fail {
        device,
        request,
        errno,
        times,
    })
}

fn play(fields: &mut Fields) -> Result<Order, Refused> {
    let device = fields.device()?;
    let source = fields.text("source")?;
    let source = match source.as_str() {
        "pattern" => SourceSpec::Pattern,
        path if Path::new(path).is_absolute() => SourceSpec::Clip(PathBuf::from(path)),
        _ => {
            let message = "\"pattern\", or the absolute path of a video or picture file";
            return Err(Refused::new("source", message));
        }
    };
    let at = match fields.left.contains_key("sequence") {
        true => Some(fields.count("sequence", 0, u64::from(u32::MAX))?),
        false => None,
    };
    Ok(Order::Play {
        device,
        source,
        at: at.and_then(|at| u32::try_from(at).ok()),
    })
}

/// The fields of an order that are not read yet.
struct Fields {
    left: Map<String, Value>,
}

impl Fields {
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.left.remove(name)
    }

    fn text(&mut self, name: &'static str) -> Result<String, Refused> {
        match self.take(name) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Refused::new(name, "a string")),
            None => Err(Refused::new(name, format!("{name:?} is missing: a string"))),
        }
    }

    /// Takes the field `device`: `/dev/videoN`, `videoN` or N.
    fn device(&mut self) -> Result<String, Refused> {
        if let Some(Value::Number(number)) = self.left.get("device") {
            let number = number.to_string();
            self.take("device");
            return Ok(number);
        }
        self.text("device")
    }

    fn path(&mut self) -> Result<PathBuf, Refused> {
        let path = PathBuf::from(self.text("path")?);
        match path.is_absolute() {
            true => Ok(path),
            false => Err(Refused::new("path", "the absolute path of a file")),
        }
    }

    fn integer(&mut self, name: &'static str) -> Result<i64, Refused> {
        let value = self.take(name);
        let number = value.as_ref().and_then(Value::as_i64);
        number.ok_or_else(|| Refused::new(name, "an integer"))
    }

    fn count(&mut self, name: &'static str, min: u64, max: u64) -> Result<u64, Refused> {
        let value = self.take(name);
        let number = value.as_ref().and_then(Value::as_u64);
        let number = number.filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| Refused::new(name, format!("an integer from {min} to {max}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(line: &str) -> (String, String) {
        let refused = request(line).order.expect_err(line);
        (refused.field, refused.message)
    }

    #[test]
    fn an_order_keeps_its_id() {
        let read = request(r#"{"do":"wait","device":0,"frame":7,"id":"a","version":1}"#);
        assert_eq!(read.id, Some(Value::from("a")));
        let device = "0".to_owned();
        assert_eq!(read.order, Ok(Order::Wait { device, frame: 7 }));
    }

    #[test]
    fn a_refusal_names_the_field_and_its_values() {
        for (line, field, part) in [
            ("7", "", "JSON object"),
            ("{", "", "not JSON"),
            (r#"{"do":"fly"}"#, "do", "state, buffers, plug"),
            (r#"{"do":"state","version":2}"#, "version", "version 1"),
            (r#"{"do":"plug"}"#, "device", "missing"),
            (
                r#"{"do":"plug","device":"0","when":1}"#,
                "when",
                "id, version, do, device",
            ),
            (
                r#"{"do":"wait","device":0,"frame":-1}"#,
                "frame",
                "from 0 to",
            ),
            (
                r#"{"do":"fail","device":0,"call":"STREAMNO"}"#,
                "call",
                "did you mean STREAMON?",
            ),
            (
                r#"{"do":"fail","device":0,"call":"QBUF","errno":"EFOO"}"#,
                "errno",
                "EIO",
            ),
            (
                r#"{"do":"play","device":0,"source":"a.mp4"}"#,
                "source",
                "absolute",
            ),
            (
                r#"{"do":"signal","device":0,"signal":"weak"}"#,
                "signal",
                "lost",
            ),
        ] {
            let (named, message) = refused(line);
            assert_eq!(named, field, "{line}");
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(line in ".{0,200}") {
            let _ = request(&line);
        }
    }
}
