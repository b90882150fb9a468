//! The sizes, rates and formats that a camera offers.

use super::parse::parse_format;
use super::{CameraInput, DeviceSpec, Profile, SpecError};
use vb3_picture::Size;
use vb3_v4l2::Fraction;

/// Maximum number of entries in a list.
const LIST_MAX: usize = 64;

/// Parses a list whose entries are separated by colons. No entry may repeat.
pub(super) fn list<T: PartialEq>(value: &str, entry: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut found = Vec::new();
    for word in value.split(':') {
        let one = entry(word)?;
        if found.contains(&one) || found.len() >= LIST_MAX {
            return None;
        }
        found.push(one);
    }
    Some(found)
}

/// Returns a message about the first name of `formats=` that no pixel format has.
pub(super) fn unknown_format(value: &str) -> Option<String> {
    let unknown = value.split(':').find(|name| parse_format(name).is_none())?;
    Some(format!("there is no pixel format \"{unknown}\"; use "))
}

impl DeviceSpec {
    /// Returns the profile of `profile=`, or the default of the device's kind.
    pub(crate) fn profile(&self) -> Profile {
        self.profile.unwrap_or(match self.kind.input() {
            Some(CameraInput::Sensor) => Profile::Webcam,
            _ => Profile::Sensor,
        })
    }

    /// Checks that the options for a camera's sizes, rates and formats agree with each other.
    pub(super) fn check_offer(&self) -> Result<(), SpecError> {
        let refuse = |option: &str, value: String, allowed: String| {
            Err(SpecError::value(option, &value, allowed))
        };
        let sizes = join(&self.sizes, Size::to_string);
        let rates = join(&self.rates, rate);
        if self.profile() == Profile::Sensor {
            let list = [("sizes", &sizes), ("rates", &rates)];
            if let Some((option, value)) = list.into_iter().find(|(_, list)| !list.is_empty()) {
                let allowed = "profile=sensor offers every one; leave out one of the two, or use \
                               profile=webcam";
                return refuse(option, value.clone(), allowed.to_owned());
            }
        }
        if let Some(size) = self.size
            && !self.sizes.is_empty()
            && !self.sizes.contains(&size)
        {
            return refuse("size", size.to_string(), format!("sizes= has {sizes}"));
        }
        if let Some(fps) = self.fps
            && !self.rates.is_empty()
            && !self.rates.iter().any(|rate| same(*rate, fps))
        {
            return refuse("fps", rate(&fps), format!("rates= has {rates}"));
        }
        Ok(())
    }
}

/// Returns whether two fractions have the same value.
pub(crate) fn same(a: Fraction, b: Fraction) -> bool {
    let cross = |a: u32, b: u32| u64::from(a) * u64::from(b);
    cross(a.numerator, b.denominator) == cross(b.numerator, a.denominator)
}

fn rate(rate: &Fraction) -> String {
    match rate.denominator {
        1 => rate.numerator.to_string(),
        _ => format!("{}/{}", rate.numerator, rate.denominator),
    }
}

fn join<T>(list: &[T], word: impl Fn(&T) -> String) -> String {
    let words: Vec<String> = list.iter().map(word).collect();
    words.join(":")
}
