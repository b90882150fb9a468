//! `vb3 ctl`: sends an order (see docs/control.md) to a run's socket and prints the answer.

use crate::cli::{CtlArgs, CtlOrder};
use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vb3_client::{Client, EventKind, FileFormat, Order, VARIABLE};
use vb3_run::Mappings;
use vb3_run::control::{directory, living};

/// Finds the socket of the named run, else of the run around this process, else of the only run.
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
        [only] => Ok(only.clone()),
        [] => bail!(
            "{} (there is no socket in {}); start one with `vb3 run`",
            active(&runs),
            dir.display()
        ),
        _ => bail!("{}; choose one with --run", active(&runs)),
    }
}

/// Names the active runs by their process IDs.
fn active(runs: &[PathBuf]) -> String {
    let pids: Vec<_> = runs.iter().filter_map(|path| path.file_name()).collect();
    let pids: Vec<_> = pids.iter().map(|pid| pid.to_string_lossy()).collect();
    match pids.len() {
        0 => "no run of this user is active".to_owned(),
        1 => format!("the active run is {}", pids.join("")),
        count => format!("{count} runs are active: {}", pids.join(", ")),
    }
}

/// Sends an order and prints the answer.
///
/// # Errors
/// There is no such run or device, or the device already has the requested state.
pub fn send(args: &CtlArgs, out: &mut dyn Write) -> Result<()> {
    let path = socket(args)?;
    let of_run = |e: vb3_client::Error| match e {
        vb3_client::Error::Ended => anyhow!("the run at {} has ended", path.display()),
        e => anyhow!("{}: {e}", path.display()),
    };
    let mut client = Client::connect(&path).map_err(of_run)?;
    let answer = client.exchange(&order(&args.order)?).map_err(of_run)?;
    if let CtlOrder::Watch { count, .. } = args.order
        && answer.get("error").is_none()
    {
        return watch(&mut client, count, args.json, out);
    }
    if args.json {
        writeln!(out, "{answer}")?;
    }
    match answer.get("error") {
        Some(error) => Err(match (text(error, "field"), text(error, "message")) {
            ("", message) => anyhow!("{message}"),
            (field, message) => anyhow!("{field}: {message}"),
        }),
        None if args.json => Ok(()),
        None => print(&args.order, &answer, out),
    }
}

/// Prints an answer as text.
fn print(order: &CtlOrder, answer: &Value, out: &mut dyn Write) -> Result<()> {
    match order {
        CtlOrder::Buffers => out.write_all(text(answer, "buffers").as_bytes())?,
        CtlOrder::List => {
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

/// Prints events, `count` of them or until the run ends.
fn watch(
    client: &mut Client,
    count: Option<u64>,
    is_json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let mut left = count;
    while left != Some(0) {
        let event = match client.next_event_line() {
            Err(vb3_client::Error::Ended) if count.is_none() => return Ok(()),
            event => event.context("the run does not send events")?,
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
    Ok(())
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
        CtlOrder::List => Order::state(),
        CtlOrder::Buffers => Order::buffers(),
        CtlOrder::Plug { device } => Order::plug(device),
        CtlOrder::Unplug {
            device,
            revoke: true,
            mappings,
        } => Order::unplug_and_revoke(device, mappings.map(named)),
        CtlOrder::Unplug { device, .. } => Order::unplug(device),
        CtlOrder::Revoke { buffer, mappings } => Order::revoke(buffer, mappings.map(named)),
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
            Order::subscribe(kinds, device.as_deref())
        }
    })
}

fn absolute(file: &Path) -> Result<String> {
    let path = std::path::absolute(file);
    let path = path.with_context(|| format!("cannot find {}", file.display()))?;
    let text = path.to_str().context("the file's name is not UTF-8")?;
    Ok(text.to_owned())
}

const fn named(mappings: Mappings) -> vb3_client::Mappings {
    match mappings {
        Mappings::Zero => vb3_client::Mappings::Zero,
        Mappings::Fault => vb3_client::Mappings::Fault,
    }
}
