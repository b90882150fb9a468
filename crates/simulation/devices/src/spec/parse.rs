//! Parses the words of a SPEC (the text that requests a device), and changes the text of an existing SPEC,
//! such as that of a board's device.

use crate::choice::{SinkSpec, SourceSpec};
use crate::limits::MAX_FPS;
use crate::sink::NumberedName;
use crate::text::hex;
use std::path::PathBuf;
use std::str::FromStr;
use vb3_picture::Size;
use vb3_v4l2::{FourCc, Fraction, pixfmt};

/// Splits a SPEC at its commas. `\,` stands for a comma and `\\` for a backslash.
pub(crate) fn split(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' => words.push(std::mem::take(&mut word)),
            '\\' => {
                let escaped = chars.next_if(|next| matches!(next, ',' | '\\'));
                word.push(escaped.unwrap_or('\\'));
            }
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

/// Sets one option in a SPEC's text. An empty name stands for the value after the device's kind.
///
/// The result may be an invalid SPEC. Parsing it then returns an error.
#[must_use]
pub fn with_option(spec: &str, option: &str, value: &str) -> String {
    let mut words = split(spec);
    let name = |word: &str| {
        word.split_once('=')
            .map_or(word, |(name, _)| name)
            .to_owned()
    };
    match option {
        "" => {
            if let Some(first) = words.first_mut() {
                *first = format!("{}={value}", name(first));
            }
        }
        option => {
            let new = format!("{option}={value}");
            let mut options = words.iter_mut().skip(1);
            match options.find(|word| name(word) == option) {
                Some(word) => *word = new,
                None => words.push(new),
            }
        }
    }
    let escaped = words
        .iter()
        .map(|word| word.replace('\\', "\\\\").replace(',', "\\,"));
    escaped.collect::<Vec<_>>().join(",")
}

pub(crate) fn parse_source(value: &str) -> SourceSpec {
    match value {
        "" | "pattern" => SourceSpec::Pattern,
        file => SourceSpec::Clip(PathBuf::from(file)),
    }
}

pub(crate) fn parse_sink(value: &str) -> Result<SinkSpec, &'static str> {
    let lower = value.to_ascii_lowercase();
    let ends = |ending: &str| lower.ends_with(ending);
    if value.is_empty() || value == "null" {
        Ok(SinkSpec::Null)
    } else if ends(".y4m") {
        Ok(SinkSpec::Y4m(PathBuf::from(value)))
    } else if ends(".raw") || ends(".yuv") || ends(".rgb") {
        Ok(SinkSpec::Raw(PathBuf::from(value)))
    } else if ends(".png") {
        if NumberedName::new(value).is_some() {
            Ok(SinkSpec::Png(value.to_owned()))
        } else {
            Err("a PNG holds one frame; write the place of its number once, as in frames/%04d.png")
        }
    } else {
        Err("a display records to null, FILE.y4m, FILE.raw, FILE.yuv, FILE.rgb or NAME%04d.png")
    }
}

/// Returns the value that a word has in `all`.
pub(super) fn parse_word<T: Copy>(word: &str, all: &[(&str, T)]) -> Option<T> {
    let found = all.iter().find(|(known, _)| *known == word);
    found.map(|(_, meaning)| *meaning)
}

/// Maximum number of entries in a list.
const LIST_MAX: usize = 64;

/// Parses a list whose entries are separated by colons. No entry may repeat.
pub(super) fn list<T: PartialEq>(value: &str, entry: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut found = Vec::new();
    for word in value.split(':') {
        let one = entry(word)?;
        if found.contains(&one) || found.len() >= LIST_MAX {
            return None;
        }
        found.push(one);
    }
    Some(found)
}

pub(super) fn parse_switch(value: &str) -> Option<bool> {
    parse_word(value, &[("on", true), ("off", false)])
}

/// Parses a whole number with one of these units.
pub(super) fn parse_with_unit(value: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut found = units.iter();
    let found = found.find_map(|(name, unit)| Some((value.strip_suffix(name)?, unit)));
    let (digits, unit) = found?;
    parse_in(digits, 0, u64::MAX)?.checked_mul(*unit)
}

/// Parses a number that has only digits and lies within limits.
pub(super) fn parse_in<T: FromStr + PartialOrd>(value: &str, min: T, max: T) -> Option<T> {
    let is_number = value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse().ok().filter(|_| is_number);
    number.filter(|number| (min..=max).contains(number))
}

/// Parses a DMA mask: its number of bits, 20 to 64, or the highest address in hexadecimal.
pub(super) fn parse_mask(value: &str) -> Option<u64> {
    const MIN_BITS: u32 = 20;
    if let Some(digits) = value.strip_prefix("0x") {
        let last = hex(digits)?;
        return (last >= u64::from(u32::MAX >> (32 - MIN_BITS))).then_some(last);
    }
    let bits = parse_in(value, MIN_BITS, 64)?;
    u64::MAX.checked_shr(64 - bits)
}

/// Parses a number of bytes within limits, plain or in KiB, MiB or GiB.
pub(super) fn parse_bytes(value: &str, min: u64, max: u64) -> Option<u64> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("", 1),
    ];
    let bytes = parse_with_unit(value, &units)?;
    (min..=max).contains(&bytes).then_some(bytes)
}

pub(super) fn parse_size(value: &str) -> Option<Size> {
    let (width, height) = value.split_once('x')?;
    Size::new(
        parse_in(width, 0, u32::MAX)?,
        parse_in(height, 0, u32::MAX)?,
    )
}

pub(super) fn parse_fps(value: &str) -> Option<Fraction> {
    let (frames, seconds) = value.split_once('/').unwrap_or((value, "1"));
    let frames = parse_in(frames, 1, 1_000_000)?;
    let seconds = parse_in(seconds, 1, 1_000_000)?;
    let fits = frames >= seconds && u64::from(frames) <= u64::from(MAX_FPS) * u64::from(seconds);
    fits.then(|| Fraction::new(frames, seconds))
}

/// Parses a pixel format by its name or its code.
pub(crate) fn parse_format(value: &str) -> Option<FourCc> {
    pixfmt::by_name(value).map(|pixel| pixel.fourcc)
}

/// Parses a bus window of whole pages, such as `0x0-0x3fffffff@0xc0000000`. Returns first byte, last byte and
/// bus address.
pub(super) fn parse_window(value: &str) -> Option<(u64, u64, u64)> {
    const PAGE: u64 = 4096;
    let number = |text: &str| hex(text.strip_prefix("0x")?);
    let (memory, bus) = value.split_once('@')?;
    let (first, last) = memory.split_once('-')?;
    let (first, last, bus) = (number(first)?, number(last)?, number(bus)?);
    let len = last.checked_sub(first)?.checked_add(1)?;
    let whole = [first, len, bus].iter().all(|n| n.is_multiple_of(PAGE));
    (whole && bus.checked_add(len).is_some()).then_some((first, last, bus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_option_is_set_and_others_stay() {
        let rows = [
            ("camera", "size", "64x48", "camera,size=64x48"),
            (
                "camera=a\\,b.mp4,fps=5",
                "fps",
                "6",
                "camera=a\\,b.mp4,fps=6",
            ),
            ("camera,fps=5", "", "x,y.mp4", "camera=x\\,y.mp4,fps=5"),
            ("display=null", "", "a.y4m", "display=a.y4m"),
            (
                "convert,name=rga@1",
                "align",
                "8",
                "convert,name=rga@1,align=8",
            ),
        ];
        for (spec, option, value, wanted) in rows {
            assert_eq!(with_option(spec, option, value), wanted);
        }
    }
}
