//! Summarises a run: its problems in one line, its verdict in sentences, its devices in a table.

use super::{all_of, bytes, count, held};
use crate::report::{DeviceReport, QueueReport, Report, Row};

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether nothing went wrong, no script injected a fault, and the program succeeded.
    pub is_good: bool,
    /// One to three sentences, and one for each display that did not show all queued frames.
    pub text: String,
}

/// Lists the problems that no script caused; `None` if there are none.
/// The list has a clause for each device that had problems, then missed steps and resources still held.
///
/// The list also names devices with failures outside the simulation, such as of a codec process or a recording.
/// [`failure`](super::failure) explains these failures.
#[must_use]
pub fn problems(report: &Report) -> Option<String> {
    let rows = report.rows();
    let bad = rows.iter().filter(|row| !row.is_well());
    let mut clauses: Vec<String> = bad.map(of_device).collect();
    let steps: Vec<String> = report
        .script_missed
        .iter()
        .map(|m| m.step.to_string())
        .collect();
    clauses.extend(match steps.as_slice() {
        [] => None,
        [one] => Some(format!("step {one} never happened")),
        all => Some(format!("steps {} never happened", all_of(all))),
    });
    clauses.extend(held(&report.held));
    let failed: Vec<String> = report.failures.iter().map(|f| f.device.clone()).collect();
    if !failed.is_empty() {
        clauses.push(format!("something failed at {}", all_of(&failed)));
    }
    let more = report.not_listed();
    if more > 0 {
        clauses.push(count(more, "more problem", "more problems"));
    }
    (!clauses.is_empty()).then(|| clauses.join("; "))
}

/// Lists the problems of one device.
fn of_device(row: &Row) -> String {
    let numbers = [
        (row.refused, "refused", "refused"),
        (row.lost, "lost", "lost"),
        (row.unsynced, "cache sync missing", "cache syncs missing"),
        (row.early, "early access", "early accesses"),
    ];
    let words = numbers.iter().filter(|(n, ..)| *n > 0);
    let words: Vec<String> = words.map(|(n, one, many)| count(*n, one, many)).collect();
    let frames = count(row.frames, "frame", "frames");
    format!("{}: {frames}, {}", row.name(), words.join(", "))
}

/// Summarises a run in one to three sentences: exit status, injected faults, problems.
#[must_use]
pub fn verdict(report: &Report) -> Verdict {
    if !report.error.is_empty() {
        return Verdict {
            is_good: false,
            text: format!("The run did not begin: {}.", report.error),
        };
    }
    let problems = problems(report);
    let faults = report.scripted();
    let mut said = Vec::new();
    if report.exit_status != 0 {
        said.push(format!(
            "The program ended with status {}",
            report.exit_status
        ));
    }
    // Line 0 stands for `vb3 ctl`.
    let listed = report.script.iter().filter(|event| event.line == 0);
    let ordered = match report.setup.script.is_empty() {
        true => faults,
        false => listed.count() as u64,
    };
    for (who, faults) in [("The script", faults - ordered), ("vb3 ctl", ordered)] {
        if faults > 0 {
            let faults = count(faults, "fault", "faults");
            said.push(format!("{who} injected {faults}"));
        }
    }
    let is_good = said.is_empty() && problems.is_none();
    said.push(match problems {
        // A list that begins with "step", "still" or "something" gets a capital. Other lists begin with a
        // number or with a device's name, which stays as it is. No such name begins with s.
        Some(problems) => match problems.strip_prefix('s') {
            Some(rest) => format!("S{rest}"),
            None => problems,
        },
        None if faults > 0 => "No other problems; everything was released".to_owned(),
        None => "No problems; everything was released".to_owned(),
    });
    said.extend(report.devices.iter().filter_map(taken_back));
    Verdict {
        is_good,
        text: said.join(". ") + ".",
    }
}

/// Says how many of the queued frames a display showed, if the program took the others back.
fn taken_back(device: &DeviceReport) -> Option<String> {
    let sum = |counter: fn(&QueueReport) -> u64| device.queues.iter().map(counter).sum::<u64>();
    let (shown, others) = (sum(|q| q.frames), sum(|q| q.taken_back));
    (others > 0 && device.kind == "display").then(|| {
        let (node, queued) = (&device.node, shown.saturating_add(others));
        let node = node.strip_prefix("/dev/").unwrap_or(node);
        format!("{node} showed {shown} of {queued} queued frames, because the program then ended streaming")
    })
}

/// The devices of a run as a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The column titles, then a line for each used device.
    pub lines: Vec<[String; 6]>,
    /// Names of the unused devices.
    pub unused: Vec<String>,
}

/// Makes the table of devices.
#[must_use]
pub fn table(report: &Report) -> Table {
    let is_used = |row: &Row| row.frames > 0 || !row.is_well();
    let (used, unused): (Vec<Row>, Vec<Row>) = report.rows().into_iter().partition(is_used);
    let head = ["device", "kind", "frames", "lost", "refused", "copies"].map(str::to_owned);
    let line = |row: &Row| {
        [
            row.name().to_owned(),
            row.kind.clone(),
            row.frames.to_string(),
            row.lost.to_string(),
            row.refused.to_string(),
            bytes(row.copied_bytes),
        ]
    };
    Table {
        lines: std::iter::once(head).chain(used.iter().map(line)).collect(),
        unused: unused.iter().map(|row| row.name().to_owned()).collect(),
    }
}
