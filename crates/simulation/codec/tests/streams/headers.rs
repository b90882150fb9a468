//! Headers of streams as ffmpeg's `trace_headers` reads them.

use std::collections::BTreeMap;
use std::process::Command;

/// Values of a header's syntax elements, by name.
pub(crate) type Elements = BTreeMap<String, i64>;

/// Returns the elements of `count` pairs of headers with these titles. ffmpeg also prints the stream's extra data: a copy
/// of the first headers, before all others.
pub(crate) fn traced(
    (file, format): (&[u8], &str),
    titles: [&str; 2],
    count: usize,
) -> Vec<[Elements; 2]> {
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
    let extra = headers.len().checked_sub(2 * count);
    let (pairs, _) = headers[extra.unwrap()..].as_chunks();
    pairs.to_vec()
}

/// Checks the elements of header `at` that have a wanted value.
pub(crate) fn assert_same(at: usize, found: &Elements, wanted: &Elements) {
    for (name, value) in found {
        if let Some(wanted) = wanted.get(name) {
            assert_eq!(value, wanted, "{name} of header {at}: {found:#?}");
        }
    }
}
