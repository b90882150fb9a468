use super::*;
use crate::report::{DeviceFailure, Held, Refusal};

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
    assert!(load(&path).unwrap_err().to_string().contains("no report"));
    std::fs::write(&path, "[1").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("x.json"));
}

#[test]
fn print_tells_what_broke_down() {
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
    assert!(!text.contains("Nothing was refused"), "{text}");
}

#[test]
fn print_tells_refusals_with_hints_and_what_is_held() {
    let mut report = Report {
        machine: "soc-cma".into(),
        ..Report::default()
    };
    assert!(printed(&report).contains("Nothing was refused"));
    report.refuse(Refusal {
        device: "/dev/video0".into(),
        call: "REQBUFS".into(),
        errno: 12,
        constraint: "cma-size".into(),
        wanted: 128 << 20,
        found: 64 << 20,
        times: 1,
        remedy: None,
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
    assert!(!text.contains("Nothing was refused"));
}

#[test]
fn print_counts_what_found_no_room() {
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
