//! Opens a camera's next source on a thread, since it waits for ffprobe.

use super::job::Job;
use super::{Awaited, Refused, of};
use crate::Run;
use crate::script::Action;
use vb3_devices::source::NextSource;
use vb3_devices::spec::SourceSpec;
use vb3_devices::{PlayError, Signal};
use vb3_v4l2::VideoDriver as _;

impl Run {
    /// Starts to open a camera's next source on a thread.
    pub(super) fn open_source(
        &mut self,
        name: &str,
        source: SourceSpec,
        frame: Option<u32>,
    ) -> Result<Awaited, Refused> {
        let at = self.named(name).map_err(of("device"))?;
        let opening = Job::start(&self.orders.running, "vb3-source", move || {
            let opened = NextSource::open(&source, frame);
            opened.map_err(|e| e.sentence().to_owned())
        });
        let opening = opening.map_err(of("source"))?;
        Ok(Awaited::Source { at, opening })
    }

    /// Brings a camera back to the state in which the run began: plugged in, with its first source and signal, its
    /// controls' initial values, and without faults of earlier orders. Programs keep their open files and streams.
    pub(super) fn reset(&mut self, name: &str) -> Result<Awaited, Refused> {
        let at = self.named(name).map_err(of("device"))?;
        let source = self.nodes.get(at).and_then(|node| node.source.clone());
        let Some(source) = source else {
            return Err(Refused::new("device", format!("{name} is no camera")));
        };
        if !self.nodes.plugs.is_present(at) {
            self.plug_by_name(name, true).map_err(of("device"))?;
        }
        self.play.forget_orders(at);
        let is_lost = self.nodes.get(at).is_some_and(|node| {
            let mut contexts = node.video.contexts();
            contexts.any(|context| context.driver().input_status() != 0)
        });
        if is_lost {
            self.order_step(name, 1, Action::Signal(Signal::Back))?;
        }
        let now = self.clock.now_ns();
        let node = self.nodes.get_mut(at);
        for context in node.into_iter().flat_map(|node| node.video.contexts_mut()) {
            context.driver_mut().pause(false);
            context.reset_controls(now);
        }
        self.open_source(name, source, None)
    }

    /// Passes an opened source to its camera.
    pub(super) fn play_next(&mut self, at: usize, next: NextSource) -> Result<(), Refused> {
        let node = self.nodes.get_mut(at);
        let mut contexts = node.into_iter().flat_map(|node| node.video.contexts_mut());
        match contexts.next() {
            Some(context) => {
                let played = context.driver_mut().play(next);
                played.map_err(|e| {
                    let field = match e {
                        PlayError::NoCamera => "device",
                        PlayError::Passed { .. } => "sequence",
                        PlayError::Failed(_) => "source",
                    };
                    Refused::new(field, e.to_string())
                })
            }
            None => Err(Refused::new("device", PlayError::NoCamera.to_string())),
        }
    }

    /// Returns whether a camera's next source has a picture. Fails if the source cannot be played.
    pub(super) fn is_next_ready(&mut self, at: usize) -> Result<bool, Refused> {
        let node = self.nodes.get_mut(at);
        for context in node.into_iter().flat_map(|node| node.video.contexts_mut()) {
            let is_ready = context.driver_mut().is_next_ready();
            if !is_ready.map_err(|e| Refused::new("source", e.to_string()))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
