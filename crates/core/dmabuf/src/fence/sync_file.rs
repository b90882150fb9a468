//! Sync files: sets of fences that programs hold.

use super::table::is_later;
use super::{FenceId, FenceInfo, Fences, Status, Timeline};
use crate::Error;
use alloc::vec::Vec;

/// A set of fences, at most one of each context. A program waits for it, merges it with another set, or adds
/// it to a memory's fences. An empty set counts as ended.
///
/// ```compile_fail,E0382
/// use vb3_dmabuf::fence::{Fences, SyncFile};
/// fn twice(fences: &mut Fences<u32>, file: SyncFile) {
///     fences.put_sync_file(file);
///     fences.put_sync_file(file);
/// }
/// ```
#[must_use = "a sync file goes back through `Fences::put_sync_file`"]
#[derive(Debug, PartialEq, Eq)]
pub struct SyncFile {
    /// The fences, in the order of their contexts.
    fences: Vec<FenceId>,
    /// When the sync file was made.
    since_ns: u64,
}

impl SyncFile {
    /// Returns the fences, in the order of their contexts, including ended ones. There are none if no work was
    /// pending when the sync file was made.
    #[must_use]
    pub fn fences(&self) -> &[FenceId] {
        &self.fences
    }
}

impl<T: Copy + PartialEq> Fences<T> {
    /// Maximum number of fences of one sync file.
    pub const SYNC_FILE_LIMIT: usize = 4096;

    /// Makes a sync file of one fence, which ends when the timeline reaches this sequence number.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM).
    pub fn sync_file_at(
        &mut self,
        timeline: &mut Timeline<T>,
        seqno: u64,
        now_ns: u64,
    ) -> Result<SyncFile, Error> {
        let mut fences = self.room(1)?;
        fences.push(self.begin_at(timeline, seqno, now_ns)?);
        Ok(SyncFile {
            fences,
            since_ns: now_ns,
        })
    }

    /// Makes a sync file of two sync files' pending fences, the latest of each context (`SYNC_IOC_MERGE`).
    ///
    /// # Errors
    /// `TableFull` (ENOMEM).
    pub fn merge(&mut self, a: &SyncFile, b: &SyncFile, now_ns: u64) -> Result<SyncFile, Error> {
        let mut found = self.room(a.fences.len().saturating_add(b.fences.len()))?;
        let all = a.fences.iter().chain(&b.fences);
        found.extend(
            all.copied()
                .filter(|fence| self.table.pending(*fence).is_some()),
        );
        self.sync_file_of(found, now_ns)
    }

    /// Returns an empty list with room for `count` fences.
    pub(super) fn room(&self, count: usize) -> Result<Vec<FenceId>, Error> {
        let mut list = Vec::new();
        let reserved = list.try_reserve_exact(count);
        reserved.map_err(|_| self.table.full()).map(|()| list)
    }

    /// Makes a sync file of the latest fence of each context, and takes a reference to each.
    pub(super) fn sync_file_of(
        &mut self,
        mut fences: Vec<FenceId>,
        now_ns: u64,
    ) -> Result<SyncFile, Error> {
        let place = |fence: &FenceId| {
            let found = self.table.get(*fence);
            found.map_or((0, 0), |f| (f.context, f.seqno))
        };
        fences.sort_unstable_by_key(|fence| place(fence).0);
        fences.dedup_by(|next, kept| {
            let ((context, seqno), (kept_context, kept_seqno)) = (place(next), place(kept));
            if context == kept_context && is_later(seqno, kept_seqno) {
                *kept = *next;
            }
            context == kept_context
        });
        if fences.len() > Self::SYNC_FILE_LIMIT {
            return Err(self.table.full());
        }
        for (held, fence) in fences.iter().enumerate() {
            if let Err(e) = self.table.hold(*fence) {
                fences.iter().take(held).for_each(|f| self.table.put(*f));
                return Err(e);
            }
        }
        Ok(SyncFile {
            fences,
            since_ns: now_ns,
        })
    }

    /// Drops a sync file and its references to its fences.
    pub fn put_sync_file(&mut self, file: SyncFile) {
        for fence in file.fences {
            self.table.put(fence);
        }
    }

    /// Returns a sync file's status: pending until all its fences have ended, and then failed if one has
    /// failed. An empty sync file ended when it was made.
    #[must_use]
    pub fn sync_file_status(&self, file: &SyncFile) -> Status {
        let mut ended = None;
        for info in self.sync_file_info(file) {
            let Status::Ended { outcome, at_ns } = info.status else {
                return Status::Pending;
            };
            ended = Some(match ended {
                Some((failed @ Err(_), before)) => (failed, at_ns.max(before)),
                Some((_, before)) => (outcome, at_ns.max(before)),
                None => (outcome, at_ns),
            });
        }
        let (outcome, at_ns) = ended.unwrap_or((Ok(()), file.since_ns));
        Status::Ended { outcome, at_ns }
    }

    /// Returns the state of each fence of a sync file, in the order of their contexts.
    pub fn sync_file_info(&self, file: &SyncFile) -> impl Iterator<Item = FenceInfo<T>> {
        file.fences.iter().filter_map(|f| self.table.get(*f))
    }
}
