//! The ownership of memory: stale tokens have no effect, and new owners do not see old bytes.

use crate::lab::{LEN, Lab, OUTPUT, Offer, Op, Reply, Setup, bytes_of, slot_addr};
use crate::random::{joins_pages, setups};
use std::os::unix::fs::FileExt as _;
use vb3_machine::FaultKind;
use vb3_plane::{Allocator, Cookie, MemOps as _};
use vb3_queue::{
    Coherency, Completion, Error, HintSkip, Invalid, Memory, PlaneRequest, PlaneSource, QueueBuffer,
};

const fn offer(memory: Memory, nth: usize) -> Offer {
    Offer {
        memory,
        nth,
        hints: HintSkip::empty(),
    }
}

const DONE: Completion = Completion::done(0);

/// Makes a lab where camera and display stream. They share the camera's first two buffers.
fn streaming(setup: Setup, coherency: Coherency) -> Lab {
    let mut lab = Lab::new(setup);
    let ops = [
        Op::Reqbufs(0, Memory::Mmap, 3, coherency),
        Op::Export(0, 0),
        Op::Export(0, 1),
        Op::Reqbufs(1, Memory::DmaBuf, 2, coherency),
        Op::Queue(0, 0, offer(Memory::Mmap, 0)),
        Op::Queue(0, 1, offer(Memory::Mmap, 0)),
        Op::Queue(1, 0, offer(Memory::DmaBuf, 0)),
        Op::Queue(1, 1, offer(Memory::DmaBuf, 1)),
        Op::On(0),
        Op::On(1),
    ];
    for op in ops {
        lab.apply(op, 0).unwrap_or_else(|e| panic!("{op:?}: {e}"));
    }
    lab
}

/// Returns whether the display can use the camera's memory: scattered vmalloc memory may not be one run.
fn can_share(setup: Setup) -> bool {
    joins_pages(setup) || setup.allocators == [Allocator::Contig; 2]
}

fn cookies(lab: &Lab, side: usize) -> Vec<Cookie> {
    let tokens = lab.sides[side].engine.tokens.iter();
    tokens
        .map(|token| token.plane(0).expect("live").expect("a plane").cookie)
        .collect()
}

/// Returns whether the device at a side still reaches the memory of a plane.
fn reaches(lab: &mut Lab, side: usize, cookie: Cookie) -> Result<(), Option<FaultKind>> {
    let dev = lab.sides[side].device.dma;
    let byte = [0xee];
    match cookie {
        Cookie::Dma(addr) => lab
            .machine()
            .bus_write(dev, addr, &byte)
            .map_err(|fault| Some(fault.kind)),
        Cookie::Sg(view) => match lab.mem.sg_find(view, 0) {
            Some((addr, _)) => reaches(lab, side, Cookie::Dma(addr)),
            None => Err(None),
        },
        view @ Cookie::Cpu(_) => lab.mem.cpu_write(dev, view, 0, &byte).map_err(|_| None),
    }
}

#[test]
fn stale_token_reaches_no_memory() {
    let ends = [Op::Off(0), Op::Release(0)];
    for setup in setups().into_iter().filter(|setup| can_share(*setup)) {
        for end in ends {
            let mut lab = streaming(setup, Coherency::NonCoherent);
            let old = cookies(&lab, 0);
            lab.apply(end, 0).unwrap();
            for token in &lab.sides[0].engine.tokens {
                assert!(token.is_stale());
                assert!(matches!(
                    token.planes().map(Iterator::count),
                    Err(Error::Invalid(Invalid::Stale))
                ));
                assert_eq!(token.plane(0), Err(Invalid::Stale.into()));
            }
            // After the buffer is queued again, the old token is still stale.
            if matches!(end, Op::Off(_)) {
                for index in 0..2 {
                    lab.apply(Op::Queue(0, index, offer(Memory::Mmap, 0)), 0)
                        .unwrap();
                }
                lab.apply(Op::On(0), 0).unwrap();
                let live = lab.live_tokens(0);
                assert_eq!(live, [2, 3]);
                let token = lab.sides[0].engine.tokens.remove(0);
                let Lab { sides, mem, .. } = &mut lab;
                let completed = sides[0].session(mem).complete(token, DONE);
                assert_eq!(completed, Err(Invalid::Stale.into()));
                assert_eq!(sides[0].queue.statistics().done, 0);
                assert_eq!(lab.live_tokens(0).len(), 2);
                assert_eq!(reaches(&mut lab, 0, old[0]), Ok(()), "the new token's");
                lab.apply(Op::Release(0), 0).unwrap();
            }
            // The display still has the memory, so none of it is freed.
            let display = cookies(&lab, OUTPUT);
            assert!(lab.device_read(OUTPUT, display[0]).is_ok());
            for op in [Op::Release(1), Op::CloseBuf(0), Op::CloseBuf(0)] {
                lab.apply(op, 0).unwrap();
            }
            let iommu = lab.machine().profile().iommu.is_some();
            for (side, cookie) in [(0, old[0]), (0, old[1]), (1, display[0])] {
                let expected = match cookie {
                    Cookie::Cpu(_) | Cookie::Sg(_) => None,
                    Cookie::Dma(_) if iommu => Some(FaultKind::Unmapped),
                    // The display's address is in the bounce pool, which stays reachable, but has no owner's
                    // bytes.
                    Cookie::Dma(_) if setup.machine == "vm-bounce" && side == OUTPUT => continue,
                    Cookie::Dma(_) => Some(FaultKind::NoMemory),
                };
                assert_eq!(
                    reaches(&mut lab, side, cookie),
                    Err(expected),
                    "{setup:?} {end:?} {side}"
                );
            }
            lab.end();
        }
    }
}

