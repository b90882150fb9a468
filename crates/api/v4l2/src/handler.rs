//! The controls of a device: table, values and write checks.

use crate::bytes::{Image, field};
use crate::control::{ControlFlags, ControlKind, ControlSpec, ControlValue, Master};
use crate::event::{PAYLOAD, Payload};
use crate::{Error, VideoDriver, sys};
use std::collections::BTreeMap;

/// Largest number of controls of one device, including classes.
pub(crate) const MAX_CONTROLS: usize = 256;

/// One control and its value. `kind` is `None` for a control class.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) id: u32,
    pub(crate) name: &'static str,
    pub(crate) kind: Option<ControlKind>,
    pub(crate) flags: ControlFlags,
    pub(crate) master: Option<Master>,
    /// The initial value, if it differs from the default.
    pub(crate) initial: Option<i64>,
    pub(crate) value: ControlValue,
}

/// The range of a control, for QUERYCTRL and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) ty: u32,
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) step: u64,
    pub(crate) default: i64,
    pub(crate) elem_size: u32,
}

/// Returns the class of a control (`V4L2_CTRL_ID2WHICH`).
pub(crate) const fn class_of(id: u32) -> u32 {
    id & 0x0fff_0000
}

/// Returns Linux's name of a class of controls.
#[must_use]
pub fn class_name(class: u32) -> &'static str {
    match class {
        sys::V4L2_CTRL_CLASS_USER => "User Controls",
        sys::V4L2_CTRL_CLASS_CODEC => "Codec Controls",
        sys::V4L2_CTRL_CLASS_CAMERA => "Camera Controls",
        sys::V4L2_CTRL_CLASS_IMAGE_SOURCE => "Image Source Controls",
        sys::V4L2_CTRL_CLASS_IMAGE_PROC => "Image Processing Controls",
        sys::V4L2_CTRL_CLASS_JPEG => "JPEG Compression Controls",
        sys::V4L2_CTRL_CLASS_FLASH => "Flash Controls",
        sys::V4L2_CTRL_CLASS_DV => "Digital Video Controls",
        sys::V4L2_CTRL_CLASS_DETECT => "Detection Controls",
        sys::V4L2_CTRL_CLASS_CODEC_STATELESS => "Stateless Codec Controls",
        0x00f0_0000 => "VIMC Controls",
        _ => "Controls",
    }
}

fn last_index(first: u32, len: usize) -> i64 {
    let len = i64::try_from(len.saturating_sub(1)).unwrap_or(i64::MAX);
    i64::from(first).saturating_add(len)
}

/// Returns the menu item at `index`. The indices begin with `first`.
pub(crate) fn item<T>(items: &[T], first: u32, index: i64) -> Option<&T> {
    let at = index.checked_sub(first.into())?;
    items.get(usize::try_from(at).ok()?)
}

/// Rounds to the nearest step from `min`, within the range.
///
/// Source: Linux `ROUND_TO_RANGE`.
fn round(value: i64, min: i64, max: i64, step: u64) -> i64 {
    let step = i128::from(step.max(1));
    let (min, max) = (i128::from(min), i128::from(max.max(min)));
    let value = (i128::from(value) + step / 2).clamp(min, max);
    let offset = (value - min) / step * step;
    i64::try_from(min + offset).unwrap_or(i64::MAX)
}

impl Control {
    fn from_spec(spec: &ControlSpec) -> Self {
        let mut flags = spec.flags;
        match spec.kind {
            ControlKind::Button => {
                flags |= ControlFlags::WRITE_ONLY | ControlFlags::EXECUTE_ON_WRITE;
            }
            ControlKind::Class => flags |= ControlFlags::WRITE_ONLY | ControlFlags::READ_ONLY,
            ControlKind::Compound(of) if of.most_elements().is_some() => {
                flags |= ControlFlags::HAS_PAYLOAD | ControlFlags::DYNAMIC_ARRAY;
            }
            ControlKind::Compound(_) => flags |= ControlFlags::HAS_PAYLOAD,
            _ => {}
        }
        Self {
            id: spec.id,
            name: spec.name,
            kind: Some(spec.kind).filter(|kind| *kind != ControlKind::Class),
            flags,
            master: spec.master,
            initial: spec.initial,
            value: (spec.initial).map_or_else(|| default_of(&spec.kind), ControlValue::Number),
        }
    }

