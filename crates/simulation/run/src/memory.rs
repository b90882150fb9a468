//! The memory of the run: one machine, its mapping layer and its planes.

use crate::observer::RunObserver;
use std::ops::Range;
use vb3_dma::{DmaAddr, Mapper};
use vb3_machine::Machine;
use vb3_plane::{Cookie, Planes, View};
use vb3_v4l2::{
    Bus, BusFault, CopyFault, HostSpan, InPlace, Lines, Peer, Span, SpanReader, SpanWriter,
};

/// Bytes copied in one step when the copy passes through this process.
const CHUNK: usize = 64 << 10;

/// All plane memory of a run.
pub(super) type RunMemory = Planes<Mapper<Machine>, RunObserver>;

/// The memory of one buffer.
pub(super) type Shared =
    vb3_dmabuf::Shared<Mapper<Machine>, vb3_dmabuf::Slab<vb3_dmabuf::Attachment<Mapper<Machine>>>>;

/// One device's access to memory.
pub(super) struct DeviceBus<'a> {
    pub(super) memory: &'a mut RunMemory,
    pub(super) dev: vb3_machine::Device,
}

impl DeviceBus<'_> {
    /// Returns the address of byte `offset + done` of a scattered plane, and how many of the next `left`
    /// bytes are contiguous: at least one.
    fn segment(
        &self,
        view: View,
        offset: u64,
        done: usize,
        left: usize,
    ) -> Result<(DmaAddr, usize), BusFault> {
        let outside = BusFault::OutOfRange {
            offset,
            len: (done.saturating_add(left)) as u64,
        };
        let at = offset.checked_add(done as u64).ok_or(outside)?;
        let (addr, len) = self.memory.sg_find(view, at).ok_or(outside)?;
        Ok((addr, usize::try_from(len).unwrap_or(left).min(left)))
    }

    /// Splits the `len` bytes at `offset` of a scattered plane into contiguous runs, and calls `each` for
    /// every run. `each` gets the run's address, and which of the `len` bytes it covers.
    fn for_segments(
        &mut self,
        view: View,
        offset: u64,
        len: usize,
        mut each: impl FnMut(&mut Self, &Cookie, Range<usize>) -> Result<(), BusFault>,
    ) -> Result<(), BusFault> {
        let mut done = 0;
        while done < len {
            let (at, here) = self.segment(view, offset, done, len - done)?;
            let end = done + here;
            each(self, &Cookie::Dma(at), done..end)?;
            done = end;
        }
        Ok(())
    }
}

impl DeviceBus<'_> {
    /// Copies from another device's plane through a buffer of this process.
    fn copy_by_way(
        &mut self,
        reader: vb3_machine::Device,
        from: &Span<'_, Cookie>,
        (to, offset): (&Cookie, u64),
    ) -> Result<u64, CopyFault> {
        let mut chunk = vec![0; usize::try_from(from.len).map_or(CHUNK, |len| len.min(CHUNK))];
        let mut done = 0u64;
        while done < from.len {
            let left = usize::try_from(from.len - done).unwrap_or(CHUNK);
            let part = chunk.get_mut(..left.min(CHUNK)).unwrap_or_default();
            let (memory, dev) = (&mut *self.memory, reader);
            DeviceBus { memory, dev }
                .inspect(from.cookie, from.offset.saturating_add(done), part)
                .map_err(CopyFault::From)?;
            self.write(to, offset.saturating_add(done), part)
                .map_err(CopyFault::To)?;
            done += part.len() as u64;
        }
        Ok(from.len.saturating_mul(2))
    }
}

fn dma_at(addr: DmaAddr, offset: u64) -> Result<DmaAddr, BusFault> {
    addr.checked_add(offset)
        .ok_or(BusFault::Unmapped { addr: addr.get() })
}

fn unmapped(fault: vb3_machine::BusFault) -> BusFault {
    BusFault::Unmapped {
        addr: fault.addr.get(),
    }
}

