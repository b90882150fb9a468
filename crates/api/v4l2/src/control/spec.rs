//! A driver's declarations of its controls.

use super::CompoundType;
use bitflags::bitflags;

bitflags! {
    /// `V4L2_CTRL_FLAG_*`, with their numbers.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ControlFlags: u32 {
        /// The control is permanently unavailable.
        const DISABLED = 0x0001;
        /// Another program or the device has grabbed the control: writes fail with EBUSY.
        const GRABBED = 0x0002;
        /// Writes fail with EACCES.
        const READ_ONLY = 0x0004;
        /// A change of this control may change other controls.
        const UPDATE = 0x0008;
        /// The control has no effect now.
        const INACTIVE = 0x0010;
        /// Shown as a slider.
        const SLIDER = 0x0020;
        /// Reads fail with EACCES.
        const WRITE_ONLY = 0x0040;
        /// The value is read from the device each time.
        const VOLATILE = 0x0080;
        /// The value is a structure.
        const HAS_PAYLOAD = 0x0100;
        /// A write of the current value reaches the driver, too.
        const EXECUTE_ON_WRITE = 0x0200;
        /// A change of the control changes the format's buffer size.
        const MODIFY_LAYOUT = 0x0400;
        /// An array with a variable number of structures.
        const DYNAMIC_ARRAY = 0x0800;
        /// G_EXT_CTRLS returns the smallest and the largest value, too.
        const HAS_WHICH_MIN_MAX = 0x1000;
    }
}

/// The kind of a control, and its allowed values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// A number in steps. Values between steps are rounded, and values out of range are clamped.
    Integer {
        /// Smallest value.
        min: i32,
        /// Largest value.
        max: i32,
        /// Step, at least 1.
        step: u32,
        /// Default value.
        default: i32,
    },
    /// A 64-bit number in steps.
    Integer64 {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
        /// Step, at least 1.
        step: u64,
        /// Default value.
        default: i64,
    },
    /// Off or on.
    Boolean {
        /// Default value.
        default: bool,
    },
    /// A menu of names.
    Menu {
        /// Index of the first item.
        first: u32,
        /// Names in order. An empty name is a gap that cannot be chosen.
        items: &'static [&'static str],
        /// Index of the default item.
        default: u32,
    },
    /// A menu of numbers.
    IntegerMenu {
        /// Index of the first item.
        first: u32,
        /// Numbers in order. `None` is a gap that cannot be chosen.
        items: &'static [Option<i64>],
        /// Index of the default item.
        default: u32,
    },
    /// A set of bits.
    Bitmask {
        /// Bits that may be set.
        mask: u32,
        /// Default value.
        default: u32,
    },
    /// Acts when written; it has no value.
    Button,
    /// The title of a class of controls; it has no value.
    Class,
    /// A structure, or an array of structures.
    Compound(CompoundType),
}

/// A driver's declaration of one control. Linux's control classes need no declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlSpec {
    /// `V4L2_CID_*`.
    pub id: u32,
    /// Name, at most 31 bytes.
    pub name: &'static str,
    /// Type and allowed values.
    pub kind: ControlKind,
    /// Flags in addition to those that follow from `kind`.
    pub flags: ControlFlags,
    /// The control whose value decides whether this one is active.
    pub master: Option<Master>,
    /// Initial value, if it differs from the default.
    pub initial: Option<i64>,
}

/// A control that makes others inactive, such as an automatic mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Master {
    /// Id of the deciding control.
    pub id: u32,
    /// The value that makes the others active. With any other value, they have no effect.
    pub manual: i64,
}

impl ControlSpec {
    /// Declares a control without flags or a master.
    #[must_use]
    pub const fn new(id: u32, name: &'static str, kind: ControlKind) -> Self {
        Self {
            id,
            name,
            kind,
            flags: ControlFlags::empty(),
            master: None,
            initial: None,
        }
    }

    /// Declares a number from `min` to `max` in steps of `step`.
    #[must_use]
    pub const fn integer(
        id: u32,
        name: &'static str,
        (min, max, step): (i32, i32, u32),
        default: i32,
    ) -> Self {
        let kind = ControlKind::Integer {
            min,
            max,
            step,
            default,
        };
        Self::new(id, name, kind)
    }

    /// Declares a control that is off or on.
    #[must_use]
    pub const fn boolean(id: u32, name: &'static str, default: bool) -> Self {
        let kind = ControlKind::Boolean { default };
        Self::new(id, name, kind)
    }

    /// Declares a menu of names.
    #[must_use]
    pub const fn menu(
        id: u32,
        name: &'static str,
        items: &'static [&'static str],
        default: u32,
    ) -> Self {
        let kind = ControlKind::Menu {
            first: 0,
            items,
            default,
        };
        Self::new(id, name, kind)
    }

    /// Declares a button.
    #[must_use]
    pub const fn button(id: u32, name: &'static str) -> Self {
        Self::new(id, name, ControlKind::Button)
    }

    /// Declares a structure.
    #[must_use]
    pub const fn compound(id: u32, name: &'static str, of: CompoundType) -> Self {
        Self::new(id, name, ControlKind::Compound(of))
    }

    /// Returns this declaration, active only while the control `id` has the value `manual`.
    #[must_use]
    pub const fn governed_by(mut self, id: u32, manual: i64) -> Self {
        self.master = Some(Master { id, manual });
        self
    }

    /// Returns this declaration with more flags.
    #[must_use]
    pub const fn with(mut self, flags: ControlFlags) -> Self {
        self.flags = self.flags.union(flags);
        self
    }
}

/// The value of a control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlValue {
    /// The value of every control without a structure. A button's value is 0.
    Number(i64),
    /// The bytes of a structure, or of an array of structures.
    Compound(Vec<u8>),
}

impl ControlValue {
    /// Returns the number; 0 for a structure.
    #[must_use]
    pub const fn number(&self) -> i64 {
        match self {
            Self::Number(n) => *n,
            Self::Compound(_) => 0,
        }
    }
}
