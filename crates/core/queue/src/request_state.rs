//! The state of a media request, without its buffers.

/// The host's identifier of a media request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// State of a media request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RequestState {
    /// Idle: buffers may be added.
    #[default]
    Idle,
    /// Its buffers are queued.
    Queued,
    /// The device has finished all of them.
    Complete,
}
