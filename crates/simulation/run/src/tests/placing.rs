//! Tests where lazily placed buffers are placed.

use super::*;
use vb3_dmabuf::MemoryId;

const EINVAL: Errno = Errno(22);
const ENOMEM: i32 = 12;
const SECURE: &str = "secure = { size = \"1MiB\", protected = true }";

/// Makes a bench on a shipped machine with an additional area.
fn bench(machine: &str, area: &str, specs: &[&str]) -> Bench {
    let known = BUILTINS.iter().find(|(name, _)| *name == machine);
    let (_, profile) = known.expect("a profile that ships");
    let profile = Profile::parse(&format!("{profile}\n[areas]\n{area}\n")).unwrap();
    let specs: Vec<_> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
    Bench {
        run: Run::new(profile, &specs, 1).unwrap(),
        program: Local::new(),
    }
}

#[test]
fn devices_use_the_machines_allocator() {
    let mut profile = Profile::builtin("pc").unwrap();
    profile.allocator = vb3_machine::profile::Allocator::Vmalloc;
    let specs = ["display", "display,alloc=sg", "display,place=lazy"];
    let specs = specs.map(|spec| spec.parse().unwrap());
    let mut run = Run::new(profile, &specs, 1).unwrap();
    let used = run.report().devices.into_iter();
    let used: Vec<_> = used.map(|device| device.allocator).collect();
    assert_eq!(used, ["vmalloc", "sg", "contig"]);
}

/// Maps a dma-buf through its own descriptor.
fn map_export(bench: &mut Bench, fd: i32) -> Result<(), Errno> {
    let file = bench.program.identify(fd).unwrap();
    bench.run.buffer_mapped(file, bench.program.origin())
}

/// Lets a camera fill its first buffer. Returns the buffer's dma-buf and bytes used.
fn drawn(bench: &mut Bench, camera: FileId) -> (i32, u32) {
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    let fd = bench.export(camera, CAPTURE, 0);
    queue(bench, camera, 0).unwrap();
    bench.stream(camera, CAPTURE, true);
    (fd, bench.dequeue(camera, CAPTURE, MMAP).1)
}

fn queue(bench: &mut Bench, camera: FileId, index: u32) -> Result<i64, i32> {
    let mut arg = Bench::buffer(CAPTURE, MMAP, index);
    bench.try_ioctl(camera, VIDIOC_QBUF, &mut arg)
}

/// Returns the address ranges of the memory that a run made first.
fn pieces(bench: &Bench) -> Vec<std::ops::Range<u64>> {
    let buffers = bench.run.memory.buffers();
    let first: MemoryId = buffers.memories().next().unwrap();
    let range = |segment: &vb3_dma::Segment| segment.addr.get()..segment.addr.get() + segment.len;
    let pieces = buffers.inspect(first, |memory| {
        memory.memory().segments().iter().map(range).collect()
    });
    pieces.unwrap()
}

/// Returns the device and the constraint of the last refusal.
fn refused(bench: &mut Bench) -> (String, String) {
    let report = bench.run.report();
    let last = report.refusals.last().expect("a refusal");
    (last.device.clone(), last.constraint.clone())
}

#[test]
fn a_program_maps_no_protected_memory() {
    let spec = "camera,sizes=64x48,place=lazy,protected=";
    for (whether, answer) in [("only", Err(EINVAL)), ("on", Ok(()))] {
        let mut bench = bench("soc-cma", SECURE, &[&format!("{spec}{whether}")]);
        let camera = bench.open(0);
        assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
        // Neither buffer is placed yet. Queuing places the first one.
        let fd = bench.export(camera, CAPTURE, 0);
        queue(&mut bench, camera, 0).unwrap();
        let mapped = bench.map(camera, 0);
        assert_eq!(mapped.map(|_| ()), answer, "{whether}: the device file");
        let mapped = map_export(&mut bench, fd);
        assert_eq!(mapped, answer, "{whether}: the dma-buf");
    }
}

