//! Reads every device tree below a directory, such as those of a Debian kernel package. It counts the
//! trees that give a machine and lists why the others do not.
//!
//! `cargo run -p vb3-devicetree --example survey -- usr/lib/linux-image-*`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vb3_devicetree::Board;

fn trees(below: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        // Links are not followed, so each tree is counted once.
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let path = entry.path();
        if kind.is_dir() {
            trees(&path, out);
        } else if kind.is_file() && path.extension().is_some_and(|ext| ext == "dtb") {
            out.push(path);
        }
    }
}

/// Returns `None` for a tree that gives a machine with devices, else the reason.
fn judge(path: &Path) -> Option<String> {
    let dtb = match std::fs::read(path) {
        Ok(dtb) => dtb,
        Err(e) => return Some(format!("cannot be read: {e}")),
    };
    let board = match Board::read(&dtb) {
        Ok(board) => board,
        Err(e) => return Some(e.to_string()),
    };
    if let Err(e) = vb3_machine::Profile::parse(&board.profile(None)) {
        return Some(format!("its profile is refused: {e}"));
    }
    for spec in board.specs() {
        if let Err(e) = spec.parse::<vb3_devices::spec::DeviceSpec>() {
            return Some(format!("SPEC {spec} is refused: {e}"));
        }
    }
    if board.devices.is_empty() {
        return Some("no enabled video device with a known driver".to_owned());
    }
    let none = board.specs().is_empty();
    none.then(|| "video devices, none of which is simulated".to_owned())
}

fn main() {
    let mut paths = Vec::new();
    for below in std::env::args().skip(1) {
        trees(Path::new(&below), &mut paths);
    }
    let mut reasons: BTreeMap<String, (usize, PathBuf)> = BTreeMap::new();
    for path in &paths {
        let reason = judge(path).unwrap_or_else(|| "a machine with video devices".to_owned());
        reasons.entry(reason).or_insert((0, path.clone())).0 += 1;
    }
    println!("{:>6} device trees", paths.len());
    for (reason, (count, example)) in reasons {
        let name = example.file_name().unwrap_or_default().to_string_lossy();
        println!("{count:>6} {reason} (such as {name})");
    }
}
