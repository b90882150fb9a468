//! Writes the profiles of the shipped boards from the device trees below a directory, such as those of
//! Debian's `linux-image` packages for arm64 and armhf. With `--check`, it compares them with the
//! shipped profiles.
//!
//! `cargo run -p vb3-devicetree --example boards -- usr/lib/linux-image-*`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vb3_devicetree::{BOARDS, Board, Shipped};

fn find(below: &Path, tree: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let path = entry.path();
        let found = if path.is_dir() {
            find(&path, tree)
        } else {
            path.ends_with(tree).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn profile(board: &Shipped, below: &[PathBuf]) -> Result<String, String> {
    let path = below
        .iter()
        .find_map(|below| find(below, board.tree))
        .ok_or_else(|| format!("no {} below the given directories", board.tree))?;
    let dtb = std::fs::read(&path).map_err(|e| e.to_string())?;
    let read = Board::read(&dtb).map_err(|e| e.to_string())?;
    Ok(read.profile_as(board.name, board.ram, board.pages))
}

fn main() -> ExitCode {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let is_check = words.iter().any(|word| word == Path::new("--check"));
    let below: Vec<PathBuf> = words.into_iter().filter(|word| word.is_dir()).collect();
    let mut failed = false;
    for board in BOARDS {
        let said = match profile(board, &below) {
            Ok(text) if text == board.profile => "equal to the shipped profile".to_owned(),
            Ok(_) if is_check => "differs from the shipped profile".to_owned(),
            Ok(text) => {
                let to = format!("{}/boards/{}.toml", env!("CARGO_MANIFEST_DIR"), board.name);
                match std::fs::write(&to, text) {
                    Ok(()) => "written".to_owned(),
                    Err(e) => format!("{to}: {e}"),
                }
            }
            Err(sentence) => sentence,
        };
        failed |= !matches!(said.as_str(), "equal to the shipped profile" | "written");
        println!("{:<16} {said}", board.name);
    }
    ExitCode::from(u8::from(failed))
}
