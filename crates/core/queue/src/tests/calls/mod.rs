//! Tests every call with every errno, in the order of the calls. A row has a name, its results on a capture and on an
//! output queue (negative is an errno, otherwise a count), and the call. `LISTED` stands for the results of stock
//! kernels, which kernel/conformance lists by name. Calls about ioctl numbers, file handles or descriptors belong to
//! the layers above.

mod around;
mod making;
mod passing;

use super::check::mmap_buffer;
use super::fake::{SIZE, done};
use super::std::vec;
use super::{BOTH, Bench};
use crate::{
    BufferState, Coherency, Completion, Direction, Error, IoModes, Memory, PlaneLocation,
    PlaneRequest, PlaneSource, QueueBuffer, QueueType,
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

/// What stock kernels answer: lines of `NAME VALUE` or `NAME CAPTURE | OUTPUT`. `kernel/conformance/rows` explains the format.
const TABLES: [&str; 2] = [
    include_str!("../../../../../../kernel/conformance/expected"),
    include_str!("../../../../../../kernel/conformance/rows"),
];

/// The results of a row whose name is in the tables.
const LISTED: (i32, i32) = (i32::MIN, i32::MIN);

fn table_value(name: &str) -> Option<&'static str> {
    let mut lines = TABLES.iter().flat_map(|table| table.lines());
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

/// Returns the tables' results for a name.
fn listed(name: &str) -> (i32, i32) {
    let value = table_value(name).unwrap_or_else(|| panic!("{name} is in no table"));
    let (capture, output) = match value.split_once(" | ") {
        Some(two) => two,
        None => {
            let output = table_value(&super::std::format!("output.{name}"));
            (value, output.unwrap_or(value))
        }
    };
    (number(capture), number(output))
}

/// Returns the number of a value: vmalloc's, if dma-contig has another one.
fn number(value: &str) -> i32 {
    match value.split(' ').next().unwrap_or_default() {
        "EIO" => EIO,
        "EAGAIN" => EAGAIN,
        "ENOMEM" => ENOMEM,
        "EFAULT" => EFAULT,
        "EBUSY" => EBUSY,
        "EINVAL" => EINVAL,
        "EBADR" => EBADR,
        "ENXIO" => ENXIO,
        count => count.parse().expect("a count or a known errno"),
    }
}

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
    for &(name, expected, row) in rows {
        let is_listed = expected == LISTED;
        assert_eq!(is_listed, table_value(name).is_some(), "{name}");
        let expected = if is_listed { listed(name) } else { expected };
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
            assert_eq!(found, wanted, "{name} on {queue_type:?}");
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
        .map(|(made, _)| made.end - made.start)
}
