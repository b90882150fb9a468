//! Rooms of a large crate: directories of modules, each with one front door, in a fixed order.
//!
//! A room is a directory below `src`, and its front door is `mod.rs`. A file may import only from rooms below
//! its own. It may import only what the front door of another room exports: `crate::room::Name`, never
//! `crate::room::module::Name`.

use std::collections::BTreeSet;
use std::path::Path;

use super::circles;

/// The crate that has rooms.
pub(super) const PACKAGE: &str = "vb3-intercept";

/// Rooms and single files of the crate, lowest first.
const ORDER: [&str; 12] = [
    "error",
    "kernel",
    "note",
    "program",
    "descriptors",
    "memory",
    "process",
    "tree",
    "waiting",
    "service",
    "run",
    "lib",
];

/// Those entries of `ORDER` that are directories.
const ROOMS: [&str; 7] = [
    "kernel",
    "descriptors",
    "memory",
    "process",
    "tree",
    "waiting",
    "service",
];

/// Maximum number of rooms that import from another room, each pair counted once.
const MAX_IMPORTS: usize = 20;

/// Returns faults of the crate's files, which are given by their paths below `src` and their texts.
pub(super) fn faults(files: &[(&Path, &str)]) -> Vec<String> {
    let modules: BTreeSet<String> = ORDER.map(str::to_owned).into();
    let rank = |name: &str| ORDER.iter().position(|known| *known == name);
    let (mut faults, mut pairs) = (Vec::new(), BTreeSet::new());
    for (path, text) in files {
        let shown = path.display();
        let own = match path.iter().next().and_then(|first| first.to_str()) {
            Some(first) => first.trim_end_matches(".rs").to_owned(),
            None => continue,
        };
        let Some(own_rank) = rank(&own) else {
            faults.push(format!("{PACKAGE}: {shown} lies in no room"));
            continue;
        };
        let mut imports = circles::Imports::new();
        circles::add(&mut imports, &modules, &circles::Exports::new(), &own, text);
        for other in imports.into_values().flatten() {
            if rank(&other) > Some(own_rank) {
                faults.push(format!("{PACKAGE}: {shown} imports upwards, from {other}"));
            }
            if ROOMS.contains(&own.as_str()) && ROOMS.contains(&other.as_str()) {
                pairs.insert((own.clone(), other));
            }
        }
        for (room, module) in circles::behind_doors(text) {
            if room != own && ROOMS.contains(&room.as_str()) {
                faults.push(format!(
                    "{PACKAGE}: {shown} imports {module} of {room} past its front door"
                ));
            }
        }
    }
    if pairs.len() > MAX_IMPORTS {
        faults.push(format!(
            "{PACKAGE}: {} pairs of rooms import from each other; the limit is {MAX_IMPORTS}",
            pairs.len()
        ));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(path: &str, text: &str) -> Vec<String> {
        faults(&[(Path::new(path), text)])
    }

    #[test]
    fn rooms_import_downwards_and_by_the_front_door() {
        let good = "use crate::kernel::{lock, raw};\nuse crate::memory::copies::CopyMethod;\n";
        assert_eq!(faults_of("memory/pins.rs", good), Vec::<String>::new());
        let [up] = &faults_of("memory/pins.rs", "use crate::service::Call;\n")[..] else {
            panic!("one fault");
        };
        assert!(up.contains("upwards, from service"), "{up}");
        let behind = "use crate::kernel::lock::lock;\n";
        let [behind] = &faults_of("memory/pins.rs", behind)[..] else {
            panic!("one fault");
        };
        assert!(behind.contains("lock of kernel past"), "{behind}");
        let [stray] = &faults_of("cellar/wine.rs", "")[..] else {
            panic!("one fault");
        };
        assert!(stray.contains("no room"), "{stray}");
    }
}
