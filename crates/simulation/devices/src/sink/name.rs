//! File names of recordings: numbered names, and the names of further files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::choice::SinkSpec;

/// A file name with a place for a number, such as `frames/%04d.png`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NumberedName {
    before: String,
    width: usize,
    after: String,
}

impl NumberedName {
    /// Parses a name that has exactly one `%d` or `%0Nd` (`N` from 1 to 9), not in a directory, and no other `%`.
    /// `None` for other names.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let (before, rest) = name.split_once('%')?;
        let (width, after) = rest.split_once('d')?;
        let width = match width.as_bytes() {
            [] => 0,
            [b'0', n @ b'1'..=b'9'] => usize::from(n - b'0'),
            _ => return None,
        };
        let is_file = !after.contains(['%', '/']);
        is_file.then(|| Self {
            before: before.to_owned(),
            width,
            after: after.to_owned(),
        })
    }

    /// Returns the number in a file's name, if the name is one of these. Directories are not compared.
    fn number_in(&self, path: &Path) -> Option<u64> {
        let before = self.before.rsplit_once('/');
        let before = before.map_or(&*self.before, |(_, name)| name);
        let name = path.file_name()?.to_str()?;
        let number = name.strip_prefix(before)?.strip_suffix(&*self.after)?;
        let number = number.parse().ok()?;
        (self.with(number).file_name() == path.file_name()).then_some(number)
    }

    /// Returns the name that has this number.
    pub(crate) fn with(&self, number: u64) -> PathBuf {
        let (before, width, after) = (&self.before, self.width, &self.after);
        PathBuf::from(format!("{before}{number:0width$}{after}"))
    }
}

/// Returns the name of the `count`th file of a recording: `out.y4m`, then `out.2.y4m`.
pub(super) fn nth(path: &Path, count: u32) -> PathBuf {
    if count <= 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{count}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Returns the path of `file` in the display's directory, if `file` has the name of one of the display's
/// pictures or further files.
#[must_use]
pub fn further_file(display: &SinkSpec, file: &Path) -> Option<PathBuf> {
    match display {
        SinkSpec::Null => None,
        SinkSpec::Png(name) => {
            let name = NumberedName::new(name)?;
            Some(name.with(name.number_in(file)?))
        }
        SinkSpec::Y4m(path) | SinkSpec::Raw(path) => {
            let mut parts = file.file_name()?.to_str()?.rsplit('.');
            let number = parts.find_map(|part| part.parse().ok().filter(|&n| n > 1))?;
            let name = nth(path, number);
            (name.file_name() == file.file_name()).then_some(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_their_place() {
        let at = |name: &str, number| NumberedName::new(name).map(|n| n.with(number));
        assert_eq!(at("frames/%04d.png", 7), Some("frames/0007.png".into()));
        assert_eq!(at("%d.png", 12), Some("12.png".into()));
        assert_eq!(at("a%02dd.png", 123), Some("a123d.png".into()));
        let number = |name: &str| {
            NumberedName::new("a/%04d.png")
                .unwrap()
                .number_in(name.as_ref())
        };
        assert_eq!(number("b/0007.png"), Some(7));
        assert_eq!(number("b/12345.png"), Some(12345));
        assert_eq!(number("b/7.png"), None);
        assert_eq!(number("b/0007.jpg"), None);
        for name in [
            "a.png",
            "%d%d.png",
            "%4d.png",
            "%00d.png",
            "%012d.png",
            "%%d.png",
            "%s.png",
            "frames%04d/x.png",
            "%",
        ] {
            assert_eq!(NumberedName::new(name), None, "{name}");
        }
    }

    #[test]
    fn later_files_are_numbered_from_two() {
        assert_eq!(nth(Path::new("a/out.y4m"), 1), Path::new("a/out.y4m"));
        assert_eq!(nth(Path::new("a/out.y4m"), 2), Path::new("a/out.2.y4m"));
        assert_eq!(nth(Path::new("out.x.raw"), 3), Path::new("out.x.3.raw"));
    }

    #[test]
    fn only_further_files_of_a_recording_are_found() {
        let y4m = SinkSpec::Y4m("a/out.y4m".into());
        let of = |display: &SinkSpec, file: &str| further_file(display, Path::new(file));
        assert_eq!(of(&y4m, "b/out.2.y4m"), Some("a/out.2.y4m".into()));
        for file in ["out.y4m", "out.1.y4m", "out.02.y4m", "out.2.raw", "x.2.y4m"] {
            assert_eq!(of(&y4m, file), None, "{file}");
        }
        let first = SinkSpec::Raw("a/out.1.raw".into());
        assert_eq!(of(&first, "out.1.raw"), None, "the first file");
        assert_eq!(of(&first, "out.1.3.raw"), Some("a/out.1.3.raw".into()));
        let pictures = SinkSpec::Png("a/%03d.png".into());
        assert_eq!(of(&pictures, "b/007.png"), Some("a/007.png".into()));
        assert_eq!(of(&pictures, "b/7.png"), None);
        assert_eq!(of(&SinkSpec::Null, "out.2.y4m"), None);
    }
}
