//! Messages to the user on standard error.

use std::fmt::Display;
use std::io::Write as _;

/// Writes `vb3: TEXT` to standard error.
///
/// Ignores a closed pipe or a full disk, where `eprintln!` would panic.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "vb3: {text}");
}
