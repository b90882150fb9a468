//! The effects of each operation on the model, and the replies that it expects.

use super::{Buf, Buffer, BufferHolder, Holds, Kind, MAX, Mem, Model, READS, WRITES};
use crate::lab::{Offer, Op, Reply, SLOTS, bytes_of, pick};
use vb3_queue::{Coherency, HintSkip, Memory};

impl Model {
    fn cancel(&mut self, side: usize) {
        let indices: Vec<u32> = self.streams[side].buffers.keys().copied().collect();
        for index in indices {
            self.finish(side, index);
            let buffer = self.buffer(side, index);
            buffer.prepared = false;
            buffer.place = BufferHolder::Program;
        }
        let stream = &mut self.streams[side];
        stream.waiting.clear();
        stream.done.clear();
        stream.streaming = false;
        stream.started = false;
        stream.error = false;
        stream.ended = false;
    }

    fn remove(&mut self, side: usize, indices: impl Iterator<Item = u32>) {
        for index in indices {
            if self.streams[side].buffers.contains_key(&index) {
                self.finish(side, index);
                let buffer = self.streams[side].buffers.remove(&index).unwrap();
                self.put(side, buffer.holds);
            }
        }
        if self.streams[side].buffers.is_empty() {
            self.end_imports(side);
        }
    }

    fn clear(&mut self, side: usize) {
        self.cancel(side);
        self.remove(side, 0..MAX);
        self.streams[side].reset_memory_if_idle();
    }

    fn make(&mut self, side: usize, first: u32, count: u32) {
        for index in first..first + count {
            let holds = if self.streams[side].memory == Some(Memory::Mmap) {
                let number = self.number();
                let kind = match (self.contig(side), self.streams[side].noncoherent) {
                    (false, _) => Kind::Virtual,
                    (true, true) => Kind::NonCoherent,
                    (true, false) => Kind::Coherent,
                };
                let mem = Mem {
                    side,
                    kind,
                    cpu: 0,
                    synced: 0,
                    dev: 0,
                    unread: false,
                    queue: true,
                    bufs: 0,
                    maps: 0,
                    places: 0,
                    free: Vec::new(),
                };
                self.mems.insert(number, mem);
                Holds::Own(number)
            } else {
                Holds::Nothing
            };
            let buffer = Buffer {
                place: BufferHolder::Program,
                prepared: false,
                synced: false,
                hints: HintSkip::empty(),
                holds,
            };
            self.streams[side].buffers.insert(index, buffer);
        }
    }

    /// Returns first index and number of the new buffers, which are at most `count`.
    fn room(&self, side: usize, count: u32) -> (u32, u32) {
        let buffers = &self.streams[side].buffers;
        for size in (1..=count.min(MAX)).rev() {
            for first in 0..=MAX - size {
                if (first..first + size).all(|i| !buffers.contains_key(&i)) {
                    return (first, size);
                }
            }
        }
        (0, 0)
    }

    /// Does QBUF or PREPARE_BUF up to the hand-over; returns the expected result.
    fn prepare(&mut self, side: usize, index: u32, offer: Offer, only: bool) -> Result<(), i32> {
        let stream = &self.streams[side];
        let buffer = stream.buffers.get(&index).ok_or(22)?;
        if stream.memory != Some(offer.memory) {
            return Err(22);
        }
        let is_free = buffer.place == BufferHolder::Program;
        // PREPARE_BUF checks the buffer's state first, QBUF the queue's.
        if only && (!is_free || buffer.prepared) {
            return Err(22);
        }
        if stream.error {
            return Err(5);
        }
        if !is_free {
            return Err(22);
        }
        let granted = if offer.memory == Memory::Mmap {
            offer.hints
        } else {
            HintSkip::empty()
        };
        if buffer.prepared {
            let buffer = self.buffer(side, index);
            buffer.hints = (buffer.hints & HintSkip::PREPARE) | (granted & HintSkip::FINISH);
            return Ok(());
        }
        self.acquire(side, index, offer)?;
        self.buffer(side, index).hints = granted;
        self.hand_over(side, index);
        self.buffer(side, index).prepared = true;
        Ok(())
    }

