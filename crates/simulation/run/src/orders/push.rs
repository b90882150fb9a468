//! Passes frames from a file to the readers of a loopback, so that a simulator can be the source of a run.

use super::job::Job;
use super::{Answer, Awaited, Refused, fields, of};
use crate::Run;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use vb3_devices::Link;

/// A frame that is not yet at its readers.
#[derive(Debug)]
pub(super) struct Push {
    /// The node that the order names.
    at: usize,
    link: Link,
    /// The time of the devices' clock at which the frame is written; `None`: as soon as its file has been
    /// read.
    time_ns: Option<u64>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A thread reads the frame from its file.
    Reading(Job<Vec<u8>>),
    /// The frame has been read. If it has a time, a virtual clock may still have to reach it.
    Due(Vec<u8>),
    /// Readers have not got the frame with this number.
    Pushed(u64),
}

impl Push {
    /// Returns the file's job while it runs.
    pub(super) const fn job(&self) -> Option<&Job<Vec<u8>>> {
        match &self.stage {
            Stage::Reading(job) => Some(job),
            _ => None,
        }
    }

    /// Returns the time to which a virtual clock must advance for this frame.
    pub(super) const fn due_ns(&self) -> Option<u64> {
        match self.stage {
            Stage::Due(_) => self.time_ns,
            _ => None,
        }
    }
}

/// Reads one frame. Reads one byte more than a frame has, so that a longer file is refused.
fn read(path: &Path, wanted: u64) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(wanted.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(failed)?;
    Ok(bytes)
}

impl Run {
    /// Starts to read a frame for the readers of a loopback. `after_ns` is the frame's time since the run began.
    pub(super) fn push_frame(
        &mut self,
        name: &str,
        path: PathBuf,
        after_ns: Option<u64>,
    ) -> Result<Awaited, Refused> {
        let at = self.named(name).map_err(of("device"))?;
        let node = self.nodes.get(at);
        let Some(link) = node.and_then(|node| node.loopback.clone()) else {
            let message =
                format!("{name} is no loopback; frames can be pushed to `-d loopback` only");
            return Err(Refused::new("device", message));
        };
        let own = self.clock.own();
        let time_ns = match (after_ns, own) {
            (None, _) => None,
            (Some(after), Some(own)) => Some(own.origin_ns.saturating_add(after)),
            (Some(_), None) => {
                let message = "a frame's time needs `--clock virtual` or `--clock steps`; without a time, the frame comes at once";
                return Err(Refused::new("after_ns", message));
            }
        };
        let wanted = link.frame_bytes();
        let job = Job::start(&self.orders.running, "vb3-push", move || {
            read(&path, wanted)
        });
        let stage = Stage::Reading(job.map_err(of("path"))?);
        Ok(Awaited::Push(Push {
            at,
            link,
            time_ns,
            stage,
        }))
    }

    /// Continues a push; `None` until each streaming reader has got the frame.
    pub(super) fn look_at_push(&mut self, push: &mut Push) -> Option<Answer> {
        if !self.nodes.plugs.is_present(push.at) {
            return Some(Err(Refused::new("device", "the loopback is unplugged")));
        }
        let now = self.clock.now_ns();
        if let Stage::Reading(job) = &push.stage {
            match job.take()? {
                Ok(bytes) => push.stage = Stage::Due(bytes),
                Err(message) => return Some(Err(Refused::new("path", message))),
            }
            if let Some(late) = push.time_ns.filter(|time| *time < now) {
                let message = format!(
                    "the frame is {} ns too late: the devices' time has passed it",
                    now - late
                );
                return Some(Err(Refused::new("after_ns", message)));
            }
        }
        if let Stage::Due(bytes) = &mut push.stage {
            if push.time_ns.is_some_and(|time| time > now) {
                return None;
            }
            match push
                .link
                .push(std::mem::take(bytes), push.time_ns.unwrap_or(now))
            {
                Ok(number) => push.stage = Stage::Pushed(number),
                Err(failure) => return Some(Err(Refused::new("device", failure.sentence()))),
            }
        }
        match push.stage {
            Stage::Pushed(number) if push.link.is_delivered(number) => {
                Some(Ok(fields([("time_ns", now.into())])))
            }
            _ => None,
        }
    }
}
