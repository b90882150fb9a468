//! The text that requests a device: `camera=clip.mp4,size=1280x720,fps=30`.
//!
//! A SPEC is a kind with its source or destination, and options after commas. In a file's name, a comma
//! is written `\,` and a backslash `\\`.

mod error;
mod guess;
mod identity;
mod kind;
mod options;
pub(crate) mod parse;
mod presence;

use crate::choice::Placeholder;
pub use crate::choice::{
    Allocator, CameraInput, CardSpec, ClipEnd, DeviceIdentity, Pace, Profile, SinkSpec, SourceSpec,
    UsbId,
};
use crate::description::Description;
use crate::kms::CARD_FORMATS;
pub use crate::limits::MAX_FPS;
use crate::limits::same;
pub use crate::text::did_you_mean;
pub use error::SpecError;
pub(crate) use guess::unknown_kind;
pub use kind::DeviceKind;
pub use options::{DeviceOption, Group, OPTIONS};
pub use parse::with_option;
use parse::{
    list, parse_bytes, parse_format, parse_fps, parse_in, parse_mask, parse_size, parse_switch,
    parse_window, parse_word,
};
pub use presence::Presence;
use std::sync::Arc;
use vb3_codec::Kind;
use vb3_dma::Protected;
use vb3_picture::Size;
use vb3_v4l2::{FourCc, Fraction, Planarity};

/// Maximum number of devices of a run. It is one more than the highest N of `node=videoN`.
pub const MAX_DEVICES: u32 = 64;

/// The parsed text that requests one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSpec {
    /// The device's kind, with the kind's own settings.
    pub kind: DeviceKind,
    /// Whether the device has the multi-planar API.
    pub mplane: bool,
    /// The only size of a camera, or the initial size of another device. `None` for the size of the
    /// source, or for 640x480 if there is no source with a size.
    pub size: Option<Size>,
    /// The only rate of a camera in frames per second; `None` for the source's rate, or 30.
    pub fps: Option<Fraction>,
    /// Initial pixel format; `None` for YUYV.
    pub format: Option<FourCc>,
    /// Whether a camera offers lists or ranges of sizes and rates; `None` for its kind's default.
    pub profile: Option<Profile>,
    /// Sizes that a camera offers; empty for the usual sizes.
    pub sizes: Vec<Size>,
    /// Frames per second that a camera offers; empty for the usual rates.
    pub rates: Vec<Fraction>,
    /// Pixel formats that a camera offers; empty for its profile's formats.
    pub formats: Vec<FourCc>,
    /// The pace of the device's frames; `None` for its kind's default, see [`pace`](Self::pace).
    pub pace: Option<Pace>,
    /// The allocator of the device's planes; `None` for the machine's.
    pub allocator: Option<Allocator>,
    /// Whether the device's own buffers are placed at their first use. The place then suits all devices
    /// that share the buffer by that time. If a device that joins later needs another place, the buffer
    /// moves.
    pub lazy: bool,
    /// Whether REQBUFS and CREATE_BUFS make all requested buffers or none.
    pub admission: bool,
    /// Whether the device offers USERPTR; `None` leaves this to the host.
    pub userptr: Option<bool>,
    /// Whether the device ignores cache hints.
    pub ignores_hints: bool,
    /// Whether the device has buttons that make calls fail.
    pub inject: bool,
    /// Maximum number of buffers, 32 to 32768; `None` for 64.
    pub max_buffers: Option<u32>,
    /// Number of buffers that the device needs before it starts, 0 to 8.
    pub min_queued: u32,
    /// The identity of a camera or a loopback; `None` for a USB webcam if possible, else a plain device.
    pub identity: Option<DeviceIdentity>,
    /// The ids of a USB webcam; `None` for the usual ids.
    pub usb: Option<UsbId>,
    /// The description of the real camera that a camera imitates.
    pub like: Option<Arc<Description>>,
    /// The card's name; `None` for a name made from the kind.
    pub name: Option<String>,
    /// The name of a codec's or display card's driver; `None` for the host's.
    pub driver: Option<String>,
    /// `bus_info` of the real camera that a camera imitates; `None` for the host's.
    pub bus_info: Option<String>,
    /// The device's DMA mask, at least 2^20 - 1; `None` for the machine's.
    pub mask: Option<u64>,
    /// Whether the device's memory must be physically contiguous. If so, the device is not behind an IOMMU.
    pub contiguous: bool,
    /// The name of the device's IOMMU; `None` for the machine's common one.
    pub iommu: Option<String>,
    /// Bytes of coherent memory that only this device has, for all its buffers; `None` for the machine's.
    pub sram: Option<u64>,
    /// The device's window onto memory: first byte, last byte, and the first byte's bus address. `None` if
    /// the device sees all memory at unchanged addresses.
    pub window: Option<(u64, u64, u64)>,
    /// Alignment of plane addresses in bytes, a power of two; `None` for no alignment.
    pub align: Option<u64>,
    /// Maximum bytes of a plane (a plane is one run of addresses); `None` for the machine's maximum.
    pub max_segment: Option<u64>,
    /// DMA boundary in bytes, a power of two: no plane crosses a multiple of it. `None` for the
    /// machine's.
    pub boundary: Option<u64>,
    /// Alignment of picture lines in bytes, a power of two; `None` for no alignment.
    pub stride: Option<u32>,
    /// Further demands on the device's memory.
    pub demands: Demands,
    /// Number of the device's node; `None` for the first free number.
    pub node: Option<u32>,
    /// When the device appears and disappears by itself.
    pub presence: Presence,
}

