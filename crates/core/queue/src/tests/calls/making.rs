//! Tests REQBUFS, CREATE_BUFS, REMOVE_BUFS, QUERYBUF.

use super::*;

#[test]
fn reqbufs() {
    run(&[
        ("reqbufs.none", LISTED, |b| {
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("reqbufs.userptr", LISTED, |b| {
            count(b.reqbufs(Memory::UserPtr, 2))
        }),
        ("reqbufs.userptr-not-offered", both(EINVAL), |b| {
            b.mem.get().no_userptr = true;
            count(b.reqbufs(Memory::UserPtr, 2))
        }),
        ("reqbufs.one", LISTED, |b| count(b.reqbufs(Memory::Mmap, 1))),
        ("reqbufs.limit", (64, 32), |b| {
            count(b.reqbufs(Memory::Mmap, 100_000))
        }),
        ("reqbufs.largest", (64, 32), |b| {
            count(b.reqbufs(Memory::DmaBuf, u32::MAX))
        }),
        ("reqbufs.non-coherent.made", both(0), |b| {
            let made = b.session().reqbufs(Memory::Mmap, 2, Coherency::NonCoherent);
            assert_eq!(made.unwrap().1, Coherency::Coherent, "the flag is cleared");
            0
        }),
        ("reqbufs.streaming", LISTED, |b| {
            streaming(b);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("reqbufs-0.streaming", LISTED, |b| {
            streaming(b);
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("sleeper.reqbufs", LISTED, |b| {
            streaming(b);
            b.begin_wait().unwrap();
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("sleeper.reqbufs-before-stream", both(EBUSY), |b| {
            ready(b);
            b.begin_wait().unwrap();
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("sleeper.reqbufs-0", both(0), |b| {
            ready(b);
            b.begin_wait().unwrap();
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("reqbufs.another-memory", both(3), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            count(b.reqbufs(Memory::DmaBuf, 3))
        }),
        ("fault.reqbufs", LISTED, |b| {
            b.driver.fail.insert("queue_setup", 22);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("fault.reqbufs-errno", both(ENXIO), |b| {
            b.driver.fail.insert("queue_setup", 6);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("fault.reqbufs-again", LISTED, |b| {
            b.driver.fail.insert("queue_setup", 22);
            assert_eq!(count(b.reqbufs(Memory::Mmap, 2)), EINVAL);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("reqbufs.no-memory", both(ENOMEM), |b| {
            b.mem.get().max_alloc = Some(0);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("reqbufs.below-the-minimum", both(ENOMEM), |b| {
            b.mem.get().max_alloc = Some(1);
            count(b.reqbufs(Memory::Mmap, 8))
        }),
        ("reqbufs.fewer", both(5), |b| {
            b.mem.get().max_alloc = Some(5);
            count(b.reqbufs(Memory::Mmap, 8))
        }),
        ("reqbufs.too-few", both(ENOMEM), |b| {
            b.mem.get().max_alloc = Some(5);
            b.driver.least_buffers = 6;
            count(b.reqbufs(Memory::Mmap, 8))
        }),
        ("reqbufs.driver-wants-more", both(6), |b| {
            b.driver.least_buffers = 6;
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("reqbufs.buf-init-fails", both(ENOMEM), |b| {
            b.driver.fail.insert("buf_init", 6);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
    ]);
}

#[test]
fn querybuf() {
    run(&[
        ("second.querybuf.bad-index", LISTED, |b| {
            ready(b);
            seen(b.query(4))
        }),
        ("second.querybuf.index-max", LISTED, |b| {
            ready(b);
            seen(b.query(u32::MAX))
        }),
        ("querybuf.no-buffers", LISTED, |b| seen(b.query(0))),
        ("querybuf.fresh", both(0), |b| {
            ready(b);
            let info = b.query(3).unwrap();
            assert_eq!(info.state, BufferState::Dequeued);
            assert!(!info.prepared && !info.mapped);
            let plane = info.planes[0].unwrap();
            assert_eq!(plane.length_bytes, SIZE, "not rounded to pages");
            assert_eq!(plane.cookie, PlaneLocation::Cookie(3 << 15));
            assert_eq!(info.num_planes(), 1);
            0
        }),
        ("querybuf.second-plane", both(0), |b| {
            b.driver.sizes.push(SIZE);
            ready(b);
            let plane = b.query(3).unwrap().planes[1].unwrap();
            assert_eq!(plane.cookie, PlaneLocation::Cookie(3 << 15 | 1 << 12));
            assert_eq!(b.queue.num_planes(3), Ok(2));
            assert!(b.queue.num_planes(4).is_err(), "there are four buffers");
            0
        }),
        ("querybuf.mapped", both(0), |b| {
            ready(b);
            let access = Some(Direction::Bidirectional);
            b.session().mmap(1 << 15, SIZE, access).unwrap();
            assert!(b.query(1).unwrap().mapped);
            assert!(!b.query(0).unwrap().mapped);
            0
        }),
    ]);
}

#[test]
fn remove_bufs() {
    run(&[
        ("remove.queued", LISTED, |b| {
            ready(b);
            b.qbuf(0).unwrap();
            seen(b.remove(0, 1))
        }),
        ("remove.one-of-them-queued", LISTED, |b| {
            ready(b);
            b.qbuf(2).unwrap();
            let refused = seen(b.remove(0, 4));
            assert_eq!(b.queue.num_buffers(), 4, "all or nothing");
            refused
        }),
        ("remove.count-0", LISTED, |b| seen(b.remove(77, 0))),
        ("remove.too-many", LISTED, |b| {
            ready(b);
            seen(b.remove(0, 5))
        }),
        ("remove.overflow", both(EINVAL), |b| {
            ready(b);
            seen(b.remove(u32::MAX, 2))
        }),
        ("remove.past-the-table", both(EINVAL), |b| {
            ready(b);
            seen(b.remove(100, 2))
        }),
        ("remove.middle", LISTED, |b| {
            ready(b);
            seen(b.remove(1, 1))
        }),
        ("remove.over-a-hole", LISTED, |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.remove(0, 3))
        }),
        ("remove.hole", LISTED, |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.remove(1, 1))
        }),
        ("remove.all", LISTED, |b| {
            ready(b);
            seen(b.remove(0, 4))
        }),
        ("remove.streaming", LISTED, |b| {
            streaming(b);
            seen(b.remove(3, 1))
        }),
        ("import.remove-queued", LISTED, |b| {
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            b.qbuf(0).unwrap();
            seen(b.remove(0, 1))
        }),
    ]);
}

#[test]
fn full() {
    run(&[("create.when-full", both(ENOBUFS), |b| {
        let max = b.queue.config().max_num_buffers;
        assert_eq!(
            count(create(b, Memory::Mmap, max - 1, &[SIZE])),
            max as i32 - 1
        );
        assert_eq!(
            count(create(b, Memory::Mmap, 5, &[SIZE])),
            1,
            "as many as there is room"
        );
        count(create(b, Memory::Mmap, 1, &[SIZE]))
    })]);
}

#[test]
fn create_bufs() {
    run(&[
        ("create.count-0", LISTED, |b| {
            count(create(b, Memory::Mmap, 0, &[]))
        }),
        ("create.not-offered", both(EINVAL), |b| {
            b.mem.get().no_userptr = true;
            count(create(b, Memory::UserPtr, 0, &[]))
        }),
        ("create.size-0", LISTED, |b| {
            count(create(b, Memory::Mmap, 1, &[0]))
        }),
        ("create.size-max", LISTED, |b| {
            count(create(b, Memory::Mmap, 1, &[0xffff_ffff]))
        }),
        ("create.no-memory", both(ENOMEM), |b| {
            count(create(b, Memory::Mmap, 1, &[u64::MAX]))
        }),
        ("create.too-small", both(EINVAL), |b| {
            count(create(b, Memory::Mmap, 1, &[SIZE - 1]))
        }),
        ("create.count-0.made", both(0), |b| {
            let made = b
                .session()
                .create_bufs(Memory::Mmap, 0, Coherency::Coherent, &[])
                .unwrap();
            assert_eq!(made.0, 0..0);
            0
        }),
        ("create.two", LISTED, |b| {
            count(create(b, Memory::Mmap, 2, &[SIZE]))
        }),
        ("create.another-memory", both(EINVAL), |b| {
            ready(b);
            count(create(b, Memory::DmaBuf, 1, &[SIZE]))
        }),
        ("sleeper.first-create", both(EBUSY), |b| {
            b.begin_wait().unwrap();
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("sleeper.create", both(1), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("create.fewer", both(3), |b| {
            b.mem.get().max_alloc = Some(3);
            count(create(b, Memory::Mmap, 5, &[SIZE]))
        }),
        ("create.too-few", both(ENOMEM), |b| {
            b.mem.get().max_alloc = Some(3);
            b.driver.least_buffers = 4;
            let refused = count(create(b, Memory::Mmap, 5, &[SIZE]));
            assert_eq!(b.queue.num_buffers(), 0, "none are kept");
            refused
        }),
        ("create.second-setup-fails", both(ENOMEM), |b| {
            ready(b);
            b.mem.get().max_alloc = Some(4);
            count(create(b, Memory::Mmap, 5, &[SIZE]))
        }),
        ("fault.create", LISTED, |b| {
            b.driver.fail.insert("queue_setup", 22);
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("error.create", LISTED, |b| {
            streaming(b);
            b.queue.set_error();
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
    ]);
}
