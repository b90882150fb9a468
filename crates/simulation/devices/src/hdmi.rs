//! An HDMI input: the modes that its receiver supports, its source's signal, and its EDID.

use std::fmt;
use std::str::FromStr;
use vb3_v4l2::sys::{
    V4L2_DV_BT_STD_CEA861 as CEA861, V4L2_DV_BT_STD_CVT as CVT, V4L2_DV_BT_STD_DMT as DMT,
    V4L2_DV_FL_CAN_REDUCE_FPS as CAN_REDUCE_FPS, V4L2_DV_FL_HAS_CEA861_VIC as HAS_VIC,
    V4L2_DV_FL_HAS_HDMI_VIC as HAS_HDMI_VIC, V4L2_DV_FL_HAS_PICTURE_ASPECT as HAS_ASPECT,
    V4L2_DV_FL_IS_CE_VIDEO as CE_VIDEO, V4L2_DV_FL_REDUCED_BLANKING as REDUCED,
};
use vb3_v4l2::{
    ControlFlags, ControlKind, ControlSpec, ControlValue, DriverEvent, EDID_BLOCK, Fraction,
    NoTimings, Receiver, Timings, cid,
};

/// `V4L2_DV_VSYNC_POS_POL`.
const V: u32 = 1;
/// `V4L2_DV_HSYNC_POS_POL`.
const H: u32 = 2;

/// Returns a mode of VESA's DMT list.
const fn dmt(
    (width, height, polarities): (u32, u32, u32),
    pixelclock: u64,
    horizontal: [u32; 3],
    vertical: [u32; 3],
    (standards, flags): (u32, u32),
) -> Timings {
    Timings {
        width,
        height,
        polarities,
        pixelclock,
        horizontal,
        vertical,
        standards: DMT | standards,
        flags,
        aspect: [0; 2],
        cea861_vic: 0,
        hdmi_vic: 0,
    }
}

/// Returns a mode of CEA-861 with its number in that list.
const fn cea(
    size: (u32, u32, u32),
    pixelclock: u64,
    horizontal: [u32; 3],
    vertical: [u32; 3],
    (standards, flags): (u32, u32),
    cea861_vic: u8,
) -> Timings {
    Timings {
        standards: CEA861 | standards,
        flags: HAS_VIC | flags,
        cea861_vic,
        ..dmt(size, pixelclock, horizontal, vertical, (0, 0))
    }
}

const FULL_HD: (u32, u32, u32) = (1920, 1080, H | V);
const HD: (u32, u32, u32) = (1280, 720, H | V);
/// Flags of a mode that may run at 1000/1001 of its rate.
const NTSC: u32 = CE_VIDEO | CAN_REDUCE_FPS;
const RB: (u32, u32) = (CVT, REDUCED);
const UHD: (u32, u32, u32) = (3840, 2160, H | V);
const DCI_4K: (u32, u32, u32) = (4096, 2160, H | V);
/// Lines of blanking of a mode of 2160 lines.
const BLANK: [u32; 3] = [8, 10, 72];
/// Flags of a mode with a number in HDMI's own list.
const HDMI_4K: u32 = CE_VIDEO | HAS_HDMI_VIC;

