//! Access in place gives the same bytes, counters and events as copying, or has no effect.

use crate::common::*;
use vb3_dma::{Attrs, Direction, DmaAddr, DmaOps as _, SyncFor};
use vb3_machine::{BusLines, BusSpan, Device, DeviceLimits, Event, Machine, User};

type Mapper = vb3_dma::Mapper<Machine>;

const LEN: u64 = 5 * PAGE;

fn with_device(lines: &str) -> (Mapper, Device) {
    let mut mapper = mapper(lines);
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    (mapper, dev)
}

fn at(addr: DmaAddr, offset: u64) -> DmaAddr {
    addr.checked_add(offset).unwrap()
}

fn span(addr: DmaAddr, offset: u64, len: u64) -> BusLines {
    BusLines {
        addr: at(addr, offset),
        line_bytes: len,
        count: 1,
        pitch: len,
    }
}

/// Returns the bus events during `run`, and what the device did.
fn seen(
    machine: &mut Machine,
    dev: Device,
    run: impl FnOnce(&mut Machine),
) -> (Vec<Event>, BusStats) {
    machine.trace_mut().start(200);
    run(machine);
    let events = machine.trace().events().iter().map(|(_, e)| *e).collect();
    (events, bus_stats(machine, dev))
}

/// Adds one to each byte of two spans.
fn add_one(from: &[&[u8]], to: &mut [&mut [u8]]) -> bool {
    assert_eq!((from.len(), to.len()), (2, 2));
    for (from, to) in from.iter().zip(to) {
        assert_eq!(from.len(), to.len());
        for (from, to) in from.iter().zip(to.iter_mut()) {
            *to = from.wrapping_add(1);
        }
    }
    true
}

/// Reads all lines, adds one to each byte, and writes the results: the same work as [`add_one`].
fn by_copying(machine: &mut Machine, dev: Device, from: &[BusLines], to: &[BusLines]) {
    let mut read = Vec::new();
    for lines in from {
        for line in 0..lines.count {
            let mut bytes = vec![0; lines.line_bytes as usize];
            let addr = at(lines.addr, line * lines.pitch);
            machine.bus_read(dev, addr, &mut bytes).unwrap();
            read.push(bytes);
        }
    }
    let mut read = read.into_iter();
    for lines in to {
        for (line, bytes) in (0..lines.count).zip(&mut read) {
            let made: Vec<u8> = bytes.iter().map(|b| b.wrapping_add(1)).collect();
            let addr = at(lines.addr, line * lines.pitch);
            machine.bus_write(dev, addr, &made).unwrap();
        }
    }
}

#[test]
fn what_happens_is_what_copying_does() {
    let lines = "coherent = false\ncma = \"8MiB\"";
    for lines in [lines, &with_iommu(lines)] {
        let run = |in_place: bool| {
            let (mut mapper, dev) = with_device(lines);
            let both = Direction::Bidirectional;
            let make = |mapper: &mut Mapper| {
                let made = mapper.alloc_noncontiguous(dev, LEN, both, Attrs::empty());
                made.unwrap()
            };
            let (source, target) = (make(&mut mapper), make(&mut mapper));
            let from = mapper.alloc_dma_addr(&source).unwrap();
            let to = mapper.alloc_dma_addr(&target).unwrap();
            let machine = mapper.platform_mut();
            let data: Vec<u8> = (0..LEN).map(|i| (i % 251) as u8).collect();
            machine.bus_write(dev, from, &data).unwrap();
            // The second span of each list is before the first.
            let from = [span(from, 4000, 9000), span(from, 7, 100)];
            let to = [span(to, 5000, 9000), span(to, 4100, 100)];
            let seen = seen(machine, dev, |machine| {
                if in_place {
                    let done = machine.bus_in_place(dev, &from, &to, &mut add_one);
                    assert_eq!(done, Some(true), "{lines}");
                } else {
                    by_copying(machine, dev, &from, &to);
                }
            });
            let mut bytes = vec![0; LEN as usize];
            let start = mapper.alloc_dma_addr(&target).unwrap();
            mapper
                .platform_mut()
                .bus_read(dev, start, &mut bytes)
                .unwrap();
            (seen, bytes)
        };
        let (there, copied) = (run(true), run(false));
        assert!(there == copied, "{lines}");
        assert_eq!(there.1[5000], (4000 % 251 + 1) as u8);
    }
}

