//! Programs that attack the devices of a run. Each delays only itself: the camera of another program, in the same run,
//! gets what a camera gets in a run that is not attacked, beside the same load.
//!
//! The camera is first compared with the camera of an idle run. While other programs keep all processors busy, the
//! kernel lets a supervisor that computes all the time wait longer for a processor than one that mostly sleeps. Then
//! any program that makes many calls costs the camera frames. So a camera that loses more frames than that of the idle
//! run is then compared with the camera of a run whose program makes harmless calls all the time. Without other load, a
//! camera loses nothing beside such calls (`calls_that_end_at_once`).

use crate::common::{Run, compiled};
use crate::stalls::{Elsewhere, find_captured, watching};
use crate::streams::encoded;

/// Frames that the camera beside an attack may lose beyond those that the camera of another run loses.
const MAX_MORE_LOST: u32 = 2;
/// One period at 60 frames per second, in milliseconds: the camera's longest gap may be longer by this.
const PERIOD_MS: u32 = 17;
/// A test fails only if each of this many attempts exceeds the limits, because other load of the machine does not
/// affect all cameras equally.
const ATTEMPTS: usize = 5;

/// The devices that an attack needs, from /dev/video1 on, and shell commands with `$hostile` as the attacker.
struct Attack {
    devices: &'static [&'static str],
    commands: &'static str,
    /// Size of the pictures in the file `stream.h264`, if the attack needs one.
    stream: Option<&'static str>,
    /// Time for which the attack itself stops `vb3`, in milliseconds.
    stops_ms: u32,
}

const fn attack(devices: &'static [&'static str], commands: &'static str) -> Attack {
    Attack {
        devices,
        commands,
        stream: None,
        stops_ms: 0,
    }
}

const LARGE: &str = "camera=pattern,sizes=3840x2160,format=YUYV,fps=30";

const HARMLESS: Attack = attack(&["camera"], "$hostile ask 48");

/// What a camera lost, and its longest gap in milliseconds.
type Lost = [u32; 2];

/// Runs an attack beside a camera, and a camera in an idle run. Returns what both lost. `None` if the attack is not
/// possible here.
fn attempt(attack: &Attack) -> Option<[Lost; 2]> {
    let (stalls, hostile) = (compiled("stalls.c")?, compiled("hostile.c")?);
    let run = Run::on("pc").real_time("a frame is lost if an attack delays its camera");
    let run = run.device("camera=pattern,fps=60");
    let run = (attack.devices.iter()).fold(run, |run, device| run.device(*device));
    if let Some(size) = attack.stream {
        std::fs::write(run.file("stream.h264"), encoded(size, 100, "bframes=0")?).unwrap();
    }
    let script = format!(
        "{watching} vb3=$PPID; hostile={hostile}; {commands}
        ended=$?; kill $watch; wait $watch && exit $ended",
        watching = watching(&stalls),
        hostile = hostile.display(),
        commands = attack.commands,
    );
    let elsewhere = Elsewhere::start(&stalls);
    let outcome = run.program(["sh", "-c", &script]).run();
    let [_, usually_lost, usual_gap] = elsewhere.end();
    outcome.expect_success();
    let [frames, lost, gap] = find_captured(&outcome.stdout);
    println!(
        "{}: {lost} of {frames} lost, longest gap {gap} ms; in an idle run {usually_lost}, {usual_gap} ms",
        attack.commands
    );
    Some([[lost, gap], [usually_lost, usual_gap]])
}

fn delays_no_other(attack: &Attack) {
    // The most that a camera has lost without an attack, and its longest gap.
    let mut usual = [0; 2];
    let mut was_calm = false;
    for _ in 0..ATTEMPTS {
        let Some([attacked, idle]) = attempt(attack) else {
            return;
        };
        let mut is_like = |other: Lost| {
            usual = [0, 1].map(|at| usual[at].max(other[at]));
            attacked[0] <= usual[0] + MAX_MORE_LOST
                && attacked[1] <= usual[1] + PERIOD_MS + attack.stops_ms
        };
        if is_like(idle) || attempt(&HARMLESS).is_some_and(|[harmless, _]| is_like(harmless)) {
            return;
        }
        was_calm |= idle[0] <= MAX_MORE_LOST && idle[1] <= 2 * PERIOD_MS;
    }
    assert!(!was_calm, "more than without an attack, {ATTEMPTS} times");
    vb3_skip::skip("other load of the machine delays cameras beside this attack, and in idle runs");
}

/// Makes a test of each attack.
macro_rules! attacks {
    ($($(#[$about:meta])* $name:ident: $attack:expr;)*) => {$(
        $(#[$about])*
        #[test]
        fn $name() {
            delays_no_other(&$attack);
        }
    )*};
}

attacks! {
    /// The kernel holds the lock of the program's memory map for most of the time.
    map_that_always_changes: attack(&["camera=pattern"], "$hostile protect 2");
    program_that_always_forks: attack(&["camera=pattern"], "$hostile fork");
    heap_of_512_mib: attack(&["camera"], "$hostile heap 512");
    heap_of_1_gib: attack(&["camera"], "$hostile heap 1024");
    buffers_of_4k_requested: attack(&[LARGE], "$hostile request");
    buffers_of_4k_created: attack(&[LARGE], "$hostile create");
    /// A device reads a buffer of 20 MiB in pieces, and the other seven later.
    input_of_160_mib: attack(&["h264dec"], "$hostile input");
    /// The kernel installs a descriptor while the program waits for a processor.
    copies_at_low_priority: attack(&["camera"], "$hostile copy 12");
    exports_at_low_priority: attack(&["camera"], "$hostile export 12");
    flipped_pictures_of_4k: attack(&[LARGE], "$hostile stream 1");
    loopback_of_4k: attack(&["loopback"], "$hostile loopback");
    /// The codec's process writes to a picture's buffer for long, because it gets no processor time.
    codec_at_low_priority: Attack {
        stream: Some("1920x1080"),
        ..attack(&["h264dec"], "$hostile codec stream.h264 $vb3")
    };
    programs_that_start: attack(&["camera"], "$hostile start 300");
    polls_by_48_threads: attack(&["camera"], "$hostile poll /proc/self/exe 60 48");
    calls_that_end_at_once: HARMLESS;
    polls_of_64_files: attack(&["camera"], "$hostile poll /proc/self/exe 64 2");
    /// Buffers that are queued at the end of a stop get the frames that came due during the stop.
    stops_of_50_ms: Attack {
        stops_ms: 50,
        ..attack(&["camera"], "$hostile stop $vb3")
    };
}
