//! External failures, as messages for users.

use thiserror::Error;

/// A failure of a file, a program or the system behind a source or sink.
/// Its message has the failed action, the cause and a remedy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{sentence}")]
pub struct Failure {
    sentence: String,
    asked_for: bool,
    errno: i32,
}

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            asked_for: false,
            errno: 5,
        }
    }

    /// Sets the errno of the call that failed.
    pub(crate) fn with_errno(mut self, errno: i32) -> Self {
        self.errno = errno;
        self
    }

    /// Returns the errno of the call that failed. This is EIO unless a more precise one is set.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        self.errno
    }

    /// Makes a failure for a stream that ends as the user requested, such as by `end=stop`.
    pub(crate) fn asked_for(sentence: impl Into<String>) -> Self {
        Self {
            asked_for: true,
            ..Self::new(sentence)
        }
    }

    /// Returns whether the user requested this end of a stream: it is reported, but is no error.
    #[must_use]
    pub const fn is_asked_for(&self) -> bool {
        self.asked_for
    }

    /// Returns the message for the user.
    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }
}

/// Why a device does not play another source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlayError {
    /// The device is not a camera.
    #[error("only a camera plays a clip or pattern")]
    NoCamera,
    /// The stream has passed the frame from which the source should have been played.
    #[error("this frame is over; the stream's next frame is {next}")]
    Passed {
        /// The number of the stream's next frame.
        next: u32,
    },
    /// The system provides no thread or descriptor.
    #[error(transparent)]
    Failed(#[from] Failure),
}