/// If lines have gaps between them, each line is a separate access, and the gaps keep their bytes.
#[test]
fn lines_with_gaps_are_accessed_one_by_one() {
    let lines = "coherent = false\ncma = \"8MiB\"";
    for lines in [lines, &with_iommu(lines)] {
        let run = |in_place: bool| {
            let (mut mapper, dev) = with_device(lines);
            let both = Direction::Bidirectional;
            let make = || mapper.alloc_noncontiguous(dev, LEN, both, Attrs::empty());
            let (source, target) = (make().unwrap(), make().unwrap());
            let from = mapper.alloc_dma_addr(&source).unwrap();
            let start = mapper.alloc_dma_addr(&target).unwrap();
            let machine = mapper.platform_mut();
            let data: Vec<u8> = (0..LEN).map(|i| (i % 251) as u8).collect();
            machine.bus_write(dev, from, &data).unwrap();
            let from = [BusLines {
                addr: at(from, 100),
                line_bytes: 48,
                count: 90,
                pitch: 64,
            }];
            let to = [BusLines {
                addr: at(start, 200),
                line_bytes: 48,
                count: 90,
                pitch: 100,
            }];
            let seen = seen(machine, dev, |machine| {
                if in_place {
                    let mut act = |from: &[&[u8]], to: &mut [&mut [u8]]| {
                        assert_eq!((from[0].len(), to[0].len()), (89 * 64 + 48, 89 * 100 + 48));
                        for (from, to) in from[0].chunks(64).zip(to[0].chunks_mut(100)) {
                            for (from, to) in from[..48].iter().zip(to) {
                                *to = from.wrapping_add(1);
                            }
                        }
                        true
                    };
                    let done = machine.bus_in_place(dev, &from, &to, &mut act);
                    assert_eq!(done, Some(true), "{lines}");
                } else {
                    by_copying(machine, dev, &from, &to);
                }
            });
            assert_eq!(seen.0.len(), 180);
            assert_eq!(seen.1.bytes_written, 90 * 48);
            let mut bytes = vec![0; LEN as usize];
            machine.bus_read(dev, start, &mut bytes).unwrap();
            (seen, bytes)
        };
        let (there, copied) = (run(true), run(false));
        assert!(there == copied, "{lines}");
    }
}

#[test]
fn a_device_that_does_not_snoop_sees_its_own_store() {
    let (mut mapper, dev) = with_device(&with_iommu("coherent = false"));
    let cached = mapper
        .alloc_noncontiguous(dev, PAGE, Direction::Bidirectional, Attrs::empty())
        .unwrap();
    let addr = mapper.alloc_dma_addr(&cached).unwrap();
    let vmap = mapper.vmap(&cached).unwrap();
    mapper.vmap_write(&vmap, 0, &[7; 64]).unwrap();
    let look = |mapper: &mut Mapper| {
        let mut first = 0;
        let mut act = |from: &[&[u8]], _: &mut [&mut [u8]]| {
            first = from[0][0];
            true
        };
        let from = [span(addr, 0, 64)];
        let done = mapper
            .platform_mut()
            .bus_in_place(dev, &from, &[], &mut act);
        assert_eq!(done, Some(true));
        first
    };
    assert_eq!(look(&mut mapper), 0, "the CPU's caches were not cleaned");
    mapper.sync_alloc(&cached, Direction::ToDevice, SyncFor::Device);
    assert_eq!(look(&mut mapper), 7);
}