#[test]
fn releasing_importer_loses_only_its_access() {
    for setup in setups().into_iter().filter(|setup| can_share(*setup)) {
        let mut lab = streaming(setup, Coherency::Coherent);
        let (camera, display) = (cookies(&lab, 0)[0], cookies(&lab, OUTPUT)[0]);
        lab.apply(Op::Off(1), 0).unwrap();
        assert!(lab.sides[1].engine.tokens.iter().all(|t| t.is_stale()));
        lab.apply(Op::Reqbufs(1, Memory::DmaBuf, 0, Coherency::Coherent), 0)
            .unwrap();
        let behind_iommu = lab.machine().profile().iommu.is_some()
            && setup.allocators[OUTPUT] == Allocator::Contig;
        let reached = reaches(&mut lab, OUTPUT, display);
        if behind_iommu {
            assert_eq!(reached, Err(Some(FaultKind::Unmapped)), "{setup:?}");
        }
        assert_eq!(reaches(&mut lab, 0, camera), Ok(()), "{setup:?}");
        lab.end();
    }
}

/// Fills the memory of a side's buffers, by the device and through mappings, and then frees the memory.
fn soil(lab: &mut Lab, side: usize, coherency: Coherency) -> Vec<Cookie> {
    lab.apply(Op::Reqbufs(side, Memory::Mmap, 3, coherency), 0)
        .unwrap();
    for index in 0..3 {
        lab.apply(Op::Mmap(side, index), 0).unwrap();
        let file = &lab.maps[index as usize].1;
        file.write_all_at(&vec![0xa5; LEN as usize], 0).unwrap();
        lab.apply(Op::Queue(side, index, offer(Memory::Mmap, 0)), 0)
            .unwrap();
    }
    lab.apply(Op::On(side), 0).unwrap();
    let used = cookies(lab, side);
    if side == 0 {
        for _ in 0..3 {
            lab.apply(Op::Work(0, 0, Ok(())), 99).unwrap();
        }
    }
    lab.apply(Op::Release(side), 0).unwrap();
    while !lab.maps.is_empty() {
        lab.munmap(0);
    }
    lab.sides[side].engine.tokens.clear();
    used
}

#[test]
fn new_memory_is_zero_for_program_and_device() {
    for setup in setups() {
        for (side, coherency) in [
            (0, Coherency::Coherent),
            (0, Coherency::NonCoherent),
            (OUTPUT, Coherency::Coherent),
            (OUTPUT, Coherency::NonCoherent),
        ] {
            let mut lab = Lab::new(setup);
            let mut used = soil(&mut lab, side, coherency);
            let made = lab.apply(Op::Reqbufs(side, Memory::Mmap, 3, coherency), 0);
            assert_eq!(made, Ok(Reply::Count(3)));
            for index in 0..3 {
                lab.apply(Op::Mmap(side, index), 0).unwrap();
                let seen = lab.mapped_bytes(index as usize);
                assert!(seen == bytes_of(0), "{setup:?} {side} {coherency:?}");
                // With all hints, the device sees the memory without a hand-over before.
                let mut hints = offer(Memory::Mmap, 0);
                hints.hints = HintSkip::all();
                lab.apply(Op::Queue(side, index, hints), 0).unwrap();
            }
            lab.apply(Op::On(side), 0).unwrap();
            let mut again = cookies(&lab, side);
            for cookie in &again {
                let seen = lab.device_read(side, *cookie).expect("reached");
                assert!(seen == bytes_of(0), "{setup:?} {side} {coherency:?}");
            }
            if setup.allocators[side] == Allocator::Contig {
                let key = |cookie: &Cookie| format!("{cookie:?}");
                used.sort_by_key(key);
                again.sort_by_key(key);
                assert_eq!(used, again, "the same places");
            }
            lab.end();
        }
    }
}

