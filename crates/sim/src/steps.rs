//! One step of a simulation: a call of a program, or another event, with its expected result.

use crate::api::{self, Arg, DONE, EINVAL, ENODEV, ENOTTY, Model, QUEUED, Source};
use crate::model::{Buffer, BufferHolder, File, Mapping, Queue};
use crate::plan::Dice;
use crate::run::{Check, Sim};
use std::collections::BTreeMap;
use std::rc::Rc;
use vb3_host::{Backend as _, Mmap, NodeId};
use vb3_machine::Faults;
use vb3_v4l2::sys::*;

/// A queue: the index of its file, and its own index in this file.
pub(crate) type At = (usize, usize);

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOMEM: i32 = 12;
pub(crate) const EBUSY: i32 = 16;
impl Sim<'_> {
    pub(crate) fn step(&mut self, dice: &mut Dice) -> Check {
        if self.plan.faults && dice.percent(6) {
            return self.event(dice);
        }
        if dice.percent(25) {
            return self.pass(u64::from(dice.below(50)) * 1_000_000);
        }
        let Some(program) = self.picks(dice) else {
            return Ok(());
        };
        match dice.below(100) {
            0 => self.kill(program),
            1..3 => self.close_one(program, dice),
            3..6 if self.plan.codecs && dice.percent(50) => self.allocate(program, dice),
            3..6 => self.receive(program, dice),
            6..8 => self.unmap(program, dice),
            8 if self.files.len() < 6 => self.open(program, dice),
            _ => {
                let own = |(_, file): &(usize, &File)| file.program == program;
                let own: Vec<usize> = (self.files.iter().enumerate().filter(own))
                    .map(|(at, _)| at)
                    .collect();
                match dice.pick(&own).copied() {
                    Some(file) => self.on_file(file, dice),
                    None => self.open(program, dice),
                }
            }
        }
    }

    /// Sets faults, revokes a buffer, or plugs or unplugs a device.
    fn event(&mut self, dice: &mut Dice) -> Check {
        match dice.below(7) {
            0..3 => {
                let per_million = [0, 0, 20_000, 200_000][dice.below(4) as usize];
                let seed = u64::from(dice.below(1 << 20));
                self.note(|| format!("faults {per_million}"));
                self.counts.faults += self.world.machine().injected_faults();
                self.disturbed |= per_million > 0;
                let plan = Faults::Random { per_million, seed };
                self.world.machine_mut().set_faults(plan);
                if self.plan.unmap_faults {
                    self.world.machine_mut().set_unmap_faults(plan);
                }
                Ok(())
            }
            3 | 4 => {
                let list = self.world.list_buffers();
                let ids: Vec<&str> = list.lines().filter_map(|l| l.split(' ').next()).collect();
                let Some(id) = dice.pick(&ids) else {
                    return Ok(());
                };
                let done = self.world.revoke_buffer(id).is_ok();
                if self.world.has_mapped_revoked() {
                    return Err(format!("revoked memory {id} is mapped for a device"));
                }
                self.disturbed |= done;
                self.revoked |= done;
                self.note(|| format!("revoke {id}: {done}"));
                Ok(())
            }
            _ => {
                let at = dice.below(u32::try_from(self.nodes.len()).unwrap_or(1)) as usize;
                let is_present = self.nodes.get(at).is_some_and(|node| node.present);
                self.plug(at, !is_present)
            }
        }
    }

    /// Returns whether a file's device is a camera.
    pub(crate) fn is_camera(&self, file: &File) -> bool {
        (self.nodes.get(file.node)).is_some_and(|node| node.name == "camera")
    }

    /// Plugs or unplugs a device. The files of an unplugged device stay dead.
    pub(crate) fn plug(&mut self, at: usize, comes: bool) -> Check {
        let Some(node) = self.nodes.get_mut(at) else {
            return Ok(());
        };
        node.present = comes;
        let number = node.number;
        self.world.plug_device(number, comes)?;
        let shown = self.world.take_hotplug().len();
        self.world.hotplug_shown(shown);
        self.disturbed = true;
        let dead: Vec<usize> = (self.files.iter().enumerate())
            .filter(|(_, file)| file.node == at && !comes)
            .map(|(at, _)| at)
            .collect();
        for file in dead {
            for queue in 0..self.files.get(file).map_or(0, |file| file.queues.len()) {
                self.note_wait((file, queue));
            }
            self.forget_queues(file);
            if let Some(file) = self.files.get_mut(file) {
                file.dead = true;
            }
        }
        self.note(|| format!("{} {number}", if comes { "plug" } else { "unplug" }));
        Ok(())
    }

    /// Expects that a program which waits for a queue is woken, because its stream ends.
    fn note_wait(&mut self, (file, queue): At) {
        let Some(file) = self.files.get(file) else {
            return;
        };
        if file.queues.get(queue).is_some_and(|queue| queue.waits) {
            self.ended_waits.push(file.id);
        }
    }

    /// Takes all buffers of a file back from the device, and forgets the file's buffers.
    fn forget_queues(&mut self, file: usize) {
        for queue in 0..self.files.get(file).map_or(0, |file| file.queues.len()) {
            self.stop((file, queue));
            if let Some(queue) = self.queue_mut((file, queue)) {
                *queue = Queue::new(queue.kind);
            }
        }
    }

    pub(crate) fn queue_mut(&mut self, (file, queue): At) -> Option<&mut Queue> {
        self.files.get_mut(file)?.queues.get_mut(queue)
    }

    pub(crate) fn queue(&self, (file, queue): At) -> Check<&Queue> {
        let found = self.files.get(file).and_then(|file| file.queues.get(queue));
        found.ok_or_else(|| "the simulation has lost a queue".to_owned())
    }

    fn open(&mut self, program: u32, dice: &mut Dice) -> Check {
        let nth = dice.below(u32::try_from(self.nodes.len()).unwrap_or(1)) as usize;
        self.open_node(program, nth).map(|_| ())
    }

    pub(crate) fn open_node(&mut self, program: u32, nth: usize) -> Check<Option<usize>> {
        let (Some(node), Some(process)) = (self.nodes.get(nth), self.programs.get(&program)) else {
            return Ok(None);
        };
        let opened = self.world.open(NodeId(node.number), 2, process);
        let (number, present) = (node.number, node.present);
        let kinds = node.kinds.clone();
        self.note(|| format!("program {program} opens {number}: {opened:?}"));
        match opened {
            Ok(id) if present => {
                let queues = kinds.into_iter().map(Queue::new).collect();
                let (node, dead) = (nth, false);
                self.files.push(File {
                    id,
                    node,
                    program,
                    dead,
                    queues,
                    inputs: BTreeMap::new(),
                });
                let file = self.files.len() - 1;
                self.hear(file)?;
                Ok(Some(file))
            }
            Err(e) if !present && e.0 == ENODEV => Ok(None),
            Err(e) if self.disturbed && e.0 == ENOMEM => Ok(None),
            other => Err(format!("open of {number} (present: {present}): {other:?}")),
        }
    }

    pub(crate) fn close(&mut self, file: usize) {
        self.forget_queues(file);
        let file = self.files.remove(file);
        self.note(|| format!("program {} closes {:?}", file.program, file.id));
        self.world.release(file.id);
    }

    /// Kills a program. Its files, descriptors and mappings close in the kernel's order.
    pub(crate) fn kill(&mut self, program: u32) -> Check {
        self.note(|| format!("program {program} is killed"));
        if let Some(process) = self.programs.get(&program) {
            process.space.end();
        }
        self.mappings
            .iter()
            .filter(|m| m.program == program)
            .for_each(|m| self.world.tag_ended(m.tag));
        self.mappings.retain(|mapping| mapping.program != program);
        while let Some(at) = self.files.iter().position(|file| file.program == program) {
            self.close(at);
        }
        let process = self.programs.get(&program);
        let requests = process.map(|process| process.requests.take());
        for file in requests.into_iter().flat_map(BTreeMap::into_values) {
            self.world.release(file);
        }
        if let Some(process) = self.programs.remove(&program) {
            let fds: Vec<i32> = process.fds.borrow().keys().copied().collect();
            let last = fds.into_iter().filter_map(|fd| process.close(fd));
            last.for_each(|tag| self.world.tag_ended(tag));
        }
        self.start(program);
        Ok(())
    }

    fn close_one(&mut self, program: u32, dice: &mut Dice) -> Check {
        let Some(process) = self.programs.get(&program) else {
            return Ok(());
        };
        let fds: Vec<i32> = process.fds.borrow().keys().copied().collect();
        let Some(&fd) = dice.pick(&fds) else {
            return Ok(());
        };
        let last = process.close(fd);
        self.note(|| {
            format!(
                "program {program} closes descriptor {fd}, last: {}",
                last.is_some()
            )
        });
        if let Some(tag) = last {
            self.world.tag_ended(tag);
        }
        Ok(())
    }

    /// Passes a descriptor of another program to this program.
    fn receive(&mut self, program: u32, dice: &mut Dice) -> Check {
        let others: Vec<Rc<_>> = (self.programs.values())
            .flat_map(|process| process.fds.borrow().values().cloned().collect::<Vec<_>>())
            .collect();
        let got = dice.pick(&others).cloned();
        if let (Some(shared), Some(process)) = (got, self.programs.get(&program)) {
            drop(others);
            let memory = shared.memory.get();
            let fd = process.adopt(shared);
            self.note(|| format!("program {program} receives memory {memory}: {fd:?}"));
        }
        Ok(())
    }

    fn unmap(&mut self, program: u32, dice: &mut Dice) -> Check {
        let own = self.mappings.iter().enumerate();
        let own: Vec<usize> = own
            .filter(|(_, m)| m.program == program)
            .map(|(at, _)| at)
            .collect();
        if let Some(&at) = dice.pick(&own) {
            let mapping = self.mappings.remove(at);
            self.note(|| format!("program {program} unmaps memory {}", mapping.memory));
            self.world.tag_ended(mapping.tag);
        }
        Ok(())
    }

    /// Makes a call on a file. In most cases, the call suits the state of the file's queues.
    fn on_file(&mut self, file: usize, dice: &mut Dice) -> Check {
        let count = self.files.get(file).map_or(0, |file| file.queues.len());
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
                0 => self.stream(at, true).map(|_| ()),
                1 => self.dequeue(at, dice),
                2 => {
                    self.close(file);
                    Ok(())
                }
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
            35..60 => self.stream(at, true).map(|_| ()),
            60..68 => self.export(at, dice),
            68..74 => self.map(at, dice),
            74..78 => self.query(at, dice),
            78..81 => self.enqueue(at, dice, true),
            81..83 => self.stream(at, false).map(|_| ()),
            83 => self.request(at, Model::Mmap, 0, false).map(|_| ()),
            84 => self.set_up(at, dice),
            85..87 => self.create(at, dice),
            87 => self.remove(at, dice),
            88 => {
                self.close(file);
                Ok(())
            }
            _ => self.dequeue(at, dice),
        }
    }

    /// Checks that the call may fail with this errno: `allowed` has it, or an injected event explains it.
    pub(crate) fn expect(&self, at: At, call: &str, errno: i32, allowed: &[i32]) -> Check {
        let is_dead = self.files.get(at.0).is_some_and(|file| file.dead);
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
                self.empty(at);
            }
            return Ok(false);
        }
        self.empty(at);
        let granted = api::granted(&arg);
        self.add(at, model, cached, 0, granted);
        if granted == 0 && count > 0 {
            return Err("REQBUFS made no buffer, and no error".to_owned());
        }
        Ok(granted > 0)
    }

    fn empty(&mut self, at: At) {
        self.stop(at);
        if let Some(queue) = self.queue_mut(at) {
            queue.buffers.clear();
            queue.model = None;
        }
    }

    fn add(&mut self, at: At, model: Model, cached: bool, first: u32, count: u32) {
        let least = self.queue(at).map_or(0, |queue| queue.picture.3);
        for index in first..first + count {
            let memory = if model == Model::Mmap {
                self.number()
            } else {
                0
            };
            let buffer = Buffer {
                place: BufferHolder::Program,
                least,
                memory,
                generation: 0,
                used: 0,
                fd: -1,
                slot: 0,
                time_us: 0,
                request: 0,
            };
            if let Some(queue) = self.queue_mut(at) {
                queue.buffers.insert(index, buffer);
                (queue.model, queue.cached) = (Some(model), cached);
            }
        }
    }

    fn ask_format(&mut self, at: At) -> Check<bool> {
        let mut format = api::format(self.queue(at)?.kind);
        let done = self.ioctl(at.0, VIDIOC_G_FMT, (&mut format, None), None)?;
        if let Err(errno) = done {
            self.expect(at, "G_FMT", errno, &[])?;
            return Ok(false);
        }
        if let Some(queue) = self.queue_mut(at) {
            queue.picture = api::picture_of(&format);
        }
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
                self.add(at, model, cached, first, count);
                Ok(())
            }
        }
    }

    fn remove(&mut self, at: At, dice: &mut Dice) -> Check {
        let queue = self.queue(at)?;
        let all: Vec<u32> = queue.buffers.keys().copied().collect();
        let index = dice.pick(&all).copied().unwrap_or(99);
        let is_out = queue.buffers.get(&index).map(|b| b.place) == Some(BufferHolder::Queue);
        let mut arg = api::remove(queue.kind, index, 1);
        let done = self.ioctl(at.0, VIDIOC_REMOVE_BUFS, (&mut arg, None), None)?;
        self.note(|| format!("{at:?} REMOVE_BUFS {index}: {done:?}"));
        match done {
            Ok(_) if is_out => Err(format!("REMOVE_BUFS took buffer {index} from the queue")),
            Ok(_) => {
                if self.buffers(at).get(&index) == Some(&BufferHolder::Prepared) {
                    self.take_back(at, index);
                }
                let queue = self.queue_mut(at);
                queue.map(|queue| queue.buffers.remove(&index));
                Ok(())
            }
            // A webcam's driver has no REMOVE_BUFS.
            Err(ENOTTY) if (self.files.get(at.0)).is_some_and(|file| self.is_camera(file)) => {
                Ok(())
            }
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
        match (done, known) {
            (Ok(_), Some((_, least))) if model == Model::Mmap && told.length < least => {
                Err(format!(
                    "QUERYBUF of buffer {index}: length {}, and a picture has {least}",
                    told.length
                ))
            }
            (Err(errno), Some(_)) => self.expect(at, "QUERYBUF", errno, &[]),
            (Err(errno), None) => self.expect(at, "QUERYBUF", errno, &[EINVAL]),
            (Ok(_), None) => Err(format!("QUERYBUF of buffer {index} that is not there")),
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
                let program = self.files.get(at.0).map_or(0, |file| file.program);
                let process = self.programs.get(&program);
                let shared = process.and_then(|process| process.shared(fd));
                let shared = shared.ok_or("EXPBUF gave a number that is no descriptor")?;
                shared.memory.set(memory);
                Ok(())
            }
            Ok(_) => Err("EXPBUF of a buffer that is not the queue's own".to_owned()),
            // 24 is EMFILE.
            Err(errno) if is_own && !self.revoked => self.expect(at, "EXPBUF", errno, &[24]),
            Err(errno) => self.expect(at, "EXPBUF", errno, &[24, EINVAL, ENODEV]),
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
        let file = self
            .files
            .get(at.0)
            .map(|file| (file.id, file.program, file.dead));
        let Some((id, program, is_dead)) = file else {
            return Ok(());
        };
        let Some(process) = self.programs.get(&program) else {
            return Ok(());
        };
        match self.world.mmap(id, &args, process) {
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
                    self.note_wait(at);
                    self.stop(at);
                } else {
                    let now_ns = self.now_ns();
                    if let Some(queue) = self.queue_mut(at).filter(|queue| !queue.streaming) {
                        (queue.streaming, queue.began_ns) = (true, now_ns);
                    }
                }
                Ok(true)
            }
        }
    }
}
