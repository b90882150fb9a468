//! The model's memory: its holders, and the bytes that the CPU and devices see.

use super::{Buffer, Holds, Import, Kind, Mem, Model, READS, WRITES, by_cpu, device};
use vb3_plane::Allocator;
use vb3_queue::HintSkip;

impl Model {
    pub(super) fn contig(&self, side: usize) -> bool {
        self.setup.allocators[side] == Allocator::Contig
    }

    pub(super) fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Returns whether CPU and devices may see different bytes of a memory.
    pub(super) fn two_views(&self, mem: u32) -> bool {
        !self.coherent && self.mems[&mem].kind != Kind::Coherent
    }

    pub(super) fn bounces(&self, side: usize, mem: u32) -> bool {
        self.private && self.contig(side) && self.mems[&mem].kind == Kind::Virtual
    }

    pub(super) fn clean(&mut self, mem: u32) {
        let mem = self.mems.get_mut(&mem).unwrap();
        // Clean cache lines are not written back.
        if mem.cpu != mem.synced {
            (mem.dev, mem.synced) = (mem.cpu, mem.cpu);
        }
    }

    pub(super) fn invalidate(&mut self, mem: u32) {
        let mem = self.mems.get_mut(&mem).unwrap();
        (mem.cpu, mem.synced, mem.unread) = (mem.dev, mem.dev, false);
    }

    /// Writes as the CPU does.
    pub(super) fn cpu_writes(&mut self, mem: u32, stamp: u32) {
        let two = self.two_views(mem);
        let mem = self.mems.get_mut(&mem).unwrap();
        mem.cpu = stamp;
        if !two {
            mem.dev = stamp;
        }
    }

    /// Returns the mapped attachments of a memory, without `except`, in the order of attaching.
    pub(super) fn attached(&self, mem: u32, except: Option<(usize, u32)>) -> Vec<(usize, u32)> {
        let of = |((_, buf), import): &(&(usize, u32), &Import)| {
            import.mapped && self.bufs[buf].mem == mem
        };
        let mut mapped: Vec<_> = self.imports.iter().filter(of).collect();
        mapped.sort_by_key(|(_, import)| import.place);
        let keys = mapped.into_iter().map(|(key, _)| *key);
        keys.filter(|key| Some(*key) != except).collect()
    }

    /// Begins a CPU access. The direction is that of a device: with `WRITES` the CPU reads, with `READS` it
    /// writes.
    pub(super) fn for_cpu(&mut self, mem: u32, direction: u8) {
        let Mem {
            side, kind, unread, ..
        } = self.mems[&mem];
        let direction = if unread { READS | WRITES } else { direction };
        if direction & WRITES != 0 {
            self.mems.get_mut(&mem).unwrap().unread = false;
        }
        if kind == Kind::NonCoherent && !self.coherent && direction & device(side) & WRITES != 0 {
            self.invalidate(mem);
        }
        for key in self.attached(mem, None) {
            let writes = direction & device(key.0) & WRITES != 0;
            if writes && self.bounces(key.0, mem) {
                if self.imports[&key].maybe_written {
                    let slot = self.imports[&key].slot;
                    self.cpu_writes(mem, slot);
                }
            } else if writes && self.two_views(mem) {
                self.invalidate(mem);
            }
        }
    }

    /// Ends a CPU access, with the directions of [`for_cpu`](Self::for_cpu).
    pub(super) fn for_device(&mut self, mem: u32, direction: u8, except: Option<(usize, u32)>) {
        let Mem { side, kind, .. } = self.mems[&mem];
        // Bytes that the CPU wrote leave its cache, in whatever direction the device has the memory.
        let part = |side| direction & (device(side) | READS);
        if kind == Kind::NonCoherent && !self.coherent && part(side) != 0 {
            self.clean(mem);
        }
        for key in self.attached(mem, except) {
            if self.bounces(key.0, mem) {
                if direction & device(key.0) & READS != 0 {
                    self.imports.get_mut(&key).unwrap().slot = self.mems[&mem].cpu;
                }
            } else if part(key.0) != 0 && self.two_views(mem) {
                self.clean(mem);
            }
        }
    }

    pub(super) fn forget_mem(&mut self, mem: u32) {
        let m = &self.mems[&mem];
        if !m.queue && m.bufs == 0 && m.maps == 0 {
            self.mems.remove(&mem);
        }
    }

