//! Messages to the person at the terminal.

use std::fmt::Display;
use std::io::Write as _;

/// Writes `vb3: TEXT` to standard error.
///
/// A closed pipe or a full disk there is ignored. `eprintln!` panics in that case.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "vb3: {text}");
}
