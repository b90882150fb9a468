//! Reads parts of texts, and finds names that are similar to a word.

/// Parses two numbers with a character between them.
pub(crate) fn pair(text: &str, between: char) -> Option<(u32, u32)> {
    let (first, second) = text.split_once(between)?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

/// Parses a number that has only hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Option<u64> {
    let is_number = digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16).ok();
    number.filter(|_| is_number)
}

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
