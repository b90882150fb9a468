//! Checks a description, and prepares it for a camera.

use super::file::{
    ControlTable, ControlType, FLAGS, File, FormatTable, SizeTable, StreamTable, UsbTable, VERSION,
};
use super::{Description, Offered, Row};
use serde::Deserialize;
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use vb3_v4l2::pixfmt::{self, MAX_COMPRESSED_BYTES};
use vb3_v4l2::{ControlFlags, ControlKind, ControlSpec, Fraction, Master, PixelFormat, Port};

const MAX_FORMATS: usize = 256;
const MAX_SIZES: usize = 256;
const MAX_INTERVALS: usize = 256;
const MAX_CONTROLS: usize = 120;
const MAX_ITEMS: usize = 256;
const MAX_INPUTS: usize = 32;
const MAX_FRAMES: usize = 1200;
/// Largest sides of a range, which a camera reduces to its own.
const MAX_SIDE: u32 = 1 << 16;
/// Shortest and longest interval.
const INTERVALS_NS: std::ops::RangeInclusive<u64> = 1_000_000..=60_000_000_000;
/// Longest line in bytes.
const MAX_LINE: u32 = 1 << 16;
/// Longest measured time: one minute.
const MAX_US: u64 = 60_000_000;
/// Most frames that are lost at once.
const MAX_LOST: u32 = 1000;

/// An error in a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptionError {
    line: usize,
    message: String,
}

/// Writes `LINE: MESSAGE`, for use after a file's name and a colon.
impl fmt::Display for DescriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

impl std::error::Error for DescriptionError {}

type Result<T> = std::result::Result<T, DescriptionError>;

/// The text, for lines of errors and notes.
struct Source<'a> {
    text: &'a str,
    notes: Vec<String>,
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.bytes().take(at);
        before.filter(|&byte| byte == b'\n').count() + 1
    }

    fn error<T>(&self, span: Range<usize>, message: impl Into<String>) -> Result<T> {
        Err(DescriptionError {
            line: self.line(span.start),
            message: message.into(),
        })
    }

    fn note(&mut self, span: Range<usize>, message: &str) {
        let line = self.line(span.start);
        self.notes.push(format!("{line}: {message}"));
    }

    fn toml<T: for<'de> Deserialize<'de>>(&self) -> Result<T> {
        toml::from_str(self.text).or_else(|e| {
            let at = e.span().map_or(0, |span| span.start);
            self.error(at..at, e.message().trim().replace('\n', ", "))
        })
    }
}

