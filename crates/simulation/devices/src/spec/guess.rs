//! Suggests names for unknown devices, options and values.

use super::error::SpecError;
use super::kind::DeviceKind;
use super::options::{DeviceOption, OPTIONS};
use super::parse::parse_sink;
use crate::choice::SinkSpec;
use crate::text::did_you_mean;
use std::fmt::Write as _;

/// Returns the error for a kind that is none of `names`.
pub(crate) fn unknown_kind(
    kind: &str,
    value: &str,
    names: impl Iterator<Item = &'static str> + Clone,
) -> SpecError {
    let all = "`vb3 devices` lists all devices";
    if kind.is_empty() {
        return SpecError(format!(
            "the device has no name; try camera or display ({all})"
        ));
    }
    if let Some((name, value)) = kind.split_once(':')
        && names.clone().any(|known| known == name)
    {
        return SpecError(format!(
            "there is no device \"{kind}\"; did you mean {name}={value}?"
        ));
    }
    if value.is_empty() && (kind.contains(['.', '/'])) {
        let means = match parse_sink(kind) {
            Ok(SinkSpec::Y4m(_) | SinkSpec::Raw(_)) => {
                format!("to play it: camera={kind}; to record to it: display={kind}")
            }
            _ => format!("to play it: camera={kind}"),
        };
        return SpecError(format!("\"{kind}\" is a file, not a device; {means}"));
    }
    let guess = did_you_mean(kind, names);
    SpecError(format!("there is no device \"{kind}\"{guess} {all}"))
}

/// Returns the error for an option that the device does not have.
pub(super) fn unknown_option(kind: &DeviceKind, option: &str) -> SpecError {
    let device = kind.name();
    if option.is_empty() {
        return SpecError("an option is missing after a comma; remove the comma".to_owned());
    }
    let own = || OPTIONS.iter().filter(|known| known.is_of(kind));
    let mut said = format!("{device} has no option \"{option}\"");
    let with_value = own().find(|known| takes(known, option));
    let guess = match with_value {
        Some(known) => format!("; did you mean {}={option}?", known.name),
        None => did_you_mean(option, own().map(|known| known.name)),
    };
    // Writing to a string cannot fail.
    let _ = write!(said, "{guess} `vb3 devices {device}` lists its options");
    SpecError(said)
}

/// Returns whether a word is one of the values that an option lists.
fn takes(option: &DeviceOption, word: &str) -> bool {
    let mut words = option.values.split([' ', ',']);
    option.is_word_list() && words.any(|value| value == word)
}
