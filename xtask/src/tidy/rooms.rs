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
    pub(super) fn faults(&self, package: &str, files: &[Source<'_>]) -> Vec<String> {
        let modules: BTreeSet<String> = self.order.iter().cloned().collect();
        let place = |name: &str| self.order.iter().position(|known| known == name);
        let rank = |name: &str| place(name).or_else(|| place("*"));
        let (mut faults, mut pairs) = (Vec::new(), BTreeSet::new());
        for Source { below, text, .. } in files {
            let shown = below.display();
            let Some(own) = below.iter().next().and_then(|first| first.to_str()) else {
                continue;
            };
            let own = own.trim_end_matches(".rs").to_owned();
            let Some(own_rank) = rank(&own) else {
                faults.push(format!("{package}: {shown} lies in no room"));
                continue;
            };
            let named = circles::named(text, &modules, &circles::Exports::new());
            for other in named.into_iter().filter(|other| *other != own) {
                if rank(&other) > Some(own_rank) {
                    faults.push(format!("{package}: {shown} imports upwards, from {other}"));
                }
                let is_closed = |only: &&Only| only.room == other && !only.importers.contains(&own);
                if let Some(only) = self.only.iter().find(is_closed) {
                    let may = only.importers.join(", ");
                    faults.push(format!(
                        "{package}: {shown} imports {other}; only {may} may"
                    ));
                }
                if self.directories.contains(&own) && self.directories.contains(&other) {
                    pairs.insert((own.clone(), other));
                }
            }
            for (room, module) in circles::behind_doors(text) {
                if room != own && self.directories.contains(&room) {
                    faults.push(format!(
                        "{package}: {shown} imports {module} of {room} past its front door"
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn faults_of(path: &str, text: &str) -> Vec<String> {
        let mut rooms = crate::tidy::RULES
            .layer
            .iter()
            .filter_map(|room| room.rooms.as_ref())
            .filter(|rules| rules.order.iter().any(|room| room == "kernel"));
        let path = Path::new(path);
        let source = Source {
            path,
            below: path,
            text,
        };
        rooms.next().unwrap().faults("p", &[source])
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
