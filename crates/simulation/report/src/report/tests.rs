use super::*;
use std::io::BufRead as _;

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
        holder: String::new(),
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
    assert!(report.early_accesses.iter().all(|early| early.times == 2));
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

#[test]
fn rows_count_what_went_wrong_by_device() {
    let queue = |frames, lost| QueueReport {
        frames,
        lost,
        bytes_copied: 1,
        bytes_bounced: 2,
        bytes_moved: 4,
        bytes_copied_by_codec: 8,
        ..QueueReport::default()
    };
    let mut report = Report {
        devices: vec![DeviceReport {
            node: "/dev/video0".into(),
            queues: vec![queue(5, 1), queue(7, 2)],
            ..DeviceReport::default()
        }],
        ..Report::default()
    };
    report.refuse(refusal("QBUF"));
    report.refuse(refusal("QBUF"));
    report.refuse(Refusal {
        device: "/dev/dma_heap/system".into(),
        ..refusal("DMA_HEAP_IOCTL_ALLOC")
    });
    report.miss_sync(MissingSync {
        device: "/dev/video0".into(),
        times: 3,
        ..MissingSync::default()
    });
    let [camera, heap] = report.rows().try_into().unwrap();
    let wanted = Row {
        node: "/dev/video0".into(),
        frames: 7,
        lost: 3,
        refused: 2,
        unsynced: 3,
        copied_bytes: 30,
        ..Row::default()
    };
    assert_eq!(camera, wanted);
    assert_eq!((heap.name(), heap.refused), ("dma_heap/system", 1));
}

#[test]
fn each_kind_of_problem_spoils_a_run() {
    assert!(Report::default().is_well());
    let spoil: [fn(&mut Report); 9] = [
        |r| r.refuse(refusal("QBUF")),
        |r| r.miss_sync(MissingSync::default()),
        |r| r.access_early(EarlyAccess::default()),
        |r| r.fail(DeviceFailure::default()),
        |r| r.script_missed.push(MissedStep::default()),
        |r| r.held.buffers = 1,
        |r| r.refusals_left_out = 1,
        |r| r.failures_left_out = 1,
        |r| {
            let lost = QueueReport {
                lost: 1,
                ..QueueReport::default()
            };
            r.devices.push(DeviceReport {
                queues: vec![lost],
                ..DeviceReport::default()
            });
        },
    ];
    for spoil in spoil {
        let mut report = Report::default();
        spoil(&mut report);
        assert!(!report.is_well(), "{report:?}");
        assert!(crate::sentence::problems(&report).is_some(), "{report:?}");
    }
    // Faults that a script injected are not problems.
    let mut scripted = Report::default();
    scripted.play(ScriptEvent::default());
    assert!(scripted.is_well());
}

#[test]
fn notes_on_devices_begin_with_their_node() {
    let report = Report {
        devices: vec![DeviceReport {
            node: "/dev/video0".into(),
            ..DeviceReport::default()
        }],
        notes: [
            "/dev/video0: its clip ended",
            "/dev/video0 was unplugged",
            "x: y",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Report::default()
    };
    let notes: Vec<&str> = report.device_notes().collect();
    assert_eq!(notes, ["/dev/video0: its clip ended"]);
}

#[test]
fn the_reader_of_a_fifo_gets_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    let report = Report::default();
    let refused = format!("{:#}", report.write(&fifo).unwrap_err());
    assert!(
        refused.ends_with("no program reads from this FIFO"),
        "{refused}"
    );
    // An open for both never waits.
    let options = File::options().read(true).write(true).open(&fifo);
    let reader = options.unwrap();
    report.write(&fifo).unwrap();
    let mut lines = io::BufReader::new(reader).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "{");
}

/// docs/report.schema.json describes the report. VB3_WRITE_PAGES=1 writes it.
#[test]
fn the_schema_has_all_fields() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../docs/report.schema.json"
    );
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap() + "\n";
    if std::env::var_os("VB3_WRITE_PAGES").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap();
    assert!(
        found == schema,
        "the schema is old; VB3_WRITE_PAGES=1 writes it"
    );
}
