//! Programs that are killed, make random calls, or get signals all the time. Nothing hangs, nothing
//! stays held, and the devices still work.
//!
//! Variables set numbers of SIGKILLs, of random calls, of opens and of frames during signals, the seed, and
//! the seconds after which a storm counts as hanging. The figures of docs/evidence.md are from:
//!
//! ```sh
//! VB3_STORM_KILLS=2000 VB3_STORM_CALLS=1000000 VB3_STORM_OPENS=10000000 VB3_STORM_FRAMES=3600 \
//!     VB3_STORM_SEED=1 VB3_STORM_PATIENCE=7200 \
//!     cargo xtask test --test e2e storms:: -- --include-ignored --test-threads=1
//! ```

use crate::common::{
    COMMAND_TIMEOUT, Run, RunOutput, SIZE, compiled, expect_pattern, lacks, size_option,
};
use crate::sensor::lacks_software_isp;
use std::path::Path;
use vb3_v4l2::pixfmt;

/// Returns the number that the variable sets, or the small default.
fn number(variable: &str, small: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(small, |text| text.parse().expect(variable))
}

/// Returns the number to add to seeds.
fn seed() -> u64 {
    number("VB3_STORM_SEED", 0)
}

/// Runs `script` and then a capture of four pictures, in one run of vb3.
fn then_capture(machine: &str, script: &str) -> Option<RunOutput> {
    let capture = compiled("capture.c")?;
    let options = format!("format=YUYV,pace=free,{}", size_option());
    // Only one size, because random calls may leave any format for the capture.
    let (width, height) = SIZE;
    let outcome = Run::on(machine)
        .real_time("calls and frames race")
        .device(format!("camera=pattern,{options},sizes={width}x{height}"))
        .device(format!("display=null,{options}"))
        .patience(number("VB3_STORM_PATIENCE", COMMAND_TIMEOUT.as_secs()))
        .program([
            "sh",
            "-c",
            &format!("{script} && {} mmap 4 frames.raw", capture.display()),
        ])
        .run();
    outcome.expect_success();
    assert_eq!(
        expect_pattern(&pixfmt::YUYV, &outcome.read("frames.raw")),
        [0, 1, 2, 3]
    );
    Some(outcome)
}

fn word(program: &Path) -> String {
    program.display().to_string()
}

#[test]
fn killed_at_random_moments() {
    let (Some(killer), Some(capture)) = (compiled("killer.c"), compiled("capture.c")) else {
        return;
    };
    let times = number("VB3_STORM_KILLS", 200) / 2;
    for (machine, kind) in [("soc-noncoherent", 1), ("pc", 2)] {
        let script = format!(
            "{} {times} {} {} loop 0 /dev/null",
            word(&killer),
            kind + seed(),
            word(&capture)
        );
        let Some(outcome) = then_capture(machine, &script) else {
            return;
        };
        println!("kills on {machine}: {}", outcome.stdout.trim());
        assert!(
            outcome.stdout.contains(&format!("killed {times}")),
            "{}",
            outcome.stdout
        );
    }
}

/// Kills `cam` this many times on a device, then captures. A killed `cam` must hold neither buffers nor the
/// camera's lock.
fn kill_cam(device: &str, size: (u32, u32), times: u64) {
    let Some(killer) = compiled("killer.c") else {
        return;
    };
    let cam = format!("cam -c1 -s width={},height={}", size.0, size.1);
    let script = format!(
        "{} {times}:999 {} {cam} -C >killed.txt && {cam} -C2 && cat killed.txt",
        word(&killer),
        1 + seed()
    );
    let outcome = Run::on("pc")
        .real_time("calls and frames race")
        .device(device)
        .patience(number(
            "VB3_STORM_PATIENCE",
            COMMAND_TIMEOUT.as_secs() + times,
        ))
        .program(["sh", "-c", &script])
        .run();
    outcome.expect_success();
    outcome.expect_nothing_held();
    let said = &outcome.stdout;
    assert!(said.contains("seq: 000001"), "{said}");
    assert!(said.contains(&format!("killed {times}\n")), "{said}");
}

