//! The sizes and frame intervals that all devices support, and how an interval is chosen.

use vb3_picture::{HEIGHT_MAX, SIZE_MIN, WIDTH_MAX};
use vb3_v4l2::{Fraction, FrameIntervals, FrameSizes};

/// Maximum number of frames per second; the minimum is one.
pub const MAX_FPS: u32 = 120;

/// The sizes that all devices support.
pub(crate) const SIZES: FrameSizes<'_> = FrameSizes::Stepwise {
    width: (SIZE_MIN, WIDTH_MAX, SIZE_MIN),
    height: (SIZE_MIN, HEIGHT_MAX, SIZE_MIN),
};

/// The intervals that all devices support.
pub(crate) const INTERVALS: FrameIntervals<'_> = FrameIntervals::Continuous {
    min: Fraction::new(1, MAX_FPS),
    max: Fraction::new(1, 1),
};

/// Returns the offered interval that is nearest to the wanted one; `None` if none is offered.
pub(crate) fn nearest_interval(offered: FrameIntervals<'_>, wanted: Fraction) -> Option<Fraction> {
    let cross = |a: u32, b: u32| u64::from(a) * u64::from(b);
    let is_below = |a: Fraction, b: Fraction| {
        cross(a.numerator, b.denominator) < cross(b.numerator, a.denominator)
    };
    match offered {
        FrameIntervals::Continuous { min, max } | FrameIntervals::Stepwise { min, max, .. } => {
            Some(match (wanted, offered) {
                (long, _) if !is_below(long, max) => max,
                (short, _) if is_below(short, min) => min,
                (_, FrameIntervals::Stepwise { step, .. }) => nearest_step((min, step), wanted),
                _ => wanted,
            })
        }
        FrameIntervals::One(one) => Some(one),
        FrameIntervals::Discrete(all) => {
            let wanted = wanted.as_nanos()?;
            let far = |interval: &&Fraction| interval.as_nanos().map(|ns| ns.abs_diff(wanted));
            all.iter().min_by_key(far).copied()
        }
    }
}

/// Returns the interval nearest to `wanted` that is whole steps longer than the shortest. `wanted` is not
/// shorter. Intervals that 32-bit numbers cannot express are in units of 100 ns.
///
/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_v4l2.c `uvc_try_frame_interval`.
fn nearest_step((min, step): (Fraction, Fraction), wanted: Fraction) -> Fraction {
    let ns = |interval: Fraction| interval.as_nanos().unwrap_or(0);
    let beyond = ns(wanted).saturating_sub(ns(min));
    let step_ns = ns(step).max(1);
    let steps = beyond.saturating_add(step_ns / 2) / step_ns;
    let exact = || {
        let added = u32::try_from(steps).ok()?.checked_mul(step.numerator)?;
        let numerator = (min.numerator.checked_mul(step.denominator)?)
            .checked_add(added.checked_mul(min.denominator)?)?;
        let denominator = min.denominator.checked_mul(step.denominator)?;
        let (mut a, mut b) = (numerator, denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Some(Fraction::new(numerator / a, denominator / a))
    };
    exact().unwrap_or_else(|| {
        let units = ns(min).saturating_add(steps.saturating_mul(step_ns)) / 100;
        Fraction::new(u32::try_from(units).unwrap_or(u32::MAX), 10_000_000)
    })
}

/// Returns whether two fractions have the same value.
pub(crate) fn same(a: Fraction, b: Fraction) -> bool {
    let cross = |a: u32, b: u32| u64::from(a) * u64::from(b);
    cross(a.numerator, b.denominator) == cross(b.numerator, a.denominator)
}

/// Returns the inverse: seconds per frame for frames per second.
pub(crate) const fn upside_down(rate: Fraction) -> Fraction {
    Fraction::new(rate.denominator, rate.numerator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stepwise_interval_is_rounded_to_its_step() {
        let offered = |step| FrameIntervals::Stepwise {
            min: Fraction::new(1, 30),
            max: Fraction::new(1, 5),
            step,
        };
        let tick = Fraction::new(1, 30);
        for (wanted, granted) in [
            ((1, 20), (1, 15)),
            ((1, 24), (1, 30)),
            ((1, 12), (1, 10)),
            ((1, 120), (1, 30)),
            ((3, 1), (1, 5)),
        ] {
            let wanted = Fraction::new(wanted.0, wanted.1);
            let granted = Fraction::new(granted.0, granted.1);
            assert_eq!(nearest_interval(offered(tick), wanted), Some(granted));
        }
        // One step of 7/4294967295 seconds: 32 bits cannot express the sum.
        let odd = Fraction::new(7, u32::MAX);
        let found = nearest_interval(offered(odd), Fraction::new(1, 20));
        assert_eq!(found, Some(Fraction::new(500_000, 10_000_000)));
    }
}
