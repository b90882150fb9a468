//! Imports: attachments that the planes of one device and direction share. They are in the memory's own list, so
//! that imports of other memories do not slow the search for one.

use crate::{Attachment, BufId, Cx, Error, Observer, Shared, SlabKey, Store};
use vb3_dma::{Direction, DmaOps};

/// The planes that use an attachment. Without a plane, the import is idle, and its device stays mapped.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) direction: Direction,
    /// The imported dma-buf. The import has no reference to it.
    pub(crate) buf: BufId,
    /// Number of planes that use the import.
    pub(crate) planes: u32,
    /// Whether the dma-buf no longer exists.
    pub(crate) is_gone: bool,
    /// The import's entry in the registry's list.
    pub(crate) entry: SlabKey,
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Returns the import of a dma-buf for a device and direction, with one more plane; `None` if there is none.
    pub(crate) fn join_import(
        &mut self,
        dev: O::Device,
        direction: Direction,
        buf: BufId,
    ) -> Result<Option<L::Key>, Error> {
        let is_it = |attachment: &Attachment<O>| {
            let import = attachment.import.as_ref();
            attachment.dev == dev
                && import.is_some_and(|import| import.buf == buf && import.direction == direction)
        };
        let Some(key) = self
            .keys()
            .find(|key| self.list.get(*key).is_some_and(is_it))
        else {
            return Ok(None);
        };
        let import = self.import_mut(key).ok_or(Error::Invalid)?;
        let full = Error::table_full(import.planes);
        import.planes = import.planes.checked_add(1).ok_or(full)?;
        Ok(Some(key))
    }

    /// Returns whether planes share the attachment.
    pub(crate) fn is_import(&self, key: L::Key) -> bool {
        let attachment = self.list.get(key);
        attachment.is_some_and(|attachment| attachment.import.is_some())
    }

    fn import_mut(&mut self, key: L::Key) -> Option<&mut Import> {
        self.list.get_mut(key)?.import.as_mut()
    }

    /// Marks an attachment as an import that one plane uses.
    pub(crate) fn set_import(&mut self, key: L::Key, import: Import) {
        if let Some(attachment) = self.list.get_mut(key) {
            attachment.import = Some(import);
        }
    }

    /// Ends a plane's use of an import. If the import is then idle, and the dma-buf is gone or not mapped, ends the
    /// import, and returns its entry. An import that is not mapped must end, because a device that could not map the
    /// memory would otherwise still influence the choice of its place.
    pub(crate) fn put_import<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
    ) -> Option<SlabKey> {
        let import = self.import_mut(key)?;
        import.planes = import.planes.saturating_sub(1);
        let is_gone = import.is_gone;
        let is_mapped = self.held(key).is_some();
        (is_gone || !is_mapped).then(|| self.end_idle(cx, key))?
    }

    /// Ends an import if it is idle, and returns its entry.
    pub(crate) fn end_idle<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
    ) -> Option<SlabKey> {
        let import = self.import_mut(key).filter(|import| import.planes == 0)?;
        let entry = import.entry;
        self.detach(cx, key);
        Some(entry)
    }

    /// Ends one idle import of a dma-buf that no longer exists, and returns its entry. Imports in use end with their
    /// last plane.
    pub(crate) fn end_import_of<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        buf: BufId,
    ) -> Option<SlabKey> {
        let mut at = self.list.next(None);
        while let Some(key) = at {
            if let Some(import) = self.import_mut(key).filter(|import| import.buf == buf) {
                import.is_gone = true;
                if let Some(entry) = self.end_idle(cx, key) {
                    return Some(entry);
                }
            }
            at = self.list.next(Some(key));
        }
        None
    }
}
