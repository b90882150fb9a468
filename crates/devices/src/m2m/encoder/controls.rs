//! Values of an encoder's controls.

use crate::surface::EBUSY;
use std::collections::BTreeMap;
use vb3_queue::DriverError;
use vb3_v4l2::{ControlKind, ControlSpec, cid};

/// The current values of an encoder's controls.
#[derive(Debug)]
pub(crate) struct Controls {
    /// The values of controls, by their ids.
    values: BTreeMap<u32, i64>,
    /// Whether the next picture must be independent.
    pub(super) force_key: bool,
}

impl Controls {
    /// Returns the default values of these controls.
    pub(super) fn new(specs: &[ControlSpec]) -> Self {
        let values = specs.iter().filter_map(|spec| match spec.kind {
            ControlKind::Integer { default, .. } => Some((spec.id, i64::from(default))),
            ControlKind::Menu { default, .. } => Some((spec.id, i64::from(default))),
            _ => None,
        });
        Self {
            values: values.collect(),
            force_key: false,
        }
    }

    /// Returns the value of a control; 0 if the encoder has no such control.
    pub(crate) fn number<T: TryFrom<i64> + Default>(&self, id: u32) -> T {
        let number = self.values.get(&id).copied().unwrap_or_default();
        T::try_from(number).unwrap_or_default()
    }

    /// Returns whether a control has the value 1.
    pub(crate) fn is_on(&self, id: u32) -> bool {
        self.number::<u8>(id) == 1
    }

    /// Returns the range of quantizers.
    /// Programs set its two ends one after the other. If the ends cross, the lower end is used for both.
    pub(crate) fn qp(&self, least: u32, greatest: u32) -> (u8, u8) {
        let least = self.number(least);
        (least, self.number::<u8>(greatest).max(least))
    }

    /// Sets a control to a value in its range. Fails with EBUSY if a running stream forbids this.
    pub(super) fn set(&mut self, id: u32, value: i64, busy: bool) -> Result<(), DriverError> {
        match id {
            cid::MPEG_VIDEO_FORCE_KEY_FRAME => self.force_key = true,
            cid::MPEG_VIDEO_H264_PROFILE
            | cid::MPEG_VIDEO_H264_LEVEL
            | cid::MPEG_VIDEO_HEVC_LEVEL
            | cid::MPEG_VIDEO_HEVC_TIER
            | cid::MPEG_VIDEO_VP8_PROFILE
                if busy =>
            {
                return Err(EBUSY);
            }
            _ => {
                self.values.insert(id, value);
            }
        }
        Ok(())
    }
}