/// What a device and its driver demand of memory, apart from its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Whether the device sees the CPU's caches; if `None`, the machine's default holds.
    pub coherent: Option<bool>,
    /// Whether the driver omits cache syncs. The memory must then work without them.
    pub unsynced: bool,
    /// Whether the driver needs memory with struct pages.
    pub pages: bool,
    /// Whether the device uses protected memory.
    pub protected: Protected,
}

impl DeviceSpec {
    /// Makes a device of a kind with default options.
    #[must_use]
    pub fn new(kind: DeviceKind, mplane: bool) -> Self {
        Self {
            kind,
            mplane,
            ..Self::default()
        }
    }

    /// Returns whether the device has the single-planar or the multi-planar API.
    pub(crate) const fn planarity(&self) -> Planarity {
        match self.mplane {
            true => Planarity::Multi,
            false => Planarity::Single,
        }
    }

    /// Returns the profile of `profile=`, or the default of the device's kind.
    pub(crate) fn profile(&self) -> Profile {
        self.profile.unwrap_or(match self.kind.input() {
            Some(CameraInput::Sensor) => Profile::Webcam,
            _ if matches!(self.kind, DeviceKind::Kms { .. }) => Profile::Webcam,
            _ => Profile::Sensor,
        })
    }

    /// Returns the pace of `pace=`. By default, the writer of a loopback sets the pace.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace.unwrap_or(match self.kind {
            DeviceKind::Loopback { .. } => Pace::Free,
            _ => Pace::Real,
        })
    }
}

/// The SPECs of a run that names none: a camera with the pattern, and a display that records nothing.
pub const DEFAULTS: [&str; 2] = ["camera=pattern", "display=null"];

/// Returns a message about the first name of `formats=` that no pixel format has.
fn unknown_format(value: &str) -> Option<String> {
    let unknown = value.split(':').find(|name| parse_format(name).is_none())?;
    Some(format!("there is no pixel format \"{unknown}\"; use "))
}

/// Names of pixel formats in GStreamer and ffmpeg, and the names here.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("YUY2", "YUYV"),
    ("YUYV422", "YUYV"),
    ("I420", "YUV420"),
    ("YUV420P", "YUV420"),
    ("RGB", "RGB24"),
    ("GRAY8", "GREY"),
];

/// Returns a guess for a pixel format's name that another program uses; empty without one.
fn other_name(value: &str) -> String {
    let mut names = OTHER_NAMES.iter();
    let found = names.find(|(other, _)| value.eq_ignore_ascii_case(other));
    found.map_or_else(String::new, |(_, name)| format!("did you mean {name}? "))
}

