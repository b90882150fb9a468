//! What a person writes to ask for a device: `camera=clip.mp4,size=1280x720,fps=30`.
//!
//! A SPEC is a kind with what it sees or where it records, and options after commas. A comma
//! that belongs to a file's name is written `\,`, a backslash `\\`.

mod demands;
mod formats;
mod offer;
pub(crate) mod parse;
mod presence;

use crate::picture::Size;
use crate::registry::ROWS;
pub use crate::registry::{DeviceKind, KINDS};
pub use demands::Demands;
pub(crate) use offer::same;
use parse::{
    parse_bytes, parse_format, parse_fps, parse_in, parse_mask, parse_size, parse_switch,
    parse_window, split,
};
pub use presence::Presence;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use vb3_dma::Protected;
use vb3_v4l2::{FourCc, Fraction, pixfmt};

/// Most devices of one run, and one more than the highest `node=videoN`.
pub const MAX_DEVICES: u32 = 64;
/// Most frames a second; the fewest is one.
pub const MAX_FPS: u32 = 120;

/// One device to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// What it is.
    pub kind: DeviceKind,
    /// Whether it speaks the multi-planar API.
    pub mplane: bool,
    /// Size at first; `None` for the source's own, or 640x480.
    pub size: Option<Size>,
    /// Frames per second at first, as a fraction; `None` for the source's own, or 30.
    pub fps: Option<Fraction>,
    /// Pixel format at first; `None` for YUYV.
    pub format: Option<FourCc>,
    /// Whether a camera offers lists of sizes and rates or all of them; `None` for its kind's way.
    pub profile: Option<Profile>,
    /// Sizes that a camera offers; empty for the usual ones.
    pub sizes: Vec<Size>,
    /// Frames per second that a camera offers; empty for the usual ones.
    pub rates: Vec<Fraction>,
    /// Pixel formats that a camera offers; empty for all it has.
    pub formats: Vec<FourCc>,
    /// What paces its frames.
    pub pace: Pace,
    /// Where its planes come from.
    pub allocator: Allocator,
    /// Whether its own buffers are placed when a device first uses them, for all devices that share
    /// them by then, and moved where another one needs them.
    pub lazy: bool,
    /// Whether REQBUFS and CREATE_BUFS make all buffers that they are asked for, or none.
    pub admission: bool,
    /// Whether it offers USERPTR; `None` leaves it to the host.
    pub userptr: Option<bool>,
    /// Whether it takes cache hints.
    pub hints: bool,
    /// Whether it has buttons that make calls fail.
    pub inject: bool,
    /// Most buffers, 32 to 32768; `None` for 64.
    pub max_buffers: Option<u32>,
    /// Buffers the device needs before it starts, 0 to 8.
    pub min_queued: u32,
    /// Name of the card; `None` for one made from the kind.
    pub name: Option<String>,
    /// Highest address the device can drive, at least 2^20 - 1; `None` for the machine's.
    pub mask: Option<u64>,
    /// Whether its memory must be physically contiguous, also where there is an IOMMU: it does not
    /// sit behind it.
    pub contiguous: bool,
    /// Which of the machine's further IOMMUs it is behind; `None` for the one for all devices.
    pub iommu: Option<String>,
    /// Bytes of coherent memory of its own, from which alone it allocates; `None` for the
    /// machine's.
    pub sram: Option<u64>,
    /// What it sees of memory: first and last byte, and the bus address of the first; `None` for all
    /// of it at its own addresses.
    pub window: Option<(u64, u64, u64)>,
    /// Bytes that addresses of planes are multiples of, a power of two; `None` for any.
    pub align: Option<u64>,
    /// Most bytes of a plane, which is one run of addresses; `None` for the machine's.
    pub max_segment: Option<u64>,
    /// Bytes, a power of two, of which no plane crosses a multiple; `None` for the machine's.
    pub boundary: Option<u64>,
    /// Bytes that lines of pictures are multiples of, a power of two; `None` for any.
    pub stride: Option<u32>,
    /// What it demands of memory beside its addresses.
    pub demands: Demands,
    /// Number of its node; `None` for the first that is free.
    pub node: Option<u32>,
    /// When it comes and goes by itself.
    pub presence: Presence,
}