#[test]
fn what_cannot_be_done_in_place_is_left_alone() {
    let (mut mapper, dev) = with_device(&with_iommu("coherent = false"));
    let both = Direction::Bidirectional;
    let make = |mapper: &mut Mapper| {
        let made = mapper.alloc_noncontiguous(dev, LEN, both, Attrs::empty());
        made.unwrap()
    };
    let (source, target) = (make(&mut mapper), make(&mut mapper));
    let from = mapper.alloc_dma_addr(&source).unwrap();
    let to = mapper.alloc_dma_addr(&target).unwrap();
    let whole = |addr| span(addr, 0, LEN);
    let lines = |addr, count, pitch| BusLines {
        addr,
        line_bytes: 8,
        count,
        pitch,
    };
    let cases: [(&str, Vec<BusLines>, Vec<BusLines>); 9] = [
        ("no line", vec![lines(from, 0, 8)], vec![]),
        (
            "past all addresses",
            vec![lines(from, u64::MAX, u64::MAX)],
            vec![],
        ),
        (
            "a last line behind the end",
            vec![lines(from, LEN / 16 + 1, 16)],
            vec![],
        ),
        ("behind the end", vec![span(from, 0, LEN + 1)], vec![]),
        ("nothing mapped", vec![whole(at(from, 1 << 28))], vec![]),
        (
            "an overlap",
            vec![],
            vec![span(to, 0, 64), span(to, 63, 64)],
        ),
        (
            "read and written",
            vec![span(to, 0, 8)],
            vec![span(to, 8, 8)],
        ),
        (
            "another's end",
            vec![whole(from)],
            vec![span(to, PAGE, LEN)],
        ),
        ("too many", vec![span(from, 0, 1); 17], vec![]),
    ];
    for (name, from, to) in cases {
        let machine = mapper.platform_mut();
        let (events, stats) = seen(machine, dev, |machine| {
            let mut never = |_: &[&[u8]], _: &mut [&mut [u8]]| unreachable!("{name}");
            assert_eq!(machine.bus_in_place(dev, &from, &to, &mut never), None);
        });
        assert_eq!((events, stats), (vec![], BusStats::default()), "{name}");
    }
}

#[test]
fn what_was_not_made_is_not_counted_as_written() {
    let (mut mapper, dev) = with_device(&with_iommu("coherent = false"));
    let both = Direction::Bidirectional;
    let alloc = mapper
        .alloc_noncontiguous(dev, LEN, both, Attrs::empty())
        .unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let machine = mapper.platform_mut();
    let mut fails = |_: &[&[u8]], _: &mut [&mut [u8]]| false;
    let done = machine.bus_in_place(dev, &[], &[span(addr, 0, 8)], &mut fails);
    assert_eq!(
        (done, bus_stats(machine, dev)),
        (Some(false), BusStats::default())
    );
}

#[test]
fn reading_for_nobody_is_counted_as_reading() {
    for lines in [COHERENT, &with_iommu("coherent = false\ncma = \"8MiB\"")] {
        let run = |bring: bool| {
            let (mut mapper, dev) = with_device(lines);
            let both = Direction::Bidirectional;
            let alloc = mapper.alloc_noncontiguous(dev, LEN, both, Attrs::empty());
            let addr = mapper.alloc_dma_addr(&alloc.unwrap()).unwrap();
            let machine = mapper.platform_mut();
            let spans = [(7, 9000), (LEN - 8, 8), (LEN - 8, 64), (1 << 40, 8)];
            let mut done = Vec::new();
            let seen = seen(machine, dev, |machine| {
                for (offset, len) in spans {
                    let addr = at(addr, offset);
                    done.push(if bring {
                        machine.bus_read(dev, addr, &mut vec![0; len as usize])
                    } else {
                        machine.bus_note_read(dev, BusSpan { addr, len })
                    });
                }
            });
            assert_eq!(done[..2], [Ok(()); 2], "{lines}");
            assert!(done[3].is_err(), "{lines}");
            (done, seen)
        };
        assert_eq!(run(false), run(true), "{lines}");
    }
}