const NO_LIST: &str =
    "profile=sensor offers every one; leave out one of the two, or use profile=webcam";

/// A test of a SPEC.
type Conflicts = fn(&DeviceSpec) -> bool;

/// Options whose values can conflict with other options. Each row has the option, the test that finds the
/// conflict, and a text that says what is allowed. `{sizes}` and `{rates}` stand for the values of these
/// options.
const CONFLICTS: &[(&str, Conflicts, &str)] = &[
    ("sizes", |spec| spec.profile() == Profile::Sensor, NO_LIST),
    ("rates", |spec| spec.profile() == Profile::Sensor, NO_LIST),
    (
        "size",
        |spec| !spec.sizes.is_empty() && spec.size.is_some_and(|size| !spec.sizes.contains(&size)),
        "sizes= has {sizes}",
    ),
    (
        "fps",
        |spec| {
            let is_missing = |fps| !spec.rates.iter().any(|rate| same(*rate, fps));
            !spec.rates.is_empty() && spec.fps.is_some_and(is_missing)
        },
        "rates= has {rates}",
    ),
    (
        "identity",
        |spec| {
            spec.is_v4l2loopback() && matches!(spec.kind, DeviceKind::Loopback { readers: 2.., .. })
        },
        "one node serves all readers; leave out readers",
    ),
    (
        "identity",
        |spec| spec.mplane && spec.identity == Some(DeviceIdentity::Uvc),
        "USB webcams have no multi-planar API; leave out mplane or identity",
    ),
    (
        "usb",
        |spec| spec.usb_id().is_none(),
        "the camera is no USB webcam; add identity=uvc or leave out usb",
    ),
    (
        "plug",
        |spec| spec.presence.plug_ns == spec.presence.unplug_ns,
        "plug and unplug are at the same time; make one of them later",
    ),
    // Planes of other allocators have several runs of addresses.
    (
        "place",
        |spec| spec.lazy && spec.allocator.is_some_and(|of| of != Allocator::Contig),
        "only alloc=contig places buffers lazily; leave out place or alloc",
    ),
    // In Linux, too, a queue with media requests must not demand a minimum of queued buffers.
    (
        "min-queued",
        |spec| spec.min_queued > 0 && spec.kind.codec().is_some_and(Kind::is_stateless),
        "a device with media requests starts without buffers; leave out min-queued",
    ),
];

