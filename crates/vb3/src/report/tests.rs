use super::*;

fn refusal(call: &str) -> Refusal {
    Refusal {
        device: "/dev/video0".into(),
        call: call.into(),
        errno: 12,
        constraint: "cma-size".into(),
        wanted: 8,
        found: 4,
        times: 0,
        remedy: None,
        room: None,
    }
}

#[test]
fn refuse_equal_ones_are_counted() {
    let mut report = Report::default();
    report.refuse(refusal("REQBUFS"));
    report.refuse(refusal("REQBUFS"));
    report.refuse(refusal("CREATE_BUFS"));
    let times: Vec<_> = report
        .refusals
        .iter()
        .map(|r| (r.call.as_str(), r.times))
        .collect();
    assert_eq!(times, [("REQBUFS", 2), ("CREATE_BUFS", 1)]);
}

#[test]
fn refuse_is_bounded() {
    let mut report = Report::default();
    for n in 0..MAX_REFUSALS + 7 {
        report.refuse(refusal(&n.to_string()));
    }
    assert_eq!(report.refusals.len(), MAX_REFUSALS);
    assert_eq!(report.refusals_left_out, 7);
}

#[test]
fn miss_sync_is_counted_and_bounded() {
    let mut report = Report::default();
    for n in 0..u32::try_from(MAX_MISSING_SYNCS).unwrap() + 3 {
        for _ in 0..2 {
            report.miss_sync(MissingSync {
                buffer: n,
                ..MissingSync::default()
            });
        }
    }
    assert_eq!(report.missing_syncs.len(), MAX_MISSING_SYNCS);
    assert!(report.missing_syncs.iter().all(|m| m.times == 2));
    assert_eq!(report.missing_syncs_left_out, 6);
}

#[test]
fn access_early_is_counted_and_bounded() {
    let mut report = Report::default();
    for n in 0..u32::try_from(MAX_EARLY_ACCESSES).unwrap() + 3 {
        for _ in 0..2 {
            report.access_early(EarlyAccess {
                buffer: n,
                ..EarlyAccess::default()
            });
        }
    }
    assert_eq!(report.early_accesses.len(), MAX_EARLY_ACCESSES);
    assert_eq!(report.early_accesses_left_out, 6);
    assert_eq!(report.accessed_early(), 2 * (256 + 3));
}

#[test]
fn fail_is_counted_by_device_and_bounded() {
    let failure = |n: usize| DeviceFailure {
        device: format!("/dev/video{n}"),
        sentence: "the codec process was killed by signal 9".into(),
        recording: false,
        times: 0,
    };
    let mut report = Report::default();
    for n in (0..MAX_FAILURES + 2).chain([1]) {
        report.fail(failure(n));
    }
    let times: Vec<u64> = report.failures.iter().map(|f| f.times).collect();
    let mut wanted = [1; MAX_FAILURES];
    wanted[1] = 2;
    assert_eq!(times, wanted);
    assert_eq!(report.failures_left_out, 2);
}

#[test]
fn json_round_trip_and_unknown_or_missing_fields() {
    let mut report = Report {
        format: FORMAT,
        seed: 7,
        ..Report::default()
    };
    report.refuse(refusal("REQBUFS"));
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    let sparse: Report = serde_json::from_str(r#"{"machine":"pc","later":1}"#).unwrap();
    assert_eq!(sparse.machine, "pc");
}

#[test]
fn held_names_every_counter_in_json() {
    let json = serde_json::to_value(Held::default()).unwrap();
    assert_eq!(json.as_object().unwrap().len(), 9);
    assert!(
        !Held {
            iova_bytes: 1,
            ..Held::default()
        }
        .is_empty()
    );
}
