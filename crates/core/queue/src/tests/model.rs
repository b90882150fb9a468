//! Makes random calls and compares the queue with a small model after each. The model knows only
//! where each buffer is, not its planes, tokens or caches. Calls to the memory or the driver may fail.

use super::fake::{SIZE, done};
use super::std::collections::{BTreeMap, VecDeque};
use super::std::vec;
use super::std::vec::Vec;
use super::{BOTH, Bench};
use crate::{
    BufferState, Coherency, Completion, DoneState, Error, ExportAccess, Interest, Memory,
    QueueType, Readiness,
};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Reqbufs {
        memory: Memory,
        count: u32,
    },
    Create {
        memory: Memory,
        count: u32,
        size: u64,
    },
    Remove {
        first: u32,
        count: u32,
    },
    Query {
        index: u32,
    },
    Prepare {
        index: u32,
        bad: bool,
    },
    Queue {
        index: u32,
        bad: bool,
    },
    Dequeue,
    On,
    Off,
    Complete {
        nth: usize,
        error: bool,
        last: bool,
    },
    Drop {
        nth: usize,
    },
    DeviceError,
    Export {
        index: u32,
    },
    Wait,
    Wake,
    Poll,
    Release,
    /// In the next operation, the memory refuses a call after `after` successful ones.
    MemoryFault {
        after: u64,
    },
    /// In the next operation, a callback of the driver fails.
    DriverFault {
        callback: usize,
    },
    /// The program's memory is replaced.
    Remap,
}

const CALLBACKS: [&str; 6] = [
    "queue_setup",
    "buffer_count",
    "buf_init",
    "buf_prepare",
    "prepare_streaming",
    "start_streaming",
];

