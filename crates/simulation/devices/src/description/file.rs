//! The file format of a description: TOML, parsed by serde.

use crate::choice::UsbId;
use crate::text::pair;
use serde::{Deserialize, Serialize};
use std::fmt;
use toml::Spanned;
use vb3_picture::Size;
use vb3_v4l2::{Colorimetry, FourCc, Fraction};

pub(super) const VERSION: i64 = 1;

/// The contents of a description's file, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Version of the file format: 1.
    pub(crate) version: Spanned<i64>,
    /// Where the facts come from, for people who read the file.
    pub(crate) source: Option<String>,
    pub(crate) device: Spanned<DeviceTable>,
    pub(crate) usb: Option<Spanned<Usb>>,
    pub(crate) mode: Option<Spanned<ModeTable>>,
    pub(crate) stream: Option<Spanned<StreamTable>>,
    #[serde(default, rename = "input", skip_serializing_if = "Vec::is_empty")]
    pub(crate) inputs: Vec<InputTable>,
    #[serde(default, rename = "format")]
    pub(crate) formats: Vec<Spanned<FormatTable>>,
    #[serde(default, rename = "control", skip_serializing_if = "Vec::is_empty")]
    pub(crate) controls: Vec<Spanned<ControlTable>>,
}

/// The device's answer to QUERYCAP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceTable {
    pub(crate) driver: String,
    pub(crate) card: String,
    /// Location on the bus; `None` for a simulated one.
    pub(crate) bus_info: Option<String>,
    /// Capabilities of the device's other nodes.
    pub(crate) other_capabilities: Option<Hex>,
    /// Whether the device supports read().
    #[serde(default)]
    pub(crate) read: bool,
}

/// A device's identity on USB: the contents of its files in sysfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usb {
    /// `idVendor` and `idProduct`.
    pub id: UsbId,
    /// `bcdDevice`; if `None`, 0100 is used.
    pub revision: Option<String>,
    /// `manufacturer`; if `None`, the device lacks this string.
    pub manufacturer: Option<String>,
    /// `product`; if `None`, the card's name is used.
    pub product: Option<String>,
    /// `serial`; if `None`, the serial number is made from the node.
    pub serial: Option<String>,
}

/// The initial format and rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModeTable {
    pub(crate) format: Code,
    pub(crate) size: Pixels,
    /// Seconds per frame.
    pub(crate) interval: Seconds,
    /// Size of a buffer in bytes, if a program asked for more than the format needs.
    pub(crate) image_bytes: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputTable {
    pub(crate) name: String,
    /// `V4L2_INPUT_TYPE_*`.
    pub(crate) kind: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormatTable {
    pub(crate) code: Code,
    /// The format's description in ENUM_FMT.
    pub(crate) description: String,
    pub(crate) colors: Option<Colors>,
    #[serde(rename = "size")]
    pub(crate) sizes: Vec<Spanned<SizeTable>>,
}

/// Numbers of `V4L2_COLORSPACE_*`, `V4L2_XFER_FUNC_*`, `V4L2_YCBCR_ENC_*` and `V4L2_QUANTIZATION_*`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Colorimetry", deny_unknown_fields)]
struct ColorsTable {
    #[serde(rename = "space")]
    colorspace: u32,
    #[serde(rename = "transfer")]
    xfer_func: u32,
    #[serde(rename = "encoding")]
    ycbcr_enc: u32,
    quantization: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Colors(#[serde(with = "ColorsTable")] pub(crate) Colorimetry);

/// A size, or a range of sizes, with its intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SizeTable {
    pub(crate) size: Option<Pixels>,
    /// Smallest size, largest size and step of a range.
    pub(crate) range: Option<[Pixels; 3]>,
    pub(crate) line_bytes: Option<u32>,
    pub(crate) image_bytes: Option<u32>,
    /// Intervals in seconds per frame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) intervals: Vec<Seconds>,
    /// Shortest interval, longest interval and, if there is one, the step of a range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) interval_range: Vec<Seconds>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ControlType {
    #[default]
    Integer,
    Boolean,
    Menu,
    IntegerMenu,
    Bitmask,
    Button,
    Integer64,
    /// The name of a class of controls.
    Class,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlTable {
    /// `V4L2_CID_*`.
    pub(crate) id: Hex,
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: ControlType,
    /// Smallest number, or the index of a menu's first item.
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) step: Option<u64>,
    #[serde(default)]
    pub(crate) default: i64,
    /// Initial value, if it differs from the default.
    pub(crate) value: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) flags: Vec<Flag>,
    /// Names of menu items. An index without an item has an empty name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) items: Vec<String>,
    /// Numbers of the items of an integer menu.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) numbers: Vec<i64>,
    /// Indexes of an integer menu that have no item. Their numbers mean nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gaps: Vec<i64>,
    /// The condition for this control to be active; `None` if it always is.
    pub(crate) active_if: Option<ActiveIf>,
}

/// Another control, and the value that this other control must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActiveIf {
    /// `V4L2_CID_*`.
    pub(crate) id: Hex,
    pub(crate) value: i64,
}

