//! The properties of a card's objects. The ids are those of stock vkms on Linux 6.12.

/// What a property's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An unsigned number between two limits.
    Range(u64, u64),
    /// A signed number between two limits.
    Signed(i64, i64),
    /// One of these names, whose values count from zero.
    Enum(&'static [&'static str]),
    /// A set of bits with these names, the lowest first.
    Bits(&'static [&'static str]),
    /// The id of a blob, or zero.
    Blob,
    /// The id of an object of this type, or zero.
    Object(u32),
}

/// A property.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Property {
    pub(crate) id: u32,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) is_immutable: bool,
    /// Whether only files with the atomic capability see it.
    pub(crate) is_atomic: bool,
}

/// Types of objects (`DRM_MODE_OBJECT_*`).
pub(crate) const CRTC: u32 = 0xcccc_cccc;
pub(crate) const CONNECTOR: u32 = 0xc0c0_c0c0;
pub(crate) const ENCODER: u32 = 0xe0e0_e0e0;
pub(crate) const BLOB: u32 = 0xbbbb_bbbb;
pub(crate) const FB: u32 = 0xfbfb_fbfb;
pub(crate) const PLANE: u32 = 0xeeee_eeee;

const INT: i64 = i32::MAX as i64;
const UINT: u64 = u32::MAX as u64;

const POWER: &[&str] = &["On", "Standby", "Suspend", "Off"];
const TURNS: &[&str] = &[
    "rotate-0",
    "rotate-90",
    "rotate-180",
    "rotate-270",
    "reflect-x",
    "reflect-y",
];

/// Defines the ids of properties, and [`PROPERTIES`], by one row each: whether programs may set it (`row` and `atomic`), or
/// not (`fixed` and `told`), of which only files with the atomic capability see the second; its id, name and kind.
macro_rules! properties {
    ($($how:ident $id:ident = $number:literal $name:literal $kind:expr;)*) => {
        $(pub(crate) const $id: u32 = $number;)*

        /// All properties, by id.
        pub(crate) static PROPERTIES: &[Property] = &[$(Property {
            id: $id,
            name: $name,
            kind: $kind,
            is_immutable: matches!(stringify!($how).as_bytes(), b"fixed" | b"told"),
            is_atomic: matches!(stringify!($how).as_bytes(), b"atomic" | b"told"),
        }),*];
    };
}

// Programs see other ids of `rotation` and of the properties of writeback connectors: `Card::told_id`.
properties! {
    fixed EDID = 1 "EDID" Kind::Blob;
    row DPMS = 2 "DPMS" Kind::Enum(POWER);
    fixed TILE = 4 "TILE" Kind::Blob;
    row LINK_STATUS = 5 "link-status" Kind::Enum(&["Good", "Bad"]);
    fixed NON_DESKTOP = 6 "non-desktop" Kind::Range(0, 1);
    fixed TYPE = 8 "type" Kind::Enum(&["Overlay", "Primary", "Cursor"]);
    atomic SRC_X = 9 "SRC_X" Kind::Range(0, UINT);
    atomic SRC_Y = 10 "SRC_Y" Kind::Range(0, UINT);
    atomic SRC_W = 11 "SRC_W" Kind::Range(0, UINT);
    atomic SRC_H = 12 "SRC_H" Kind::Range(0, UINT);
    atomic CRTC_X = 13 "CRTC_X" Kind::Signed(-INT - 1, INT);
    atomic CRTC_Y = 14 "CRTC_Y" Kind::Signed(-INT - 1, INT);
    atomic CRTC_W = 15 "CRTC_W" Kind::Range(0, INT as u64);
    atomic CRTC_H = 16 "CRTC_H" Kind::Range(0, INT as u64);
    atomic FB_ID = 17 "FB_ID" Kind::Object(FB);
    atomic IN_FENCE_FD = 18 "IN_FENCE_FD" Kind::Signed(-1, INT);
    atomic OUT_FENCE_PTR = 19 "OUT_FENCE_PTR" Kind::Range(0, u64::MAX);
    atomic CRTC_ID = 20 "CRTC_ID" Kind::Object(CRTC);
    atomic ACTIVE = 22 "ACTIVE" Kind::Range(0, 1);
    atomic MODE_ID = 23 "MODE_ID" Kind::Blob;
    row VRR_ENABLED = 24 "VRR_ENABLED" Kind::Range(0, 1);
    atomic WRITEBACK_FB_ID = 25 "WRITEBACK_FB_ID" Kind::Object(FB);
    told WRITEBACK_PIXEL_FORMATS = 26 "WRITEBACK_PIXEL_FORMATS" Kind::Blob;
    atomic WRITEBACK_OUT_FENCE_PTR = 27 "WRITEBACK_OUT_FENCE_PTR" Kind::Range(0, u64::MAX);
    row GAMMA_LUT = 28 "GAMMA_LUT" Kind::Blob;
    fixed GAMMA_LUT_SIZE = 29 "GAMMA_LUT_SIZE" Kind::Range(0, UINT);
    fixed IN_FORMATS = 30 "IN_FORMATS" Kind::Blob;
    row ROTATION = 34 "rotation" Kind::Bits(TURNS);
}

