//! Implements the importer's interface ([`Importer`]) for the registry.

use super::{AttachRef, BufRef, Buffers};
use crate::{AttachKind, Error, Importer, Observer, Shared};
use vb3_dma::{Direction, DmaOps, DmaSegment, Locks};

impl<O: DmaOps, W: Observer<O>, L: Locks> Importer for Buffers<O, W, L> {
    type Device = O::Device;
    type Buf = BufRef;
    type Attachment = AttachRef;

    fn size(&self, buf: &BufRef) -> u64 {
        self.inspect(buf.memory, Shared::len_bytes).unwrap_or(0)
    }

    fn attach(&self, buf: &BufRef, dev: O::Device) -> Result<AttachRef, Error> {
        let key = self.with_memory(buf.memory, |memory, cx| {
            memory.attach(cx, dev, AttachKind::Dynamic)
        })?;
        self.note_change(buf.memory);
        Ok(AttachRef {
            memory: buf.memory,
            key,
        })
    }

    fn map(&self, attachment: &mut AttachRef, direction: Direction) -> Result<(), Error> {
        self.with_memory(attachment.memory, |memory, cx| {
            memory.map(cx, attachment.key, direction)
        })
    }

    fn segment(&self, attachment: &AttachRef, index: usize) -> Option<DmaSegment> {
        self.inspect(attachment.memory, |memory| {
            memory.segment(&self.ops, attachment.key, index)
        })?
    }

    fn unmap(&self, attachment: &mut AttachRef) {
        let (cx, key) = (self.cx(), attachment.key);
        self.memories
            .with(attachment.memory.0, |memory| memory.unmap(&cx, key));
    }

    fn detach(&self, attachment: AttachRef) {
        let (cx, key) = (self.cx(), attachment.key);
        self.memories
            .with(attachment.memory.0, |memory| memory.detach(&cx, key));
        self.note_change(attachment.memory);
    }

    fn hand_to_device(&self, attachment: &AttachRef) -> Result<(), Error> {
        self.with_memory(attachment.memory, |memory, cx| {
            memory.hand_to_device(cx, attachment.key, false)
        })
    }

    fn take_from_device(&self, attachment: &AttachRef) {
        let (cx, key) = (self.cx(), attachment.key);
        self.memories.with(attachment.memory.0, |memory| {
            memory.take_from_device(&cx, key, false)
        });
    }

    fn begin_cpu_access(&self, buf: &BufRef, direction: Direction) -> Result<(), Error> {
        self.with_memory(buf.memory, |memory, cx| {
            memory.begin_cpu_access(cx, direction);
            Ok(())
        })
    }

    fn end_cpu_access(&self, buf: &BufRef, direction: Direction) -> Result<(), Error> {
        self.with_memory(buf.memory, |memory, cx| {
            memory.end_cpu_access(cx, direction);
            Ok(())
        })
    }

    fn vmap(&self, buf: &BufRef) -> Result<(), Error> {
        self.with_memory(buf.memory, |memory, cx| {
            memory.vmap(cx.ops, cx.now_ns).map(|_| ())
        })
    }

    fn vunmap(&self, buf: &BufRef) {
        self.memories
            .with(buf.memory.0, |memory| memory.vunmap(&self.ops));
    }
}
