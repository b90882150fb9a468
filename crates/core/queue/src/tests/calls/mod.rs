//! Tests every call with every errno, in the order of the calls. The names of rows are those of the table
//! measured on stock kernels (capture, output; negative is an errno, otherwise a count); rows with a `+` are
//! not in that table. Rows about ioctl numbers, file handles or descriptors belong to the layers above.

mod around;
mod making;
mod passing;

use super::check::mmap_buffer;
use super::fake::{SIZE, done};
use super::std::vec;
use super::{BOTH, Bench};
use crate::{
    BufferState, Coherency, Completion, Error, ExportAccess, Interest, IoModes, MapAccess, Memory,
    PlaneLocation, PlaneRequest, PlaneSource, QueueBuffer, QueueType, Readiness,
};

pub(in crate::tests) const EIO: i32 = -5;
pub(in crate::tests) const EAGAIN: i32 = -11;
pub(in crate::tests) const ENOMEM: i32 = -12;
pub(in crate::tests) const EFAULT: i32 = -14;
pub(in crate::tests) const EBUSY: i32 = -16;
pub(in crate::tests) const EINVAL: i32 = -22;
pub(in crate::tests) const EPIPE: i32 = -32;
pub(in crate::tests) const EBADR: i32 = -53;
pub(in crate::tests) const ENOBUFS: i32 = -105;
pub(in crate::tests) const ENXIO: i32 = -6;

type Row = (&'static str, (i32, i32), fn(&mut Bench) -> i32);

/// Converts a result to the program's view: 0, or a negative errno.
pub(in crate::tests) fn seen<T>(result: Result<T, Error>) -> i32 {
    result.map_or_else(|e| -e.errno(), |_| 0)
}

fn count(result: Result<u32, Error>) -> i32 {
    result.map_or_else(|e| -e.errno(), |n| i32::try_from(n).unwrap())
}

/// Runs each row on a fresh queue of each type, configured like vivid's: at least two buffers, at most 64 for
/// capture and 32 for output.
fn run(rows: &[Row]) {
    for (id, expected, row) in rows {
        for queue_type in BOTH {
            let mut bench = Bench::with(queue_type, |c| {
                c.min_reqbufs_allocation = 2;
                c.max_num_buffers = if queue_type == QueueType::Capture {
                    64
                } else {
                    32
                };
            });
            let found = row(&mut bench);
            let wanted = if queue_type == QueueType::Capture {
                expected.0
            } else {
                expected.1
            };
            assert_eq!(found, wanted, "row {id} on {queue_type:?}");
            bench.check();
            bench.finish();
        }
    }
}

fn both(n: i32) -> (i32, i32) {
    (n, n)
}

fn ready(b: &mut Bench) {
    assert_eq!(count(b.reqbufs(Memory::Mmap, 4)), 4);
}

fn streaming(b: &mut Bench) {
    ready(b);
    for index in 0..3 {
        b.qbuf(index).unwrap();
    }
    b.streamon().unwrap();
}

fn create(b: &mut Bench, memory: Memory, count: u32, sizes: &[u64]) -> Result<u32, Error> {
    b.session()
        .create_bufs(memory, count, Coherency::Coherent, sizes)
        .map(|c| c.count)
}
