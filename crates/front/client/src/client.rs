//! A connection to a run's socket.

use crate::answer::{Buffers, number, read, text};
use crate::order::absolute;
use crate::{Error, Event, EventKind, FileFormat, Order, Shown, State, VARIABLE};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum wait for an answer. There is no maximum if [`Order::waits`] returns true.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of events kept while the client waits for an answer. Further events are counted as lost.
const MAX_EVENTS: usize = 4096;

/// A connection to a run. Every method sends an order and waits for the run's answer, which comes as soon
/// as programs can see the order's effect.
///
/// # Errors
/// Every order can fail with [`Error::Refused`], which names the wrong field and the allowed values;
/// [`Error::Ended`], if the run has ended; [`Error::Lost`]; [`Error::Socket`]; or [`Error::Answer`]. After the last
/// four errors, use a new client.
#[derive(Debug)]
pub struct Client {
    lines: BufReader<UnixStream>,
    path: PathBuf,
    /// Events that came while the client waited for an answer.
    events: VecDeque<Value>,
    lost: u64,
}

impl Client {
    /// Connects to the run inside which this process runs.
    ///
    /// # Errors
    /// [`Error::Start`] outside a run; [`Error::Socket`] if the socket cannot be reached.
    pub fn attach() -> Result<Self, Error> {
        match std::env::var_os(VARIABLE) {
            Some(path) => Self::connect(Path::new(&path)),
            None => Err(Error::Start(format!(
                "this process is not inside a run: {VARIABLE} is not set"
            ))),
        }
    }