fn memory() -> impl Strategy<Value = Memory> {
    prop_oneof![
        Just(Memory::Mmap),
        Just(Memory::UserPtr),
        Just(Memory::DmaBuf)
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let index = 0_u32..7;
    let often = prop_oneof![
        12 => (index.clone(), prop::bool::weighted(0.1))
            .prop_map(|(index, bad)| Op::Queue { index, bad }),
        8 => Just(Op::Dequeue),
        8 => (0_usize..8, prop::bool::weighted(0.2), prop::bool::weighted(0.05))
            .prop_map(|(nth, error, last)| Op::Complete { nth, error, last }),
        3 => (index.clone(), prop::bool::weighted(0.1))
            .prop_map(|(index, bad)| Op::Prepare { index, bad }),
        3 => Just(Op::On),
    ];
    let seldom = prop_oneof![
        3 => (memory(), 0_u32..6).prop_map(|(memory, count)| Op::Reqbufs { memory, count }),
        3 => (memory(), 0_u32..4, prop_oneof![3 => Just(SIZE), 1 => Just(SIZE * 2), 1 => Just(1)])
            .prop_map(|(memory, count, size)| Op::Create { memory, count, size }),
        2 => (index.clone(), 0_u32..4).prop_map(|(first, count)| Op::Remove { first, count }),
        2 => index.clone().prop_map(|index| Op::Query { index }),
        2 => Just(Op::Off),
        2 => (0_usize..8).prop_map(|nth| Op::Drop { nth }),
        1 => Just(Op::DeviceError),
        1 => index.prop_map(|index| Op::Export { index }),
        1 => Just(Op::Wait),
        2 => Just(Op::Wake),
        2 => Just(Op::Poll),
        1 => Just(Op::Release),
        5 => (0_u64..12).prop_map(|after| Op::MemoryFault { after }),
        4 => (0..CALLBACKS.len()).prop_map(|callback| Op::DriverFault { callback }),
        1 => Just(Op::Remap),
    ];
    prop_oneof![3 => often, 2 => seldom]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BufferHolder {
    Program { prepared: bool },
    Queue,
    Device,
    Done { error: bool, last: bool },
}

/// The place of each buffer, as the V4L2 specification describes it.
#[derive(Debug)]
struct Model {
    output: bool,
    min_queued: u32,
    max: u32,
    memory: Option<Memory>,
    places: BTreeMap<u32, BufferHolder>,
    /// Buffers queued but not yet passed to the device, in the order of QBUF.
    waiting: Vec<u32>,
    done: VecDeque<u32>,
    streaming: bool,
    started: bool,
    error: bool,
    ended: bool,
    sleeper: bool,
    /// CAPTURE: no buffer was queued since buffers were made or streaming ended.
    idle: bool,
}

impl Model {
    fn new(queue_type: QueueType, min_queued: u32) -> Self {
        Self {
            output: queue_type == QueueType::Output,
            min_queued,
            max: 32,
            memory: None,
            places: BTreeMap::new(),
            waiting: Vec::new(),
            done: VecDeque::new(),
            streaming: false,
            started: false,
            error: false,
            ended: false,
            sleeper: false,
            idle: false,
        }
    }

    fn cancel(&mut self) {
        for place in self.places.values_mut() {
            *place = BufferHolder::Program { prepared: false };
        }
        self.waiting.clear();
        self.done.clear();
        self.streaming = false;
        self.started = false;
        self.error = false;
        self.ended = false;
    }

    fn clear(&mut self) {
        self.cancel();
        self.places.clear();
        self.memory = None;
    }

    fn reset_memory_if_idle(&mut self) {
        if self.places.is_empty() && !self.streaming {
            self.memory = None;
        }
    }

    fn out(&self) -> u32 {
        let here = |p: &&BufferHolder| !matches!(p, BufferHolder::Program { .. });
        u32::try_from(self.places.values().filter(here).count()).unwrap()
    }

    fn start(&mut self) {
        for index in self.waiting.drain(..) {
            self.places.insert(index, BufferHolder::Device);
        }
        self.started = true;
    }

    /// Returns the errno of QBUF or PREPARE_BUF that does not depend on memory or driver.
    fn refuse(&self, index: u32, bad: bool, prepare: bool) -> Option<i32> {
        let Some(place) = self.places.get(&index) else {
            return Some(22);
        };
        let prepared = match place {
            BufferHolder::Program { prepared } => Some(*prepared),
            _ => None,
        };
        // PREPARE_BUF checks the buffer's state first, QBUF the queue's.
        if prepare && prepared != Some(false) {
            return Some(22);
        }
        match prepared {
            _ if self.error => Some(5),
            None => Some(22),
            Some(true) => None,
            Some(false) => bad.then_some(22),
        }
    }

    /// Returns the first index and number of at most `count` new buffers.
    fn room(&self, count: u32) -> (u32, u32) {
        let free = |i: &u32| !self.places.contains_key(i);
        for size in (1..=count.min(self.max)).rev() {
            for first in 0..=self.max - size {
                if (first..first + size).all(|i| free(&i)) {
                    return (first, size);
                }
            }
        }
        (0, 0)
    }
}

struct Run {
    bench: Bench,
    model: Model,
}

impl Run {
    fn new(queue_type: QueueType, min_queued: u32, planes: usize) -> Self {
        let mut bench = Bench::with(queue_type, |c| {
            c.min_queued_buffers = min_queued;
            c.io_modes = crate::IoModes::MMAP | crate::IoModes::USERPTR | crate::IoModes::DMABUF;
        });
        bench.driver.sizes = vec![SIZE; planes];
        Self {
            bench,
            model: Model::new(queue_type, min_queued),
        }
    }

    /// Performs one operation on the queue and on the model, and compares them.
    fn step(&mut self, op: Op) {
        self.bench.mem.get().failed = false;
        let armed = self.bench.driver.fail.len();
        let faults_before = armed;
        match op {
            Op::MemoryFault { after } => {
                self.bench.mem.get().fail_in = Some(after);
                return;
            }
            Op::DriverFault { callback } => {
                let name = CALLBACKS.get(callback).copied().unwrap();
                self.bench.driver.fail.insert(name, 6);
                return;
            }
            _ => {}
        }
        self.call(op, faults_before);
        self.bench.mem.get().fail_in = None;
        self.bench.driver.fail.clear();
        self.compare();
    }

    /// Returns whether an injected fault occurred during this operation.
    fn struck(&self, armed: usize) -> bool {
        self.bench.mem.get().failed || self.bench.driver.fail.len() < armed
    }

    fn call(&mut self, op: Op, armed: usize) {
        match op {
            Op::Reqbufs { memory, count } => self.reqbufs(memory, count, armed),
            Op::Create {
                memory,
                count,
                size,
            } => self.create(memory, count, size, armed),
            Op::Remove { first, count } => self.remove(first, count),
            Op::Query { index } => {
                let expected = if self.model.places.contains_key(&index) {
                    0
                } else {
                    22
                };
                assert_eq!(errno(&self.bench.query(index)), expected);
            }
            Op::Prepare { index, bad } => self.prepare(index, bad, armed),
            Op::Queue { index, bad } => self.queue(index, bad, armed),
            Op::Dequeue => self.dequeue(),
            Op::On => self.on(armed),
            Op::Off => {
                self.bench.streamoff().unwrap();
                self.model.cancel();
                self.model.idle = !self.model.output;
                self.model.reset_memory_if_idle();
            }
            Op::Complete { nth, error, last } => self.complete(nth, error, last),
            Op::Drop { nth } => {
                let tokens = &mut self.bench.driver.tokens;
                if !tokens.is_empty() {
                    let token = tokens.remove(nth % tokens.len());
                    self.model.done.push_back(token.index());
                    let place = BufferHolder::Done {
                        error: true,
                        last: false,
                    };
                    self.model.places.insert(token.index(), place);
                    drop(token);
                    assert!(self.bench.take_wake());
                }
            }
            Op::DeviceError => {
                self.bench.queue.set_error();
                self.model.error = true;
            }
            Op::Export { index } => self.export(index),
            Op::Wait => {
                let expected = if self.model.sleeper { 16 } else { 0 };
                assert_eq!(errno(&self.bench.begin_wait()), expected);
                self.model.sleeper = true;
            }
            Op::Wake => {
                self.bench.end_wait();
                self.model.sleeper = false;
            }
            Op::Poll => self.poll(),
            Op::Release => {
                self.bench.session().release();
                self.model.clear();
                self.model.sleeper = false;
            }
            Op::Remap => self.bench.mem.get().address_space += 1,
            Op::MemoryFault { .. } | Op::DriverFault { .. } => {}
        }
    }

    fn reqbufs(&mut self, memory: Memory, count: u32, armed: usize) {
        let result = self.bench.reqbufs(memory, count);
        let model = &mut self.model;
        if model.streaming || (model.sleeper && count > 0) {
            assert_eq!(errno(&result), 16);
            return;
        }
        model.clear();
        let struck = self.bench.mem.get().failed || self.bench.driver.fail.len() < armed;
        let least = if model.min_queued == 0 {
            0
        } else {
            model.min_queued + 1
        };
        let wanted = count.max(least);
        match result {
            Ok(0) => assert_eq!(count, 0),
            Ok(made) => {
                assert!(
                    made == wanted || (struck && made >= least),
                    "{made} of {wanted}"
                );
                for index in 0..made {
                    model
                        .places
                        .insert(index, BufferHolder::Program { prepared: false });
                }
                model.memory = Some(memory);
                model.idle = !model.output;
            }
            Err(e) => assert!(struck && [6, 12].contains(&e.errno()), "{e:?}"),
        }
    }

    fn create(&mut self, memory: Memory, count: u32, size: u64, armed: usize) {
        let planes = self.bench.driver.sizes.len();
        let sizes = vec![size; planes];
        let result = self
            .bench
            .session()
            .create_bufs(memory, count, Coherency::Coherent, &sizes);
        let struck = self.struck(armed);
        let model = &mut self.model;
        let none = model.places.is_empty();
        let expected = if count == 0 {
            Ok(())
        } else if none && model.sleeper {
            Err(16)
        } else if model.memory.is_some_and(|m| m != memory) {
            Err(if none { 16 } else { 22 })
        } else if size < SIZE && !struck {
            Err(22)
        } else {
            Ok(())
        };
        match (result, expected) {
            (Ok(made), Ok(())) => {
                let (first, room) = model.room(count);
                assert!(made.count == room || (struck && made.count < room));
                if count > 0 {
                    assert_eq!(made.first_index, first);
                }
                for index in first..first + made.count {
                    model
                        .places
                        .insert(index, BufferHolder::Program { prepared: false });
                }
                if made.count > 0 {
                    model.memory = Some(memory);
                    if none {
                        model.idle = !model.output;
                    }
                }
            }
            (Err(e), Ok(())) => assert!(struck && [6, 12, 22].contains(&e.errno()), "{e:?}"),
            (result, expected) => {
                assert_eq!(result.map(|_| ()).map_err(Error::errno), expected);
            }
        }
    }

    fn remove(&mut self, first: u32, count: u32) {
        let result = errno(&self.bench.remove(first, count));
        let model = &mut self.model;
        let mut expected = 0;
        if count > u32::try_from(model.places.len()).unwrap() {
            expected = 22;
        } else {
            for index in first..first + count {
                match model.places.get(&index) {
                    None => expected = 22,
                    Some(BufferHolder::Program { .. }) => continue,
                    Some(_) => expected = 16,
                }
                break;
            }
        }
        assert_eq!(result, expected);
        if expected == 0 {
            for index in first..first + count {
                model.places.remove(&index);
            }
            model.reset_memory_if_idle();
        }
    }

    fn prepare(&mut self, index: u32, bad: bool, armed: usize) {
        let request = self.request(index, bad);
        let few = request.planes[0].is_none() && self.model.places.contains_key(&index);
        let result = self.bench.prepare_as(request);
        match self.model.refuse(index, bad, true) {
            _ if few => assert_eq!(errno(&result), 22),
            Some(expected) => assert_eq!(errno(&result), expected),
            None if self.struck(armed) => {
                assert!([6, 12].contains(&errno(&result)), "{result:?}");
            }
            None => {
                assert!(result.unwrap().prepared);
                self.model
                    .places
                    .insert(index, BufferHolder::Program { prepared: true });
            }
        }
    }

    /// Returns a valid request, or one that QBUF must refuse.
    fn request(&mut self, index: u32, bad: bool) -> crate::QueueBuffer<super::fake::FakeMem> {
        let mut request = self.bench.request(index);
        if bad {
            match self.model.memory {
                Some(Memory::Mmap) | None => {
                    // OUTPUT refuses this field. CAPTURE ignores it, so its plane is missing.
                    request.field = 7;
                    if !self.model.output {
                        request.planes[0] = None;
                    }
                }
                Some(_) => {
                    if let Some(plane) = &mut request.planes[0] {
                        plane.length_bytes = 1;
                    }
                }
            }
        }
        request
    }

    fn queue(&mut self, index: u32, bad: bool, armed: usize) {
        let request = self.request(index, bad);
        // QBUF checks for missing planes first, even on prepared buffers.
        let few = request.planes[0].is_none();
        let result = self.bench.qbuf_as(request);
        let struck = self.struck(armed);
        let refused = self.model.refuse(index, bad, false);
        let refused = if few && self.model.places.contains_key(&index) {
            Some(22)
        } else {
            refused
        };
        if let Some(expected) = refused {
            assert_eq!(errno(&result), expected, "QBUF {index}");
            return;
        }
        let model = &mut self.model;
        let was = model.places.get(&index).copied();
        match result {
            Ok(_) => {
                model.idle = false;
                if model.started {
                    model.places.insert(index, BufferHolder::Device);
                } else {
                    model.places.insert(index, BufferHolder::Queue);
                    model.waiting.push(index);
                    if model.streaming && model.out() >= model.min_queued {
                        model.start();
                    }
                }
            }
            Err(e) => {
                assert!(struck && [6, 12].contains(&e.errno()), "{e:?}");
                // The buffer was prepared before, or QBUF prepared it and then failed to start the driver.
                let info = self.bench.query(index).unwrap();
                let starting = model.streaming && !model.started;
                let prepared = was == Some(BufferHolder::Program { prepared: true });
                assert!(info.prepared == prepared || (info.prepared && starting));
                if info.prepared && starting {
                    model.idle = false;
                }
                model.places.insert(
                    index,
                    BufferHolder::Program {
                        prepared: info.prepared,
                    },
                );
            }
        }
    }

    fn dequeue(&mut self) {
        let result = self.bench.dqbuf();
        let model = &mut self.model;
        let expected = if model.sleeper {
            16
        } else if !model.streaming {
            22
        } else if model.error {
            5
        } else if model.ended {
            32
        } else if model.done.is_empty() {
            11
        } else {
            0
        };
        assert_eq!(errno(&result), expected, "DQBUF");
        if let Ok(info) = result {
            let index = model.done.pop_front().unwrap();
            assert_eq!(info.index, index);
            let place = model
                .places
                .insert(index, BufferHolder::Program { prepared: false });
            let Some(BufferHolder::Done { error, last }) = place else {
                panic!("{place:?}")
            };
            assert_eq!((info.error, info.last), (error, last));
            model.ended = last && !model.output;
        }
    }

    fn on(&mut self, armed: usize) {
        let result = self.bench.streamon();
        let struck = self.struck(armed);
        let model = &mut self.model;
        if model.streaming {
            assert_eq!(errno(&result), 0);
            return;
        }
        let have = u32::try_from(model.places.len()).unwrap();
        if have == 0 || have < model.min_queued {
            assert_eq!(errno(&result), 22);
        } else if struck {
            assert_eq!(errno(&result), 6);
        } else {
            assert_eq!(errno(&result), 0);
            model.streaming = true;
            if model.out() >= model.min_queued {
                model.start();
            }
        }
    }

    fn complete(&mut self, nth: usize, error: bool, last: bool) {
        let tokens = &mut self.bench.driver.tokens;
        if tokens.is_empty() {
            return;
        }
        let token = tokens.remove(nth % tokens.len());
        let index = token.index();
        let outcome = if error {
            DoneState::Error
        } else {
            DoneState::Done
        };
        let completion = Completion {
            outcome,
            last,
            timecode: None,
            frame_flags: None,
            ..done()
        };
        self.bench.session().complete(token, completion).unwrap();
        self.model
            .places
            .insert(index, BufferHolder::Done { error, last });
        self.model.done.push_back(index);
    }

    fn export(&mut self, index: u32) {
        let result = self
            .bench
            .session()
            .expbuf(index, 0, ExportAccess::ReadWrite);
        let possible =
            self.model.memory == Some(Memory::Mmap) && self.model.places.contains_key(&index);
        match result {
            Ok(buf) => {
                assert!(possible);
                crate::MemOps::put_dmabuf(&self.bench.mem, buf);
                assert!(self.bench.query(index).unwrap().mapped);
            }
            Err(e) => {
                assert_eq!(e.errno(), if possible { 12 } else { 22 });
                assert!(!possible || self.bench.mem.get().failed);
            }
        }
    }

    fn poll(&mut self) {
        let interest = Interest {
            readable: true,
            writable: true,
        };
        let found = self.bench.session().poll(interest);
        let model = &self.model;
        let expected = if !model.streaming || model.error || model.idle {
            Readiness::Error
        } else if !model.done.is_empty() || model.ended {
            Readiness::Ready
        } else {
            Readiness::Nothing
        };
        assert_eq!(found, expected, "poll");
    }

    fn compare(&mut self) {
        self.bench.check();
        let queue = &self.bench.queue;
        let model = &self.model;
        assert_eq!(queue.is_streaming(), model.streaming);
        assert_eq!(queue.is_started(), model.started);
        assert_eq!(queue.error, model.error);
        assert_eq!(queue.last_buffer_dequeued, model.ended);
        assert_eq!(queue.memory(), model.memory);
        assert_eq!(queue.queued_count(), model.out());
        assert_eq!(queue.is_waiting(), model.sleeper);
        for index in 0..model.max {
            let found = self.bench.query(index).ok().map(|info| match info.state {
                BufferState::Dequeued => BufferHolder::Program {
                    prepared: info.prepared,
                },
                BufferState::Queued => BufferHolder::Queue,
                BufferState::Active => BufferHolder::Device,
                BufferState::Done => BufferHolder::Done {
                    error: false,
                    last: info.last,
                },
                BufferState::Error => BufferHolder::Done {
                    error: true,
                    last: info.last,
                },
                BufferState::InRequest => panic!("in a request"),
            });
            assert_eq!(
                found,
                self.model.places.get(&index).copied(),
                "buffer {index}"
            );
        }
        // The queries above made the queue collect dropped tokens.
        assert!(
            self.bench.queue.done.iter().eq(&self.model.done),
            "the order of done buffers"
        );
        assert!(
            self.bench.queue.queued.iter().eq(&self.model.waiting),
            "the order of queued ones"
        );
    }
}

fn errno<T>(result: &Result<T, Error>) -> i32 {
    result.as_ref().map_or_else(|e| e.errno(), |_| 0)
}

fn run(ops: &[Op], min_queued: u32, planes: usize) {
    for queue_type in BOTH {
        let mut run = Run::new(queue_type, min_queued, planes);
        for op in ops {
            run.step(*op);
        }
        run.bench.finish();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_the_model_does(
        ops in prop::collection::vec(op(), 1..250),
        min_queued in prop_oneof![2 => Just(0_u32), 1 => 1_u32..4],
        planes in 1_usize..4,
    ) {
        run(&ops, min_queued, planes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_run_of_ten_thousand_steps_leaks_nothing(
        ops in prop::collection::vec(op(), 10_000),
        min_queued in 0_u32..3,
    ) {
        run(&ops, min_queued, 2);
    }
}
