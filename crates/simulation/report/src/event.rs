//! One traced call and its formats: text, JSON, Perfetto.

use crate::sentence::errno_name;
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;
use vb3_v4l2::decode::{Fields, Value};

/// Format of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of text for each call: `text`.
    Text,
    /// A JSON object on a line for each call: `json`.
    Json,
    /// Chrome trace events for ui.perfetto.dev: `perfetto`.
    Perfetto,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "perfetto" => Ok(Self::Perfetto),
            _ => Err("use text, json or perfetto".to_owned()),
        }
    }
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The call returned this value.
    Value(i64),
    /// The call failed with this errno.
    Errno(i32),
    /// The call never ended: a signal arrived, its thread ended, or its file was closed.
    GivenUp,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Time from the run's start to the call.
    pub(crate) at: Duration,
    /// Duration from the call's start to its answer.
    pub(crate) took: Duration,
    /// Process and thread. `None` for the last close of a file, whose caller the kernel does not report.
    pub(crate) thread: Option<(u32, u32)>,
    /// Path of the node; empty for a dma-buf or a media request.
    pub(crate) device: String,
    /// Number of the open file, counted from 1.
    pub(crate) file: Option<u64>,
    /// Name of the call.
    pub(crate) call: String,
    /// Arguments from the program.
    pub(crate) arguments: Fields,
    /// Result of the call.
    pub(crate) outcome: Answer,
    /// Results that the device returned.
    pub(crate) results: Fields,
}

impl Event {
    /// Formats the call as one line, without a line end.
    #[must_use]
    pub(crate) fn line(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => self.json().to_string(),
            Format::Perfetto => self.perfetto().to_string(),
        }
    }

    /// Formats the call as a Perfetto slice, with times in microseconds.
    fn perfetto(&self) -> Json {
        let mut args = self.json();
        if let Some(args) = args.as_object_mut() {
            for shown in ["time", "duration_us", "pid", "tid", "call"] {
                args.remove(shown);
            }
        }
        let (pid, tid) = self.thread.unwrap_or_default();
        json!({
            "ph": "X",
            "name": self.call,
            "cat": self.device,
            "ts": self.at.as_secs_f64() * 1e6,
            "dur": self.took.as_secs_f64() * 1e6,
            "pid": pid,
            "tid": tid,
            "args": args,
        })
    }

    fn text(&self) -> String {
        let thread = self
            .thread
            .map_or_else(|| "-".to_owned(), |(_, tid)| tid.to_string());
        let device = match self.file {
            Some(file) if self.device.is_empty() => format!("request#{file}"),
            Some(file) => format!("{}#{file}", self.device),
            None if self.device.is_empty() => "dma-buf".to_owned(),
            None => self.device.clone(),
        };
        let mut line = format!(
            "{:>12.6} {thread} {device} {}",
            self.at.as_secs_f64(),
            self.call
        );
        words(&mut line, &self.arguments);
        let _ = match self.outcome {
            Answer::Value(value) => write!(line, " -> {value}"),
            Answer::Errno(errno) => write!(line, " -> {}", errno_name(errno)),
            Answer::GivenUp => write!(line, " -> given up"),
        };
        words(&mut line, &self.results);
        let _ = write!(line, " ({} us)", self.took.as_micros());
        line
    }

    fn json(&self) -> Json {
        let mut line = json!({
            "time": self.at.as_secs_f64(),
            "duration_us": u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            "pid": self.thread.map(|(pid, _)| pid),
            "tid": self.thread.map(|(_, tid)| tid),
            "device": self.device,
            "file": self.file,
            "call": self.call,
            "arguments": object(&self.arguments),
            "results": object(&self.results),
        });
        let (name, value) = match self.outcome {
            Answer::Value(value) => ("result", json!(value)),
            Answer::Errno(errno) => ("errno", json!(errno_name(errno))),
            Answer::GivenUp => ("given_up", json!(true)),
        };
        if let Some(line) = line.as_object_mut() {
            line.insert(name.to_owned(), value);
        }
        line
    }
}

fn words(line: &mut String, fields: &Fields) {
    for (name, value) in fields {
        let _ = write!(line, " {name}={value}");
    }
}

fn object(fields: &Fields) -> Json {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json(value)));
    Json::Object(fields.collect::<Map<String, Json>>())
}

fn json(value: &Value) -> Json {
    match value {
        Value::Number(number) => json!(number),
        Value::Unsigned(number) => json!(number),
        Value::Word(word) => json!(word),
        Value::List(values) => Json::Array(values.iter().map(json).collect()),
        Value::Map(values) => {
            let values = values.iter();
            Json::Object(
                values
                    .map(|(name, value)| (name.clone(), json(value)))
                    .collect(),
            )
        }
    }
}

const O_ACCMODE: i32 = 3;

/// Names the flags of `open` that matter to a device.
pub(crate) fn open_flags(flags: i32) -> String {
    let mut words = match flags & O_ACCMODE {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        _ => "O_RDWR",
    }
    .to_owned();
    let more = [
        (rustix::fs::OFlags::NONBLOCK, "O_NONBLOCK"),
        (rustix::fs::OFlags::CLOEXEC, "O_CLOEXEC"),
    ];
    for (flag, name) in more {
        if flags.cast_unsigned() & flag.bits() != 0 {
            words.push('|');
            words.push_str(name);
        }
    }
    words
}

/// Names the access rights of a mapping.
pub(crate) fn protection(prot: i32) -> String {
    let names = [(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")];
    let set = names.iter().filter(|(bit, _)| prot & bit != 0);
    let words: Vec<&str> = set.map(|(_, name)| *name).collect();
    if words.is_empty() {
        "PROT_NONE".to_owned()
    } else {
        words.join("|")
    }
}
