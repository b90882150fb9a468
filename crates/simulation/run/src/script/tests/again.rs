//! Tests that a printed script parses to the same script.

use super::*;
use proptest::prelude::*;
use vb3_devices::MAX_CORRUPT;

const IOCTLS: [&str; 5] = ["QBUF", "DQBUF", "STREAMON", "G_FMT", "S_EXT_CTRLS"];

const SIGNALS: [&str; 5] = ["lost", "back", "no-lock", "out-of-range", "640x480p59.94"];

fn request() -> impl Strategy<Value = u32> {
    let of = |name: &str| vb3_v4l2::decode::request(&format!("VIDIOC_{name}")).unwrap();
    prop::sample::select(IOCTLS.map(of).to_vec())
}

fn fault() -> impl Strategy<Value = FrameFault> {
    prop_oneof![
        (0..=MAX_TIME_NS).prop_map(|by_ns| FrameFault::Late { by_ns }),
        Just(FrameFault::Twice),
        Just(FrameFault::Torn),
        Just(FrameFault::Flagged),
        (0..=i64::MAX as u64).prop_map(|len| FrameFault::Short { len }),
        Just(FrameFault::Lost),
        (1..=MAX_CORRUPT).prop_map(|len| FrameFault::Corrupt { len }),
    ]
}

/// Makes actions of one device that may happen at any time.
fn on_a_device() -> impl Strategy<Value = Action> {
    prop_oneof![
        (1..=65_536u32, 1..=65_536u32).prop_map(|(width, height)| Action::Source { width, height }),
        prop::sample::select(SIGNALS.to_vec())
            .prop_map(|word| Action::Signal(word.parse().unwrap())),
        any::<bool>().prop_map(Action::Plug),
        Just(Action::IommuFault),
    ]
}

fn on_the_machine() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0..=i64::MAX as u64).prop_map(|longest| Action::OccupyCma { longest }),
        Just(Action::FreeCma),
        (0..=MAX_TIME_NS).prop_map(|for_ns| Action::StopClock { for_ns }),
    ]
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        Just(When::Start),
        (0..=MAX_TIME_NS).prop_map(When::Time),
        (0..=MAX_COUNT).prop_map(When::Frame),
        (1..=MAX_COUNT, prop::option::of(request()))
            .prop_map(|(number, request)| When::Call { number, request }),
    ]
}

fn step_of(device: Option<u32>, when: When, (count, every): (u64, u64), action: Action) -> Step {
    // Half of the devices are display cards.
    let device = device.map(|number| match number {
        0..32 => StepDevice::Video(number),
        _ => StepDevice::Card(number as usize),
    });
    Step {
        line: 0,
        device,
        when,
        count,
        every,
        action,
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let counts = (1..=MAX_COUNT, 1..=MAX_COUNT);
    let failing = (0..64u32, when(), counts.clone(), request(), 1..=133i32);
    let failing = failing.prop_map(|(device, when, counts, request, errno)| {
        let when = match when {
            When::Call { number, .. } => When::Call {
                number,
                request: Some(request),
            },
            other => other,
        };
        step_of(Some(device), when, counts, Action::Fail { request, errno })
    });
    let frames = (0..64u32, when(), counts, fault());
    let frames = frames.prop_map(|(device, when, counts, fault)| {
        let when = match when {
            When::Call { number, .. } => When::Frame(number),
            other => other,
        };
        step_of(Some(device), when, counts, Action::Frame(fault))
    });
    let device = (0..64u32, when(), on_a_device())
        .prop_map(|(device, when, action)| step_of(Some(device), when, (1, 1), action));
    let machine = (prop::option::of(0..64u32), when(), on_the_machine());
    let machine = machine.prop_map(|(device, when, action)| {
        let is_of_device = matches!(when, When::Frame(_) | When::Call { .. });
        let device = device.or(is_of_device.then_some(0));
        step_of(device, when, (1, 1), action)
    });
    prop_oneof![failing, frames, device, machine]
}

/// Returns the script without line numbers.
fn without_lines(mut script: Script) -> Script {
    script.steps.iter_mut().for_each(|step| step.line = 0);
    script
}

proptest! {
    #[test]
    fn a_script_that_is_printed_reads_the_same(
        name in any::<String>(),
        description in any::<String>(),
        steps in prop::collection::vec(any_step(), 1..8),
    ) {
        let script = Script { name, description, steps };
        let printed = script.to_string();
        let again = Script::parse(&printed);
        prop_assert_eq!(again.map(without_lines), Ok(script), "{}", printed);
    }
}

/// Valid and invalid pieces that random scripts consist of.
const PIECES: [&str; 24] = [
    "[[step]]",
    "[[step]",
    "\n",
    "\n",
    "\n",
    "\r\n",
    " = ",
    "device = \"/dev/video0\"\n",
    "lose = true\n",
    "late = \"40ms\"\n",
    "corrupt = -1\n",
    "stop_clock = \"18446744073709551615min\"\n",
    "occupy_cma = \"18446744073709551615GiB\"\n",
    "short",
    "frame = 7\n",
    "call = 18446744073709551615\n",
    "time",
    "\"1.9999999999s\"",
    "source = \"0x4294967296\"\n",
    "fail = \"QBUF\"\n",
    "errno = \"EIO\"\n",
    "\"\u{1}\u{fe0f}",
    "'",
    "step = [{ free_cma = true }]\n",
];

proptest! {
    #[test]
    fn any_text_is_a_script_or_an_error_with_line(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..24),
    ) {
        let text = pieces.concat();
        let lines = 1..=text.split('\n').count();
        match Script::parse(&text) {
            Ok(script) => {
                prop_assert!(script.steps.iter().all(|step| lines.contains(&step.line)));
                let again = Script::parse(&script.to_string()).map(without_lines);
                prop_assert_eq!(again, Ok(without_lines(script)));
            }
            Err(e) => {
                prop_assert!(lines.contains(&e.line), "{} in {:?}", e, text);
                prop_assert!(!e.message.is_empty() && !e.message.contains('\n'), "{}", e);
            }
        }
    }
}

#[test]
fn shipped_scripts_print_and_parse_unchanged() {
    for (name, text) in SHIPPED {
        let script = without_lines(Script::parse(text).unwrap());
        let again = Script::parse(&script.to_string()).unwrap();
        assert_eq!(without_lines(again), script, "{name}");
    }
}
