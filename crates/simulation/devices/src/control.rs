//! Controls that several kinds of devices have.

use vb3_v4l2::{ControlFlags, ControlSpec, ControlValue};

/// Returns an integer control that programs show as a slider.
pub(crate) const fn slider(
    id: u32,
    name: &'static str,
    range: (i32, i32, u32),
    default: i32,
) -> ControlSpec {
    ControlSpec::integer(id, name, range, default).with(ControlFlags::SLIDER)
}

/// Returns a read-only control that counts.
pub(crate) const fn counter(id: u32, name: &'static str) -> ControlSpec {
    let flags = ControlFlags::READ_ONLY.union(ControlFlags::VOLATILE);
    ControlSpec::integer(id, name, (0, i32::MAX, 1), 0).with(flags)
}

/// Returns the value of a [`counter`].
pub(crate) fn counted(count: u64) -> ControlValue {
    ControlValue::Number(i32::try_from(count).unwrap_or(i32::MAX).into())
}
