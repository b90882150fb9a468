//! Spans that devices are known to reach, stored until translations or memory change.

use crate::device::Access;
use crate::memory::Extent;
use std::collections::BTreeMap;

/// Maximum number of stored spans. When it is reached, all are dropped.
const MAX: usize = 256;

/// Spans that a device may read or write, with their places.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    /// The number of changes to translations and memory when the spans were stored.
    changes: u64,
    /// Length and place of each span. The key is the device, whether it writes, and the span's first address.
    places: BTreeMap<(u32, bool, u64), (u64, Extent)>,
}

impl Proven {
    /// Returns the place of an access in a stored span, if nothing has changed since.
    pub(crate) fn find(&self, changes: u64, access: &Access) -> Option<Extent> {
        if self.changes != changes {
            return None;
        }
        let &Access { dev, span, write } = access;
        let addr = span.addr.get();
        let before = (dev.index(), write, 0)..=(dev.index(), write, addr);
        let (&(.., first), (len, place)) = self.places.range(before).next_back()?;
        let inside = addr - first;
        let is_inside = inside.checked_add(span.len)? <= *len;
        is_inside.then(|| Extent {
            offset: place.offset + inside,
            len: span.len,
            ..*place
        })
    }

    /// Stores the place of an access.
    pub(crate) fn put(&mut self, changes: u64, access: &Access, place: Extent) {
        if self.changes != changes || self.places.len() >= MAX {
            self.places.clear();
            self.changes = changes;
        }
        let &Access { dev, span, write } = access;
        let key = (dev.index(), write, span.addr.get());
        self.places.insert(key, (span.len, place));
    }
}
