//! What `--device` says: `camera=clip.mp4,size=1280x720,fps=30`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Most devices of one run.
pub const MAX_DEVICES: usize = 64;

/// One device to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// What it is.
    pub kind: DeviceKind,
    /// Which allocator its planes come from.
    pub allocator: Allocator,
    /// Whether it offers USERPTR; `None` leaves it to the allocator, as drivers do: yes for
    /// vmalloc, and for contig only where an IOMMU makes it useful.
    pub userptr: Option<bool>,
    /// First size offered, width and height in pixels; `None` for the source's own.
    pub size: Option<(u32, u32)>,
    /// Frame rate as a fraction: frames per seconds; `None` for the source's own.
    pub fps: Option<(u32, u32)>,
}

/// Camera or display, single- or multi-planar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// A CAPTURE device.
    Camera {
        /// What it sees.
        source: Source,
        /// Whether it speaks the multi-planar API.
        mplane: bool,
        /// Whether a clip starts again at its end.
        looping: bool,
    },
    /// An OUTPUT device.
    Display {
        /// Where what it was shown goes.
        sink: Sink,
        /// Whether it speaks the multi-planar API.
        mplane: bool,
    },
}

/// What a camera sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A computed test pattern.
    Pattern,
    /// A file that ffmpeg decodes.
    Clip(PathBuf),
}

/// Where a display's frames go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Nowhere; they are counted.
    Null,
    /// A y4m file.
    Y4m(PathBuf),
    /// One PNG file a frame; the name has one `%d` or `%0Nd`.
    Png(String),
}

/// Where a device's planes come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocator {
    /// videobuf2-dma-contig.
    #[default]
    Contig,
    /// videobuf2-vmalloc.
    Vmalloc,
}

/// Why a SPEC was not understood. The text names the word that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError(String);

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpecError {}

/// The options of a SPEC, for `vb3 devices`: name, values, meaning.
pub const OPTIONS: &[(&str, &str, &str)] = &[
    (
        "camera=SOURCE",
        "pattern | FILE",
        "a camera; a FILE is decoded by ffmpeg",
    ),
    (
        "camera-mplane=SOURCE",
        "pattern | FILE",
        "the same, with the multi-planar API",
    ),
    (
        "display=SINK",
        "null | FILE.y4m | NAME%04d.png",
        "a display; it records what it is shown",
    ),
    (
        "display-mplane=SINK",
        "null | FILE.y4m | NAME%04d.png",
        "the same, multi-planar",
    ),
    (
        "size=WxH",
        "2x2 to 4096x2304",
        "first size offered (default: the clip's, or 640x480)",
    ),
    (
        "fps=N[/D]",
        "1/10 to 240",
        "frame rate (default: the clip's, or 30)",
    ),
    (
        "loop=on|off",
        "default off",
        "whether a clip starts again at its end",
    ),
    (
        "memory=NAME",
        "contig | vmalloc",
        "where planes come from (default contig)",
    ),
    (
        "userptr=on|off",
        "default by allocator and machine",
        "whether USERPTR is offered",
    ),
];

impl DeviceSpec {
    /// The devices of a run without `--device`: a camera and a display.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let device = |kind| Self {
            kind,
            allocator: Allocator::Contig,
            userptr: None,
            size: None,
            fps: None,
        };
        vec![
            device(DeviceKind::Camera {
                source: Source::Pattern,
                mplane: false,
                looping: false,
            }),
            device(DeviceKind::Display {
                sink: Sink::Null,
                mplane: false,
            }),
        ]
    }
}

/// Splits at commas; `\,` is a comma and `\\` a backslash.
fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            ',' => {
                words.push(String::new());
                continue;
            }
            '\\' => chars.next().unwrap_or('\\'),
            c => c,
        };
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words
}

impl FromStr for DeviceSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let words = split(text);
        let mut words = words.iter().map(String::as_str);
        let first = words.next().unwrap_or_default();
        let (name, value) = first.split_once('=').unwrap_or((first, ""));
        let kind = match name {
            "camera" | "camera-mplane" => DeviceKind::Camera {
                source: parse_source(value),
                mplane: name == "camera-mplane",
                looping: false,
            },
            "display" | "display-mplane" => DeviceKind::Display {
                sink: parse_sink(value)?,
                mplane: name == "display-mplane",
            },
            _ => {
                return Err(SpecError(format!(
                    "\"{name}\" is no kind of device; a SPEC begins with camera=, camera-mplane=, \
                     display= or display-mplane="
                )));
            }
        };
        let mut spec = Self {
            kind,
            allocator: Allocator::Contig,
            userptr: None,
            size: None,
            fps: None,
        };
        for word in words {
            spec.option(word)?;
        }
        Ok(spec)
    }
}

