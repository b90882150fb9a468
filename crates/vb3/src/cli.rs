//! The command line's arguments.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use vb3_report::trace::Format;
use vb3_world::{Mappings, Pace};

/// Exit status when vb3 itself fails; the program's own statuses are passed on.
pub const FAILED: u8 = 125;
/// Exit status when the program succeeds, `--strict` was given and something went wrong.
pub const STRICT: u8 = 123;
/// Exit status when the program cannot be executed.
pub const CANNOT_EXECUTE: u8 = 126;
/// Exit status when the program is not found.
pub const NOT_FOUND: u8 = 127;

/// Cameras and displays for unmodified V4L2 programs, on a machine of your choice.
///
/// No kernel module and no root: the program's system calls on /dev/videoN are answered here.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program on the devices
    ///
    /// Without --device there is a camera with a test pattern at /dev/video0 and a display at
    /// /dev/video1. Several programs share the devices within one run: `vb3 run -- sh -c 'a | b'`.
    /// The exit status is the program's; 123 when the program succeeds and --strict finds a problem,
    /// 125 when vb3 itself fails or a recording is not whole, 126 or 127 when the program cannot be
    /// executed or found. The run lasts until the program and
    /// its background jobs end; daemons that it leaves behind (in sessions of their own, such as a
    /// D-Bus daemon) are named, and ended after two seconds. SIGTERM and SIGINT go to every
    /// process of the run; a second one kills them.
    Run(RunArgs),
    /// List the machines, or print one as a TOML file to copy and change
    Machines(MachinesArgs),
    /// List the devices that --device takes, or the options of one
    Devices {
        /// Explain this device
        kind: Option<String>,
    },
    /// List the scripts of faults, or print one as a TOML file to copy and change
    Scripts {
        /// Print this script
        name: Option<String>,
    },
    /// Explain what went wrong in the last run
    Why(WhyArgs),
    /// Run again what a report tells of: its program, machine, seed and devices
    ///
    /// The program runs in the same directory, in today's environment.
    Replay(ReplayArgs),
    /// Say in sentences in what two runs differ, by their reports
    ///
    /// Times are left out. Exit status: 0 where they do not differ, 1 where they do.
    Diff(DiffArgs),
    /// Say whether buffers for devices fit a machine, without running a program
    ///
    /// Each queue gets its buffers in turn, in the format that its device has at first, as if a
    /// program asked for them by REQBUFS. Exit status: 0 where all fit, 1 where they do not.
    Fits(FitsArgs),
    /// Say what this machine or container allows, and what works here
    ///
    /// Exit status: 0 where everything works for programs, 1 where they run and something does
    /// not, 2 where no program can be run. Missing codecs do not change it; the last line says what
    /// to install for them.
    Doctor(DoctorArgs),
    /// Plug and unplug devices of a run that is under way
    ///
    /// In a program of the run, or elsewhere by the same user. Returns when programs see it.
    Ctl(CtlArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Manual {
        /// The directory; it is made
        dir: PathBuf,
    },
    /// A codec's process; started by `run`
    #[command(hide = true)]
    Codec,
}

/// The machine of a run, and changes to its devices.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetArgs {
    /// Machine to run on: a name from `vb3 machines`, a TOML file, or a board's device tree
    #[arg(
        long,
        short,
        alias = "board",
        value_name = "NAME|FILE",
        default_value = "pc"
    )]
    pub machine: String,
    /// Memory of the machine, such as 512MiB; default: what its profile or device tree says
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub ram: Option<u64>,
    /// Change one option of a device: `--set video0.size=1280x720`, `--set camera.fps=15`, or with
    /// `--set video0=clip.mp4` what it plays or records. May be repeated
    #[arg(long, value_name = "DEVICE.KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `vb3 run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Machine and devices
    #[command(flatten)]
    pub target: TargetArgs,
    /// A device, /dev/video0 first; `vb3 devices` explains SPEC. May be repeated
    #[arg(long = "device", short, value_name = "SPEC")]
    pub devices: Vec<String>,
    /// Seed of the machine; the same seed gives the same run
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// How the devices' time passes: real; fast=N, N times as fast; virtual, at once to the next frame
    /// whenever a program waits for a device, and not at all while none does. Programs see their own
    /// clocks unchanged, and the devices' in timestamps
    #[arg(long, value_name = "real|fast=N|virtual", default_value_t)]
    pub clock: Pace,
    /// What happens to devices and machine, and when: a name from `vb3 scripts`, or a TOML file
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub script: Option<String>,
    /// How it is run and what is told of it
    #[command(flatten)]
    pub options: RunOptions,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

