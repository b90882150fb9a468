//! What a device's threads have to say to the user.

use std::sync::{Mutex, PoisonError};

use crate::shared::Bell;

/// Maximum number of remarks in one connection.
const MAX_REMARKS: usize = 32;

/// Remarks, each once in a connection.
pub(crate) struct Remarks {
    /// The connection's remarks, and how many of them were taken.
    all: Mutex<(Vec<String>, usize)>,
    /// Rings for each new remark.
    pub(crate) bell: Bell,
}

impl Remarks {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            all: Mutex::default(),
            bell: Bell::new()?,
        })
    }

    pub(crate) fn add(&self, text: String) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, _) = &mut *all;
        if kept.len() < MAX_REMARKS && !kept.contains(&text) {
            kept.push(text);
            self.bell.ring();
        }
    }

    /// Returns the remarks since the last call. If `is_end` is true, the connection has ended, and
    /// the next connection may repeat the remarks.
    pub(crate) fn take(&self, is_end: bool) -> Vec<String> {
        self.bell.silence();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, told) = &mut *all;
        let new = kept.get(*told..).unwrap_or_default().to_vec();
        if is_end {
            kept.clear();
        }
        *told = kept.len();
        new
    }
}
