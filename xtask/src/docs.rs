//! Fills the generated blocks of pages, and checks links, for `cargo xtask tidy`.
//!
//! A block stands between `<!-- generated: NAME -->` and `<!-- end -->`, each on its own line. It is a
//! table of docs/data or, in the block `compatibility`, lists of programs.

mod data;

pub(crate) use data::Save;

use crate::{sh, tidy};
use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::path::Path;

const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

/// The list of programs that tests run, as a path below the root.
const CLIENTS: &str = "crates/front/vb3/tests/e2e/clients.toml";
/// Longest command that the lists of programs show, in characters.
const MAX_COMMAND: usize = 80;
/// Kinds of comparison: a field of a client's row, and the heading of the clients that have it. If a client
/// has several of these fields, the first one counts.
const COMPARED: [(&str, &str); 5] = [
    ("frames", "Every byte of each frame"),
    (
        "same",
        "Every byte of each decoded picture, against ffmpeg's own decoder",
    ),
    ("window", "A picture in a window, within a tolerance"),
    ("pictures", "Pictures, within a tolerance"),
    (
        "prints",
        "Printed texts (v4l2-compliance: no failure or warning)",
    ),
];

/// Returns stale blocks and dead links of all pages; with `write`, fills the blocks first.
pub(crate) fn faults(write: bool) -> Result<Vec<String>> {
    let root = sh::root();
    let blocks = blocks(&root)?;
    let mut faults = Vec::new();
    for path in tidy::files(&root, "md")? {
        let page = tidy::shown(&path);
        let old = fs::read_to_string(&path)?;
        let new = filled(&page, &old, &blocks)?;
        if write && new != old {
            fs::write(&path, &new)?;
        } else if new != old {
            faults.push(format!("{page} is stale; run `cargo xtask tidy --write`"));
        }
        faults.extend(dead_links(&path, &new).map(|fault| format!("{page}: {fault}")));
    }
    Ok(faults)
}

fn blocks(root: &Path) -> Result<BTreeMap<String, String>> {
    let clients: Clients = read(&root.join(CLIENTS))?;
    let mut blocks = BTreeMap::from([("compatibility".to_owned(), clients.markdown())]);
    for path in tidy::files(&root.join(data::DIR), "toml")? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let table = data::Measured::read(&path)?.markdown();
        blocks.insert(name.replace('-', " "), table);
    }
    Ok(blocks)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    toml::from_str(&fs::read_to_string(path)?).with_context(|| tidy::shown(path))
}

#[derive(Deserialize)]
struct Clients {
    client: Vec<Client>,
}

#[derive(Deserialize)]
struct Client {
    name: String,
    command: String,
    limit: Option<String>,
    #[serde(flatten)]
    others: toml::Table,
}

impl Client {
    fn compared(&self) -> Option<&'static str> {
        let mut all = COMPARED.iter();
        let found = all.find(|(field, _)| self.others.contains_key(*field));
        found.map(|(_, heading)| *heading)
    }

    /// Returns the command as an item of a list, if it is short. The client's name comes first, unless the
    /// name begins with the command's program.
    fn item(&self) -> Option<String> {
        let Self { name, command, .. } = self;
        let is_short = command.chars().count() <= MAX_COMMAND;
        let is_named = command.split(' ').next() == name.split(' ').next();
        let item = match is_named {
            true => format!("- `{command}`\n"),
            false => format!("- {name}: `{command}`\n"),
        };
        is_short.then_some(item)
    }
}

impl Clients {
    /// Returns a list of the clients for each kind of comparison, and the limits of some.
    fn markdown(&self) -> String {
        let mut text = String::new();
        for (_, compared) in COMPARED {
            text += &format!("**{compared}:**\n\n");
            let all = self.client.iter();
            let all = all.filter(|client| client.compared() == Some(compared));
            let (short, long): (Vec<&Client>, Vec<_>) =
                all.partition(|client| client.item().is_some());
            text.extend(short.iter().filter_map(|client| client.item()));
            let names: Vec<&str> = long.iter().map(|client| &*client.name).collect();
            if !names.is_empty() {
                text += &format!("- longer commands: {}\n", names.join(", "));
            }
            text += "\n";
        }
        text += "Limits of the programs:\n\n";
        let mut limits = Vec::new();
        for limit in self
            .client
            .iter()
            .filter_map(|client| client.limit.as_ref())
        {
            if !limits.contains(&limit) {
                text += &format!("- {limit}\n");
                limits.push(limit);
            }
        }
        text.trim_end().to_owned()
    }
}

fn filled(page: &str, text: &str, blocks: &BTreeMap<String, String>) -> Result<String> {
    let mut new = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        new.extend([line, "\n"]);
        let name = line.strip_prefix(BEGIN);
        let Some(name) = name.and_then(|name| name.strip_suffix(" -->")) else {
            continue;
        };
        let Some(block) = blocks.get(name) else {
            let names: Vec<_> = blocks.keys().map(String::as_str).collect();
            let names = names.join(", ");
            bail!("{page}: there is no generated block {name:?}; there are: {names}");
        };
        let last = lines.find(|line| *line == END || line.starts_with(BEGIN));
        ensure!(last == Some(END), "{page}: block {name:?} lacks {END}");
        new.extend([block, "\n", END, "\n"]);
    }
    Ok(new)
}

/// Returns a message for each link of a page that leads nowhere.
fn dead_links(path: &Path, text: &str) -> impl Iterator<Item = String> {
    let links = text.split("](").skip(1);
    let links = links.filter_map(|rest| Some(rest.split_once(')')?.0));
    let links = links.filter(|link| !link.contains("://"));
    links.filter_map(move |link| {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = match file {
            "" => path.to_owned(),
            file => path.with_file_name("").join(file),
        };
        if !target.exists() {
            return Some(format!("{link} leads nowhere"));
        }
        let there = fs::read_to_string(target).unwrap_or_default();
        let mut headings = there.lines().filter(|line| line.starts_with('#'));
        let found = heading.is_empty() || headings.any(|line| anchor(line) == heading);
        (!found).then(|| format!("{link}: no such heading"))
    })
}

/// Returns the anchor that GitHub makes for a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let text = text.replace(' ', "-");
    let is_kept = |c: &char| c.is_alphanumeric() || "-_".contains(*c);
    text.chars().filter(is_kept).collect()
}
