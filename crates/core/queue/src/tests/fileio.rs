//! read() and write().

use super::calls::{EAGAIN, EBUSY, EFAULT, EINVAL, seen};
use super::fake::{SIZE, done};
use super::std::vec;
use super::std::vec::Vec;
use super::{BOTH, Bench, WHOLE};
use crate::{Busy, Completion, Error, IoModes, MAX_PLANES, Memory, QueueType, Source};
use vb3_plane::Coherency;

/// A program's memory, of which only the first `good` bytes can be accessed.
struct User {
    bytes: Vec<u8>,
    good: usize,
}

impl User {
    fn new(len: u64) -> Self {
        let len = usize::try_from(len).unwrap();
        Self {
            bytes: vec![0; len],
            good: len,
        }
    }
}

impl User {
    fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let from = usize::try_from(offset).unwrap();
        if from + data.len() > self.good {
            return Err(Error::Fault);
        }
        self.bytes[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

impl Source for User {
    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let from = usize::try_from(offset).unwrap();
        if from + out.len() > self.good {
            return Err(Error::Fault);
        }
        out.copy_from_slice(&self.bytes[from..from + out.len()]);
        Ok(())
    }
}

fn bench(queue_type: QueueType) -> Bench {
    Bench::with(queue_type, |c| c.min_reqbufs_allocation = 2)
}

fn read(b: &mut Bench, user: &mut User, len: u64) -> Result<u64, Error> {
    let result = b
        .session()
        .begin_read(&mut |at, data| user.put(at, data), len, WHOLE);
    assert_eq!(b.queue.transfer_under_way(), None);
    b.check();
    result
}

fn write(b: &mut Bench, user: &mut User, len: u64) -> Result<u64, Error> {
    let result = b.session().begin_write(user, len, 77, WHOLE);
    assert_eq!(b.queue.transfer_under_way(), None);
    b.check();
    result
}

fn transfer(b: &mut Bench, user: &mut User, len: u64) -> Result<u64, Error> {
    match b.queue.config().queue_type {
        QueueType::Capture => read(b, user, len),
        QueueType::Output => write(b, user, len),
    }
}

/// Lets the device capture a frame full of `value`.
fn capture(b: &mut Bench, value: u8, payload: u64) {
    let cookie = b.driver.tokens[0].plane(0).unwrap().unwrap().cookie;
    b.mem.get().bytes_at(cookie).fill(value);
    let mut payloads = [0; MAX_PLANES];
    payloads[0] = payload;
    b.complete(Completion {
        payloads: Some(payloads),
        ..done()
    })
    .unwrap();
}

#[test]
fn frames_are_read_in_pieces() {
    let mut b = bench(QueueType::Capture);
    let mut user = User::new(SIZE);
    assert_eq!(seen(read(&mut b, &mut user, SIZE)), EAGAIN, "IO3");
    assert_eq!(b.driver.tokens.len(), 2, "all buffers are queued ahead");
    capture(&mut b, 1, SIZE);
    capture(&mut b, 2, SIZE);
    assert_eq!(read(&mut b, &mut user, 100_000), Ok(100_000));
    assert!(user.bytes[..100_000].iter().all(|v| *v == 1));
    assert_eq!(
        read(&mut b, &mut user, 100_000),
        Ok(15_200),
        "to the end of the frame"
    );
    assert_eq!(b.driver.tokens.len(), 1, "and queued again");
    assert_eq!(read(&mut b, &mut user, SIZE * 2), Ok(SIZE));
    assert!(user.bytes.iter().all(|v| *v == 2));
    assert_eq!(seen(read(&mut b, &mut user, SIZE)), EAGAIN);
    b.finish();
}

#[test]
fn peek_starts_no_fileio() {
    for (queue_type, found) in [
        (QueueType::Capture, Ok(false)),
        (QueueType::Output, Ok(true)),
    ] {
        let mut b = bench(queue_type);
        assert_eq!(b.session().peek(true), found);
        assert!(!b.queue.fileio_active(), "peek starts nothing");
        assert_eq!(b.session().poll(true), found);
        assert!(b.queue.fileio_active(), "poll does");
        assert_eq!(b.session().peek(true), found);
        b.finish();
    }
}

/// A queue that streams without buffers cannot start read() or write().
#[test]
fn poll_and_peek_agree_on_a_stream_without_buffers() {
    for queue_type in [QueueType::Capture, QueueType::Output] {
        let mut b = bench(queue_type);
        let made = b.session().reqbufs(Memory::Mmap, 1, Coherency::Coherent);
        let count = made.unwrap().0.end;
        b.session().streamon().unwrap();
        b.session().remove_bufs(0, count).unwrap();
        let error = Err(Busy::HasBuffers.into());
        assert_eq!(b.session().peek(true), error);
        assert_eq!(b.session().poll(true), error);
        b.finish();
    }
}

#[test]
fn poll_tells_of_the_rest_of_a_frame() {
    let mut b = bench(QueueType::Capture);
    let mut user = User::new(SIZE);
    read(&mut b, &mut user, SIZE).unwrap_err();
    capture(&mut b, 1, SIZE);
    read(&mut b, &mut user, 10).unwrap();
    assert_eq!(b.session().poll(true), Ok(true));
    read(&mut b, &mut user, SIZE).unwrap();
    assert_eq!(b.session().poll(true), Ok(false));
    b.finish();
}

#[test]
fn only_an_empty_last_buffer_is_end_of_file() {
    let mut b = bench(QueueType::Capture);
    let mut user = User::new(SIZE);
    read(&mut b, &mut user, SIZE).unwrap_err();
    drop(b.driver.tokens.remove(0));
    assert_eq!(
        seen(read(&mut b, &mut user, SIZE)),
        EAGAIN,
        "a dropped frame is not read"
    );
    assert_eq!(b.driver.tokens.len(), 2, "its buffer was queued again");
    b.complete(Completion {
        payloads: Some([0; MAX_PLANES]),
        last: true,
        outcome: Ok(()),
        ..done()
    })
    .unwrap();
    assert_eq!(read(&mut b, &mut user, SIZE), Ok(0));
    assert_eq!(seen(read(&mut b, &mut user, SIZE)), -32);
    b.finish();
}

#[test]
fn data_before_the_offset_is_not_read() {
    let mut b = bench(QueueType::Capture);
    let mut user = User::new(SIZE);
    read(&mut b, &mut user, SIZE).unwrap_err();
    capture(&mut b, 9, 1000);
    if let Some(Some(buffer)) = b.queue.buffers.first_mut() {
        buffer.planes[0].info.data_offset = 200;
    }
    assert_eq!(read(&mut b, &mut user, SIZE), Ok(800));
    b.finish();
}

#[test]
fn a_bad_pointer_loses_nothing() {
    let mut b = bench(QueueType::Capture);
    let mut user = User::new(SIZE);
    read(&mut b, &mut user, SIZE).unwrap_err();
    capture(&mut b, 5, SIZE);
    user.good = 70_000;
    assert_eq!(seen(read(&mut b, &mut user, SIZE)), EFAULT, "IO16");
    user.good = user.bytes.len();
    assert_eq!(read(&mut b, &mut user, SIZE), Ok(SIZE), "the whole frame");
    b.finish();

    let mut b = bench(QueueType::Output);
    let mut user = User::new(SIZE);
    user.bytes.fill(3);
    assert_eq!(write(&mut b, &mut user, 1000), Ok(1000));
    user.good = 10;
    assert_eq!(seen(write(&mut b, &mut user, SIZE)), EFAULT);
    user.good = user.bytes.len();
    assert_eq!(
        write(&mut b, &mut user, SIZE),
        Ok(SIZE - 1000),
        "continues where it was"
    );
    assert_eq!(b.driver.tokens.len(), 1);
    b.finish();
}

#[test]
fn defect_n2_driver_gets_written_bytes_as_payload() {
    let mut b = bench(QueueType::Output);
    b.driver.wants_payload = Some(SIZE);
    let mut user = User::new(SIZE);
    user.bytes.fill(8);
    assert_eq!(write(&mut b, &mut user, SIZE), Ok(SIZE), "IO3");
    assert_eq!(b.driver.seen.1, [SIZE]);
    let view = *b.driver.tokens[0].plane(0).unwrap().unwrap();
    assert_eq!(view.payload_bytes, SIZE);
    assert!(
        b.mem
            .get()
            .bytes_at(view.cookie)
            .iter()
            .take(usize::try_from(SIZE).unwrap())
            .all(|v| *v == 8)
    );
    b.finish();
}

#[test]
fn writes_fill_buffers_and_wait_for_them() {
    let mut b = Bench::with(QueueType::Output, |c| {
        c.min_reqbufs_allocation = 2;
        c.copy_timestamps = true;
    });
    let mut user = User::new(SIZE);
    assert_eq!(write(&mut b, &mut user, 100), Ok(100));
    assert_eq!(b.driver.tokens.len(), 0, "not full");
    assert_eq!(b.session().poll(true), Ok(true));
    assert_eq!(write(&mut b, &mut user, SIZE), Ok(SIZE - 100));
    assert_eq!(b.driver.tokens[0].timestamp_ns(), 77);
    assert_eq!(write(&mut b, &mut user, SIZE), Ok(SIZE));
    assert_eq!(b.session().poll(true), Ok(false));
    assert_eq!(seen(write(&mut b, &mut user, SIZE)), EAGAIN);
    b.frame();
    assert_eq!(b.session().poll(true), Ok(true));
    assert_eq!(write(&mut b, &mut user, SIZE), Ok(SIZE));
    b.finish();
}

#[test]
fn each_write_is_a_buffer_where_the_driver_says_so() {
    let mut b = Bench::with(QueueType::Output, |c| {
        c.min_reqbufs_allocation = 3;
    });
    b.queue.queue_each_write(true);
    let mut user = User::new(SIZE);
    assert_eq!(write(&mut b, &mut user, 100), Ok(100));
    assert_eq!(write(&mut b, &mut user, 30), Ok(30));
    let payloads: Vec<u64> = b
        .driver
        .tokens
        .iter()
        .map(|t| t.plane(0).unwrap().unwrap().payload_bytes)
        .collect();
    assert_eq!(payloads, [100, 30]);
    b.finish();
}

#[test]
fn a_write_that_cannot_be_queued_counts_for_nothing() {
    let mut b = bench(QueueType::Output);
    let mut user = User::new(SIZE);
    assert_eq!(write(&mut b, &mut user, 200), Ok(200));
    b.driver.fail.insert("buf_prepare", 22);
    assert_eq!(seen(write(&mut b, &mut user, SIZE)), EINVAL);
    assert_eq!(
        write(&mut b, &mut user, SIZE),
        Ok(SIZE - 200),
        "the same call again"
    );
    b.finish();

    // If the driver cannot start, the buffer must not stay prepared with its old payload.
    let mut b = Bench::with(QueueType::Output, |c| {
        c.min_queued_buffers = 1;
    });
    b.queue.queue_each_write(true);
    b.driver.fail.insert("start_streaming", 6);
    assert_eq!(seen(write(&mut b, &mut user, 500)), -6);
    assert_eq!(write(&mut b, &mut user, 300), Ok(300));
    assert_eq!(
        b.driver.tokens[0].plane(0).unwrap().unwrap().payload_bytes,
        300
    );
    b.finish();
}

#[test]
fn file_io_refuses_even_buffers_without_size() {
    let mut b = bench(QueueType::Capture);
    let mut user = User::new(SIZE);
    read(&mut b, &mut user, SIZE).unwrap_err();
    let created = (b.session()).create_bufs(Memory::Mmap, 1, Coherency::Coherent, &[0]);
    assert_eq!(seen(created), EBUSY);
    b.finish();
}

#[test]
fn read_counts_though_requeue_fails() {
    let mut b = bench(QueueType::Capture);
    let mut user = User::new(SIZE);
    read(&mut b, &mut user, SIZE).unwrap_err();
    capture(&mut b, 4, SIZE);
    b.driver.fail.insert("buf_prepare", 5);
    assert_eq!(read(&mut b, &mut user, SIZE), Ok(SIZE));
    assert_eq!(b.driver.tokens.len(), 1);
    assert_eq!(b.session().poll(true), Ok(false), "no rest");
    assert_eq!(
        seen(read(&mut b, &mut user, SIZE)),
        EAGAIN,
        "queued by the next call"
    );
    assert_eq!(b.driver.tokens.len(), 2);
    b.finish();
}

#[test]
fn what_is_refused() {
    for queue_type in BOTH {
        let mut user = User::new(SIZE);
        let mut b = bench(queue_type);
        let wrong = match queue_type {
            QueueType::Capture => write(&mut b, &mut user, 1),
            QueueType::Output => read(&mut b, &mut user, 1),
        };
        assert_eq!(seen(wrong), EINVAL, "IO2b");
        // A call for 0 bytes starts streaming, and a read() waits for a frame.
        let none = transfer(&mut b, &mut user, 0);
        match queue_type {
            QueueType::Capture => assert_eq!(seen(none), EAGAIN),
            QueueType::Output => assert_eq!(none, Ok(0)),
        }
        assert!(b.queue.fileio_active());
        b.finish();
        let mut b = bench(queue_type);
        b.reqbufs(Memory::Mmap, 2).unwrap();
        assert_eq!(seen(transfer(&mut b, &mut user, 1)), EBUSY, "IO1");
        b.qbuf(0).unwrap();
        b.streamon().unwrap();
        b.begin_wait().unwrap();
        assert_eq!(seen(transfer(&mut b, &mut user, 1)), EBUSY, "D9");
        b.finish();

        let mut b = Bench::with(queue_type, |c| c.io_modes = IoModes::MMAP);
        assert_eq!(seen(transfer(&mut b, &mut user, 1)), EINVAL);
        b.finish();

        let (own, other) = match queue_type {
            QueueType::Capture => (IoModes::READ, IoModes::WRITE),
            QueueType::Output => (IoModes::WRITE, IoModes::READ),
        };
        for (mode, offered) in [(own, true), (other, false)] {
            let mut b = Bench::with(queue_type, |c| c.io_modes = IoModes::MMAP | mode);
            let answer = seen(transfer(&mut b, &mut user, 0));
            assert_eq!(answer != EINVAL, offered, "{mode:?}");
            b.finish();
        }

        let mut b = bench(queue_type);
        b.driver.sizes = vec![SIZE, SIZE];
        let refused = transfer(&mut b, &mut user, 1);
        assert_eq!(
            refused,
            Err(Error::Busy(Busy::SeveralPlanes { planes: 2 })),
            "MP0"
        );
        assert!(!b.queue.is_busy(), "nothing is left");
        b.finish();

        let mut b = Bench::with(queue_type, |c| {
            (c.max_num_buffers, c.min_reqbufs_allocation) = (64, 33);
        });
        let refused = transfer(&mut b, &mut user, 1);
        assert_eq!(
            refused,
            Err(Error::TooManyForFileIo {
                wanted: 33,
                max: 32
            })
        );
        b.finish();
    }
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    for queue_type in BOTH {
        let faults: [fn(&mut Bench); 4] = [
            |b| b.mem.get().fail_in = Some(0),
            |b| assert_eq!(b.driver.fail.insert("queue_setup", 22), None),
            |b| assert_eq!(b.driver.fail.insert("start_streaming", 5), None),
            |b| assert_eq!(b.driver.fail.insert("prepare_streaming", 5), None),
        ];
        for fault in faults {
            let mut b = bench(queue_type);
            let mut user = User::new(SIZE);
            fault(&mut b);
            assert!(seen(transfer(&mut b, &mut user, SIZE)) < 0);
            assert!(!b.queue.fileio_active() && !b.queue.is_busy());
            b.mem.get().fail_in = None;
            let again = transfer(&mut b, &mut user, SIZE);
            assert!(again.is_ok() || again == Err(Error::WouldBlock));
            b.finish();
        }
    }
}

#[test]
fn the_only_waiter_is_the_reader() {
    let mut b = bench(QueueType::Capture);
    let mut user = User::new(SIZE);
    read(&mut b, &mut user, SIZE).unwrap_err();
    b.begin_wait().unwrap();
    assert_eq!(
        seen(read(&mut b, &mut user, SIZE)),
        EBUSY,
        "IO15, in the same file"
    );
    capture(&mut b, 1, SIZE);
    assert!(b.take_wake());
    b.end_wait();
    assert_eq!(read(&mut b, &mut user, SIZE), Ok(SIZE));
    b.finish();
}
