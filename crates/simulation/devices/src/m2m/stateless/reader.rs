//! The part of a stateless decoder that needs no device: from requests to the codec library's input.

use super::syntax::{Parameters, Syntax};
use crate::m2m::codecs::{Engine, Row};
use vb3_codec::Kind;
use vb3_v4l2::{CompoundType, ControlKind};

/// Reads requests as a stateless decoder does. Fuzzing uses it.
#[derive(Debug)]
pub struct RequestReader {
    row: &'static Row,
    syntax: &'static Syntax,
    parameters: Parameters,
}

impl RequestReader {
    /// Makes the reader of a codec; `None` for a codec without stateless decoder.
    #[must_use]
    pub fn new(kind: Kind) -> Option<Self> {
        let row = Row::of(kind)?;
        let Engine::Stateless(syntax) = &row.engine else {
            return None;
        };
        Some(Self {
            row,
            syntax,
            parameters: Parameters::default(),
        })
    }

    /// Returns the ids and types of the controls that are structures.
    pub fn controls(&self) -> impl Iterator<Item = (u32, CompoundType)> {
        let all = self.row.controls.iter();
        all.filter_map(|control| match control.kind {
            ControlKind::Compound(of) => Some((control.id, of)),
            _ => None,
        })
    }

    /// Sets a control.
    ///
    /// # Errors
    /// Fails with a sentence about a value that the decoder does not support.
    pub fn set(&mut self, id: u32, value: &[u8]) -> Result<(), String> {
        (self.syntax.check)(id, value)?;
        self.parameters.set(id, value);
        Ok(())
    }

    /// Returns the library's input for a request with these bytes in its OUTPUT buffer. From then on,
    /// `timestamp_ns` names the request's picture. `size` is the size of CAPTURE buffers.
    ///
    /// # Errors
    /// Fails with a sentence about a missing, wrong or unsupported part.
    pub fn read(
        &mut self,
        size: (u32, u32),
        content: Vec<u8>,
        timestamp_ns: u64,
    ) -> Result<Vec<u8>, String> {
        let input = (self.syntax.describe)(&self.parameters, size, content)?;
        if let Some(update) = input.update {
            self.parameters.slots.advance(update, timestamp_ns);
        }
        Ok(input.bytes)
    }
}