    pub(super) fn put_buf(&mut self, buf: u32) {
        let b = self.bufs.get_mut(&buf).unwrap();
        b.refs -= 1;
        if b.refs > 0 {
            return;
        }
        let mem = b.mem;
        for side in [0, 1] {
            self.drop_import((side, buf));
        }
        self.bufs.remove(&buf);
        self.mems.get_mut(&mem).unwrap().bufs -= 1;
        self.forget_mem(mem);
    }

    pub(super) fn drop_import(&mut self, key: (usize, u32)) {
        let Some(import) = self.imports.remove(&key) else {
            return;
        };
        let mem = self.bufs[&key.1].mem;
        self.mems.get_mut(&mem).unwrap().free.push(import.place);
        if !import.mapped {
            return;
        }
        if self.bounces(key.0, mem) {
            if import.maybe_written {
                self.cpu_writes(mem, import.slot);
                self.for_device(mem, READS, None);
            }
        } else if device(key.0) == WRITES && self.two_views(mem) {
            self.invalidate(mem);
        }
    }

    /// Attaches and maps a dma-buf; false if the device needs one run and the memory is scattered.
    pub(super) fn take_buf(&mut self, side: usize, buf: u32) -> bool {
        let mem = self.bufs[&buf].mem;
        self.bufs.get_mut(&buf).unwrap().refs += 1;
        if !self.contig(side) {
            return true;
        }
        let bounces = self.bounces(side, mem);
        let scattered = self.mems[&mem].kind == Kind::Virtual && !self.iommu && !bounces;
        let (cpu, two) = (self.mems[&mem].cpu, self.two_views(mem));
        let owner = self.mems.get_mut(&mem).unwrap();
        let import = self.imports.entry((side, buf)).or_insert_with(|| Import {
            place: owner.free.pop().unwrap_or_else(|| {
                owner.places += 1;
                owner.places
            }),
            ..Import::default()
        });
        import.planes += 1;
        if scattered {
            return false;
        }
        if !import.mapped {
            import.mapped = true;
            import.slot = cpu;
            import.maybe_written = false;
            if two {
                self.clean(mem);
            }
        }
        true
    }

    /// Releases the memory that a buffer holds.
    pub(super) fn put(&mut self, side: usize, holds: Holds) {
        match holds {
            Holds::Nothing | Holds::User(..) => {}
            Holds::Own(mem) => {
                self.mems.get_mut(&mem).unwrap().queue = false;
                self.forget_mem(mem);
            }
            Holds::Buf(buf) => {
                if self.contig(side) {
                    let import = self.imports.get_mut(&(side, buf)).unwrap();
                    import.planes -= 1;
                    if import.planes == 0 && !import.mapped {
                        self.drop_import((side, buf));
                    }
                }
                self.put_buf(buf);
            }
        }
    }

    /// Ends the idle imports of a side whose buffers are all freed.
    pub(super) fn end_imports(&mut self, side: usize) {
        let idle = |(key, import): &(&(usize, u32), &Import)| key.0 == side && import.planes == 0;
        let idle: Vec<_> = self
            .imports
            .iter()
            .filter(idle)
            .map(|(key, _)| *key)
            .collect();
        idle.into_iter().for_each(|key| self.drop_import(key));
    }

    /// Hands a buffer's memory to the device.
    pub(super) fn hand_over(&mut self, side: usize, index: u32) {
        let skip = self.streams[side].buffers[&index].hints;
        let holds = self.streams[side].buffers[&index].holds;
        match holds {
            Holds::Nothing => {}
            Holds::Own(mem) if !self.contig(side) => {
                // Bytes that a program wrote to its mapping must not be dropped.
                self.for_device(mem, READS, None);
                self.for_cpu(mem, by_cpu(side));
            }
            Holds::Own(mem) => {
                let cached = self.mems[&mem].kind == Kind::NonCoherent && !self.coherent;
                if cached && !skip.contains(HintSkip::PREPARE) {
                    self.clean(mem);
                }
            }
            Holds::User(slot, _) => {
                if self.contig(side) && (!self.coherent || (self.private && side == 1)) {
                    let seen = self.slots[slot];
                    self.buffer(side, index).holds = Holds::User(slot, seen);
                }
            }
            Holds::Buf(buf) => {
                let mem = self.bufs[&buf].mem;
                if !self.contig(side) {
                    self.for_cpu(mem, by_cpu(side));
                } else if self.bounces(side, mem) {
                    let cpu = self.mems[&mem].cpu;
                    let import = self.imports.get_mut(&(side, buf)).unwrap();
                    import.maybe_written = device(side) == WRITES;
                    if device(side) == READS {
                        import.slot = cpu;
                    }
                }
            }
        }
        self.buffer(side, index).synced = true;
    }

