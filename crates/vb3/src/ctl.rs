//! `vb3 ctl`: sends an order to a run's socket and prints the answer.

use crate::cli::{CtlArgs, CtlOrder};
use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};
use std::io::{self, BufRead as _, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vb3_world::Mappings;
use vb3_world::control::{directory, living};

/// Environment variable with the path of the run's socket, for `vb3 ctl` inside the run.
pub(crate) const VARIABLE: &str = "VB3_CONTROL";
/// Maximum time to wait for an answer, except to an order that waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Finds the socket of the named run, else of the run around this process, else of the only run.
fn socket(args: &CtlArgs) -> Result<PathBuf> {
    let dir = directory();
    if let Some(path) = &args.control {
        return Ok(path.clone());
    }
    if let Some(pid) = args.run {
        return Ok(dir.join(pid.to_string()));
    }
    if let Some(path) = std::env::var_os(VARIABLE) {
        return Ok(path.into());
    }
    let mut runs = living(&dir);
    match (runs.pop(), runs.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => bail!(
            "no run of this user is active (there is no socket in {}); start one with `vb3 run`",
            dir.display()
        ),
        (Some(last), _) => {
            runs.push(last);
            let pids: Vec<_> = runs.iter().filter_map(|path| path.file_name()).collect();
            let pids: Vec<_> = pids.iter().map(|pid| pid.to_string_lossy()).collect();
            bail!(
                "{} runs are active; choose one with --run: {}",
                runs.len(),
                pids.join(", ")
            )
        }
    }
}

/// Sends an order and prints the answer.
///
/// # Errors
/// There is no such run or device, or the device already has the requested state.
pub fn send(args: &CtlArgs, out: &mut dyn Write) -> Result<()> {
    let path = socket(args)?;
    let order = order(&args.order)?;
    let waits = matches!(args.order, CtlOrder::Wait { .. } | CtlOrder::Advance { .. });
    let timeout = (!waits).then_some(ANSWER_TIMEOUT);
    let answer = exchange(&path, &order, timeout)
        .with_context(|| format!("the run at {} does not answer", path.display()))?;
    if answer.is_empty() {
        bail!("the run at {} has ended", path.display());
    }
    if args.json {
        return Ok(out.write_all(answer.as_bytes())?);
    }
    let answer: Value = serde_json::from_str(&answer)
        .with_context(|| format!("the run at {} answers in another language", path.display()))?;
    if let Some(error) = answer.get("error") {
        return Err(anyhow!("{}", text(error, "message")));
    }
    if let Some(buffers) = answer.get("buffers").and_then(Value::as_str) {
        out.write_all(buffers.as_bytes())?;
    }
    let devices = answer.get("devices").and_then(Value::as_array);
    for device in devices.into_iter().flatten() {
        let is_plugged = device.get("plugged").and_then(Value::as_bool);
        let state = if is_plugged == Some(true) {
            "plugged"
        } else {
            "unplugged"
        };
        writeln!(
            out,
            "{} {state} {}",
            text(device, "path"),
            text(device, "kind")
        )?;
    }
    Ok(())
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns an order as the socket's protocol has it.
fn order(order: &CtlOrder) -> Result<Value> {
    Ok(match order {
        CtlOrder::List => json!({"do": "state"}),
        CtlOrder::Buffers => json!({"do": "buffers"}),
        CtlOrder::Plug { device } => json!({"do": "plug", "device": device}),
        CtlOrder::Unplug {
            device,
            revoke,
            mappings,
        } => {
            let order = json!({"do": "unplug", "device": device, "revoke": revoke});
            with_mappings(order, *mappings)
        }
        CtlOrder::Revoke { buffer, mappings } => {
            with_mappings(json!({"do": "revoke", "buffer": buffer}), *mappings)
        }
        CtlOrder::Play {
            device,
            source,
            sequence,
        } => {
            let source = match source.as_os_str() == "pattern" {
                true => source.clone(),
                false => std::path::absolute(source)
                    .with_context(|| format!("cannot find {}", source.display()))?,
            };
            let source = source.to_str().context("the file's name is not UTF-8")?;
            let mut order = json!({"do": "play", "device": device, "source": source});
            if let Some(sequence) = sequence {
                order["sequence"] = json!(sequence);
            }
            order
        }
        CtlOrder::Pause { device } => json!({"do": "pause", "device": device}),
        CtlOrder::Resume { device } => json!({"do": "resume", "device": device}),
        CtlOrder::Signal { device, signal } => {
            json!({"do": "signal", "device": device, "signal": signal})
        }
        CtlOrder::Fail {
            device,
            call,
            errno,
            times,
        } => {
            json!({"do": "fail", "device": device, "call": call, "errno": errno, "times": times})
        }
        CtlOrder::Set {
            device,
            control,
            value,
        } => json!({"do": "set", "device": device, "control": control, "value": value}),
        CtlOrder::Wait { device, frame } => {
            json!({"do": "wait", "device": device, "frame": frame})
        }
        CtlOrder::Advance { time } => json!({"do": "advance", "ns": time}),
    })
}

fn with_mappings(mut order: Value, mappings: Option<Mappings>) -> Value {
    if let Some(mappings) = mappings {
        order["mappings"] = json!(match mappings {
            Mappings::Zero => "zero",
            Mappings::Fault => "fault",
        });
    }
    order
}

/// Sends one line and returns the answer's line; an empty one if the run ends before.
fn exchange(path: &Path, order: &Value, timeout: Option<Duration>) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(timeout)?;
    stream.write_all(format!("{order}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
