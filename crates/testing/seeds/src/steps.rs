//! One step of a simulation: a call of a program, or another event, with its expected result.

use crate::api::{self, Arg, DONE, EINVAL, ENODEV, ENOTTY, Model, QUEUED, Source};
use crate::model::{At, Buffer, BufferHolder, File, Mapping, Queue};
use crate::plan::Dice;
use crate::run::{Check, LOST, Sim};
use std::collections::BTreeMap;
use std::rc::Rc;
use vb3_frontend::{Devices as _, Mmap, Program as _};
use vb3_machine::Faults;
use vb3_v4l2::sys::*;

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOMEM: i32 = 12;
pub(crate) const EBUSY: i32 = 16;
pub(crate) const EMFILE: i32 = 24;
impl Sim<'_> {
    pub(crate) fn step(&mut self, dice: &mut Dice) -> Check {
        if self.plan.faults && dice.percent(6) {
            return self.event(dice);
        }
        if dice.percent(25) {
            return self.pass(u64::from(dice.below(50)) * 1_000_000);
        }
        let programs: Vec<u32> = self.programs.keys().copied().collect();
        let Some(&program) = dice.pick(&programs) else {
            return Ok(());
        };
        if self.screen.is_some() && dice.percent(25) {
            return self.use_card(program, dice);
        }
        match dice.below(100) {
            0 => self.kill(program),
            1..3 => self.close_one(program, dice),
            3..6 if self.plan.codecs && dice.percent(50) => self.allocate(program, dice),
            3..6 => self.receive(program, dice),
            6..8 => self.unmap(program, dice),
            8 if self.files.len() < 6 => self.open(program, dice),
            _ => {
                let own = self.files_with(|file| file.program == program);
                match dice.pick(&own) {
                    Some(&file) => self.on_file(file, dice),
                    None => self.open(program, dice),
                }
            }
        }
    }

    /// Returns the indices of the files that `is_wanted` accepts.
    fn files_with(&self, is_wanted: impl Fn(&File) -> bool) -> Vec<usize> {
        let files = (0..).zip(&self.files);
        let wanted = files.filter(|(_, file)| is_wanted(file));
        wanted.map(|(at, _)| at).collect()
    }

    /// Sets faults, revokes a buffer, or plugs or unplugs a device.
    fn event(&mut self, dice: &mut Dice) -> Check {
        match dice.below(7) {
            0..3 => {
                let per_million = [0, 0, 20_000, 200_000][dice.below(4) as usize];
                let seed = u64::from(dice.below(1 << 20));
                self.note(|| format!("faults {per_million}"));
                self.counts.faults += self.run.machine().injected_faults();
                self.disturbed |= per_million > 0;
                let plan = Faults::Random { per_million, seed };
                self.run.machine_mut().set_faults(plan);
                if self.plan.unmap_faults {
                    self.run.machine_mut().set_unmap_faults(plan);
                }
                Ok(())
            }
            3 | 4 => {
                let list = self.run.list_buffers();
                let ids: Vec<&str> = list.buffers.iter().map(|buffer| &*buffer.id).collect();
                let Some(id) = dice.pick(&ids) else {
                    return Ok(());
                };
                let done = self.run.revoke_buffer(id).is_ok();
                if self.run.has_mapped_revoked() {
                    return Err(format!("revoked memory {id} is mapped for a device"));
                }
                self.disturbed |= done;
                self.revoked |= done;
                self.note(|| format!("revoke {id}: {done}"));
                Ok(())
            }
            _ => {
                let at = dice.below(u32::try_from(self.nodes.len()).unwrap_or(1)) as usize;
                self.plug(at, !self.nodes[at].present)
            }
        }
    }

    /// Plugs or unplugs a device. The files of an unplugged device stay dead.
    pub(crate) fn plug(&mut self, at: usize, comes: bool) -> Check {
        let node = &mut self.nodes[at];
        node.present = comes;
        let number = node.number;
        self.run.plug_device(number, comes)?;
        let shown = self.run.take_hotplug().len();
        self.run.hotplug_shown(shown);
        self.disturbed = true;
        if !comes {
            for file in self.files_with(|file| file.node == at) {
                for queue in self.queues_of(file)? {
                    self.note_wait(queue)?;
                }
                self.forget_queues(file)?;
                self.files[file].dead = true;
            }
        }
        self.note(|| format!("{} {number}", if comes { "plug" } else { "unplug" }));
        Ok(())
    }

    /// Expects that a program which waits for a queue is woken, because the queue's stream ends.
    fn note_wait(&mut self, at: At) -> Check {
        if self.queue(at)?.waits {
            self.ended_waits.push(self.file(at.0)?.id);
        }
        Ok(())
    }

    /// Takes all buffers of a file back from the device, and forgets the file's buffers.
    fn forget_queues(&mut self, file: usize) -> Check {
        for at in self.queues_of(file)? {
            self.stop(at)?;
            let queue = self.queue_mut(at)?;
            *queue = Queue::new(queue.kind);
        }
        Ok(())
    }

    fn open(&mut self, program: u32, dice: &mut Dice) -> Check {
        let nth = dice.below(u32::try_from(self.nodes.len()).unwrap_or(1)) as usize;
        self.open_node(program, nth).map(|_| ())
    }

    pub(crate) fn open_node(&mut self, program: u32, nth: usize) -> Check<Option<usize>> {
        let node = &self.nodes[nth];
        let process = self.programs.get(&program).ok_or(LOST)?;
        let opened = (self.run).open(self.run.video_node(node.number), 2, process.origin());
        let (number, present) = (node.number, node.present);
        let kinds = node.kinds.clone();
        self.note(|| format!("program {program} opens {number}: {opened:?}"));
        match opened {
            Ok(id) if present => {
                self.files.push(File {
                    id,
                    node: nth,
                    program,
                    dead: false,
                    queues: kinds.into_iter().map(Queue::new).collect(),
                    inputs: BTreeMap::new(),
                });
                let file = self.files.len() - 1;
                self.hear(file)?;
                Ok(Some(file))
            }
            Err(e) if !present && e.0 == ENODEV => Ok(None),
            other => Err(format!("open of {number} (present: {present}): {other:?}")),
        }
    }

    pub(crate) fn close(&mut self, file: usize) -> Check {
        self.forget_queues(file)?;
        let file = self.files.remove(file);
        self.note(|| format!("program {} closes {:?}", file.program, file.id));
        self.run.release(file.id);
        Ok(())
    }

    /// Kills a program. Its files, descriptors and mappings close in the kernel's order.
    pub(crate) fn kill(&mut self, program: u32) -> Check {
        self.note(|| format!("program {program} is killed"));
        self.process(program)?.space.end();
        self.mappings
            .iter()
            .filter(|m| m.program == program)
            .for_each(|m| self.run.tag_ended(m.tag));
        self.mappings.retain(|mapping| mapping.program != program);
        self.close_card_of(program)?;
        while let Some(at) = self.files.iter().position(|file| file.program == program) {
            self.close(at)?;
        }
        for file in self.process(program)?.requests.take().into_values() {
            self.run.release(file);
        }
        if let Some(process) = self.programs.remove(&program) {
            let fds = process.numbers().into_iter();
            let last = fds.filter_map(|fd| process.close(fd));
            last.for_each(|tag| self.run.tag_ended(tag));
        }
        self.start(program);
        Ok(())
    }

    fn close_one(&mut self, program: u32, dice: &mut Dice) -> Check {
        let process = self.process(program)?;
        let Some(&fd) = dice.pick(&process.numbers()) else {
            return Ok(());
        };
        let last = process.close(fd);
        let is_last = last.is_some();
        self.note(|| format!("program {program} closes descriptor {fd}, last: {is_last}"));
        if let Some(tag) = last {
            self.run.tag_ended(tag);
        }
        Ok(())
    }

    /// Passes a descriptor of another program to this program.
    fn receive(&mut self, program: u32, dice: &mut Dice) -> Check {
        let others: Vec<Rc<_>> = (self.programs.values())
            .flat_map(|process| process.fds.borrow().values().cloned().collect::<Vec<_>>())
            .collect();
        if let Some(shared) = dice.pick(&others).cloned() {
            drop(others);
            let memory = shared.memory.get();
            let fd = self.process(program)?.adopt(shared);
            self.note(|| format!("program {program} receives memory {memory}: {fd:?}"));
        }
        Ok(())
    }

    fn unmap(&mut self, program: u32, dice: &mut Dice) -> Check {
        let is_own = |at: &usize| self.mappings[*at].program == program;
        let own: Vec<usize> = (0..self.mappings.len()).filter(is_own).collect();
        if let Some(&at) = dice.pick(&own) {
            let mapping = self.mappings.remove(at);
            self.note(|| format!("program {program} unmaps memory {}", mapping.memory));
            self.run.tag_ended(mapping.tag);
        }
        Ok(())
    }

    /// Makes a call on a file. In most cases, the call suits the state of the file's queues.
    fn on_file(&mut self, file: usize, dice: &mut Dice) -> Check {
        let count = self.file(file)?.queues.len();
        let mut at = (file, dice.below(u32::try_from(count).unwrap_or(1)) as usize);
        if self.plan.codecs && count > 1 && dice.percent(50) {
            // A codec does nothing until both of its queues stream.
            let stops = |nth: &usize| self.queue((file, *nth)).is_ok_and(|q| !q.streaming);
            at.1 = (0..count).find(stops).unwrap_or(at.1);
        }
        let queue = self.queue(at)?;
        if queue.blocked.is_some() && dice.percent(60) {
            return self.dequeue(at, dice);
        }
        if queue.buffers.is_empty() {
            return match dice.below(20) {
                0 => self.stream(at, true).map(drop),
                1 => self.dequeue(at, dice),
                2 => self.close(file),
                3..6 => self.create(at, dice),
                _ => self.set_up(at, dice),
            };
        }
        let has = |place| !queue.at(place).is_empty();
        let streaming = queue.streaming;
        match dice.below(100) {
            0..35 if has(BufferHolder::Program) || has(BufferHolder::Prepared) => {
                self.enqueue(at, dice, false)
            }
            0..60 if streaming => self.dequeue(at, dice),
            35..60 => self.stream(at, true).map(drop),
            60..68 => self.export(at, dice),
            68..74 => self.map(at, dice),
            74..78 => self.query(at, dice),
            78..81 => self.enqueue(at, dice, true),
            81..83 => self.stream(at, false).map(drop),
            83 => self.request(at, Model::Mmap, 0, false).map(|_| ()),
            84 => self.set_up(at, dice),
            85..87 => self.create(at, dice),
            87 => self.remove(at, dice),
            88 => self.close(file),
            _ => self.dequeue(at, dice),
        }
    }

    /// Checks that the call may fail with this errno: `allowed` has it, or an injected event explains it.
    pub(crate) fn expect(&self, at: At, call: &str, errno: i32, allowed: &[i32]) -> Check {
        let is_dead = self.file(at.0)?.dead;
        let is_right = match errno {
            ENODEV if is_dead => true,
            // The memory may have been revoked.
            ENODEV => self.revoked,
            _ if is_dead => false,
            EIO | ENOMEM if self.disturbed => true,
            errno => allowed.contains(&errno),
        };
        let queue = self.queue(at)?;
        is_right.then_some(()).ok_or_else(|| {
            format!("{call} gave errno {errno}, file dead: {is_dead}, queue {queue:?}")
        })
    }

    pub(crate) fn set_up(&mut self, at: At, dice: &mut Dice) -> Check {
        let models = [Model::Mmap, Model::Mmap, Model::DmaBuf, Model::UserPtr];
        let model = dice.pick(&models).copied().unwrap_or(Model::Mmap);
        let (count, cached) = (1 + dice.below(4), dice.percent(30));
        self.request(at, model, count, cached).map(|_| ())
    }

    /// Calls G_FMT, then REQBUFS. Returns whether the queue has buffers.
    pub(crate) fn request(
        &mut self,
        at: At,
        model: Model,
        count: u32,
        cached: bool,
    ) -> Check<bool> {
        let kind = self.queue(at)?.kind;
        if !self.ask_format(at)? {
            return Ok(false);
        }
        let mut arg = api::reqbufs(kind, model, count, cached);
        let done = self.ioctl(at.0, VIDIOC_REQBUFS, (&mut arg, None), None)?;
        self.note(|| format!("{at:?} REQBUFS {model:?} {count} cached {cached}: {done:?}"));
        if let Err(errno) = done {
            self.expect(at, "REQBUFS", errno, &[EINVAL, EBUSY, ENOMEM])?;
            // The old buffers may be gone, since REQBUFS frees before it allocates, as in Linux.
            if errno == ENOMEM {
                self.empty(at)?;
            }
            return Ok(false);
        }
        self.empty(at)?;
        let granted = api::granted(&arg);
        self.add(at, model, cached, 0, granted)?;
        if granted == 0 && count > 0 {
            return Err("REQBUFS made no buffer, and no error".to_owned());
        }
        Ok(granted > 0)
    }

    fn empty(&mut self, at: At) -> Check {
        self.stop(at)?;
        let queue = self.queue_mut(at)?;
        queue.buffers.clear();
        queue.model = None;
        Ok(())
    }

    fn add(&mut self, at: At, model: Model, cached: bool, first: u32, count: u32) -> Check {
        for index in first..first + count {
            let memory = if model == Model::Mmap {
                self.number()
            } else {
                0
            };
            let queue = self.queue_mut(at)?;
            let buffer = Buffer {
                place: BufferHolder::Program,
                least: queue.picture.3,
                memory,
                generation: 0,
                used: 0,
                fd: -1,
                slot: 0,
                time_us: 0,
                request: 0,
            };
            queue.buffers.insert(index, buffer);
            (queue.model, queue.cached) = (Some(model), cached);
        }
        Ok(())
    }

    fn ask_format(&mut self, at: At) -> Check<bool> {
        let mut format = api::format(self.queue(at)?.kind);
        let done = self.ioctl(at.0, VIDIOC_G_FMT, (&mut format, None), None)?;
        if let Err(errno) = done {
            self.expect(at, "G_FMT", errno, &[])?;
            return Ok(false);
        }
        self.queue_mut(at)?.picture = api::picture_of(&format);
        Ok(true)
    }

    fn create(&mut self, at: At, dice: &mut Dice) -> Check {
        let queue = self.queue(at)?;
        let model = queue.model.unwrap_or(Model::Mmap);
        let cached = queue.model.map_or(dice.percent(30), |_| queue.cached);
        let mut format = api::format(queue.kind);
        let asked = self.ioctl(at.0, VIDIOC_G_FMT, (&mut format, None), None)?;
        if asked.is_err() || !self.ask_format(at)? {
            return Ok(());
        }
        let count = 1 + dice.below(2);
        let mut arg = api::create(model, count, cached, &format);
        let done = self.ioctl(at.0, VIDIOC_CREATE_BUFS, (&mut arg, None), None)?;
        self.note(|| format!("{at:?} CREATE_BUFS {model:?} {count}: {done:?}"));
        match done {
            Err(errno) => self.expect(at, "CREATE_BUFS", errno, &[EINVAL, EBUSY, ENOMEM]),
            Ok(_) => {
                let (first, count) = api::created(&arg);
                let taken = &self.queue(at)?.buffers;
                if (first..first + count).any(|index| taken.contains_key(&index)) {
                    return Err(format!("CREATE_BUFS gave index {first} again"));
                }
                self.add(at, model, cached, first, count)
            }
        }
    }

    fn remove(&mut self, at: At, dice: &mut Dice) -> Check {
        let queue = self.queue(at)?;
        let all: Vec<u32> = queue.buffers.keys().copied().collect();
        let index = dice.pick(&all).copied().unwrap_or(99);
        let holder = queue.holder(index);
        let is_out = holder == Some(BufferHolder::Queue);
        let mut arg = api::remove(queue.kind, index, 1);
        let done = self.ioctl(at.0, VIDIOC_REMOVE_BUFS, (&mut arg, None), None)?;
        self.note(|| format!("{at:?} REMOVE_BUFS {index}: {done:?}"));
        match done {
            Ok(_) if is_out => Err(format!("REMOVE_BUFS took buffer {index} from the queue")),
            Ok(_) => {
                if holder == Some(BufferHolder::Prepared) {
                    self.take_back(at, index)?;
                }
                self.queue_mut(at)?.buffers.remove(&index);
                Ok(())
            }
            // A webcam's driver has no REMOVE_BUFS.
            Err(ENOTTY) if self.node_of(at)?.is_camera() => Ok(()),
            Err(errno) => self.expect(at, "REMOVE_BUFS", errno, &[EINVAL, EBUSY]),
        }
    }

    fn query(&mut self, at: At, dice: &mut Dice) -> Check {
        let index = dice.below(6);
        let queue = self.queue(at)?;
        let model = queue.model.unwrap_or(Model::Mmap);
        // A JPEG of another size changes a decoder's format, and its buffers stay.
        let known = queue.buffers.get(&index).map(|b| (b.place, b.least));
        let (mut arg, mut plane) = api::buffer(queue.kind, model, index, Source::Own, 0);
        let done = self.ioctl(at.0, VIDIOC_QUERYBUF, (&mut arg, plane.as_mut()), None)?;
        let told = api::told(&arg, plane.as_ref());
        self.note(|| format!("{at:?} QUERYBUF {index}: {done:?}"));
        match (done, known) {
            (Ok(_), Some((_, least))) if model == Model::Mmap && told.length < least => {
                Err(format!(
                    "QUERYBUF of buffer {index}: length {}, and a picture has {least}",
                    told.length
                ))
            }
            (Err(errno), Some(_)) => self.expect(at, "QUERYBUF", errno, &[]),
            (Err(errno), None) => self.expect(at, "QUERYBUF", errno, &[EINVAL]),
            (Ok(_), None) => Err(format!(
                "QUERYBUF succeeded for buffer {index}, which does not exist"
            )),
            (Ok(_), Some((place, _))) => {
                let is_out = told.flags & (QUEUED | DONE) != 0;
                let is_right = is_out == (place == BufferHolder::Queue);
                let flags = told.flags;
                is_right.then_some(()).ok_or_else(|| {
                    format!("QUERYBUF of buffer {index}: flags {flags:#x}, but {place:?}")
                })
            }
        }
    }

    fn export(&mut self, at: At, dice: &mut Dice) -> Check {
        let queue = self.queue(at)?;
        let all: Vec<u32> = queue.buffers.keys().copied().collect();
        let index = dice.pick(&all).copied().unwrap_or(0);
        let is_own = queue.model == Some(Model::Mmap);
        let memory = queue.buffers.get(&index).map_or(0, |buffer| buffer.memory);
        let mut arg = api::export(queue.kind, index);
        let done = self.ioctl(at.0, VIDIOC_EXPBUF, (&mut arg, None), None)?;
        let fd = api::exported(&arg);
        self.note(|| format!("{at:?} EXPBUF {index}: {done:?}"));
        match done {
            Ok(_) if is_own => {
                let shared = self.process_of(at)?.shared(fd);
                let shared = shared.ok_or("EXPBUF gave a number that is no descriptor")?;
                shared.memory.set(memory);
                Ok(())
            }
            Ok(_) => Err("EXPBUF of a buffer that is not the queue's own".to_owned()),
            Err(errno) if is_own && !self.revoked => self.expect(at, "EXPBUF", errno, &[EMFILE]),
            Err(errno) => self.expect(at, "EXPBUF", errno, &[EMFILE, EINVAL, ENODEV]),
        }
    }

    fn map(&mut self, at: At, dice: &mut Dice) -> Check {
        let all: Vec<u32> = self.queue(at)?.buffers.keys().copied().collect();
        self.map_buffer(at, dice.pick(&all).copied().unwrap_or(0))
    }

    pub(crate) fn map_buffer(&mut self, at: At, index: u32) -> Check {
        let queue = self.queue(at)?;
        if queue.model != Some(Model::Mmap) || self.mappings.len() >= 24 {
            return Ok(());
        }
        let memory = queue.buffers.get(&index).map_or(0, |buffer| buffer.memory);
        let (mut arg, mut plane) = api::buffer(queue.kind, Model::Mmap, index, Source::Own, 0);
        let done = self.ioctl(at.0, VIDIOC_QUERYBUF, (&mut arg, plane.as_mut()), None)?;
        if let Err(errno) = done {
            return self.expect(at, "QUERYBUF", errno, &[]);
        }
        let told = api::told(&arg, plane.as_ref());
        let args = Mmap {
            offset: told.offset.into(),
            len: told.length.into(),
            prot: 3,
            flags: 1,
        };
        let file = self.file(at.0)?;
        let (id, program, is_dead) = (file.id, file.program, file.dead);
        let process = self.programs.get(&program).ok_or(LOST)?;
        match self.run.mmap(id, &args, process.origin()) {
            Ok(_) if is_dead => return Err(format!("mmap of the unplugged {id:?} succeeded")),
            Ok(map) => self.mappings.push(Mapping {
                fd: map.fd,
                offset: map.offset,
                tag: map.tag,
                memory,
                program,
            }),
            // A revoked buffer cannot be mapped.
            Err(e) if self.revoked => self.expect(at, "mmap", e.0, &[EINVAL])?,
            Err(e) => self.expect(at, "mmap", e.0, &[])?,
        }
        self.note(|| format!("{at:?} maps {index}"));
        Ok(())
    }

    pub(crate) fn stream(&mut self, at: At, on: bool) -> Check<bool> {
        let queue = self.queue(at)?;
        // A queue that is streaming accepts STREAMON even without buffers.
        let is_empty = queue.buffers.is_empty() && !queue.streaming;
        let request = if on {
            VIDIOC_STREAMON
        } else {
            VIDIOC_STREAMOFF
        };
        let mut arg = Arg::new(4, &[(0, queue.kind.number())]);
        let done = self.ioctl(at.0, request, (&mut arg, None), None)?;
        self.note(|| format!("{at:?} STREAM {on}: {done:?}"));
        match done {
            Err(errno) if on && is_empty => {
                self.expect(at, "STREAMON", errno, &[EINVAL, EBUSY])?;
                Ok(false)
            }
            Err(errno) => {
                // A loopback's reader and a converter require their other side to stream first.
                let allowed = if on {
                    &[EBUSY, EINVAL, EIO][..]
                } else {
                    &[EBUSY]
                };
                self.expect(at, "STREAM", errno, allowed)?;
                Ok(false)
            }
            Ok(_) if on && is_empty => Err("STREAMON without buffers".to_owned()),
            Ok(_) => {
                if !on {
                    self.note_wait(at)?;
                    self.stop(at)?;
                } else if !self.queue(at)?.streaming {
                    let began_ns = self.now_ns();
                    let queue = self.queue_mut(at)?;
                    (queue.streaming, queue.began_ns) = (true, began_ns);
                }
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests;
