//! Rooms of a large crate: directories of modules, each with one front door, in a fixed order.
//!
//! A room is a directory below `src`, and its front door is `mod.rs`. A file may import from rooms that stand
//! before its own in the order, and only items that their front doors export: `crate::room::Name`, never
//! `crate::room::module::Name`. In the order, `*` stands for all rooms that it does not name.

use super::{Source, circles};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    order: Vec<String>,
    directories: Vec<String>,
    max_imports: usize,
    /// Modules that only some others may import.
    #[serde(default)]
    only: Vec<Only>,
}

/// A module, and those that may import it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Only {
    room: String,
    importers: Vec<String>,
}

impl Rules {
    pub(super) fn faults(
        &self,
        package: &str,
        files: &[Source<'_>],
        imports: &circles::Imports,
    ) -> Vec<String> {
        let place = |name: &str| self.order.iter().position(|known| known == name);
        let rank = |name: &str| place(name).or_else(|| place("*"));
        let is_directory = |name: &str| self.directories.iter().any(|room| room == name);
        let (mut faults, mut pairs) = (Vec::new(), BTreeSet::new());
        for (file, imported) in imports {
            let own = Some(circles::module_of(file)).filter(|own| !own.is_empty());
            let own = own.unwrap_or("lib");
            let Some(own_rank) = rank(own) else {
                faults.push(format!("{package}: {file} lies in no room"));
                continue;
            };
            let named: BTreeSet<&str> = imported.iter().map(|to| circles::module_of(to)).collect();
            for other in named.into_iter().filter(|other| *other != own) {
                if rank(other) > Some(own_rank) {
                    faults.push(format!("{package}: {file} imports upwards, from {other}"));
                }
                let is_closed = |only: &&Only| {
                    only.room == other && !only.importers.iter().any(|may| may == own)
                };
                if let Some(only) = self.only.iter().find(is_closed) {
                    let may = only.importers.join(", ");
                    faults.push(format!("{package}: {file} imports {other}; only {may} may"));
                }
                if [own, other].iter().all(|name| is_directory(name)) {
                    pairs.insert((own, other));
                }
            }
        }
        for Source { below, text, .. } in files {
            for (room, module) in circles::behind_doors(text) {
                if !below.starts_with(&room) && is_directory(&room) {
                    faults.push(format!(
                        "{package}: {} imports {module} of {room} past its front door",
                        below.display()
                    ));
                }
            }
        }
        let (found, most) = (pairs.len(), self.max_imports);
        if found > most {
            faults.push(format!(
                "{package}: {found} pairs of rooms import from each other; the limit is {most}"
            ));
        }
        faults
    }
}