/// What a camera sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// The test pattern.
    Pattern,
    /// A file that ffmpeg decodes.
    Clip(PathBuf),
}

/// Where a display records what it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkSpec {
    /// Nowhere.
    Null,
    /// A YUV4MPEG2 file.
    Y4m(PathBuf),
    /// A file of bare bytes.
    Raw(PathBuf),
    /// One PNG file a frame; the name has one `%d` or `%0Nd`.
    Png(String),
}

/// Which sizes and rates a camera offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Some, one by one, as a webcam does.
    Webcam,
    /// All from a smallest to a largest, as a sensor's driver does.
    Sensor,
}

/// What paces a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// The monotonic clock, at the frame rate.
    #[default]
    Real,
    /// Nothing: a frame for each buffer, as fast as buffers come.
    Free,
}

/// Where a device's planes come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocator {
    /// videobuf2-dma-contig.
    #[default]
    Contig,
    /// videobuf2-dma-sg.
    Sg,
    /// videobuf2-vmalloc.
    Vmalloc,
}

/// Why a SPEC was not understood: which option, which value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The option, or the kind of device.
    pub option: String,
    /// The value it had.
    pub value: String,
    /// What would have been understood.
    pub allowed: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={} is not understood: {}",
            self.option, self.value, self.allowed
        )
    }
}

impl std::error::Error for SpecError {}

