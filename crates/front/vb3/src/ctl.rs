//! `vb3 ctl`: sends an order (see docs/control.md) to a run's socket and prints the answer.

use crate::cli::{CtlArgs, CtlOrder};
use crate::say::say;
use anyhow::{Context as _, Result, bail};
use serde::Deserialize as _;
use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vb3_client::{Client, Error, EventKind, FileFormat, Order, VARIABLE};
use vb3_run::BufferList;
use vb3_run::control::{directory, living};

/// Maximum number of characters of a program's command in a message.
const MAX_SHOWN: usize = 60;
/// Exit status if the run refuses an order.
const REFUSED: u8 = 1;
/// Exit status if there is no such run, or several runs to choose from.
const NO_RUN: u8 = 2;
/// Exit status if the connection ends before the answer.
const LOST: u8 = 3;

/// Finds the socket: the path of `--control`, else that of the run with the process ID of `--run`, else that of the
/// run in which this process was started ([`VARIABLE`]), else that of the user's only active run. In the last case,
/// prints on standard error which run it has chosen.
fn socket(args: &CtlArgs) -> Result<PathBuf> {
    let dir = directory();
    if let Some(path) = &args.control {
        return Ok(path.clone());
    }
    if let Some(pid) = args.run {
        let path = dir.join(pid.to_string());
        if !path.exists() {
            bail!("there is no run {pid}; {}", active(&living(&dir)));
        }
        return Ok(path);
    }
    if let Some(path) = std::env::var_os(VARIABLE) {
        return Ok(path.into());
    }
    let runs = living(&dir);
    match &runs[..] {
        [only] => {
            say(format_args!(
                "{} (--run or --control chooses one)",
                active(&runs)
            ));
            Ok(only.clone())
        }
        [] => bail!(
            "{} (there is no socket in {}); start one with `vb3 run`",
            active(&runs),
            dir.display()
        ),
        _ => bail!("{}; choose one with --run", active(&runs)),
    }
}

/// Names the active runs by their process IDs and commands.
fn active(runs: &[PathBuf]) -> String {
    let pids = runs.iter().filter_map(|path| path.file_name()?.to_str());
    let named: Vec<String> = pids.map(|pid| format!("{pid}{}", command(pid))).collect();
    match named.as_slice() {
        [] => "no run of this user is active".to_owned(),
        [only] => format!("the active run is {only}"),
        all => format!("{} runs are active: {}", all.len(), all.join(", ")),
    }
}

/// Returns the command of a run's process in parentheses; empty if it cannot be read.
fn command(pid: &str) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line
        .split(|&byte| byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    // The words before `--` are options of vb3.
    let program = words
        .iter()
        .position(|word| word == "--")
        .map_or(2, |at| at + 1);
    let shown: String = words
        .get(program..)
        .unwrap_or_default()
        .join(" ")
        .chars()
        .take(MAX_SHOWN)
        .collect();
    match shown.trim() {
        "" => String::new(),
        shown => format!(" ({shown})"),
    }
}

/// Sends an order and prints the answer. Returns the exit status.
///
/// # Errors
/// The order is wrong, or `out` cannot be written.
pub fn send(args: &CtlArgs, out: &mut dyn Write) -> Result<u8> {
    let path = match socket(args) {
        Ok(path) => path,
        Err(e) => {
            say(format_args!("{e:#}"));
            return Ok(NO_RUN);
        }
    };
    let order = order(&args.order)?;
    let answered = Client::connect(&path).and_then(|mut client| {
        let answer = client.exchange(&order)?;
        Ok((client, answer))
    });
    let (mut client, answer) = match answered {
        Ok(answered) => answered,
        Err(e) => return Ok(failed(&path, &e)),
    };
    if let CtlOrder::Watch { count, .. } = args.order
        && answer.get("error").is_none()
    {
        return watch((&mut client, &path), count, args.json, out);
    }
    if args.json {
        writeln!(out, "{answer}")?;
    }
    match answer.get("error") {
        Some(error) => {
            match (text(error, "field"), text(error, "message")) {
                ("", message) => say(message),
                (field, message) => say(format_args!("{field}: {message}")),
            }
            Ok(REFUSED)
        }
        None if args.json => Ok(0),
        None => print(&args.order, &answer, out).map(|()| 0),
    }
}

/// Prints why there is no answer. Returns the exit status.
fn failed(path: &Path, error: &Error) -> u8 {
    say(format_args!("{}: {error}", path.display()));
    match error {
        Error::Socket(e) if is_no_run(e) => NO_RUN,
        _ => LOST,
    }
}