/// Returns the bus address of the byte at `offset`, if the plane is contiguous on the bus.
fn on_bus(cookie: &Cookie, offset: u64) -> Option<DmaAddr> {
    match *cookie {
        Cookie::Dma(addr) => addr.checked_add(offset),
        Cookie::Sg(_) | Cookie::Cpu(_) => None,
    }
}

/// Converts spans to spans of bus addresses, if all planes are contiguous on the bus.
fn spans_on_bus(spans: &[Span<'_, Cookie>]) -> Option<Vec<vb3_machine::BusSpan>> {
    let spans = spans.iter().map(|span| {
        Some(vb3_machine::BusSpan {
            addr: on_bus(span.cookie, span.offset)?,
            len: span.len,
        })
    });
    spans.collect()
}

impl Bus<Cookie> for DeviceBus<'_> {
    fn read(&mut self, cookie: &Cookie, offset: u64, out: &mut [u8]) -> Result<(), BusFault> {
        match *cookie {
            Cookie::Dma(addr) => {
                let at = dma_at(addr, offset)?;
                let machine = self.memory.ops_mut().platform_mut();
                machine.bus_read(self.dev, at, out).map_err(unmapped)
            }
            Cookie::Sg(view) => self.for_segments(view, offset, out.len(), |bus, cookie, bytes| {
                bus.read(cookie, 0, out.get_mut(bytes).unwrap_or_default())
            }),
            view @ Cookie::Cpu(_) => {
                let len = out.len() as u64;
                self.memory
                    .cpu_read(self.dev, view, offset, out)
                    .map_err(|_| BusFault::OutOfRange { offset, len })
            }
        }
    }

    fn note_read(&mut self, cookie: &Cookie, offset: u64, len: u64) -> Result<(), BusFault> {
        let Cookie::Dma(addr) = *cookie else {
            let len = usize::try_from(len).map_err(|_| BusFault::OutOfRange { offset, len })?;
            return self.read(cookie, offset, &mut vec![0; len]);
        };
        let addr = dma_at(addr, offset)?;
        let span = vb3_machine::BusSpan { addr, len };
        let machine = self.memory.ops_mut().platform_mut();
        let noted = machine.bus_note_read(self.dev, span);
        noted.map_err(unmapped)
    }

    fn inspect(&mut self, cookie: &Cookie, offset: u64, out: &mut [u8]) -> Result<(), BusFault> {
        match *cookie {
            Cookie::Dma(addr) => {
                let at = dma_at(addr, offset)?;
                let machine = self.memory.ops().platform();
                let seen = machine.bus_inspect(self.dev, at, out);
                seen.map_err(unmapped)
            }
            Cookie::Sg(view) => self.for_segments(view, offset, out.len(), |bus, cookie, bytes| {
                bus.inspect(cookie, 0, out.get_mut(bytes).unwrap_or_default())
            }),
            view @ Cookie::Cpu(_) => self.read(&view, offset, out),
        }
    }

    fn write(&mut self, cookie: &Cookie, offset: u64, data: &[u8]) -> Result<(), BusFault> {
        match *cookie {
            Cookie::Dma(addr) => {
                let at = dma_at(addr, offset)?;
                let machine = self.memory.ops_mut().platform_mut();
                machine.bus_write(self.dev, at, data).map_err(unmapped)
            }
            Cookie::Sg(view) => {
                self.for_segments(view, offset, data.len(), |bus, cookie, bytes| {
                    bus.write(cookie, 0, data.get(bytes).unwrap_or_default())
                })
            }
            view @ Cookie::Cpu(_) => {
                self.memory
                    .cpu_write(self.dev, view, offset, data)
                    .map_err(|_| BusFault::OutOfRange {
                        offset,
                        len: data.len() as u64,
                    })
            }
        }
    }

    fn in_place(
        &mut self,
        from: &[Lines<'_, Cookie>],
        to: &[Lines<'_, Cookie>],
        act: &mut InPlace<'_>,
    ) -> Option<bool> {
        let lines_on_bus = |lines: &Lines<'_, Cookie>| {
            Some(vb3_machine::BusLines {
                addr: on_bus(lines.cookie, lines.offset)?,
                line_bytes: lines.line_bytes,
                count: lines.count,
                pitch: lines.pitch,
            })
        };
        let from: Vec<_> = from.iter().map(lines_on_bus).collect::<Option<_>>()?;
        let to: Vec<_> = to.iter().map(lines_on_bus).collect::<Option<_>>()?;
        let machine = self.memory.ops_mut().platform_mut();
        machine.bus_in_place(self.dev, &from, &to, act)
    }

    fn host_spans(&mut self, spans: &[Span<'_, Cookie>]) -> Option<Vec<HostSpan<'_>>> {
        let spans = spans_on_bus(spans)?;
        let machine = self.memory.ops_mut().platform_mut();
        let found = machine.bus_host_spans(self.dev, &spans)?;
        let found = found.into_iter().map(|span| HostSpan {
            file: span.fd,
            number: span.number,
            file_len: span.fd_len,
            offset: span.offset,
            len: span.len,
        });
        Some(found.collect())
    }

    fn readers(&mut self, spans: &[Span<'_, Cookie>]) -> Option<Vec<SpanReader>> {
        let spans = spans_on_bus(spans)?;
        let machine = self.memory.ops_mut().platform_mut();
        let found = machine.bus_shared_bytes(self.dev, &spans, false)?;
        let readers = found.into_iter().map(|bytes| {
            Box::new(move |offset, out: &mut [u8]| bytes.read(offset, out)) as SpanReader
        });
        Some(readers.collect())
    }

    fn writers(&mut self, spans: &[Span<'_, Cookie>]) -> Option<Vec<SpanWriter>> {
        let spans = spans_on_bus(spans)?;
        let machine = self.memory.ops_mut().platform_mut();
        let found = machine.bus_shared_bytes(self.dev, &spans, true)?;
        let writers = found.into_iter().map(|bytes| {
            Box::new(move |offset, data: &[u8]| bytes.write(offset, data)) as SpanWriter
        });
        Some(writers.collect())
    }

    fn peer(&self) -> Option<Peer> {
        Some(Peer(self.dev.index()))
    }

    fn copy_from(
        &mut self,
        peer: Peer,
        from: &Span<'_, Cookie>,
        to: &Cookie,
        offset: u64,
    ) -> Result<u64, CopyFault> {
        let machine = self.memory.ops_mut().platform_mut();
        let gone = CopyFault::From(BusFault::Revoked);
        let reader = machine.device_at(peer.0).ok_or(gone)?;
        let (Some(addr), Some(into)) = (on_bus(from.cookie, from.offset), on_bus(to, offset))
        else {
            return self.copy_by_way(reader, from, (to, offset));
        };
        let span = vb3_machine::BusSpan {
            addr,
            len: from.len,
        };
        let copied = machine.bus_copy((reader, span), (self.dev, into));
        copied.map_err(|fault| {
            let addr = fault.addr.get();
            match fault.write {
                true => CopyFault::To(BusFault::Unmapped { addr }),
                false => CopyFault::From(BusFault::Unmapped { addr }),
            }
        })
    }

    fn is_same_memory(&mut self, peer: Peer, from: &Span<'_, Cookie>, to: &Cookie) -> bool {
        let machine = self.memory.ops().platform();
        let there = || {
            let span = vb3_machine::BusSpan {
                addr: on_bus(from.cookie, from.offset)?,
                len: from.len,
            };
            Some((machine.device_at(peer.0)?, span, on_bus(to, 0)?))
        };
        there()
            .is_some_and(|(reader, span, to)| machine.bus_is_same((reader, span), (self.dev, to)))
    }

    fn note_written(&mut self, cookie: &Cookie, offset: u64, len: u64) -> Result<(), BusFault> {
        let Cookie::Dma(addr) = *cookie else {
            return Err(BusFault::OutOfRange { offset, len });
        };
        let addr = dma_at(addr, offset)?;
        let span = vb3_machine::BusSpan { addr, len };
        let machine = self.memory.ops_mut().platform_mut();
        let noted = machine.bus_note_written(self.dev, span);
        noted.map_err(unmapped)
    }
}
