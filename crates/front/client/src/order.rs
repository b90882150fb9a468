//! Orders to a run: the commands of the control protocol, each a line of JSON.

use crate::EventKind;
use serde_json::{Map, Value};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// The format of the file that gets a display's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A PNG file.
    Png,
    /// The picture's bytes, line after line without padding.
    Raw,
}

/// An order to a run. Orders name a device as `/dev/videoN`, `videoN` or N.
#[derive(Clone, Debug, PartialEq)]
pub struct Order(Map<String, Value>);

impl Order {
    fn new(verb: &str) -> Self {
        Self(Map::new()).with("do", verb)
    }

    fn on(verb: &str, device: &str) -> Self {
        Self::new(verb).with("device", device)
    }

    /// Adds a field to the order.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// Asks for the protocol's version, the run's time and the run's devices.
    #[must_use]
    pub fn state() -> Self {
        Self::new("state")
    }

    /// Asks for a list of the buffers with their holders.
    #[must_use]
    pub fn buffers() -> Self {
        Self::new("buffers")
    }

    /// Plugs in an unplugged device with all its nodes. The run refuses this if the device is plugged in.
    #[must_use]
    pub fn plug(device: &str) -> Self {
        Self::on("plug", device)
    }

    /// Unplugs a device with all its nodes. Later calls on its open files fail with ENODEV.
    #[must_use]
    pub fn unplug(device: &str) -> Self {
        Self::on("unplug", device)
    }

    /// Unplugs a device and revokes the buffers that it exported.
    #[must_use]
    pub fn unplug_and_revoke(device: &str) -> Self {
        Self::unplug(device).with("revoke", true)
    }

    /// Revokes the buffer with this number in the list of buffers. Devices lose access to its memory, and
    /// programs find zeroes there.
    #[must_use]
    pub fn revoke(buffer: &str) -> Self {
        Self::new("revoke").with("buffer", buffer)
    }

    /// Makes a camera play `source`: the absolute path of a file, or `pattern` for the test pattern.
    #[must_use]
    pub fn play(device: &str, source: &str) -> Self {
        Self::on("play", device).with("source", source)
    }

    /// Makes a camera play `source` from frame `sequence` of its stream on. The frame must lie in the future.
    #[must_use]
    pub fn play_at(device: &str, source: &str, sequence: u32) -> Self {
        Self::play(device, source).with("sequence", sequence)
    }

    /// Freezes a camera's picture. Frames still arrive.
    #[must_use]
    pub fn pause(device: &str) -> Self {
        Self::on("pause", device)
    }

    /// Lets a camera's picture move again after a pause.
    #[must_use]
    pub fn resume(device: &str) -> Self {
        Self::on("resume", device)
    }

    /// Brings a camera back to the state in which the run began. Programs keep their open files and streams.
    #[must_use]
    pub fn reset(device: &str) -> Self {
        Self::on("reset", device)
    }

    /// Changes a camera's signal: `lost`, `back`, or a mode of an HDMI input, such as `1280x720p60`.
    #[must_use]
    pub fn signal(device: &str, signal: &str) -> Self {
        Self::on("signal", device).with("signal", signal)
    }

    /// Makes the next `times` calls of the ioctl `call` fail with `errno`, such as `QBUF` with `EIO`.
    #[must_use]
    pub fn fail(device: &str, call: &str, errno: &str, times: u64) -> Self {
        let order = Self::on("fail", device).with("call", call);
        order.with("errno", errno).with("times", times)
    }

    /// Sets the V4L2 control with this name, such as `brightness`, to `value`, rounded to an allowed value.
    #[must_use]
    pub fn set(device: &str, control: &str, value: i64) -> Self {
        let order = Self::on("set", device).with("control", control);
        order.with("value", value)
    }

    /// Waits until a device has finished frame number `frame` of the run, counted from 0.
    #[must_use]
    pub fn wait(device: &str, frame: u64) -> Self {
        Self::on("wait", device).with("frame", frame)
    }

    /// Lets a virtual clock advance by `time`.
    #[must_use]
    pub fn advance(time: Duration) -> Self {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self::new("advance").with("ns", ns)
    }

    /// Passes a frame, the bytes of the file at an absolute path, to the readers of a loopback. `after` is the
    /// frame's time since the run began, on a virtual clock; `None` stands for the current time.
    #[must_use]
    pub fn push(device: &str, path: &str, after: Option<Duration>) -> Self {
        let order = Self::on("push", device).with("path", path);
        match after {
            Some(after) => {
                let ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
                order.with("after_ns", ns)
            }
            None => order,
        }
    }

    /// Describes the picture that a display showed last.
    #[must_use]
    pub fn shown(device: &str) -> Self {
        Self::on("shown", device)
    }

    /// Describes the picture that a display showed last, and writes it to the file at an absolute path.
    #[must_use]
    pub fn save_shown(device: &str, path: &str, format: FileFormat) -> Self {
        let format = match format {
            FileFormat::Png => "png",
            FileFormat::Raw => "raw",
        };
        Self::shown(device)
            .with("path", path)
            .with("format", format)
    }

    /// Subscribes to events of these kinds, from one device or all devices.
    #[must_use]
    pub fn watch(kinds: &[EventKind], device: Option<&str>) -> Self {
        let kinds: Vec<Value> = kinds.iter().map(|kind| kind.name().into()).collect();
        let order = Self::new("watch").with("events", kinds);
        match device {
            Some(device) => order.with("device", device),
            None => order,
        }
    }

    /// Returns whether the answer may take any length of time, because the order waits for an event of the run.
    pub(crate) fn waits(&self) -> bool {
        let verb = self.0.get("do").and_then(Value::as_str);
        matches!(verb, Some("wait" | "advance" | "push" | "shown"))
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = serde_json::to_string(&self.0);
        f.write_str(&line.map_err(|_| fmt::Error)?)
    }
}

/// Returns the absolute path of a file, as orders need it.
pub(crate) fn absolute(path: &Path) -> Result<String, crate::Error> {
    let path = std::path::absolute(path)?;
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| crate::Error::Refused {
        field: "path".to_owned(),
        message: format!("{}: the file's name is not UTF-8", path.display()),
    })
}
