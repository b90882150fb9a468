//! Programs that attack the devices of a run. Each delays only itself: the camera of another program, in the same run,
//! gets what a camera gets in a run that is not attacked, beside the same load.

use crate::common::{Run, compiled};
use crate::stalls::{Elsewhere, find_captured, watching};
use crate::streams::encoded;

/// Frames that the camera beside an attack may lose beyond those that the camera of another run loses.
const MAX_MORE_LOST: u32 = 2;
/// One period at 60 frames per second, in milliseconds: the camera's longest gap may be longer by this.
const PERIOD_MS: u32 = 17;
/// The limits are exceeded only if each of this many attempts exceeds them, since other load does not meet both
/// cameras alike.
const ATTEMPTS: usize = 3;

/// The devices that an attack needs, from /dev/video1 on, and shell commands with `$hostile` as the attacker.
struct Attack {
    devices: &'static [&'static str],
    commands: &'static str,
    /// Time for which the attack itself stops `vb3`, in milliseconds.
    stops_ms: u32,
}

const fn attack(devices: &'static [&'static str], commands: &'static str) -> Attack {
    Attack {
        devices,
        commands,
        stops_ms: 0,
    }
}

const LARGE: &str = "camera=pattern,sizes=3840x2160,format=YUYV,fps=30";

/// Runs an attack beside a camera. Returns the two cameras' results as text, and whether they are about equal. `None`
/// if the attack is not possible here.
fn attempt(attack: &Attack, prepare: &dyn Fn(&Run)) -> Option<(String, bool)> {
    let (stalls, hostile) = (compiled("stalls.c")?, compiled("hostile.c")?);
    let run = Run::on("pc").real_time("a frame is lost if an attack delays its camera");
    let run = run.device("camera=pattern,fps=60");
    let run = (attack.devices.iter()).fold(run, |run, device| run.device(*device));
    prepare(&run);
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
    let said = format!(
        "{lost} of {frames} lost, longest gap {gap} ms; elsewhere {usually_lost}, {usual_gap} ms: {}",
        outcome.stdout
    );
    println!("{said}");
    let longest = usual_gap + PERIOD_MS + attack.stops_ms;
    Some((said, lost <= usually_lost + MAX_MORE_LOST && gap <= longest))
}

fn delays_no_other(attack: &Attack) {
    delays_no_other_with(attack, &|_| ());
}

fn delays_no_other_with(attack: &Attack, prepare: &dyn Fn(&Run)) {
    let mut seen = String::new();
    for _ in 0..ATTEMPTS {
        let Some((said, is_like)) = attempt(attack, prepare) else {
            return;
        };
        if is_like {
            return;
        }
        seen += &said;
    }
    panic!("{seen}");
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
    requests_of_32_buffers_of_4k: attack(&[LARGE], "$hostile request 32");
    heap_of_512_mib: attack(&["camera"], "$hostile heap 512");
    heap_of_1_gib: attack(&["camera"], "$hostile heap 1024");
    /// The kernel installs a descriptor while the program waits for a processor.
    copies_at_low_priority: attack(&["camera"], "$hostile copy 12");
    exports_at_low_priority: attack(&["camera"], "$hostile export 12");
    flipped_pictures_of_4k: attack(&[LARGE], "$hostile stream 1");
    loopback_of_4k: attack(&["loopback"], "$hostile loopback");
    eight_inputs_of_20_mib: attack(&["h264dec"], "$hostile input");
    polls_of_64_files: attack(&["camera"], "$hostile poll /proc/self/exe 64 4");
    polls_by_48_threads: attack(&["camera"], "$hostile poll /dev/null 60 48");
    three_hundred_programs_that_sleep: attack(&["camera"], "$hostile sleepers 300");
    /// Buffers that are queued meanwhile get the frames that were due.
    stops_of_50_ms: Attack {
        stops_ms: 50,
        ..attack(&["camera"], "$hostile stop $vb3")
    };
}

/// The codec's process gets no processor, and its client is killed.
#[test]
fn codec_without_a_processor() {
    let Some(stream) = encoded("1280x720", 600, "bframes=0") else {
        return;
    };
    if crate::common::lacks("gst-launch-1.0") {
        return;
    }
    let attack = attack(
        &["h264dec"],
        "$hostile burn 4 & burn=$!
        for round in 1 2 3; do
            gst-launch-1.0 -q filesrc location=stream.h264 ! h264parse ! v4l2h264dec ! fakesink & client=$!
            found=; until [ \"$found\" ]; do for process in $(cat /proc/$vb3/task/*/children); do
                grep -q memfd:vb3-codec /proc/$process/maps && renice -n 19 -p $process >/dev/null && found=1
            done; done
            head -c 30 <&9 >/dev/null
            kill -9 $client; wait $client
        done
        kill $burn",
    );
    delays_no_other_with(&attack, &|run| {
        std::fs::write(run.file("stream.h264"), &stream).unwrap();
    });
}