    fn class(class: u32) -> Self {
        Self {
            id: class | 1,
            name: class_name(class),
            kind: None,
            flags: ControlFlags::READ_ONLY | ControlFlags::WRITE_ONLY,
            master: None,
            initial: None,
            value: ControlValue::Number(0),
        }
    }

    /// Returns the flags, including [`ControlFlags::GRABBED`] while the driver has grabbed the control.
    pub(crate) fn flags_now<D: VideoDriver>(&self, driver: &D) -> ControlFlags {
        let mut flags = self.flags;
        if driver.is_grabbed(self.id) {
            flags |= ControlFlags::GRABBED;
        }
        flags
    }

    /// Returns the initial value of a control whose value is a number.
    pub(crate) fn initial_value(&self) -> ControlValue {
        ControlValue::Number(self.initial.unwrap_or_else(|| self.range().default))
    }

    pub(crate) fn range(&self) -> Range {
        range_of(self.kind.as_ref().unwrap_or(&ControlKind::Class))
    }

    /// Returns the default value; 0 for a class.
    pub(crate) fn default_value(&self) -> ControlValue {
        self.kind
            .as_ref()
            .map_or(ControlValue::Number(0), default_of)
    }

    /// Returns whether G_CTRL and S_CTRL support the control: its value is a 32-bit number.
    pub(crate) fn is_simple(&self) -> bool {
        !matches!(
            self.kind,
            Some(ControlKind::Integer64 { .. } | ControlKind::Compound(_))
        )
    }

    /// Returns whether the value is a structure, or an array of structures.
    pub(crate) const fn is_compound(&self) -> bool {
        matches!(self.kind, Some(ControlKind::Compound(_)))
    }

    /// Returns the largest number of elements of a dynamic array.
    pub(crate) const fn most_elements(&self) -> Option<u32> {
        match self.kind {
            Some(ControlKind::Compound(of)) => of.most_elements(),
            _ => None,
        }
    }

    /// Returns the default value. For a dynamic array, it has as many elements as the current value.
    pub(crate) fn default_like_current(&self) -> ControlValue {
        match (self.default_value(), &self.value) {
            (ControlValue::Compound(mut bytes), ControlValue::Compound(now)) => {
                bytes.resize(now.len(), 0);
                ControlValue::Compound(bytes)
            }
            (value, _) => value,
        }
    }

    /// Checks whether programs may read the control now.
    ///
    /// # Errors
    /// EACCES for write-only controls.
    pub(crate) fn readable(&self) -> Result<(), Error> {
        if self.flags.contains(ControlFlags::WRITE_ONLY) {
            return Err(Error::Access { id: self.id });
        }
        Ok(())
    }

    /// Checks whether programs may set the control.
    ///
    /// # Errors
    /// EACCES for read-only controls.
    pub(crate) fn writable(&self) -> Result<(), Error> {
        if self.flags.contains(ControlFlags::READ_ONLY) {
            return Err(Error::Access { id: self.id });
        }
        Ok(())
    }

    /// Returns the value that the control gets if a program sets `wanted`.
    ///
    /// # Errors
    /// EACCES for read-only controls. ERANGE and EINVAL for values that cannot be rounded into the
    /// range.
    ///
    /// Source: Linux `v4l2_ctrl_type_op_validate`.
    pub(crate) fn validate(&self, wanted: ControlValue) -> Result<ControlValue, Error> {
        self.writable()?;
        let Some(kind) = self.kind else {
            return Ok(ControlValue::Number(0));
        };
        let number = match (&kind, wanted) {
            (ControlKind::Compound(of), ControlValue::Compound(mut bytes)) => {
                of.validate(&mut bytes)?;
                return Ok(ControlValue::Compound(bytes));
            }
            (ControlKind::Compound(_), _) => return Err(Error::Invalid),
            (_, value) => value.number(),
        };
        self.validate_number(&kind, number)
            .map(ControlValue::Number)
    }

