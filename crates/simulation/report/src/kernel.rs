//! `vb3 why --kernel`: explains the refusals that the kernel module `vb2-why` has recorded.

use anyhow::{Context as _, Error, Result, anyhow};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write};
use std::path::Path;

#[cfg(test)]
mod tests;

/// Where debugfs is mounted.
pub const DEBUGFS: &str = "/sys/kernel/debug";

/// Maximum number of bytes to read: the module keeps 256 refusals and 256 buffers.
const MAX_BYTES: u64 = 1 << 20;

/// Prints the module's file `why` below `debugfs`: refusals in sentences, oldest first, and buffers with their holders.
///
/// # Errors
/// The module is not loaded, its file cannot be read, or output fails. The message says what to do.
pub fn print(debugfs: &Path, out: &mut dyn Write) -> Result<()> {
    let path = debugfs.join("vb2-why/why");
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|e| unreadable(e, debugfs, &path))
        .context("the kernel's refusals are unavailable")?;
    // A program chooses its own name, which could contain control characters.
    let text = String::from_utf8_lossy(&bytes);
    let text = text.replace(|c: char| c.is_control() && c != '\n', "?");
    Ok(write!(out, "{text}")?)
}

/// Says what to do about a file that cannot be read.
fn unreadable(error: io::Error, debugfs: &Path, path: &Path) -> Error {
    let is_empty = || debugfs.read_dir().is_ok_and(|mut all| all.next().is_none());
    match error.kind() {
        ErrorKind::PermissionDenied => anyhow!(
            "only root may read {}: run `sudo vb3 why --kernel`",
            path.display()
        ),
        ErrorKind::NotFound if !debugfs.exists() => anyhow!(
            "there is no {}: this kernel has no debugfs (CONFIG_DEBUG_FS)",
            debugfs.display()
        ),
        ErrorKind::NotFound if is_empty() => anyhow!(
            "debugfs is not mounted: run `sudo mount -t debugfs debugfs {}`",
            debugfs.display()
        ),
        ErrorKind::NotFound => anyhow!(
            "the kernel module vb2-why is not loaded: build it (kernel/vb2-why/README.md), \
             and run `sudo insmod vb2-why.ko`"
        ),
        _ => anyhow!(error).context(format!("cannot read {}", path.display())),
    }
}
