//! Opens a camera's next source on a thread, since it waits for ffprobe.

use super::{Awaited, Refused, of};
use crate::World;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use vb3_devices::source::NextSource;
use vb3_devices::spec::{ClipEnd, SourceSpec};

/// A source that a thread opens. The thread ends by itself.
#[derive(Debug)]
pub(super) struct Opening {
    opened: Receiver<Result<NextSource, String>>,
    wake: Arc<OwnedFd>,
}

impl Opening {
    fn start(spec: SourceSpec, at: Option<u32>) -> Result<Self, String> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| format!("cannot make an eventfd: {e}"))?;
        let wake = Arc::new(wake);
        let (sender, opened) = channel();
        let ready = Arc::clone(&wake);
        std::thread::Builder::new()
            .name("vb3-source".to_owned())
            .spawn(move || {
                // The order may have been dropped.
                let opened = NextSource::open(&spec, ClipEnd::Loop, at);
                let _ = sender.send(opened.map_err(|e| e.sentence().to_owned()));
                // A counter of one is never full.
                let _ = rustix::io::write(&*ready, &1u64.to_ne_bytes());
            })
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Self { opened, wake })
    }

    /// Returns a descriptor that is readable once the source is open.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Returns the source once it is open.
    pub(super) fn take(&self) -> Option<Result<NextSource, String>> {
        match self.opened.try_recv() {
            Ok(opened) => Some(opened),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("the source cannot be opened".to_owned())),
        }
    }
}

impl World {
    /// Begins to open a source for a camera.
    pub(super) fn open_source(
        &mut self,
        name: &str,
        source: SourceSpec,
        frame: Option<u32>,
    ) -> Result<Awaited, Refused> {
        let at = self.named(name).map_err(of("device"))?;
        let opening = Opening::start(source, frame);
        let opening = opening.map_err(of("source"))?;
        Ok(Awaited::Source { at, opening })
    }

    /// Gives a camera its next source.
    pub(super) fn play_next(&mut self, at: usize, next: NextSource) -> Result<(), Refused> {
        let node = self.nodes.get_mut(at);
        let mut contexts = node.into_iter().flat_map(|node| node.video.contexts_mut());
        match contexts.next() {
            Some(context) => {
                let played = context.driver_mut().play(next);
                played.map_err(|e| Refused::new("device", e.sentence()))
            }
            None => Err(Refused::new(
                "device",
                "only a camera plays a clip or pattern",
            )),
        }
    }
}