    fn validate_number(&self, kind: &ControlKind, wanted: i64) -> Result<i64, Error> {
        let range = range_of(kind);
        match kind {
            ControlKind::Integer { .. } | ControlKind::Integer64 { .. } => {
                Ok(round(wanted, range.min, range.max, range.step))
            }
            ControlKind::Boolean { .. } => Ok(i64::from(wanted != 0)),
            ControlKind::Menu { first, items, .. } => match item(items, *first, wanted) {
                None => Err(Error::Range {
                    id: self.id,
                    wanted,
                }),
                Some(&"") => Err(Error::Invalid),
                Some(_) => Ok(wanted),
            },
            ControlKind::IntegerMenu { first, items, .. } => match item(items, *first, wanted) {
                None => Err(Error::Range {
                    id: self.id,
                    wanted,
                }),
                Some(None) => Err(Error::Invalid),
                Some(Some(_)) => Ok(wanted),
            },
            ControlKind::Bitmask { .. } => Ok(wanted & range.max),
            ControlKind::Button | ControlKind::Class | ControlKind::Compound(_) => Ok(0),
        }
    }

    /// Returns the payload of a control event. Of a 64-bit control's range, the payload has only the low 32 bits.
    ///
    /// Source: Linux `fill_event`.
    pub(crate) fn event<D: VideoDriver>(&self, changes: u32, driver: &D) -> Payload {
        let mut payload = [0; PAYLOAD];
        let range = self.range();
        let mut image = Image(&mut payload);
        image.set_u32(field!(v4l2_event_ctrl.changes), changes);
        image.set_u32(field!(v4l2_event_ctrl.type_), range.ty);
        if self.readable().is_ok() {
            image.set_i64(
                field!(v4l2_event_ctrl.__bindgen_anon_1),
                self.value.number(),
            );
        }
        image.set_u32(field!(v4l2_event_ctrl.flags), self.flags_now(driver).bits());
        image.set_i32(field!(v4l2_event_ctrl.minimum), bits32(range.min));
        image.set_i32(field!(v4l2_event_ctrl.maximum), bits32(range.max));
        image.set_i32(
            field!(v4l2_event_ctrl.step),
            bits32(range.step.cast_signed()),
        );
        image.set_i32(field!(v4l2_event_ctrl.default_value), bits32(range.default));
        payload
    }
}

/// Returns the low 32 bits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast keeps the low 32 bits on purpose"
)]
pub(crate) const fn bits32(value: i64) -> i32 {
    value as i32
}

fn default_of(kind: &ControlKind) -> ControlValue {
    match kind {
        ControlKind::Compound(of) => ControlValue::Compound(of.initial()),
        _ => ControlValue::Number(range_of(kind).default),
    }
}

fn range_of(kind: &ControlKind) -> Range {
    let plain = |ty, min, max, step, default| Range {
        ty,
        min,
        max,
        step,
        default,
        elem_size: 4,
    };
    match *kind {
        ControlKind::Integer {
            min,
            max,
            step,
            default,
        } => plain(
            sys::V4L2_CTRL_TYPE_INTEGER,
            min.into(),
            max.into(),
            step.max(1).into(),
            default.into(),
        ),
        ControlKind::Integer64 {
            min,
            max,
            step,
            default,
        } => Range {
            ty: sys::V4L2_CTRL_TYPE_INTEGER64,
            min,
            max,
            step: step.max(1),
            default,
            elem_size: 8,
        },
        ControlKind::Boolean { default } => {
            plain(sys::V4L2_CTRL_TYPE_BOOLEAN, 0, 1, 1, default.into())
        }
        ControlKind::Menu {
            first,
            items,
            default,
        } => plain(
            sys::V4L2_CTRL_TYPE_MENU,
            first.into(),
            last_index(first, items.len()),
            1,
            default.into(),
        ),
        ControlKind::IntegerMenu {
            first,
            items,
            default,
        } => plain(
            sys::V4L2_CTRL_TYPE_INTEGER_MENU,
            first.into(),
            last_index(first, items.len()),
            1,
            default.into(),
        ),
        ControlKind::Bitmask { mask, default } => plain(
            sys::V4L2_CTRL_TYPE_BITMASK,
            0,
            mask.into(),
            0,
            default.into(),
        ),
        ControlKind::Compound(of) => Range {
            elem_size: u32::try_from(of.size()).unwrap_or(u32::MAX),
            step: 0,
            ..plain(of.number(), 0, 0, 0, 0)
        },
        ControlKind::Button => plain(sys::V4L2_CTRL_TYPE_BUTTON, 0, 0, 0, 0),
        ControlKind::Class => plain(sys::V4L2_CTRL_TYPE_CTRL_CLASS, 0, 0, 0, 0),
    }
}

