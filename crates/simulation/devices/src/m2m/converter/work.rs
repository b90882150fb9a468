//! The converter's work: one picture at a time. A large picture takes several ticks (calls by the host), and a
//! thread converts it.

use super::FrameConverter;
use crate::colors::color_of;
use crate::conversion::Conversion;
use crate::select::Selection;
use crate::streaming::Stamp;
use crate::surface::{LentTarget, Payloads, PictureCursor, Step, Surface, Trouble};
use crate::worker::FrameWorker as _;
use vb3_picture::Size;
use vb3_picture::convert::{self, Job, View, ViewMut};
use vb3_queue::Active;
use vb3_v4l2::{Bus, Flow, Format, Lines, Progress, Rect, pixfmt};

pub(super) struct UnderWay<C> {
    source: Active<C>,
    target: Active<C>,
    plan: Conversion,
    /// Whether the thread converts the picture.
    on_thread: bool,
    /// How much of the source is read; `None` once it is converted, or the thread reads it.
    reading: Option<PictureCursor>,
}

impl<C> FrameConverter<C> {
    /// Converts the oldest picture into the oldest empty buffer, if both exist.
    pub(super) fn step(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        if self.own.under_way.is_some() {
            return self.resume(bus, progress);
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
        let on_thread = self.worker.wants_thread(&plan);
        let mut reading = Some(PictureCursor::default());
        if on_thread {
            match Surface(&self.output.format).lend_rect(&source, plan.selection.crop, bus) {
                Ok(Some(lent)) => {
                    let buffer = self.lend_target(&plan, &target, bus);
                    self.worker.begin(&plan, None, lent, buffer, on_thread);
                    reading = None;
                }
                Ok(None) => {}
                Err(trouble) => return self.give_back(source, target, Err(trouble), progress),
            }
        } else if let Some(made) = self
            .convert_in_place(&plan, &source, &target, bus)
            .transpose()
        {
            return self.give_back(source, target, made, progress);
        }
        self.own.under_way = Some(UnderWay {
            source,
            target,
            plan,
            on_thread,
            reading,
        });
        if !self.worker.is_busy() {
            self.resume(bus, progress);
        }
    }

    /// Continues with a picture: moves a piece if it is for the thread, else all. Does not write to buffers of an
    /// ended stream.
    fn resume(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let Some(mut at) = self.own.under_way.take() else {
            return;
        };
        let step = self.step_on(&mut at, bus);
        if step == Ok(None) {
            self.own.under_way = Some(at);
            return;
        }
        self.worker.take_back();
        let made = step.map(Option::unwrap_or_default);
        self.give_back(at.source, at.target, made, progress);
    }

    fn step_on(&mut self, at: &mut UnderWay<C>, bus: &mut dyn Bus<C>) -> Step {
        let mut left = match at.on_thread {
            true => self.piece,
            false => usize::MAX,
        };
        if let Some(cursor) = &mut at.reading {
            if at.source.is_stale() {
                // The format may be another one by now.
                return Err(Trouble::Stale);
            }
            let (place, going) = ((&at.source, at.plan.selection.crop), (cursor, &mut left));
            let from = Surface(&self.output.format);
            if !from.read_rect_on(place, going, bus, &mut self.worker.source)? {
                return Ok(None);
            }
            at.reading = None;
            let lent = at
                .on_thread
                .then(|| self.lend_target(&at.plan, &at.target, bus));
            (self.worker).begin(&at.plan, None, Vec::new(), lent.flatten(), at.on_thread);
            if at.on_thread {
                return Ok(None);
            }
        }
        if !self.worker.is_converted() {
            return Ok(None);
        }
        if at.source.is_stale() {
            return Err(Trouble::Stale);
        }
        let format = &self.capture.format;
        (self.worker).resume_write(format, &at.target, &mut left, bus)
    }

    /// Lends the target to the thread, unless the thread cannot write it.
    fn lend_target(
        &self,
        plan: &Conversion,
        target: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Option<LentTarget> {
        Surface(&self.capture.format).lend_target(target, plan.selection.compose, bus)
    }

    /// Takes the target back from the thread if the device has lost it.
    pub(super) fn recall_lost(&mut self) {
        let at = self.own.under_way.as_ref();
        if at.is_some_and(|at| at.target.is_stale()) {
            self.worker.recall();
        }
    }

    /// Completes both buffers with the result. If the device has lost one of the two buffers, completes neither,
    /// and puts the other one back into its queue.
    fn give_back(
        &mut self,
        source: Active<C>,
        target: Active<C>,
        made: Result<Payloads, Trouble>,
        progress: &mut Progress<C>,
    ) {
        let Some((outcome, payloads)) = self.outcome(made) else {
            // The device has lost one of the two buffers. The other buffer is the next of its queue again.
            self.output.put_back(source);
            return self.capture.put_back(target);
        };
        if outcome.is_err() {
            self.statistics.dropped += 1;
        }
        let stamp = Stamp {
            sequence: self.capture.next_sequence(),
            ..Stamp::of(&source)
        };
        self.output.consume(source, outcome, progress);
        stamp.finish(Flow::Capture, target, outcome, Some(payloads), progress);
    }

    fn plan(&self) -> Result<Conversion, Trouble> {
        let (from, to) = (Surface(&self.output.format), Surface(&self.capture.format));
        let Selection { crop, compose, .. } = self.own.selection;
        let pixel_of = |format: &Format| pixfmt::lookup(format.fourcc).ok_or(Trouble::TooSmall);
        let size_of = |rect: Rect| Size::new(rect.width, rect.height).ok_or(Trouble::TooSmall);
        let (from_size, to_size) = (size_of(crop)?, size_of(compose)?);
        let job = Job {
            rotate: self.own.rotate,
            hflip: self.own.hflip,
            vflip: self.own.vflip,
            target_color: color_of(&to.0.color),
            ..Job::whole(from_size, to_size, color_of(&from.0.color))
        };
        let source_bytes = from.rect_bytes(crop).ok_or(Trouble::TooSmall)?;
        let target_bytes = to.rect_bytes(compose).ok_or(Trouble::TooSmall)?;
        Ok(Conversion {
            job,
            shapes: [(pixel_of(from.0)?, from_size), (pixel_of(to.0)?, to_size)],
            bytes: [source_bytes, target_bytes],
            selection: self.own.selection,
        })
    }

    /// Converts a picture without a copy. `None` if the memory is not accessible in place.
    fn convert_in_place(
        &mut self,
        plan: &Conversion,
        source: &Active<C>,
        target: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Step {
        let Selection { crop, compose, .. } = plan.selection;
        let (from, to) = (Surface(&self.output.format), Surface(&self.capture.format));
        let sources = from.rect_lines(source, Flow::Output, crop)?;
        let targets = to.rect_lines(target, Flow::Capture, compose)?;
        match in_place(&mut self.worker.engine, plan, &sources, &targets, bus) {
            Some(true) => to.payloads().map(Some),
            Some(false) => Err(Trouble::Fault),
            None => Ok(None),
        }
    }
}

/// Converts without a copy. Returns whether it succeeded; `None` if the memory is not accessible in place.
fn in_place<C>(
    engine: &mut convert::Converter,
    conversion: &Conversion,
    from: &[Lines<'_, C>],
    to: &[Lines<'_, C>],
    bus: &mut dyn Bus<C>,
) -> Option<bool> {
    let [from_shape, to_shape] = conversion.shapes;
    // CAST: widening, on every target there is.
    let pitch = |lines: &Lines<'_, C>| lines.pitch as usize;
    bus.in_place(from, to, &mut |sources, targets| {
        let planes = sources.iter().zip(from);
        let planes = planes.map(|(bytes, lines)| (*bytes, pitch(lines)));
        let view = View::new(from_shape.0, from_shape.1, planes);
        let planes = targets.iter_mut().zip(to);
        let planes = planes.map(|(bytes, lines)| (&mut **bytes, pitch(lines)));
        let made = ViewMut::new(to_shape.0, to_shape.1, planes);
        view.and_then(|view| engine.run(&conversion.job, &view, &mut made?))
            .is_ok()
    })
}
