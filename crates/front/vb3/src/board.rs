//! Reads machines and devices from a board's device tree.

use anyhow::{Context as _, Result, anyhow, bail};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use vb3_devicetree::{Board, MAX_BYTES};
use vb3_machine::Profile;

/// First bytes of a device-tree blob.
const MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];

/// Returns whether a file is a device tree, by its name or its first bytes.
pub(crate) fn is_tree(path: &Path) -> bool {
    let named = |end: &str| path.extension().is_some_and(|known| known == end);
    let begins = |path| {
        let mut first = [0; 4];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
        read.is_ok() && first == MAGIC
    };
    // Opens only regular files: opening a FIFO would wait for a writer.
    named("dtb") || named("dts") || (path.is_file() && begins(path))
}

/// Reads a board's device tree: a blob, or a source that `dtc` compiles.
///
/// # Errors
/// The file cannot be read, or is not a device tree.
pub fn read(path: &Path) -> Result<Board> {
    let name = path.display();
    // Checks the type first: opening a FIFO would wait for a writer.
    let meta = std::fs::metadata(path).with_context(|| format!("cannot read {name}"))?;
    if !meta.is_file() {
        bail!("{name} is not a regular file; a board is a device tree, a .dtb or .dts file");
    }
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut dtb = Vec::new();
    // Reads one byte beyond the limit, to detect larger files.
    file.take(u64::try_from(MAX_BYTES)?.saturating_add(1))
        .read_to_end(&mut dtb)
        .with_context(|| format!("cannot read {name}"))?;
    if vb3_devicetree::is_source(&dtb) {
        dtb = vb3_devicetree::compile(path).map_err(anyhow::Error::msg)?;
    }
    Board::read(&dtb).map_err(|e| anyhow!("{name}: {e}"))
}

/// Makes the profile of a board's machine.
///
/// # Errors
/// The profile is invalid, for example because of `ram`.
pub fn profile(board: &Board, ram: Option<u64>) -> Result<(String, Profile)> {
    let text = board.profile(ram);
    let profile = Profile::parse(&text)
        .map_err(|e| anyhow!("{}: the profile of this board: {e}", board.name()))?;
    Ok((text, profile))
}

/// Checks that a board has devices that can be simulated. `name` is the board as the user named it.
///
/// # Errors
/// The board has no such device. The message lists the video devices without a known driver.
pub fn has_devices(board: &Board, name: &str) -> Result<()> {
    if board.specs().is_empty() {
        let mut told = format!(
            "{name}: its device tree has no enabled video device with a known driver; add devices \
            with --device"
        );
        for device in &board.not_taken {
            told.push_str("; ");
            told.push_str(device);
        }
        bail!(told);
    }
    Ok(())
}