/// Defines the words for `V4L2_CTRL_FLAG_*` in a file.
macro_rules! flags {
    ($($name:ident = $flag:ident;)*) => {
        /// A flag of a control.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub(crate) enum Flag {
            $($name,)*
        }

        /// Each flag with its bit.
        pub(super) const FLAGS: &[(Flag, vb3_v4l2::ControlFlags)] =
            &[$((Flag::$name, vb3_v4l2::ControlFlags::$flag),)*];
    };
}

flags! {
    Disabled = DISABLED;
    Grabbed = GRABBED;
    ReadOnly = READ_ONLY;
    Update = UPDATE;
    Inactive = INACTIVE;
    Slider = SLIDER;
    WriteOnly = WRITE_ONLY;
    Volatile = VOLATILE;
    ExecuteOnWrite = EXECUTE_ON_WRITE;
    ModifyLayout = MODIFY_LAYOUT;
    HasWhichMinMax = HAS_WHICH_MIN_MAX;
}

/// Measurements of the device's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamTable {
    pub(crate) size: Pixels,
    /// Seconds per frame, as G_PARM returned them.
    pub(crate) interval: Seconds,
    /// Time from STREAMON to the first frame, in microseconds.
    pub(crate) first_frame_us: u64,
    /// Microseconds from each frame that arrived to the next one that arrived.
    pub(crate) intervals_us: Vec<u64>,
    /// Pairs of an index in `intervals_us` and the number of frames lost in that interval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost: Vec<[u32; 2]>,
    /// Bytes of each compressed picture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) image_bytes: Vec<u32>,
}

/// Defines a type for values that are texts in a file.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident($of:ty), $example:literal, $parse:expr, $print:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub(crate) struct $name(pub(crate) $of);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let parse: fn(&str) -> Option<$of> = $parse;
                let value = parse(&text).map(Self);
                value.ok_or_else(|| format!("{text:?} must look like {}", $example))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let print: fn(&$of, &mut fmt::Formatter<'_>) -> fmt::Result = $print;
                print(&self.0, f)
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.to_string()
            }
        }
    };
}

word!(
    Pixels((u32, u32)),
    "\"640x480\"",
    |text| pair(text, 'x'),
    |(width, height), f| write!(f, "{width}x{height}")
);

impl Pixels {
    /// Returns the size; `None` if no camera can have it.
    pub(super) const fn size(self) -> Option<Size> {
        Size::new(self.0.0, self.0.1)
    }
}

word!(
    Seconds(Fraction),
    "\"1/30\", which is seconds for each frame",
    |text| {
        let (numerator, denominator) = pair(text, '/')?;
        (numerator > 0 && denominator > 0).then_some(Fraction::new(numerator, denominator))
    },
    |of, f| write!(f, "{}/{}", of.numerator, of.denominator)
);

word!(
    Code(FourCc),
    "\"YUYV\", four characters",
    |text| {
        let code = text.as_bytes().try_into().ok();
        code.map(FourCc::new)
    },
    |code, f| {
        let bytes = code.0.to_le_bytes();
        f.write_str(&String::from_utf8_lossy(&bytes))
    }
);

word!(
    /// A control's id, or a set of bits.
    #[derive(Default)]
    Hex(u32),
    "\"0x00980900\"",
    |text| {
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 8)?;
        u32::from_str_radix(digits, 16).ok()
    },
    |id, f| write!(f, "{id:#010x}")
);
