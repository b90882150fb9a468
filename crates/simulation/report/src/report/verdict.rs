//! Problems of a run, counted by device.

use super::{Report, sum};
use std::collections::BTreeSet;

/// Names of the kinds of problems other than refused calls.
pub const PROBLEMS: [&str; 7] = [
    "missing-sync",
    "early-access",
    "lost",
    "held",
    "missed-step",
    "failure",
    "not-listed",
];

/// Counters of one device: its frames, copies and problems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// `/dev/videoN`, or another node that refused a call.
    pub node: String,
    /// The device's kind; empty for other nodes.
    pub kind: String,
    /// Frames that the device completed. A memory-to-memory device counts its busier queue.
    pub frames: u64,
    /// Lost frames, except those that a script caused.
    pub lost: u64,
    /// Refused calls, except those that a script caused.
    pub refused: u64,
    /// Bytes that were copied by the CPU or a codec process, bounced, or moved.
    pub copied_bytes: u64,
    /// Missing cache syncs.
    pub unsynced: u64,
    /// Accesses by programs or other devices while the device still used the buffer.
    pub early: u64,
}

impl Row {
    /// Returns the node's name without `/dev/`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.strip_prefix("/dev/").unwrap_or(&self.node)
    }

    /// Returns whether the device had no problem.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.lost == 0 && self.refused == 0 && self.unsynced == 0 && self.early == 0
    }
}

impl Report {
    /// Returns a row for each device, and for each other node that refused a call.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for device in &self.devices {
            let of =
                |counter: fn(&super::QueueReport) -> u64| sum(0, device.queues.iter().map(counter));
            rows.push(Row {
                node: device.node.clone(),
                kind: device.kind.clone(),
                frames: device.queues.iter().map(|q| q.frames).max().unwrap_or(0),
                lost: of(|q| q.lost),
                copied_bytes: of(|q| q.bytes_copied)
                    .saturating_add(of(|q| q.bytes_copied_by_codec))
                    .saturating_add(of(|q| q.bytes_bounced))
                    .saturating_add(of(|q| q.bytes_moved)),
                ..Row::default()
            });
        }
        for refusal in &self.refusals {
            let row = row(&mut rows, &refusal.device);
            row.refused = row.refused.saturating_add(refusal.times);
        }
        for missing in &self.missing_syncs {
            let row = row(&mut rows, &missing.device);
            row.unsynced = row.unsynced.saturating_add(missing.times);
        }
        for early in &self.early_accesses {
            let row = row(&mut rows, &early.owner);
            row.early = row.early.saturating_add(early.times);
        }
        rows
    }

    /// Returns whether the run had no problem. Problems are refused calls, lost frames, missing
    /// cache syncs, early accesses, failures, resources still held, and steps of the script that
    /// never happened. Faults that a script injected are not problems.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.error.is_empty()
            && self.rows().iter().all(Row::is_well)
            && self.script_missed.is_empty()
            && self.failures.is_empty()
            && self.held.is_empty()
            && self.not_listed() == 0
    }

    /// Returns the names of the run's problems, as `vb3 run --strict --allow` takes them: a refused call's name, or
    /// one of [`PROBLEMS`].
    #[must_use]
    pub fn problem_names(&self) -> BTreeSet<String> {
        let calls = self.refusals.iter().map(|refusal| refusal.call.clone());
        let rows = self.rows();
        let is_any = [
            !self.missing_syncs.is_empty(),
            !self.early_accesses.is_empty(),
            rows.iter().any(|row| row.lost > 0),
            !self.held.is_empty(),
            !self.script_missed.is_empty(),
            !self.failures.is_empty() || !self.error.is_empty(),
            self.not_listed() > 0,
        ];
        let others = PROBLEMS.iter().zip(is_any).filter(|(_, is_any)| *is_any);
        calls
            .chain(others.map(|(name, _)| (*name).to_owned()))
            .collect()
    }

    /// Returns the number of problems that the lists had no room for.
    #[must_use]
    pub const fn not_listed(&self) -> u64 {
        self.refusals_left_out
            .saturating_add(self.missing_syncs_left_out)
            .saturating_add(self.early_accesses_left_out)
            .saturating_add(self.failures_left_out)
    }

    /// Returns the notes on devices, for example that a clip has ended. `vb3 run` shows these notes.
    pub fn device_notes(&self) -> impl Iterator<Item = &str> {
        let is_of_device = |note: &&str| {
            let node = note.split_once(": ").map(|(node, _)| node);
            node.is_some_and(|node| self.devices.iter().any(|device| device.node == node))
        };
        self.notes.iter().map(String::as_str).filter(is_of_device)
    }
}

/// Returns the row of a node, and adds one if there is none.
fn row<'a>(rows: &'a mut Vec<Row>, node: &str) -> &'a mut Row {
    let at = rows.iter().position(|row| row.node == node);
    let at = at.unwrap_or_else(|| {
        rows.push(Row {
            node: node.to_owned(),
            ..Row::default()
        });
        rows.len() - 1
    });
    &mut rows[at]
}
