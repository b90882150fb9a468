//! Parses TOML into a checked script, with the line of each step.

use super::{
    Action, MAX_COUNT, MAX_STEPS, MAX_TIME_NS, Script, ScriptError, Step, StepDevice, When,
};
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;
use vb3_devices::spec::did_you_mean;
use vb3_devices::{FrameFault, MAX_CORRUPT};
use vb3_machine::profile::{Size, line_of};
use vb3_report::sentence;
use vb3_v4l2::decode;

/// Linux's largest errno.
const MAX_ERRNO: i32 = 133;
/// Largest picture side that scripts accept. Devices have smaller limits.
const MAX_SIDE: u32 = 1 << 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScript {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    step: Vec<Spanned<RawStep>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "write a whole number, or text such as \"1.5s\"")]
enum Word {
    Number(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    device: Option<Spanned<String>>,
    time: Option<Spanned<Word>>,
    frame: Option<Spanned<i64>>,
    call: Option<Spanned<i64>>,
    of: Option<Spanned<String>>,
    count: Option<Spanned<i64>>,
    every: Option<Spanned<i64>>,
    fail: Option<Spanned<String>>,
    errno: Option<Spanned<Word>>,
    late: Option<Spanned<Word>>,
    twice: Option<bool>,
    torn: Option<bool>,
    error: Option<bool>,
    short: Option<Size>,
    lose: Option<bool>,
    corrupt: Option<Spanned<i64>>,
    source: Option<Spanned<String>>,
    signal: Option<Spanned<String>>,
    unplug: Option<bool>,
    plug: Option<bool>,
    occupy_cma: Option<Size>,
    free_cma: Option<bool>,
    iommu_fault: Option<bool>,
    stop_clock: Option<Spanned<Word>>,
}

/// The text of a script, which converts positions to lines.
struct Source<'a>(&'a str);

impl Source<'_> {
    fn error(&self, span: Range<usize>, message: impl Into<String>) -> ScriptError {
        ScriptError {
            line: line_of(self.0, span.start),
            message: message.into(),
        }
    }
}

type Result<T> = std::result::Result<T, ScriptError>;

pub(super) fn parse(text: &str) -> Result<Script> {
    let source = Source(text);
    let raw: RawScript = toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        let message = e.message().trim().replace('\n', ", ");
        // "unknown field `loose`, expected one of `device`, `time`, …"
        let guess = message.strip_prefix("unknown field `").and_then(|rest| {
            let mut words = rest.split('`').step_by(2);
            Some(did_you_mean(words.next()?, words))
        });
        source.error(
            at..at,
            message.clone() + guess.as_deref().unwrap_or_default(),
        )
    })?;
    if raw.step.is_empty() {
        return Err(source.error(0..0, "the script has no [[step]]; add at least one"));
    }
    if let Some(beyond) = raw.step.get(MAX_STEPS) {
        let message = format!("a script has no more than {MAX_STEPS} steps");
        return Err(source.error(beyond.span(), message));
    }
    let steps = raw.step.into_iter().map(|raw| {
        let span = raw.span();
        step(&source, span, raw.into_inner())
    });
    Ok(Script {
        name: raw.name,
        description: raw.description,
        steps: steps.collect::<Result<_>>()?,
    })
}

fn step(source: &Source<'_>, span: Range<usize>, raw: RawStep) -> Result<Step> {
    let action = action(source, &span, &raw)?;
    let when = when(source, &span, &raw, &action)?;
    let device = raw.device.as_ref().map(|device| named(source, device));
    let device = device.transpose()?;
    let of_machine = matches!(
        action,
        Action::OccupyCma { .. } | Action::FreeCma | Action::StopClock { .. }
    );
    let looks_at_device = matches!(when, When::Frame(_) | When::Call { .. });
    if device.is_none() && (!of_machine || looks_at_device) {
        let what = if of_machine {
            "frames and calls belong to"
        } else {
            "this step needs"
        };
        let message = format!("{what} a device; add, for example, device = \"/dev/video0\"");
        return Err(source.error(span, message));
    }
    let repeats = matches!(action, Action::Fail { .. } | Action::Frame(_));
    for (key, value) in [("count", &raw.count), ("every", &raw.every)] {
        if let Some(value) = value.as_ref().filter(|_| !repeats) {
            let message = format!(
                "{key} needs an action on frames or calls; {} happens once",
                action.name()
            );
            return Err(source.error(value.span(), message));
        }
    }
    let number = |value: &Option<Spanned<i64>>| match value {
        None => Ok(1),
        Some(value) => within(source, value, 1, MAX_COUNT),
    };
    Ok(Step {
        line: line_of(source.0, span.start),
        device,
        when,
        count: number(&raw.count)?,
        every: number(&raw.every)?,
        action,
    })
}

