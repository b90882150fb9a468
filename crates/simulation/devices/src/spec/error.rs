//! Errors in a SPEC.

use std::fmt;
use thiserror::Error;

/// An error in a SPEC: what is wrong, the allowed values, and the most similar name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SpecError(pub(crate) String);

impl SpecError {
    /// Returns the error for an invalid value of an option.
    pub(crate) fn value(option: &str, value: &str, allowed: impl fmt::Display) -> Self {
        Self(format!("{option}={value} is not understood: {allowed}"))
    }
}
