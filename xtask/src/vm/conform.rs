//! Conformance: compares an implementation's answer to each call with stock Linux's.

use crate::setup;
use crate::sh::{self, cmd};
use anyhow::{Result, bail};
use fs_err as fs;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct Expected {
    stock: BTreeMap<String, String>,
    differing: BTreeMap<(String, String), String>,
}

impl Expected {
    /// Expects the same answers of every implementation.
    pub(crate) fn of(stock: BTreeMap<String, String>) -> Self {
        let differing = BTreeMap::new();
        Self { stock, differing }
    }

    /// Reads kernel/conformance/expected and kernel/conformance/differences.
    pub(crate) fn read() -> Result<Self> {
        let read =
            |name: &str| fs::read_to_string(sh::root().join("kernel/conformance").join(name));
        Self::parse(&read("expected")?, &read("differences")?)
    }

    fn parse(expected: &str, differences: &str) -> Result<Self> {
        let mut all = Self::of(results(expected));
        for line in differences.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let [home, name, value, _reason, ..] = &words[..] else {
                bail!("a difference is HOME NAME VALUE REASON, not: {line}");
            };
            let key = (home.clone(), name.clone());
            all.differing.insert(key, value.clone());
        }
        Ok(all)
    }

    /// Selects an architecture. Its stock kernels may give other answers if `differences` lists them.
    pub(crate) fn on(mut self, arch: &str) -> Self {
        for ((home, name), value) in &self.differing {
            if home == arch {
                self.stock.insert(name.clone(), value.clone());
            }
        }
        self
    }

    /// Returns how the answers `seen` deviate from the expected ones. `home` names what gave them: `stock` (the
    /// kernel's own C modules), `kernel` (our module in Rust) or `process` (simulated devices under `vb3 run`).
    pub(crate) fn faults(&self, home: &str, seen: &BTreeMap<String, String>) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, stock) in &self.stock {
            let listed = self.differing.get(&(home.to_owned(), name.clone()));
            let wanted = listed.unwrap_or(stock);
            match seen.get(name) {
                Some(value) if value == wanted => {}
                Some(value) => faults.push(format!("{home}: {name} gave {value}, not {wanted}")),
                None => faults.push(format!("{home}: {name} was not reached")),
            }
        }
        let unknown = seen.keys().filter(|name| !self.stock.contains_key(*name));
        faults.extend(unknown.map(|name| format!("{home}: no answer is expected for {name}")));
        faults
    }
}

/// Parses lines of the form `NAME VALUE`.
fn results(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim().split_once(' '));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.collect()
}

/// Returns the conformance results of one module among the steps of a scenario.
pub(crate) fn of_module(steps: &[Value], module: &str) -> BTreeMap<String, String> {
    let prefix = format!("{module}.conform.");
    let named = |step: &Value| {
        let name = step["step"].as_str()?.strip_prefix(&prefix)?.to_owned();
        Some((name, step["result"].as_str()?.to_owned()))
    };
    let all = steps.iter().filter_map(named);
    all.filter(|(name, _)| name != "exit").collect()
}

/// A camera that has read(), which webcams lack.
const CAMERA: &[&str] = &["--device=camera=,identity=plain", "--device=display"];

/// Programs, each with the devices that it runs on, and its arguments.
const RUNS: &[(&str, &[&str], &[&str])] = &[
    ("conform", CAMERA, &["/dev/video0"]),
    ("waits", CAMERA, &["/dev/video0"]),
    (
        "kinds",
        &["--device=camera=,size=1280x720", "--device=display"],
        &["output", "/dev/video1", "/dev/video0"],
    ),
    (
        "kinds",
        &["--device=camera=,userptr=on"],
        &["userptr", "/dev/video0"],
    ),
];

/// Compares the answers to calls under `vb3 run`.
pub(crate) fn run() -> Result<()> {
    setup::install(setup::ALL)?;
    let expected = Expected::read()?;
    let (vb3, source) = (sh::release_vb3()?, sh::root().join("kernel/conformance"));
    let mut seen = BTreeMap::new();
    for &(program, devices, words) in RUNS {
        let built = sh::target().join(program);
        sh::quietly(cmd!(
            "gcc -O2 -static -Wall -Wextra -Werror -o {built} {source}/{program}.c"
        ))?;
        let out = sh::text(cmd!("{vb3} run {devices...} -- {built} {words...}"))?;
        seen.extend(results(&out));
    }
    sh::expect_none("conformance", &expected.faults("process", &seen))?;
    println!(
        "conformance: {} calls as on stock Linux, or as listed",
        seen.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Expected, results};

    #[test]
    fn an_architecture_may_differ_in_what_is_listed() {
        let expected = Expected::parse("a 0\nb 0\n", "arm64 b EINVAL its lines are longer\n")
            .expect("the lines are well formed");
        assert_eq!(
            expected.faults("stock", &results("a 0\nb EINVAL\n")).len(),
            1
        );
        let there = expected.on("arm64");
        for home in ["stock", "kernel"] {
            assert!(there.faults(home, &results("a 0\nb EINVAL\n")).is_empty());
            assert_eq!(there.faults(home, &results("a 0\nb 0\n")).len(), 1);
        }
    }

    #[test]
    fn only_listed_differences_pass() {
        let expected = Expected::parse("a 0\nb EINVAL\n", "kernel b EBUSY it is ours\n")
            .expect("the lines are well formed");
        assert!(
            expected
                .faults("stock", &results("a 0\nb EINVAL\n"))
                .is_empty()
        );
        assert!(
            expected
                .faults("kernel", &results("a 0\nb EBUSY\n"))
                .is_empty()
        );
        assert_eq!(
            expected.faults("kernel", &results("a 0\nb EINVAL\n")).len(),
            1
        );
        assert_eq!(expected.faults("stock", &results("a 0\n")).len(), 1);
        assert_eq!(
            expected
                .faults("stock", &results("a 0\nb EINVAL\nc 0\n"))
                .len(),
            1
        );
    }

    #[test]
    fn the_two_modules_must_give_the_same() {
        let stock = results("a 0\nb EINVAL\n");
        let expected = Expected::of(stock.clone());
        assert!(expected.faults("kernel", &stock).is_empty());
        let other = expected.faults("kernel", &results("a 0\nb 0\nc 0\n"));
        let wanted = [
            "kernel: b gave 0, not EINVAL",
            "kernel: no answer is expected for c",
        ];
        assert_eq!(other, wanted);
    }

    #[test]
    fn a_difference_needs_its_reason() {
        assert!(Expected::parse("a 0\n", "kernel a EINVAL\n").is_err());
    }
}
