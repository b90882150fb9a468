//! The system packages that tasks need, installed by apt.

use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::process::Stdio;

const PACKAGES: &str = include_str!("packages.toml");

/// The groups that demo and tests need.
pub(crate) const ALL: &[&str] = &["demo", "tests"];

/// Returns the packages of these groups and of these names, each with its purpose.
fn packages(wanted: &[&str]) -> Result<BTreeMap<String, String>> {
    let known = toml::from_str(PACKAGES).context("packages.toml")?;
    let known: BTreeMap<String, Vec<(String, String)>> = known;
    // Several groups may have the same package.
    let mut found = BTreeMap::new();
    for word in wanted {
        let some = known.iter().flat_map(|(group, packages)| {
            let is_wanted = move |name: &String| group == word || name == word;
            packages.iter().filter(move |(name, _)| is_wanted(name))
        });
        let some: Vec<_> = some.cloned().collect();
        ensure!(!some.is_empty(), "packages.toml has no {word}");
        found.extend(some);
    }
    Ok(found)
}

/// Installs the missing packages of these groups and of these names. Prints their names and purposes.
pub(crate) fn install(wanted: &[&str]) -> Result<()> {
    let mut missing = packages(wanted)?;
    missing.retain(|name, _| !is_installed(name));
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.keys().map(|name| name.as_str()).collect();
    let list = names.join(" ");
    eprintln!("These packages are missing:");
    for (name, why) in &missing {
        eprintln!("  {name:<26} {why}");
    }
    ensure!(
        sh::has("apt-get"),
        "this system has no apt-get; install the equivalents of: {list}"
    );
    let root = rustix::process::geteuid().is_root();
    ensure!(
        root || sh::has("sudo"),
        "installing needs root, and there is no sudo; as root, run: apt-get install {list}"
    );
    if !root {
        eprintln!("Installing them through sudo, which may ask for your password.");
    }
    let sudo = if root { "env" } else { "sudo" };
    let update = cmd!("{sudo} DEBIAN_FRONTEND=noninteractive apt-get -q -y update");
    let install = cmd!(
        "{sudo} DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends {names...}"
    );
    for mut command in [update, install] {
        sh::run(command.stdout(Stdio::null()))?;
    }
    Ok(())
}

fn is_installed(name: &str) -> bool {
    let state = sh::text(cmd!("dpkg-query -W '-f=${db:Status-Status}' {name}"));
    state.is_ok_and(|state| state == "installed")
}
