//! `vb3 ctl`: sends an order to a run's socket and prints the answer.

use crate::cli::{CtlArgs, CtlOrder};
use anyhow::{Context as _, Result, anyhow, bail};
use std::io::{self, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vb3_world::Mappings;
use vb3_world::control::{directory, living};

/// Environment variable with the path of the run's socket, for `vb3 ctl` inside the run.
pub(crate) const VARIABLE: &str = "VB3_CONTROL";
/// Maximum time to wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Finds the socket of the named run, else of the run around this process, else of the only run.
fn socket(run: Option<u32>) -> Result<PathBuf> {
    let dir = directory();
    if let Some(pid) = run {
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
    let path = socket(args.run)?;
    let order = match &args.order {
        CtlOrder::Plug { device } => format!("plug {device}\n"),
        CtlOrder::Unplug {
            device,
            revoke,
            mappings,
        } => match revoke {
            true => format!("unplug-and-revoke {device}{}\n", word(*mappings)),
            false => format!("unplug {device}\n"),
        },
        CtlOrder::List => "list\n".to_owned(),
        CtlOrder::Buffers => "buffers\n".to_owned(),
        CtlOrder::Revoke { buffer, mappings } => format!("revoke {buffer}{}\n", word(*mappings)),
    };
    let answer = exchange(&path, &order)
        .with_context(|| format!("the run at {} does not answer", path.display()))?;
    let (status, list) = answer.split_once('\n').unwrap_or((&answer, ""));
    match status.split_once(' ') {
        Some(("no", why)) => Err(anyhow!("{why}")),
        _ if status == "ok" => Ok(out.write_all(list.as_bytes())?),
        _ => bail!("the run at {} has ended", path.display()),
    }
}

/// Returns the word of an order for the chosen behaviour of revoked mappings.
const fn word(mappings: Option<Mappings>) -> &'static str {
    match mappings {
        None => "",
        Some(Mappings::Zero) => " zero",
        Some(Mappings::Fault) => " fault",
    }
}

fn exchange(path: &Path, order: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(order.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
