//! Suggests names for unknown devices, options and values.

use super::options::{DeviceOption, OPTIONS};
use super::parse::parse_sink;
use super::{KINDS, SinkSpec, SpecError};
use crate::registry::DeviceKind;
use std::fmt::Write as _;

/// Minimum similarity of a name that is suggested; 1 means equal.
const ALIKE: f64 = 0.75;

/// Returns the name that is most similar to a word; `None` if no name is similar enough.
fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&lower, &name.to_ascii_lowercase());
    let names = names.into_iter().map(|name| (likeness(name), name));
    let similar = names.filter(|(likeness, _)| *likeness > ALIKE);
    let nearest = similar.max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map(|(_, name)| name)
}

/// Returns `; did you mean NAME?` for the nearest name, or `.` if no name is similar enough.
#[must_use]
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, names).map_or_else(|| ".".to_owned(), |name| format!("; did you mean {name}?"))
}

pub(super) fn unknown_kind(kind: &str, value: &str) -> SpecError {
    let all = "`vb3 devices` lists all devices";
    if kind.is_empty() {
        return SpecError(format!(
            "the device has no name; try camera or display ({all})"
        ));
    }
    if let Some((name, value)) = kind.split_once(':')
        && KINDS.iter().any(|known| known.name == name)
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
    let names = KINDS.iter().map(|known| known.name);
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
