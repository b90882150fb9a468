//! Work on frames outside of ticks (calls by the host).

use crate::Failure;
use vb3_v4l2::WakeFd;

/// Works on frames outside of ticks: a codec process, or a thread.
pub(crate) trait FrameWorker {
    /// Returns whether the worker has unfinished frames.
    fn is_busy(&self) -> bool;

    /// Returns a descriptor that is readable when the worker has a result.
    fn wake_fd(&self) -> Option<WakeFd<'_>>;

    /// Returns the reason why the last worker ended, unless it ended normally.
    fn failure(&self) -> Option<&Failure> {
        None
    }

    /// Ends the worker, because its device is closed.
    fn end(&mut self) {}

    /// Prepares for virtual time: a conversion thread does its work within the tick, and a decoder uses one
    /// thread.
    fn work_at_once(&mut self) {}
}
