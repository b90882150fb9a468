//! Reads an order: one line of JSON.

use crate::Mappings;
use crate::script::{MAX_COUNT, MAX_TIME_NS, call_named, errno_named};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use vb3_devices::spec::SourceSpec;

/// Version of the protocol.
pub(super) const VERSION: u64 = 1;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    State,
    Buffers,
    Plug(String),
    Unplug {
        device: String,
        revoke: bool,
        mappings: Option<Mappings>,
    },
    Revoke {
        buffer: String,
        mappings: Option<Mappings>,
    },
    /// The next `times` calls of an ioctl fail.
    Fail {
        device: String,
        request: u32,
        errno: i32,
        times: u64,
    },
    Signal {
        device: String,
        present: bool,
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
    /// Wait until the device has finished this frame, counted from 0 for the run.
    Wait {
        device: String,
        frame: u64,
    },
    /// Let a virtual clock pass.
    Advance {
        ns: u64,
    },
}

const VERBS: &[&str] = &[
    "state", "buffers", "plug", "unplug", "revoke", "fail", "signal", "set", "play", "pause",
    "resume", "wait", "advance",
];

/// Why an order is refused: the field, and what it may be.
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

/// An order with the client's name for it, which the answer repeats.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: Option<Value>,
    pub(super) order: Result<Order, Refused>,
}

/// Reads a line.
pub(super) fn request(line: &str) -> Request {
    let fields = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return refuse("", "an order is a JSON object, such as {\"do\":\"state\"}"),
        Err(e) => return refuse("", &format!("this is not JSON: {e}")),
    };
    let mut fields = Fields {
        left: fields,
        known: vec!["id", "version"],
    };
    let id = fields.left.remove("id");
    let order = order(&mut fields);
    Request { id, order }
}

fn refuse(field: &str, message: &str) -> Request {
    Request {
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
    let verb = fields.text("do")?;
    let order = match verb.as_str() {
        "state" => Order::State,
        "buffers" => Order::Buffers,
        "plug" => Order::Plug(fields.device()?),
        "unplug" => unplug(fields)?,
        "revoke" => Order::Revoke {
            buffer: fields.text("buffer")?,
            mappings: fields.mappings()?,
        },
        "fail" => fail(fields)?,
        "signal" => Order::Signal {
            device: fields.device()?,
            present: match fields.text("signal")?.as_str() {
                "lost" => false,
                "back" => true,
                _ => return Err(Refused::new("signal", "\"lost\" or \"back\"")),
            },
        },
        "set" => Order::Set {
            device: fields.device()?,
            control: fields.text("control")?,
            value: fields.integer("value")?,
        },
        "play" => play(fields)?,
        "pause" | "resume" => Order::Pause {
            device: fields.device()?,
            paused: verb == "pause",
        },
        "wait" => Order::Wait {
            device: fields.device()?,
            frame: fields.count("frame", 0, MAX_COUNT)?,
        },
        "advance" => Order::Advance {
            ns: fields.count("ns", 1, MAX_TIME_NS)?,
        },
        _ => {
            let message = format!("there is no order {verb:?}; there are {}", VERBS.join(", "));
            return Err(Refused::new("do", message));
        }
    };
    fields.finish()?;
    Ok(order)
}

fn unplug(fields: &mut Fields) -> Result<Order, Refused> {
    let device = fields.device()?;
    let revoke = match fields.take("revoke") {
        None => false,
        Some(Value::Bool(revoke)) => revoke,
        Some(_) => return Err(Refused::new("revoke", "true or false")),
    };
    let mappings = fields.mappings()?;
    if mappings.is_some() && !revoke {
        let message = "mappings are revoked only with \"revoke\":true";
        return Err(Refused::new("mappings", message));
    }
    Ok(Order::Unplug {
        device,
        revoke,
        mappings,
    })
}

fn fail(fields: &mut Fields) -> Result<Order, Refused> {
    let device = fields.device()?;
    let call = fields.text("call")?;
    let request = call_named(&call).ok_or_else(|| {
        Refused::new(
            "call",
            format!("{call:?} is no ioctl of a video device, such as \"QBUF\""),
        )
    })?;
    let errno = fields.text("errno")?;
    let errno = errno_named(&errno)
        .ok_or_else(|| Refused::new("errno", format!("{errno:?} is no errno, such as \"EIO\"")))?;
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

/// The fields of an order that were not read yet.
struct Fields {
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name)
    }

    fn text(&mut self, name: &'static str) -> Result<String, Refused> {
        match self.take(name) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Refused::new(name, "a string")),
            None => Err(Refused::new(name, format!("{name:?} is missing: a string"))),
        }
    }

    /// The device: `/dev/videoN`, `videoN` or N.
    fn device(&mut self) -> Result<String, Refused> {
        if let Some(Value::Number(number)) = self.left.get("device") {
            let number = number.to_string();
            self.take("device");
            return Ok(number);
        }
        self.text("device")
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

    fn mappings(&mut self) -> Result<Option<Mappings>, Refused> {
        let refused = || Refused::new("mappings", "\"zero\" or \"fault\"");
        match self.take("mappings") {
            None => Ok(None),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| refused()),
            Some(_) => Err(refused()),
        }
    }

    fn finish(&self) -> Result<(), Refused> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(field) => {
                let message = format!(
                    "there is no such field; there are {}",
                    self.known.join(", ")
                );
                Err(Refused::new(field, message))
            }
        }
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
            (r#"{"do":"fail","device":0,"call":"QBUFF"}"#, "call", "QBUF"),
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
            (
                r#"{"do":"unplug","device":0,"mappings":"fault"}"#,
                "mappings",
                "revoke",
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