#[test]
fn mapped_memory_is_not_placed_in_protected_area() {
    let spec = "camera,sizes=64x48,place=lazy,protected=only";
    let mut bench = bench("soc-cma", SECURE, &[spec]);
    let camera = bench.open(0);
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    let tag = bench.map(camera, 0).expect("it lies nowhere").tag;
    assert_eq!(queue(&mut bench, camera, 0), Err(ENOMEM));
    assert_eq!(
        refused(&mut bench),
        ("/dev/video0".to_owned(), "protected".to_owned())
    );
    // The program has not mapped buffer 1. Its mapping of buffer 0 ends, so both can be queued.
    queue(&mut bench, camera, 1).unwrap();
    bench.run.tag_ended(tag);
    queue(&mut bench, camera, 0).unwrap();
}

#[test]
fn mapped_memory_is_not_moved_to_protected_area() {
    let specs = [
        "camera,sizes=64x48,place=lazy,protected=on",
        "display,size=64x48,protected=only",
    ];
    for by_device_file in [true, false] {
        let mut bench = bench("soc-cma", SECURE, &specs);
        let (camera, display) = (bench.open(0), bench.open(1));
        assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
        let fd = bench.export(camera, CAPTURE, 0);
        queue(&mut bench, camera, 0).unwrap();
        let tag = match by_device_file {
            true => Some(bench.map(camera, 0).unwrap().tag),
            false => {
                map_export(&mut bench, fd).unwrap();
                None
            }
        };
        bench.stream(camera, CAPTURE, true);
        let (_, used) = bench.dequeue(camera, CAPTURE, MMAP);
        bench.reqbufs(display, OUTPUT, DMABUF, 1);
        let before = pieces(&bench);
        assert_eq!(bench.show(display, fd, used), Err(EINVAL.0));
        assert_eq!(
            refused(&mut bench),
            ("/dev/video1".to_owned(), "protected".to_owned())
        );
        assert_eq!(pieces(&bench), before);
        assert_eq!(bench.run.report().total(|q| q.bytes_moved), 0);
        let Some(tag) = tag else {
            continue;
        };
        bench.run.tag_ended(tag);
        bench.show(display, fd, used).expect("moved");
        assert_ne!(pieces(&bench), before);
        assert_eq!(bench.map(camera, 0).map(|map| map.tag), Err(EINVAL));
        assert_eq!(map_export(&mut bench, fd), Err(EINVAL));
    }
}

/// One device accepts only protected memory, which the other device cannot access.
#[test]
fn protected_memory_refuses_unlisted_device() {
    let specs = [
        "camera,sizes=64x48,place=lazy,protected=only",
        "display,size=64x48",
    ];
    let mut bench = bench("soc-cma", SECURE, &specs);
    let (camera, display) = (bench.open(0), bench.open(1));
    let (fd, used) = drawn(&mut bench, camera);
    bench.reqbufs(display, OUTPUT, DMABUF, 1);
    assert_eq!(bench.show(display, fd, used), Err(EINVAL.0));
    assert_eq!(
        refused(&mut bench),
        ("/dev/video1".to_owned(), "unprotected".to_owned())
    );
}

/// Windows of a device's bus, `FIRST-LAST@BUS`: the memory's addresses, which begin above 0, and its first
/// bus address.
const WINDOWS: [&str; 3] = [
    "0x20000000-0x2fffffff@0x0",
    "0x20000000-0x2fffffff@0x20000000",
    "0x20000000-0x2fffffff@0xc0000000",
];
const SHOWN: std::ops::Range<u64> = 0x2000_0000..0x3000_0000;

fn expect_in_window(bench: &Bench, of: &str) {
    for piece in pieces(bench) {
        let is_shown = SHOWN.start <= piece.start && piece.end <= SHOWN.end;
        assert!(is_shown, "{of}: {piece:#x?}");
    }
}

