//! Heap allocation: QBUF of a buffer with one plane does not need it, once the buffers have been in use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::mem::{offset_of, size_of};

use vb3_frontend::{
    Call, CallId, Devices, FileId, Gathered, On, Op, Origin, Outcome, ProcessFiles,
};
use vb3_machine::Profile;
use vb3_run::Run;
use vb3_v4l2::sys::*;

const MMAP: u32 = 1;
const BUFFERS: u32 = 4;
const ROUNDS: u32 = 40;
/// Address of the argument. There is no program: the test gathers the argument itself.
const ARG: u64 = 0x1000;

/// The heap of this test, which counts.
struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all calls go to the system's allocator.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

/// A front end with one call at a time, and what it keeps for the next call.
struct Front {
    run: Run,
    have: Gathered,
    changed: Vec<FileId>,
    calls: u64,
}

impl Front {
    fn ioctl(&mut self, file: FileId, request: u32, arg: &[u8]) -> Result<i64, i32> {
        self.have.clear();
        let mut bytes = self.have.take_room();
        bytes.extend_from_slice(arg);
        self.have.add_bytes(ARG, bytes, false);
        self.calls += 1;
        let outcome = self.run.call(&Call {
            id: CallId(self.calls),
            origin: Origin::process(1, 1),
            on: On::File(file),
            op: Op::Ioctl { request, arg: ARG },
            nonblocking: true,
            have: &self.have,
        });
        let Outcome::Done(done, effects) = outcome else {
            panic!("the call is not over: {outcome:?}");
        };
        self.have.give_room(effects.writes);
        self.changed.clear();
        self.run.take_changed(&mut self.changed);
        self.run.take_hotplug();
        self.run.take_buffers_changed();
        self.run.next_tick();
        done.map_err(|e| e.0)
    }

    /// Returns a `v4l2_buffer` or another structure of 32-bit fields.
    fn arg<T>(fields: &[(usize, u32)]) -> Vec<u8> {
        let mut arg = vec![0; size_of::<T>()];
        for &(at, value) in fields {
            arg[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        arg
    }
}

/// Queues and dequeues all buffers of a device's queue `ROUNDS` times. `kind` is the queue's buffer type. Returns how
/// often each QBUF in the second half of the rounds used the heap.
fn count(device: &str, kind: u32) -> Vec<u64> {
    let profile = Profile::builtin("pc").unwrap();
    let run = Run::new(profile, &[device.parse().unwrap()], 1).unwrap();
    let mut front = Front {
        run,
        have: Gathered::default(),
        changed: Vec::new(),
        calls: 0,
    };
    let node = front.run.nodes()[0].id;
    let file = front.run.open(node, 2, Origin::process(1, 1)).unwrap();
    let request = Front::arg::<v4l2_requestbuffers>(&[
        (offset_of!(v4l2_requestbuffers, count), BUFFERS),
        (offset_of!(v4l2_requestbuffers, type_), kind),
        (offset_of!(v4l2_requestbuffers, memory), MMAP),
    ]);
    front.ioctl(file, VIDIOC_REQBUFS, &request).unwrap();
    let buffer = |index: u32| {
        Front::arg::<v4l2_buffer>(&[
            (offset_of!(v4l2_buffer, index), index),
            (offset_of!(v4l2_buffer, type_), kind),
            (offset_of!(v4l2_buffer, memory), MMAP),
        ])
    };
    let buffers: Vec<_> = (0..BUFFERS).map(buffer).collect();
    let kind = kind.to_ne_bytes();
    front.ioctl(file, VIDIOC_STREAMON, &kind).unwrap();
    let mut counts = Vec::new();
    for round in 0..ROUNDS {
        for arg in &buffers {
            let before = COUNT.get();
            front.ioctl(file, VIDIOC_QBUF, arg).unwrap();
            if round >= ROUNDS / 2 {
                counts.push(COUNT.get() - before);
            }
        }
        let mut dequeued = 0;
        while dequeued < BUFFERS {
            front.run.tick();
            dequeued += u32::from(front.ioctl(file, VIDIOC_DQBUF, &buffers[0]).is_ok());
        }
    }
    front.run.release(file);
    counts
}

#[test]
fn qbuf_allocates_nothing() {
    const NONE: [u64; (ROUNDS / 2 * BUFFERS) as usize] = [0; (ROUNDS / 2 * BUFFERS) as usize];
    assert_eq!(count("camera=pattern,pace=free", 1), NONE, "CAPTURE");
    assert_eq!(count("display,pace=free", 2), NONE, "OUTPUT");
}