impl DeviceSpec {
    /// Parses and sets one option. Returns its name and its value.
    pub(crate) fn take_word<'a>(
        &mut self,
        word: &'a str,
        seen: &[(&str, &str)],
        offered: impl Fn(&Self) -> String,
    ) -> Result<(&'a str, &'a str), SpecError> {
        let (option, value) = word.split_once('=').unwrap_or((word, ""));
        let Some(known) = OPTIONS.iter().find(|known| known.name == option) else {
            return Err(guess::unknown_option(&self.kind, option));
        };
        if !word.contains('=') {
            let values = known.values;
            return Err(SpecError(format!(
                "{option} needs a value; use {option}= with {values}"
            )));
        }
        if seen.iter().any(|(name, _)| *name == option) {
            return Err(SpecError(format!(
                "{option}= is given twice; leave one out"
            )));
        }
        if !known.is_of(&self.kind) {
            let mut why = format!("only {} has {option}=", known.owners());
            if matches!(self.kind, DeviceKind::Graph(_)) && matches!(option, "size" | "format") {
                why.push_str("; set the graph's formats with media-ctl");
            }
            return Err(SpecError(why));
        }
        if option == "like" {
            self.like = Some(Description::load(value).map_err(SpecError)?);
            return Ok((option, value));
        }
        if self.set(option, value).is_none() {
            let unknown = match option {
                "format" => Some(format!(
                    "there is no such pixel format; {}",
                    other_name(value)
                )),
                "formats" if matches!(self.kind, DeviceKind::Kms { .. }) => Some(String::new()),
                "formats" => unknown_format(value),
                _ => None,
            };
            let is_loopback = matches!(self.kind, DeviceKind::Loopback { .. });
            let allowed = match (unknown, option) {
                (Some(unknown), _) => unknown + &offered(self),
                (None, "identity") if is_loopback => "use plain or v4l2loopback".to_owned(),
                (None, "identity") => "use uvc or plain".to_owned(),
                (None, _) => format!("use {}", known.values),
            };
            return Err(SpecError::value(option, value, allowed));
        }
        Ok((option, value))
    }

    /// Sets one option. Returns `None` for a value that the option does not have.
    fn set(&mut self, option: &str, value: &str) -> Option<()> {
        let power = |bytes: u64| bytes.is_power_of_two().then_some(bytes);
        match option {
            "size" => self.size = Some(parse_size(value)?),
            "fps" => self.fps = Some(parse_fps(value)?),
            "format" => self.format = Some(parse_format(value)?),
            "profile" => {
                let all = [("webcam", Profile::Webcam), ("sensor", Profile::Sensor)];
                self.profile = Some(parse_word(value, &all)?);
            }
            "sizes" => self.sizes = list(value, parse_size)?,
            "rates" => self.rates = list(value, parse_fps)?,
            "formats" if matches!(self.kind, DeviceKind::Kms { .. }) => {
                let known =
                    |name: &str| CARD_FORMATS.iter().find(|known| *known == name.as_bytes());
                self.formats = list(value, |name| known(name).map(|name| FourCc::new(*name)))?;
            }
            "formats" => self.formats = list(value, parse_format)?,
            "connectors" | "planes" | "scaler" | "edid" => {
                let DeviceKind::Kms { card, .. } = &mut self.kind else {
                    return None;
                };
                match option {
                    "connectors" => card.connectors = parse_in(value, 1, 8)?,
                    "planes" => card.overlays = parse_in(value, 0, 8)?,
                    "scaler" => card.scales = parse_switch(value)?,
                    _ if value.is_empty() => return None,
                    _ => card.edid = Some(value.into()),
                }
            }
            "identity" => self.identity = Some(self.parse_identity(value)?),
            "usb" => self.usb = Some(UsbId::parse(value)?),
            "readers" => {
                if let DeviceKind::Loopback { readers, .. } = &mut self.kind {
                    *readers = parse_in(value, 1, 8)?;
                }
            }
            "exclusive-caps" => {
                if let DeviceKind::Loopback { exclusive, .. } = &mut self.kind {
                    *exclusive = parse_switch(value)?;
                }
            }
            "placeholder" => {
                let chosen = match value {
                    "" => return None,
                    "black" => Placeholder::Black,
                    "hold" => Placeholder::Hold,
                    file => Placeholder::File(file.into()),
                };
                if let DeviceKind::Loopback { placeholder, .. } = &mut self.kind {
                    *placeholder = Some(chosen);
                }
            }
            "end" => {
                if let DeviceKind::Camera { end, .. } = &mut self.kind {
                    use ClipEnd::{Hold, Loop, Stop, Unplug};
                    let all = [
                        ("loop", Loop),
                        ("hold", Hold),
                        ("stop", Stop),
                        ("unplug", Unplug),
                    ];
                    *end = parse_word(value, &all)?;
                }
            }
            "pace" => {
                let all = [("real", Pace::Real), ("free", Pace::Free)];
                self.pace = Some(parse_word(value, &all)?);
            }
            "mplane" => self.mplane = parse_switch(value)?,
            "alloc" => {
                use Allocator::{Contig, Sg, Vmalloc};
                let all = [("contig", Contig), ("sg", Sg), ("vmalloc", Vmalloc)];
                self.allocator = Some(parse_word(value, &all)?);
            }
            "place" => {
                let all = [("fixed", false), ("lazy", true)];
                self.lazy = parse_word(value, &all)?;
            }
            "admission" => self.admission = parse_switch(value)?,
            "userptr" => self.userptr = Some(parse_switch(value)?),
            "hints" => self.ignores_hints = !parse_switch(value)?,
            "inject" => self.inject = parse_switch(value)?,
            "max-buffers" => self.max_buffers = Some(parse_in(value, 32, 32_768)?),
            "min-queued" => self.min_queued = parse_in(value, 0, 8)?,
            "stride" => {
                let bytes = parse_in(value, 1, 4096).filter(|bytes: &u32| bytes.is_power_of_two());
                self.stride = Some(bytes?);
            }
            "align" => self.align = Some(power(parse_bytes(value, 1, 16 << 20)?)?),
            "max-segment" => self.max_segment = Some(parse_bytes(value, 4 << 10, 4 << 30)?),
            "boundary" => self.boundary = Some(power(parse_bytes(value, 4 << 10, 4 << 30)?)?),
            "contiguous" => self.contiguous = parse_switch(value)?,
            "iommu" if !value.is_empty() => self.iommu = Some(value.to_owned()),
            "sram" => {
                let bytes = parse_bytes(value, 4 << 10, 256 << 20);
                let bytes = bytes.filter(|bytes| bytes.is_multiple_of(4 << 10));
                self.sram = Some(bytes?);
            }
            "coherent" => self.demands.coherent = Some(parse_switch(value)?),
            "sync" => self.demands.unsynced = !parse_switch(value)?,
            "pages" => self.demands.pages = parse_switch(value)?,
            "protected" => {
                use Protected::{Also, Never, Only};
                let all = [("off", Never), ("on", Also), ("only", Only)];
                self.demands.protected = parse_word(value, &all)?;
            }
            "window" => self.window = Some(parse_window(value)?),
            "mask" => self.mask = Some(parse_mask(value)?),
            "driver" => {
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
                if !value.bytes().all(is_plain) || value.is_empty() || value.len() > 31 {
                    return None;
                }
                self.driver = Some(value.to_owned());
            }
            "name" => {
                let printable = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
                if !printable || value.is_empty() || value.len() > 31 {
                    return None;
                }
                self.name = Some(value.to_owned());
            }
            "node" => {
                let number = value.strip_prefix("video")?;
                self.node = Some(parse_in(number, 0, MAX_DEVICES - 1)?);
            }
            "unplug" => self.presence.unplug_ns = Some(presence::parse(value)?),
            "plug" => self.presence.plug_ns = Some(presence::parse(value)?),
            _ => return None,
        }
        Some(())
    }

    /// Checks that the options agree with each other.
    pub(crate) fn check_conflicts(&self, said: &[(&str, &str)]) -> Result<(), SpecError> {
        let value_of = |option: &str| {
            let mut all = said.iter().filter(|(name, _)| *name == option);
            all.next().map(|(_, value)| *value)
        };
        for (option, conflicts, allowed) in CONFLICTS {
            if let Some(value) = value_of(option).filter(|_| conflicts(self)) {
                let allowed = allowed.replace("{sizes}", value_of("sizes").unwrap_or_default());
                let allowed = allowed.replace("{rates}", value_of("rates").unwrap_or_default());
                return Err(SpecError::value(option, value, allowed));
            }
        }
        Ok(())
    }

    /// Checks that options for addresses belong to a device that uses addresses.
    pub(crate) fn check_addresses(&self, said: &[(&str, &str)]) -> Result<(), SpecError> {
        #[rustfmt::skip]
        const OF_ADDRESSES: &[&str] = &[
            "mask", "contiguous", "iommu", "sram", "window", "align", "max-segment", "boundary",
            "coherent", "sync", "pages", "protected",
        ];
        let limit = said
            .iter()
            .find(|(option, value)| OF_ADDRESSES.contains(option) && *value != "off");
        match limit {
            Some((option, value)) if self.allocator == Some(Allocator::Vmalloc) => {
                let device = self.kind.name();
                let allowed = format!(
                    "{device} does no DMA with alloc=vmalloc, so {option} limits nothing; leave \
                     out {option} or alloc"
                );
                Err(SpecError::value(option, value, allowed))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