/// The progressive modes of CEA-861 and the usual modes of VESA, in Linux's order.
///
/// Source: Linux 7.2 include/uapi/linux/v4l2-dv-timings.h.
#[rustfmt::skip]
static MODES: [Timings; 36] = [
    cea((640, 480, 0), 25_175_000, [16, 96, 48], [10, 2, 33], (DMT, 0), 1),
    Timings { aspect: [4, 3], ..cea((720, 480, 0), 27_000_000, [16, 62, 60], [9, 6, 30], (0, CE_VIDEO | HAS_ASPECT), 2) },
    Timings { aspect: [4, 3], ..cea((720, 576, 0), 27_000_000, [12, 64, 68], [5, 5, 39], (0, CE_VIDEO | HAS_ASPECT), 17) },
    cea(HD, 59_400_000, [1760, 40, 220], [5, 5, 20], (DMT, CAN_REDUCE_FPS), 60),
    cea(HD, 74_250_000, [2420, 40, 220], [5, 5, 20], (0, CE_VIDEO), 61),
    cea(HD, 74_250_000, [1760, 40, 220], [5, 5, 20], (0, NTSC), 62),
    cea(HD, 74_250_000, [440, 40, 220], [5, 5, 20], (0, CE_VIDEO), 19),
    cea(HD, 74_250_000, [110, 40, 220], [5, 5, 20], (0, NTSC), 4),
    cea(FULL_HD, 74_250_000, [638, 44, 148], [4, 5, 36], (0, NTSC), 32),
    cea(FULL_HD, 74_250_000, [528, 44, 148], [4, 5, 36], (0, CE_VIDEO), 33),
    cea(FULL_HD, 74_250_000, [88, 44, 148], [4, 5, 36], (0, NTSC), 34),
    cea(FULL_HD, 148_500_000, [528, 44, 148], [4, 5, 36], (0, CE_VIDEO), 31),
    cea(FULL_HD, 148_500_000, [88, 44, 148], [4, 5, 36], (DMT, NTSC), 16),
    dmt((800, 600, H | V), 40_000_000, [40, 128, 88], [1, 4, 23], (0, 0)),
    dmt((848, 480, H | V), 33_750_000, [16, 112, 112], [6, 8, 23], (0, 0)),
    dmt((1024, 768, 0), 65_000_000, [24, 136, 160], [3, 6, 29], (0, 0)),
    dmt((1280, 768, V), 79_500_000, [64, 128, 192], [3, 7, 20], (CVT, 0)),
    dmt((1280, 800, V), 83_500_000, [72, 128, 200], [3, 6, 22], (CVT, 0)),
    dmt((1280, 960, H | V), 108_000_000, [96, 112, 312], [1, 3, 36], (0, 0)),
    dmt((1280, 1024, H | V), 108_000_000, [48, 112, 248], [1, 3, 38], (0, 0)),
    dmt((1360, 768, H | V), 85_500_000, [64, 112, 256], [3, 6, 18], (0, 0)),
    dmt((1366, 768, H | V), 85_500_000, [70, 143, 213], [3, 3, 24], (0, 0)),
    dmt((1440, 900, V), 106_500_000, [80, 152, 232], [3, 6, 25], (CVT, 0)),
    dmt((1600, 900, H | V), 108_000_000, [24, 80, 96], [1, 3, 96], (0, REDUCED)),
    dmt((1600, 1200, H | V), 162_000_000, [64, 192, 304], [1, 3, 46], (0, 0)),
    dmt((1680, 1050, V), 146_250_000, [104, 176, 280], [3, 6, 30], (CVT, 0)),
    dmt((1920, 1200, H), 154_000_000, [48, 32, 80], [3, 6, 26], RB),
    dmt((2560, 1600, H), 268_500_000, [48, 32, 80], [3, 6, 37], RB),
    Timings { hdmi_vic: 3, ..cea(UHD, 297_000_000, [1276, 88, 296], BLANK, (0, HDMI_4K | CAN_REDUCE_FPS), 93) },
    Timings { hdmi_vic: 2, ..cea(UHD, 297_000_000, [1056, 88, 296], BLANK, (0, HDMI_4K), 94) },
    Timings { hdmi_vic: 1, ..cea(UHD, 297_000_000, [176, 88, 296], BLANK, (0, HDMI_4K | CAN_REDUCE_FPS), 95) },
    cea(UHD, 594_000_000, [1056, 88, 296], BLANK, (0, CE_VIDEO), 96),
    cea(UHD, 594_000_000, [176, 88, 296], BLANK, (0, NTSC), 97),
    Timings { hdmi_vic: 4, ..cea(DCI_4K, 297_000_000, [1020, 88, 296], BLANK, (0, HDMI_4K | CAN_REDUCE_FPS), 98) },
    cea(DCI_4K, 297_000_000, [968, 88, 128], BLANK, (0, CE_VIDEO), 99),
    cea(DCI_4K, 297_000_000, [88, 88, 128], BLANK, (0, NTSC), 100),
];

