//! What went wrong outside, in a sentence for a person.

use std::fmt;

/// A failure of a file, a program or the system behind a source or sink: what failed, why, and
/// what to do.
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

    /// An end that the user asked for, such as `end=stop`.
    pub(crate) fn asked_for(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            asked_for: true,
        }
    }

    /// Whether the user asked for it: it is worth a line, and nothing went wrong.
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
