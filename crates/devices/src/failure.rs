//! External failures, as sentences for users.

use std::fmt;

/// A failure of a file, a program or the system behind a source or sink: the failed action, the cause,
/// and a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    sentence: String,
    asked_for: bool,
}

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            asked_for: false,
        }
    }

    /// Returns an end that the user requested, such as `end=stop`.
    pub(crate) fn asked_for(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            asked_for: true,
        }
    }

    /// Returns whether the user requested it: it is reported, but is no error.
    #[must_use]
    pub const fn is_asked_for(&self) -> bool {
        self.asked_for
    }

    /// The sentence.
    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}