/// The initial EDID of a sink "HDMI capture" at the physical address 1.0.0.0. The blocks lack padding and
/// checksums.
#[rustfmt::skip]
const EDID: [&[u8]; 2] = [&[
    0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x31, 0xd8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x24, 0x01, 0x03, 0x80, 0x00, 0x00, 0x78, 0x0e, 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26,
    0x0f, 0x50, 0x54, 0x21, 0x08, 0x00, 0x81, 0x80, 0x81, 0x00, 0x95, 0x00, 0xa9, 0x40, 0xb3, 0x00,
    0xd1, 0x00, 0x01, 0x01, 0x01, 0x01, 0x02, 0x3a, 0x80, 0x18, 0x71, 0x38, 0x2d, 0x40, 0x58, 0x2c,
    0x45, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1e, 0x01, 0x1d, 0x00, 0x72, 0x51, 0xd0, 0x1e, 0x20,
    0x6e, 0x28, 0x55, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1e, 0x00, 0x00, 0x00, 0xfc, 0x00, 0x48,
    0x44, 0x4d, 0x49, 0x20, 0x63, 0x61, 0x70, 0x74, 0x75, 0x72, 0x65, 0x0a, 0x00, 0x00, 0x00, 0xfd,
    0x00, 0x17, 0x56, 0x0f, 0x8c, 0x3c, 0x00, 0x0a, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0x01,
], &[
    0x02, 0x03, 0x26, 0x80, 0x51, 0x90, 0x1f, 0x22, 0x21, 0x20, 0x04, 0x13, 0x3e, 0x3d, 0x3c, 0x02,
    0x11, 0x01, 0x5f, 0x5e, 0x5d, 0x62, 0x67, 0x03, 0x0c, 0x00, 0x10, 0x00, 0x00, 0x44, 0x67, 0xd8,
    0x5d, 0xc4, 0x01, 0x78, 0x80, 0x00,
]];

fn first_edid() -> Vec<u8> {
    let mut edid = Vec::with_capacity(EDID.len() * EDID_BLOCK);
    for (index, used) in (1..).zip(EDID) {
        edid.extend_from_slice(used);
        edid.resize(index * EDID_BLOCK - 1, 0);
        let sum = used.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        edid.push(sum.wrapping_neg());
    }
    edid
}

/// Returns a mode's name as v4l2-ctl prints it, such as `1920x1080p60` or `640x480p59.94`.
fn name_of(mode: &Timings) -> String {
    let rate = mode.centihertz();
    let (whole, rest) = (rate / 100, rate % 100);
    let part = if rest == 0 {
        String::new()
    } else {
        format!(".{rest:02}")
    };
    format!("{}x{}p{whole}{part}", mode.width, mode.height)
}

/// Returns the mode with this name. The name's rate may be rounded to a whole number.
fn mode_named(name: &str) -> Option<&'static Timings> {
    MODES.iter().find(|mode| {
        let rate = (mode.centihertz() + 50) / 100;
        name_of(mode) == name || format!("{}x{}p{rate}", mode.width, mode.height) == name
    })
}

/// Lists the modes of a size such as `1280x720`. If the size has none, lists the sizes.
pub(crate) fn modes_of(size: &str) -> String {
    let names = MODES.iter().map(name_of);
    let fit: Vec<String> = names
        .clone()
        .filter(|name| name.split('p').next() == Some(size))
        .collect();
    if !fit.is_empty() {
        return fit.join(", ");
    }
    let mut sizes: Vec<String> = names
        .filter_map(|name| Some(name.split_once('p')?.0.to_owned()))
        .collect();
    sizes.dedup();
    format!("one of {}", sizes.join(", "))
}

/// The signal that a camera's source sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The source sends no signal.
    Lost,
    /// The source sends the signal that it sent before.
    Back,
    /// The source sends a signal to which the HDMI receiver cannot lock.
    NoLock,
    /// The signal's timings are beyond the limits of an HDMI input.
    OutOfRange,
    /// The signal has this mode of an HDMI input.
    Mode(Timings),
}

impl Signal {
    /// Returns whether only HDMI inputs can have this signal.
    #[must_use]
    pub const fn is_of_hdmi(self) -> bool {
        !matches!(self, Self::Lost | Self::Back)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("lost"),
            Self::Back => f.write_str("back"),
            Self::NoLock => f.write_str("no-lock"),
            Self::OutOfRange => f.write_str("out-of-range"),
            Self::Mode(mode) => f.write_str(&name_of(mode)),
        }
    }
}

/// Parses a signal's name. The error lists the allowed names.
impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "lost" => Self::Lost,
            "back" => Self::Back,
            "no-lock" => Self::NoLock,
            "out-of-range" => Self::OutOfRange,
            name => Self::Mode(*mode_named(name).ok_or_else(|| {
                let size = name.split('p').next().unwrap_or_default();
                format!(
                    "\"lost\" or \"back\", or for an HDMI input \"no-lock\", \"out-of-range\" or a \
                     mode: {}",
                    modes_of(size)
                )
            })?),
        })
    }
}

