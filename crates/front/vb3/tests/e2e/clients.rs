//! The clients of `clients.toml`. The test runs each client's command, and compares what its row lists.

use crate::common::{
    Run, RunOutput, SIZE, compiled, expect_pattern, ffmpeg, ffmpeg_in, lacks_libavcodec, recording,
    size_option,
};
use crate::desktop::{Range, expect_shown};
use crate::streams::encoded;
use crate::surroundings::command;
use serde::Deserialize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use vb3_v4l2::pixfmt;

const ROWS: &str = include_str!("clients.toml");

/// What `cargo xtask setup` installs. The clients of these packages must not be missing.
const SETUP: &str = include_str!("../../../../../xtask/src/packages.toml");

/// EAN-13 of 5901234123457, with white on both sides.
const BARCODE: &str = "000000000000000 101 0001011 0100111 0110011 0010011 0111101 0011101 01010 \
                       1100110 1101100 1000010 1011100 1001110 1000100 101 000000000000000";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    client: Vec<Client>,
}

/// A program, and one way to use it.
#[derive(Deserialize)]
struct Client {
    name: String,
    /// A package of Debian, or `pip:NAME`, `cargo:NAME`, or a file in `tests/programs`.
    package: String,
    /// Programs, or `python3:MODULE`, without which the client cannot run.
    needs: Vec<String>,
    /// The command, which runs under `vb3 run -- sh -c`.
    command: String,
    /// Specs of devices, separated by spaces.
    #[serde(default)]
    device: Option<String>,
    /// A limit of the client itself, which vb3 does not cause.
    #[serde(default)]
    limit: Option<String>,
    /// Whether the client runs by default, not only in `cargo xtask test full`.
    #[serde(default)]
    quick: bool,
    /// Whether the client uses a clock of its own, so that the devices must use real time.
    #[serde(default)]
    real_time: bool,
    /// Whether the command runs on a screen. The screen's picture becomes `screen.ppm`.
    #[serde(default)]
    window: bool,
    #[serde(flatten)]
    judge: Judge,
}

/// What the test compares.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Judge {
    /// A file with frames of the pattern, byte by byte.
    Frames(Frames),
    /// Picture files; each shows the pattern.
    Pictures(Vec<String>),
    /// A file that has the same bytes as `reference` prints outside of vb3.
    Same { file: String, reference: String },
    /// Texts in the output.
    Prints(Vec<String>),
}

#[derive(Deserialize)]
struct Frames {
    file: String,
    format: String,
    /// At least this many frames.
    count: usize,
}

fn clients() -> Vec<Client> {
    let table: Table = toml::from_str(ROWS).unwrap();
    table.client
}

/// Returns the directory of the clients from cargo and pip, in `bin` and `python`.
pub(crate) fn others() -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/clients");
    std::env::var_os("VB3_CLIENTS").map_or_else(here, PathBuf::from)
}

/// Returns the first of a client's `needs` that is not installed.
fn missing(client: &Client) -> Option<&str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.push(others().join("bin"));
    let is_there = |need: &str| match need.strip_prefix("python3:") {
        Some(module) => {
            let mut python = std::process::Command::new("/usr/bin/python3");
            python.env("PYTHONPATH", others().join("python"));
            python.args([
                "-c",
                &format!("import importlib.util as u, sys; sys.exit(not u.find_spec('{module}'))"),
            ]);
            python.status().is_ok_and(|status| status.success())
        }
        None => dirs.iter().any(|dir| dir.join(need).exists()),
    };
    client
        .needs
        .iter()
        .map(String::as_str)
        .find(|need| !is_there(need))
}

/// Returns whether a client cannot run, and says why. In the gate, panics if `cargo xtask setup` installs the
/// client.
fn is_skipped(client: &Client) -> bool {
    let Some(need) = missing(client) else {
        return client
            .device
            .as_ref()
            .is_some_and(|spec| spec.contains("264"))
            && lacks_libavcodec();
    };
    let is_promised = SETUP.contains(&format!("\"{}\"", client.package));
    let why = format!(
        "{}: {need} of {} is not installed",
        client.name, client.package
    );
    match is_promised {
        true => vb3_skip::skip(why),
        false => vb3_skip::elsewhere(why),
    }
    true
}