/// The camera's picture is intact, and no page is below the display's window. The display accepts scattered
/// pages.
#[test]
fn pages_lie_in_the_device_window() {
    for window in WINDOWS {
        let display = format!("display,size=64x48,alloc=sg,contiguous=on,window={window}");
        let mut bench = Bench::new("pc", &["camera,sizes=64x48,place=lazy", &display]);
        let (camera, display) = (bench.open(0), bench.open(1));
        let (fd, used) = drawn(&mut bench, camera);
        bench.reqbufs(display, OUTPUT, DMABUF, 1);
        bench
            .show(display, fd, used)
            .unwrap_or_else(|e| panic!("{window}: errno {e}"));
        bench.stream(display, OUTPUT, true);
        bench.dequeue(display, OUTPUT, DMABUF);
        assert!(pieces(&bench).len() > 1, "{window}: pages lie apart");
        expect_in_window(&bench, window);
        let report = bench.run.report();
        assert!(
            report.refusals.is_empty(),
            "{window}: {:?}",
            report.refusals
        );
        assert_eq!(report.total(|q| q.bytes_copied), 0, "{window}");
    }
}

#[test]
fn own_buffers_lie_in_the_device_window() {
    for window in WINDOWS {
        let spec = format!("camera,sizes=64x48,place=lazy,window={window}");
        let mut bench = Bench::new("soc-cma", &[&spec]);
        let camera = bench.open(0);
        assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
        let fd = bench.export(camera, CAPTURE, 0);
        queue(&mut bench, camera, 0).unwrap_or_else(|e| panic!("{window}: errno {e}"));
        assert_eq!(pieces(&bench).len(), 1, "{window}: one run");
        expect_in_window(&bench, window);
        bench.stream(camera, CAPTURE, true);
        bench.dequeue(camera, CAPTURE, MMAP);
        let mut drawn = [0; 64];
        let fd = bench.program.borrow_fd(fd).unwrap();
        rustix::io::pread(&fd, &mut drawn, 0).unwrap();
        assert_ne!(drawn, [0; 64], "{window}: by its own address");
    }
}

fn two_buffers(bench: &mut Bench, camera: FileId) -> Result<i64, i32> {
    let (count, kind, memory) = (
        offset_of!(v4l2_requestbuffers, count),
        offset_of!(v4l2_requestbuffers, type_),
        offset_of!(v4l2_requestbuffers, memory),
    );
    let fields = [(count, 2), (kind, CAPTURE), (memory, MMAP)];
    let mut arg = Arg::new(size_of::<v4l2_requestbuffers>(), &fields);
    bench.try_ioctl(camera, VIDIOC_REQBUFS, &mut arg)
}

/// A buffer is longer than any contiguous allocation of a machine without a contiguous area.
#[test]
fn machine_without_cma_names_its_longest_run() {
    let text = "name = \"test\"\nram = \"64MiB\"\ndma_mask = 32\ncoherent = true\n";
    let profile = Profile::parse(text).unwrap();
    let longest = profile.max_ordinary_run();
    let camera = "camera,size=2560x1440,format=YUYV,place=lazy";
    let mut bench = Bench {
        run: Run::new(profile, &[camera.parse().unwrap()], 1).unwrap(),
        program: Local::new(),
    };
    let camera = bench.open(0);
    assert_eq!(two_buffers(&mut bench, camera), Err(ENOMEM));
    let report = bench.run.report();
    let refused = report.refusals.last().expect("a refusal");
    let seen = (&*refused.constraint, refused.wanted, refused.found);
    assert_eq!(seen, ("contiguous", 2560 * 1440 * 2, longest));
}

/// If a device's bus shows only memory on the chip, the device's buffers are placed there. A device that
/// needs struct pages is refused instead.
#[test]
fn pages_only_device_avoids_pageless_memory() {
    let chip = "ocram = { size = \"1MiB\", pages = false }";
    let spec = "camera,sizes=64x48,place=lazy,window=0xc0000000-0xc00fffff@0x0";
    let bench_of = |spec: &str| bench("soc-cma", chip, &[spec]);
    let mut suits = bench_of(spec);
    let camera = suits.open(0);
    assert_eq!(suits.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    queue(&mut suits, camera, 0).unwrap();
    assert_eq!(pieces(&suits)[0].start, 0xc000_0000);

    let mut refuses = bench_of(&format!("{spec},pages=on"));
    let camera = refuses.open(0);
    assert_eq!(two_buffers(&mut refuses, camera), Err(ENOMEM));
}