/// How a run goes and what is told of it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RunOptions {
    /// Write the run's report to this file: as JSON, or as a page to look at. May be repeated
    #[arg(long, value_name = "FILE.json|FILE.html")]
    pub report: Vec<PathBuf>,
    /// Write every call on a device to this file, as it is answered: time, thread, device, call,
    /// arguments, result, duration. Calls that only look whether a device is ready (poll, select,
    /// epoll) are not among them
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// How the trace is written; by the file's name without (*.json, *.perfetto.json, any other)
    #[arg(long, value_name = "FORMAT", requires = "trace", value_parser = trace_format())]
    pub trace_format: Option<Format>,
    /// Show every call on a device on standard error
    #[arg(long, short)]
    pub verbose: bool,
    /// Say nothing on standard error but why vb3 itself failed
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Exit with 123 when the program succeeds but a call was refused, a step of the script never
    /// happened, a frame was lost that no script took, a cache sync was missing, a buffer was used
    /// while a device had it or held at the end, or a source or codec broke down. Questions and
    /// crops are no refusals: ENUM_*, QUERY*, G_*, TRY_*, S_CROP, S_SELECTION, and calls that end
    /// with EAGAIN, ENOTTY or ENODEV
    #[arg(long)]
    pub strict: bool,
    /// When the program ends, end everything that it leaves running at once: by SIGTERM, and after
    /// two seconds by SIGKILL
    #[arg(long)]
    pub kill: bool,
    /// What programs find in buffers that are taken back (`vb3 ctl revoke`, `vb3 ctl unplug --revoke`):
    /// zeroes, or nothing, so that whoever touches them gets SIGBUS
    #[arg(
        long,
        value_name = "zero|fault",
        default_value = "zero",
        hide_default_value = true,
        hide_possible_values = true,
        value_parser = one_of::<Mappings>(["zero", "fault"])
    )]
    pub mappings: Mappings,
    /// When the program ends, wait for everything that it leaves running, daemons included
    #[arg(long, conflicts_with = "kill")]
    pub wait: bool,
}

/// Arguments of `vb3 replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// A report written by `vb3 run --report`; the last run's without
    pub recorded: Option<PathBuf>,
    /// How it is run and what is told of it
    #[command(flatten)]
    pub options: RunOptions,
}

/// Arguments of `vb3 diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// A report written by `vb3 run --report`
    pub before: PathBuf,
    /// Another
    pub after: PathBuf,
}

/// Arguments of `vb3 fits`.
#[derive(Debug, clap::Args)]
pub struct FitsArgs {
    /// Machine and devices
    #[command(flatten)]
    pub target: TargetArgs,
    /// Buffers of each queue
    #[arg(long, short, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub buffers: u32,
    /// Seed of the machine
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The devices; `vb3 devices` explains SPEC
    #[arg(value_name = "SPEC")]
    pub devices: Vec<String>,
}

/// Arguments of `vb3 machines`.
#[derive(Debug, clap::Args)]
pub struct MachinesArgs {
    /// Print the profile of this machine as TOML: a name, a TOML file, or a board's device tree
    #[arg(value_name = "NAME|FILE")]
    pub name: Option<String>,
    /// The former way to name a device tree
    #[arg(long, value_name = "FILE", conflicts_with = "name", hide = true)]
    pub from: Option<String>,
    /// Memory of the machine, such as 4GiB; default: what its profile or device tree says
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub ram: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Takes one of these words, for a type that is parsed from text.
fn one_of<T>(
    words: impl IntoIterator<Item = impl Into<PossibleValue>>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse())
}

