//! read() and write() as streams of bytes: with any sizes of calls and any failure, no
//! byte is lost, doubled or out of order.

use super::fake::done;
use super::std::vec;
use super::std::vec::Vec;
use super::{Bench, WHOLE};
use crate::{Completion, Error, MAX_PLANES, QueueType, Source};
use proptest::prelude::*;

const BYTES: u64 = 1000;

#[derive(Clone, Copy, Debug)]
enum Op {
    Call { len: u64, fault_at: Option<u64> },
    Device { payload: u64, drops: bool },
    MemoryFault { after: u64 },
    DriverFault,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u64..2500, prop::option::weighted(0.1, 0_u64..2000))
            .prop_map(|(len, fault_at)| Op::Call { len, fault_at }),
        6 => (0_u64..=BYTES, prop::bool::weighted(0.1))
            .prop_map(|(payload, drops)| Op::Device { payload, drops }),
        1 => (0_u64..5).prop_map(|after| Op::MemoryFault { after }),
        1 => Just(Op::DriverFault),
    ]
}

/// The program's side: a sequence of numbered bytes, and the end of the accessible memory.
struct Program {
    next: u8,
    got: Vec<u8>,
    fault_at: Option<u64>,
}

impl Program {
    fn reachable(&self, end: u64) -> Result<(), Error> {
        if self.fault_at.is_some_and(|at| end > at) {
            Err(Error::Fault)
        } else {
            Ok(())
        }
    }
}

impl Program {
    fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.reachable(offset + data.len() as u64)?;
        self.got.truncate(usize::try_from(offset).unwrap());
        self.got.extend_from_slice(data);
        Ok(())
    }
}

impl Source for Program {
    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.reachable(offset + out.len() as u64)?;
        for (i, byte) in (offset..).zip(out) {
            *byte = self.next.wrapping_add(i.to_le_bytes()[0]);
        }
        Ok(())
    }
}

struct Run {
    bench: Bench,
    program: Program,
    /// The next byte that the device makes or expects.
    device_next: u8,
    /// Number of bytes that went in and must come out.
    accepted: u64,
    delivered: u64,
    output: bool,
}

impl Run {
    fn new(queue_type: QueueType, immediately: bool) -> Self {
        let mut bench = Bench::with(queue_type, |c| {
            c.min_reqbufs_allocation = 3;
        });
        bench.queue.queue_each_write(immediately);
        bench.driver.sizes = vec![BYTES];
        Self {
            bench,
            program: Program {
                next: 0,
                got: Vec::new(),
                fault_at: None,
            },
            device_next: 0,
            accepted: 0,
            delivered: 0,
            output: queue_type == QueueType::Output,
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Call { len, fault_at } => {
                self.program.fault_at = fault_at;
                let result = self.call(len);
                self.bench.mem.get().fail_in = None;
                self.bench.driver.fail.clear();
                self.took(len, result);
            }
            Op::Device { payload, drops } => self.device(payload, drops),
            Op::MemoryFault { after } => self.bench.mem.get().fail_in = Some(after),
            Op::DriverFault => {
                self.bench.driver.fail.insert("buf_prepare", 5);
            }
        }
        self.bench.check();
    }

    fn call(&mut self, len: u64) -> Result<u64, Error> {
        let mut session = self.bench.session();
        let moved = if self.output {
            session.begin_write(&mut self.program, len, 0, WHOLE)
        } else {
            self.program.got.clear();
            session.begin_read(&mut |at, data| self.program.put(at, data), len, WHOLE)
        };
        assert_eq!(self.bench.queue.transfer_under_way(), None);
        moved
    }

    fn took(&mut self, len: u64, result: Result<u64, Error>) {
        match result {
            Ok(count) => {
                assert!(count <= len && (count > 0 || len == 0));
                if self.output {
                    self.accepted += count;
                } else {
                    assert_eq!(self.program.got.len() as u64, count);
                    for byte in &self.program.got {
                        assert_eq!(*byte, self.program.next, "bytes in order");
                        self.program.next = self.program.next.wrapping_add(1);
                    }
                    self.delivered += count;
                    return;
                }
                self.program.next = self.program.next.wrapping_add(count.to_le_bytes()[0]);
            }
            Err(e) => assert!([5, 11, 12, 14].contains(&e.errno()), "{e:?}"),
        }
    }

    /// Lets the device show or capture one buffer.
    fn device(&mut self, payload: u64, drops: bool) {
        if self.bench.driver.tokens.is_empty() {
            return;
        }
        let token = self.bench.driver.tokens.remove(0);
        let view = *token.plane(0).unwrap().unwrap();
        let mut books = self.bench.mem.get();
        let bytes = books.bytes_at(view.cookie);
        if self.output {
            assert!(view.payload_bytes > 0, "never an empty buffer");
            let used = usize::try_from(view.payload_bytes).unwrap();
            for byte in &bytes[..used] {
                assert_eq!(*byte, self.device_next, "bytes in order");
                self.device_next = self.device_next.wrapping_add(1);
            }
            self.delivered += view.payload_bytes;
        } else if !drops {
            for byte in &mut bytes[..usize::try_from(payload).unwrap()] {
                *byte = self.device_next;
                self.device_next = self.device_next.wrapping_add(1);
            }
            self.accepted += payload;
        }
        drop(books);
        if drops {
            drop(token);
            return;
        }
        let mut payloads = [0; MAX_PLANES];
        payloads[0] = payload;
        let completion = Completion {
            outcome: Ok(()),
            payloads: (!self.output).then_some(payloads),
            ..done()
        };
        self.bench.session().complete(token, completion).unwrap();
    }

    /// Processes all remaining bytes and compares the counts.
    fn finish(mut self) {
        for _ in 0..20 {
            if self.output {
                self.device(0, false);
            } else {
                self.step(Op::Call {
                    len: BYTES,
                    fault_at: None,
                });
            }
        }
        let held = self.accepted - self.delivered;
        if self.output {
            assert!(held < BYTES, "only what does not fill a buffer yet is held");
        } else {
            assert_eq!(held, 0, "all that was captured was read");
        }
        self.bench.finish();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_is_lost(ops in prop::collection::vec(op(), 1..300), immediately: bool) {
        for queue_type in super::BOTH {
            let mut run = Run::new(queue_type, immediately);
            for op in &ops {
                run.step(*op);
            }
            run.finish();
        }
    }
}
