//! Programs that die, that ask for nonsense, and that are interrupted all the time: nothing hangs,
//! nothing is held afterwards, and the devices still work.

use crate::common::{Outcome, Run, compiled, expect_pattern, size_option};
use std::path::Path;
use vb3_v4l2::pixfmt;

/// Runs `script` and then a capture of four pictures, in one run of vb3.
fn then_capture(machine: &str, script: &str) -> Option<Outcome> {
    let capture = compiled("capture.c")?;
    let options = format!("format=YUYV,clock=free,{}", size_option());
    let outcome = Run::on(machine)
        .device(format!("camera=pattern,{options}"))
        .device(format!("display=null,{options}"))
        .patience(180)
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
fn killed_at_200_random_moments() {
    let (Some(killer), Some(capture)) = (compiled("killer.c"), compiled("capture.c")) else {
        return;
    };
    for (machine, seed, times) in [("soc-noncoherent", 1, 100), ("pc", 2, 100)] {
        let script = format!(
            "{} {times} {seed} {} loop 0 /dev/null",
            word(&killer),
            word(&capture)
        );
        let Some(outcome) = then_capture(machine, &script) else {
            return;
        };
        assert!(
            outcome.stdout.contains(&format!("killed {times}")),
            "{}",
            outcome.stdout
        );
    }
}

#[test]
fn ten_thousand_random_ioctls() {
    let Some(random) = compiled("random.c") else {
        return;
    };
    for (machine, seed) in [("pc", 1), ("soc-cma", 2), ("soc-noncoherent", 3)] {
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
fn ten_thousand_signals_a_second() {
    let Some(signals) = compiled("signals.c") else {
        return;
    };
    for mode in ["restart", "interrupt"] {
        let outcome = Run::on("pc")
            .device(format!(
                "camera=pattern,format=YUYV,fps=60,{}",
                size_option()
            ))
            .patience(120)
            .program([signals.as_os_str()])
            .and(["240", mode])
            .run();
        outcome.expect_success();
        // The timer fires 10,000 times a second; a signal that is pending already is not counted.
        let words: Vec<u64> = outcome
            .stdout
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        assert!(
            words[0] > 2 * 240,
            "too few signals to show anything: {}",
            outcome.stdout
        );
        if mode == "interrupt" {
            assert!(words[1] > 0, "no call was interrupted: {}", outcome.stdout);
        }
    }
}