/// An option, for a help text.
#[derive(Clone, Copy, Debug)]
pub struct OptionHelp {
    /// Its name.
    pub name: &'static str,
    /// The values it takes.
    pub values: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

pub(crate) const fn help(
    name: &'static str,
    values: &'static str,
    meaning: &'static str,
) -> OptionHelp {
    OptionHelp {
        name,
        values,
        meaning,
    }
}

const SIZES: &str = "WIDTHxHEIGHT, even numbers from 2x2 to 4096x2304";
const RATES: &str = "N or N/D frames per second, from 1 to 120";
const FORMATS: &str = pixfmt::NAMES;
const FORMAT_LIST: &str = "NAME:NAME…, pixel formats of the device";
const SIZE_LIST: &str = "WIDTHxHEIGHT:WIDTHxHEIGHT…, even numbers from 2x2 to 4096x2304";
const RATE_LIST: &str = "N:N/D…, frames per second from 1 to 120";
const SWITCH: &str = "on or off";
pub(crate) const SINKS: &str = "null, FILE.y4m, FILE.raw, FILE.yuv, FILE.rgb or NAME%04d.png";

/// The options of a device.
pub const OPTIONS: &[OptionHelp] = &[
    help(
        "size",
        SIZES,
        "first picture size (default: the clip's, or 640x480)",
    ),
    help(
        "fps",
        RATES,
        "first frame rate (default: the clip's, or 30)",
    ),
    help(
        "format",
        FORMATS,
        "first pixel format (default YUYV; NV12 for codecs and converters)",
    ),
    help(
        "profile",
        "webcam or sensor",
        "whether a camera offers lists of sizes and rates, or every one (default webcam; \
         capture-convert: sensor)",
    ),
    help(
        "sizes",
        SIZE_LIST,
        "the sizes that a camera offers (default: size=, the clip's, and the usual ones below)",
    ),
    help(
        "rates",
        RATE_LIST,
        "the rates that a camera offers (default: fps=, the clip's, and the usual ones below)",
    ),
    help(
        "formats",
        FORMAT_LIST,
        "the pixel formats that a camera offers, in this order (default: all it has)",
    ),
    help(
        "readers",
        "a number from 1 to 8",
        "nodes to read a loopback from (default 1)",
    ),
    help(
        "exclusive-caps",
        SWITCH,
        "whether a loopback's nodes to read from have no format while nobody writes (default off)",
    ),
    help(
        "loop",
        SWITCH,
        "whether a clip starts again at its end (cameras; default off)",
    ),
    help(
        "pace",
        "real or free",
        "frames at their rate (default), or as fast as buffers come",
    ),
    help(
        "mplane",
        SWITCH,
        "whether a camera or display speaks the multi-planar API (default off)",
    ),
    help(
        "alloc",
        "contig, sg or vmalloc",
        "where buffers come from (default contig); sg takes scattered pages; vmalloc is reached by \
         the CPU, without DMA",
    ),
    help(
        "place",
        "fixed or lazy",
        "when its own buffers get an address: as they are allocated (fixed, the default), or when a \
         device first uses them, for all that share them then; a device that cannot use the place \
         later has them moved (lazy)",
    ),
    help(
        "admission",
        SWITCH,
        "whether REQBUFS and CREATE_BUFS give all buffers that they are asked for or fail with ENOMEM \
         and hold nothing (on), instead of as many as there is memory for (off, the default)",
    ),
    help(
        "userptr",
        SWITCH,
        "whether USERPTR is offered (default: as the machine allows)",
    ),
    help(
        "hints",
        SWITCH,
        "whether cache hints are taken (default on)",
    ),
    help(
        "inject",
        SWITCH,
        "whether there are buttons that make the next call fail (default off)",
    ),
    help(
        "max-buffers",
        "a number from 32 to 32768",
        "most buffers of the queue (default 64)",
    ),
    help(
        "min-queued",
        "a number from 0 to 8",
        "buffers the device needs before it starts (default 0)",
    ),
    help(
        "name",
        "1 to 31 printable ASCII characters",
        "the name of the card",
    ),
    help(
        "mask",
        "a number of bits from 20 to 64, or the highest address, such as 0xddbfffff",
        "addresses the device reaches",
    ),
    help(
        "contiguous",
        SWITCH,
        "whether it needs physically contiguous memory, past the machine's IOMMU (default off)",
    ),
    help(
        "iommu",
        "a name in [iommus] of the machine's profile",
        "the IOMMU that it is behind (default: the one for all devices, if the machine has one)",
    ),
    help(
        "sram",
        "bytes from 4KiB to 256MiB, a multiple of 4KiB",
        "coherent memory of its own, from which alone it allocates (default: the machine's)",
    ),
    help(
        "window",
        "FIRST-LAST@BUS in hexadecimal, whole pages, such as 0x0-0x3fffffff@0xc0000000",
        "the memory that its bus shows it, and at which address (default: all, at its own)",
    ),
    help(
        "align",
        "bytes, a power of two from 1 to 16MiB",
        "bytes that addresses of planes are multiples of, for the device (default 1)",
    ),
    help(
        "max-segment",
        "bytes from 4KiB to 4GiB",
        "longest run of addresses that the device takes; a plane is one (default: the machine's)",
    ),
    help(
        "boundary",
        "bytes, a power of two from 4KiB to 4GiB",
        "bytes of which a plane's addresses cross no multiple (default: the machine's)",
    ),
    help(
        "stride",
        "a power of two from 1 to 4096",
        "bytes that lines of pictures are multiples of (default 1)",
    ),
    help(
        "coherent",
        SWITCH,
        "whether it sees the CPU's caches (default: as the machine's devices do)",
    ),
    help(
        "sync",
        SWITCH,
        "off if its driver never syncs: it takes cached memory only where it sees the caches (default \
         on)",
    ),
    help(
        "pages",
        SWITCH,
        "whether its driver takes memory with pages behind it alone (default off)",
    ),
    help(
        "protected",
        "off, on or only",
        "whether it reaches the machine's protected areas, or nothing else (default off)",
    ),
    help(
        "node",
        "videoN, N from 0 to 63",
        "which node it becomes (default: the first free)",
    ),
    help(
        "unplug",
        presence::TIMES,
        "when it is unplugged, from the start of the run (default: only by `vb3 ctl unplug`)",
    ),
    help(
        "plug",
        presence::TIMES,
        "when it is plugged in; without an earlier unplug= it is not there before",
    ),
];

impl DeviceSpec {
    /// A device with nothing but its kind said.
    #[must_use]
    pub const fn new(kind: DeviceKind, mplane: bool) -> Self {
        Self {
            kind,
            mplane,
            size: None,
            fps: None,
            format: None,
            profile: None,
            sizes: Vec::new(),
            rates: Vec::new(),
            formats: Vec::new(),
            pace: Pace::Real,
            allocator: Allocator::Contig,
            lazy: false,
            admission: false,
            userptr: None,
            hints: true,
            inject: false,
            max_buffers: None,
            min_queued: 0,
            name: None,
            mask: None,
            contiguous: false,
            iommu: None,
            sram: None,
            window: None,
            align: None,
            max_segment: None,
            boundary: None,
            stride: None,
            demands: Demands {
                coherent: None,
                unsynced: false,
                pages: false,
                protected: Protected::Never,
            },
            node: None,
            presence: Presence::ALWAYS,
        }
    }
}

/// SPECs of the devices of a run that asks for none: a camera with the pattern, and a display that
/// records nowhere.
pub const DEFAULTS: [&str; 2] = ["camera=pattern", "display=null"];

impl FromStr for DeviceSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let words = split(text);
        let mut words = words
            .iter()
            .map(|word| word.split_once('=').unwrap_or((word, "")));
        let (kind, value) = words.next().unwrap_or_default();
        let refuse = |allowed: &str| SpecError {
            option: kind.to_owned(),
            value: value.to_owned(),
            allowed: allowed.to_owned(),
        };
        let kinds = || {
            let names: Vec<&str> = KINDS.iter().map(|known| known.name).collect();
            refuse(&format!("a device is one of {}", names.join(", ")))
        };
        let row = ROWS.iter().find(|row| row.help.name == kind);
        let row = row.ok_or_else(kinds)?;
        let made = (row.parse)(value);
        let made = made.map_err(|why| why.map_or_else(kinds, refuse))?;
        let mut spec = Self::new(made, row.mplane);
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for (option, value) in words {
            let refuse = |allowed: String| SpecError {
                option: option.to_owned(),
                value: value.to_owned(),
                allowed,
            };
            if seen.iter().any(|(name, _)| *name == option) {
                return Err(refuse("the option is given twice".to_owned()));
            }
            seen.push((option, value));
            let Some(known) = OPTIONS.iter().find(|known| known.name == option) else {
                let names: Vec<&str> = OPTIONS.iter().map(|known| known.name).collect();
                return Err(refuse(format!("options are {}", names.join(", "))));
            };
            spec.set(option, value)
                .map_err(|why| refuse(why.unwrap_or_else(|| format!("use {}", known.values))))?;
        }
        spec.check_format()?;
        spec.check_offer()?;
        spec.check_addresses(&seen)?;
        spec.check_presence(&seen)?;
        spec.check_place()?;
        Ok(spec)
    }
}

