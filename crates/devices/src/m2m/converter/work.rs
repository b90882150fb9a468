//! The converter's work: one picture at a time, a large one in pieces over ticks and on a thread.

use super::{FrameConverter, color_of};
use crate::beside::{Beside, LARGE, Task};
use crate::convert::{self, Job, View, ViewMut};
use crate::m2m::Meta;
use crate::picture::Size;
use crate::select::settable;
use crate::surface::{LentLines, PIECE, PictureCursor, Surface, Trouble};
use vb3_queue::{Active, DoneState, MAX_PLANES};
use vb3_v4l2::{Bus, Flow, Format, Lines, PixelFormat, Progress, Rect, pixfmt};

/// The parameters of a conversion, fixed at its start.
#[derive(Clone, Copy)]
struct Plan {
    job: Job,
    /// Format and size of the source and target parts.
    shapes: [(&'static PixelFormat, Size); 2],
    crop: Rect,
    compose: Rect,
    /// Bytes of both parts, lines without padding.
    bytes: [usize; 2],
}

/// A picture that is being converted in pieces over ticks and on a thread.
pub(super) struct UnderWay<C> {
    source: Active<C>,
    target: Active<C>,
    plan: Plan,
    stage: Stage,
}

impl<C> UnderWay<C> {
    /// Returns whether the thread has it, so that there is nothing to do yet.
    pub(super) const fn is_with_thread(&self) -> bool {
        matches!(self.stage, Stage::Converting)
    }
}

/// The current step of a picture.
enum Stage {
    /// The picture is being read.
    Reading(PictureCursor),
    /// The thread converts the picture.
    Converting,
    /// The converted picture is written.
    Writing(Task, PictureCursor),
}

/// The result of a step: the bytes used in each plane, once the picture is in its buffer.
type Step = Result<Option<[u64; MAX_PLANES]>, Trouble>;

impl<C> FrameConverter<C> {
    /// Converts the oldest picture into the oldest empty buffer, if both exist.
    pub(super) fn step(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let mut left = if self.at_once { usize::MAX } else { PIECE };
        if self.under_way.is_some() {
            self.resume(&mut left, bus, progress);
            return;
        }
        if !self.output.is_ready() || !self.capture.is_ready() {
            return;
        }
        let Some(source) = self.output.take() else {
            return;
        };
        let Some(target) = self.capture.take() else {
            self.output.tokens.push_front(source);
            return;
        };
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(trouble) => return self.give_back(source, target, Err(trouble), progress),
        };
        if !self.wants_thread(&plan) {
            let made = self.convert(&plan, &source, &target, bus);
            return self.give_back(source, target, made, progress);
        }
        let stage = match Surface(&self.output.format).lend_rect(&source, plan.crop, bus) {
            Ok(Some(lent)) => self.give(plan, lent),
            Ok(None) => Stage::Reading(PictureCursor::default()),
            Err(trouble) => return self.give_back(source, target, Err(trouble), progress),
        };
        let is_given = matches!(stage, Stage::Converting);
        self.under_way = Some(UnderWay {
            source,
            target,
            plan,
            stage,
        });
        if !is_given {
            self.resume(&mut left, bus, progress);
        }
    }

    /// Continues with a large picture: moves at most `left` bytes. Buffers of an ended stream are not
    /// written.
    fn resume(&mut self, left: &mut usize, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let Some(mut at) = self.under_way.take() else {
            return;
        };
        let step = self.step_on(&mut at, left, bus);
        if step == Ok(None) {
            self.under_way = Some(at);
            return;
        }
        if let Stage::Writing(task, _) = at.stage {
            (self.source, self.target) = (task.source, task.target);
        }
        let made = step.map(Option::unwrap_or_default);
        self.give_back(at.source, at.target, made, progress);
    }

    fn step_on(&mut self, at: &mut UnderWay<C>, left: &mut usize, bus: &mut dyn Bus<C>) -> Step {
        let (from, to) = (Surface(&self.output.format), Surface(&self.capture.format));
        let plan = at.plan;
        match &mut at.stage {
            Stage::Reading(cursor) => {
                let (place, going) = ((&at.source, plan.crop), (cursor, left));
                if !from.read_rect_on(place, going, bus, &mut self.source)? {
                    return Ok(None);
                }
                at.stage = self.give(plan, Vec::new());
                Ok(None)
            }
            Stage::Converting => {
                let Some(task) = self.beside.as_ref().and_then(Beside::take) else {
                    return Ok(None);
                };
                at.stage = Stage::Writing(task, PictureCursor::default());
                self.step_on(at, left, bus)
            }
            Stage::Writing(..) if at.source.is_stale() || at.target.is_stale() => {
                Err(Trouble::Stale)
            }
            Stage::Writing(task, _) if !task.done => Err(Trouble::Fault),
            Stage::Writing(task, cursor) => {
                let (place, going) = ((&at.target, plan.compose), (cursor, left));
                match to.write_rect_on(place, going, bus, &task.target)? {
                    true => to.payloads().map(Some),
                    false => Ok(None),
                }
            }
        }
    }

    /// Passes the picture to the thread, or converts it here if the thread refuses. `lent` is empty if
    /// the source has been read.
    fn give(&mut self, plan: Plan, lent: Vec<LentLines>) -> Stage {
        let mut target = std::mem::take(&mut self.target);
        target.resize(plan.bytes[1], 0);
        let task = Task {
            job: plan.job,
            shapes: plan.shapes,
            lent,
            source: std::mem::take(&mut self.source),
            target,
            done: false,
        };
        let refused = match &self.beside {
            Some(thread) => thread.give(task),
            None => Err(Box::new(task)),
        };
        let Err(mut task) = refused else {
            return Stage::Converting;
        };
        task.run(&mut self.engine);
        Stage::Writing(*task, PictureCursor::default())
    }

    /// Returns both buffers with the result.
    fn give_back(
        &mut self,
        source: Active<C>,
        target: Active<C>,
        made: Result<[u64; MAX_PLANES], Trouble>,
        progress: &mut Progress<C>,
    ) {
        let (outcome, payloads) = match made {
            Ok(payloads) => (DoneState::Done, payloads),
            Err(Trouble::Stale) => {
                // The device has lost one of the two. The other waits for its next partner.
                self.put_back(source, target);
                return;
            }
            Err(Trouble::Fault | Trouble::TooSmall) => {
                self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(1);
                self.statistics.dropped = self.statistics.dropped.saturating_add(1);
                (DoneState::Error, [0; MAX_PLANES])
            }
        };
        let sequence = self.capture.next_sequence();
        let completion = Meta::of(&source).completion(outcome, payloads, sequence, false);
        self.output.consume(source, outcome, progress);
        progress.finish(Flow::Capture, target, completion);
    }

    fn put_back(&mut self, source: Active<C>, target: Active<C>) {
        if !source.is_stale() {
            self.output.tokens.push_front(source);
        }
        if !target.is_stale() {
            self.capture.tokens.push_front(target);
        }
    }

    /// Returns the parameters of the next conversion.
    fn plan(&self) -> Result<Plan, Trouble> {
        let (from, to) = (Surface(&self.output.format), Surface(&self.capture.format));
        let pixel_of = |format: &Format| pixfmt::lookup(format.fourcc).ok_or(Trouble::TooSmall);
        let (from_pixel, to_pixel) = (pixel_of(from.0)?, pixel_of(to.0)?);
        let size_of = |rect: Rect| settable(rect).ok_or(Trouble::TooSmall);
        let (from_size, to_size) = (size_of(self.crop)?, size_of(self.compose)?);
        let job = Job {
            rotate: self.rotate,
            hflip: self.hflip,
            vflip: self.vflip,
            target_color: color_of(&to.0.color),
            ..Job::whole(from_size, to_size, color_of(&from.0.color))
        };
        let source_bytes = from.rect_bytes(self.crop).ok_or(Trouble::TooSmall)?;
        let target_bytes = to.rect_bytes(self.compose).ok_or(Trouble::TooSmall)?;
        Ok(Plan {
            job,
            shapes: [(from_pixel, from_size), (to_pixel, to_size)],
            crop: self.crop,
            compose: self.compose,
            bytes: [source_bytes, target_bytes],
        })
    }

    /// Returns whether a picture is large enough for the thread, and the thread exists.
    fn wants_thread(&mut self, plan: &Plan) -> bool {
        let [source, target] = plan.bytes;
        let is_large = source.saturating_add(target) >= LARGE;
        is_large && !self.at_once && self.has_thread()
    }

    /// Converts a picture within this call.
    fn convert(
        &mut self,
        plan: &Plan,
        source: &Active<C>,
        target: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<[u64; MAX_PLANES], Trouble> {
        let formats = (self.output.format, self.capture.format);
        let (from, to) = (Surface(&formats.0), Surface(&formats.1));
        let sources = from.rect_lines(source, Flow::Output, plan.crop)?;
        let targets = to.rect_lines(target, Flow::Capture, plan.compose)?;
        let (job, shapes) = (&plan.job, plan.shapes);
        match in_place(&mut self.engine, job, &sources, &targets, shapes, bus) {
            Some(true) => return to.payloads(),
            Some(false) => return Err(Trouble::Fault),
            None => {}
        }
        let (mut cursor, mut left) = (PictureCursor::default(), usize::MAX);
        let (place, going) = ((source, plan.crop), (&mut cursor, &mut left));
        from.read_rect_on(place, going, bus, &mut self.source)?;
        self.target.resize(plan.bytes[1], 0);
        let [from_shape, to_shape] = shapes;
        let taken = (from_shape.0, from_shape.1, self.source.as_slice());
        let made = (to_shape.0, to_shape.1, self.target.as_mut_slice());
        let done = self.engine.run_unpadded(job, taken, made);
        done.map_err(|_| Trouble::Fault)?;
        let (mut cursor, mut left) = (PictureCursor::default(), usize::MAX);
        let (place, going) = ((target, plan.compose), (&mut cursor, &mut left));
        to.write_rect_on(place, going, bus, &self.target)?;
        to.payloads()
    }

    /// Makes `beside` convert large pictures.
    #[cfg(test)]
    pub(crate) fn convert_by(&mut self, beside: Beside) {
        self.beside = Some(beside);
    }

    /// Returns whether a thread for large pictures exists. Without one, they are converted within
    /// ticks.
    fn has_thread(&mut self) -> bool {
        if self.beside.is_none() {
            self.beside = Beside::converting().ok();
        }
        self.beside.is_some()
    }
}

/// Converts without a copy. Returns whether it succeeded; `None` if memory is not accessible in place.
fn in_place<C>(
    engine: &mut convert::Converter,
    job: &Job,
    from: &[Lines<'_, C>],
    to: &[Lines<'_, C>],
    [from_shape, to_shape]: [(&'static PixelFormat, Size); 2],
    bus: &mut dyn Bus<C>,
) -> Option<bool> {
    // CAST: widening, on every target there is.
    let pitch = |lines: &Lines<'_, C>| lines.pitch as usize;
    bus.in_place(from, to, &mut |sources, targets| {
        let planes = sources.iter().zip(from);
        let planes = planes.map(|(bytes, lines)| (*bytes, pitch(lines)));
        let view = View::new(from_shape.0, from_shape.1, planes);
        let planes = targets.iter_mut().zip(to);
        let planes = planes.map(|(bytes, lines)| (&mut **bytes, pitch(lines)));
        let made = ViewMut::new(to_shape.0, to_shape.1, planes);
        view.and_then(|view| engine.run(job, &view, &mut made?))
            .is_ok()
    })
}