/// Returns the compiled program of a client whose source is in `tests/programs`.
fn program(client: &Client) -> Option<PathBuf> {
    let is_source = client.package.ends_with(".c") || client.package.ends_with(".go");
    if is_source {
        compiled(&client.package)
    } else {
        None
    }
}

/// Runs a client, in a directory with its input.
fn run(client: &Client) -> RunOutput {
    let mut run = Run::on("pc").options(["--leftover=kill"]).patience(90);
    if client.real_time {
        run = run.real_time("this client keeps its own time");
    }
    let camera = format!("camera=pattern,format=YUYV,{}", size_option());
    let devices = client.device.as_deref().unwrap_or(&camera);
    for device in devices.split(' ') {
        run = run.device(device);
    }
    if client.command.contains("pattern.raw") {
        std::fs::write(run.file("pattern.raw"), recording(&pixfmt::YUYV, 12)).unwrap();
    }
    if client.command.contains("clip.h264") {
        let stream = encoded("176x144", 30, "bframes=0:keyint=10:scenecut=0").unwrap();
        std::fs::write(run.file("clip.h264"), stream).unwrap();
    }
    if devices.contains("barcode.png") {
        let bars = BARCODE.replace(' ', "");
        std::fs::write(
            run.file("bars.pbm"),
            format!("P1 {} 1\n{bars}\n", bars.len()),
        )
        .unwrap();
        let filter = "scale=250:160:flags=neighbor,pad=320:240:35:40:white";
        ffmpeg_in(
            run.dir.path(),
            ["-i", "bars.pbm", "-vf", filter, "barcode.png"],
        );
    }
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let setting = "export PROGRAMS=\"$1\" VB3=\"$4\" PROGRAM=\"$5\" PYTHONPATH=\"$2/python\" PATH=\"$PATH:$2/bin\"";
    let run = match client.window {
        false => run.program(["sh", "-c", &format!("{setting}\n{}", client.command), "sh"]),
        true => run.program(["sh", "-c"]).and([
            &format!("{setting}\nexec /usr/bin/python3 $1/screen.py screen.ppm \"$3\""),
            "sh",
        ]),
    };
    let run = run.and([programs.as_os_str(), others().as_os_str()]);
    let run = run.and([client.command.as_str(), env!("CARGO_BIN_EXE_vb3")]);
    run.and(program(client)).run()
}

/// Runs a client, and compares its results with those that its row lists.
fn expect(client: &Client) {
    let outcome = run(client);
    println!(
        "--- {}: {}\n{}{}",
        client.name, client.command, outcome.stdout, outcome.stderr
    );
    assert_eq!(outcome.status, 0);
    outcome.expect_nothing_held();
    match &client.judge {
        Judge::Frames(Frames {
            file,
            format,
            count,
        }) => {
            let layout = pixfmt::TABLE
                .iter()
                .find(|f| f.fourcc.to_string() == *format)
                .unwrap();
            let numbers = expect_pattern(layout, &outcome.read(file));
            assert!(numbers.len() >= *count, "{numbers:?}");
        }
        Judge::Pictures(files) => {
            let shown = files.iter().map(|file| expect_picture(&outcome, file));
            let numbers: Vec<u32> = shown.collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        }
        Judge::Same { file, reference } => {
            let mut shell = command("sh", outcome.dir.path());
            let wanted = shell.args(["-c", reference]).output().unwrap().stdout;
            assert!(!wanted.is_empty(), "{reference}");
            assert!(outcome.read(file) == wanted, "{file} differs");
        }
        Judge::Prints(texts) => {
            let said = format!("{}{}", outcome.stdout, outcome.stderr);
            let missing: Vec<&String> = texts.iter().filter(|text| !said.contains(*text)).collect();
            assert!(missing.is_empty(), "not printed: {missing:?}");
        }
    }
}

