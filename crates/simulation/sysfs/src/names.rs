//! Names as udev writes them into links and properties.

use std::fmt::Write as _;

/// Returns whether udev keeps a character.
///
/// Source: systemd src/shared/device-nodes.c `udev_replace_chars`, `encode_devnode_name`.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii()
}

/// Returns a name as udev puts it into a link: ASCII characters that are not plain become `_`.
pub(crate) fn plain(name: &str) -> String {
    let words: Vec<&str> = name.split_ascii_whitespace().collect();
    let joined = words.join("_");
    joined
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect()
}

/// Returns a value as in udev's `_ENC` properties: ASCII characters that are not plain become
/// `\xNN`.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_links_are_as_udev_writes_them() {
        assert_eq!(
            plain("Test  camera (pattern)\t1"),
            "Test_camera__pattern__1"
        );
        assert_eq!(plain("a/b\u{e9}\u{a0}#c"), "a_b\u{e9}\u{a0}#c");
    }
}
