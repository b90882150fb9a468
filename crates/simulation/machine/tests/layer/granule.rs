//! A machine whose IOMMU has larger pages than the CPU: devices reach no other owner's bytes.

use crate::common::*;
use vb3_dma::{
    Attrs, Constraint, Direction, DmaAddr, DmaOps as _, Error, Mapper, PageRequest, PhysAddr,
    Platform,
};
use vb3_machine::{Device, DeviceLimits, FaultKind, Machine, Profile, User};

const GRANULES: [u64; 3] = [4 << 10, 16 << 10, 64 << 10];
const BOTH: Direction = Direction::Bidirectional;

fn lines(granule: u64, more: &str) -> String {
    format!(
        "{COHERENT}\ncma = \"4MiB\"\n{more}\n[iommu]\nformat = \"arm-lpae-s1\"\n\
         page_sizes = [{granule}]\naperture = 32"
    )
}

fn bench(lines: &str) -> (Mapper<Machine>, Device) {
    let mut mapper = mapper(lines);
    let limits = DeviceLimits::default();
    let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
    (mapper, dev)
}

/// Returns how many bytes a device reaches from an address on, up to the first fault.
fn reached(mapper: &Mapper<Machine>, dev: Device, addr: DmaAddr) -> u64 {
    let mut done = 0;
    while let Ok((_, len)) =
        mapper
            .platform()
            .bus_translate(dev, addr.checked_add(done).unwrap(), true)
    {
        done += len;
    }
    done
}

#[test]
fn device_cannot_reach_neighbouring_memory() {
    for granule in GRANULES {
        for attrs in [Attrs::empty(), Attrs::FORCE_CONTIGUOUS] {
            let (mut mapper, dev) = bench(&lines(granule, ""));
            // Memory of a program, of another device and of the CPU. It is allocated between the device's
            // allocations, to be as close to them as possible.
            let bytes = vec![0x5e; 64 * PAGE as usize];
            let program = Program::new(0x40_0000, bytes.clone());
            let user: User = program.clone();
            let other = mapper
                .platform_mut()
                .add_device("other", DeviceLimits::default())
                .unwrap();
            // Memory of a device without an IOMMU may have any number of pages, in one piece.
            let bare = DeviceLimits {
                iommu: Some(false),
                ..DeviceLimits::default()
            };
            let bare = mapper.platform_mut().add_device("bare", bare).unwrap();
            let odd = mapper
                .alloc_coherent(bare, 3 * PAGE, Attrs::empty())
                .unwrap();
            let mut own = Vec::new();
            let mut foreign = Vec::new();
            let mut pins = Vec::new();
            for n in 0..8 {
                let len = n * granule / 2 + PAGE;
                own.push((mapper.alloc_coherent(dev, len, attrs).unwrap(), len));
                let secret = mapper.alloc_coherent(other, len, attrs).unwrap();
                let at = mapper.alloc_dma_addr(&secret).unwrap();
                let written = vec![0x5e; len as usize];
                mapper
                    .platform_mut()
                    .bus_write(other, at, &written)
                    .unwrap();
                foreign.push((secret, at, len));
                let pinned = mapper.pin_user(&user, 0x40_0000 + n * 8 * PAGE, 8 * PAGE, BOTH);
                pins.push(pinned.unwrap());
            }
            for (alloc, len) in &own {
                assert!(alloc.segments().iter().all(|s| s.addr.is_aligned(granule)));
                let at = mapper.alloc_dma_addr(alloc).unwrap();
                let all = len.next_multiple_of(granule);
                assert!(reached(&mapper, dev, at) >= all, "to the end of its pieces");
                // These bytes belong to no other owner, so the device may overwrite them.
                let mut seen = vec![0; all as usize];
                mapper.platform_mut().bus_read(dev, at, &mut seen).unwrap();
                assert!(!seen.contains(&0x5e), "{granule:#x}: somebody's bytes");
                let junk = vec![0xdb; all as usize];
                mapper.platform_mut().bus_write(dev, at, &junk).unwrap();
            }
            assert_eq!(program.peek(), bytes, "{granule:#x}: a program's memory");
            for (secret, at, len) in foreign {
                let mut seen = vec![0; len as usize];
                mapper
                    .platform_mut()
                    .bus_read(other, at, &mut seen)
                    .unwrap();
                assert!(seen.iter().all(|&b| b == 0x5e), "{granule:#x}: a device's");
                mapper.free(secret);
            }
            for (alloc, _) in own {
                let at = mapper.alloc_dma_addr(&alloc).unwrap();
                mapper.free(alloc);
                let gone = mapper.platform_mut().bus_read(dev, at, &mut [0]);
                assert_eq!(gone.unwrap_err().kind, FaultKind::Unmapped);
            }
            mapper.free(odd);
            pins.into_iter().for_each(|pin| mapper.free(pin));
            assert!(mapper.live().is_empty());
            assert_eq!(mapper.platform().held(), Default::default());
        }
    }
}