impl DeviceSpec {
    /// Sets one option. The error is what to say, where the list of values does not say it.
    fn set(&mut self, option: &str, value: &str) -> Result<(), Option<String>> {
        match option {
            "size" => self.size = Some(parse_size(value).ok_or(None)?),
            "fps" => self.fps = Some(parse_fps(value).ok_or(None)?),
            "format" => self.format = Some(parse_format(value).ok_or(None)?),
            "profile" | "sizes" | "rates" | "formats" => {
                if !matches!(self.kind, DeviceKind::Camera { .. }) {
                    return Err(Some(format!("only a camera has {option}=")));
                }
                self.set_offer(option, value)?;
            }
            "readers" | "exclusive-caps" => {
                let DeviceKind::Loopback { readers, exclusive } = &mut self.kind else {
                    return Err(Some(format!("only a loopback has {option}=")));
                };
                match option {
                    "readers" => *readers = parse_in(value, 1, 8).ok_or(None)?,
                    _ => *exclusive = parse_switch(value).ok_or(None)?,
                }
            }
            "loop" => {
                let on = parse_switch(value).ok_or(None)?;
                let DeviceKind::Camera { looping, .. } = &mut self.kind else {
                    return Err(Some("only a camera can loop".to_owned()));
                };
                *looping = on;
            }
            "pace" => {
                self.pace = match value {
                    "real" => Pace::Real,
                    "free" => Pace::Free,
                    _ => return Err(None),
                };
            }
            "mplane" => {
                let chosen = parse_switch(value).ok_or(None)?;
                if !matches!(
                    self.kind,
                    DeviceKind::Camera { .. } | DeviceKind::Display { .. }
                ) {
                    return Err(Some("only a camera or display has mplane=".to_owned()));
                }
                self.mplane = chosen;
            }
            "alloc" => {
                self.allocator = match value {
                    "contig" => Allocator::Contig,
                    "sg" => Allocator::Sg,
                    "vmalloc" => Allocator::Vmalloc,
                    _ => return Err(None),
                };
            }
            "place" => {
                self.lazy = match value {
                    "fixed" => false,
                    "lazy" => true,
                    _ => return Err(None),
                };
            }
            "admission" => self.admission = parse_switch(value).ok_or(None)?,
            "userptr" => self.userptr = Some(parse_switch(value).ok_or(None)?),
            "hints" => self.hints = parse_switch(value).ok_or(None)?,
            "inject" => self.inject = parse_switch(value).ok_or(None)?,
            "max-buffers" => self.max_buffers = Some(parse_in(value, 32, 32_768).ok_or(None)?),
            "min-queued" => self.min_queued = parse_in(value, 0, 8).ok_or(None)?,
            "stride" => {
                let bytes = parse_in(value, 1, 4096).filter(|bytes| bytes.is_power_of_two());
                self.stride = Some(bytes.ok_or(None)?);
            }
            "align" => {
                let bytes = parse_bytes(value, 1, 16 << 20).filter(|bytes| bytes.is_power_of_two());
                self.align = Some(bytes.ok_or(None)?);
            }
            "max-segment" => {
                self.max_segment = Some(parse_bytes(value, 4 << 10, 4 << 30).ok_or(None)?);
            }
            "boundary" => {
                let bytes = parse_bytes(value, 4 << 10, 4 << 30);
                let bytes = bytes.filter(|bytes| bytes.is_power_of_two());
                self.boundary = Some(bytes.ok_or(None)?);
            }
            "contiguous" => self.contiguous = parse_switch(value).ok_or(None)?,
            "iommu" if !value.is_empty() => self.iommu = Some(value.to_owned()),
            "sram" => {
                let bytes = parse_bytes(value, 4 << 10, 256 << 20);
                let bytes = bytes.filter(|bytes| bytes.is_multiple_of(4 << 10));
                self.sram = Some(bytes.ok_or(None)?);
            }
            "coherent" | "sync" | "pages" | "protected" => {
                self.demands.set(option, value).ok_or(None)?;
            }
            "window" => self.window = Some(parse_window(value).ok_or(None)?),
            "mask" => self.mask = Some(parse_mask(value).ok_or(None)?),
            "name" => {
                let printable = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
                if !printable || value.is_empty() || value.len() > 31 {
                    return Err(None);
                }
                self.name = Some(value.to_owned());
            }
            "node" => {
                let number = value.strip_prefix("video").ok_or(None)?;
                self.node = Some(parse_in(number, 0, MAX_DEVICES - 1).ok_or(None)?);
            }
            "unplug" => self.presence.unplug_ns = Some(presence::parse(value).ok_or(None)?),
            "plug" => self.presence.plug_ns = Some(presence::parse(value).ok_or(None)?),
            _ => return Err(None),
        }
        Ok(())
    }

