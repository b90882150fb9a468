//! Copies between two devices' memory, and comparison of their memory.

use crate::backing::CHUNK;
use crate::device::{Access, BusFault, BusSpan, Device};
use crate::front::Machine;
use crate::machine::State;
use vb3_dma::DmaAddr;

impl Machine {
    /// Copies from one device's memory to another's, each by its own addresses.
    ///
    /// Traces only the write; the read was traced before ([`bus_note_read`](Self::bus_note_read)).
    /// Returns how many bytes this process moved: each byte once if both spans are contiguous, else twice.
    ///
    /// # Errors
    /// [`BusFault`] with the device and its address; part of the bytes may have been written.
    pub fn bus_copy(
        &mut self,
        (reader, from): (Device, BusSpan),
        (writer, to): (Device, DmaAddr),
    ) -> Result<u64, BusFault> {
        let read = Access::read(reader, from);
        let write = Access::write(writer, BusSpan { addr: to, ..from });
        let state = self.state.get_mut();
        if state.copy_straight(&read, &write).is_some() {
            state.trace_access(&write, Ok(()))?;
            return Ok(from.len);
        }
        let mut chunk = vec![0; CHUNK.min(from.len) as usize];
        for done in (0..from.len).step_by(CHUNK as usize) {
            let part = &mut chunk[..CHUNK.min(from.len - done) as usize];
            let source = read.rest(done)?.span.addr;
            let target = write.rest(done)?.span.addr;
            if let Err(fault) = self.bus_inspect(reader, source, part) {
                let write = false;
                let fault = Err(BusFault { write, ..fault });
                self.state.get_mut().trace_access(&read, fault)?;
            }
            self.bus_write(writer, target, part)?;
        }
        Ok(from.len.saturating_mul(2))
    }

    /// Returns whether two contiguous spans are the same bytes in the same view, and `reader` may read and
    /// `writer` may write them. Traces no access.
    #[must_use]
    pub fn bus_is_same(
        &self,
        (reader, from): (Device, BusSpan),
        (writer, to): (Device, DmaAddr),
    ) -> bool {
        let mut state = self.state.borrow_mut();
        let to = BusSpan { addr: to, ..from };
        let (read, write) = (Access::read(reader, from), Access::write(writer, to));
        // In most cases, the first bytes already lie in different places, so the other bytes need no search.
        let first = |access: &Access| {
            let found = state.target(access, None).ok()?;
            Some((found.found.piece.object, found.found.piece.offset))
        };
        let begins_same = from.len > 0 && first(&read).is_some_and(|it| first(&write) == Some(it));
        begins_same && {
            let place = state.proven_place(&read);
            place.is_some() && state.proven_place(&write) == place
        }
    }
}

impl State {
    /// Copies directly, without a buffer in between. Returns `None` if that is impossible; the target may be
    /// partly written even so.
    fn copy_straight(&mut self, read: &Access, write: &Access) -> Option<()> {
        if self.is_to_fault(write.dev) {
            return None;
        }
        let source = self.proven_place(read)?;
        let target = self.proven_place(write)?;
        self.memory.copy_place(&source, &target)
    }
}
