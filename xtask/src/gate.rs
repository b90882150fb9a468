//! `cargo xtask gate`: what must pass before a change lands; at most an hour on two processors.
//! `cargo xtask nightly`: what takes longer, or needs what may change from day to day.

use crate::sh::{self, cmd};
use crate::{bindings, dist, seeds, setup, table};
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use std::collections::HashMap;
use std::process::Command;
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these steps, by name; a wrong name lists all
    only: Vec<String>,
}

/// The steps, as `gate.toml` lists and explains them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    targets: Vec<String>,
    gate: Vec<Step>,
    nightly: Vec<Step>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Step {
    name: String,
    run: Vec<String>,
    dir: String,
    env: HashMap<String, String>,
    installs: Option<String>,
    codes: Vec<i32>,
    seconds: u64,
}

/// A step that is a function.
type Function = (&'static str, fn() -> Result<()>);

const FUNCTIONS: [Function; 4] = [
    ("tools", tools),
    ("bindings", bindings::run),
    ("planted errors", seeds::planted),
    ("installation", dist::try_source),
];

/// The oldest supported compiler.
const FLOOR: &str = "1.85";

impl Steps {
    fn read() -> Result<Self> {
        toml::from_str(include_str!("gate.toml")).context("gate.toml")
    }
}

impl Step {
    fn take(&self) -> Result<()> {
        if let Some((_, function)) = FUNCTIONS.iter().find(|(name, _)| *name == self.name) {
            return function();
        }
        if let Some(tool) = &self.installs {
            sh::cargo_tool(tool)?;
        }
        let start = Instant::now();
        loop {
            for line in &self.run {
                self.run(line)?;
            }
            if start.elapsed().as_secs() >= self.seconds {
                return Ok(());
            }
        }
    }

    fn run(&self, line: &str) -> Result<()> {
        let target = sh::target().to_string_lossy().into_owned();
        let line = &line.replace("{target}", &target);
        let mut words = line.split(' ');
        let mut command = match words.next() {
            Some("xtask") => Command::new(std::env::current_exe()?),
            program => Command::new(program.unwrap_or_default()),
        };
        for (name, value) in &self.env {
            command.env(name, value.replace("{target}", &target));
        }
        command.args(words).current_dir(sh::root().join(&self.dir));
        eprintln!("+ {line}");
        let status = command.status().context("it does not start")?;
        let is_good = match self.codes.as_slice() {
            [] => status.success(),
            codes => status.code().is_some_and(|code| codes.contains(&code)),
        };
        ensure!(is_good, "{line} failed: {status}");
        Ok(())
    }
}

pub(crate) fn gate(args: &Args) -> Result<()> {
    run("gate", &Steps::read()?.gate, &args.only, false)
}

pub(crate) fn nightly(args: &Args) -> Result<()> {
    run("nightly", &Steps::read()?.nightly, &args.only, true)
}

/// Runs steps, and prints a table of their times. Stops at the first step that fails, unless `goes_on` is set.
fn run(what: &str, all: &[Step], only: &[String], goes_on: bool) -> Result<()> {
    let names: Vec<&str> = all.iter().map(|step| &*step.name).collect();
    let unknown = only.iter().find(|name| !names.contains(&name.as_str()));
    ensure!(
        unknown.is_none(),
        "{what} has the steps: {}",
        names.join(", ")
    );
    let start = Instant::now();
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for step in all {
        let name = &step.name;
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("\n==> [{:4} s] {name}", start.elapsed().as_secs());
        let began = Instant::now();
        let result = step.take();
        let verdict = if result.is_ok() { "passed" } else { "FAILED" };
        let seconds = began.elapsed().as_secs().to_string();
        rows.push(table::row([name, &seconds, verdict]));
        if let Err(e) = result {
            eprintln!("xtask: {name}: {e:#}");
            failed.push(name.as_str());
            if !goes_on {
                break;
            }
        }
    }
    rows.push(table::row([
        "together",
        &start.elapsed().as_secs().to_string(),
        "",
    ]));
    println!("\n{}", table::format(&["step", "seconds", ""], &rows));
    ensure!(failed.is_empty(), "{what} failed: {}", failed.join(", "));
    println!("{what}: everything passed");
    Ok(())
}

/// Installs what the other steps need.
fn tools() -> Result<()> {
    setup::install(&["demo", "tests", "browsers", "x86-64", "arm64", "gate"])?;
    let (floor, targets) = (FLOOR, Steps::read()?.targets);
    sh::run(cmd!("rustup target add {targets...}"))?;
    if sh::quietly(cmd!("cargo +{floor} --version")).is_err() {
        sh::run(cmd!("rustup toolchain install {floor} --profile minimal"))?;
    }
    sh::cargo_tool("cargo-nextest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_commands_or_a_function() {
        let Steps { gate, nightly, .. } = Steps::read().unwrap();
        for Step { name, run, .. } in gate.iter().chain(&nightly) {
            let is_function = FUNCTIONS.iter().any(|(known, _)| known == name);
            assert_ne!(is_function, !run.is_empty(), "{name}");
        }
        let jobs = include_str!("../../.github/workflows/nightly.yml");
        let jobs = jobs
            .lines()
            .filter_map(|line| line.strip_prefix("          - "));
        for job in jobs {
            assert!(nightly.iter().any(|step| step.name == job), "{job}");
        }
    }
}
