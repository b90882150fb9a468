//! What the steps of a scenario amount to.
//!
//! A step is `{"step": NAME, …}`. `"ok": false` is a fault. NAME of a module's step begins with
//! `c.` or `rust.`; a `rust.` step that counts (`total`, `succeeded`) must do as well as the `c.`
//! step of the same name, refuse (`errno`) nothing that C accepts, and leave no `wrong` bytes or
//! `dirty_pages`. A step named `dmesg` is a complaint of the kernel's.

use serde_json::Value;

/// One step for a person.
pub(crate) fn line(step: &Value) -> String {
    let name = step["step"].as_str().unwrap_or("?");
    let facts: Vec<String> = step
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "step" && *key != "fails")
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    format!("{name}: {}", facts.join(", "))
}

fn named<'a>(steps: &'a [Value], name: &str) -> Option<&'a Value> {
    steps.iter().find(|step| step["step"] == name)
}

/// All that is wrong.
pub(crate) fn faults(steps: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for step in steps {
        let name = step["step"].as_str().unwrap_or("?");
        if step["ok"] == false || name == "dmesg" {
            faults.push(line(step));
        }
        let Some(base) = name.strip_prefix("rust.") else {
            continue;
        };
        for evil in ["wrong", "dirty_pages"] {
            if step[evil].as_i64().is_some_and(|count| count > 0) {
                faults.push(line(step));
            }
        }
        let with_c = named(steps, &format!("c.{base}"));
        if with_c.is_some_and(|c| c["errno"] == 0) && step["errno"] != 0 {
            faults.push(format!("{}, with the C module 0", line(step)));
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
        if c["total"].as_u64() != Some(total) || c["succeeded"].as_u64() > Some(good) {
            faults.push(format!(
                "{name}: {good} of {total} succeeded, with the C module {} of {}; {}",
                c["succeeded"], c["total"], step["fails"]
            ));
        }
    }
    if named(steps, "end").is_none() {
        faults.push("the scenario did not end".to_owned());
    }
    faults
}

/// All in one line.
pub(crate) fn summary(steps: &[Value], faults: &[String]) -> String {
    let sum = |prefix: &str, key: &str| -> u64 {
        steps
            .iter()
            .filter(|s| {
                s["step"]
                    .as_str()
                    .is_some_and(|name| name.starts_with(prefix))
            })
            .filter_map(|s| s[key].as_u64())
            .sum()
    };
    let verdict = match faults.len() {
        0 => "in order".to_owned(),
        n => format!("{n} faults"),
    };
    format!(
        "{verdict}; {} steps; succeeded: C {} of {}, Rust {} of {}",
        steps.len(),
        sum("c.", "succeeded"),
        sum("c.", "total"),
        sum("rust.", "succeeded"),
        sum("rust.", "total"),
    )
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
    fn complaints_failures_and_early_ends_are_faults() {
        let steps = [
            json!({"step": "dmesg", "line": "WARNING: x"}),
            json!({"step": "rust.unload", "ok": false}),
        ];
        assert_eq!(faults(&steps).len(), 3);
    }
}