/// Queues a program's memory of any length, and starts streaming.
fn queue_user(lab: &mut Lab, side: usize, addr: u64, len: u64) -> Cookie {
    let counts = [3, 1];
    for _ in 0..2 {
        lab.apply(
            Op::Reqbufs(side, Memory::UserPtr, counts[side], Coherency::Coherent),
            0,
        )
        .unwrap();
    }
    for index in 0..counts[side].min(2) {
        let mut request: QueueBuffer<_> = QueueBuffer::new(index, Memory::UserPtr);
        let plane = PlaneRequest {
            payload_bytes: 0,
            length_bytes: len,
            data_offset: 0,
            source: PlaneSource::UserPtr {
                user: lab.user.clone(),
                addr,
            },
        };
        assert!(request.push_plane(plane).is_ok());
        let Lab { sides, mem, .. } = lab;
        let queued = sides[side].session(mem).qbuf(request);
        queued.expect("queued");
    }
    lab.apply(Op::On(side), 0).unwrap();
    cookies(lab, side)[0]
}

#[test]
fn reused_bounce_slot_exposes_nothing() {
    let setup = Setup {
        machine: "vm-bounce",
        seed: 1,
        allocators: [Allocator::Contig; 2],
        planes: 1,
        files: false,
    };
    let mut lab = Lab::new(setup);
    let (camera, display) = (lab.sides[0].device.dma, lab.sides[1].device.dma);
    let slots = LEN + 2048;
    // A camera fills its slots, also the bytes behind its buffer.
    let Cookie::Dma(dirty) = queue_user(&mut lab, 0, slot_addr(0), LEN + 100) else {
        panic!("no address")
    };
    let secret = vec![0xa5; slots as usize];
    lab.machine().bus_write(camera, dirty, &secret).unwrap();
    lab.apply(Op::Release(0), 0).unwrap();
    lab.sides[0].engine.tokens.clear();
    // A display's buffer gets the same slots. The display sees the program's bytes, and zeroes behind them.
    lab.user.write(slot_addr(1), &bytes_of(7)).unwrap();
    let Cookie::Dma(addr) = queue_user(&mut lab, 1, slot_addr(1), LEN + 100) else {
        panic!("no address")
    };
    assert_eq!(addr, dirty, "the same slots");
    let mut seen = vec![1; slots as usize];
    lab.machine().bus_read(display, addr, &mut seen).unwrap();
    assert!(seen[..LEN as usize] == bytes_of(7));
    assert!(seen[LEN as usize..].iter().all(|byte| *byte == 0));
    lab.machine().bus_write(camera, addr, &secret).unwrap();
    lab.apply(Op::Release(1), 0).unwrap();
    // A camera writes half a frame. The program keeps its own bytes in the other half.
    lab.user.write(slot_addr(2), &bytes_of(8)).unwrap();
    let Cookie::Dma(addr) = queue_user(&mut lab, 0, slot_addr(2), LEN) else {
        panic!("no address")
    };
    assert_eq!(addr, dirty, "the same slots");
    let half = LEN as usize / 2;
    lab.machine()
        .bus_write(camera, addr, &bytes_of(9)[..half])
        .unwrap();
    lab.apply(Op::DropToken(0, 0), 0).unwrap();
    let mut found = bytes_of(0);
    lab.user.read(slot_addr(2), &mut found).unwrap();
    assert!(found[..half] == bytes_of(9)[..half]);
    assert!(found[half..] == bytes_of(8)[half..]);
    lab.apply(Op::Release(0), 0).unwrap();
    assert!(lab.mem.supports_userptr());
    lab.end();
}
