//! Headers of streams as ffmpeg's `trace_headers` reads them.

use std::collections::BTreeMap;
use std::process::Command;

/// Values of a header's syntax elements, by name.
pub(crate) type Elements = BTreeMap<String, i64>;

/// Returns the elements of each header with one of these titles. ffmpeg may print the first ones twice.
pub(crate) fn traced(file: &[u8], format: &str, titles: &[&str]) -> Vec<Elements> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headers");
    std::fs::write(&path, file).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-nostdin", "-hide_banner", "-f", format, "-i"])
        .arg(&path);
    ffmpeg.args(["-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-"]);
    let said = ffmpeg.output().unwrap().stderr;
    let said = String::from_utf8(said).unwrap();
    let mut headers: Vec<Elements> = Vec::new();
    for line in said
        .lines()
        .filter(|line| line.starts_with("[trace_headers"))
    {
        let text = line.split_once("] ").map_or("", |(_, text)| text);
        let words: Vec<&str> = text.split_whitespace().collect();
        match (&words[..], headers.last_mut()) {
            ([_, name, .., "=", value], Some(elements)) => {
                elements.insert((*name).to_owned(), value.parse().unwrap());
            }
            _ if titles.contains(&text) => headers.push(Elements::new()),
            _ => {}
        }
    }
    headers
}

/// Checks the elements of header `at` that have a wanted value.
pub(crate) fn assert_same(at: usize, found: &Elements, wanted: &Elements) {
    for (name, value) in found {
        if let Some(wanted) = wanted.get(name) {
            assert_eq!(value, wanted, "{name} of header {at}: {found:#?}");
        }
    }
}
