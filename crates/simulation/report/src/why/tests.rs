use super::*;
use crate::report::{DeviceFailure, DeviceReport, Held, MissedStep, QueueReport, Refusal};

fn printed(report: &Report) -> String {
    let mut out = Vec::new();
    print(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn state_path_prefers_xdg_and_ignores_relative_ones() {
    let path = |state: Option<&str>, home: Option<&str>| {
        state_path(state.map(OsString::from), home.map(OsString::from))
    };
    assert_eq!(
        path(Some("/s"), Some("/h")),
        Some("/s/vb3/last.json".into())
    );
    assert_eq!(
        path(Some("rel"), Some("/h")),
        Some("/h/.local/state/vb3/last.json".into())
    );
    assert_eq!(
        path(None, Some("/h")),
        Some("/h/.local/state/vb3/last.json".into())
    );
    assert_eq!(path(None, None), None);
    assert_eq!(path(Some(""), Some("")), None);
}

#[test]
fn keep_and_load_give_the_same_report() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/last.json");
    let mut report = Report {
        format: FORMAT,
        machine: "pc".into(),
        seed: 3,
        ..Report::default()
    };
    keep(&report, &path).unwrap();
    report.seed = 4;
    keep(&report, &path).unwrap();
    assert_eq!(load(&path).unwrap(), report);
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn load_says_which_file_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.json");
    let said = |path: &Path| format!("{:#}", load(path).unwrap_err());
    assert!(
        said(&path).contains("there is no report"),
        "{}",
        said(&path)
    );
    for (bytes, wrong) in [
        (&b"[1"[..], "it is cut off at line 1, after 2 bytes"),
        (b" \n", "it is empty: the run has not ended"),
        (b"\xff\xfe", "it is not JSON at line 1, column 1"),
        (b"VIDIOC_QBUF", "it is not JSON at line 1, column 1"),
        (
            b"{\"machine\": \"pc\"}",
            "JSON without the field \"format\"",
        ),
        (b"[1]", "JSON without the field \"format\""),
        (b"{\"format\": 2}", "it has format 2, and this vb3"),
        (
            b"{\"format\": 1, \"seed\": \"x\"}",
            "a field is wrong: invalid type",
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let said = said(&path);
        assert!(
            said.contains("x.json is not a report: ") && said.contains(wrong),
            "{said}"
        );
    }
    // The message suggests the JSON file with the same name.
    for (name, text) in [("x.html", "<!DOCTYPE html>"), ("x.txt", "{")] {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let said = said(&path);
        assert!(
            said.contains("(did you mean ") && said.contains("x.json?)"),
            "{said}"
        );
    }
    assert!(said(&dir.path().join("x")).contains("x.json?)"));
    assert!(said(dir.path()).contains("cannot read"));
}

#[test]
fn print_lists_failures() {
    let mut report = Report::default();
    for _ in 0..2 {
        report.fail(DeviceFailure {
            device: "/dev/video3".into(),
            sentence: "the codec process ended".into(),
            recording: false,
            times: 1,
        });
    }
    let text = printed(&report);
    assert!(
        text.contains("/dev/video3: the codec process ended (2 times)"),
        "{text}"
    );
    assert!(!text.contains("No problems"), "{text}");
}

#[test]
fn print_lists_refusals_hints_and_leaks() {
    let mut report = Report {
        machine: "soc-cma".into(),
        ..Report::default()
    };
    assert!(printed(&report).contains("No problems"));
    report.refuse(Refusal {
        device: "/dev/video0".into(),
        call: "REQBUFS".into(),
        errno: 12,
        constraint: "cma-size".into(),
        wanted: 128 << 20,
        found: 64 << 20,
        times: 1,
        remedy: None,
        holder: String::new(),
        room: None,
    });
    report.held = Held {
        buffers: 2,
        ..Held::default()
    };
    let text = printed(&report);
    for part in [
        "ENOMEM",
        "128 MiB",
        "64 MiB",
        "hint: ",
        "soc-cma",
        "still held at the end: 2 buffers",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(!text.contains("No problems"));
}

#[test]
fn print_counts_entries_beyond_limits() {
    let report = Report {
        script_left_out: 1,
        refusals_left_out: 2,
        missing_syncs_left_out: 3,
        early_accesses_left_out: 4,
        failures_left_out: 5,
        ..Report::default()
    };
    let said = printed(&report);
    for line in [
        "1 further events of the script are not listed.",
        "2 further refusals are not listed.",
        "3 further missing syncs are not listed.",
        "4 further early accesses are not listed.",
        "5 further failures are not listed.",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
}

#[test]
fn print_starts_with_a_table_and_a_verdict() {
    let queue = |frames, lost| QueueReport {
        frames,
        lost,
        bytes_bounced: 2048,
        ..QueueReport::default()
    };
    let device = |node: &str, kind: &str, queues| DeviceReport {
        node: node.into(),
        kind: kind.into(),
        queues,
        ..DeviceReport::default()
    };
    let mut report = Report {
        devices: vec![
            device("/dev/video0", "camera", vec![queue(100, 3)]),
            device("/dev/video1", "display", Vec::new()),
            device("/dev/video2", "scaler", vec![queue(7, 0), queue(9, 0)]),
        ],
        ..Report::default()
    };
    for _ in 0..97 {
        report.refuse(Refusal {
            device: "/dev/video0".into(),
            call: "QBUF".into(),
            errno: 22,
            ..Refusal::default()
        });
    }
    report.script_missed.push(MissedStep {
        step: 3,
        line: 39,
        action: "fail".into(),
        why: "QBUF was called only 2 times".into(),
    });
    report.setup.script_file = "tests/flaky.toml".into();
    let text = printed(&report);
    let start = "\
device  kind    frames  lost  refused  copies
video0  camera     100     3       97   2 KiB
video2  scaler       9     0        0   4 KiB
not used: video1

video0: 100 frames, 97 refused, 3 lost; step 3 never happened.
";
    assert!(text.starts_with(start), "{text}");
    let missed = "flaky.toml:39: step 3 (fail) never happened: QBUF was called only 2 times.\n";
    assert!(text.contains(missed), "{text}");
    let refused = "QBUF on /dev/video0 failed with EINVAL (97 times): invalid argument.\n";
    assert!(text.contains(refused), "{text}");
}
