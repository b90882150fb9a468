//! Makes a failing plan as small as possible.

use crate::plan::Plan;
use crate::run::simulate;

/// Maximum number of runs to make a plan smaller.
const MOST_RUNS: u32 = 400;

/// Returns the kind of a failure: its words without numbers. A smaller plan fails with other numbers.
fn kind(why: &str) -> String {
    let words = why.split_once(": ").map_or(why, |(_, words)| words);
    let words: String = words.chars().filter(|c| !c.is_ascii_digit()).collect();
    words.chars().take(24).collect()
}

/// Drops programs, then steps, as long as the smaller plan fails in the same way.
#[must_use]
pub fn shrink(plan: &Plan) -> Plan {
    shrink_by(plan, |plan| simulate(plan, false).failure)
}

/// Shrinks a plan as [`shrink`] does. `run` returns a plan's failure.
fn shrink_by(plan: &Plan, mut run: impl FnMut(&Plan) -> Option<String>) -> Plan {
    let Some(why) = run(plan) else {
        return plan.clone();
    };
    let mut runs = 0;
    let mut fails = |plan: &Plan| {
        runs += 1;
        let same = |other: String| kind(&other) == kind(&why);
        runs <= MOST_RUNS && run(plan).is_some_and(same)
    };
    let mut least = plan.clone();
    for program in plan.programs.iter().skip(1) {
        let mut less = least.clone();
        less.programs.remove(program);
        if fails(&less) {
            least = less;
        }
    }
    let mut chunk = least.steps.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < least.steps.len() {
            let mut less = least.clone();
            let end = (at + chunk).min(less.steps.len());
            less.steps.drain(at..end);
            if fails(&less) {
                least = less;
            } else {
                at = end;
            }
        }
        chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
    }
    least
}

#[cfg(test)]
mod tests;