    /// Hands a buffer's memory back to the CPU.
    pub(super) fn finish(&mut self, side: usize, index: u32) {
        let buffer = self.buffer(side, index);
        if !std::mem::take(&mut buffer.synced) {
            return;
        }
        let (skip, holds) = (buffer.hints, buffer.holds);
        let writes = device(side) == WRITES;
        match holds {
            Holds::Nothing => {}
            Holds::Own(mem) if !self.contig(side) => self.for_device(mem, by_cpu(side), None),
            Holds::Own(mem) => {
                let cached = self.mems[&mem].kind == Kind::NonCoherent && !self.coherent;
                self.mems.get_mut(&mem).unwrap().unread |= cached && writes;
                if cached && writes && !skip.contains(HintSkip::FINISH) {
                    self.invalidate(mem);
                }
            }
            Holds::User(slot, seen) => {
                if self.contig(side) && writes && (!self.coherent || self.private) {
                    self.slots[slot] = seen;
                }
            }
            Holds::Buf(buf) => {
                let mem = self.bufs[&buf].mem;
                if !self.contig(side) {
                    self.for_device(mem, by_cpu(side), None);
                } else if self.bounces(side, mem) && writes {
                    // All buffers that name the same dma-buf share one copy.
                    let mut buffers = self.streams[side].buffers.values();
                    let still_used = buffers.any(|b| b.synced && b.holds == holds);
                    let import = self.imports.get_mut(&(side, buf)).unwrap();
                    import.maybe_written = still_used;
                    let slot = import.slot;
                    self.cpu_writes(mem, slot);
                    self.for_device(mem, READS, Some((side, buf)));
                } else if writes {
                    let unread = self.two_views(mem);
                    self.mems.get_mut(&mem).unwrap().unread |= unread;
                }
            }
        }
    }

    pub(super) fn buffer(&mut self, side: usize, index: u32) -> &mut Buffer {
        self.streams[side].buffers.get_mut(&index).unwrap()
    }

    /// Returns the stamp that the device sees in a buffer.
    pub(super) fn seen(&self, side: usize, index: u32) -> u32 {
        match self.streams[side].buffers[&index].holds {
            Holds::Nothing => 0,
            Holds::Own(mem) => self.seen_mem(side, mem),
            Holds::User(slot, seen) => {
                let apart = self.contig(side) && (!self.coherent || self.private);
                if apart { seen } else { self.slots[slot] }
            }
            Holds::Buf(buf) => {
                let mem = self.bufs[&buf].mem;
                match self.imports.get(&(side, buf)) {
                    Some(import) if self.bounces(side, mem) => import.slot,
                    _ => self.seen_mem(side, mem),
                }
            }
        }
    }

    pub(super) fn seen_mem(&self, side: usize, mem: u32) -> u32 {
        let apart = self.contig(side) && self.two_views(mem);
        let mem = &self.mems[&mem];
        if apart { mem.dev } else { mem.cpu }
    }

    /// The device writes to a buffer.
    pub(super) fn device_writes(&mut self, side: usize, index: u32, stamp: u32) {
        let contig = self.contig(side);
        let holds = self.streams[side].buffers[&index].holds;
        let mem = match holds {
            Holds::Nothing => return,
            Holds::Own(mem) => mem,
            Holds::User(slot, _) => {
                if contig && (!self.coherent || self.private) {
                    self.buffer(side, index).holds = Holds::User(slot, stamp);
                } else {
                    self.slots[slot] = stamp;
                }
                return;
            }
            Holds::Buf(buf) => {
                let mem = self.bufs[&buf].mem;
                if self.bounces(side, mem) {
                    self.imports.get_mut(&(side, buf)).unwrap().slot = stamp;
                    return;
                }
                mem
            }
        };
        if contig && self.two_views(mem) {
            self.mems.get_mut(&mem).unwrap().dev = stamp;
        } else {
            self.cpu_writes(mem, stamp);
        }
    }
}
