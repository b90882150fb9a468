//! Parses the command line and runs its command.

use crate::cli::{Cli, Command, FAILED, RunArgs, WhyArgs};
use crate::run::Exit;
use crate::say::say;
use crate::{clone, ctl, devices, doctor, fits, machines, manual, replay, run, scripts};
use anyhow::{Error, Result};
use clap::{CommandFactory as _, Parser as _};
use std::io::Write;
use std::path::Path;
use vb3_report::{diff, kernel, why};

/// Runs the command line. Returns the exit status.
#[must_use]
pub fn main() -> u8 {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(String::new, |at| format!(" at {at}"));
        say(format_args!(
            "internal error{place}; this is a defect in vb3, not in your program"
        ));
    }));
    let words: Vec<_> = std::env::args_os().collect();
    let command = match RunArgs::parse(&words) {
        Some(args) => Command::Run(args),
        None => match Cli::try_parse_from(&words) {
            Ok(cli) => cli.command,
            Err(e) => return explain(&e),
        },
    };
    let result = match &command {
        Command::Run(args) => run::run(args).map(Exit::status),
        Command::VhostUser(args) => run::serve_guests(args).map(Exit::status),
        Command::Machines(args) => list(|out| machines::print(args, out)),
        Command::Devices { kind, json } => {
            list(|out| devices::print((kind.as_deref(), *json), out))
        }
        Command::Scripts { name, json } => {
            list(|out| scripts::print((name.as_deref(), *json), out))
        }
        Command::Clone(args) => list(|out| clone::print(args, out)),
        Command::Why(args) => list(|out| explain_report(args, out)),
        Command::Replay(args) => replay::replay(args).map(Exit::status),
        Command::Diff(args) => {
            to_stdout(|out| diff::print((&args.before, &args.after), args.json, out))
        }
        Command::Fits(args) => to_stdout(|out| fits::print(args, out)),
        Command::Doctor(args) => to_stdout(|out| doctor::print(args, out)),
        Command::Ctl(args) => to_stdout(|out| ctl::send(args, out)),
        Command::Completions { shell } => list(|out| manual::completions(*shell, out)),
        Command::Manual { dir } => manual::pages(dir).map(|()| 0),
        Command::Codec => {
            // The standard input of a codec process is the socket to the `vb3` that started it.
            let _ = vb3_codec::serve_stdin();
            Ok(0)
        }
    };
    match result {
        Ok(status) => status,
        Err(e) => {
            say(format_args!("{e:#}"));
            FAILED
        }
    }
}

/// Prints help, or the error in the command line. Returns the exit status.
fn explain(error: &clap::Error) -> u8 {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if error.kind() == ErrorKind::InvalidUtf8 {
        let mut arguments = std::env::args_os();
        let wrong = arguments.find(|word| word.to_str().is_none());
        say(format_args!(
            "{:?} is not UTF-8, and vb3's arguments must be; if it is a file, rename it or \
            link to it: ln -s FILE clip.mkv",
            wrong.unwrap_or_default()
        ));
        return FAILED;
    }
    let word = match error.get(ContextKind::InvalidSubcommand) {
        // clap itself explains an unknown subcommand of `ctl`.
        Some(ContextValue::String(word))
            if error.kind() == ErrorKind::InvalidSubcommand
                && std::env::args_os()
                    .skip(1)
                    .find(|word| word != "--")
                    .is_some_and(|first| first == word.as_str()) =>
        {
            word
        }
        _ => {
            // An error of the terminal does not change the exit status.
            let _ = error.print();
            return if error.use_stderr() { FAILED } else { 0 };
        }
    };
    let command = Cli::command();
    let shown = command
        .get_subcommands()
        .filter(|known| !known.is_hide_set());
    let names: Vec<&str> = shown.map(clap::Command::get_name).collect();
    let guess = vb3_devices::spec::did_you_mean(word, names);
    say(format_args!(
        "there is no command \"{word}\"{guess} To run a program on the devices: vb3 run -- \
         {word} …; `vb3 --help` lists the commands"
    ));
    FAILED
}

/// Runs a command that only prints to standard output. Returns its exit status.
fn list(print: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<u8> {
    // `vb3 machines | head -1` closes the pipe early, which is not a failure.
    to_stdout(|out| print(out).map(|()| 0)).map(|_| 0)
}

/// Runs a command that prints to standard output and returns an exit status. If the reader closes the pipe
/// first, returns the status of a program that SIGPIPE has killed.
fn to_stdout(print: impl FnOnce(&mut dyn Write) -> Result<u8>) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    let status = print(&mut out);
    match status.and_then(|status| Ok(out.flush().map(|()| status)?)) {
        Err(e) if is_broken_pipe(&e) => Ok(128 + 13),
        status => status,
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn explain_report(args: &WhyArgs, out: &mut dyn Write) -> Result<()> {
    if args.kernel {
        return kernel::print(Path::new(kernel::DEBUGFS), out);
    }
    let report = why::load_or_last(args.report.as_deref())?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        let said = args.report.is_none().then(|| why::when_and_where(&report));
        if let Some(said) = said.flatten() {
            say(said);
        }
        why::print(&report, out)?;
    }
    Ok(())
}
