//! Asks a real device for the facts that a description file contains.

use super::check::controls::MAX_ITEMS;
use super::check::{INTERVALS_NS, MAX_FRAMES, MAX_LOST};
use super::file::{
    ActiveIf, Code, Colors, ControlTable, ControlType, DeviceTable, FLAGS, File, Flag, FormatTable,
    Hex, InputTable, ModeTable, Pixels, Seconds, SizeTable, StreamTable, Usb, VERSION,
};
use std::fmt::Write as _;
use toml::Spanned;
use vb3_v4l2::client::{Client, ControlRange, OneOrRange};
use vb3_v4l2::{
    ControlFlags, Errno, Format, FourCc, Fraction, PixelFormat, cid, class_name, pixfmt, sys,
};

const BUFFERS: u32 = 4;

/// Controls that an automatic mode makes inactive. Each row has the control, the mode's control, and the
/// value of the mode's control for manual mode.
///
/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_ctrl.c `uvc_ctrl_mappings`, `master_id`.
const MASTERS: &[(u32, u32, i64)] = &[
    (cid::HUE, cid::HUE_AUTO, 0),
    (cid::GAIN, cid::AUTOGAIN, 0),
    (cid::WHITE_BALANCE_TEMPERATURE, cid::AUTO_WHITE_BALANCE, 0),
    (cid::EXPOSURE_ABSOLUTE, cid::EXPOSURE_AUTO, 1),
    (cid::FOCUS_ABSOLUTE, cid::FOCUS_AUTO, 0),
];

fn plain<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// Replaces the characters that a description does not allow. Also replaces U+FFFD, which stands for the first bytes
/// of a character that the driver cut off. In UTF-8, U+FFFD has three bytes, with which the text could be longer than
/// the driver's field.
fn printable(text: &str) -> String {
    let is_allowed = |c: char| !c.is_control() && c != char::REPLACEMENT_CHARACTER;
    let plain = text.chars().map(|c| if is_allowed(c) { c } else { '?' });
    plain.collect()
}

fn code_of(fourcc: FourCc) -> Option<Code> {
    let bytes = fourcc.0.to_le_bytes();
    let is_text = bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    is_text.then_some(Code(fourcc))
}

/// Asks a device for all facts except those of its stream.
///
/// # Errors
/// Fails with a message for the user: the device is no single-planar capture device, or a call fails.
pub fn describe(client: &mut Client<'_>, usb: Option<Usb>) -> Result<File, String> {
    let able = client
        .capability()
        .map_err(|_| "it is no video device; name one such as /dev/video0".to_owned())?;
    if able.device_caps & sys::V4L2_CAP_VIDEO_CAPTURE == 0 {
        return Err(refusal(able.device_caps).to_owned());
    }
    let inputs = client.inputs().map_err(failed("ENUMINPUT"))?;
    let now = client.format().map_err(failed("G_FMT"))?;
    let interval = client.interval();
    let formats = formats(client, &now, interval)?;
    let ranges = client.controls().map_err(failed("QUERY_EXT_CTRL"))?;
    let controls = controls(client, &ranges);
    let bytes = |format: &Format| format.layouts().first().map(|plane| plane.sizeimage);
    let mut usual = now;
    usual.planes = Default::default();
    let usual = client.try_format(&usual).map_err(failed("TRY_FMT"))?;
    let other = able.capabilities & !able.device_caps & !sys::V4L2_CAP_DEVICE_CAPS;
    let image_bytes = bytes(&now).filter(|_| bytes(&usual) != bytes(&now));
    Ok(File {
        version: plain(VERSION),
        source: None,
        device: plain(DeviceTable {
            driver: printable(&able.driver),
            card: printable(&able.card),
            bus_info: Some(printable(&able.bus_info)).filter(|bus_info| !bus_info.is_empty()),
            other_capabilities: Some(other).filter(|caps| *caps != 0).map(Hex),
            read: able.device_caps & sys::V4L2_CAP_READWRITE != 0,
        }),
        usb: usb.map(|usb| plain(printable_usb(usb))),
        mode: code_of(now.fourcc).zip(interval).map(|(format, interval)| {
            plain(ModeTable {
                format,
                size: Pixels((now.width, now.height)),
                interval: Seconds(interval),
                image_bytes,
            })
        }),
        stream: None,
        inputs: (inputs.into_iter())
            .map(|input| InputTable {
                name: printable(&input.name),
                kind: input.kind,
            })
            .collect(),
        formats,
        controls,
    })
}

