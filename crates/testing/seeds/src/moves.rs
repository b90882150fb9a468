//! Programs queue and dequeue buffers, and the model compares the buffers' bytes.

use crate::api::{self, EAGAIN, EINVAL, ENODEV, ERROR, Model, Source, Told};
use crate::memory::{SLOT_BYTES, SLOTS, slot_at};
use crate::model::{At, Buffer, BufferHolder, Content, Mapping};
use crate::pixels::{self, YUYV};
use crate::plan::Dice;
use crate::run::{Check, LOST, Sim};
use crate::steps::{EBUSY, EIO, ENOMEM};
use rustix::io::{pread, pwrite};
use vb3_frontend::{CallId, Devices as _, Perform as _};
use vb3_v4l2::sys::{VIDIOC_DQBUF, VIDIOC_PREPARE_BUF, VIDIOC_QBUF};

/// DMA_BUF_IOCTL_SYNC, and its flag for the end of an access.
const SYNC: u32 = 0x4008_6200;
const END: u64 = 4;

const EPIPE: i32 = 32;

impl Sim<'_> {
    /// Takes all buffers of a queue back from the device.
    pub(crate) fn stop(&mut self, at: At) -> Check {
        let queue = self.queue(at)?;
        let mut handed = queue.at(BufferHolder::Queue);
        handed.extend(queue.at(BufferHolder::Prepared));
        for index in handed {
            self.take_back(at, index)?;
        }
        self.queue_mut(at)?.stop();
        Ok(())
    }

    /// Takes one buffer back from the device.
    pub(crate) fn take_back(&mut self, at: At, index: u32) -> Check {
        let queue = self.queue(at)?;
        let (output, buffer) = (queue.kind.output, queue.buffers.get(&index));
        let (memory, time_us) = buffer.map_or((0, 0), |b| (b.memory, b.time_us));
        let file = self.files.get_mut(at.0).ok_or(LOST)?;
        if let Some(input) = file.inputs.get_mut(&time_us).filter(|_| output) {
            input.memory = 0;
        }
        if let Some(memory) = self.memories.get_mut(&memory) {
            if output {
                memory.readers.remove(&file.node);
            } else {
                memory.writers = memory.writers.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Records a write to a memory. If a device reads the memory now, the bytes that it reads become unknown.
    fn written(&mut self, memory: u64) {
        let inputs = self
            .files
            .iter_mut()
            .flat_map(|file| file.inputs.values_mut());
        for input in inputs.filter(|input| input.memory == memory) {
            input.content = None;
        }
        let Some(memory) = self.memories.get_mut(&memory) else {
            return;
        };
        memory.generation += 1;
        memory.content = None;
        for &node in &memory.readers {
            self.nodes[node].unknown = true;
        }
    }

    /// Chooses memory for a buffer. Returns the memory, its number in the model, and the changed buffer.
    fn source(
        &mut self,
        at: At,
        index: u32,
        dice: &mut Dice,
    ) -> Check<Option<(Source, u64, Buffer)>> {
        let queue = self.queue(at)?;
        let (model, size) = (queue.model, queue.picture.3);
        let Some(buffer) = queue.buffers.get(&index).cloned() else {
            return Ok(None);
        };
        let process = self.process_of(at)?;
        match model {
            Some(Model::DmaBuf) => {
                let fds = process.numbers();
                let fd = match fds.contains(&buffer.fd) && dice.percent(80) {
                    true => buffer.fd,
                    false => dice.pick(&fds).copied().unwrap_or(77),
                };
                let memory = process.shared(fd).map_or(0, |shared| shared.memory.get());
                Ok(Some((Source::Fd(fd), memory, Buffer { fd, ..buffer })))
            }
            Some(Model::UserPtr) => {
                let slot = match buffer.slot > 0 && dice.percent(80) {
                    true => buffer.slot,
                    false => 1 + dice.below(SLOTS - 1),
                };
                // User memories have numbers far above those of other memories.
                let memory = (u64::from(process.pid) << 32) + u64::from(slot);
                self.memories.entry(memory).or_default();
                let len = size.max(1).min(u32::try_from(SLOT_BYTES).unwrap_or(0));
                let source = Source::User(slot_at(slot), len);
                Ok(Some((source, memory, Buffer { slot, ..buffer })))
            }
            _ => Ok(Some((Source::Own, buffer.memory, buffer))),
        }
    }

    pub(crate) fn enqueue(&mut self, at: At, dice: &mut Dice, only_prepare: bool) -> Check {
        let queue = self.queue(at)?;
        let mut free = queue.at(BufferHolder::Program);
        free.extend(queue.at(BufferHolder::Prepared));
        let index = match dice.percent(3) {
            true => dice.below(8),
            false => dice.pick(&free).copied().unwrap_or(0),
        };
        let (kind, model) = (queue.kind, queue.model.unwrap_or(Model::Mmap));
        let (size, place) = (queue.picture.3, queue.holder(index));
        let Some((source, memory, buffer)) = self.source(at, index, dice)? else {
            return Ok(());
        };
        let is_seen = |m: &Mapping| m.memory == memory;
        if self.plan.codecs && source == Source::Own && !self.mappings.iter().any(is_seen) {
            self.map_buffer(at, index)?;
        }
        let mut used = size;
        if kind.output && place == Some(BufferHolder::Program) && dice.percent(80) {
            used = self.paint(at, source, memory)?.unwrap_or(size);
        }
        let (mut arg, mut plane) = api::buffer(kind, model, index, source, used);
        let mut buffer = Buffer { used, ..buffer };
        if kind.output && self.node_of(at)?.is_mem2mem() {
            let seconds = i64::try_from(self.next_call).unwrap_or(0);
            api::put_time(&mut arg, seconds);
            buffer.time_us = seconds * 1_000_000;
        }
        let args = (&mut arg, plane.as_mut());
        let done = match only_prepare {
            true => self.ioctl(at.0, VIDIOC_PREPARE_BUF, args, None)?,
            false if kind.output && self.node_of(at)?.is_stateless() => {
                self.queue_by_request(at, index, args, dice)?
            }
            false => self.ioctl(at.0, VIDIOC_QBUF, args, None)?,
        };
        self.note(|| {
            format!(
                "{at:?} QBUF {index} prepare {only_prepare} {source:?} memory {memory}: {done:?}"
            )
        });
        match (done, place) {
            (Err(errno), Some(BufferHolder::Program | BufferHolder::Prepared)) => {
                let allowed: &[i32] = match model {
                    _ if only_prepare && place == Some(BufferHolder::Prepared) => &[EINVAL],
                    // A revoked buffer cannot be prepared.
                    Model::Mmap if self.revoked => &[EIO, EINVAL, ENODEV],
                    // A JPEG file of another size has changed the format, and the buffer is too small for it.
                    Model::Mmap if !kind.output && self.node_of(at)?.is_decoder() => &[EINVAL],
                    // `expect` allows the errnos of faults, which may prevent lazy placement.
                    Model::Mmap => &[],
                    Model::UserPtr => &[EINVAL, 14],
                    Model::DmaBuf => &[EINVAL, 14, 9, ENOMEM, ENODEV],
                };
                self.expect(at, "QBUF", errno, allowed)
            }
            (Err(errno), _) => self.expect(at, "QBUF", errno, &[EINVAL]),
            // The program dropped the media request instead of queueing it, so the program still holds the buffer.
            (Ok(None), _) => Ok(()),
            (Ok(Some(value)), Some(BufferHolder::Program | BufferHolder::Prepared))
                if !only_prepare || place == Some(BufferHolder::Program) =>
            {
                // QBUF without a request returns 0.
                buffer.request = i32::try_from(value).unwrap_or(0);
                self.queued(at, index, (memory, buffer), only_prepare)
            }
            (Ok(_), place) => Err(format!("QBUF took buffer {index} that is {place:?}")),
        }
    }

    fn queued(&mut self, at: At, index: u32, (memory, buffer): (u64, Buffer), only: bool) -> Check {
        let node = self.file(at.0)?.node;
        let queue = self.queue(at)?;
        let output = queue.kind.output;
        let known = queue.buffers.get(&index).cloned();
        let mut buffer = match known.filter(|b| b.place == BufferHolder::Prepared) {
            // PREPARE_BUF passes the memory to the driver. A later QBUF keeps it, even if it names another.
            Some(was) => Buffer {
                time_us: buffer.time_us,
                request: buffer.request,
                ..was
            },
            None => Buffer {
                memory,
                generation: self.hand_over(memory, output),
                ..buffer
            },
        };
        if output {
            let of = self.memories.entry(buffer.memory).or_default();
            of.readers.insert(node);
            // If the length differs, the buffer lacks bytes of the picture, or has bytes after it.
            let content = of
                .content
                .filter(|c| of.writers == 0 && c.len == buffer.used);
            let same = content.filter(|_| of.generation == buffer.generation);
            let node = &mut self.nodes[node];
            match content {
                Some(content) => _ = node.written.insert(content.sum),
                None => node.unknown = true,
            }
            if !only && node.is_mem2mem() {
                self.note_input(at, buffer.time_us, (buffer.memory, same))?;
            }
        }
        buffer.place = if only {
            BufferHolder::Prepared
        } else {
            BufferHolder::Queue
        };
        self.queue_mut(at)?.buffers.insert(index, buffer);
        Ok(())
    }

    /// Passes a memory to a device. Returns the memory's generation. If another device may write at the same
    /// time, returns `u64::MAX`, because the model cannot predict the bytes.
    fn hand_over(&mut self, memory: u64, output: bool) -> u64 {
        let is_shared = self.memories.get(&memory).is_some_and(|m| m.writers > 0);
        if !output {
            self.written(memory);
        }
        let of = self.memories.entry(memory).or_default();
        of.writers += u32::from(!output);
        of.is_device_written |= !output;
        if is_shared { u64::MAX } else { of.generation }
    }

    pub(crate) fn dequeue(&mut self, at: At, dice: &mut Dice) -> Check {
        let queue = self.queue(at)?;
        let (kind, model) = (queue.kind, queue.model.unwrap_or(Model::Mmap));
        let streaming = queue.streaming;
        let file = self.file(at.0)?.id;
        if let Some(call) = queue.blocked
            && dice.percent(10)
        {
            self.note(|| format!("{at:?} DQBUF is interrupted"));
            self.run.abandon(file, call);
            self.queue_mut(at)?.blocked = None;
            return Ok(());
        }
        let waits = queue.blocked.or_else(|| {
            let blocks = dice.percent(15) && streaming;
            blocks.then_some(CallId(self.next_call))
        });
        let (mut arg, mut plane) = api::buffer(kind, model, 0, Source::Own, 0);
        let done = self.ioctl(at.0, VIDIOC_DQBUF, (&mut arg, plane.as_mut()), waits)?;
        let told = api::told(&arg, plane.as_ref());
        self.note(|| format!("{at:?} DQBUF: {done:?} {}", done.map_or(0, |_| told.index)));
        let queue = self.queue_mut(at)?;
        queue.waits = matches!(done, Ok(None) | Err(EAGAIN));
        queue.blocked = waits.filter(|_| done == Ok(None));
        match done {
            Ok(None) => Ok(()),
            Ok(Some(_)) => self.dequeued(at, told),
            Err(EAGAIN) if waits.is_none() && streaming => Ok(()),
            Err(errno) => self.not_dequeued(at, errno),
        }
    }

    /// Checks the errno of a failed DQBUF.
    fn not_dequeued(&mut self, at: At, errno: i32) -> Check {
        let queue = self.queue(at)?;
        let may_end = self.node_of(at)?.is_mem2mem() && !queue.kind.output;
        let has_buffers = queue.model.is_some() && !queue.buffers.is_empty();
        match errno {
            // After the last buffer of a stream, the program starts a new one.
            EPIPE if queue.streaming && may_end => self.stream(at, false).map(drop),
            _ if queue.streaming => self.expect(at, "DQBUF", errno, &[EBUSY]),
            _ if has_buffers => self.expect(at, "DQBUF", errno, &[EINVAL]),
            _ => self.expect(at, "DQBUF", errno, &[EINVAL, EBUSY]),
        }
    }

    pub(crate) fn dequeued(&mut self, at: At, told: Told) -> Check {
        let index = told.index;
        let queue = self.queue(at)?;
        let Some(buffer) = queue.buffers.get(&index).cloned() else {
            return Err(format!("DQBUF gave buffer {index}, which does not exist"));
        };
        if buffer.place != BufferHolder::Queue || !queue.streaming {
            let place = buffer.place;
            return Err(format!("DQBUF gave buffer {index}, which is {place:?}"));
        }
        let is_error = told.flags & ERROR != 0;
        let node = self.node_of(at)?;
        let is_mem2mem = node.is_mem2mem();
        let output = queue.kind.output;
        let is_last = is_mem2mem && told.is_last();
        if is_error && !self.disturbed && !node.is_decoder() {
            return Err(format!(
                "DQBUF gave buffer {index} with an error, and nothing failed"
            ));
        }
        let last = (told.sequence, told.time_us);
        if let Some((sequence, time)) = queue.last
            && !output
            && !is_error
            && !is_last
            && (told.sequence <= sequence || told.time_us < time)
        {
            return Err(format!("DQBUF: {last:?} after {:?}", (sequence, time)));
        }
        match output {
            true if is_mem2mem => {
                self.check_complete(self.file(at.0)?.program, buffer.request)?;
            }
            false if is_mem2mem => self.check_result(at, &buffer, told)?,
            false if !is_error => {
                self.check_sequence(at, told)?;
                self.compare(at, &buffer, told)?;
            }
            _ => {}
        }
        self.take_back(at, index)?;
        self.counts.cycles += 1;
        let queue = self.queue_mut(at)?;
        queue.taken += 1;
        if !is_error && !is_last {
            queue.last = Some(last);
        }
        if let Some(buffer) = queue.buffers.get_mut(&index) {
            buffer.place = BufferHolder::Program;
        }
        Ok(())
    }

    /// Checks that a stream of the first camera does not run ahead of the camera's rate.
    fn check_sequence(&self, at: At, told: Told) -> Check {
        /// The shortest interval of cameras.
        const INTERVAL_NS: u64 = 1_000_000_000 / 60;
        let queue = self.queue(at)?;
        let most = self.now_ns().saturating_sub(queue.began_ns) / INTERVAL_NS + 1;
        let is_timed = self.file(at.0)?.node == 0;
        if is_timed && u64::from(told.sequence) > most {
            return Err(format!(
                "DQBUF: sequence {} of a stream that had time for {most}",
                told.sequence
            ));
        }
        Ok(())
    }

    /// Compares a captured picture with the picture that the model expects.
    fn compare(&mut self, at: At, buffer: &Buffer, told: Told) -> Check {
        let (width, height, pixel, _) = self.queue(at)?.picture;
        let len = width * height * 2;
        let Told { index, used, .. } = told;
        let is_camera = self.node_of(at)?.is_camera();
        if is_camera && pixel == YUYV && used != len {
            return Err(format!(
                "buffer {index}: {used} bytes of a picture of {len}"
            ));
        }
        if self.revoked || pixel != YUYV || used != len {
            return Ok(());
        }
        let program = self.file(at.0)?.program;
        let Some(bytes) = self.bytes_alone(program, buffer, len)? else {
            return Ok(());
        };
        let sum = crc32fast::hash(&bytes);
        if is_camera {
            let (size, sequence) = ((width, height), told.sequence);
            let is_right = pixels::picture(YUYV, size, sequence, |right| right == bytes);
            if !is_right {
                return Err(format!(
                    "buffer {index}: not the bytes of picture {sequence}"
                ));
            }
        } else if let Some(writer) = self.node_of(at)?.writer {
            let writer = &self.nodes[writer];
            if !writer.unknown && !writer.written.contains(&sum) {
                return Err(format!(
                    "buffer {index}: bytes that no program and no device wrote"
                ));
            }
        } else {
            return Ok(());
        }
        self.note_content(buffer.memory, Content { sum, len, pixel });
        Ok(())
    }

    /// Records the bytes that a device has written, after they have been compared.
    pub(crate) fn note_content(&mut self, memory: u64, content: Content) {
        self.counts.pictures += 1;
        if let Some(memory) = self.memories.get_mut(&memory) {
            memory.content = Some(content);
        }
    }

    /// Returns the bytes as [`Self::bytes`] does; `None` if another device or program may have written them.
    pub(crate) fn bytes_alone(
        &mut self,
        program: u32,
        buffer: &Buffer,
        len: u32,
    ) -> Check<Option<Vec<u8>>> {
        let memory = self.memories.get(&buffer.memory);
        let is_alone = memory.is_some_and(|m| m.generation == buffer.generation && m.writers == 1);
        match is_alone {
            true => self.bytes(program, buffer, len),
            false => Ok(None),
        }
    }

    /// Returns a buffer's bytes as a program reads them; `None` if the program has no access.
    fn bytes(&mut self, program: u32, buffer: &Buffer, len: u32) -> Check<Option<Vec<u8>>> {
        let mut bytes = vec![0; len as usize];
        if buffer.memory >> 32 != 0 {
            let space = &self.process(program)?.space;
            let read = space.read(slot_at(buffer.slot), &mut bytes);
            return Ok(read.is_ok().then_some(bytes));
        }
        let mapping = self.mappings.iter().find(|m| m.memory == buffer.memory);
        if let Some(mapping) = mapping.filter(|_| buffer.fd < 0) {
            let read = pread(&mapping.fd, &mut bytes, mapping.offset);
            return Ok((read == Ok(bytes.len())).then_some(bytes));
        }
        let Some(shared) = self.process(program)?.shared(buffer.fd) else {
            return Ok(None);
        };
        if shared.memory.get() != buffer.memory || !self.sync(program, buffer.fd, 1)? {
            return Ok(None);
        }
        let read = pread(&shared.fd, &mut bytes, 0);
        self.sync(program, buffer.fd, 1 | END)?;
        Ok((read == Ok(bytes.len())).then_some(bytes))
    }

    /// Begins or ends a program's access to a dma-buf. Returns whether the call succeeded.
    fn sync(&mut self, program: u32, fd: i32, flags: u64) -> Check<bool> {
        use crate::memory::ARG;
        let process = self.programs.get(&program).ok_or(LOST)?;
        let Some(shared) = process.shared(fd) else {
            return Ok(false);
        };
        process.call.set(CallId(self.next_call));
        self.next_call += 1;
        let _ = process.space.write(ARG, &flags.to_ne_bytes());
        let done = self.run.buffer_ioctl(shared.id, SYNC, ARG, process);
        Ok(matches!(done, vb3_frontend::CallOutcome::Done(_)))
    }

    /// Lets a program write a picture if it has access. Returns the length if all bytes were written.
    fn paint(&mut self, at: At, source: Source, memory: u64) -> Check<Option<u32>> {
        let pixel = self.queue(at)?.picture.2;
        let program = self.file(at.0)?.program;
        let number = self.next_picture;
        self.next_picture += 1;
        let Some(bytes) = self.painting(at, number)? else {
            return Ok(None);
        };
        let written = match source {
            Source::Own => {
                let mapping = self.mappings.iter().find(|m| m.memory == memory);
                mapping.map_or(0, |m| pwrite(&m.fd, &bytes, m.offset).unwrap_or(0))
            }
            Source::User(addr, _) => {
                let done = self.process(program)?.space.write(addr, &bytes);
                done.map_or(0, |()| bytes.len())
            }
            Source::Fd(fd) => match self.process(program)?.shared(fd) {
                Some(shared) if self.sync(program, fd, 2)? => {
                    let written = pwrite(&shared.fd, &bytes, 0).unwrap_or(0);
                    self.sync(program, fd, 2 | END)?;
                    written
                }
                _ => 0,
            },
        };
        // A dma-buf that is smaller than the picture gets only the picture's beginning.
        if written > 0 {
            self.written(memory);
        }
        if written != bytes.len() {
            return Ok(None);
        }
        let sum = crc32fast::hash(&bytes);
        let len = u32::try_from(bytes.len()).unwrap_or(0);
        if let Some(memory) = self.memories.get_mut(&memory)
            && memory.writers == 0
            && !(memory.is_device_written && source == Source::Own)
        {
            memory.content = Some(Content { sum, len, pixel });
        }
        Ok(Some(len))
    }
}

#[cfg(test)]
mod tests;