    fn acquire(&mut self, side: usize, index: u32, offer: Offer) -> Result<(), i32> {
        let old = self.streams[side].buffers[&index].holds;
        let new = match offer.memory {
            Memory::Mmap => return Ok(()),
            Memory::UserPtr => {
                let slot = offer.nth % SLOTS;
                if matches!(old, Holds::User(known, _) if known == slot) {
                    return Ok(());
                }
                self.buffer(side, index).holds = Holds::Nothing;
                if self.contig(side) && !self.shows_pages && !self.private {
                    return Err(14);
                }
                // A camera's bounced copy starts with the program's bytes, a display's with zeroes.
                let copied = self.private && side == 0;
                Holds::User(slot, if copied { self.slots[slot] } else { 0 })
            }
            Memory::DmaBuf => {
                let at = pick(&self.held, offer.nth).ok_or(22)?;
                let buf = self.held[at];
                if old == Holds::Buf(buf) {
                    return Ok(());
                }
                // The queue's reference, besides that of the program.
                self.bufs.get_mut(&buf).unwrap().refs += 1;
                self.put(side, old);
                self.buffer(side, index).holds = Holds::Nothing;
                let taken = self.take_buf(side, buf);
                self.put_buf(buf);
                if !taken {
                    self.put(side, Holds::Buf(buf));
                    return Err(14);
                }
                Holds::Buf(buf)
            }
        };
        self.buffer(side, index).holds = new;
        Ok(())
    }

    fn start(&mut self, side: usize) {
        let waiting = std::mem::take(&mut self.streams[side].waiting);
        for index in waiting {
            self.buffer(side, index).place = BufferHolder::Device;
        }
        self.streams[side].started = true;
    }

    fn queue(&mut self, side: usize, index: u32, offer: Offer) -> Result<Reply, i32> {
        self.prepare(side, index, offer, false)?;
        self.streams[side].idle = false;
        if self.streams[side].started {
            self.buffer(side, index).place = BufferHolder::Device;
        } else {
            self.buffer(side, index).place = BufferHolder::Queue;
            self.streams[side].waiting.push(index);
            let enough = self.streams[side].out() >= self.least[side];
            if self.streams[side].streaming && enough {
                self.start(side);
            }
        }
        Ok(Reply::Done)
    }

    fn done(&mut self, side: usize, index: u32, error: bool, last: bool) {
        self.finish(side, index);
        assert_eq!(self.buffer(side, index).place, BufferHolder::Device);
        self.buffer(side, index).place = BufferHolder::Done { error, last };
        self.streams[side].done.push_back(index);
    }

    /// Performs an operation on the model, and compares the queue's reply with the expected one.
    pub(crate) fn step(&mut self, op: Op, stamp: u32, said: &Result<Reply, i32>) {
        let expected = match op {
            Op::Work(side, ..) | Op::Last(side, _) => {
                let Ok(Reply::Worked { index, read }) = said else {
                    self.nothing(side, said);
                    return;
                };
                if side == 0 {
                    self.device_writes(side, *index, stamp);
                } else {
                    let must = bytes_of(self.seen(side, *index));
                    assert!(read.0 == must, "the display reads other bytes at {index}");
                }
                let is_error = matches!(op, Op::Work(_, _, Err(_)));
                self.done(side, *index, is_error, matches!(op, Op::Last(..)));
                return;
            }
            Op::DropToken(side, _) => {
                let Ok(Reply::Worked { index, .. }) = said else {
                    self.nothing(side, said);
                    return;
                };
                self.done(side, *index, true, false);
                return;
            }
            Op::Prepare(side, index, offer) => {
                self.prepare(side, index, offer, true).map(|()| Reply::Done)
            }
            Op::Queue(side, index, offer) => self.queue(side, index, offer),
            Op::Export(..)
            | Op::CloseBuf(_)
            | Op::Mmap(..)
            | Op::MmapBuf(_)
            | Op::Munmap(_)
            | Op::Sync(..)
            | Op::Write(_)
            | Op::WriteSlot(_) => self.program(op, stamp),
            Op::File(_) => return,
            _ => self.stream(op),
        };
        assert_eq!(*said, expected, "{op:?}");
    }