const fn refusal(caps: u32) -> &'static str {
    const MEM2MEM: u32 = sys::V4L2_CAP_VIDEO_M2M | sys::V4L2_CAP_VIDEO_M2M_MPLANE;
    if caps & MEM2MEM != 0 {
        "it is a codec or a converter, and only cameras can be cloned; `vb3 devices` lists \
         simulated codecs and converters"
    } else if caps & sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE != 0 {
        "it has the multi-planar API, and only single-planar devices can be cloned"
    } else {
        "it captures no pictures; `v4l2-ctl --list-devices` lists a device's nodes"
    }
}

/// Returns a function that turns the errno of this call into a message.
fn failed(call: &'static str) -> impl Fn(Errno) -> String {
    move |errno| {
        let why = std::io::Error::from_raw_os_error(errno.0);
        format!("{call} failed: {why}")
    }
}

/// Describes the pixel formats of a device whose current format is `now`.
fn formats(
    client: &mut Client<'_>,
    now: &Format,
    interval: Option<Fraction>,
) -> Result<Vec<Spanned<FormatTable>>, String> {
    let mut formats = Vec::new();
    for format in client.formats().map_err(failed("ENUM_FMT"))? {
        let is_known = |known: &Spanned<FormatTable>| known.get_ref().code.0 == format.fourcc;
        let Some(code) = code_of(format.fourcc).filter(|_| !formats.iter().any(is_known)) else {
            continue;
        };
        let sizes = client
            .sizes(format.fourcc)
            .map_err(failed("ENUM_FRAMESIZES"))?;
        let mut table = FormatTable {
            code,
            description: printable(&format.description),
            colors: None,
            sizes: Vec::new(),
        };
        // A device without ENUM_FRAMESIZES has at least its current size.
        let present = [OneOrRange::One((now.width, now.height))];
        let sizes = if sizes.is_empty() {
            &present[..]
        } else {
            &sizes
        };
        for size in sizes {
            let entry = size_table(client, (&mut table, now), *size, interval);
            let entry = entry.map_err(failed("ENUM_FRAMEINTERVALS"))?;
            let is_known = |known: &Spanned<SizeTable>| known.get_ref().size == entry.size;
            if !table.sizes.iter().any(is_known) {
                table.sizes.push(plain(entry));
            }
        }
        formats.push(plain(table));
    }
    Ok(formats)
}

fn printable_usb(mut usb: Usb) -> Usb {
    let names = [&mut usb.manufacturer, &mut usb.product, &mut usb.serial];
    for text in names.into_iter().chain([&mut usb.revision]).flatten() {
        *text = printable(text);
    }
    usb
}

