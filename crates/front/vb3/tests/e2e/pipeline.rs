//! Decoder, converter and display in one pipeline. Frames go by dma-buf without a copy; if devices
//! cannot share memory, the refusal explains why.

use crate::common::{Run, RunOutput, compiled, finish, lacks, lacks_libavcodec};
use crate::streams::{decoded, encode_to, encoded, units};
use crate::surroundings::command;
use std::path::{Path, PathBuf};
use std::process::Command;
use vb3_report::Refusal;

pub(crate) const COUNT: u32 = 30;
const SIZE: (usize, usize) = (160, 120);
pub(crate) const DISPLAY: &str = "display=shown.raw,mplane=on,pace=free,format=NV12,size=160x120";

/// Encodes moving pictures of 320x240 to an MP4 file.
pub(crate) fn encode(file: &Path) -> bool {
    if lacks("ffmpeg") || lacks("gst-launch-1.0") || lacks_libavcodec() {
        return false;
    }
    encode_to(file, "320x240", COUNT, "bframes=0:keyint=10");
    true
}

/// Returns the pictures of a file as the converter scales them.
pub(crate) fn reference(file: &Path) -> Vec<u8> {
    decoded(file, "scale=160:120:flags=bilinear")
}

/// Returns a GStreamer pipeline from a file to a display, every hop by dma-buf.
pub(crate) fn line(file: &str, display: u32) -> String {
    format!(
        "gst-launch-1.0 -q filesrc location={file} ! qtdemux ! h264parse \
         ! v4l2h264dec capture-io-mode=dmabuf \
         ! v4l2convert output-io-mode=dmabuf-import capture-io-mode=dmabuf \
         ! video/x-raw,format=NV12,width={},height={} \
         ! v4l2sink device=/dev/video{display} io-mode=dmabuf-import sync=false \
         show-preroll-frame=false",
        SIZE.0, SIZE.1
    )
}

/// Returns a pipeline that must fail. Before GStreamer's decoder stops its own task after an error, it wakes
/// the thread that feeds it. If that thread runs in between, it takes the error for a flush, no element
/// reports the error, and gst-launch-1.0 waits for ever.
pub(crate) fn failing(line: &str) -> String {
    format!("timeout 60 {line}")
}

fn run(machine: &str, decoder: &str, converter: &str) -> Option<(RunOutput, PathBuf)> {
    let run = Run::on(machine)
        .device(format!("h264dec{decoder}"))
        .device(format!("convert{converter}"))
        .device(DISPLAY);
    let file = run.file("clip.mp4");
    if !encode(&file) {
        return None;
    }
    Some((run.program(["sh", "-c", &line("clip.mp4", 2)]).run(), file))
}

/// Asserts that all pictures of the file were shown, scaled and in order.
pub(crate) fn expect_pictures(shown: &[u8], wanted: &[u8]) {
    let bytes = SIZE.0 * SIZE.1 * 3 / 2;
    assert_eq!(wanted.len(), bytes * COUNT as usize);
    assert_eq!(
        shown.len(),
        wanted.len(),
        "of {} pictures",
        shown.len() / bytes
    );
    let pictures = shown.chunks_exact(bytes).zip(wanted.chunks_exact(bytes));
    for (number, (shown, wanted)) in pictures.enumerate() {
        // Two scalers round differently; a wrong picture differs much more.
        let off = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b));
        let sum: u64 = shown.iter().zip(wanted).map(off).sum();
        let most = shown.iter().zip(wanted).map(off).max();
        assert!(
            sum < bytes as u64 && most < Some(16),
            "picture {number}: {sum}, {most:?}"
        );
    }
}

fn no_copy_on_any_machine(machines: &[&str]) {
    for &machine in machines {
        let Some((outcome, file)) = run(machine, "", "") else {
            return;
        };
        outcome.expect_success();
        expect_pictures(&outcome.read("shown.raw"), &reference(&file));
        let report = &outcome.report;
        assert_eq!(report.total(|q| q.bytes_copied), 0, "{machine}");
        assert_eq!(report.total(|q| q.bytes_bounced), 0, "{machine}");
        outcome.expect_no_refusal_or_missing_sync(machine);
        let memory = |node: &str, queue: &str| {
            let queues = &outcome.device(node).queues;
            let queue = queues.iter().find(|q| q.queue.contains(queue)).unwrap();
            (queue.memory.clone(), queue.frames)
        };
        let all = u64::from(COUNT);
        assert_eq!(
            memory("/dev/video1", "output"),
            ("dmabuf".to_owned(), all),
            "{machine}"
        );
        assert_eq!(
            memory("/dev/video2", "output"),
            ("dmabuf".to_owned(), all),
            "{machine}"
        );
    }
}