fn trace_format() -> impl TypedValueParser<Value = Format> {
    one_of([
        PossibleValue::new("text").help("A line of text for each call"),
        PossibleValue::new("json").help("A JSON object on a line for each call"),
        PossibleValue::new("perfetto").help("Chrome's trace events, which ui.perfetto.dev opens"),
    ])
}

fn parse_size(text: &str) -> Result<u64, String> {
    vb3_machine::profile::parse_size(text)
        .ok_or_else(|| "a number of bytes, or one with KiB, MiB or GiB".to_owned())
}

/// Arguments of `vb3 why`.
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// A report written by `vb3 run --report`; the last run's without
    pub report: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `vb3 ctl`.
#[derive(Debug, clap::Args)]
pub struct CtlArgs {
    /// The run, by the process id of its `vb3 run`; without, the one this is in, or the only one
    #[arg(long, value_name = "PID")]
    pub run: Option<u32>,
    /// What to do
    #[command(subcommand)]
    pub order: CtlOrder,
}

/// What `vb3 ctl` does.
#[derive(Debug, Subcommand)]
pub enum CtlOrder {
    /// Unplug a device: its node goes, and calls on its open files fail with ENODEV
    Unplug {
        /// The device: /dev/videoN, videoN or N
        device: String,
        /// Revoke the buffers that it has exported, too; without, they live on with who holds them
        #[arg(long)]
        revoke: bool,
        /// What programs find in mappings of them: zeroes, or SIGBUS; without, what `vb3 run` was told
        #[arg(
            long,
            value_name = "zero|fault",
            requires = "revoke",
            hide_possible_values = true,
            value_parser = one_of::<Mappings>(["zero", "fault"])
        )]
        mappings: Option<Mappings>,
    },
    /// Plug a device in again
    Plug {
        /// The device: /dev/videoN, videoN or N
        device: String,
    },
    /// List the devices, and which are plugged in
    List,
    /// List the buffers, where they lie, and who holds each: queues, mappings and descriptors of
    /// processes, devices
    Buffers,
    /// Revoke a buffer: devices reach its memory no more, programs that have it mapped read zeroes or
    /// fault, the fences of devices that have it end with an error, and QBUF, EXPBUF and mmap of it fail
    /// with ENODEV
    Revoke {
        /// The buffer, by its number in `vb3 ctl buffers`
        buffer: String,
        /// What programs find in mappings of it: zeroes, or SIGBUS at the address that they touch;
        /// without, what `vb3 run` was told (--mappings), zeroes otherwise
        ///
        /// With `fault`, the threads of each process that has it mapped are stopped for a moment
        /// (ptrace), and this returns when they go on. A process that cannot be stopped (strace, a
        /// debugger, a seccomp filter of its own) goes on reading zeroes, and a remark says so.
        #[arg(long, value_name = "zero|fault", hide_possible_values = true,
              value_parser = one_of::<Mappings>(["zero", "fault"]))]
        mappings: Option<Mappings>,
    },
}

/// Arguments of `vb3 doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_passes_everything_after_the_program_on() {
        let cli = Cli::try_parse_from([
            "vb3",
            "run",
            "-d",
            "camera=pattern",
            "-d",
            "display=null",
            "--seed",
            "7",
            "--",
            "v4l2-ctl",
            "--device",
            "1",
            "--help",
        ])
        .unwrap();
        let Command::Run(args) = cli.command else {
            panic!("not run")
        };
        assert_eq!(args.devices, ["camera=pattern", "display=null"]);
        assert_eq!(args.seed, 7);
        assert_eq!(args.program, ["v4l2-ctl", "--device", "1", "--help"]);
    }

    #[test]
    fn run_needs_a_program() {
        assert!(Cli::try_parse_from(["vb3", "run", "--seed", "7"]).is_err());
    }
}