/// Describes a size, and the colours of the pixel format if they are not known yet.
fn size_table(
    client: &mut Client<'_>,
    (table, now): (&mut FormatTable, &Format),
    size: OneOrRange<(u32, u32)>,
    interval: Option<Fraction>,
) -> Result<SizeTable, Errno> {
    let fourcc = table.code.0;
    let mut entry = SizeTable::default();
    let (width, height) = match size {
        OneOrRange::One(size) => {
            entry.size = Some(Pixels(size));
            size
        }
        OneOrRange::Range(min, max, step) => {
            entry.range = Some([min, max, step.unwrap_or((1, 1))].map(Pixels));
            min
        }
    };
    let mut wanted = Format {
        fourcc,
        width,
        height,
        ..*now
    };
    wanted.planes = Default::default();
    if let Ok(format) = client.try_format(&wanted) {
        table.colors.get_or_insert(Colors(format.color));
        let own = pixfmt::lookup(fourcc).and_then(|pixel| smallest(pixel, (width, height)));
        let layout = format.layouts().first().copied().unwrap_or_default();
        let is_range = entry.range.is_some();
        // The layout of a format without padding follows from its size and is left out.
        if !is_range && own.is_none_or(|own| own != layout) {
            entry.line_bytes = Some(layout.bytesperline).filter(|bytes| *bytes > 0);
            entry.image_bytes = Some(layout.sizeimage);
        }
    }
    for interval in client.intervals(fourcc, (width, height))? {
        match interval {
            OneOrRange::One(one) => entry.intervals.push(allowed(one)),
            OneOrRange::Range(min, max, step) => {
                let all = [Some(allowed(min)), Some(allowed(max)), step.map(Seconds)];
                entry.interval_range = all.into_iter().flatten().collect();
                entry.intervals.clear();
            }
        }
    }
    if entry.intervals.is_empty() && entry.interval_range.is_empty() {
        // The device lists no intervals for this format and size.
        let interval = interval.unwrap_or(Fraction::new(1, 30));
        entry.intervals.push(allowed(interval));
    }
    Ok(entry)
}

/// Returns the nearest interval that a description may have.
fn allowed(interval: Fraction) -> Seconds {
    let ns = interval.as_nanos().unwrap_or(u64::MAX);
    Seconds(match ns {
        short if short < *INTERVALS_NS.start() => Fraction::new(1, 1000),
        long if long > *INTERVALS_NS.end() => Fraction::new(60, 1),
        _ => interval,
    })
}

/// Returns the layout of a format without padding; `None` for compressed formats.
fn smallest(pixel: &PixelFormat, (width, height): (u32, u32)) -> Option<vb3_v4l2::PlaneLayout> {
    let format = Format::new(pixel, width, height)?;
    let first = format.layouts().first().copied();
    first.filter(|_| !pixel.is_compressed())
}

fn controls(client: &mut Client<'_>, ranges: &[ControlRange]) -> Vec<Spanned<ControlTable>> {
    let mut all: Vec<ControlTable> = Vec::new();
    for range in ranges {
        let kind = match range.kind {
            // Texts, arrays and structures are left out, because a client passes no pointers.
            _ if range.flags.contains(ControlFlags::HAS_PAYLOAD) => continue,
            sys::V4L2_CTRL_TYPE_INTEGER => ControlType::Integer,
            sys::V4L2_CTRL_TYPE_BOOLEAN => ControlType::Boolean,
            sys::V4L2_CTRL_TYPE_MENU => ControlType::Menu,
            sys::V4L2_CTRL_TYPE_INTEGER_MENU => ControlType::IntegerMenu,
            sys::V4L2_CTRL_TYPE_BITMASK => ControlType::Bitmask,
            sys::V4L2_CTRL_TYPE_BUTTON => ControlType::Button,
            sys::V4L2_CTRL_TYPE_INTEGER64 => ControlType::Integer64,
            // A class with the name that Linux gives it is left out: the simulated camera knows that name.
            sys::V4L2_CTRL_TYPE_CTRL_CLASS if range.name != class_name(range.id & !1) => {
                ControlType::Class
            }
            _ => continue,
        };
        all.push(control(client, range, kind));
    }
    let values: Vec<(u32, i64)> = (all.iter())
        .map(|control| (control.id.0, control.value.unwrap_or(control.default)))
        .collect();
    let value_of = |id| {
        let value = values.iter().find(|(known, _)| *known == id);
        value.map(|(_, value)| *value)
    };
    let has_class = |class: &ControlTable| {
        let is_member = |id: u32| id != class.id.0 && id & !0xffff == class.id.0 & !0xffff;
        values.iter().any(|(id, _)| is_member(*id))
    };
    all.retain(|control| control.kind != ControlType::Class || has_class(control));
    for control in &mut all {
        let master = MASTERS.iter().find(|(id, ..)| *id == control.id.0);
        let Some(&(_, master, manual)) = master else {
            continue;
        };
        let is_inactive = control.flags.contains(&Flag::Inactive);
        // The entry of `MASTERS` applies to this device if the control's current state agrees with the entry.
        if value_of(master).is_some_and(|value| (value != manual) == is_inactive) {
            control.flags.retain(|flag| *flag != Flag::Inactive);
            control.active_if = Some(ActiveIf {
                id: Hex(master),
                value: manual,
            });
        }
    }
    all.into_iter().map(plain).collect()
}