#[test]
fn withdrawn_memory_cannot_be_read_for_nobody() {
    let (mut mapper, dev) = with_device(COHERENT);
    let both = Direction::Bidirectional;
    let alloc = mapper.alloc_noncontiguous(dev, LEN, both, Attrs::empty());
    let alloc = alloc.unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let machine = mapper.platform_mut();
    let own = machine.own_memory(alloc.pages(), alloc.segments()).unwrap();
    let whole = BusSpan { addr, len: LEN };
    assert_eq!(machine.bus_note_read(dev, whole), Ok(()));
    machine.withdraw(own);
    assert!(machine.bus_note_read(dev, whole).is_err());
    assert_eq!(bus_stats(machine, dev).faults, 1);
}

/// The devices' own store of a machine without coherent caches is revoked, too.
#[test]
fn withdrawn_memory_is_not_lent_out() {
    let (mut mapper, dev) = with_device("coherent = false\ncma = \"8MiB\"");
    let both = Direction::Bidirectional;
    let alloc = mapper.alloc_noncontiguous(dev, LEN, both, Attrs::empty());
    let alloc = alloc.unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let machine = mapper.platform_mut();
    let own = machine.own_memory(alloc.pages(), alloc.segments()).unwrap();
    let whole = [span(addr, 0, LEN)];
    let mut touch = |_: &[&[u8]], to: &mut [&mut [u8]]| {
        to.iter_mut().for_each(|to| to.fill(1));
        true
    };
    assert_eq!(
        machine.bus_in_place(dev, &[], &whole, &mut touch),
        Some(true)
    );
    machine.withdraw(own);
    assert_eq!(machine.bus_in_place(dev, &whole, &[], &mut touch), None);
    assert_eq!(machine.bus_in_place(dev, &[], &whole, &mut touch), None);
}

/// A program may write its mapped memory at any time, so such memory must not be borrowed as a slice.
#[test]
fn what_programs_can_write_is_never_lent_out() {
    let lines = [CMA, &with_iommu(CMA), "coherent = false\ncma = \"8MiB\""];
    for lines in lines {
        let (mut mapper, dev) = with_device(lines);
        let alloc = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
        let addr = mapper.alloc_dma_addr(&alloc).unwrap();
        let machine = mapper.platform_mut();
        let whole = [span(addr, 0, LEN)];
        let mut never = |_: &[&[u8]], _: &mut [&mut [u8]]| unreachable!("{lines}");
        assert_eq!(machine.bus_in_place(dev, &whole, &[], &mut never), None);
        assert_eq!(machine.bus_in_place(dev, &[], &whole, &mut never), None);
        mapper.free(alloc);
    }
}

#[test]
fn memory_of_a_program_is_not_seen_from_here() {
    let (mut mapper, dev) = with_device(COHERENT);
    let program = Program::new(0x10_0000, vec![3; 2 * PAGE as usize]);
    let user: User = program;
    let direction = Direction::Bidirectional;
    let table = mapper
        .pin_user(&user, 0x10_0000, 2 * PAGE, direction)
        .unwrap();
    let mapping = mapper.map(dev, &table, direction, Attrs::empty()).unwrap();
    let first = segments(&mapper, &mapping)[0].addr;
    let machine = mapper.platform_mut();
    let mut never = |_: &[&[u8]], _: &mut [&mut [u8]]| unreachable!();
    let from = [span(first, 0, 8)];
    assert_eq!(machine.bus_in_place(dev, &from, &[], &mut never), None);
    let mut byte = [0];
    machine.bus_read(dev, first, &mut byte).unwrap();
    assert_eq!(byte, [3]);
}
