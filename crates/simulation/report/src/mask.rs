//! Removes passwords from texts that a report keeps.

/// Stands for the name and password in a URL.
const MASK: &str = "***@";

/// Returns a text with each `NAME:PASSWORD@` of a URL replaced by `***@`.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|c: char| c == '/' || c == '?' || c == '#' || c.is_whitespace());
        let (place, more) = after.split_at(end.unwrap_or(after.len()));
        out.extend([before, "://"]);
        match place.rsplit_once('@') {
            Some((_, host)) => out.extend([MASK, host]),
            None => out.push_str(place),
        }
        rest = more;
    }
    out + rest
}

/// Returns whether [`masked`] has removed a name or password from this text. If the text is a program's argument,
/// `vb3 replay` cannot repeat the program, because the argument is incomplete.
#[must_use]
pub fn is_masked(text: &str) -> bool {
    text.contains(&format!("://{MASK}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (text, expected) in [
            ("rtsp://me:secret@host:554/a", "rtsp://***@host:554/a"),
            ("-i=http://token@h?x=a@b", "-i=http://***@h?x=a@b"),
            ("a://p@ss@b c://d:e@f", "a://***@b c://***@f"),
            ("ssh me@host", "ssh me@host"),
            ("http://host/a:b@c", "http://host/a:b@c"),
            ("://", "://"),
        ] {
            assert_eq!(masked(text), expected);
            assert_eq!(is_masked(expected), text != expected, "{text}");
        }
    }
}