/// Returns the one action of a step.
fn action(source: &Source<'_>, span: &Range<usize>, raw: &RawStep) -> Result<Action> {
    let mut found = Vec::new();
    if let Some(name) = &raw.fail {
        found.push(fail(source, name, raw.errno.as_ref())?);
    } else if let Some(errno) = &raw.errno {
        let message = "errno needs the failing call; add, for example, fail = \"QBUF\"";
        return Err(source.error(errno.span(), message));
    }
    if let Some(late) = &raw.late {
        let by_ns = time(source, late)?;
        found.push(Action::Frame(FrameFault::Late { by_ns }));
    }
    if let Some(Size(len)) = raw.short {
        found.push(Action::Frame(FrameFault::Short { len }));
    }
    if let Some(corrupt) = &raw.corrupt {
        let len = within(source, corrupt, 1, MAX_CORRUPT)?;
        found.push(Action::Frame(FrameFault::Corrupt { len }));
    }
    if let Some(size) = &raw.source {
        found.push(picture(source, size)?);
    }
    if let Some(signal) = &raw.signal {
        let word = signal.get_ref();
        found.push(Action::Signal(word.parse().map_err(|allowed| {
            let message = format!("signal = {word:?}: must be {allowed}");
            source.error(signal.span(), message)
        })?));
    }
    if let Some(Size(longest)) = raw.occupy_cma {
        found.push(Action::OccupyCma { longest });
    }
    if let Some(stop) = &raw.stop_clock {
        let for_ns = time(source, stop)?;
        found.push(Action::StopClock { for_ns });
    }
    let plain = [
        (raw.twice, Action::Frame(FrameFault::Twice)),
        (raw.torn, Action::Frame(FrameFault::Torn)),
        (raw.error, Action::Frame(FrameFault::Flagged)),
        (raw.lose, Action::Frame(FrameFault::Lost)),
        (raw.unplug, Action::Plug(false)),
        (raw.plug, Action::Plug(true)),
        (raw.free_cma, Action::FreeCma),
        (raw.iommu_fault, Action::IommuFault),
    ];
    for (asked, action) in plain {
        match asked {
            Some(true) => found.push(action),
            Some(false) => {
                let message = format!("{} must be true; leave it out otherwise", action.name());
                return Err(source.error(span.clone(), message));
            }
            None => {}
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(source.error(
            span.clone(),
            "the step has no action; add one of fail, late, twice, torn, error, short, \
             lose, corrupt, source, signal, unplug, plug, occupy_cma, free_cma, iommu_fault, stop_clock",
        )),
        [first, second, ..] => {
            let (first, second) = (first.name(), second.name());
            let message = format!("one step cannot have {first} and {second}; write two [[step]]");
            Err(source.error(span.clone(), message))
        }
    }
}

fn when(source: &Source<'_>, span: &Range<usize>, raw: &RawStep, action: &Action) -> Result<When> {
    let given = [
        raw.time.as_ref().map(|_| "time"),
        raw.frame.as_ref().map(|_| "frame"),
        raw.call.as_ref().map(|_| "call"),
    ];
    let given: Vec<&str> = given.into_iter().flatten().collect();
    if let [first, second, ..] = given.as_slice() {
        let message = format!("a step cannot have both {first} and {second}; remove one");
        return Err(source.error(span.clone(), message));
    }
    let counted = match (&raw.of, action) {
        (Some(of), Action::Fail { .. }) => {
            let message = "call counts the failing calls here; remove of";
            return Err(source.error(of.span(), message));
        }
        (Some(of), _) if raw.call.is_none() => {
            let message = "of needs the number of the call; add, for example, call = 1";
            return Err(source.error(of.span(), message));
        }
        (Some(of), _) => Some(request(source, of)?),
        (None, Action::Fail { request, .. }) => Some(*request),
        (None, _) => None,
    };
    if let Some(at) = &raw.time {
        return Ok(When::Time(time(source, at)?));
    }
    if let Some(frame) = &raw.frame {
        return Ok(When::Frame(within(source, frame, 0, MAX_COUNT)?));
    }
    if let Some(call) = &raw.call {
        if matches!(action, Action::Frame(_)) {
            let message = format!(
                "{} can begin at a time or a frame, not at a call",
                action.name()
            );
            return Err(source.error(call.span(), message));
        }
        return Ok(When::Call {
            number: within(source, call, 1, MAX_COUNT)?,
            request: counted,
        });
    }
    Ok(When::Start)
}

fn within(source: &Source<'_>, value: &Spanned<i64>, least: u64, most: u64) -> Result<u64> {
    let number = u64::try_from(*value.get_ref()).ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            let message = format!(
                "{} is out of range: allowed are {least} to {most}",
                value.get_ref()
            );
            source.error(value.span(), message)
        })
}

/// Parses `/dev/videoN` or `/dev/dri/cardN`.
fn named(source: &Source<'_>, device: &Spanned<String>) -> Result<StepDevice> {
    let text = device.get_ref();
    let number = |directory: &str, kind: &str| {
        let name = text.strip_prefix(directory).unwrap_or(text);
        name.strip_prefix(kind)
    };
    let video = number("/dev/", "video").and_then(|n| n.parse().ok());
    let card = number("/dev/dri/", "card").and_then(|n| n.parse().ok());
    let found = video.map(StepDevice::Video);
    found.or(card.map(StepDevice::Card)).ok_or_else(|| {
        let message = format!(
            "{text:?} is not a video device or display card; write, for example, \"/dev/video0\""
        );
        source.error(device.span(), message)
    })
}

