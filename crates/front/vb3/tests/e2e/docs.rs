//! The commands in README.md and docs/, run as a reader would type them.
//!
//! A fenced block's info string chooses its use. The test runs `console run`, skips `console
//! skip=REASON`, and writes `TEXT file=NAME` to a file for later commands. In a block that is run,
//! a line that begins with `$ ` is a command, and a backslash continues it. The lines below a command are its
//! output, as a terminal would show it: `…` alone on a line stands for any number of lines, and inside a line
//! for any text. A command without such lines may print anything.
//!
//! `VB3_WRITE_PAGES=1` replaces output that is not as shown. A line `?` below a command asks for all of it.

use crate::common::{finish, lacks, lacks_libavcodec, vb3};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Seconds that one command may take.
const COMMAND_SECONDS: u64 = 180;

/// Programs that the page on pytest needs besides those of other pages.
const PYTEST_NEEDS: [&str; 4] = [
    "/usr/bin/python3",
    crate::python::PYTEST,
    "chromium",
    "firefox-esr",
];

/// A test for each page.
macro_rules! pages {
    ($($(#[$mark:meta])* $name:ident: $page:literal,)*) => {
        /// Pages with commands that are run.
        const PAGES: &[&str] = &[$($page),*];
        $(#[test]
        $(#[$mark])*
        fn $name() {
            run_page($page);
        })*
    };
}

pages! {
    readme: "README.md",
    getting_started: "docs/getting-started.md",
    devices: "docs/devices.md",
    control: "docs/control.md",
    ci: "docs/ci.md",
    #[ignore = "full: runs browsers"]
    pytest: "docs/pytest.md",
    machines: "docs/machines.md",
    #[ignore = "full: runs a minute of virtual time"]
    clock: "docs/clock.md",
    scripts: "docs/scripts.md",
    reports: "docs/reports.md",
    codecs: "docs/codecs.md",
    refusals: "docs/refusals.md",
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    /// Line of the opening fence, from 1.
    line: usize,
    info: &'a str,
    text: Vec<&'a str>,
}

impl<'a> Block<'a> {
    /// The value of `KEY=` in the info string.
    fn value(&self, key: &str) -> Option<&'a str> {
        let mut words = self.info.split(' ');
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn is_run(&self) -> bool {
        self.info == "console run"
    }
}

/// Returns the fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (number, line) in page.lines().enumerate() {
        let fence = line.strip_prefix("```");
        open = match (open, fence) {
            (None, None) => None,
            (None, Some(info)) => Some(Block {
                line: number + 1,
                info,
                text: Vec::new(),
            }),
            (Some(block), Some(_)) => {
                blocks.push(block);
                None
            }
            (Some(mut block), None) => {
                block.text.push(line);
                Some(block)
            }
        };
    }
    assert_eq!(open, None, "a fenced block has no end");
    blocks
}

/// A command and its expected lines.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    command: String,
    prints: Vec<&'a str>,
    /// The numbers of the page's lines with the output, from 0: the first, and the one after the last.
    shown: (usize, usize),
}

/// Stands for any text in a page's output.
const ANY: &str = "…";

/// Returns whether a line is as a page shows it.
fn line_matches(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

/// Returns whether all lines are as a page shows them.
fn output_matches(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&ANY, rest)) => {
            (0..=printed.len()).any(|skipped| output_matches(rest, &printed[skipped..]))
        }
        Some((line, rest)) => printed.split_first().is_some_and(|(first, others)| {
            line_matches(line, first) && output_matches(rest, others)
        }),
    }
}

/// The commands of a block.
fn steps<'a>(block: &Block<'a>) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut lines = (block.line..).zip(block.text.iter());
    while let Some((number, line)) = lines.next() {
        let Some(first) = line.strip_prefix("$ ") else {
            let step = steps.last_mut();
            let step = step.unwrap_or_else(|| panic!("output before a command: {line:?}"));
            step.prints.extend((!line.is_empty()).then_some(*line));
            step.shown.1 = number + 1;
            continue;
        };
        let (mut command, mut end) = (first.to_owned(), number + 1);
        while command.ends_with('\\') {
            command.pop();
            let (number, line) = lines.next().expect("a line after a backslash");
            command.push_str(line.trim_start());
            end = number + 1;
        }
        steps.push(Step {
            command,
            prints: Vec::new(),
            shown: (end, end),
        });
    }
    steps
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|e| panic!("{page}: {e}"))
}