/// Returns whether no run listens at the socket.
fn is_no_run(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

/// Prints an answer as text.
fn print(order: &CtlOrder, answer: &Value, out: &mut dyn Write) -> Result<()> {
    match order {
        CtlOrder::Buffers => write!(out, "{}", BufferList::deserialize(answer)?)?,
        CtlOrder::State => {
            let devices = answer.get("devices").and_then(Value::as_array);
            for device in devices.into_iter().flatten() {
                let is_plugged = device.get("plugged").and_then(Value::as_bool);
                let state = match is_plugged {
                    Some(true) => "plugged",
                    _ => "unplugged",
                };
                let (path, kind) = (text(device, "path"), text(device, "kind"));
                writeln!(out, "{path} {state} {kind}")?;
            }
        }
        CtlOrder::Set { control, value, .. } => {
            let set = answer.get("value").and_then(Value::as_i64);
            if let Some(set) = set.filter(|set| set != value) {
                writeln!(out, "{control} is {set}, the nearest value to {value}")?;
            }
        }
        CtlOrder::Shown { .. } => writeln!(out, "{}", words(answer, &["ok"]))?,
        _ => {}
    }
    Ok(())
}

/// Prints events, `count` of them or until the run ends. Returns the exit status.
fn watch(
    (client, path): (&mut Client, &Path),
    count: Option<u64>,
    is_json: bool,
    out: &mut dyn Write,
) -> Result<u8> {
    let mut left = count;
    while left != Some(0) {
        let event = match client.next_event_line() {
            Err(Error::Ended) if count.is_none() => return Ok(0),
            Err(e) => return Ok(failed(path, &e)),
            Ok(event) => event,
        };
        match is_json {
            true => writeln!(out, "{event}")?,
            false => writeln!(
                out,
                "{} {}",
                text(&event, "event"),
                words(&event, &["event"])
            )?,
        }
        out.flush()?;
        left = left.map(|left| left - 1);
    }
    Ok(0)
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the fields as `name=value`, without the `hidden` ones.
fn words(object: &Value, hidden: &[&str]) -> String {
    let fields = object.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| !hidden.contains(&name.as_str()));
    let words = fields.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Converts an order of the command line to an order of the socket's protocol.
fn order(order: &CtlOrder) -> Result<Order> {
    Ok(match order {
        CtlOrder::State => Order::state(),
        CtlOrder::Buffers => Order::buffers(),
        CtlOrder::Plug { device } => Order::plug(device),
        CtlOrder::Unplug {
            device,
            revoke: true,
        } => Order::unplug_and_revoke(device),
        CtlOrder::Unplug { device, .. } => Order::unplug(device),
        CtlOrder::Revoke { buffer } => Order::revoke(buffer),
        CtlOrder::Play {
            device,
            source,
            sequence,
        } => {
            let source = match source.as_os_str() == "pattern" {
                true => "pattern".to_owned(),
                false => absolute(source)?,
            };
            match sequence {
                Some(sequence) => Order::play_at(device, &source, *sequence),
                None => Order::play(device, &source),
            }
        }
        CtlOrder::Pause { device } => Order::pause(device),
        CtlOrder::Reset { device } => Order::reset(device),
        CtlOrder::Resume { device } => Order::resume(device),
        CtlOrder::Signal { device, signal } => Order::signal(device, signal),
        CtlOrder::Fail {
            device,
            call,
            errno,
            times,
        } => Order::fail(device, call, errno, *times),
        CtlOrder::Set {
            device,
            control,
            value,
        } => Order::set(device, control, *value),
        CtlOrder::Wait { device, frame } => Order::wait(device, *frame),
        CtlOrder::Advance { time } => Order::advance(Duration::from_nanos(*time)),
        CtlOrder::Push {
            device,
            file,
            after,
        } => Order::push(device, &absolute(file)?, after.map(Duration::from_nanos)),
        CtlOrder::Shown { device, file: None } => Order::shown(device),
        CtlOrder::Shown {
            device,
            file: Some(file),
        } => {
            let is_png = file
                .extension()
                .is_some_and(|end| end.eq_ignore_ascii_case("png"));
            let format = match is_png {
                true => FileFormat::Png,
                false => FileFormat::Raw,
            };
            Order::save_shown(device, &absolute(file)?, format)
        }
        CtlOrder::Watch { events, device, .. } => {
            let kinds: Vec<_> = events
                .iter()
                .filter_map(|name| EventKind::named(name))
                .collect();
            let kinds = match kinds.as_slice() {
                [] => &EventKind::ALL,
                kinds => kinds,
            };
            Order::watch(kinds, device.as_deref())
        }
    })
}

fn absolute(file: &Path) -> Result<String> {
    let path = std::path::absolute(file);
    let path = path.with_context(|| format!("cannot find {}", file.display()))?;
    let text = path.to_str().context("the file's name is not UTF-8")?;
    Ok(text.to_owned())
}