/// A buffer's file and the device show the same bytes at the same offsets.
#[test]
fn programs_and_devices_see_bytes_at_equal_offsets() {
    for granule in GRANULES {
        let (mut mapper, dev) = bench(&lines(granule, ""));
        let len = 2 * granule + 3 * PAGE;
        let alloc = mapper
            .alloc_noncontiguous(dev, len, BOTH, Attrs::empty())
            .unwrap();
        let at = mapper.alloc_dma_addr(&alloc).unwrap();
        let bytes = pattern(len as usize);
        mapper.platform_mut().bus_write(dev, at, &bytes).unwrap();
        for offset in (0..len).step_by(PAGE as usize) {
            let mmap = mapper.mmap(&alloc, offset, PAGE).unwrap();
            let mut seen = vec![0; PAGE as usize];
            let file = std::fs::File::from(mmap.fd);
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut seen, mmap.offset).unwrap();
            assert_eq!(seen, bytes[offset as usize..][..PAGE as usize]);
        }
        assert_eq!(mapper.mmap(&alloc, len, PAGE).unwrap_err().errno(), 6);
        // The memory is shared with another device. Its table describes only the requested length.
        let other = mapper
            .platform_mut()
            .add_device("other", DeviceLimits::default())
            .unwrap();
        let table = mapper.share(&alloc).unwrap();
        assert_eq!(table.segments().iter().map(|s| s.len).sum::<u64>(), len);
        let attrs = Attrs::ONE_RUN | Attrs::NO_BOUNCE;
        let mapping = mapper.map(other, &table, BOTH, attrs).unwrap();
        assert_eq!(run_len(&mapper, &mapping, u64::MAX), len);
        let mut seen = vec![0; len as usize];
        let there = mapping.segments()[0].addr;
        mapper
            .platform_mut()
            .bus_read(other, there, &mut seen)
            .unwrap();
        assert_eq!(seen, bytes);
        mapper.unmap(mapping, attrs);
        mapper.free(table);
        mapper.free(alloc);
        // Memory that was allocated for no device can be shared, too.
        let plain = mapper.alloc_virtual(len).unwrap();
        let table = mapper.share(&plain).unwrap();
        let mapping = mapper.map(dev, &table, BOTH, attrs).unwrap();
        assert_eq!(run_len(&mapper, &mapping, u64::MAX), len);
        mapper.unmap(mapping, attrs);
        mapper.free(table);
        mapper.free(plain);
        assert!(mapper.live().is_empty());
        assert_eq!(mapper.platform().held(), Default::default());
    }
}