/// Asserts that a picture file, or a part of the screen, is a picture of the pattern. Returns its
/// number.
fn expect_picture(outcome: &RunOutput, file: &str) -> u32 {
    let is_whole_screen = file == "screen.ppm";
    assert!(!outcome.read(file).is_empty());
    let path = outcome.dir.path().join(file);
    let rgb = ffmpeg([
        "-i",
        path.to_str().unwrap(),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]);
    let rgb = if is_whole_screen { window(&rgb) } else { rgb };
    // The first bar is 75 % grey: 180 where a program keeps the camera's levels, 191 otherwise.
    let first_bar = rgb[(200 * SIZE.0 as usize + 20) * 3];
    let range = if first_bar < 186 {
        Range::Studio
    } else {
        Range::Full
    };
    expect_shown(&rgb, range)
}

/// Returns the part of a screen of 800x600 that shows the pattern.
fn window(screen: &[u8]) -> Vec<u8> {
    const LINE: usize = 800 * 3;
    let (width, height) = (SIZE.0 as usize * 3, SIZE.1 as usize);
    // The last line's bars begin with grey, yellow, cyan and green, and no grey is left of them.
    let is_like =
        |pixel: &[u8], bar: [u8; 3]| pixel.iter().zip(bar).all(|(a, b)| a.abs_diff(b) < 24);
    let grey = |at: usize| is_like(&screen[at..at + 3], [186; 3]);
    let bars = |at: usize| {
        let bar = |n: usize, colour| is_like(&screen[at + (n * 40 + 20) * 3..][..3], colour);
        grey(at) && bar(1, [186, 186, 8]) && bar(2, [8, 186, 186]) && bar(3, [8, 186, 8])
    };
    // Searches from below, because the moving square hides bars in some lines.
    let mut found = (0..=600 - height)
        .rev()
        .flat_map(|y| (0..=800 - SIZE.0 as usize).map(move |x| (x, y)));
    let is_corner = |&(x, y): &(usize, usize)| {
        let last = (y + height - 1) * LINE + x * 3;
        let is_left_end = x == 0 || !grey(last - 3);
        is_left_end && bars(last)
    };
    let (x, y) = found
        .find(is_corner)
        .expect("the screen does not show the pattern");
    let lines = (y..y + height).flat_map(|y| screen[y * LINE + x * 3..][..width].to_vec());
    lines.collect()
}

/// Runs all clients of a list. Names those that fail.
fn expect_all(clients: Vec<Client>) {
    let only = std::env::var("VB3_CLIENT").unwrap_or_default();
    let mut failed = Vec::new();
    for client in clients.iter().filter(|client| client.name.contains(&only)) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            if !is_skipped(client) {
                expect(client);
            }
        }));
        if result.is_err() {
            failed.push(&client.name);
        }
    }
    assert!(failed.is_empty(), "these clients failed: {failed:?}");
}

#[test]
fn common_clients() {
    expect_all(
        clients()
            .into_iter()
            .filter(|client| client.quick)
            .collect(),
    );
}

macro_rules! parts {
    ($($name:ident $number:literal)*) => {$(
        #[test]
        #[ignore = "full: all clients"]
        fn $name() {
            let others = clients().into_iter().filter(|client| !client.quick);
            expect_all(others.skip($number).step_by(8).collect());
        }
    )*};
}

parts! { part_1 0 part_2 1 part_3 2 part_4 3 part_5 4 part_6 5 part_7 6 part_8 7 }

#[test]
fn rows_are_complete() {
    let clients = clients();
    assert!(clients.len() >= 50, "{}", clients.len());
    let mut names: Vec<&str> = clients.iter().map(|client| client.name.as_str()).collect();
    names.sort_unstable();
    assert!(names.is_sorted_by(|a, b| a < b), "two rows have one name");
    for client in &clients {
        let limit = client.limit.as_deref().unwrap_or("none");
        let texts = [&client.package, &client.command];
        assert!(texts.iter().all(|text| !text.is_empty()), "{}", client.name);
        assert!(
            !limit.is_empty() && !client.needs.is_empty(),
            "{}",
            client.name
        );
        assert!(!client.command.contains('\n'), "{}: one line", client.name);
    }
}
