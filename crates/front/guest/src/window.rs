//! Places in the shared memory region, in which the guest sees mapped buffers.

use std::collections::BTreeMap;

use vb3_frontend::{Errno, Tag};

/// Length in bytes of the shared memory region.
pub(crate) const WINDOW_BYTES: u64 = 4 << 30;
/// Each place begins at a multiple of this number: pages of hosts and guests have at most 64 KiB, so
/// a place begins at a whole page of each.
const PLACE: u64 = 64 << 10;
/// Maximum number of mappings of one device.
const MAX_MAPPINGS: usize = 4096;

/// A mapping of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Length in bytes, whole pages of the host.
    pub(crate) len: u64,
    /// The devices' tag of the mapping.
    pub(crate) tag: Tag,
    /// The session that made it.
    pub(crate) session: u32,
}

/// All mappings of a device, by their offset in the region.
#[derive(Debug, Default)]
pub(crate) struct Window(BTreeMap<u64, Mapping>);

impl Window {
    pub(crate) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Finds the first place for `len_bytes` bytes. Returns its offset, and its length in whole pages.
    ///
    /// # Errors
    /// EINVAL for length 0; ENOMEM without such a place, or with too many mappings.
    pub(crate) fn place(&self, len_bytes: u64) -> Result<(u64, u64), Errno> {
        if len_bytes == 0 {
            return Err(Errno::EINVAL);
        }
        let len = len_bytes
            .checked_next_multiple_of(rustix::param::page_size() as u64)
            .filter(|len| *len <= WINDOW_BYTES && self.0.len() < MAX_MAPPINGS)
            .ok_or(Errno::ENOMEM)?;
        let mut at = 0;
        for (&start, mapping) in &self.0 {
            if start - at >= len {
                break;
            }
            at = (start + mapping.len).next_multiple_of(PLACE);
        }
        match WINDOW_BYTES - at >= len {
            true => Ok((at, len)),
            false => Err(Errno::ENOMEM),
        }
    }

    /// Adds a mapping at a [`place`](Self::place).
    pub(crate) fn insert(&mut self, at: u64, mapping: Mapping) {
        self.0.insert(at, mapping);
    }

    /// Removes the mapping that begins at `at`.
    pub(crate) fn remove(&mut self, at: u64) -> Option<Mapping> {
        self.0.remove(&at)
    }

    /// Returns whether a session has mappings.
    pub(crate) fn has_any_of(&self, session: u32) -> bool {
        self.0.values().any(|mapping| mapping.session == session)
    }

    /// Removes all mappings.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Mapping> + use<> {
        std::mem::take(&mut self.0).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(window: &mut Window, len_bytes: u64) -> u64 {
        let (at, len) = window.place(len_bytes).unwrap();
        let (tag, session) = (Tag(at), 1);
        window.insert(at, Mapping { len, tag, session });
        at
    }

    #[test]
    fn places_are_whole_pages_and_do_not_overlap() {
        let mut window = Window::default();
        let places = [1, 0x10000, 0x10001, 100].map(|len| mapped(&mut window, len));
        assert_eq!(places, [0, 0x10000, 0x20000, 0x40000], "64 KiB each");
        assert_eq!(window.remove(0x10000).unwrap().tag, Tag(0x10000));
        assert_eq!(window.place(0x10001), Ok((0x50000, 0x11000)));
        assert_eq!(window.place(0x10000), Ok((0x10000, 0x10000)));
        let inside = window.remove(0x30000);
        assert!(inside.is_none(), "in the middle of a mapping");
    }

    #[test]
    fn a_full_region_has_no_place() {
        let mut window = Window::default();
        assert_eq!(window.place(0), Err(Errno::EINVAL));
        assert_eq!(window.place(WINDOW_BYTES + 1), Err(Errno::ENOMEM));
        assert_eq!(window.place(u64::MAX), Err(Errno::ENOMEM));
        mapped(&mut window, WINDOW_BYTES - PLACE);
        assert_eq!(window.place(PLACE), Ok((WINDOW_BYTES - PLACE, PLACE)));
        assert_eq!(window.place(PLACE + 1), Err(Errno::ENOMEM));
    }

    #[test]
    fn mappings_are_bounded_and_go_with_all() {
        let mut window = Window::default();
        for _ in 0..MAX_MAPPINGS {
            mapped(&mut window, 1);
        }
        assert_eq!(window.place(1), Err(Errno::ENOMEM));
        assert!(window.has_any_of(1) && !window.has_any_of(2));
        assert_eq!(window.take_all().count(), MAX_MAPPINGS);
        assert_eq!(window.place(1), Ok((0, 0x1000)));
    }
}
