//! Buffers that are placed when a device first uses them, and moved to where all devices that share
//! them reach them: what is refused where each device places its own, works.

use crate::common::Outcome;
use crate::pipeline::{CONFLICTS, COUNT, Conflict, Remedy, expect_pictures, line, reference};

/// Runs the devices of a conflict, each exporter with `place=lazy`.
fn run_lazy(conflict: &Conflict) -> Option<Outcome> {
    let converter = format!("{},place=lazy", conflict.converter);
    let line = line("clip.mp4", 2);
    conflict.run_with("h264dec,place=lazy", &line, &converter, conflict.display)
}

/// Asserts that all pictures arrived, that nothing was copied for them, and that buffers were moved
/// no more than once each.
fn expect_shared(outcome: &Outcome, name: &str) {
    let report = &outcome.report;
    assert!(report.refusals.is_empty(), "{name}: {:?}", report.refusals);
    outcome.expect_success();
    let wanted = reference(&outcome.dir.path().join("clip.mp4"));
    expect_pictures(&outcome.read("shown.raw"), &wanted);
    assert_eq!(report.total(|q| q.bytes_copied), 0, "{name}");
    assert_eq!(report.total(|q| q.bytes_bounced), 0, "{name}");
    assert!(report.missing_syncs.is_empty(), "{name}");
    let moved = report.total(|q| q.bytes_moved);
    let allocated = report.total(|q| q.peak_bytes);
    assert!(
        0 < moved && moved <= allocated,
        "{name}: {moved} of {allocated}"
    );
    println!("{name}: {COUNT} pictures, 0 bytes copied, {moved} bytes moved");
}

#[test]
fn what_a_fixed_place_excludes_a_lazy_one_solves() {
    for conflict in &CONFLICTS {
        let Some(outcome) = run_lazy(conflict) else {
            return;
        };
        outcome.expect_nothing_held();
        match conflict.remedy {
            Remedy::Found { .. } => expect_shared(&outcome, conflict.constraint),
            // Where no memory suits, none is found later, either.
            Remedy::Excluded { by, constraint, .. } => {
                let [refusal] = &outcome.report.refusals[..] else {
                    panic!("{constraint}: {:?}", outcome.report.refusals)
                };
                assert_eq!(refusal.constraint, conflict.constraint, "{refusal:?}");
                let remedy = refusal.remedy.as_ref().expect("a remedy");
                let [demand] = &remedy.conflict[..] else {
                    panic!("{remedy:?}")
                };
                assert_eq!((&*demand.device, &*demand.constraint), (by, constraint));
                assert_eq!(outcome.report.total(|q| q.bytes_moved), 0, "{constraint}");
            }
        }
    }
}
