//! Accesses by the CPU, and the syncs between the CPU and all mapped devices.

use crate::{Attachment, Backing, Cx, Error, Observer, Shared, Store};
use vb3_dma::{Direction, DmaOps, SyncFor};

/// Returns the part of direction `wanted` that a mapping for `allowed` permits; `None` if it permits no part.
#[must_use]
pub fn intersect(wanted: Direction, allowed: Direction) -> Option<Direction> {
    match (wanted, allowed) {
        (Direction::Bidirectional, other) | (other, Direction::Bidirectional) => Some(other),
        _ => (wanted == allowed).then_some(wanted),
    }
}

/// Returns the direction to sync for a mapping that does not bounce. The bytes that the CPU wrote always leave its
/// cache, because a later sync for the CPU would otherwise drop them.
fn part_of(wanted: Direction, allowed: Direction, sync: SyncFor) -> Option<Direction> {
    match (intersect(wanted, allowed), sync) {
        (None, SyncFor::Device) if wanted.device_reads() => Some(allowed),
        (part, _) => part,
    }
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Begins an access by the CPU: updates the CPU's view with all that devices wrote. `FromDevice` means
    /// that the CPU reads, `ToDevice` that it writes. A CPU that writes only some bytes must keep the bytes
    /// around them, so it also needs the devices' writes.
    ///
    /// Source: Linux 7.2 `dma_buf_begin_cpu_access` and the system heap's exporter, differs: each
    /// mapping is synced in the part of the direction that it allows; a CPU that only writes also gets the
    /// writes of devices that announce their uses; and a bounced copy is not copied back if its device did not
    /// write to it.
    ///
    /// # Errors
    /// `Dma` with the host's errno, such as EFAULT: a bounced copy could not be copied back. The access has not begun.
    pub fn begin_cpu_access<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        direction: Direction,
    ) -> Result<(), Error> {
        let wanted = match self.state.has_unread() {
            true => Direction::Bidirectional,
            false => direction,
        };
        self.sync_all(cx, wanted, SyncFor::Cpu, None)?;
        if direction.device_reads() {
            self.state.begin_write();
        }
        Ok(())
    }

    /// Ends an access by the CPU: makes the bytes that the CPU wrote visible to all mapped devices.
    ///
    /// The call syncs even if no [`begin_cpu_access`](Self::begin_cpu_access) preceded it.
    ///
    /// # Errors
    /// `Dma` with the host's errno, such as EFAULT: the bytes could not be copied for a device that uses a copy. The
    /// access has ended.
    pub fn end_cpu_access<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        direction: Direction,
    ) -> Result<(), Error> {
        if direction.device_reads() {
            self.state.end_write();
        }
        self.sync_all(cx, direction, SyncFor::Device, None)
    }

    /// Syncs between the CPU and the device that the memory was made for.
    pub(super) fn sync_own<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        direction: Direction,
        sync: SyncFor,
    ) {
        let Backing::NonCoherent(dev) = self.spec.backing else {
            return;
        };
        let Some(part) = part_of(direction, self.spec.direction, sync) else {
            return;
        };
        if !cx.ops.sync_alloc(&self.memory, part, sync) {
            return;
        }
        cx.observer.synced(dev, sync);
        if sync == SyncFor::Cpu && part.device_writes() {
            self.state.synced();
        }
    }

    /// Syncs the owner and all mappings except that of `except`. Bounced mappings are last, because a
    /// cache invalidation after their copy to the memory would drop the copied bytes. Returns the first error, after
    /// all syncs.
    pub(crate) fn sync_all<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        direction: Direction,
        sync: SyncFor,
        except: Option<L::Key>,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        self.sync_own(cx, direction, sync);
        for bounced in [false, true] {
            let others = self.keys().filter(|&key| except != Some(key));
            for (dev, held) in others.filter_map(|key| self.held(key)) {
                let part = match bounced {
                    true if sync == SyncFor::Cpu && !held.maybe_written => None,
                    true => intersect(direction, held.direction),
                    false => part_of(direction, held.direction, sync),
                };
                let part = part.filter(|_| cx.ops.bounces(&held.mapping) == bounced);
                match part.map_or(Ok(false), |part| cx.ops.sync(&held.mapping, part, sync)) {
                    Ok(true) => cx.observer.synced(dev, sync),
                    Ok(false) => {}
                    Err(err) => result = result.and(Err(err.into())),
                }
            }
        }
        if sync == SyncFor::Cpu && direction.device_writes() && result.is_ok() {
            self.state.synced();
        }
        result
    }
}