/// The properties of each type of object, in the order in which they are listed.
#[rustfmt::skip]
pub(crate) const OF_PLANE: &[u32] = &[
    TYPE, FB_ID, IN_FENCE_FD, CRTC_ID, CRTC_X, CRTC_Y, CRTC_W, CRTC_H, SRC_X, SRC_Y, SRC_W, SRC_H,
    IN_FORMATS, ROTATION,
];
#[rustfmt::skip]
pub(crate) const OF_CRTC: &[u32] =
    &[ACTIVE, MODE_ID, OUT_FENCE_PTR, VRR_ENABLED, GAMMA_LUT, GAMMA_LUT_SIZE];
#[rustfmt::skip]
pub(crate) const OF_WRITEBACK: &[u32] = &[
    DPMS, LINK_STATUS, NON_DESKTOP, TILE, CRTC_ID, WRITEBACK_OUT_FENCE_PTR, WRITEBACK_FB_ID,
    WRITEBACK_PIXEL_FORMATS,
];
pub(crate) const OF_CONNECTOR: &[u32] = &[EDID, DPMS, LINK_STATUS, NON_DESKTOP, TILE, CRTC_ID];

impl Property {
    pub(crate) fn find(id: u32) -> Option<&'static Self> {
        PROPERTIES.iter().find(|property| property.id == id)
    }

    /// Returns the flags of `drm_mode_get_property`.
    pub(crate) const fn flags(&self) -> u32 {
        let kind = match self.kind {
            Kind::Range(..) => 1 << 1,
            Kind::Enum(_) => 1 << 3,
            Kind::Blob => 1 << 4,
            Kind::Bits(_) => 1 << 5,
            Kind::Object(_) => 1 << 6,
            Kind::Signed(..) => 2 << 6,
        };
        let immutable = if self.is_immutable { 1 << 2 } else { 0 };
        let atomic = if self.is_atomic { 1 << 31 } else { 0 };
        kind | immutable | atomic
    }

    /// Returns the values of `drm_mode_get_property`: limits, or the values of names.
    pub(crate) fn values(&self) -> Vec<u64> {
        match self.kind {
            Kind::Range(least, most) => vec![least, most],
            Kind::Signed(least, most) => [least, most].map(i64::cast_unsigned).to_vec(),
            Kind::Enum(names) | Kind::Bits(names) => (0..names.len() as u64).collect(),
            Kind::Blob => Vec::new(),
            Kind::Object(kind) => vec![kind.into()],
        }
    }

    /// Returns whether a program may set the property to this value. Objects and blobs are looked up elsewhere.
    pub(crate) const fn accepts(&self, value: u64) -> bool {
        if self.is_immutable {
            return false;
        }
        match self.kind {
            Kind::Range(least, most) => least <= value && value <= most,
            Kind::Signed(least, most) => {
                least <= value.cast_signed() && value.cast_signed() <= most
            }
            Kind::Enum(names) => value < names.len() as u64,
            Kind::Bits(names) => value >> names.len() == 0,
            Kind::Blob | Kind::Object(_) => value <= UINT,
        }
    }
}
