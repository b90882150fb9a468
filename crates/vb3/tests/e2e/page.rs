//! `--report run.html`: a page that a browser shows.

use crate::common::{Outcome, Run, lacks};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Colour of the plots and of stays that ended by DQBUF.
const BLUE: [u8; 3] = [20, 80, 160];

/// A run, and where its page is; the outcome holds the directory.
fn reported(machine: &str, size: &str, client: &[&str]) -> (Outcome, PathBuf) {
    let run = Run::on(machine)
        .device(format!(
            "camera=pattern,profile=sensor,clock=free,size={size}"
        ))
        .options(["--report", "run.html"]);
    let page = run.file("run.html");
    (run.program(client.iter().copied()).run(), page)
}

/// Opens the page in headless Chromium; what its console says, and a picture.
fn shown(page: &Path) -> (String, PathBuf) {
    let picture = page.with_extension("png");
    let out = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--enable-logging=stderr", "--window-size=1000,1600"])
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", page.display()))
        .env("HOME", page.parent().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let console = said.lines().filter(|line| line.contains("CONSOLE"));
    (console.collect::<Vec<_>>().join("\n"), picture)
}

#[test]
fn a_browser_shows_the_plots_and_complains_of_nothing() {
    if ["v4l2-ctl", "chromium", "ffmpeg"].into_iter().any(lacks) {
        return;
    }
    let client = ["v4l2-ctl", "--stream-mmap=4", "--stream-count=40"];
    let (outcome, page) = reported("pc", "320x240", &client);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("Nothing was refused"), "{text}");
    assert!(text.contains("40 frames reached or left the program"));
    let (console, picture) = shown(&page);
    assert_eq!(console, "");
    let raw = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&picture)
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .unwrap();
    let blue = raw.stdout.chunks(3).filter(|pixel| **pixel == BLUE).count();
    // Four buffers' bars of 10 lines over most of the width, and two plots.
    assert!(blue > 10_000, "{blue} pixels of the plots in {picture:?}");
}

#[test]
fn what_was_refused_stands_in_the_page() {
    if lacks("v4l2-ctl") {
        return;
    }
    // 32 buffers of 18 MiB, and 64 MiB of contiguous memory.
    let client = ["v4l2-ctl", "--stream-mmap=32", "--stream-count=2"];
    let (outcome, page) = reported("soc-cma", "4096x2304", &client);
    let text = std::fs::read_to_string(page).unwrap();
    let [refusal] = outcome.report.refusals.as_slice() else {
        panic!("{:?}", outcome.report.refusals)
    };
    let said = vb3::sentence::refusal(refusal);
    for part in [&said.what, &said.hint] {
        let escaped = part.replace('&', "&amp;").replace('"', "&quot;");
        assert!(
            !part.is_empty() && text.contains(&escaped),
            "{part}: {text}"
        );
    }
    assert!(!text.contains("Nothing was refused"), "{text}");
}