/// An HDMI receiver and the source at its cable.
pub(crate) struct Hdmi {
    pub(crate) receiver: Receiver,
    /// The mode that the source sends.
    source: Timings,
    /// Why the receiver does not detect the source's mode; `None` if it does.
    fault: Option<NoTimings>,
    /// Whether the receiver passes frames on. It stops when it detects another mode than the set one, or none.
    is_on: bool,
}

impl Hdmi {
    pub(crate) fn new(mode: &Timings) -> Self {
        let receiver = Receiver {
            modes: &MODES,
            timings: *mode,
            found: Ok(*mode),
            edid: first_edid(),
        };
        Self {
            receiver,
            source: *mode,
            fault: None,
            is_on: false,
        }
    }

    /// Switches the receiver on, because a stream starts.
    ///
    /// Source: Linux 7.2 drivers/media/i2c/tc358743.c `tc358743_s_stream`, `tc358743_format_change`. There, too,
    /// only a new stream brings frames back: no call fails, DQBUF waits, and poll() reports nothing.
    pub(crate) const fn start(&mut self) {
        self.is_on = true;
    }

    /// Returns whether frames arrive: the receiver is on, and detects the mode that the program has set.
    pub(crate) fn sends(&self) -> bool {
        self.is_on && self.receiver.found == Ok(self.receiver.timings)
    }

    pub(crate) fn set_edid(&mut self, edid: Vec<u8>) {
        self.receiver.edid = edid;
        self.look();
    }

    /// Changes the signal. Returns whether the signal differs from before.
    pub(crate) fn set_signal(&mut self, signal: Signal) -> bool {
        let before = (self.source, self.fault);
        self.fault = match signal {
            Signal::Lost => Some(NoTimings::NoSignal),
            Signal::NoLock => Some(NoTimings::NoLock),
            Signal::OutOfRange => Some(NoTimings::OutOfRange),
            Signal::Back | Signal::Mode(_) => None,
        };
        if let Signal::Mode(mode) = signal {
            self.source = mode;
        }
        self.look();
        before != (self.source, self.fault)
    }

    /// Detects the source's signal again. The source sends nothing to a sink without an EDID.
    fn look(&mut self) {
        let fault = match self.receiver.edid.is_empty() {
            true => Some(NoTimings::NoSignal),
            false => self.fault,
        };
        self.receiver.found = fault.map_or(Ok(self.source), Err);
        self.is_on = self.sends();
    }

    /// Returns the event that says whether the cable carries 5 V while the source sends this signal.
    pub(crate) fn power_event(signal: Signal) -> DriverEvent {
        DriverEvent::Control {
            id: cid::DV_RX_POWER_PRESENT,
            value: ControlValue::Number((signal != Signal::Lost).into()),
        }
    }

    /// Returns the controls that only receivers have.
    ///
    /// Source: Linux 7.2 drivers/media/v4l2-core/v4l2-ctrls-defs.c, for names.
    pub(crate) fn controls() -> [ControlSpec; 2] {
        const CONTENT: &[&str] = &["Graphics", "Photo", "Cinema", "Game", "No IT Content"];
        let power = ControlSpec {
            kind: ControlKind::Bitmask {
                mask: 1,
                default: 1,
            },
            ..ControlSpec::boolean(cid::DV_RX_POWER_PRESENT, "Power Present", true)
        };
        let content =
            ControlSpec::menu(cid::DV_RX_IT_CONTENT_TYPE, "Rx IT Content Type", CONTENT, 4);
        [power, content].map(|control| control.with(ControlFlags::READ_ONLY))
    }
}

/// Returns the mode of an HDMI source with this size and rate. Without a rate, returns the fastest mode up to 60
/// frames per second. `None` if there is no such mode.
pub(crate) fn mode(size: (u32, u32), fps: Option<Fraction>) -> Option<&'static Timings> {
    let mut modes = MODES
        .iter()
        .filter(|mode| (mode.width, mode.height) == size);
    match fps {
        None => modes.max_by_key(|mode| mode.centihertz()),
        Some(fps) => modes.find(|mode| {
            let wanted = u64::from(fps.numerator) * 100 / u64::from(fps.denominator.max(1));
            mode.centihertz().abs_diff(wanted) <= if wanted.is_multiple_of(100) { 50 } else { 1 }
        }),
    }
}

#[cfg(test)]
mod tests;