/// All controls of a device, in ascending order of ids.
#[derive(Debug)]
pub(crate) struct Handler {
    controls: Vec<Control>,
}

impl Handler {
    /// Takes a driver's declarations and adds the classes.
    ///
    /// If several declarations have the same id, only the first one is used. Controls beyond
    /// [`MAX_CONTROLS`] are omitted.
    pub(crate) fn new(specs: &[ControlSpec]) -> Self {
        let mut controls: Vec<Control> = Vec::new();
        for spec in specs {
            let is_known = controls.iter().any(|known| known.id == spec.id);
            if !is_known && class_of(spec.id) != 0 && controls.len() < MAX_CONTROLS / 2 {
                controls.push(Control::from_spec(spec));
            }
        }
        // A class gets its control, which holds the class's name, only if one of the declared controls of the class
        // is no structure (Linux: `handler_new_ref`).
        let classes = controls
            .iter()
            .filter(|control| !control.is_compound())
            .map(|control| Control::class(class_of(control.id)));
        // The sort is stable: a class that the driver declared stays before the one that is added here, which is then
        // removed as a duplicate.
        let classes: Vec<_> = classes.collect();
        controls.extend(classes);
        controls.sort_by_key(|control| control.id);
        controls.dedup_by_key(|control| control.id);
        let mut handler = Self { controls };
        let masters = handler.controls.iter().filter_map(|c| c.master);
        let masters: Vec<u32> = masters.map(|master| master.id).collect();
        for id in masters {
            handler.follow(id);
        }
        handler
    }

    /// Updates the flags of the controls that `id` governs. Returns the ids of the changed ones.
    ///
    /// Source: Linux 7.2 drivers/media/usb/uvc/uvc_ctrl.c `__uvc_query_v4l2_ctrl`. Differs: inactive
    /// controls can be set, as with other drivers.
    pub(crate) fn follow(&mut self, id: u32) -> Vec<u32> {
        let Some(value) = self.find(id).map(|control| control.value.number()) else {
            return Vec::new();
        };
        let mut changed = Vec::new();
        for control in &mut self.controls {
            let Some(master) = control.master.filter(|master| master.id == id) else {
                continue;
            };
            let before = control.flags;
            let is_inactive = value != master.manual;
            control.flags.set(ControlFlags::INACTIVE, is_inactive);
            if control.flags != before {
                changed.push(control.id);
            }
        }
        changed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.controls.is_empty()
    }

    /// Finds a control by id. `V4L2_CID_PRIVATE_BASE` is the old id of the driver's first own control.
    pub(crate) fn find(&self, id: u32) -> Option<&Control> {
        self.position(id).and_then(|at| self.controls.get(at))
    }

    fn position(&self, id: u32) -> Option<usize> {
        let id = id & sys::V4L2_CTRL_ID_MASK;
        if let Some(nth) = id.checked_sub(sys::V4L2_CID_PRIVATE_BASE) {
            return self
                .controls
                .iter()
                .enumerate()
                .filter(|(_, c)| class_of(c.id) == sys::V4L2_CTRL_CLASS_USER)
                .filter(|(_, c)| c.id & 0xffff >= 0x1000 && c.is_simple())
                .nth(usize::try_from(nth).ok()?)
                .map(|(at, _)| at);
        }
        self.controls
            .binary_search_by_key(&id, |control| control.id)
            .ok()
    }

