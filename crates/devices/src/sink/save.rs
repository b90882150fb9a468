//! Writes one picture to a file, for hosts that ask for it.

use super::png::write_png;
use crate::Failure;
use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use vb3_picture::Frame;

/// The format of a file with one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// PNG, as in a display's `png` recording.
    Png,
    /// The picture's bytes without padding, component after component.
    Raw,
}

/// Writes a picture to a regular file. Creates or replaces the file.
///
/// # Errors
/// Fails with a message: the file cannot be written, or the path is a device, pipe or directory.
pub fn save(frame: &Frame, path: &Path, format: FileFormat) -> Result<(), Failure> {
    let cannot = |e: &dyn std::fmt::Display| {
        Failure::new(format!(
            "cannot write {}: {e}; choose another file",
            path.display()
        ))
    };
    // Without NONBLOCK, opening a pipe would wait.
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o666)).map_err(|e| cannot(&e))?;
    let mut file = File::from(file);
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(cannot(&"it is not a regular file"));
    }
    file.set_len(0).map_err(|e| cannot(&e))?;
    match format {
        FileFormat::Png => write_png(file, frame.size(), &frame.to_rgb()).map_err(|e| cannot(&e)),
        FileFormat::Raw => file.write_all(frame.bytes()).map_err(|e| cannot(&e)),
    }
}