/// README.md and the pages of docs/, by their paths in the repository.
fn all_pages() -> Vec<String> {
    let dir = std::fs::read_dir(root().join("docs")).unwrap();
    let names = dir.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = names.filter(|name| name.ends_with(".md"));
    let mut pages: Vec<String> = pages.map(|name| format!("docs/{name}")).collect();
    pages.push("README.md".to_owned());
    pages.sort();
    pages
}

/// Three seconds of H.264 in mp4.
fn clip() -> &'static [u8] {
    static CLIP: OnceLock<Vec<u8>> = OnceLock::new();
    CLIP.get_or_init(|| {
        let dir = crate::common::tempdir();
        let path = dir.path().join("clip.mp4");
        let source = "testsrc2=size=320x240:rate=25:duration=3";
        let words = ["-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", "-c:v"];
        crate::common::ffmpeg(words.into_iter().chain(["libx264", path.to_str().unwrap()]));
        std::fs::read(path).unwrap()
    })
}

/// Prepares a command of a page, in a separate directory and with `vb3` first in PATH.
fn shell(dir: &Path, command: &str) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_vb3")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The system's Python has the packages that the tests use.
    let first = [programs.to_owned(), "/usr/bin".into()];
    let path = first.into_iter().chain(std::env::split_paths(&path));
    let seconds = (COMMAND_SECONDS * u64::from(crate::common::slowness())).to_string();
    let mut shell = crate::surroundings::command("timeout", dir);
    crate::python::with_module(&mut shell);
    shell
        .args([
            "--kill-after=10",
            &seconds,
            "bash",
            "-euo",
            "pipefail",
            "-c",
        ])
        .arg(command)
        .current_dir(dir.join("work"))
        .env("PATH", std::env::join_paths(path).unwrap());
    shell
}

/// Copies the longer tests that the page on pytest names.
fn copy_examples(work: &Path) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../python/examples");
    for example in std::fs::read_dir(examples).unwrap() {
        let example = example.unwrap().path();
        if example
            .extension()
            .is_some_and(|extension| extension == "py")
        {
            std::fs::copy(&example, work.join(example.file_name().unwrap())).unwrap();
        }
    }
}

/// Runs the blocks of a page in order; every command must end with 0.
fn run_page(page: &str) {
    let programs = ["bash", "timeout", "ffmpeg", "gst-launch-1.0", "v4l2-ctl"];
    if programs.into_iter().any(lacks) || lacks_libavcodec() {
        return;
    }
    if page == "docs/pytest.md" && PYTEST_NEEDS.into_iter().any(lacks) {
        return;
    }
    let text = read(page);
    let dir = crate::common::tempdir();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::write(work.join("clip.mp4"), clip()).unwrap();
    if page == "docs/pytest.md" {
        copy_examples(&work);
    }
    let mut changed: Vec<((usize, usize), String)> = Vec::new();
    for block in blocks(&text) {
        if let Some(name) = block.value("file") {
            std::fs::write(work.join(name), block.text.join("\n") + "\n").unwrap();
        }
        if !block.is_run() {
            continue;
        }
        for step in steps(&block) {
            let command = &step.command;
            // In one stream, in the order in which a terminal shows it.
            let mut shell = shell(dir.path(), &format!("exec 2>&1; {command}"));
            let (status, said, _) = finish(&mut shell, dir.path());
            let at = format!("{page}:{}: `{command}`", block.line);
            assert_eq!(status, 0, "{at} ends with {status}\n{said}");
            let printed = said.lines().map(str::trim_end);
            let printed: Vec<&str> = printed.filter(|line| !line.is_empty()).collect();
            if step.prints.is_empty() || output_matches(&step.prints, &printed) {
                continue;
            }
            assert!(writes_pages(), "{at} prints something else:\n{said}");
            changed.push((step.shown, said));
        }
    }
    write_page(page, &text, &changed);
}

/// Whether pages get the output of their commands.
fn writes_pages() -> bool {
    std::env::var_os("VB3_WRITE_PAGES").is_some()
}

/// Replaces lines of a page, given by the numbers of the first line and of the line after the last.
fn write_page(page: &str, text: &str, changed: &[((usize, usize), String)]) {
    if changed.is_empty() {
        return;
    }
    let mut lines: Vec<&str> = text.lines().collect();
    for ((from, to), said) in changed.iter().rev() {
        lines.splice(*from..*to, said.trim_end().lines().map(str::trim_end));
    }
    std::fs::write(root().join(page), lines.join("\n") + "\n").unwrap();
}