/// Two devices that cannot share memory on a machine, and the expected explanation.
pub(crate) struct Conflict {
    pub(crate) machine: &'static str,
    pub(crate) converter: &'static str,
    pub(crate) display: &'static str,
    pub(crate) device: &'static str,
    pub(crate) constraint: &'static str,
    /// Parts of the expected sentence and of the advice.
    pub(crate) said: [&'static str; 2],
    /// The expected remedy: the heap and the device whose memory suits both; or the demand that excludes all
    /// memory, and the value that would suffice.
    pub(crate) remedy: Remedy,
}

#[derive(Clone, Copy)]
pub(crate) enum Remedy {
    Found {
        heap: &'static str,
        exporter: &'static str,
    },
    Excluded {
        by: &'static str,
        constraint: &'static str,
        /// An option that lets the device share.
        enough: fn(u64) -> String,
    },
}

pub(crate) const CONFLICTS: [Conflict; 6] = [
    // The decoder's IOMMU lets its pages lie anywhere; the converter has no IOMMU.
    Conflict {
        machine: "soc-noncoherent",
        converter: ",contiguous=on",
        display: "",
        device: "/dev/video1",
        constraint: "contiguous",
        said: [
            "in one run of addresses",
            "allocate from heap default_cma_region",
        ],
        remedy: Remedy::Found {
            heap: "default_cma_region",
            exporter: "/dev/video1",
        },
    },
    // The display does not reach the converter's memory.
    Conflict {
        machine: "soc-cma",
        converter: "",
        display: ",mask=20",
        device: "/dev/video2",
        constraint: "dma-mask",
        said: [
            "the device only up to 0xfffff",
            "no memory of this machine suits",
        ],
        remedy: Remedy::Excluded {
            by: "display (/dev/video2)",
            constraint: "dma-mask",
            enough: |mask| format!(",mask={mask:#x}"),
        },
    },
    // The IOMMU makes one run of the converter's pages, longer than the display accepts.
    Conflict {
        machine: COMPATIBLE,
        converter: "",
        display: ",max-segment=16KiB",
        device: "/dev/video2",
        constraint: "max-segment",
        said: ["run of 20 KiB is needed", "raise max-segment of the device"],
        remedy: Remedy::Excluded {
            by: "display (/dev/video2)",
            constraint: "max-segment",
            enough: |bytes| format!(",max-segment={bytes}"),
        },
    },
    // Without the IOMMU, the pages stay scattered.
    Conflict {
        machine: "pc",
        converter: "",
        display: ",contiguous=on,max-segment=64KiB",
        device: "/dev/video2",
        constraint: "contiguous",
        said: ["the memory gives 4 KiB", "let /dev/video2 allocate"],
        remedy: Remedy::Found {
            heap: "",
            exporter: "/dev/video2",
        },
    },
    // A buffer larger than the boundary crosses it everywhere.
    Conflict {
        machine: "soc-iommu",
        converter: "",
        display: ",boundary=16KiB",
        device: "/dev/video2",
        constraint: "boundary",
        said: ["cross a multiple of 16 KiB", "widen the boundary"],
        remedy: Remedy::Excluded {
            by: "display (/dev/video2)",
            constraint: "boundary",
            enough: |mask| format!(",boundary={}", mask + 1),
        },
    },
    // The converter's memory cannot move.
    Conflict {
        machine: "soc-cma",
        converter: "",
        display: ",align=4MiB",
        device: "/dev/video2",
        constraint: "alignment",
        said: [
            "an alignment of 4 MiB is needed",
            "let /dev/video2 allocate",
        ],
        remedy: Remedy::Found {
            heap: "",
            exporter: "/dev/video2",
        },
    },
];

/// File of a machine whose devices get the segments that Linux would give them.
const COMPATIBLE: &str = "compatible.toml";

pub(crate) fn on(machine: &str) -> Run {
    let run = Run::on(machine);
    if machine == COMPATIBLE {
        let profile = include_str!("../../../../simulation/machine/profiles/soc-iommu.toml");
        let profile = format!("{profile}\nsegments = \"compatible\"\n");
        std::fs::write(run.file(machine), profile).unwrap();
    }
    run
}

/// An IOMMU chooses addresses that meet the display's constraints.
#[test]
#[ignore = "full: further machines"]
fn constraints_are_met_where_they_can_be() {
    let needs = ",align=1MiB,max-segment=32KiB,boundary=32KiB";
    for machine in ["pc", COMPATIBLE] {
        let run = on(machine)
            .device("h264dec,align=64KiB")
            .device("convert,align=8KiB,boundary=64MiB,stride=32")
            .device(format!("{DISPLAY}{needs}"));
        let file = run.file("clip.mp4");
        if !encode(&file) {
            return;
        }
        let outcome = run.program(["sh", "-c", &line("clip.mp4", 2)]).run();
        outcome.expect_success();
        let wanted = reference(&file);
        expect_pictures(&outcome.read("shown.raw"), &wanted);
        assert_eq!(outcome.report.total(|q| q.bytes_copied), 0, "{machine}");
        let refused = &outcome.report.refusals;
        assert!(refused.is_empty(), "{machine}: {refused:?}");
    }
}

fn refused_sharing_is_explained_once(conflicts: &[Conflict]) {
    for conflict in conflicts {
        let line = failing(&line("clip.mp4", 2));
        let Some(outcome) = conflict.run(&line, conflict.converter, conflict.display) else {
            return;
        };
        outcome.expect_nothing_held();
        assert_ne!(outcome.status, 0, "{}", conflict.constraint);
        let [refusal] = &outcome.report.refusals[..] else {
            panic!("{}: {:?}", conflict.constraint, outcome.report.refusals)
        };
        assert_eq!(refusal.device, conflict.device, "{refusal:?}");
        assert_eq!(refusal.constraint, conflict.constraint, "{refusal:?}");
        assert_eq!(
            (refusal.call.as_str(), refusal.times),
            ("QBUF", 1),
            "{refusal:?}"
        );
        assert!(refusal.found < refusal.wanted, "{refusal:?}");
        assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
        expect_sentence(&outcome, conflict);
        conflict.expect_remedy_helps(refusal);
    }
}

impl Conflict {
    /// Runs a pipeline on the machine, with options for converter and display.
    fn run(&self, line: &str, converter: &str, display: &str) -> Option<RunOutput> {
        self.run_with("h264dec", line, converter, display)
    }

