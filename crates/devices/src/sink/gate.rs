//! A recorder for tests that writes nothing, and that only when it is let.

use super::{Recorder, Shape, Sink, Writer};
use crate::Failure;
use crate::picture::Frame;
use crate::spec::SinkSpec;
use std::sync::{Arc, Condvar, Mutex};

/// How many pictures may still pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<u32>, Condvar)>);

impl Gate {
    /// Lets that many more pass.
    pub(crate) fn allow(&self, count: u32) {
        *self.0.0.lock().expect("no panic") += count;
        self.0.1.notify_all();
    }
}

impl Recorder for Gate {
    fn begin(&mut self, _shape: Shape) -> Result<(), Failure> {
        Ok(())
    }

    fn write(&mut self, _frame: &Frame) -> Result<(), Failure> {
        let (allowed, changed) = &*self.0;
        let mut allowed = allowed.lock().expect("no panic");
        while *allowed == 0 {
            allowed = changed.wait(allowed).expect("no panic");
        }
        *allowed -= 1;
        Ok(())
    }
}

impl Sink {
    /// A sink with a gate that lets nothing pass yet.
    pub(crate) fn gated() -> (Self, Gate) {
        let gate = Gate::default();
        let mut sink = Self::open(&SinkSpec::Null).expect("no file");
        sink.writer = Some(Writer::start(Box::new(gate.clone())).expect("a thread"));
        (sink, gate)
    }
}
