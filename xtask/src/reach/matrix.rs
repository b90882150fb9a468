//! The table of what works: containers in rows, ways to use a device in columns.

use super::{machine, profile};
use crate::sh::{self, cmd};
use crate::{docs, guest, table};
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// Longest time for one cell, in seconds.
const LIMIT: &str = "120";

/// A Python script that waits for a camera in each of the ways in which programs wait.
pub(super) const WAITS: &str = include_str!("waits.py");

/// A script that starts a Docker engine, and a container in it.
const DOCKER: &str = include_str!("docker.sh");

/// The default search path, without a user's additions.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// The uses and containers, as `places.toml` lists and explains them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) r#use: Vec<Use>,
    container: Vec<Place>,
    parts: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Use {
    pub(super) name: String,
    pub(super) command: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    name: String,
    /// Programs that must be installed to try this place.
    needs: Vec<String>,
    script: String,
    /// Whether some uses need not work in this place.
    #[serde(skip)]
    incomplete: bool,
}

impl Table {
    /// Reads the table, fills the parts in, and adds a place for each profile.
    pub(super) fn read() -> Result<Self> {
        let table = toml::from_str(include_str!("places.toml"));
        let mut table: Self = table.context("places.toml")?;
        for place in &mut table.container {
            for (name, text) in &table.parts {
                place.script = place.script.replace(&format!("@{name}@"), text);
            }
        }
        let profiles = profile::ALL.iter().map(|profile| Place {
            name: format!("profile {}", profile.name),
            needs: Vec::new(),
            script: format!("exec \"$XTASK\" reach --profile {} -- \"$@\"", profile.name),
            incomplete: !profile.complete,
        });
        table.container.extend(profiles);
        Ok(table)
    }
}

/// Tries all uses and makes the table.
///
/// # Errors
/// `vb3` cannot be built, or a use fails without a container or under a profile that is `complete`. Other
/// failures are results, not errors.
pub(crate) fn run(only: &[String], save: &docs::Save) -> Result<()> {
    let (table, mut lost) = (Table::read()?, Vec::new());
    let mut header = table::row(["where"]);
    header.extend(table.r#use.iter().map(|one| one.name.clone()));
    save.table("reach", || {
        let rows = rows(table, only, &mut lost)?;
        let is_known = !rows.is_empty();
        ensure!(is_known, "no such place is available here");
        Ok((header, rows))
    })?;
    let names = lost.join("; ");
    ensure!(
        lost.is_empty(),
        "must work, but failed or could not be tried: {names}"
    );
    Ok(())
}

/// Tries every use in each place. Adds to `lost` the uses that fail although they must work, and the places of
/// `only` that are unavailable.
fn rows(table: Table, only: &[String], lost: &mut Vec<String>) -> Result<Vec<Vec<String>>> {
    let (uses, mut places, mut rows) = (table.r#use, table.container, Vec::new());
    let names = places.iter().map(|place| place.name.as_str());
    let names = names.chain(guest::ALL.iter().map(|kind| kind.name));
    let names: Vec<String> = names.map(str::to_owned).collect();
    super::expect_matches(&names, only)?;
    let mut left_out = Vec::new();
    let mut leave_out = |name: &str, why: &dyn Display| {
        let line = format!("{name} is left out: {why:#}");
        eprintln!("reach: {line}");
        left_out.push(line);
    };
    let mut add = |name: String, complete: bool, works: Vec<bool>| {
        let failed = works.iter().zip(&uses);
        let failed = failed.filter(|(works, _)| complete && !**works);
        lost.extend(failed.map(|(_, one)| format!("{name}: {}", one.name)));
        let verdicts = works.iter().map(|&works| verdict(works).to_owned());
        rows.push(std::iter::once(name).chain(verdicts).collect());
    };
    places.retain(|place| is_wanted(&place.name, only, &names));
    places.retain(|place| {
        let missing = place.missing();
        if let Some(program) = missing {
            leave_out(&place.name, &format!("{program} is not installed"));
        }
        missing.is_none()
    });
    if !places.is_empty() {
        let vb3 = sh::release_vb3()?;
        for place in places {
            let works = place.uses(&vb3, &uses)?;
            add(place.name, !place.incomplete, works);
        }
    }
    let mut kinds = guest::ALL.to_vec();
    kinds.retain(|kind| is_wanted(kind.name, only, &names));
    for kind in kinds {
        match guest::Guest::get(kind) {
            Ok(guest) if kind.refused => {
                add(machine::refusal(&guest)?, false, vec![false; uses.len()]);
            }
            Ok(guest) => {
                let (name, works) = machine::tried(&guest, &uses)?;
                add(name, true, works);
            }
            Err(why) => leave_out(kind.name, &why),
        }
    }
    if !only.is_empty() {
        lost.extend(left_out);
    }
    Ok(rows)
}

fn verdict(works: bool) -> &'static str {
    if works { "ok" } else { "lost" }
}

/// Returns whether `only` selects a place. A word of `only` selects the place of this name; if no place has this
/// name, the word selects all places whose names contain it. Without words, all places are selected.
fn is_wanted(name: &str, only: &[String], names: &[String]) -> bool {
    let asks =
        |word: &String| name == word || !names.contains(word) && name.contains(word.as_str());
    only.is_empty() || only.iter().any(asks)
}

impl Place {
    /// Returns a needed program that is not installed, if any.
    fn missing(&self) -> Option<&String> {
        let is_in = |dir: &str, name: &String| Path::new(dir).join(name).is_file();
        let mut needs = self.needs.iter();
        needs.find(|name| !PATH.split(':').any(|dir| is_in(dir, name)))
    }

    fn uses(&self, vb3: &Path, uses: &[Use]) -> Result<Vec<bool>> {
        let works = |one: &Use| {
            let began = Instant::now();
            let failure = self.run(vb3, &one.command)?;
            let (time, works) = (began.elapsed().as_secs_f32(), failure.is_none());
            let said = failure.unwrap_or_default();
            let (place, name, verdict) = (&self.name, &one.name, verdict(works));
            eprintln!("reach: {place}: {name}: {verdict} ({time:.1} s) {said}");
            Ok(works)
        };
        uses.iter().map(works).collect()
    }

    /// Runs a command in this place, under `vb3 run`. Returns the end of the output if the command fails.
    fn run(&self, vb3: &Path, command: &str) -> Result<Option<String>> {
        let script = &self.script;
        let mut child = cmd!(
            "timeout -k 5 {LIMIT} sh -c {script} sh {vb3} run -d camera=pattern -d display=null -- sh -c {command}"
        );
        child.envs([("WAITS", WAITS), ("DOCKER", DOCKER), ("PATH", PATH)]);
        child.env("BIN", vb3.parent().context("vb3 lies in a directory")?);
        child.env("XTASK", std::env::current_exe()?);
        let out = child.stdin(Stdio::null()).output();
        let out = out.context("timeout does not start")?;
        if out.status.success() {
            return Ok(None);
        }
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let lines: Vec<&str> = lines.collect();
        let tail = &lines[lines.len().saturating_sub(3)..];
        Ok(Some(format!("{}: {}", out.status, tail.join(" | "))))
    }
}