    /// Runs a pipeline with another decoder, as [`run`](Self::run).
    pub(crate) fn run_with(
        &self,
        decoder: &str,
        line: &str,
        converter: &str,
        display: &str,
    ) -> Option<RunOutput> {
        let run = on(self.machine)
            .device(decoder)
            .device(format!("convert{converter}"))
            .device(format!("{DISPLAY}{display}"));
        if !encode(&run.file("clip.mp4")) {
            return None;
        }
        Some(run.program(["sh", "-c", line]).run())
    }

    /// Applies the report's remedy: the same devices then share without a copy.
    fn expect_remedy_helps(&self, refusal: &Refusal) {
        let found = refusal.remedy.as_ref().expect("a remedy");
        let names: Vec<&str> = found.devices.iter().map(String::as_str).collect();
        let (first, second, options) = match self.device {
            "/dev/video1" => ("h264dec (/dev/video0)", "convert (/dev/video1)", 1),
            _ => ("convert (/dev/video1)", "display (/dev/video2)", 2),
        };
        assert_eq!(names, [first, second]);
        let outcome = match self.remedy {
            Remedy::Found { heap, exporter } => {
                assert_eq!(
                    (&*found.heap, &*found.exporter),
                    (heap, exporter),
                    "{found:?}"
                );
                assert!(found.conflict.is_empty(), "{found:?}");
                let line = line("clip.mp4", 2);
                let line = if exporter == "/dev/video1" {
                    line.replace(
                        "v4l2h264dec capture-io-mode=dmabuf",
                        "v4l2h264dec capture-io-mode=dmabuf-import",
                    )
                    .replace("output-io-mode=dmabuf-import", "output-io-mode=dmabuf")
                } else {
                    line.replace(
                        "dmabuf-import capture-io-mode=dmabuf",
                        "dmabuf-import capture-io-mode=dmabuf-import",
                    )
                    .replace("video2 io-mode=dmabuf-import", "video2 io-mode=dmabuf")
                };
                self.run(&line, self.converter, self.display)
            }
            Remedy::Excluded {
                by,
                constraint,
                enough,
            } => {
                assert!(!found.is_found(), "{found:?}");
                let [demand] = &found.conflict[..] else {
                    panic!("{found:?}")
                };
                assert_eq!((&*demand.device, &*demand.constraint), (by, constraint));
                let option = enough(demand.enough.expect("what would be enough"));
                match options {
                    1 => self.run(&line("clip.mp4", 2), &option, self.display),
                    _ => self.run(&line("clip.mp4", 2), self.converter, &option),
                }
            }
        };
        let outcome = outcome.expect("the programs that the first run had");
        let refused = &outcome.report.refusals;
        assert!(refused.is_empty(), "{}: {refused:?}", self.constraint);
        outcome.expect_success();
        assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
    }
}

fn expect_sentence(outcome: &RunOutput, conflict: &Conflict) {
    let stdout = outcome.why();
    let told = stdout
        .lines()
        .filter(|line| line.contains("failed with"))
        .count();
    assert_eq!(told, 1, "{stdout}");
    for part in conflict.said.iter().chain([&conflict.device]) {
        assert!(stdout.contains(part), "{part} is missing in:\n{stdout}");
    }
}

#[test]
#[ignore = "full: takes minutes"]
fn eight_pipelines_at_once() {
    let mut run = Run::on("soc-noncoherent")
        .device("h264dec")
        .device("convert");
    let file = run.file("clip.mp4");
    if !encode(&file) {
        return;
    }
    let mut script = String::new();
    for number in 0..8 {
        run = run.device(DISPLAY.replace("shown", &format!("shown{number}")));
        script += &format!("{} & p{number}=$!\n", line("clip.mp4", number + 2));
    }
    for number in 0..8 {
        script += &format!("wait $p{number} || exit 1\n");
    }
    let outcome = run.program(["sh", "-c", &script]).run();
    outcome.expect_success();
    let wanted = reference(&file);
    for number in 0..8 {
        expect_pictures(&outcome.read(&format!("shown{number}.raw")), &wanted);
    }
    assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
    assert!(
        outcome.report.refusals.is_empty(),
        "{:?}",
        outcome.report.refusals
    );
}

/// Waits until the supervisor has no child: no codec process, and no helper of a killed program.
const ALONE: &str = "
left() {
    for child in $(cat /proc/$PPID/task/*/children); do
        # vb3-guard waits for the run itself.
        [ $child = $$ ] || cat /proc/$child/comm 2> /dev/null
    done | grep -v vb3-guard
}
i=0
while [ -n \"$(left)\" ]; do
    i=$((i + 1))
    [ $i -lt 600 ] || { echo \"left: $(left)\"; exit 9; }
    sleep 0.1
done
";

#[test]
#[ignore = "full: takes minutes"]
fn killed_at_100_random_moments_beside_another() {
    let (Some(killer), Some(decode)) = (compiled("killer.c"), compiled("decode.c")) else {
        return;
    };
    let run = Run::on("soc-noncoherent")
        .device("h264dec")
        .device("convert")
        .device(DISPLAY)
        .device("display=null,mplane=on,pace=free");
    let file = run.file("clip.mp4");
    if !encode(&file) {
        return;
    }
    // The program is killed before it has decoded the whole stream.
    let stream = encoded("320x240", 40, "bframes=0:keyint=10").unwrap();
    let first = units(&stream)[0].len();
    let rest = stream.len() - first;
    let round = format!("feed {rest}\njump 0 1\nfeed {first}\n");
    let commands = format!("feed {first}\nready\n{}", round.repeat(1000));
    std::fs::write(run.file("commands"), commands).unwrap();
    std::fs::write(run.file("clip.h264"), &stream).unwrap();
    let (killer, decode) = (killer.display(), decode.display());
    let script = format!(
        "({killer} 75:60 3 {decode} NV12 clip.h264 /dev/null commands > killed &&
            {killer} 25:400 4 {} >> killed; touch done) &
         while [ ! -e done ]; do {} || exit 3; done
         wait
         {ALONE}",
        // At its own pace, so that it does not end by itself.
        line("clip.mp4", 3).replace("sync=false", "sync=true"),
        line("clip.mp4", 2),
    );
    let outcome = run.program(["sh", "-c", &script]).run();
    outcome.expect_success();
    let killed = outcome.read("killed");
    assert_eq!(
        String::from_utf8_lossy(&killed),
        "killed 75\nkilled 25\n",
        "{}",
        outcome.stderr
    );
    let wanted = reference(&file);
    let shown = outcome.read("shown.raw");
    assert!(!shown.is_empty() && shown.len().is_multiple_of(wanted.len()));
    for shown in shown.chunks_exact(wanted.len()) {
        expect_pictures(shown, &wanted);
    }
}

#[test]
fn killed_codec_is_reported_and_the_next_one_works() {
    let run = Run::on("soc-noncoherent")
        .device("h264dec")
        .device("convert")
        .device(DISPLAY)
        .device("display=null,mplane=on,pace=free");
    let file = run.file("clip.mp4");
    if !encode(&file) {
        return;
    }
    // A kill that comes after the last picture is no failure, and is repeated.
    let script = format!(
        "while :; do
             {} & p=$!
             codec=
             while [ -z \"$codec\" ] && kill -0 $p; do
                 for child in $(cat /proc/$PPID/task/*/children); do
                     ! grep -qz -e '^codec$' -e 'vb3-codec$' /proc/$child/cmdline || codec=$child
                 done
             done
             [ -z \"$codec\" ] || kill -9 $codec
             wait $p || break
         done
         {} || exit 3
         {ALONE}",
        // At its own pace, so that the codec lives for a while.
        line("clip.mp4", 3).replace("sync=false", "sync=true"),
        line("clip.mp4", 2),
    );
    let outcome = run.program(["sh", "-c", &script]).run();
    outcome.expect_success();
    expect_pictures(&outcome.read("shown.raw"), &reference(&file));
    let [failure] = &outcome.report.failures[..] else {
        panic!("{:?}", outcome.report.failures)
    };
    assert!(failure.device == "/dev/video0" && failure.times >= 1);
    assert!(failure.sentence.contains("signal 9"), "{failure:?}");
    let said = format!("vb3: /dev/video0: {}", failure.sentence);
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
}

/// GStreamer's description of an element, inside and outside a run.
struct Inspect {
    dir: tempfile::TempDir,
}

impl Inspect {
    fn command(&self, program: &str) -> Command {
        let mut command = command(program, self.dir.path());
        command.env_remove("GST_REGISTRY");
        command
    }

