//! Lazily placed buffers (`place=lazy`): vb3 places them at their first use and moves them to
//! memory that all sharing devices reach. Devices that cannot share fixed buffers can share these.

use crate::common::{Run, RunOutput};
use crate::pipeline::{CONFLICTS, COUNT, Conflict, DISPLAY, Remedy, encode, expect_pictures};
use crate::pipeline::{failing, line, on, reference};
use vb3_machine::profile::BUILTINS;

/// Runs the devices of a conflict, with `place=lazy` on each exporter.
fn run_lazy(conflict: &Conflict) -> Option<RunOutput> {
    let converter = format!("{},place=lazy", conflict.converter);
    let mut line = line("clip.mp4", 2);
    if matches!(conflict.remedy, Remedy::Excluded { .. }) {
        line = failing(&line);
    }
    conflict.run_with("h264dec,place=lazy", &line, &converter, conflict.display)
}

/// Asserts that all pictures arrived without copies, and that each buffer moved at most once.
fn expect_shared(outcome: &RunOutput, name: &str, moves: bool) {
    let report = &outcome.report;
    assert!(report.refusals.is_empty(), "{name}: {:?}", report.refusals);
    outcome.expect_success();
    let wanted = reference(&outcome.dir.path().join("clip.mp4"));
    expect_pictures(&outcome.read("shown.raw"), &wanted);
    assert_eq!(report.total(|q| q.bytes_copied), 0, "{name}");
    assert_eq!(report.total(|q| q.bytes_bounced), 0, "{name}");
    assert!(report.missing_syncs.is_empty(), "{name}");
    let moved = report.total(|q| q.bytes_moved);
    let allocated = report.total(|q| q.peak_bytes);
    assert_eq!(moved > 0, moves, "{name}");
    assert!(moved <= allocated, "{name}: {moved} of {allocated}");
    println!("{name}: {COUNT} pictures, 0 bytes copied, {moved} bytes moved");
}

#[test]
#[ignore = "full: every conflict"]
fn lazy_placement_solves_refused_sharing() {
    for conflict in &CONFLICTS {
        let Some(outcome) = run_lazy(conflict) else {
            return;
        };
        outcome.expect_nothing_held();
        match conflict.remedy {
            Remedy::Found { .. } => expect_shared(&outcome, conflict.constraint, true),
            // If no memory suits, lazy placement does not help.
            Remedy::Excluded { by, constraint, .. } => {
                let [refusal] = &outcome.report.refusals[..] else {
                    panic!("{constraint}: {:?}", outcome.report.refusals)
                };
                assert_eq!(refusal.constraint, conflict.constraint, "{refusal:?}");
                let remedy = refusal.remedy.as_ref().expect("a remedy");
                let [demand] = &remedy.conflict[..] else {
                    panic!("{remedy:?}")
                };
                assert_eq!((&*demand.device, &*demand.constraint), (by, constraint));
                assert_eq!(outcome.report.total(|q| q.bytes_moved), 0, "{constraint}");
            }
        }
    }
}

/// Two devices of a board, and the reason why they cannot share a fixed buffer.
struct Pair {
    what: &'static str,
    machine: &'static str,
    /// Memory areas that are added to the machine's profile.
    areas: &'static str,
    decoder: &'static str,
    converter: &'static str,
    display: &'static str,
    refused: (&'static str, &'static str),
    /// The sentence of `vb3 why`.
    said: &'static str,
    /// Whether the buffer must move for the second device.
    moves: bool,
}