/// Kills `cam` on a webcam, on vimc, and on a sensor if libcamera has a software ISP.
fn kill_cam_on_each_device(times: u64) {
    if lacks("cam") {
        return;
    }
    let webcam = format!("camera=pattern,format=YUYV,{}", size_option());
    kill_cam(&webcam, SIZE, times);
    kill_cam("vimc", (480, 270), times);
    if !lacks_software_isp() {
        kill_cam("sensor=imx219", (632, 480), times);
    }
}

#[test]
fn cam_killed_at_random_moments() {
    kill_cam_on_each_device(number("VB3_STORM_KILLS", 12).min(200) / 2);
}

#[test]
#[ignore = "full: kills cam 200 times on each device"]
fn cam_killed_200_times_on_each_device() {
    kill_cam_on_each_device(200);
}

#[test]
#[ignore = "full: a storm"]
fn ten_thousand_random_ioctls() {
    let Some(random) = compiled("random.c") else {
        return;
    };
    for (machine, kind) in [("soc-noncoherent", 3), ("pc", 1), ("soc-cma", 2)] {
        let seed = kind + seed();
        let script = format!(
            "{0} 10000 {seed} /dev/video0 && {0} 10000 {seed} /dev/video1",
            word(&random)
        );
        let Some(outcome) = then_capture(machine, &script) else {
            return;
        };
        let told = outcome
            .stdout
            .lines()
            .filter(|line| line.starts_with("done "))
            .count();
        assert_eq!(told, 2, "{}", outcome.stdout);
    }
}

#[test]
#[ignore = "full: a storm"]
fn ten_thousand_signals_a_second() {
    let Some(signals) = compiled("signals.c") else {
        return;
    };
    let frames = number("VB3_STORM_FRAMES", 240);
    for mode in ["restart", "interrupt"] {
        let outcome = Run::on("pc")
            .real_time("calls and frames race")
            .device(format!(
                "camera=pattern,format=YUYV,fps=60,{}",
                size_option()
            ))
            .patience(number("VB3_STORM_PATIENCE", COMMAND_TIMEOUT.as_secs()))
            .program([signals.as_os_str()])
            .and([&*frames.to_string(), mode])
            .run();
        println!("signals, {mode}: {}", outcome.stdout.trim());
        outcome.expect_success();
        // The timer fires 10,000 times a second; a signal that is pending already is not counted.
        let words: Vec<u64> = outcome
            .stdout
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        assert!(
            words[0] > 2 * frames,
            "too few signals to show anything: {}",
            outcome.stdout
        );
        if mode == "interrupt" {
            assert!(words[1] > 0, "no call was interrupted: {}", outcome.stdout);
        }
    }
}

#[test]
#[ignore = "full: a storm"]
fn eight_threads_call_at_random_on_shared_fds() {
    let Some(threads) = compiled("threads.c") else {
        return;
    };
    let calls = number("VB3_STORM_CALLS", 20_000);
    for (machine, tables) in [("soc-noncoherent", "shared"), ("pc", "unshared")] {
        let script = format!(
            "{} {calls} {} {tables} /dev/video0 /dev/video1",
            word(&threads),
            1 + seed()
        );
        let Some(outcome) = then_capture(machine, &script) else {
            return;
        };
        println!("calls, tables {tables}: {}", outcome.stdout.trim());
        assert!(outcome.stdout.contains("done "), "{}", outcome.stdout);
    }
}

#[test]
fn kept_fd_churn_preserves_program_fds() {
    let Some(churn) = compiled("churn.c") else {
        return;
    };
    let opens = number("VB3_STORM_OPENS", 40_000);
    let script = format!("{} {opens} {} /dev/video0", word(&churn), 1 + seed());
    let Some(outcome) = then_capture("pc", &script) else {
        return;
    };
    println!("opens and closes: {}", outcome.stdout.trim());
    assert!(outcome.stdout.contains(" lost 0"), "{}", outcome.stdout);
}