fn control(client: &mut Client<'_>, range: &ControlRange, kind: ControlType) -> ControlTable {
    let mut table = ControlTable {
        id: Hex(range.id),
        name: printable(&range.name),
        kind,
        default: range.default,
        flags: flags(range.flags, kind),
        ..ControlTable::default()
    };
    let (min, max) = match kind {
        ControlType::Boolean => (0, 1),
        _ => (range.min, range.max.max(range.min)),
    };
    let value = client.value(range.id).map(i64::from);
    match kind {
        ControlType::Integer | ControlType::Integer64 => {
            (table.min, table.max) = (Some(min), Some(max));
            table.step = Some(range.step.max(1));
            // Some cameras have defaults and values outside their range.
            table.default = range.default.clamp(min, max);
        }
        ControlType::Bitmask => {
            let bits = |number: i64| number & i64::from(u32::MAX);
            (table.max, table.default) = (Some(bits(range.max)), bits(range.default));
        }
        ControlType::Menu | ControlType::IntegerMenu => {
            let first = u32::try_from(min).unwrap_or(0);
            let last = u32::try_from(max).unwrap_or(first);
            table.min = Some(min).filter(|_| first > 0);
            table.default = range.default.clamp(min, max);
            for index in (first..=last).take(MAX_ITEMS) {
                let item = client.menu_item(range.id, index);
                match kind {
                    ControlType::Menu => {
                        let name = item.map(|(name, _)| printable(&name));
                        table.items.push(name.unwrap_or_default());
                    }
                    _ => {
                        if item.is_none() {
                            table.gaps.push(index.into());
                        }
                        table.numbers.push(item.map_or(0, |(_, number)| number));
                    }
                }
            }
        }
        ControlType::Boolean => table.default = range.default.clamp(min, max),
        ControlType::Button | ControlType::Class => {}
    }
    let value = match kind {
        ControlType::Button | ControlType::Integer64 | ControlType::Class => None,
        ControlType::Bitmask => value.map(|value| value & i64::from(u32::MAX)),
        _ => value.map(|value| value.clamp(min, max)),
    };
    table.value = value.filter(|value| *value != table.default);
    table
}

/// Returns a control's flags, without those that its kind implies.
fn flags(flags: ControlFlags, kind: ControlType) -> Vec<Flag> {
    let implied = match kind {
        ControlType::Button => ControlFlags::WRITE_ONLY | ControlFlags::EXECUTE_ON_WRITE,
        ControlType::Class => ControlFlags::WRITE_ONLY | ControlFlags::READ_ONLY,
        _ => ControlFlags::empty(),
    };
    let own = flags.difference(implied);
    let set = FLAGS.iter().filter(|(_, flag)| own.contains(*flag));
    set.map(|(word, _)| *word).collect()
}