impl DeviceSpec {
    fn option(&mut self, word: &str) -> Result<(), SpecError> {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| SpecError(format!("option \"{word}\" lacks a value (NAME=VALUE)")))?;
        match name {
            "size" => self.size = Some(parse_size(value)?),
            "fps" => self.fps = Some(parse_fps(value)?),
            "userptr" => self.userptr = Some(parse_switch(name, value)?),
            "memory" => {
                self.allocator = match value {
                    "contig" => Allocator::Contig,
                    "vmalloc" => Allocator::Vmalloc,
                    _ => {
                        return Err(SpecError(format!(
                            "memory=\"{value}\" is not known; use contig or vmalloc"
                        )));
                    }
                }
            }
            "loop" => {
                let on = parse_switch(name, value)?;
                match &mut self.kind {
                    DeviceKind::Camera { looping, .. } => *looping = on,
                    DeviceKind::Display { .. } => {
                        return Err(SpecError("loop= is for cameras, not displays".into()));
                    }
                }
            }
            _ => {
                return Err(SpecError(format!(
                    "option \"{name}\" is not known; `vb3 devices` lists them"
                )));
            }
        }
        Ok(())
    }
}

fn parse_source(value: &str) -> Source {
    match value {
        "" | "pattern" => Source::Pattern,
        file => Source::Clip(PathBuf::from(file)),
    }
}

fn parse_sink(value: &str) -> Result<Sink, SpecError> {
    if value.is_empty() || value == "null" {
        return Ok(Sink::Null);
    }
    let lower = value.to_ascii_lowercase();
    if lower.ends_with(".y4m") {
        return Ok(Sink::Y4m(PathBuf::from(value)));
    }
    if lower.ends_with(".png") {
        if !has_one_number(value) {
            return Err(SpecError(format!(
                "\"{value}\" names one file for all frames; write the frame number's place as \
                 %04d, as in frames/%04d.png"
            )));
        }
        return Ok(Sink::Png(value.to_owned()));
    }
    Err(SpecError(format!(
        "a display cannot write \"{value}\"; use null, a name ending in .y4m, or one like %04d.png"
    )))
}

/// Whether a name has exactly one `%d` or `%0Nd`, and no other `%`.
fn has_one_number(name: &str) -> bool {
    let mut parts = name.split('%');
    let (Some(_), Some(after), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let digits = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let width = &after[..after.len() - digits.len()];
    digits.starts_with('d') && width.len() <= 2
}

fn parse_switch(name: &str, value: &str) -> Result<bool, SpecError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(SpecError(format!(
            "{name}=\"{value}\" is not known; use on or off"
        ))),
    }
}

fn parse_size(value: &str) -> Result<(u32, u32), SpecError> {
    let wrong = || {
        SpecError(format!(
            "size=\"{value}\" is no size; use WIDTHxHEIGHT from 2x2 to 4096x2304"
        ))
    };
    let (w, h) = value.split_once('x').ok_or_else(wrong)?;
    let (w, h): (u32, u32) = (
        w.parse().map_err(|_| wrong())?,
        h.parse().map_err(|_| wrong())?,
    );
    if !(2..=4096).contains(&w) || !(2..=2304).contains(&h) {
        return Err(wrong());
    }
    if w % 2 != 0 || h % 2 != 0 {
        return Err(SpecError(format!(
            "size=\"{value}\" is odd; width and height must be even"
        )));
    }
    Ok((w, h))
}

fn parse_fps(value: &str) -> Result<(u32, u32), SpecError> {
    let wrong = || {
        SpecError(format!(
            "fps=\"{value}\" is no frame rate; use N or N/D, up to 240"
        ))
    };
    let (n, d) = value.split_once('/').unwrap_or((value, "1"));
    let (n, d): (u32, u32) = (
        n.parse().map_err(|_| wrong())?,
        d.parse().map_err(|_| wrong())?,
    );
    let fits =
        n > 0 && d > 0 && u64::from(n) <= 240 * u64::from(d) && u64::from(n) * 10 >= u64::from(d);
    if fits { Ok((n, d)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests;