/// Returns the number of an ioctl by its name, with or without `VIDIOC_`. For an ioctl of a display card, returns
/// only its type and number, which are the low 16 bits.
pub(crate) fn call_named(name: &str) -> Option<u32> {
    let short = name.strip_prefix("VIDIOC_").unwrap_or(name);
    decode::request(&format!("VIDIOC_{short}")).or_else(|| vb3_drm::number(name))
}

/// Returns the name of an ioctl of video devices or display cards in scripts.
pub(crate) fn call_name(request: u32) -> &'static str {
    let name = decode::name(request).or_else(|| vb3_drm::name(request));
    name.unwrap_or_default().trim_start_matches("VIDIOC_")
}

/// Returns a guess at a misspelt ioctl, for the end of a message.
pub(crate) fn nearest_call(name: &str) -> String {
    let known = [
        "QUERYCAP",
        "ENUM_FMT",
        "G_FMT",
        "S_FMT",
        "TRY_FMT",
        "REQBUFS",
        "QUERYBUF",
        "QBUF",
        "DQBUF",
        "STREAMON",
        "STREAMOFF",
        "EXPBUF",
        "CREATE_BUFS",
        "PREPARE_BUF",
        "G_PARM",
        "S_PARM",
        "G_CTRL",
        "S_CTRL",
        "G_EXT_CTRLS",
        "S_EXT_CTRLS",
        "G_INPUT",
        "S_INPUT",
        "DQEVENT",
        "SUBSCRIBE_EVENT",
    ];
    did_you_mean(name.strip_prefix("VIDIOC_").unwrap_or(name), known)
}

/// Returns the value of an errno by its name.
pub(crate) fn errno_named(name: &str) -> Option<i32> {
    let is_name = name.starts_with('E');
    (1..=MAX_ERRNO).find(|n| is_name && sentence::errno(*n).0 == name)
}

fn request(source: &Source<'_>, name: &Spanned<String>) -> Result<u32> {
    let text = name.get_ref();
    call_named(text).ok_or_else(|| {
        let message = format!(
            "{text:?} is not an ioctl of video devices or display cards{}",
            nearest_call(text)
        );
        source.error(name.span(), message)
    })
}

fn fail(
    source: &Source<'_>,
    name: &Spanned<String>,
    errno: Option<&Spanned<Word>>,
) -> Result<Action> {
    let request = request(source, name)?;
    let Some(errno) = errno else {
        let message = "fail needs an errno; add, for example, errno = \"EIO\"";
        return Err(source.error(name.span(), message));
    };
    let number = match errno.get_ref() {
        Word::Number(number) => i32::try_from(*number).ok(),
        Word::Text(text) => errno_named(text),
    };
    let number = number.filter(|number| (1..=MAX_ERRNO).contains(number));
    let number = number.ok_or_else(|| {
        let message = format!(
            "unknown errno; write a known name such as \"EIO\", or a number from 1 to {MAX_ERRNO}"
        );
        source.error(errno.span(), message)
    })?;
    Ok(Action::Fail {
        request,
        errno: number,
    })
}

/// Parses a picture size such as `1280x720`.
fn picture(source: &Source<'_>, size: &Spanned<String>) -> Result<Action> {
    let sides = size.get_ref().split_once('x');
    let sides = sides.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let sides = sides.filter(|(w, h)| [w, h].iter().all(|side| (1..=MAX_SIDE).contains(*side)));
    let (width, height) = sides.ok_or_else(|| {
        let message = format!(
            "{:?} is not a size; write, for example, \"1280x720\"",
            size.get_ref()
        );
        source.error(size.span(), message)
    })?;
    Ok(Action::Source { width, height })
}

/// Parses a time into nanoseconds.
fn time(source: &Source<'_>, word: &Spanned<Word>) -> Result<u64> {
    let time = match word.get_ref() {
        Word::Number(seconds) => u64::try_from(*seconds)
            .ok()
            .and_then(|seconds| seconds.checked_mul(1_000_000_000)),
        Word::Text(text) => time_of(text),
    };
    let time = time.filter(|time| *time <= MAX_TIME_NS);
    time.ok_or_else(|| {
        let message =
            "not a time of whole nanoseconds and at most one day; write whole seconds, or for example \"40ms\" \
             or \"1.5s\"";
        source.error(word.span(), message)
    })
}

/// Converts `1.5s`, `40ms`, `200us` or `2min` to nanoseconds. Rejects times that need rounding, so that a
/// script means the same everywhere.
#[must_use]
pub fn time_of(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    let unit_ns: u64 = match unit.trim_start() {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = u32::try_from(part.len())
        .ok()
        .filter(|n| (1..=9).contains(n))?;
    let part: u64 = part.parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    let (fraction, scale) = (u128::from(part) * u128::from(unit_ns), 10_u128.pow(digits));
    if fraction % scale != 0 {
        return None;
    }
    whole
        .checked_mul(unit_ns)?
        .checked_add(u64::try_from(fraction / scale).ok()?)
}