/// Measures the stream of a described device in its current format, and adds the results to the file.
///
/// `wait` waits for a frame and returns whether one came. `now_ns` is the monotonic clock.
///
/// # Errors
/// Fails with a message for the user: a call fails, or no frame comes.
pub fn measure(
    file: &mut File,
    seconds: u32,
    client: &mut Client<'_>,
    wait: &mut dyn FnMut() -> bool,
    now_ns: &mut dyn FnMut() -> u64,
) -> Result<(), String> {
    let Some(mode) = file.mode.as_ref().map(Spanned::get_ref) else {
        return Err("it has no frame rate; --seconds 0 describes it without its stream".to_owned());
    };
    let failed = |errno: Errno| {
        let why = std::io::Error::from_raw_os_error(errno.0);
        format!("it cannot stream: {why}; --seconds 0 describes it without its stream")
    };
    let buffers = client.request_buffers(BUFFERS).map_err(failed)?;
    for index in 0..buffers {
        client.queue(index).map_err(failed)?;
    }
    let start_ns = now_ns();
    client.stream(true).map_err(failed)?;
    let mut table = StreamTable {
        size: mode.size,
        interval: mode.interval,
        first_frame_us: 0,
        intervals_us: Vec::new(),
        lost: Vec::new(),
        image_bytes: Vec::new(),
    };
    let is_compressed = pixfmt::lookup(mode.format.0).is_some_and(PixelFormat::is_compressed);
    let mut last: Option<(u32, u64)> = None;
    let mut first_ns = 0;
    while table.intervals_us.len() < MAX_FRAMES {
        if !wait() {
            break;
        }
        let frame = client.dequeue().map_err(failed)?;
        client.queue(frame.index).map_err(failed)?;
        match last {
            None => {
                first_ns = frame.time_ns;
                table.first_frame_us = now_ns().saturating_sub(start_ns) / 1000;
            }
            Some((sequence, time_ns)) => {
                let lost = frame.sequence.wrapping_sub(sequence).wrapping_sub(1);
                let index = u32::try_from(table.intervals_us.len()).unwrap_or(u32::MAX);
                // A greater difference means that the camera started its numbers again, not that frames were
                // lost.
                if (1..=MAX_LOST).contains(&lost) {
                    table.lost.push([index, lost]);
                }
                let us = frame.time_ns.saturating_sub(time_ns) / 1000;
                table.intervals_us.push(us.max(1));
            }
        }
        if is_compressed {
            table.image_bytes.push(frame.bytes);
        }
        last = Some((frame.sequence, frame.time_ns));
        if frame.time_ns.saturating_sub(first_ns) >= u64::from(seconds) * 1_000_000_000 {
            break;
        }
    }
    client.stream(false).map_err(failed)?;
    client.request_buffers(0).map_err(failed)?;
    if table.intervals_us.is_empty() {
        let why = "it sent fewer than two frames; --seconds 0 describes it without its stream";
        return Err(why.to_owned());
    }
    file.stream = Some(plain(table));
    Ok(())
}

/// Prints a description as TOML with comments.
#[must_use]
pub fn print(file: &File, device: &str) -> String {
    const COMMENTS: &[(&str, &str)] = &[
        ("[device]", "The answers of QUERYCAP."),
        ("[usb]", "The device's files in sysfs."),
        (
            "[mode]",
            "Format, size and seconds for each frame at first.",
        ),
        (
            "[stream]",
            "Time to the first frame and from each frame to the next, lost frames as [index, \
             count],\n# and bytes of compressed pictures. A clone repeats them, scaled to its \
             rate and size.",
        ),
        ("[[input]]", "Inputs; kind is V4L2_INPUT_TYPE_*."),
        (
            "[[format]]",
            "Pixel formats with sizes. line_bytes and image_bytes stand where lines or buffers \
             are longer\n# than the pixels need, or the format is compressed.",
        ),
        (
            "[[control]]",
            "Controls; value is the present one if it is not the default. A menu's empty items \
             cannot be\n# chosen.",
        ),
    ];
    let mut text = format!(
        "# Description of a camera, from `vb3 clone {device}`. To play it: vb3 run --device \
         FILE.toml -- PROGRAM\n"
    );
    let body = toml::to_string(file).unwrap_or_default();
    let mut seen: Vec<&str> = Vec::new();
    for line in body.lines() {
        let comment = COMMENTS.iter().find(|(head, _)| *head == line);
        if let Some((head, comment)) = comment.filter(|(head, _)| !seen.contains(head)) {
            seen.push(head);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# {comment}");
        }
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests;
