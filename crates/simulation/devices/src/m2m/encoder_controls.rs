//! Values of an encoder's controls.

use crate::surface::EBUSY;
use std::collections::BTreeMap;
use vb3_queue::DriverError;
use vb3_v4l2::{ControlKind, ControlSpec, cid};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_that_were_set_last() {
        const SPECS: &[ControlSpec] = &[
            ControlSpec::integer(1, "Least", (0, 51, 1), 10),
            ControlSpec::integer(2, "Greatest", (0, 51, 1), 40),
            ControlSpec::menu(cid::MPEG_VIDEO_H264_LEVEL, "Level", &["1", "2", "3"], 1),
        ];
        let mut controls = Controls::new(SPECS);
        assert_eq!(controls.qp(1, 2), (10, 40));
        assert_eq!(controls.set(1, 45, true), Ok(()));
        assert_eq!(controls.qp(1, 2), (45, 45));
        let level = cid::MPEG_VIDEO_H264_LEVEL;
        assert!(controls.is_on(level));
        for value in [0, 2] {
            assert_eq!(controls.set(level, value, true), Err(EBUSY));
            assert_eq!(controls.set(level, value, false), Ok(()));
            assert!(!controls.is_on(level));
        }
        assert!(!controls.force_key && controls.number::<u8>(3) == 0);
        assert_eq!(
            controls.set(cid::MPEG_VIDEO_FORCE_KEY_FRAME, 0, true),
            Ok(())
        );
        assert!(controls.force_key);
    }
}
