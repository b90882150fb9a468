//! Checks a description, and prepares it for a camera.

pub(super) mod controls;
mod formats;

use super::file::{File, ModeTable, StreamTable, Usb, VERSION};
use crate::likeness::{InitialMode, Likeness, Measured, UVC};
use controls::controls;
use formats::formats;
use serde::Deserialize;
use std::fmt::Display;
use std::ops::RangeInclusive;
use thiserror::Error;
use toml::Spanned;
use vb3_v4l2::Port;
use vb3_v4l2::pixfmt::MAX_COMPRESSED_BYTES;

const MAX_INPUTS: usize = 32;
pub(super) const MAX_FRAMES: usize = 1200;
/// Shortest to longest interval between frames.
pub(super) const INTERVALS_NS: RangeInclusive<u64> = 1_000_000..=60_000_000_000;
/// Longest measured time: one minute.
const MAX_US: u64 = 60_000_000;
/// Maximum number of consecutive frames that are lost.
pub(super) const MAX_LOST: u32 = 1000;

/// An error in a description: `LINE: MESSAGE`, for use after a file's name and a colon.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}: {message}")]
pub(super) struct DescriptionError {
    line: usize,
    message: String,
}

type Result<T> = std::result::Result<T, DescriptionError>;

/// The text of a description, for finding the lines of errors and notes.
struct Source<'a> {
    text: &'a str,
    notes: Vec<String>,
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.bytes().take(at);
        before.filter(|&byte| byte == b'\n').count() + 1
    }

    /// Fails with a message about the text at byte `at`.
    fn error<T>(&self, at: usize, message: impl Display) -> Result<T> {
        Err(DescriptionError {
            line: self.line(at),
            message: message.to_string(),
        })
    }

    /// Fails as [`error`](Self::error) unless the text at byte `at` is correct.
    fn expect(&self, at: usize, is_correct: bool, message: impl Display) -> Result<()> {
        match is_correct {
            true => Ok(()),
            false => self.error(at, message),
        }
    }

    fn note(&mut self, at: usize, message: impl Display) {
        let line = self.line(at);
        self.notes.push(format!("{line}: {message}"));
    }

    fn toml<T: for<'de> Deserialize<'de>>(&self) -> Result<T> {
        toml::from_str(self.text).or_else(|e| {
            let at = e.span().map_or(0, |span| span.start);
            self.error(at, e.message().trim().replace('\n', ", "))
        })
    }
}

/// Keeps a text until the process ends. Descriptions are only read at the start of a run.
fn keep(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// The version, which is parsed before all else, so that a newer file gets the right error.
#[derive(Deserialize)]
struct VersionOnly {
    version: Spanned<i64>,
}

/// A description whose values are valid.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) file: File,
    pub(super) likeness: Likeness,
    /// Notes, with their lines, on parts that cameras cannot imitate.
    pub(super) notes: Vec<String>,
}

pub(super) fn parse(text: &str) -> Result<Checked> {
    let mut source = Source {
        text,
        notes: Vec::new(),
    };
    let version = source.toml::<VersionOnly>()?.version;
    let (at, version) = (version.span().start, version.into_inner());
    let message = format_args!(
        "version = {version}: this vb3 reads version {VERSION}; clone the device again"
    );
    source.expect(at, version == VERSION, message)?;
    let file: File = source.toml()?;
    identity(&source, &file)?;
    let formats = formats(&mut source, &file)?;
    let controls = controls(&source, &file.controls)?;
    if let Some(stream) = &file.stream {
        check_stream(&source, stream)?;
    }
    let ports = file.inputs.iter().map(|input| Port {
        name: keep(&input.name),
        kind: input.kind,
    });
    let likeness = Likeness {
        ports: ports.collect(),
        formats,
        controls,
        is_uvc: file.device.get_ref().driver == UVC,
        initial: file.mode.as_ref().map(|mode| initial(mode.get_ref())),
        stream: file
            .stream
            .as_ref()
            .map(|stream| measured(stream.get_ref())),
    };
    check_mode(&mut source, &file, &likeness)?;
    Ok(Checked {
        file,
        likeness,
        notes: source.notes,
    })
}

const fn initial(mode: &ModeTable) -> InitialMode {
    InitialMode {
        fourcc: mode.format.0,
        size: mode.size.0,
        interval: mode.interval.0,
        image_bytes: mode.image_bytes,
    }
}

fn measured(stream: &StreamTable) -> Measured {
    Measured {
        size: stream.size.0,
        interval: stream.interval.0,
        first_frame_us: stream.first_frame_us,
        intervals_us: stream.intervals_us.clone(),
        lost: stream.lost.clone(),
        image_bytes: stream.image_bytes.clone(),
    }
}

