//! Finds the picture that a display showed last, and writes it on a thread.

use super::job::{Job, Running};
use super::{Answer, Awaited, Refused, fields, of};
use crate::Run;
use crate::memory::DeviceBus;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use vb3_devices::LastShown;
use vb3_devices::sink::{FileFormat, save};
use vb3_picture::Frame;
use vb3_v4l2::Flow;

/// The file that an order names, with its format; `None` if it names none.
pub(super) type PictureFile = Option<(PathBuf, FileFormat)>;

/// The picture that a display showed last, if it is still readable.
enum Found {
    Picture(u32, Arc<Frame>),
    /// The picture is gone, but the next picture of the stream will be readable.
    Next,
}

impl Run {
    /// Starts to describe and write a display's last picture, or waits for its next one.
    pub(super) fn find_shown(&mut self, name: &str, file: PictureFile) -> Result<Awaited, Refused> {
        let at = self.named(name).map_err(of("device"))?;
        match self.last_shown(at).map_err(of("device"))? {
            Found::Picture(sequence, frame) => keep(&self.orders.running, (sequence, frame), file),
            Found::Next => Ok(Awaited::Shown { at, file }),
        }
    }

    /// Continues [`find_shown`](Self::find_shown) for a waiting order; `None` if no picture is readable yet.
    pub(super) fn find_next_shown(
        &mut self,
        at: usize,
        file: &mut PictureFile,
    ) -> Option<Result<Awaited, Refused>> {
        match self.last_shown(at).map_err(of("device")) {
            Ok(Found::Next) => None,
            Ok(Found::Picture(sequence, frame)) => {
                let running = &self.orders.running;
                Some(keep(running, (sequence, frame), file.take()))
            }
            Err(refused) => Some(Err(refused)),
        }
    }

    /// Returns a display's last picture, or whether to wait for the next one.
    fn last_shown(&mut self, at: usize) -> Result<Found, String> {
        if let Some(card) = self.card_at(at) {
            let found = card
                .last_shown()
                .map(|(number, frame)| Found::Picture(number, frame));
            return match found {
                None if card.frames() == 0 => Err(format!("{} has shown nothing yet", card.path)),
                found => Ok(found.unwrap_or(Found::Next)),
            };
        }
        let node = self.nodes.get_mut(at).ok_or("there is no such device")?;
        let (path, dev) = (node.path.clone(), node.dma);
        let mut contexts = node.video.contexts_mut();
        let found =
            contexts.find_map(|context| Some((context.driver_mut().last_shown()?, context)));
        let Some((last, context)) = found else {
            let kind = &node.kind;
            return Err(format!("{path} is a {kind}; only a display shows pictures"));
        };
        let queue = context.queue(Flow::Output);
        let (sequence, planes) = match last {
            LastShown::Nothing => return Err(format!("{path} has shown nothing yet")),
            LastShown::Picture { sequence, frame } => return Ok(Found::Picture(sequence, frame)),
            LastShown::Lost => (0, None),
            LastShown::Buffer { sequence, index } => {
                let planes = queue.and_then(|queue| queue.finished_planes(index, sequence));
                (sequence, planes)
            }
        };
        let is_streaming = queue.is_some_and(|queue| queue.is_streaming());
        let memory = &mut self.memory;
        let read = |planes| {
            let driver = context.driver_mut();
            driver.read_shown(&planes, &mut DeviceBus { memory, dev })
        };
        match planes.and_then(read) {
            Some(frame) => Ok(Found::Picture(sequence, Arc::new(frame))),
            None if is_streaming => Ok(Found::Next),
            None => Err(format!(
                "{path} did not keep its last picture, and the program has used the memory again; \
                 send this order once before the stream begins, and the display keeps its pictures"
            )),
        }
    }
}

/// Starts a thread that writes a picture, if there is a file, and describes it.
fn keep(
    running: &Running,
    (sequence, frame): (u32, Arc<Frame>),
    file: PictureFile,
) -> Result<Awaited, Refused> {
    let job = Job::start(running, "vb3-shown", move || {
        if let Some((path, format)) = file {
            save(&frame, &path, format).map_err(|e| e.sentence().to_owned())?;
        }
        Ok(describe(sequence, &frame))
    });
    Ok(Awaited::Written(job.map_err(of("path"))?))
}

fn describe(sequence: u32, frame: &Frame) -> Map<String, Value> {
    fields([
        ("sequence", sequence.into()),
        ("width", frame.size().width().into()),
        ("height", frame.size().height().into()),
        ("format", frame.format().fourcc.to_string().into()),
        ("checksum", format!("{:08x}", frame.checksum()).into()),
    ])
}

/// Returns the answer to an order whose picture is written.
pub(super) fn written(job: &Job<Map<String, Value>>) -> Option<Answer> {
    Some(job.take()?.map_err(of("path")))
}
