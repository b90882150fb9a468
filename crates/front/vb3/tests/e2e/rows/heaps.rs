//! dma-heaps (`/dev/dma_heap`) and udmabuf (`/dev/udmabuf`), as programs see them.
//! The host may have these devices or not.

use crate::common::{Run, compiled, expect_pattern, size_option};
use std::fs::File;
use vb3_v4l2::pixfmt::YUYV;

/// Expected answers of a heap. Source: Linux 6.12 and 7.2.
const ANSWERS: &str = "character device: ok
openat: ok
alloc: ok
close on exec: ok
bytes: 102400
use: ok
rename: ok
many times: ok
read-only, mapped for writing: EACCES
no bytes: EINVAL
all bytes: EINVAL
more bytes: ENOMEM
more than any machine has: ENOMEM
fd given: EINVAL
wrong fd flags: EINVAL
heap flags: EINVAL
no structure: EFAULT
next call: EINVAL
read: EINVAL
mmap: ENODEV
poll: ok
alloc at number 50: ok
";

/// A machine with reserved areas, one of them on the chip.
const AREAS: &str = "areas.toml";

#[test]
fn a_missing_name_is_no_access_error() {
    let names = "/dev/dma_heap/x /dev/v4l/x /run/udev/x /sys/class/video4linux/x";
    let script = format!("for f in {names}; do dd of=$f conv=nocreat </dev/null; done");
    let run = Run::on("pc")
        .device("camera")
        .program(["sh", "-c", &script]);
    let said = run.run().stderr;
    let missing = said.matches("No such file or directory").count();
    assert_eq!(missing, 4, "{said}");
}

#[test]
fn heaps_answer_as_the_kernels_do() {
    let Some(program) = compiled("heap.c") else {
        return;
    };
    for (machine, heap, more, listed) in [
        (
            "soc-cma",
            "system",
            "0x10001000",
            "default_cma_region system",
        ),
        (
            "soc-cma",
            "default_cma_region",
            "0x4100000",
            "default_cma_region system",
        ),
        (
            "soc-64k",
            "system",
            "0x10001000",
            "default_cma_region system",
        ),
        ("pc", "system", "0x10001000", "system"),
        // Each named reserved area is a heap of that name.
        (
            AREAS,
            "vpu",
            "0x801000",
            "cam_buf default_cma_region ocram system vpu",
        ),
        // Memory on the chip, without pages, is a heap, too.
        (
            AREAS,
            "ocram",
            "0x401000",
            "cam_buf default_cma_region ocram system vpu",
        ),
        // Kernels of boards have an older name of the contiguous memory, too.
        (
            "rpi-4",
            "linux,cma",
            "0x4001000",
            "default_cma_region linux,cma system",
        ),
        // A device's own memory is a heap, too.
        (
            "soc-sram",
            "video0-sram",
            "0x2001000",
            "default_cma_region system video0-sram",
        ),
    ] {
        let node = format!("/dev/dma_heap/{heap}");
        let run = Run::on(machine);
        if machine == AREAS {
            let profile = include_str!("../../../../../simulation/machine/profiles/soc-cma.toml");
            let areas = "[areas]\nvpu = \"8MiB\"\ncam_buf = \"1MiB\"\n\
                         ocram = { size = \"4MiB\", pages = false }\n";
            std::fs::write(run.file(machine), format!("{profile}\n{areas}")).unwrap();
        }
        let small = (heap == "system").then_some(["--ram", "256MiB"]);
        let outcome = run
            .device("camera")
            .options(small.into_iter().flatten())
            .program([&program.display().to_string(), &node, more])
            .run();
        outcome.expect_success();
        outcome.expect_nothing_held();
        let told = format!("listed: {listed}\n{ANSWERS}");
        assert_eq!(outcome.stdout, told, "{machine}, {heap}");
    }
}

/// Expected answers of udmabuf. Source: Linux 6.12.
const UDMABUF_ANSWERS: &str = "character device: ok
create: ok
close on exec: ok
bytes: 16384
shares: ok
shares without the memfd: ok
list of one: ok
offset within a page: EINVAL
size within a page: EINVAL
nothing: EINVAL
beyond the end: EINVAL
more than the limit: EINVAL
empty list: EINVAL
long list: EINVAL
no memfd: EBADFD
no descriptor: EBADFD
not sealed: EINVAL
sealed against writing: EINVAL
no structure: EFAULT
other call: ENOTTY
create at number 50: ok
";

#[test]
fn udmabuf_answers_as_the_kernels_does() {
    let Some(program) = compiled("udmabuf.c") else {
        return;
    };
    let has_host_its_own = File::options()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")
        .is_ok();
    let outcome = Run::on("pc")
        .device("camera")
        .program([&program])
        .and(["all"])
        .run();
    outcome.expect_success();
    outcome.expect_nothing_held();
    let (told, failures) = if has_host_its_own {
        ("list of two: ok\nfrom the second page on: ok\n", 0)
    } else {
        ("list of two: ENOMEM\nfrom the second page on: ENOMEM\n", 1)
    };
    assert_eq!(outcome.stdout, format!("{UDMABUF_ANSWERS}{told}"));
    // Each failure says what to do.
    assert_eq!(outcome.report.failures.len(), failures);
    for failure in &outcome.report.failures {
        assert_eq!((&*failure.device, failure.times), ("/dev/udmabuf", 2));
        assert!(
            failure.sentence.contains("use one memfd per buffer"),
            "{failure:?}"
        );
    }
}