    fn elements(&self, command: &mut Command) -> Vec<String> {
        let (status, stdout, stderr) = finish(command, self.dir.path());
        assert_eq!(status, 0, "{stderr}");
        let names = stdout
            .lines()
            .filter_map(|line| line.trim().split_once(": V4L2 "));
        names.map(|(name, _)| name.to_owned()).collect()
    }

    fn outside(&self) -> Vec<String> {
        self.elements(self.command("gst-inspect-1.0").arg("video4linux2"))
    }

    fn inside(&self, devices: &[&str]) -> Vec<String> {
        let mut command = self.command(env!("CARGO_BIN_EXE_vb3"));
        command.arg("run");
        for device in devices {
            command.args(["--device", device]);
        }
        self.elements(command.args(["--", "gst-inspect-1.0", "video4linux2"]))
    }
}

#[test]
#[ignore = "full: five sets of devices"]
fn elements_are_those_of_the_devices_there_are() {
    if lacks("gst-inspect-1.0") || lacks_libavcodec() {
        return;
    }
    let inspect = Inspect {
        dir: crate::common::tempdir(),
    };
    // The system's own devices. This also fills GStreamer's cache before the run.
    let before = inspect.outside();
    for (devices, elements) in [
        (&["h264dec"][..], &["v4l2h264dec"][..]),
        (&["convert"], &["v4l2convert"]),
        (&["h264dec"], &["v4l2h264dec"]),
        (&["h264dec", "convert"], &["v4l2convert", "v4l2h264dec"]),
        (&["convert", "h264dec"], &["v4l2convert", "v4l2h264dec"]),
    ] {
        let mut found = inspect.inside(devices);
        found.sort_unstable();
        // Runs may use the same names in /dev for other devices.
        assert_eq!(found, elements, "{devices:?}");
    }
    assert_eq!(inspect.outside(), before);
}

crate::common::tiers! {
    refused_sharing_is_explained_once(&CONFLICTS[..2], &CONFLICTS[2..])
}

crate::common::on_machines! {
    no_copy_on_any_machine
}