    fn nothing(&self, side: usize, said: &Result<Reply, i32>) {
        assert_eq!(*said, Ok(Reply::Nothing));
        let mut buffers = self.streams[side].buffers.values();
        assert!(buffers.all(|b| b.place != BufferHolder::Device));
    }

    fn stream(&mut self, op: Op) -> Result<Reply, i32> {
        match op {
            Op::Reqbufs(side, memory, count, coherency) => {
                self.reqbufs(side, memory, count, coherency)
            }
            Op::Create(side, memory, count, coherency) => {
                self.create(side, memory, count, coherency)
            }
            Op::Remove(side, first, count) => {
                let buffers = &self.streams[side].buffers;
                if count as usize > buffers.len() {
                    return Err(22);
                }
                if count > 0 {
                    let all = first..first + count;
                    for index in all.clone() {
                        let buffer = buffers.get(&index).ok_or(22)?;
                        if buffer.place != BufferHolder::Program {
                            return Err(16);
                        }
                    }
                    self.remove(side, all);
                    self.streams[side].reset_memory_if_idle();
                }
                Ok(Reply::Done)
            }
            Op::Dequeue(side) => self.dequeue(side),
            Op::On(side) => {
                let stream = &self.streams[side];
                if stream.streaming {
                    return Ok(Reply::Done);
                }
                if stream.buffers.len() < self.least[side].max(1) {
                    return Err(22);
                }
                if stream.out() >= self.least[side] {
                    self.start(side);
                }
                self.streams[side].streaming = true;
                Ok(Reply::Done)
            }
            Op::Off(side) => {
                self.cancel(side);
                self.streams[side].idle = side == 0;
                self.streams[side].reset_memory_if_idle();
                Ok(Reply::Done)
            }
            Op::SetError(side) => {
                self.streams[side].error = true;
                Ok(Reply::Done)
            }
            Op::Wait(side) => {
                let slept = std::mem::replace(&mut self.streams[side].sleeper, true);
                if slept { Err(16) } else { Ok(Reply::Done) }
            }
            Op::Wake(side) => {
                self.streams[side].sleeper = false;
                Ok(Reply::Done)
            }
            Op::Poll(side) => {
                let stream = &self.streams[side];
                Ok(Reply::Poll(
                    if !stream.streaming || stream.error || stream.idle {
                        None
                    } else if stream.done.is_empty() && !stream.ended {
                        Some(false)
                    } else {
                        Some(true)
                    },
                ))
            }
            Op::Release(side) => {
                self.streams[side].sleeper = false;
                self.clear(side);
                Ok(Reply::Done)
            }
            _ => Ok(Reply::Nothing),
        }
    }

    fn reqbufs(
        &mut self,
        side: usize,
        memory: Memory,
        count: u32,
        coherency: Coherency,
    ) -> Result<Reply, i32> {
        let stream = &self.streams[side];
        if stream.streaming || (stream.sleeper && count > 0) {
            return Err(16);
        }
        self.clear(side);
        if count == 0 {
            return Ok(Reply::Count(0));
        }
        let least = if self.least[side] == 0 {
            0
        } else {
            self.least[side] as u32 + 1
        };
        let stream = &mut self.streams[side];
        stream.memory = Some(memory);
        stream.noncoherent = coherency == Coherency::NonCoherent && memory == Memory::Mmap;
        stream.idle = side == 0;
        let count = count.max(least).min(MAX);
        self.make(side, 0, count);
        Ok(Reply::Count(count))
    }

    fn create(
        &mut self,
        side: usize,
        memory: Memory,
        count: u32,
        coherency: Coherency,
    ) -> Result<Reply, i32> {
        let stream = &self.streams[side];
        let there = stream.buffers.len() as u32;
        let noncoherent = coherency == Coherency::NonCoherent && memory == Memory::Mmap;
        if count == 0 {
            return Ok(Reply::Range(there, 0));
        }
        if there >= MAX {
            return Err(105);
        }
        if there == 0 && stream.sleeper {
            return Err(16);
        }
        match stream.memory {
            Some(known) if known != memory && there == 0 => return Err(16),
            Some(known) if known != memory || stream.noncoherent != noncoherent => return Err(22),
            _ => {}
        }
        let (first, count) = self.room(side, count.min(MAX - there));
        let stream = &mut self.streams[side];
        stream.memory = Some(memory);
        stream.noncoherent = noncoherent;
        if there == 0 {
            stream.idle = side == 0;
        }
        self.make(side, first, count);
        Ok(Reply::Range(first, count))
    }