/// Returns whether a line of a block is a command of ours, in any notation.
fn is_ours(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '-']);
    let line = line.strip_prefix("run: ").unwrap_or(line);
    let line = line.strip_prefix("$ ").unwrap_or(line);
    line.starts_with("vb3 ")
}

#[test]
fn every_command_is_run_or_says_why_not() {
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    let mut run = 0;
    for page in all_pages() {
        let text = read(&page);
        for block in blocks(&text) {
            let at = format!("{page}:{}", block.line);
            let commands = block.text.iter().filter(|line| line.starts_with("$ "));
            if block.is_run() {
                assert!(
                    PAGES.contains(&page.as_str()),
                    "{at}: not in the list of pages"
                );
                run += commands.count();
            } else if let Some(reason) = block.value("skip") {
                *skipped.entry(reason.to_owned()).or_default() += block.text.len();
            } else {
                let ours = block.text.iter().find(|line| is_ours(line));
                assert_eq!(ours, None, "{at}: neither `console run` nor `skip=REASON`");
                if block.info == "console" {
                    *skipped.entry("no reason".to_owned()).or_default() += commands.count();
                }
            }
        }
    }
    eprintln!("{run} commands are run; lines that are not, by reason: {skipped:?}");
    assert!(run > 20);
}

#[test]
fn every_kind_and_option_is_on_the_page() {
    let page = read("docs/devices.md");
    let dir = crate::common::tempdir();
    let ask = |words: &[&str]| {
        let mut devices = vb3(dir.path());
        let (status, stdout, stderr) = finish(devices.args(words), dir.path());
        assert_eq!(status, 0, "{stderr}");
        stdout
    };
    let list = ask(&["devices"]);
    let rows = list.lines().filter_map(|line| line.strip_prefix("  "));
    let rows = rows.filter(|row| row.starts_with(|c: char| c.is_ascii_lowercase()));
    let kinds: Vec<&str> = rows.filter_map(|row| row.split(' ').next()).collect();
    assert!(kinds.len() > 10, "{list}");
    for kind in kinds {
        assert!(
            page.contains(&format!("`{kind}`")),
            "docs/devices.md lacks {kind}"
        );
        let said = ask(&["devices", kind]);
        let options = said.lines().filter_map(|line| line.strip_prefix("  "));
        let options = options.filter(|option| !option.starts_with(' '));
        for (key, _) in options.filter_map(|option| option.split_once('=')) {
            let wanted = format!("`{key}=");
            assert!(
                page.contains(&wanted),
                "docs/devices.md lacks {key}= of {kind}"
            );
        }
    }
}

#[test]
fn blocks_become_commands_and_output() {
    let page = "a\n```toml file=x.toml\nb = 1\n```\n```console run\n$ one \\\n    two\nout\n$ three\n```\n";
    let [file, run] = &blocks(page)[..] else {
        panic!("{:?}", blocks(page));
    };
    assert_eq!((file.line, file.value("file")), (2, Some("x.toml")));
    assert!(run.is_run() && !file.is_run());
    let step = |command: &str, prints: &[&'static str], shown| Step {
        command: command.to_owned(),
        prints: prints.to_vec(),
        shown,
    };
    let expected = [
        step("one two", &["out"], (7, 8)),
        step("three", &[], (9, 9)),
    ];
    assert_eq!(steps(run), expected);
}

#[test]
fn shown_output_may_leave_out_text() {
    assert!(output_matches(&["a", "b"], &["a", "b"]));
    assert!(!output_matches(&["a"], &["a", "b"]));
    assert!(!output_matches(&["a", "b"], &["a"]));
    assert!(output_matches(&["a", "…"], &["a", "b", "c"]));
    assert!(output_matches(&["…", "c"], &["a", "b", "c"]));
    assert!(!output_matches(&["…", "c"], &["a", "c", "b"]));
    assert!(output_matches(
        &["took … ms, … frames"],
        &["took 12 ms, 3 frames"]
    ));
    assert!(!output_matches(&["took … ms"], &["took 12 s"]));
    assert!(!output_matches(&["?"], &["a"]));
}

#[test]
fn own_commands_are_found_in_any_notation() {
    for line in [
        "$ vb3 why",
        "vb3 run -- a",
        "    - vb3 doctor",
        "      - run: vb3 doctor",
    ] {
        assert!(is_ours(line), "{line}");
    }
    for line in [
        "$ cargo install --path crates/front/vb3",
        "    vb3_1_amd64.deb",
        "# vb3",
    ] {
        assert!(!is_ours(line), "{line}");
    }
}