const PAIRS: [Pair; 8] = [
    // The converter's IOMMU lets its pages lie anywhere; the display accepts a list of pages.
    Pair {
        what: "an engine with 28 address bits",
        machine: "pc",
        areas: "",
        decoder: "",
        converter: "",
        display: ",alloc=sg,contiguous=on,mask=28",
        refused: ("/dev/video2", "dma-mask"),
        said: "the device only up to 0xfffffff",
        moves: true,
    },
    // As with venus: not a power of two.
    Pair {
        what: "a mask of 0xddc00000 - 1",
        machine: "pc",
        areas: "",
        decoder: "",
        converter: "",
        display: ",alloc=sg,contiguous=on,mask=0xddbfffff",
        refused: ("/dev/video2", "dma-mask"),
        said: "the device only up to 0xddbfffff",
        moves: true,
    },
    // The decoder has no IOMMU and needs whole pages; the converter's IOMMU has larger pages.
    // Lazily placed memory always consists of the larger ones.
    Pair {
        what: "an IOMMU with pages of 64 KiB",
        machine: "soc-64k",
        areas: "",
        decoder: ",contiguous=on",
        converter: "",
        display: "",
        refused: ("/dev/video1", "iommu-granule"),
        said: "64 KiB",
        moves: false,
    },
    // The contiguous area lies below the bus's window.
    Pair {
        what: "a window of 256 MiB",
        machine: "soc-cma",
        areas: "",
        decoder: "",
        converter: "",
        display: ",window=0x10000000-0x1fffffff@0x0",
        refused: ("/dev/video2", "bus-window"),
        said: "outside the window of the device's bus",
        moves: true,
    },
    // The chip's memory lies among device addresses, and the engine's bus reaches nothing else.
    Pair {
        what: "SRAM",
        machine: "soc-cma",
        areas: "ocram = { size = \"16MiB\", pages = false }",
        decoder: "",
        converter: "",
        display: ",window=0xc0000000-0xc0ffffff@0x0",
        refused: ("/dev/video2", "bus-window"),
        said: "outside the window of the device's bus",
        moves: true,
    },
    // The buffers must leave the decoder's own memory.
    Pair {
        what: "memory without pages",
        machine: "soc-cma",
        areas: "",
        decoder: ",sram=32MiB",
        converter: ",pages=on",
        display: "",
        refused: ("/dev/video1", "pages"),
        said: "no pages behind it",
        moves: false,
    },
    Pair {
        what: "protected memory",
        machine: "soc-cma",
        areas: "secure = { size = \"16MiB\", protected = true }",
        decoder: "",
        converter: ",protected=on",
        display: ",protected=only",
        refused: ("/dev/video2", "protected"),
        said: "accepts only protected memory",
        moves: true,
    },
    // A display controller maps once and never syncs; the converter writes to the CPU's caches.
    Pair {
        what: "a coherent device beside one that is not",
        machine: "soc-noncoherent",
        areas: "",
        decoder: "",
        converter: ",coherent=on",
        display: ",sync=off",
        refused: ("/dev/video2", "coherent"),
        said: "its driver never syncs",
        moves: true,
    },
];

/// File of the machine's profile, if it is not a shipped one.
const AREAS: &str = "areas.toml";

impl Pair {
    /// Prepares the machine with the devices and a clip.
    fn devices(&self, place: &str) -> Option<Run> {
        let run = match self.areas {
            "" => on(self.machine),
            _ => Run::on(AREAS),
        };
        let known = BUILTINS.iter().find(|(name, _)| *name == self.machine);
        let (_, profile) = known.expect("a profile that ships");
        let profile = format!("{profile}\n[areas]\n{}\n", self.areas);
        std::fs::write(run.file(AREAS), profile).unwrap();
        let run = run
            .device(format!("h264dec{}{place}", self.decoder))
            .device(format!("convert{}{place}", self.converter))
            .device(format!("{DISPLAY}{}", self.display));
        if !encode(&run.file("clip.mp4")) {
            return None;
        }
        Some(run)
    }

    /// Runs the devices until the clip ends.
    fn run(&self, place: &str) -> Option<RunOutput> {
        let line = line("clip.mp4", 2);
        Some(self.devices(place)?.program(["sh", "-c", &line]).run())
    }