/// A program's memory consists of single frames. A larger granule refuses it, with the reason.
/// If there is a pool, the memory bounces instead.
#[test]
fn user_memory_is_refused_or_copied() {
    for granule in [16 << 10, 64 << 10] {
        let (mapper, dev) = bench(&lines(granule, ""));
        let program = Program::new(0x40_0000, pattern(64 * PAGE as usize));
        let user: User = program.clone();
        for (addr, len) in [(0x40_0000, 32 * PAGE), (0x40_0123, 5), (0x40_1000, PAGE)] {
            let table = mapper.pin_user(&user, addr, len, BOTH).unwrap();
            let err = mapper.map(dev, &table, BOTH, Attrs::empty()).unwrap_err();
            let reason = err.reason().unwrap();
            assert_eq!(
                (err.errno(), reason.constraint, reason.wanted),
                (5, Constraint::IommuGranule, granule)
            );
            assert!(reason.found > 0 && reason.found < granule);
            mapper.free(table);
        }
        let pool = "[bounce]\nmode = \"when-needed\"\npool = \"1MiB\"";
        for more in ["", "untrusted = true"] {
            let (mut mapper, dev) = bench(&format!("{}\n{pool}", lines(granule, more)));
            let len = 32 * PAGE - 0x321;
            let table = mapper.pin_user(&user, 0x40_0321, len, BOTH).unwrap();
            let mapping = mapper.map(dev, &table, BOTH, Attrs::ONE_RUN).unwrap();
            assert_eq!(mapping.bounced_bytes(), len);
            let at = mapping.segments()[0].addr;
            let mut seen = vec![0; len as usize];
            mapper.platform_mut().bus_read(dev, at, &mut seen).unwrap();
            assert_eq!(seen, program.peek()[0x321..][..len as usize]);
            let back: Vec<u8> = seen.iter().map(|b| b ^ 0x80).collect();
            mapper.platform_mut().bus_write(dev, at, &back).unwrap();
            mapper.unmap(mapping, Attrs::empty());
            assert_eq!(program.peek()[0x321..][..len as usize], back);
            mapper.free(table);
            assert!(mapper.live().is_empty());
        }
    }
}

#[test]
fn ram_runs_out_in_whole_pieces() {
    let profile = Profile::builtin("soc-64k").unwrap();
    let profile = Profile {
        ram: 4 << 20,
        cma: 0,
        ..profile
    };
    let machine = Machine::new(&profile, 1).unwrap();
    let request = |len, granule| PageRequest {
        len,
        granule,
        contiguous: false,
        max_addr: PhysAddr::new(u64::MAX),
        caching: vb3_dma::Caching::Cached,
        device: None,
    };
    for (len, granule) in [
        (PAGE, 0),
        (PAGE, 2048),
        (3 * PAGE, 3 * PAGE),
        (3 * PAGE, 2 * PAGE),
        (0, PAGE),
        (u64::MAX, PAGE),
    ] {
        let err = machine.alloc_pages(request(len, granule)).unwrap_err();
        assert_eq!(err, Error::Invalid, "{len:#x} {granule:#x}");
    }
    // Three MiB have 48 pieces. Each allocated page makes at most one piece unusable.
    let pages: Vec<_> = (0..5)
        .map(|_| machine.alloc_pages(request(PAGE, PAGE)).unwrap())
        .collect();
    let err = machine.alloc_pages(request(48 << 16, 1 << 16)).unwrap_err();
    let reason = err.reason().unwrap();
    assert_eq!((err.errno(), reason.constraint), (12, Constraint::Ram));
    assert!(reason.found < 48 << 16 && reason.found >= 43 << 16);
    assert!(reason.found % (1 << 16) == 0);
    let rest = machine.alloc_pages(request(reason.found, 1 << 16)).unwrap();
    let err = machine.alloc_pages(request(1 << 16, 1 << 16)).unwrap_err();
    assert_eq!(err.reason().unwrap().found, 0);
    pages.into_iter().for_each(|p| machine.free_pages(p));
    machine.free_pages(rest);
    let all = machine.alloc_pages(request(48 << 16, 1 << 16)).unwrap();
    machine.free_pages(all);
    assert_eq!(machine.held(), Default::default());
}