    /// Checks that what is placed lazily is one run of addresses.
    fn check_place(&self) -> Result<(), SpecError> {
        if !self.lazy || self.allocator == Allocator::Contig {
            return Ok(());
        }
        Err(SpecError {
            option: "place".to_owned(),
            value: "lazy".to_owned(),
            allowed: "buffers of alloc=contig alone are placed lazily; leave out place or alloc"
                .to_owned(),
        })
    }

    /// Checks that what is said of the device's addresses is said of a device that has some.
    fn check_addresses(&self, said: &[(&str, &str)]) -> Result<(), SpecError> {
        const OF_ADDRESSES: &[&str] = &[
            "mask",
            "contiguous",
            "iommu",
            "sram",
            "window",
            "align",
            "max-segment",
            "boundary",
            "coherent",
            "sync",
            "pages",
            "protected",
        ];
        let limit = said
            .iter()
            .find(|(option, value)| OF_ADDRESSES.contains(option) && *value != "off");
        match limit {
            Some((option, value)) if self.allocator == Allocator::Vmalloc => Err(SpecError {
                option: (*option).to_owned(),
                value: (*value).to_owned(),
                allowed: format!(
                    "{} does no DMA with alloc=vmalloc, so that there is nothing to limit; leave \
                     out {option} or alloc",
                    self.kind.name()
                ),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
