//! Checks the pixel formats of a description, with their sizes and intervals.

use super::{INTERVALS_NS, Result, Source, is_plain, keep};
use crate::colors::captured;
use crate::description::file::{File, FormatTable, Pixels, Seconds, SizeTable};
use crate::likeness::{Offered, Row};
use toml::Spanned;
use vb3_v4l2::pixfmt::{self, MAX_COMPRESSED_BYTES};
use vb3_v4l2::{Fraction, FrameIntervals, FrameSizes, PixelFormat};

const MAX_FORMATS: usize = 256;
const MAX_SIZES: usize = 256;
const MAX_INTERVALS: usize = 256;
/// Largest side in a range of sizes. A camera reduces the range to its own limits.
const MAX_SIDE: u32 = 1 << 16;
/// Longest line in bytes.
const MAX_LINE: u32 = 1 << 16;

pub(super) fn formats(source: &mut Source<'_>, file: &File) -> Result<Vec<Offered>> {
    let mut all: Vec<Offered> = Vec::new();
    if let Some(beyond) = file.formats.get(MAX_FORMATS) {
        let message = format_args!("a description has at most {MAX_FORMATS} [[format]]");
        return source.error(beyond.span().start, message);
    }
    for table in &file.formats {
        let (at, format) = (table.span().start, table.get_ref());
        let (code, description) = (format.code.0, &format.description);
        let is_new = all.iter().all(|known| known.pixel.fourcc != code);
        let message = format_args!("there are two [[format]] {code}; remove one");
        source.expect(at, is_new, message)?;
        let message = format_args!("description = {description:?}: allowed are 31 printable bytes");
        source.expect(at, is_plain(description, 31), message)?;
        let known = pixfmt::TABLE.iter().find(|pixel| pixel.fourcc == code);
        let pixel = known.filter(|pixel| {
            pixel.memory_planes == 1
                && (!pixel.is_compressed() || pixel.fourcc == pixfmt::MJPEG.fourcc)
        });
        let Some(pixel) = pixel else {
            let message = format_args!("{code} is left out: vb3 cannot make such pictures");
            source.note(at, message);
            continue;
        };
        if let Some(offered) = sizes(source, table, described(pixel, description))? {
            all.push(offered);
        }
    }
    let names: Vec<&str> = pixfmt::TABLE.iter().map(|pixel| pixel.name).collect();
    let names = names.join(", ");
    let message = format_args!("there is no [[format]] that vb3 can make; it makes {names}");
    source.expect(file.device.span().start, !all.is_empty(), message)?;
    Ok(all)
}

