//! Machines and devices from a board's device tree.

use anyhow::{Context as _, Result, anyhow, bail};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use vb3_board::{Board, MAX_BYTES};
use vb3_machine::Profile;

/// Reads a flattened device tree.
///
/// # Errors
/// A sentence: the file cannot be read, is no device tree, or is one's source.
pub fn read(path: &Path) -> Result<Board> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let meta = file
        .metadata()
        .with_context(|| format!("cannot read {name}"))?;
    if !meta.is_file() {
        bail!("{name} is no regular file; a board is given by its device tree, a .dtb file");
    }
    let mut dtb = Vec::new();
    // One byte more than is taken tells that there are too many.
    file.take(u64::try_from(MAX_BYTES)?.saturating_add(1))
        .read_to_end(&mut dtb)
        .with_context(|| format!("cannot read {name}"))?;
    if dtb.windows(8).take(4096).any(|bytes| bytes == b"/dts-v1/") {
        bail!("{name} is a device tree's source; `dtc -O dtb -o board.dtb {name}` compiles it");
    }
    Board::read(&dtb).map_err(|e| anyhow!("{name}: {e}"))
}

/// The profile of a board's machine.
///
/// # Errors
/// A sentence: what [`read`] says, or memory that no machine can have.
pub fn profile(board: &Board, ram: Option<u64>) -> Result<(String, Profile)> {
    let text = board.profile(ram);
    let profile = Profile::parse(&text)
        .map_err(|e| anyhow!("{}: the profile of this board: {e}", board.name()))?;
    Ok((text, profile))
}

/// Whether a board's profile names devices of its own.
///
/// # Errors
/// A sentence: it names none, and what its device tree has instead.
pub fn has_devices(board: &Board) -> Result<()> {
    if board.specs().is_empty() {
        let told: Vec<&str> = board.not_taken.iter().map(String::as_str).collect();
        bail!(
            "{}: its device tree has no enabled video device with a known driver; name devices by \
             --device. {}",
            board.name(),
            told.join("; ")
        );
    }
    Ok(())
}