    /// Returns the first control after `id` that `wanted` selects.
    pub(crate) fn after(&self, id: u32, wanted: impl Fn(&Control) -> bool) -> Option<&Control> {
        self.controls
            .get(self.controls.partition_point(|control| control.id <= id)..)?
            .iter()
            .find(|control| wanted(control))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Control> {
        self.controls.iter()
    }

    /// Returns whether the device has controls of this class.
    pub(crate) fn has_class(&self, class: u32) -> bool {
        self.find(class | 1).is_some()
    }

    /// Returns the current value. Asks the driver if the control is volatile.
    pub(crate) fn value<D: VideoDriver>(&self, control: &Control, driver: &D) -> ControlValue {
        if control.flags.contains(ControlFlags::VOLATILE)
            && let Some(value) = driver.volatile_control(control.id)
        {
            return value;
        }
        control.value.clone()
    }

    /// Returns all values that can be read.
    pub(crate) fn values<D: VideoDriver>(&self, driver: &D) -> BTreeMap<u32, ControlValue> {
        let readable = self.controls.iter().filter(|c| c.readable().is_ok());
        readable.map(|c| (c.id, self.value(c, driver))).collect()
    }

    /// Sets a validated value. Returns whether programs get an event (`V4L2_EVENT_CTRL_CH_VALUE`).
    ///
    /// Programs get the event if the value has changed, or if the control has [`ControlFlags::EXECUTE_ON_WRITE`].
    /// They never get the event for a volatile control.
    ///
    /// For a volatile control, the value is ignored, unless the control has [`ControlFlags::EXECUTE_ON_WRITE`].
    ///
    /// # Errors
    /// EBUSY for a grabbed control, and the driver's errors.
    ///
    /// Source: Linux 7.2 drivers/media/v4l2-core/v4l2-ctrls-core.c `cluster_changed`.
    pub(crate) fn set<D: VideoDriver>(
        &mut self,
        id: u32,
        value: ControlValue,
        driver: &mut D,
    ) -> Result<bool, Error> {
        let at = self.position(id).ok_or(Error::Invalid)?;
        let control = self.controls.get_mut(at).ok_or(Error::Invalid)?;
        if control.flags_now(driver).contains(ControlFlags::GRABBED) {
            return Err(Error::Busy);
        }
        let execute = control.flags.contains(ControlFlags::EXECUTE_ON_WRITE);
        let is_volatile = control.flags.contains(ControlFlags::VOLATILE);
        let changed = execute || (!is_volatile && control.value != value);
        if changed {
            driver.set_control(control.id, &value)?;
            control.value = value;
        }
        Ok(changed && !is_volatile)
    }

    /// Changes a control's range and value. Returns whether the value has changed.
    /// `None` if neither has changed, or if there is no such control.
    ///
    /// Source: Linux 7.2 `__v4l2_ctrl_modify_range`.
    pub(crate) fn change_range(&mut self, spec: &ControlSpec, value: i64) -> Option<bool> {
        let at = self.position(spec.id)?;
        let control = self.controls.get_mut(at)?;
        let value = ControlValue::Number(value);
        let is_new = control.value != value;
        if !is_new && control.kind == Some(spec.kind) {
            return None;
        }
        control.kind = Some(spec.kind);
        control.value = value;
        Some(is_new)
    }

    /// Stores a value that the driver changed by itself. Returns the control, or `None` if nothing changed.
    pub(crate) fn update(&mut self, id: u32, value: ControlValue) -> Option<&Control> {
        let at = self.position(id)?;
        let control = self.controls.get_mut(at)?;
        let same_kind = matches!(
            (&control.value, &value),
            (ControlValue::Number(_), ControlValue::Number(_))
                | (ControlValue::Compound(_), ControlValue::Compound(_))
        );
        if !same_kind || control.value == value {
            return None;
        }
        control.value = value;
        Some(control)
    }
}

#[cfg(test)]
mod tests;