/// Returns the format with the device's own description of it.
fn described(pixel: &'static PixelFormat, description: &str) -> &'static PixelFormat {
    match pixel.description == description {
        true => pixel,
        false => Box::leak(Box::new(PixelFormat {
            description: keep(description),
            ..*pixel
        })),
    }
}

/// Checks a format's sizes. Returns `None` if no camera can have any of them.
fn sizes(
    source: &mut Source<'_>,
    table: &Spanned<FormatTable>,
    pixel: &'static PixelFormat,
) -> Result<Option<Offered>> {
    let format = table.get_ref();
    let is_list = (1..=MAX_SIZES).contains(&format.sizes.len());
    let message = format_args!("a [[format]] has 1 to {MAX_SIZES} [[format.size]]");
    source.expect(table.span().start, is_list, message)?;
    let (mut sizes, mut range, mut rows) = (Vec::new(), None, Vec::new());
    for entry in &format.sizes {
        let (at, table) = (entry.span().start, entry.get_ref());
        let size = match (table.size, table.range) {
            (Some(size), None) if size.size().is_none() => {
                let message = "is left out: vb3 makes even sizes from 2x2 to 4096x2304";
                source.note(at, format_args!("size {size} {message}"));
                continue;
            }
            (Some(size), None) => {
                let message = format_args!("there are two sizes {size}; remove one");
                source.expect(at, !sizes.contains(&size.0), message)?;
                sizes.push(size.0);
                size.0
            }
            (None, Some(asked)) if format.sizes.len() == 1 => {
                let (width, height) = sides(source, entry, asked)?;
                range = Some(FrameSizes::Stepwise { width, height });
                (width.0, height.0)
            }
            _ => {
                let message = "a [[format.size]] has either size = \"640x480\" or range = \
                               [\"MIN\", \"MAX\", \"STEP\"], and a range is the only one";
                return source.error(at, message);
            }
        };
        rows.push(row(source, entry, (pixel, size))?);
    }
    Ok((!rows.is_empty()).then(|| Offered {
        pixel,
        color: (format.colors).map_or_else(|| captured(pixel), |colors| colors.0),
        sizes: range.unwrap_or_else(|| FrameSizes::Discrete(Vec::leak(sizes))),
        rows,
    }))
}

/// Smallest value, largest value and step of a width or height.
type Side = (u32, u32, u32);

/// Returns the widths and heights of a range, reduced to those that a camera can have.
fn sides(
    source: &mut Source<'_>,
    entry: &Spanned<SizeTable>,
    [min, max, step]: [Pixels; 3],
) -> Result<(Side, Side)> {
    let asked = ((min.0.0, max.0.0, step.0.0), (min.0.1, max.0.1, step.0.1));
    let found = (
        side(source, entry, asked.0, 4096)?,
        side(source, entry, asked.1, 2304)?,
    );
    if found != asked {
        let message = "the range of sizes is reduced to vb3's: even sizes to 4096x2304";
        source.note(entry.span().start, message);
    }
    Ok(found)
}

/// Reduces a range of widths or heights to values that a camera can have.
fn side(
    source: &Source<'_>,
    entry: &Spanned<SizeTable>,
    (min, max, step): Side,
    most: u32,
) -> Result<Side> {
    let is_sane = (1..=max).contains(&min) && (1..=MAX_SIDE).contains(&max) && step <= MAX_SIDE;
    let fitting = is_sane.then(|| {
        let (min, step) = (min.next_multiple_of(2), step.max(1).next_multiple_of(2));
        (min, max.min(most) & !1, step)
    });
    let Some(fitting) = fitting.filter(|(min, max, _)| min <= max) else {
        let message = format_args!(
            "range from {min} to {max} in steps of {step}: the smallest must be 1 or more and not \
             above the largest, which is at most {most}"
        );
        return source.error(entry.span().start, message);
    };
    Ok(fitting)
}

/// Checks the lengths in bytes and the intervals of a size.
fn row(
    source: &Source<'_>,
    entry: &Spanned<SizeTable>,
    (pixel, (width, height)): (&PixelFormat, (u32, u32)),
) -> Result<Row> {
    let (at, table, code) = (entry.span().start, entry.get_ref(), pixel.fourcc);
    let line_bytes = table.line_bytes.unwrap_or(0);
    let image_bytes = table.image_bytes.unwrap_or(0);
    let fits = line_bytes <= MAX_LINE && image_bytes <= MAX_COMPRESSED_BYTES;
    let message = format_args!(
        "line_bytes = {line_bytes}, image_bytes = {image_bytes} for {width}x{height} {code}: \
         allowed are {MAX_LINE} and {MAX_COMPRESSED_BYTES}"
    );
    source.expect(at, fits, message)?;
    let ns = |interval: Fraction| interval.as_nanos().unwrap_or(0);
    let is_sane = |interval: &Fraction| INTERVALS_NS.contains(&ns(*interval));
    let of = |list: &[Seconds]| list.iter().map(|one| one.0).collect::<Vec<_>>();
    let (intervals, range) = (of(&table.intervals), of(&table.interval_range));
    let is_valid = match (intervals.len(), &range[..]) {
        (1..=MAX_INTERVALS, []) => intervals.iter().all(is_sane),
        (0, [min, max, step @ ..]) if step.len() <= 1 => {
            let has_step = step.iter().all(|step| ns(*step) > 0);
            is_sane(min) && is_sane(max) && ns(*min) <= ns(*max) && has_step
        }
        _ => false,
    };
    let message = format_args!(
        "intervals of {width}x{height} {code}: allowed are 1 to {MAX_INTERVALS} intervals, or \
         interval_range = [SHORTEST, LONGEST, STEP], from 1/1000 to 60/1 seconds"
    );
    source.expect(at, is_valid, message)?;
    Ok(Row {
        line_bytes,
        image_bytes,
        intervals: match range[..] {
            [min, max] => FrameIntervals::Continuous { min, max },
            [min, max, step] => FrameIntervals::Stepwise { min, max, step },
            _ => FrameIntervals::Discrete(Vec::leak(intervals)),
        },
    })
}
