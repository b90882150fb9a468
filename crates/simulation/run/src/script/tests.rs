//! Tests scripts as users write them.

mod again;
mod print;

use super::*;

fn step(lines: &str) -> Result<Step, ScriptError> {
    let script = Script::parse(&format!("[[step]]\n{lines}\n"))?;
    Ok(script.steps.into_iter().next().unwrap())
}

#[test]
fn every_shipped_script_is_understood() {
    for (name, text) in SHIPPED {
        let script = Script::parse(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(script.name, *name);
        assert!(!script.description.is_empty());
    }
}

#[test]
fn a_step_says_when_and_what() {
    let found = step("device = \"/dev/video1\"\ntime = \"1.5s\"\nfail = \"QBUF\"\nerrno = \"EIO\"");
    let qbuf = vb3_v4l2::decode::request("VIDIOC_QBUF").unwrap();
    let action = Action::Fail {
        request: qbuf,
        errno: 5,
    };
    let wanted = Step {
        line: 1,
        device: Some(StepDevice::Video(1)),
        when: When::Time(1_500_000_000),
        count: 1,
        every: 1,
        action,
    };
    assert_eq!(found, Ok(wanted));
    let late =
        step("device = \"video0\"\nframe = 7\nevery = 3\ncount = 9\nlate = \"40ms\"").unwrap();
    assert_eq!((late.when, late.every, late.count), (When::Frame(7), 3, 9));
    let by_ns = 40_000_000;
    assert_eq!(late.action, Action::Frame(FrameFault::Late { by_ns }));
    let source =
        step("device = \"/dev/video0\"\ncall = 2\nof = \"DQBUF\"\nsource = \"64x48\"").unwrap();
    let dqbuf = vb3_v4l2::decode::request("VIDIOC_DQBUF");
    let when = When::Call {
        number: 2,
        request: dqbuf,
    };
    assert_eq!(source.when, when);
    let (width, height) = (64, 48);
    assert_eq!(source.action, Action::Source { width, height });
    let cma = step("occupy_cma = \"64KiB\"").unwrap();
    assert_eq!((cma.device, cma.when), (None, When::Start));
    assert_eq!(cma.action, Action::OccupyCma { longest: 65536 });
}

#[test]
fn what_is_wrong_is_one_sentence_with_its_line() {
    let of = "device = \"/dev/video0\"\n";
    for (lines, line, said) in [
        ("lose = true".to_owned(), 1, "device = \"/dev/video0\""),
        (format!("{of}frame = 1"), 1, "has no action"),
        (
            format!("{of}lose = true\ntorn = true"),
            1,
            "one step cannot have torn and lose",
        ),
        (format!("{of}lose = false"), 1, "lose must be true"),
        (
            format!("{of}lose = true\nframe = 1\ntime = 1"),
            1,
            "cannot have both time and frame",
        ),
        (
            format!("{of}lose = true\nframe = -1"),
            4,
            "-1 is out of range: allowed are 0",
        ),
        (
            format!("{of}lose = true\ncount = 0"),
            4,
            "0 is out of range: allowed are 1",
        ),
        (
            format!("{of}lose = true\ncount = 9999999999999"),
            4,
            "allowed are 1",
        ),
        (format!("{of}lose = true\ncall = 2"), 4, "not at a call"),
        (format!("{of}late = \"soon\""), 3, "for example \"40ms\""),
        (format!("{of}late = \"2000min\""), 3, "at most one day"),
        (
            format!("{of}late = \"99999999999999999999s\""),
            3,
            "at most one day",
        ),
        (format!("{of}short = \"1KB\""), 3, "like \"64MiB\""),
        ("occupy_cma = -1".to_owned(), 2, "a number of bytes"),
        (format!("{of}corrupt = 1000000"), 3, "allowed are 1 to 4096"),
        (
            format!("{of}fail = \"QUEUE\"\nerrno = 5"),
            3,
            "not an ioctl",
        ),
        (format!("{of}fail = \"QBUF\""), 3, "errno = \"EIO\""),
        (
            format!("{of}errno = 5\nlose = true"),
            3,
            "needs the failing call",
        ),
        (
            format!("{of}fail = \"QBUF\"\nerrno = \"EGG\""),
            4,
            "unknown errno",
        ),
        (
            format!("{of}fail = \"QBUF\"\nerrno = \"an unexpected error\""),
            4,
            "unknown errno",
        ),
        (
            format!("{of}fail = \"QBUF\"\nerrno = 0"),
            4,
            "unknown errno",
        ),
        (format!("{of}source = \"640\""), 3, "not a size"),
        (format!("{of}source = \"0x480\""), 3, "not a size"),
        (format!("{of}signal = \"weak\""), 3, "\"lost\" or \"back\""),
        (
            format!("{of}iommu_fault = true\nevery = 2"),
            4,
            "happens once",
        ),
        (
            format!("{of}signal = \"lost\"\nof = \"QBUF\""),
            4,
            "call = 1",
        ),
        (
            "device = \"camera\"\nlose = true".to_owned(),
            2,
            "is not a video device",
        ),
        (
            "stop_clock = \"1s\"\nframe = 3".to_owned(),
            1,
            "belong to a device",
        ),
        (format!("{of}loose = true"), 3, "unknown field"),
        (format!("{of}lose = "), 3, ""),
    ] {
        let e = step(&lines).unwrap_err();
        assert_eq!(e.line, line, "{lines}: {e}");
        assert!(
            e.message.contains(said) && !e.message.contains('\n'),
            "{lines}: {e}"
        );
    }
    let none = Script::parse("name = \"empty\"").unwrap_err();
    assert!(none.message.contains("[[step]]"), "{none}");
    let many = "[[step]]\noccupy_cma = 0\n".repeat(MAX_STEPS + 1);
    let many = Script::parse(&many).unwrap_err();
    assert_eq!(many.line, MAX_STEPS * 2 + 1);
}

#[test]
fn times_are_whole_nanoseconds() {
    for (text, ns) in [
        ("1.5s", Some(1_500_000_000)),
        ("33.333333ms", Some(33_333_333)),
        ("0.001us", Some(1)),
        ("33.3333333ms", None),
        ("0.0001us", None),
        ("0.3333333333s", None),
    ] {
        assert_eq!(super::parse::time_of(text), ns, "{text}");
    }
}