    fn dequeue(&mut self, side: usize) -> Result<Reply, i32> {
        let stream = &mut self.streams[side];
        if stream.sleeper {
            return Err(16);
        }
        if !stream.streaming {
            return Err(22);
        }
        if stream.error {
            return Err(5);
        }
        if stream.ended {
            return Err(32);
        }
        let index = stream.done.pop_front().ok_or(11)?;
        let buffer = self.buffer(side, index);
        let BufferHolder::Done { error, last } = buffer.place else {
            panic!("{:?}", buffer.place);
        };
        buffer.place = BufferHolder::Program;
        buffer.prepared = false;
        self.streams[side].ended = last && side == 0;
        Ok(Reply::Back { index, error })
    }

    fn own(&self, side: usize, index: u32) -> Result<u32, i32> {
        match self.streams[side].buffers.get(&index).map(|b| b.holds) {
            Some(Holds::Own(mem)) => Ok(mem),
            _ => Err(22),
        }
    }

    fn program(&mut self, op: Op, stamp: u32) -> Result<Reply, i32> {
        const MAX_HELD: usize = 8;
        match op {
            Op::Export(side, index) => {
                if self.held.len() >= MAX_HELD {
                    return Ok(Reply::Nothing);
                }
                let mem = self.own(side, index)?;
                let buf = self.number();
                self.mems.get_mut(&mem).unwrap().bufs += 1;
                self.bufs.insert(buf, Buf { mem, refs: 1 });
                self.held.push(buf);
            }
            Op::CloseBuf(nth) => {
                let Some(at) = pick(&self.held, nth) else {
                    return Ok(Reply::Nothing);
                };
                let buf = self.held.swap_remove(at);
                self.put_buf(buf);
            }
            Op::Mmap(side, index) => {
                if self.maps.len() >= MAX_HELD {
                    return Ok(Reply::Nothing);
                }
                let mem = self.own(side, index)?;
                self.mems.get_mut(&mem).unwrap().maps += 1;
                self.maps.push((mem, None));
            }
            Op::MmapBuf(nth) => {
                let (Some(at), false) = (pick(&self.held, nth), self.maps.len() >= MAX_HELD) else {
                    return Ok(Reply::Nothing);
                };
                let buf = self.held[at];
                let b = self.bufs.get_mut(&buf).unwrap();
                b.refs += 1;
                let mem = b.mem;
                self.mems.get_mut(&mem).unwrap().maps += 1;
                self.maps.push((mem, Some(buf)));
            }
            Op::Munmap(nth) => {
                let Some(at) = pick(&self.maps, nth) else {
                    return Ok(Reply::Nothing);
                };
                let (mem, buf) = self.maps.swap_remove(at);
                self.mems.get_mut(&mem).unwrap().maps -= 1;
                match buf {
                    Some(buf) => self.put_buf(buf),
                    None => self.forget_mem(mem),
                }
            }
            Op::Sync(nth, flags) => {
                let Some(at) = pick(&self.held, nth) else {
                    return Ok(Reply::Nothing);
                };
                let mem = self.bufs[&self.held[at]].mem;
                // Converts the CPU's access to a device's direction: a CPU that reads needs what devices
                // wrote.
                let direction = match flags & 3 {
                    1 => WRITES,
                    2 => READS,
                    3 => READS | WRITES,
                    _ => return Err(22),
                };
                if flags & 4 == 0 {
                    self.for_cpu(mem, direction);
                } else {
                    self.for_device(mem, direction, None);
                }
            }
            Op::Write(nth) => {
                let Some(at) = pick(&self.maps, nth) else {
                    return Ok(Reply::Nothing);
                };
                self.cpu_writes(self.maps[at].0, stamp);
            }
            Op::WriteSlot(slot) => self.slots[slot % SLOTS] = stamp,
            _ => return Ok(Reply::Nothing),
        }
        Ok(Reply::Done)
    }
}
