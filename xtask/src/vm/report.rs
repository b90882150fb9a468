//! Evaluates the steps of a scenario.
//!
//! A step is `{"step": NAME, …}`. `"ok": false` is a fault. The prefix of NAME is the module:
//!
//! - `rust.`: our module. A step that counts tries (`total` and `succeeded`) must succeed at least as often
//!   as the `c.` step of the same name. `luck` is the number of tries that failed only by bad luck, such as
//!   because user memory happens not to be contiguous. These failures do not count. A step may not fail
//!   (`errno`) if the `c.` step succeeds, and may leave no `wrong` bytes or `dirty_pages`. If a step has
//!   `want`, its errno must equal `want`. If a step without `want` fails although the C module ran, there must
//!   be a `c.` step of the same name.
//! - `c.`: the C module. A step with the number of a known `defect` may fail. If both modules ran, ours must
//!   reach each step that succeeded in C.
//! - `patched.`: the C module with the patches of docs/upstream. The errno of a step must equal `want`.
//! - `vb3.`: `vb3 run`. Its steps count with those of our module.
//!
//! A step named `dmesg` is a message of the kernel about a fault.

use serde_json::Value;
use std::fmt;

fn name(step: &Value) -> &str {
    step["step"].as_str().unwrap_or("?")
}

pub(crate) fn line(step: &Value) -> String {
    let facts = step.as_object().into_iter().flatten();
    let facts = facts.filter(|(key, _)| *key != "step" && *key != "fails");
    let facts: Vec<String> = facts.map(|(key, value)| format!("{key} {value}")).collect();
    format!("{}: {}", name(step), facts.join(", "))
}

fn named<'a>(steps: &'a [Value], name: &str) -> Option<&'a Value> {
    steps.iter().find(|step| step["step"] == name)
}

/// Returns whether a step failed that must pass even if the C module's step fails: one that moves bytes, exposes
/// memory, or names the expected errno. Steps with `"ok": false` are reported elsewhere.
fn is_wrong(step: &Value) -> bool {
    let keys = ["want", "wrong", "dirty_pages"];
    let is_set = |key: &&str| step[*key].as_i64().is_some_and(|n| n >= 0);
    let must_pass = keys.iter().any(is_set);
    must_pass && passed(step) == Some(false) && step["ok"] != false
}

/// Returns whether a step failed, and does not say whether it should.
fn is_unjudged(step: &Value) -> bool {
    step["want"].is_null() && step["errno"].as_i64().is_some_and(|errno| errno != 0)
}

/// Returns the steps that only the C module reached, if both modules ran. Steps that failed are left out.
fn not_reached(steps: &[Value]) -> Vec<String> {
    if !steps.iter().any(|step| name(step).starts_with("rust.")) {
        return Vec::new();
    }
    let of_c = steps.iter().filter(|step| step["ok"] != false);
    of_c.filter_map(|step| name(step).strip_prefix("c."))
        .filter(|base| named(steps, &format!("rust.{base}")).is_none())
        .map(|base| format!("rust.{base} was not reached"))
        .collect()
}

