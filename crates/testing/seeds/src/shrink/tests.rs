//! A smaller plan fails in the same way.

use super::{MOST_RUNS, shrink, shrink_by};
use crate::plan::Plan;

/// Needs two steps and a program, and says how many steps there are.
fn failure(plan: &Plan) -> Option<String> {
    let has = |step| plan.steps.contains(&step);
    let fails = has(17) && has(93) && plan.programs.contains(&1);
    let steps = plan.steps.len();
    // Another failure of plans that lack step 50.
    let words = if has(50) { "a lost buffer" } else { "a leak" };
    fails.then(|| format!("step {steps}: {words}, {steps} left"))
}

fn plan() -> Plan {
    Plan {
        steps: (0..200).collect(),
        programs: (0..3).collect(),
        ..Plan::basic(1)
    }
}

#[test]
fn least_plan_has_only_what_fails() {
    let least = shrink_by(&plan(), failure);
    assert_eq!(least.steps, [17, 50, 93]);
    // The first program stays, since a plan without programs does nothing.
    assert_eq!(least.programs, (0..2).collect());
    assert_eq!(least.devices, plan().devices);
}

#[test]
fn plan_that_passes_stays_whole() {
    let plan = Plan {
        steps: (0..5).collect(),
        ..plan()
    };
    assert_eq!(shrink(&plan), plan);
    assert_eq!(shrink_by(&plan, failure), plan);
}

#[test]
fn real_failure_stays_the_same() {
    let devices = vec!["camera,size=no".to_owned()];
    let plan = Plan { devices, ..plan() };
    let why = crate::simulate(&plan, false).failure;
    let least = shrink(&plan);
    assert!(least.steps.is_empty() && least.programs.len() == 1);
    assert_eq!(crate::simulate(&least, false).failure, why);
    assert!(why.is_some());
}

#[test]
fn number_of_runs_is_bounded() {
    let mut runs = 0;
    let all = plan();
    let least = shrink_by(&all, |plan| {
        runs += 1;
        // Every second step is needed, so that most tries are in vain.
        let is_needed = |step: &&u32| step.is_multiple_of(2);
        let needed = plan.steps.iter().filter(is_needed).count();
        (needed == 100).then(|| "a leak".to_owned())
    });
    assert!(runs <= MOST_RUNS + 1);
    assert!(least.steps.len() < all.steps.len());
}