    /// Connects to the run at a socket.
    ///
    /// # Errors
    /// [`Error::Socket`] if the socket cannot be reached.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).map_err(Error::Socket)?;
        Ok(Self {
            lines: BufReader::new(stream),
            path: path.to_owned(),
            events: VecDeque::new(),
            lost: 0,
        })
    }

    /// Sends an order. Returns the whole answer, even if the run refuses the order.
    ///
    /// # Errors
    /// See [`Client`]; a refusal is not an error here.
    pub fn exchange(&mut self, order: &Order) -> Result<Value, Error> {
        let timeout = (!order.waits()).then_some(ANSWER_TIMEOUT);
        let stream = self.lines.get_mut();
        stream.set_read_timeout(timeout).map_err(Error::Socket)?;
        if let Err(e) = stream
            .write_all(format!("{order}\n").as_bytes())
            .map_err(Error::from)
            && !matches!(e, Error::Ended)
        {
            return Err(e);
        }
        loop {
            // If a run refuses a client, it sends the reason before it closes the connection.
            let line = match self.line() {
                Err(Error::Ended) => return Err(self.end()),
                line => line?,
            };
            if line.get("event").is_none() {
                return Ok(line);
            }
            if self.events.len() < MAX_EVENTS {
                self.events.push_back(line);
            } else {
                self.lost = self.lost.saturating_add(1);
            }
        }
    }

    /// Sends an order. Returns the answer's fields.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn ask(&mut self, order: &Order) -> Result<Value, Error> {
        let answer = self.exchange(order)?;
        if answer.get("ok") == Some(&Value::Bool(true)) {
            return Ok(answer);
        }
        match answer.get("error") {
            Some(error) => Err(Error::Refused {
                field: text(error, "field")?,
                message: text(error, "message")?,
            }),
            None => Err(Error::Answer(answer.to_string())),
        }
    }

    /// Returns why the connection has closed: [`Error::Ended`] if the run no longer listens, else [`Error::Lost`].
    fn end(&self) -> Error {
        match UnixStream::connect(&self.path) {
            Ok(_) => Error::Lost,
            Err(_) => Error::Ended,
        }
    }

    fn line(&mut self) -> Result<Value, Error> {
        let mut line = String::new();
        while !line.ends_with('\n') {
            match self.lines.read_line(&mut line) {
                Ok(0) => return Err(Error::Ended),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        serde_json::from_str(&line).map_err(|_| Error::Answer(line))
    }

    fn done(&mut self, order: &Order) -> Result<(), Error> {
        self.ask(order).map(drop)
    }

    /// Returns the run's time and its devices.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn state(&mut self) -> Result<State, Error> {
        read(&self.ask(&Order::state())?)
    }

    /// Lists the buffers with their holders.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn buffers(&mut self) -> Result<Buffers, Error> {
        read(&self.ask(&Order::buffers())?)
    }

    /// Plugs in an unplugged device with all its nodes. The run refuses this if the device is plugged in.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn plug(&mut self, device: &str) -> Result<(), Error> {
        self.done(&Order::plug(device))
    }

    /// Unplugs a device with all its nodes. Later calls on its open files fail with ENODEV.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn unplug(&mut self, device: &str) -> Result<(), Error> {
        self.done(&Order::unplug(device))
    }

    /// Unplugs a device and revokes the buffers that it exported.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn unplug_and_revoke(&mut self, device: &str) -> Result<(), Error> {
        self.done(&Order::unplug_and_revoke(device))
    }

    /// Revokes the buffer with this `id` in the list of [`buffers`](Self::buffers).
    ///
    /// # Errors
    /// See [`Client`].
    pub fn revoke(&mut self, buffer: &str) -> Result<(), Error> {
        self.done(&Order::revoke(buffer))
    }

    /// Makes a camera play a video or picture file, from the file's first picture on.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn play(&mut self, device: &str, file: impl AsRef<Path>) -> Result<(), Error> {
        let file = absolute(file.as_ref())?;
        self.done(&Order::play(device, &file))
    }

    /// Makes a camera play a file. Frame number `sequence` of the stream shows the file's first picture.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn play_at(
        &mut self,
        device: &str,
        file: impl AsRef<Path>,
        sequence: u32,
    ) -> Result<(), Error> {
        let file = absolute(file.as_ref())?;
        self.done(&Order::play_at(device, &file, sequence))
    }

    /// Makes a camera play the test pattern.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn play_pattern(&mut self, device: &str) -> Result<(), Error> {
        self.done(&Order::play(device, "pattern"))
    }

    /// Freezes a camera's picture. Frames still arrive.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn pause(&mut self, device: &str) -> Result<(), Error> {
        self.done(&Order::pause(device))
    }

    /// Lets a camera's picture move again after a pause.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn resume(&mut self, device: &str) -> Result<(), Error> {
        self.done(&Order::resume(device))
    }

    /// Brings a camera back to the state in which the run began: plugged in, with its first source and signal,
    /// its controls' initial values, and without failing calls. Programs keep their open files and streams.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn reset(&mut self, device: &str) -> Result<(), Error> {
        self.done(&Order::reset(device))
    }

    /// Changes a camera's signal. [`Order::signal`] lists the signals.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn signal(&mut self, device: &str, signal: &str) -> Result<(), Error> {
        self.done(&Order::signal(device, signal))
    }

    /// Makes the next `times` calls of the ioctl `call` fail with `errno`, such as `QBUF` with `EIO`.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn fail(&mut self, device: &str, call: &str, errno: &str, times: u64) -> Result<(), Error> {
        self.done(&Order::fail(device, call, errno, times))
    }

    /// Sets the V4L2 control with this name, such as `brightness`. Returns the value that the device has set.
    ///
    /// A device rounds `value` to the nearest allowed value.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn set(&mut self, device: &str, control: &str, value: i64) -> Result<i64, Error> {
        let answer = self.ask(&Order::set(device, control, value))?;
        let value = answer.get("value").and_then(Value::as_i64);
        value.ok_or_else(|| Error::Answer(answer.to_string()))
    }

    /// Waits until a device has finished frame number `frame` of the run, counted from 0. Returns how many
    /// frames it has finished.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn wait_frame(&mut self, device: &str, frame: u64) -> Result<u64, Error> {
        number(&self.ask(&Order::wait(device, frame))?, "frames")
    }

    /// Lets a virtual clock advance by `time`. Returns the clock's new time in nanoseconds.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn advance(&mut self, time: Duration) -> Result<u64, Error> {
        number(&self.ask(&Order::advance(time))?, "time_ns")
    }

    /// Passes a frame, the bytes of a file, to the readers of a loopback, and waits until each of them has got it.
    /// `after` is the frame's time since the run began, on a virtual clock; `None` stands for the current time.
    /// Returns the time of the devices' clock in nanoseconds.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn push(
        &mut self,
        device: &str,
        file: impl AsRef<Path>,
        after: Option<Duration>,
    ) -> Result<u64, Error> {
        let path = absolute(file.as_ref())?;
        number(&self.ask(&Order::push(device, &path, after))?, "time_ns")
    }

    /// Describes the picture that a display showed last.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn shown(&mut self, device: &str) -> Result<Shown, Error> {
        read(&self.ask(&Order::shown(device))?)
    }

    /// Writes the picture that a display showed last to a file, and describes it.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn save_shown(
        &mut self,
        device: &str,
        file: impl AsRef<Path>,
        format: FileFormat,
    ) -> Result<Shown, Error> {
        let file = absolute(file.as_ref())?;
        read(&self.ask(&Order::save_shown(device, &file, format))?)
    }

    /// Subscribes to events of these kinds, from one device or all devices. Replaces earlier subscriptions.
    ///
    /// # Errors
    /// See [`Client`].
    pub fn watch(&mut self, kinds: &[EventKind], device: Option<&str>) -> Result<(), Error> {
        self.done(&Order::watch(kinds, device))
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// See [`Client`]. No order is sent, so [`Error::Refused`] does not occur.
    pub fn next_event(&mut self) -> Result<Event, Error> {
        read(&self.next_event_line()?)
    }

    /// Waits for the next event. Returns it as the run sent it.
    ///
    /// # Errors
    /// See [`Client`]. No order is sent, so [`Error::Refused`] does not occur.
    pub fn next_event_line(&mut self) -> Result<Value, Error> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        match std::mem::take(&mut self.lost) {
            0 => {
                let stream = self.lines.get_mut();
                stream.set_read_timeout(None).map_err(Error::Socket)?;
                self.line().map_err(|e| match e {
                    Error::Ended => self.end(),
                    e => e,
                })
            }
            count => Ok(json!({"event": "lost", "count": count})),
        }
    }
}