pub(crate) fn faults(steps: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let has_c = steps.iter().any(|step| name(step).starts_with("c."));
    for step in steps {
        let name = name(step);
        let known = name.starts_with("c.") && step["defect"].is_u64();
        if step["ok"] == false && !known || name == "dmesg" {
            faults.push(line(step));
        }
        if name.starts_with("patched.") && is_wrong(step) {
            faults.push(line(step));
        }
        let Some(base) = name.strip_prefix("rust.") else {
            continue;
        };
        let with_c = named(steps, &format!("c.{base}"));
        let refused = with_c.is_some_and(|c| c["errno"] == 0) && step["errno"] != 0;
        if refused {
            faults.push(format!("{}, with the C module 0", line(step)));
        } else if is_wrong(step) || has_c && with_c.is_none() && is_unjudged(step) {
            faults.push(line(step));
        }
        let (Some(total), Some(good)) = (step["total"].as_u64(), step["succeeded"].as_u64()) else {
            continue;
        };
        if total == 0 {
            faults.push(format!("{name}: nothing was tested"));
        }
        let Some(c) = with_c else {
            continue;
        };
        let luck = step["luck"].as_u64().unwrap_or(0);
        let best = good.saturating_add(luck);
        if c["total"].as_u64() != Some(total) || c["succeeded"].as_u64() > Some(best) {
            faults.push(format!(
                "{name}: {good} of {total} succeeded, with the C module {} of {}; {}",
                c["succeeded"], c["total"], step["fails"]
            ));
        }
    }
    faults.extend(not_reached(steps));
    if named(steps, "end").is_none() {
        faults.push("the scenario did not end".to_owned());
    }
    faults
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Score {
    passed: usize,
    made: usize,
}

impl Score {
    pub(crate) fn add(&mut self, made: usize, failed: usize) {
        self.passed += made.saturating_sub(failed);
        self.made += made.max(failed);
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.passed += other.passed;
        self.made += other.made;
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.made == 0 {
            return f.pad("-");
        }
        f.pad(&format!("{}/{}", self.passed, self.made))
    }
}

/// Returns whether a step succeeded; `None` for a step that only informs.
fn passed(step: &Value) -> Option<bool> {
    let number = |key: &str| step[key].as_i64();
    let clean = ["wrong", "dirty_pages"]
        .iter()
        .all(|evil| number(evil).is_none_or(|count| count <= 0));
    let wanted = number("want").unwrap_or(0);
    match (number("errno"), step["ok"].as_bool()) {
        (Some(errno), ok) => Some(errno == wanted && clean && ok != Some(false)),
        (None, Some(ok)) => Some(ok && clean),
        (None, None) => number("dirty_pages").map(|_| clean),
    }
}

pub(crate) fn score(steps: &[Value], module: &str) -> Score {
    let mut score = Score::default();
    let own = steps.iter().filter(|step| {
        let rest = name(step).strip_prefix(module);
        rest.is_some_and(|rest| rest.starts_with('.'))
    });
    for step in own {
        let count = |key: &str| step[key].as_u64().and_then(|n| usize::try_from(n).ok());
        if let (Some(total), Some(good)) = (count("total"), count("succeeded")) {
            score.add(total, total.saturating_sub(good));
        } else if let Some(passed) = passed(step) {
            score.add(1, usize::from(!passed));
        }
    }
    score
}

#[cfg(test)]
mod tests {
    use super::faults;
    use serde_json::json;

    #[test]
    fn a_module_that_does_worse_than_c_is_a_fault() {
        let mut steps = vec![
            json!({"step": "c.capture", "total": 58, "succeeded": 57}),
            json!({"step": "rust.capture", "total": 58, "succeeded": 57}),
            json!({"step": "end"}),
        ];
        assert_eq!(faults(&steps), Vec::<String>::new());
        steps[1] = json!({"step": "rust.capture", "total": 58, "succeeded": 56});
        assert_eq!(faults(&steps).len(), 1);
        steps[1] = json!({"step": "rust.capture", "total": 58, "succeeded": 55, "luck": 2});
        assert_eq!(
            faults(&steps).len(),
            0,
            "it failed no more tests but for bad luck"
        );
        steps[1] = json!({"step": "rust.capture", "total": 0, "succeeded": 0});
        assert_eq!(faults(&steps).len(), 2);
    }

    #[test]
    fn wrong_bytes_and_new_refusals_are_faults() {
        let steps = [
            json!({"step": "c.dma", "errno": 0, "wrong": 12}),
            json!({"step": "rust.dma", "errno": 0, "wrong": 12}),
            json!({"step": "c.import", "errno": 0, "wrong": 0}),
            json!({"step": "rust.import", "errno": 14, "wrong": -1}),
            json!({"step": "end"}),
        ];
        assert_eq!(faults(&steps).len(), 2);
    }

    #[test]
    fn failures_that_nothing_expects_are_faults() {
        let mut steps = vec![
            json!({"step": "c.import", "errno": 0}),
            json!({"step": "rust.import", "errno": 0}),
            json!({"step": "rust.huge", "errno": 12, "want": 12}),
            json!({"step": "end"}),
        ];
        assert_eq!(faults(&steps), Vec::<String>::new());
        steps[2] = json!({"step": "rust.huge", "errno": 12});
        assert_eq!(faults(&steps).len(), 1);
    }

    #[test]
    fn a_patch_must_do_what_it_is_for() {
        let mut steps = vec![
            json!({"step": "c.huge", "errno": 12, "want": 12}),
            json!({"step": "patched.huge", "errno": 12, "want": 12}),
            json!({"step": "end"}),
        ];
        assert_eq!(faults(&steps), Vec::<String>::new());
        steps[1] = json!({"step": "patched.huge", "errno": 0, "want": 12});
        assert_eq!(faults(&steps).len(), 1);
        steps[1] = json!({"step": "patched.dma", "errno": 0, "wrong": 3});
        assert_eq!(faults(&steps).len(), 1);
    }

    #[test]
    fn steps_that_only_c_came_to_are_faults() {
        let mut steps = vec![
            json!({"step": "c.load", "ok": false}),
            json!({"step": "c.dma", "errno": 0, "wrong": 0}),
            json!({"step": "end"}),
        ];
        assert_eq!(faults(&steps).len(), 1, "ours did not run");
        steps.push(json!({"step": "rust.unload", "ok": true}));
        assert_eq!(faults(&steps).len(), 2);
        steps.push(json!({"step": "rust.dma", "errno": 0, "wrong": 0}));
        assert_eq!(faults(&steps).len(), 1);
    }

    #[test]
    fn complaints_failures_and_early_ends_are_faults() {
        let steps = [
            json!({"step": "dmesg", "line": "WARNING: x"}),
            json!({"step": "rust.unload", "ok": false}),
        ];
        assert_eq!(faults(&steps).len(), 3);
    }
}