/// Returns whether a text has only printable characters and at most `max` bytes.
fn is_plain(text: &str, max: usize) -> bool {
    text.len() <= max && !text.chars().any(char::is_control)
}

fn identity(source: &Source<'_>, file: &File) -> Result<()> {
    let (at, device) = (file.device.span().start, file.device.get_ref());
    let bus_info = device.bus_info.as_ref();
    let texts = [("driver", &device.driver, 15), ("card", &device.card, 31)];
    for (name, text, max) in (texts.into_iter()).chain(bus_info.map(|text| ("bus_info", text, 31)))
    {
        let message = format_args!("{name} = {text:?}: allowed are 1 to {max} printable bytes");
        source.expect(at, !text.is_empty() && is_plain(text, max), message)?;
    }
    if let Some(usb) = &file.usb {
        check_usb(source, usb)?;
    }
    let mut names = file.inputs.iter().map(|input| &input.name);
    let are_inputs = names.len() <= MAX_INPUTS && names.all(|name| is_plain(name, 31));
    let message =
        format_args!("allowed are {MAX_INPUTS} [[input]] with names of 31 printable bytes");
    source.expect(at, are_inputs, message)
}

fn check_usb(source: &Source<'_>, table: &Spanned<Usb>) -> Result<()> {
    let (at, usb) = (table.span().start, table.get_ref());
    let texts = [&usb.manufacturer, &usb.product, &usb.serial];
    // A USB device's strings have at most 126 characters.
    for text in texts.into_iter().flatten() {
        let is_text = text.chars().count() <= 126 && is_plain(text, usize::MAX);
        let message = format_args!("{text:?}: allowed are 126 printable characters");
        source.expect(at, is_text, message)?;
    }
    let Some(text) = &usb.revision else {
        return Ok(());
    };
    let is_revision = text.len() == 4 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let message = format_args!("revision = {text:?}: allowed are 4 hexadecimal digits");
    source.expect(at, is_revision, message)
}

fn check_mode(source: &mut Source<'_>, file: &File, likeness: &Likeness) -> Result<()> {
    let Some(mode) = &file.mode else {
        return Ok(());
    };
    let (at, mode) = (mode.span().start, mode.get_ref());
    let named = format!("[mode] {} {} at {}", mode.format, mode.size, mode.interval);
    let message = format_args!("{named}: allowed are image_bytes up to {MAX_COMPRESSED_BYTES}");
    source.expect(at, mode.image_bytes <= Some(MAX_COMPRESSED_BYTES), message)?;
    let mut formats = file.formats.iter();
    let has_format = formats.any(|format| format.get_ref().code == mode.format);
    let message = format_args!("{named}: no [[format]] has this code");
    source.expect(at, has_format, message)?;
    let mut made = likeness.formats.iter();
    if made.all(|one| one.pixel.fourcc != mode.format.0) {
        let message = format_args!("{named} is replaced by the nearest that vb3 can make");
        source.note(at, message);
        return Ok(());
    }
    let (width, height) = mode.size.0;
    let is_offered = likeness.sizes(mode.format.0).contains(width, height);
    let is_size = is_offered || mode.size.size().is_none();
    let message = format_args!("{named}: the format has no such size");
    source.expect(at, is_size, message)
}

fn check_stream(source: &Source<'_>, stream: &Spanned<StreamTable>) -> Result<()> {
    let (at, stream) = (stream.span().start, stream.get_ref());
    let times = stream.intervals_us.iter();
    let frames = stream.intervals_us.len();
    let is_inside = |[index, count]: &[u32; 2]| {
        usize::try_from(*index).is_ok_and(|index| index < frames) && *count <= MAX_LOST
    };
    let sizes = &stream.image_bytes;
    let message = if !(1..=MAX_FRAMES).contains(&frames) || sizes.len() > MAX_FRAMES + 1 {
        format!("allowed are 1 to {MAX_FRAMES} frames")
    } else if stream.first_frame_us > MAX_US || times.clone().any(|us| !(1..=MAX_US).contains(us)) {
        format!("allowed are times from 1 to {MAX_US} us")
    } else if !stream.lost.iter().all(is_inside) {
        format!("an entry of lost is [INDEX, COUNT]: below {frames}, and {MAX_LOST} at most")
    } else if sizes.iter().any(|bytes| *bytes > MAX_COMPRESSED_BYTES) {
        format!("allowed are image_bytes up to {MAX_COMPRESSED_BYTES}")
    } else if !INTERVALS_NS.contains(&stream.interval.0.as_nanos().unwrap_or(0)) {
        "interval is from 1/1000 to 60/1 seconds".to_owned()
    } else {
        return Ok(());
    };
    source.error(at, format_args!("[stream]: {message}"))
}
