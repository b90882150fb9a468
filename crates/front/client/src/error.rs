//! Errors of a run (a running `vb3 run`) and of orders, the commands that a client sends to it.

use std::fmt;
use std::io;

/// The reason why an order or a run failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The run refused the order.
    Refused {
        /// The wrong field; empty if the line is not an order.
        field: String,
        /// A message that says what is wrong and which values are allowed.
        message: String,
    },
    /// The run has ended.
    Ended,
    /// The run has closed the connection but has not ended.
    Lost,
    /// The answer does not follow the protocol.
    Answer(String),
    /// The program or `vb3` cannot be started. The message says why.
    Start(String),
    /// The socket failed. If no answer came in time, the error is [`TimedOut`](io::ErrorKind::TimedOut) or
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    Socket(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { message, .. } => f.write_str(message),
            Self::Ended => f.write_str("the run has ended"),
            Self::Lost => {
                f.write_str("the run has closed the connection, but still runs; connect again")
            }
            Self::Answer(line) => write!(
                f,
                "the run's answer is not understood: {line}; install \
                 vb3 and vb3-client of the same release"
            ),
            Self::Start(message) => f.write_str(message),
            Self::Socket(e) => write!(
                f,
                "the run does not answer: {e}; check the socket's path, and that the run has \
                 not ended"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket(e) => Some(e),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match e.kind() {
            BrokenPipe | ConnectionReset => Self::Ended,
            _ => Self::Socket(e),
        }
    }
}