/// Keeps a text for the rest of the process. Descriptions are read once, at the start of a run.
fn keep(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// The version alone, so that a newer file gets the right error.
#[derive(Deserialize)]
struct VersionOnly {
    version: Spanned<i64>,
}

pub(super) fn parse(text: &str) -> Result<Description> {
    let mut source = Source {
        text,
        notes: Vec::new(),
    };
    let version = source.toml::<VersionOnly>()?.version;
    if *version.get_ref() != VERSION {
        let message = format!(
            "version = {}: this vb3 reads version {VERSION}; clone the device again",
            version.get_ref()
        );
        return source.error(version.span(), message);
    }
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
    let description = Description {
        ports: ports.collect(),
        formats,
        controls,
        notes: Vec::new(),
        file,
    };
    check_mode(&mut source, &description)?;
    Ok(Description {
        notes: source.notes,
        ..description
    })
}

/// Returns whether a text can be shown as it is and has at most `max` bytes.
fn is_plain(text: &str, max: usize) -> bool {
    text.len() <= max && !text.chars().any(char::is_control)
}

fn identity(source: &Source<'_>, file: &File) -> Result<()> {
    let device = file.device.get_ref();
    for (name, text, max) in [("driver", &device.driver, 15), ("card", &device.card, 31)] {
        if text.is_empty() || !is_plain(text, max) {
            let message = format!("{name} = {text:?}: allowed are 1 to {max} printable bytes");
            return source.error(file.device.span(), message);
        }
    }
    if let Some(usb) = &file.usb {
        check_usb(source, usb)?;
    }
    let names = file.inputs.iter().map(|input| &input.name);
    if file.inputs.len() > MAX_INPUTS || names.clone().any(|name| !is_plain(name, 31)) {
        let message =
            format!("allowed are {MAX_INPUTS} [[input]] with names of 31 printable bytes");
        return source.error(file.device.span(), message);
    }
    Ok(())
}

fn check_usb(source: &Source<'_>, table: &Spanned<UsbTable>) -> Result<()> {
    let usb = table.get_ref();
    let texts = [&usb.manufacturer, &usb.product, &usb.serial];
    // Strings of a USB device have at most 126 characters.
    let mut texts = texts.into_iter().flatten();
    if let Some(text) = texts.find(|text| !is_plain(text, 126)) {
        let message = format!("{text:?}: allowed are 126 printable bytes");
        return source.error(table.span(), message);
    }
    let is_revision = |text: &str| text.len() == 4 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match usb.revision.as_ref().filter(|text| !is_revision(text)) {
        Some(text) => {
            let message = format!("revision = {text:?}: allowed are 4 hexadecimal digits");
            source.error(table.span(), message)
        }
        None => Ok(()),
    }
}

fn formats(source: &mut Source<'_>, file: &File) -> Result<Vec<Offered>> {
    let mut all: Vec<Offered> = Vec::new();
    if let Some(beyond) = file.formats.get(MAX_FORMATS) {
        let message = format!("a description has at most {MAX_FORMATS} [[format]]");
        return source.error(beyond.span(), message);
    }
    for table in &file.formats {
        let (span, format) = (table.span(), table.get_ref());
        let code = format.code.0;
        if all.iter().any(|known| known.pixel.fourcc == code) {
            return source.error(span, format!("there are two [[format]] {code}; remove one"));
        }
        if !is_plain(&format.description, 31) {
            let message = format!(
                "description = {:?}: allowed are 31 printable bytes",
                format.description
            );
            return source.error(span, message);
        }
        let known = pixfmt::TABLE.iter().find(|pixel| pixel.fourcc == code);
        let pixel = known.filter(|pixel| {
            pixel.memory_planes == 1
                && (!pixel.is_compressed() || pixel.fourcc == pixfmt::MJPEG.fourcc)
        });
        let Some(pixel) = pixel else {
            source.note(
                span,
                &format!("{code} is left out: vb3 cannot make such pictures"),
            );
            continue;
        };
        if let Some(offered) = sizes(source, table, described(pixel, &format.description))? {
            all.push(offered);
        }
    }
    if all.is_empty() {
        let names: Vec<&str> = pixfmt::TABLE.iter().map(|pixel| pixel.name).collect();
        let message = format!(
            "there is no [[format]] that vb3 can make; it makes {}",
            names.join(", ")
        );
        return source.error(file.device.span(), message);
    }
    Ok(all)
}

/// Returns a format with the device's own description.
fn described(pixel: &'static PixelFormat, description: &str) -> &'static PixelFormat {
    match pixel.description == description {
        true => pixel,
        false => Box::leak(Box::new(PixelFormat {
            description: keep(description),
            ..*pixel
        })),
    }
}

/// Returns a format with its sizes; `None` if no camera can have any of them.
fn sizes(
    source: &mut Source<'_>,
    table: &Spanned<FormatTable>,
    pixel: &'static PixelFormat,
) -> Result<Option<Offered>> {
    let format = table.get_ref();
    let color = (format.colors).map_or_else(|| super::default_color(pixel), Into::into);
    let mut offered = Offered {
        pixel,
        color,
        sizes: Vec::new(),
        range: None,
        rows: Vec::new(),
    };
    if format.sizes.is_empty() || format.sizes.len() > MAX_SIZES {
        let message = format!("a [[format]] has 1 to {MAX_SIZES} [[format.size]]");
        return source.error(table.span(), message);
    }
    for entry in &format.sizes {
        let (span, size) = (entry.span(), entry.get_ref());
        match (size.size, size.range) {
            (Some(one), None) => {
                if one.size().is_none() {
                    let message = format!(
                        "size {one} is left out: vb3 makes even sizes from 2x2 to 4096x2304"
                    );
                    source.note(span, &message);
                    continue;
                }
                if offered.sizes.contains(&one.0) {
                    return source.error(span, format!("there are two sizes {one}; remove one"));
                }
                offered.rows.push(row(source, entry, (pixel, one.0))?);
                offered.sizes.push(one.0);
            }
            (None, Some([min, max, step])) if format.sizes.len() == 1 => {
                let width = side(source, entry, (min.0.0, max.0.0, step.0.0), 4096)?;
                let height = side(source, entry, (min.0.1, max.0.1, step.0.1), 2304)?;
                if [width.0, height.0, width.1, height.1, width.2, height.2]
                    != [min.0.0, min.0.1, max.0.0, max.0.1, step.0.0, step.0.1]
                {
                    source.note(
                        span,
                        "the range of sizes is reduced to vb3's: even sizes to 4096x2304",
                    );
                }
                offered
                    .rows
                    .push(row(source, entry, (pixel, (width.0, height.0)))?);
                offered.range = Some([width, height]);
            }
            _ => {
                let message = "a [[format.size]] has either size = \"640x480\" or range = \
                               [\"MIN\", \"MAX\", \"STEP\"], and a range is the only one";
                return source.error(span, message);
            }
        }
    }
    Ok((!offered.rows.is_empty()).then_some(offered))
}

/// Reduces a range of widths or heights to one that a camera can make.
fn side(
    source: &Source<'_>,
    entry: &Spanned<SizeTable>,
    (min, max, step): (u32, u32, u32),
    most: u32,
) -> Result<(u32, u32, u32)> {
    let is_sane = (1..=max).contains(&min) && (1..=MAX_SIDE).contains(&max) && step <= MAX_SIDE;
    let fitting = (
        min.next_multiple_of(2),
        max.min(most) & !1,
        step.max(1).next_multiple_of(2),
    );
    if !is_sane || fitting.0 > fitting.1 {
        let message = format!(
            "range from {min} to {max} in steps of {step}: the smallest must be 1 or more and not \
             above the largest, which is at most {most}"
        );
        return source.error(entry.span(), message);
    }
    Ok(fitting)
}

/// Checks the bytes and intervals of a size.
fn row(
    source: &Source<'_>,
    entry: &Spanned<SizeTable>,
    (pixel, (width, height)): (&PixelFormat, (u32, u32)),
) -> Result<Row> {
    let table = entry.get_ref();
    let (line_bytes, image_bytes) = (
        table.line_bytes.unwrap_or(0),
        table.image_bytes.unwrap_or(0),
    );
    if line_bytes > MAX_LINE || image_bytes > MAX_COMPRESSED_BYTES {
        let message = format!(
            "line_bytes = {line_bytes}, image_bytes = {image_bytes} for {width}x{height} {}: \
             allowed are {MAX_LINE} and {MAX_COMPRESSED_BYTES}",
            pixel.fourcc
        );
        return source.error(entry.span(), message);
    }
    let is_sane = |interval: &Fraction| {
        let ns = interval.as_nanos();
        ns.is_some_and(|ns| INTERVALS_NS.contains(&ns))
    };
    let of = |list: &[super::file::Seconds]| list.iter().map(|one| one.0).collect::<Vec<_>>();
    let (intervals, range) = (of(&table.intervals), of(&table.interval_range));
    let ns = |interval: Fraction| interval.as_nanos();
    let is_valid = match (intervals.len(), &range[..]) {
        (1..=MAX_INTERVALS, []) => intervals.iter().all(is_sane),
        (0, [min, max]) => is_sane(min) && is_sane(max) && ns(*min) <= ns(*max),
        (0, [min, max, step]) => {
            is_sane(min) && is_sane(max) && ns(*min) <= ns(*max) && ns(*step) > Some(0)
        }
        _ => false,
    };
    if !is_valid {
        let message = format!(
            "intervals of {width}x{height} {}: allowed are 1 to {MAX_INTERVALS} intervals, or \
             interval_range = [SHORTEST, LONGEST, STEP], from 1/1000 to 60/1 seconds",
            pixel.fourcc
        );
        return source.error(entry.span(), message);
    }
    let range = match range[..] {
        [min, max] => Some((min, max, None)),
        [min, max, step] => Some((min, max, Some(step))),
        _ => None,
    };
    Ok(Row {
        line_bytes,
        image_bytes,
        intervals,
        range,
    })
}

fn check_mode(source: &mut Source<'_>, description: &Description) -> Result<()> {
    let Some(mode) = &description.file.mode else {
        return Ok(());
    };
    let (span, mode) = (mode.span(), mode.get_ref());
    let named = format!("[mode] {} {} at {}", mode.format, mode.size, mode.interval);
    if mode.image_bytes > Some(MAX_COMPRESSED_BYTES) {
        let message = format!("{named}: allowed are image_bytes up to {MAX_COMPRESSED_BYTES}");
        return source.error(span, message);
    }
    let formats = description.file.formats.iter();
    if !formats
        .map(|format| format.get_ref().code)
        .any(|code| code == mode.format)
    {
        return source.error(span, format!("{named}: no [[format]] has this code"));
    }
    let is_made = description
        .formats
        .iter()
        .any(|one| one.pixel.fourcc == mode.format.0);
    let is_offered = description
        .sizes(mode.format.0)
        .contains(mode.size.0.0, mode.size.0.1);
    if !is_made {
        source.note(
            span,
            &format!("{named} is replaced by the nearest that vb3 can make"),
        );
    } else if !is_offered && mode.size.size().is_some() {
        return source.error(span, format!("{named}: the format has no such size"));
    }
    Ok(())
}

fn check_stream(source: &Source<'_>, stream: &Spanned<StreamTable>) -> Result<()> {
    let (span, stream) = (stream.span(), stream.get_ref());
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
    source.error(span, format!("[stream]: {message}"))
}

fn controls(source: &Source<'_>, tables: &[Spanned<ControlTable>]) -> Result<Vec<ControlSpec>> {
    let mut all: Vec<ControlSpec> = Vec::new();
    for table in tables {
        let (span, control) = (table.span(), table.get_ref());
        let id = control.id;
        if all.len() >= MAX_CONTROLS {
            let message = format!("a description has at most {MAX_CONTROLS} [[control]]");
            return source.error(span, message);
        }
        // Without class, or a class itself, or above the bits of an id.
        if id.0 & 0x0fff_0000 == 0 || id.0 & 0xffff == 1 || id.0 > 0x0fff_ffff {
            return source.error(span, format!("id = \"{id}\" is no control's id"));
        }
        if all.iter().any(|known| known.id == id.0) {
            return source.error(span, format!("there are two [[control]] {id}; remove one"));
        }
        if control.name.is_empty() || !is_plain(&control.name, 31) {
            let message = format!("name = {:?}: allowed are 1 to 31 bytes", control.name);
            return source.error(span, message);
        }
        let kind = kind(source, table)?;
        all.push(ControlSpec {
            id: id.0,
            name: keep(&control.name),
            kind,
            flags: (FLAGS.iter())
                .filter(|(flag, _)| control.flags.contains(flag))
                .fold(ControlFlags::empty(), |all, (_, flag)| all.union(*flag)),
            master: control.active_if.map(|master| Master {
                id: master.id.0,
                manual: master.value,
            }),
            initial: control.value,
        });
    }
    for table in tables {
        let master = table.get_ref().active_if.map(|master| master.id);
        let missing = master.filter(|id| !all.iter().any(|known| known.id == id.0));
        if let Some(id) = missing {
            let message = format!("active_if names {id}, and there is no such [[control]]");
            return source.error(table.span(), message);
        }
    }
    Ok(all)
}

/// Returns the kind of a control, and checks its values.
fn kind(source: &Source<'_>, table: &Spanned<ControlTable>) -> Result<ControlKind> {
    let control = table.get_ref();
    let (default, name) = (control.default, &control.name);
    let refuse = |allowed: String| source.error(table.span(), format!("{name}: {allowed}"));
    let (min, max) = (control.min.unwrap_or(0), control.max.unwrap_or(0));
    let step = control.step.unwrap_or(1).max(1);
    let value = control.value.unwrap_or(default);
    let menu = |len: usize| {
        let end = i64::try_from(len).unwrap_or(i64::MAX).saturating_add(min);
        let is_item = |index: &i64| (min..end).contains(index);
        let is_menu = (1..=MAX_ITEMS).contains(&len) && (0..1 << 16).contains(&min);
        is_menu && [default, value].iter().all(is_item)
    };
    let small = |number: i64| i32::try_from(number).unwrap_or(0);
    let unsigned = |number: i64| u32::try_from(number).unwrap_or(0);
    let (first, index) = (unsigned(min), unsigned(default));
    let is_in_range = min <= max && (min..=max).contains(&default) && (min..=max).contains(&value);
    Ok(match control.kind {
        ControlType::Integer | ControlType::Integer64 if !is_in_range => {
            return refuse(format!(
                "min = {min}, max = {max}, default = {default}, value = {value}: min must not be \
                 above max, and default and value must lie between"
            ));
        }
        ControlType::Integer64 => ControlKind::Integer64 {
            min,
            max,
            step,
            default,
        },
        ControlType::Integer => {
            let fits = |number: &i64| i32::try_from(*number).is_ok();
            if ![min, max].iter().all(fits) || u32::try_from(step).is_err() {
                return refuse("an integer's range has 32 bits; use integer64".to_owned());
            }
            ControlKind::Integer {
                min: small(min),
                max: small(max),
                step: u32::try_from(step).unwrap_or(1),
                default: small(default),
            }
        }
        ControlType::Boolean if [default, value].iter().all(|n| (0..=1).contains(n)) => {
            ControlKind::Boolean {
                default: default == 1,
            }
        }
        ControlType::Boolean => return refuse("default and value are 0 or 1".to_owned()),
        ControlType::Menu => {
            let items = &control.items;
            if !menu(items.len()) || items.iter().any(|item| !is_plain(item, 31)) {
                return refuse(format!(
                    "a menu has 1 to {MAX_ITEMS} items of 31 printable bytes from index min = {min} \
                     on; default = {default} and value = {value} are indexes of items"
                ));
            }
            let items: Vec<&'static str> = items.iter().map(|item| keep(item)).collect();
            ControlKind::Menu {
                first,
                items: Box::leak(items.into_boxed_slice()),
                default: index,
            }
        }
        ControlType::IntegerMenu => {
            if !menu(control.numbers.len()) {
                return refuse(format!(
                    "an integer-menu has 1 to {MAX_ITEMS} numbers from index min = {min} on; default \
                     = {default} and value = {value} are indexes of numbers"
                ));
            }
            ControlKind::IntegerMenu {
                first,
                items: Box::leak(control.numbers.clone().into_boxed_slice()),
                default: index,
            }
        }
        ControlType::Bitmask => {
            let bits = |number: i64| u32::try_from(number).ok();
            match (bits(max), bits(default), bits(value)) {
                (Some(mask), Some(default), Some(_)) => ControlKind::Bitmask { mask, default },
                _ => return refuse("max, default and value are 32 bits".to_owned()),
            }
        }
        ControlType::Button => ControlKind::Button,
    })
}