/// A program allocates memory for pictures; the camera writes it, and the display reads it.
fn devices_share_heap_and_udmabuf_memory(machines: &[&str]) {
    let Some(program) = compiled("other.c") else {
        return;
    };
    let program = program.display().to_string();
    let shape = "format=YUYV,size=320x240,pace=free";
    for &machine in machines {
        let ways = [("show", [0, 4]), ("pass", [4, 4]), ("many", [0, 12])];
        let kinds = ["heap", "udmabuf"];
        // The IOMMU maps whole pages of 64 KiB, and memfds do not consist of these.
        let kinds = kinds.iter().take(if machine == "soc-64k" { 1 } else { 2 });
        let all = kinds.flat_map(|kind| ways.map(|(way, maps)| (*kind, way, maps)));
        for (kind, way, maps) in all {
            let outcome = Run::on(machine)
                .device(format!("camera=pattern,{shape}"))
                .device(format!("display=shown.raw,{shape}"))
                .program([&program, way, kind, "12", "seen.raw"])
                .run();
            outcome.expect_success();
            outcome.expect_nothing_held();
            let seen = outcome.read("seen.raw");
            assert_eq!(seen.len(), 12 * 320 * 240 * 2, "{machine}, {way}, {kind}");
            assert!(
                seen == outcome.read("shown.raw"),
                "{machine}, {way}, {kind}"
            );
            let report = &outcome.report;
            assert_eq!(
                report.total(|q| q.bytes_copied),
                0,
                "{machine}, {way}, {kind}"
            );
            assert!(
                report.refusals.is_empty(),
                "{machine}: {:?}",
                report.refusals
            );
            let made: Vec<u64> = (report.devices.iter())
                .map(|device| device.queues.iter().map(|queue| queue.maps).sum())
                .collect();
            assert_eq!(made, maps, "{machine}, {way}, {kind}");
        }
    }
}

/// A device without IOMMU refuses scattered pages. The refusal names the heap that suits it and the
/// camera, and the same program works with that heap.
#[test]
fn heap_named_in_a_refusal_works() {
    let Some(program) = compiled("other.c") else {
        return;
    };
    let program = program.display().to_string();
    let shape = "format=YUYV,size=320x240,pace=free";
    let run = |heap: &str| {
        Run::on("soc-noncoherent")
            .device(format!("camera=pattern,{shape}"))
            .device(format!("display=shown.raw,{shape},contiguous=on"))
            .program(["env", &format!("HEAP={heap}"), &program])
            .and(["pass", "heap", "12", "seen.raw"])
            .run()
    };
    let refused = run("/dev/dma_heap/system");
    assert_ne!(refused.status, 0);
    let [refusal] = &refused.report.refusals[..] else {
        panic!("{:?}", refused.report.refusals)
    };
    assert_eq!(
        (&*refusal.device, &*refusal.constraint),
        ("/dev/video1", "contiguous")
    );
    let remedy = refusal.remedy.as_ref().expect("a remedy");
    assert_eq!(
        remedy.devices,
        ["camera (/dev/video0)", "display (/dev/video1)"]
    );
    assert_eq!((remedy.size_bytes, remedy.stride_bytes), (155_648, 640));
    let outcome = run(&format!("/dev/dma_heap/{}", remedy.heap));
    outcome.expect_success();
    assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
    assert!(outcome.read("seen.raw") == outcome.read("shown.raw"));
}

/// Expected answers of a protected heap and its buffers: mmap of an exporter without `mmap` fails
/// with EINVAL.
const PROTECTED_ANSWERS: &str = "alloc: ok
bytes: 155648, of the file 155648
alloc for reading: ok
mmap of it: EINVAL
/dev/video0: ok
/dev/video1: ok
/dev/video2: ok
QBUF at the camera: ok
STREAMON: ok
DQBUF: ok
mmap: EINVAL
private mmap: EINVAL
pread: EINVAL
pwrite: EINVAL
SYNC: ok
a copy shows: nothing
pwrite to it: EPERM
mmap of it: EINVAL
QBUF at a display that may not: EINVAL
QBUF at one that may: ok
STREAMON: ok
DQBUF: ok
";

#[test]
fn protected_heap_is_shared_but_hidden_from_programs() {
    let Some(program) = compiled("protected.c") else {
        return;
    };
    let run = Run::on(AREAS);
    let profile = include_str!("../../../../../simulation/machine/profiles/soc-cma.toml");
    let areas = "[areas]\nsecure = { size = \"1MiB\", protected = true }\n";
    std::fs::write(run.file(AREAS), format!("{profile}\n{areas}")).unwrap();
    let shape = format!("format=YUYV,{},pace=free", size_option());
    let outcome = run
        .device(format!("camera=pattern,{shape},protected=only"))
        .device(format!("display=shown.raw,{shape},protected=only"))
        .device(format!("display=null,{shape}"))
        .program([&program])
        .and(["/dev/dma_heap/secure", "/dev/video0", "/dev/video1"])
        .and(["/dev/video2"])
        .run();
    outcome.expect_success();
    assert_eq!(outcome.stdout, PROTECTED_ANSWERS, "{}", outcome.stderr);
    assert_eq!(expect_pattern(&YUYV, &outcome.read("shown.raw")).len(), 1);
    let report = &outcome.report;
    assert_eq!(report.total(|q| q.bytes_copied), 0);
    let [refusal] = &report.refusals[..] else {
        panic!("{:?}", report.refusals)
    };
    assert_eq!(
        (&*refusal.device, &*refusal.constraint),
        ("/dev/video2", "unprotected")
    );
    let why = outcome.why();
    assert!(
        why.contains("the device may not access protected memory"),
        "{why}"
    );
}

crate::common::tiers! {
    devices_share_heap_and_udmabuf_memory(&["soc-noncoherent", "pc"], &["soc-iommu", "soc-64k"])
}