    /// Runs the devices, one of which must refuse a buffer.
    fn run_failing(&self, place: &str) -> Option<RunOutput> {
        let line = failing(&line("clip.mp4", 2));
        Some(self.devices(place)?.program(["sh", "-c", &line]).run())
    }
}

#[test]
#[ignore = "full: further boards"]
fn devices_that_boards_have_share() {
    for pair in &PAIRS {
        let Some(fixed) = pair.run_failing("") else {
            return;
        };
        let [refusal] = &fixed.report.refusals[..] else {
            panic!("{}: {:?}", pair.what, fixed.report.refusals)
        };
        let found = (&*refusal.device, &*refusal.constraint);
        assert_eq!(found, pair.refused, "{}: {refusal:?}", pair.what);
        let remedy = refusal.remedy.as_ref().expect("a remedy");
        let exporter = match pair.refused.0 {
            "/dev/video1" => "/dev/video0",
            _ => "/dev/video1",
        };
        assert_eq!(remedy.lazy, exporter, "{}: {refusal:?}", pair.what);
        let told = fixed.why();
        assert!(told.contains(pair.said), "{}: {told}", pair.what);
        let advice = format!("give {exporter} place=lazy");
        assert!(told.contains(&advice), "{}: {told}", pair.what);
        let lazy = pair
            .run(",place=lazy")
            .expect("the programs that the first run had");
        lazy.expect_nothing_held();
        expect_shared(&lazy, pair.what, pair.moves);
    }
}

/// If one device accepts only protected memory and the other has no permission for it, no memory suits both.
/// The refusal names the remedy.
#[test]
fn protected_memory_is_for_devices_that_are_let_in() {
    let known = PAIRS.iter().find(|pair| pair.refused.1 == "protected");
    let pair = Pair {
        converter: "",
        ..*known.expect("a pair")
    };
    let Some(lazy) = pair.run_failing(",place=lazy") else {
        return;
    };
    lazy.expect_nothing_held();
    let [refusal] = &lazy.report.refusals[..] else {
        panic!("{:?}", lazy.report.refusals)
    };
    assert_eq!(
        (&*refusal.device, &*refusal.constraint),
        pair.refused,
        "{refusal:?}"
    );
    let remedy = refusal.remedy.as_ref().expect("a remedy");
    assert!(!remedy.is_found(), "{remedy:?}");
    let demands = remedy.conflict.iter();
    let demands: Vec<_> = demands.map(|d| (&*d.device, &*d.constraint)).collect();
    assert_eq!(
        demands,
        [
            ("display (/dev/video2)", "protected"),
            ("convert (/dev/video1)", "unprotected"),
        ]
    );
    let told = lazy.why();
    assert!(
        told.contains("give every device that writes or reads"),
        "{told}"
    );
}

/// The decoder chooses the length of its lines at S_FMT, before it knows the other devices. The
/// program notices that the converter needs longer lines and stops, although no call was refused.
/// With lazy placement, the decoder's lines suit all devices of the run.
#[test]
fn a_lazy_exporter_has_the_lines_that_others_want() {
    let pair = Pair {
        what: "strides of 64 and of 256",
        machine: "soc-cma",
        areas: "",
        decoder: ",stride=64",
        converter: ",stride=256",
        display: "",
        refused: ("/dev/video1", "stride"),
        said: "needs lines of 512 bytes (stride=256)",
        moves: false,
    };
    let Some(fixed) = pair.run_failing("") else {
        return;
    };
    assert_ne!(fixed.status, 0);
    assert!(fixed.read("shown.raw").is_empty());
    let told = fixed.why();
    assert!(told.contains(pair.said), "{told}");
    assert!(told.contains("give /dev/video0 place=lazy"), "{told}");
    let lazy = pair
        .run(",place=lazy")
        .expect("the programs that the first run had");
    lazy.expect_nothing_held();
    expect_shared(&lazy, pair.what, pair.moves);
}
