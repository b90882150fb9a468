//! A recorder for tests, which writes nothing and waits for permission to finish each picture.

use super::{PictureFile, Sink, WriterThread};
use crate::Failure;
use crate::spec::SinkSpec;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use vb3_picture::Frame;

/// Maximum time to wait for permission.
const LIMIT: Duration = Duration::from_secs(10);

/// The number of pictures that may still pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<u32>, Condvar)>);

impl Gate {
    /// Lets `count` more pictures pass.
    pub(crate) fn allow(&self, count: u32) {
        *self.0.0.lock().expect("no panic") += count;
        self.0.1.notify_all();
    }
}

impl PictureFile for Gate {
    fn write(&mut self, _frame: &Frame) -> Result<(), Failure> {
        let (allowed, changed) = &*self.0;
        let allowed = allowed.lock().expect("no panic");
        // After a failed test, no more permission comes, but the thread must still end.
        let (mut allowed, timeout) = changed
            .wait_timeout_while(allowed, LIMIT, |allowed| *allowed == 0)
            .expect("no panic");
        if timeout.timed_out() {
            return Err(Failure::new("the gate stayed shut"));
        }
        *allowed -= 1;
        Ok(())
    }
}

impl Sink {
    /// Makes a sink with a closed gate.
    pub(crate) fn gated() -> (Self, Gate) {
        let gate = Gate::default();
        let mut sink = Self::open(&SinkSpec::Null).expect("no file");
        sink.writer = Some(WriterThread::start(Box::new(gate.clone())).expect("a thread"));
        (sink, gate)
    }
}
