//! Tests REQBUFS, CREATE_BUFS, REMOVE_BUFS, QUERYBUF.

use super::*;

#[test]
fn reqbufs() {
    run(&[
        ("R3", both(0), |b| count(b.reqbufs(Memory::Mmap, 0))),
        ("R4", both(2), |b| count(b.reqbufs(Memory::UserPtr, 2))),
        ("R4 contig", both(EINVAL), |b| {
            b.mem.get().no_userptr = true;
            count(b.reqbufs(Memory::UserPtr, 2))
        }),
        ("R5", both(2), |b| count(b.reqbufs(Memory::Mmap, 1))),
        ("R6", (64, 32), |b| count(b.reqbufs(Memory::Mmap, 100_000))),
        ("R6+ largest", (64, 32), |b| {
            count(b.reqbufs(Memory::DmaBuf, u32::MAX))
        }),
        ("R7", both(0), |b| {
            let made = b.session().reqbufs(Memory::Mmap, 2, Coherency::NonCoherent);
            assert_eq!(
                made.unwrap().coherency,
                Coherency::Coherent,
                "the flag is cleared"
            );
            0
        }),
        ("S6", both(EBUSY), |b| {
            streaming(b);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("S7", both(EBUSY), |b| {
            streaming(b);
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("D8", both(EBUSY), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("D8+ not streaming", both(EBUSY), |b| {
            ready(b);
            b.begin_wait().unwrap();
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("D8+ to zero", both(0), |b| {
            ready(b);
            b.begin_wait().unwrap();
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("R+ another model", both(3), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            count(b.reqbufs(Memory::DmaBuf, 3))
        }),
        ("I7", both(EINVAL), |b| {
            b.driver.fail.insert("queue_setup", 22);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("I7+ errno passed", both(ENXIO), |b| {
            b.driver.fail.insert("queue_setup", 6);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("I9", both(2), |b| {
            b.driver.fail.insert("queue_setup", 22);
            assert_eq!(count(b.reqbufs(Memory::Mmap, 2)), EINVAL);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("R+ no memory", both(ENOMEM), |b| {
            b.mem.get().max_alloc = Some(0);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("R+ below the minimum", both(ENOMEM), |b| {
            b.mem.get().max_alloc = Some(1);
            count(b.reqbufs(Memory::Mmap, 8))
        }),
        ("R+ fewer", both(5), |b| {
            b.mem.get().max_alloc = Some(5);
            count(b.reqbufs(Memory::Mmap, 8))
        }),
        ("R+ fewer than the driver needs", both(ENOMEM), |b| {
            b.mem.get().max_alloc = Some(5);
            b.driver.least_buffers = 6;
            count(b.reqbufs(Memory::Mmap, 8))
        }),
        ("R+ driver wants more", both(6), |b| {
            b.driver.least_buffers = 6;
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("R+ buf_init fails", both(ENOMEM), |b| {
            b.driver.fail.insert("buf_init", 6);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
    ]);
}

#[test]
fn querybuf() {
    run(&[
        ("Q15", both(EINVAL), |b| {
            ready(b);
            seen(b.query(4))
        }),
        ("Q15b", both(EINVAL), |b| {
            ready(b);
            seen(b.query(u32::MAX))
        }),
        ("Q18", both(EINVAL), |b| seen(b.query(0))),
        ("Q+ fresh", both(0), |b| {
            ready(b);
            let info = b.query(3).unwrap();
            assert_eq!(info.state, BufferState::Dequeued);
            assert!(!info.prepared && !info.mapped);
            let plane = info.planes[0].unwrap();
            assert_eq!(plane.length_bytes, SIZE, "not rounded to pages");
            assert_eq!(plane.location, PlaneLocation::Cookie(3 << 15));
            assert_eq!(info.num_planes(), 1);
            0
        }),
        ("Q+ second plane", both(0), |b| {
            b.driver.sizes.push(SIZE);
            ready(b);
            let plane = b.query(3).unwrap().planes[1].unwrap();
            assert_eq!(plane.location, PlaneLocation::Cookie(3 << 15 | 1 << 12));
            0
        }),
        ("Q+ mapped", both(0), |b| {
            ready(b);
            let access = MapAccess {
                shared: true,
                read: true,
                write: true,
            };
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
        ("B7", both(EBUSY), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            seen(b.remove(0, 1))
        }),
        ("B8", both(EBUSY), |b| {
            ready(b);
            b.qbuf(2).unwrap();
            let refused = seen(b.remove(0, 4));
            assert_eq!(b.queue.num_buffers(), 4, "all or nothing");
            refused
        }),
        ("X2", both(0), |b| seen(b.remove(77, 0))),
        ("X3", both(EINVAL), |b| {
            ready(b);
            seen(b.remove(0, 5))
        }),
        ("X3+ overflow", both(EINVAL), |b| {
            ready(b);
            seen(b.remove(u32::MAX, 2))
        }),
        ("X3+ past the table", both(EINVAL), |b| {
            ready(b);
            seen(b.remove(100, 2))
        }),
        ("X5", both(0), |b| {
            ready(b);
            seen(b.remove(1, 1))
        }),
        ("X6", both(EINVAL), |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.remove(0, 3))
        }),
        ("X7", both(EINVAL), |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.remove(1, 1))
        }),
        ("X9", both(0), |b| {
            ready(b);
            seen(b.remove(0, 4))
        }),
        ("S9", both(0), |b| {
            streaming(b);
            seen(b.remove(3, 1))
        }),
        ("F11", both(EBUSY), |b| {
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            b.qbuf(0).unwrap();
            seen(b.remove(0, 1))
        }),
    ]);
}

#[test]
fn full() {
    run(&[("C10", both(ENOBUFS), |b| {
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
        ("C1", both(0), |b| count(create(b, Memory::Mmap, 0, &[]))),
        ("C2+ not offered", both(EINVAL), |b| {
            b.mem.get().no_userptr = true;
            count(create(b, Memory::UserPtr, 0, &[]))
        }),
        ("C3", both(EINVAL), |b| {
            count(create(b, Memory::Mmap, 1, &[0]))
        }),
        ("C5b", both(ENOMEM), |b| {
            count(create(b, Memory::Mmap, 1, &[0xffff_ffff]))
        }),
        ("C+ huge", both(ENOMEM), |b| {
            count(create(b, Memory::Mmap, 1, &[u64::MAX]))
        }),
        ("C+ below the format", both(EINVAL), |b| {
            count(create(b, Memory::Mmap, 1, &[SIZE - 1]))
        }),
        ("C7", both(0), |b| {
            let made = b
                .session()
                .create_bufs(Memory::Mmap, 0, Coherency::Coherent, &[])
                .unwrap();
            assert_eq!((made.first_index, made.count), (0, 0));
            0
        }),
        ("C8", both(2), |b| {
            count(create(b, Memory::Mmap, 2, &[SIZE]))
        }),
        ("C+ another model", both(EINVAL), |b| {
            ready(b);
            count(create(b, Memory::DmaBuf, 1, &[SIZE]))
        }),
        ("C+ first while one sleeps", both(EBUSY), |b| {
            b.begin_wait().unwrap();
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("C+ more while one sleeps", both(1), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("C+ fewer, and that is enough", both(3), |b| {
            b.mem.get().max_alloc = Some(3);
            count(create(b, Memory::Mmap, 5, &[SIZE]))
        }),
        ("C+ fewer, and that is not enough", both(ENOMEM), |b| {
            b.mem.get().max_alloc = Some(3);
            b.driver.least_buffers = 4;
            let refused = count(create(b, Memory::Mmap, 5, &[SIZE]));
            assert_eq!(b.queue.num_buffers(), 0, "none are kept");
            refused
        }),
        ("C+ the second question fails", both(ENOMEM), |b| {
            ready(b);
            b.mem.get().max_alloc = Some(4);
            count(create(b, Memory::Mmap, 5, &[SIZE]))
        }),
        ("I8", both(EINVAL), |b| {
            b.driver.fail.insert("queue_setup", 22);
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("Z5b", both(1), |b| {
            streaming(b);
            b.queue.set_error();
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
    ]);
}
