//! The state of a media request, without its buffers.

/// The host's name for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// How far a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RequestState {
    /// Being filled.
    #[default]
    Idle,
    /// Being looked at, so that queueing it cannot fail.
    Validating,
    /// Its buffers are queued.
    Queued,
    /// The device has finished all of them.
    Complete,
    /// Being emptied.
    Cleaning,
}
