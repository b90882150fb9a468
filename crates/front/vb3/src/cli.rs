//! Definition of the command line.
#![allow(
    clippy::doc_paragraphs_missing_punctuation,
    reason = "clap shows them as help, which has no full stops"
)]

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args as _, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use vb3_intercept::Leftover;
use vb3_report::trace::Format;
use vb3_run::Pace;
use vb3_run::script::time_of;

/// Exit status when vb3 itself fails. Otherwise vb3 exits with the status of the program.
pub const FAILED: u8 = 125;
/// Exit status when the program succeeds but `--strict` finds a problem.
pub const STRICT: u8 = 123;

/// Headings of options in the help.
const DEVICES: &str = "Machine and devices";
const TIME: &str = "Time and faults";
const PROCESSES: &str = "Processes and control";
/// Keeps clap's own heading: "Arguments" or "Options".
const PLAIN: Option<&str> = None;

/// Simulated cameras, displays and codecs for unmodified V4L2 programs, on a machine of your
/// choice.
///
/// Needs no kernel module and no root: vb3 answers the program's system calls on /dev/videoN.
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
    /// Without --device, /dev/video0 is a camera with a test pattern and /dev/video1 is a display,
    /// except on boards, which have their own devices (`v4l2-ctl --list-devices`).
    /// Several programs can share the devices of one run: `vb3 run -- sh -c 'a | b'`.
    ///
    /// The exit status is the program's. It is 123 if the program succeeds but --strict finds a
    /// problem, 125 if vb3 itself fails or a recording is incomplete, 126 if the program cannot be
    /// executed, and 127 if it is not found. If SIGINT ends the program, vb3 also ends by SIGINT.
    ///
    /// The run lasts until the program and its background jobs end. If daemons remain (processes in a
    /// session of their own, such as a D-Bus daemon), vb3 prints their names and ends them after two
    /// seconds. vb3 passes SIGTERM and SIGINT to every process of the run; a second signal kills them.
    Run(RunArgs),
    /// Give the guests of virtual machines the devices of a run, until SIGINT or SIGTERM
    ///
    /// Each video device is a virtio-media device behind a vhost-user socket in DIR: video0.sock for
    /// /dev/video0. A VMM connects there. Without --device, the devices are those of `vb3 run`.
    ///
    /// The exit status is 0. It is 123 if --strict finds a problem, and 125 if vb3 itself fails.
    VhostUser(VhostUserArgs),
    /// List the machines, or print one as a TOML file to copy and edit
    Machines(MachinesArgs),
    /// List the devices for --device, or the options of one
    Devices {
        /// Explain this device
        kind: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the fault scripts, or print one as a TOML file to copy and edit
    Scripts {
        /// Print this script
        name: Option<String>,
        /// Print the list as JSON
        #[arg(long, conflicts_with = "name")]
        json: bool,
    },
    /// Describe a real camera as a TOML file that --device plays
    ///
    /// Prints its formats, sizes, rates, controls, inputs and USB identity, and when the frames of a
    /// stream in its present format arrive. The device's settings do not change.
    Clone(CloneArgs),
    /// Explain what went wrong in the last run
    Why(WhyArgs),
    /// Repeat the run of a report: its program, machine, seed, devices, script and clock
    ///
    /// The program runs in the same directory, with the current environment.
    Replay(ReplayArgs),
    /// Compare the reports of two runs
    ///
    /// Times are not compared. Exit status: 0 if the runs do not differ, 1 if they do.
    Diff(DiffArgs),
    /// Check whether buffers for devices fit a machine, without running a program
    ///
    /// Allocates the buffers of one queue after the other, as REQBUFS does, in each device's
    /// default format. Exit status: 0 if all buffers fit, 1 if not.
    Fits(FitsArgs),
    /// Show what this machine or container allows, and which features work
    ///
    /// Exit status: 0 if everything works, 1 if programs run but some feature does not work, 2 if
    /// no program can be run. Missing codecs do not change the status; the last line says what to
    /// install for them.
    Doctor(DoctorArgs),
    /// Control an active run: plug devices, change sources, make calls fail, list buffers
    ///
    /// Call it from a program of the run, or from another terminal of the same user. It returns once
    /// programs see the change. Exit status: 0 if the run carried out the order, 1 if it refuses the
    /// order, 2 if there is no such run, 3 if the connection ends before the answer.
    Ctl(CtlArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Manual {
        /// The directory; created if it does not exist
        dir: PathBuf,
    },
    /// Serve as a codec process (`run` starts it)
    #[command(hide = true)]
    Codec,
}

/// The machine of a run, and changes to its devices.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = DEVICES)]
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
    /// Size of the machine's memory, such as 512MiB [default: as in the profile or device tree]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub ram: Option<u64>,
    /// Change an option of a device, such as video0.size=1280x720. May be repeated
    ///
    /// The device is a node (`video0`) or a kind (`--set camera.fps=15`). Without KEY, VALUE is the
    /// file that the device plays or records: `--set video0=clip.mp4`.
    #[arg(long, value_name = "DEVICE.KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `vb3 run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Machine and devices
    #[command(flatten)]
    pub target: TargetArgs,
    /// A device; the first is /dev/video0. `vb3 devices` explains SPEC. May be repeated
    #[arg(long = "device", short, value_name = "SPEC", help_heading = DEVICES)]
    pub devices: Vec<String>,
    /// Seed of the machine; the same seed repeats the run
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = TIME)]
    pub seed: u64,
    /// Clock of the devices: real, N times as fast, virtual, or in steps
    ///
    /// The virtual clock stands still until a program waits for a device, and then jumps to the next
    /// frame. With `steps`, it stands still until `vb3 ctl advance` or `push` moves it. Timestamps of frames use this clock; the program's own clocks do not change.
    #[arg(long, value_name = "real|fast=N|virtual|steps", default_value_t, help_heading = TIME)]
    pub clock: Pace,
    /// Script of faults and events: a name from `vb3 scripts`, or a TOML file
    #[arg(long, value_name = "NAME|FILE.toml", help_heading = TIME)]
    pub script: Option<String>,
    /// Options of the run
    #[command(flatten)]
    pub options: RunOptions,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM", help_heading = PLAIN)]
    pub program: Vec<OsString>,
}

/// Arguments of `vb3 vhost-user`.
#[derive(Debug, clap::Args)]
pub struct VhostUserArgs {
    /// Directory of the sockets; created if it does not exist
    #[arg(long, value_name = "DIR")]
    pub socket: PathBuf,
    /// Offer dma-bufs by UUID, for a guest's driver that implements them
    ///
    /// The published driver does not: with this option, programs in its guest are promised dma-bufs that do not work.
    #[arg(long)]
    pub dma_bufs: bool,
    /// Machine and devices
    #[command(flatten)]
    pub target: TargetArgs,
    /// A device; the first is /dev/video0. `vb3 devices` explains SPEC. May be repeated
    #[arg(long = "device", short, value_name = "SPEC", help_heading = DEVICES)]
    pub devices: Vec<String>,
    /// Seed of the machine
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = TIME)]
    pub seed: u64,
    /// Clock of the devices: real, N times as fast, virtual, or in steps
    ///
    /// The virtual clock advances whenever a guest has given a device a buffer and the device has no
    /// finished buffer to return.
    #[arg(long, value_name = "real|fast=N|virtual|steps", default_value_t, help_heading = TIME)]
    pub clock: Pace,
    /// Script of faults and events: a name from `vb3 scripts`, or a TOML file
    #[arg(long, value_name = "NAME|FILE.toml", help_heading = TIME)]
    pub script: Option<String>,
    /// Options of the run. --leftover has no effect
    #[command(flatten)]
    pub options: RunOptions,
}

impl RunArgs {
    /// Parses the command line of `vb3 run` without the parsers of the other commands.
    ///
    /// Returns `None` for other commands, and for a command line with an error or a request for help or the
    /// version. [`Cli`] then parses it again and prints the answer.
    ///
    /// A run starts sooner this way: the parsers of all other commands need 250 KiB of memory.
    #[must_use]
    pub fn parse(words: &[OsString]) -> Option<Self> {
        let words = words.get(1..)?;
        if words.first()? != "run" {
            return None;
        }
        let command = Self::augment_args(clap::Command::new("run"));
        let matches = command.try_get_matches_from(words).ok()?;
        Self::from_arg_matches(&matches).ok()
    }
}

/// Options of a run, its report and its trace.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Results")]
pub struct RunOptions {
    /// Write the run's report to this file, as JSON or as an HTML page. May be repeated
    #[arg(long, value_name = "FILE.json|FILE.html")]
    pub report: Vec<PathBuf>,
    /// Write every call on a device to this file; - is standard output
    ///
    /// Each line has the time, thread, device, call, arguments, result and duration. poll, select and
    /// epoll are omitted.
    #[arg(long, value_name = "FILE|-")]
    pub trace: Option<PathBuf>,
    /// Format of the trace [default: by the file's name: *.json, *.perfetto.json, else text]
    #[arg(long, value_name = "FORMAT", requires = "trace", value_parser = trace_format())]
    pub trace_format: Option<Format>,
    /// Show every call on a device on standard error
    #[arg(long, short)]
    pub verbose: bool,
    /// Print only vb3's own errors on standard error
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Exit with 123 if the program succeeds but the run has a problem
    ///
    /// Problems are refused calls, missed steps of the script, frames lost without a script, missing
    /// cache syncs, accesses to a buffer while a device uses it, buffers still held at the end, and
    /// failed sources or codecs. These do not count as refused calls: ENUM_*, QUERY*, G_*, TRY_*, CROPCAP,
    /// S_CROP, S_SELECTION, DQEVENT, SUBSCRIBE_EVENT and UNSUBSCRIBE_EVENT; calls that end with EAGAIN,
    /// EINTR, ENOTTY or ENODEV; and DQBUF that ends with EPIPE or EIO.
    #[arg(long)]
    pub strict: bool,
    /// Problems that --strict allows; `vb3 why` prints those of a run
    ///
    /// Each is a refused call by its name, such as S_EXT_CTRLS, or early-access, missing-sync, lost,
    /// held, missed-step, failure or not-listed.
    #[arg(long, value_name = "NAME,…", requires = "strict", value_delimiter = ',', value_parser = problem)]
    pub allow: Vec<String>,
    /// What happens to processes that the program leaves running [default: session]
    ///
    /// session: vb3 waits for jobs, and ends daemons after two seconds. kill: vb3 ends all (SIGTERM at
    /// once, SIGKILL after two seconds). wait: vb3 waits for all.
    #[arg(long, value_name = "session|kill|wait", default_value = "session",
          hide_default_value = true, hide_possible_values = true, value_parser = leftover(),
          help_heading = PROCESSES)]
    pub leftover: Leftover,
    /// Make the socket for `vb3 ctl` here. Programs of the run find it in VB3_CONTROL
    #[arg(long, value_name = "PATH", help_heading = PROCESSES)]
    pub control: Option<PathBuf>,
    /// Write the path of the control socket to a file or FIFO once the run takes orders
    #[arg(long, value_name = "FILE", help_heading = PROCESSES)]
    pub ready: Option<PathBuf>,
}

/// Arguments of `vb3 clone`.
#[derive(Debug, clap::Args)]
pub struct CloneArgs {
    /// The device, such as /dev/video0
    pub device: PathBuf,
    /// Seconds for which to measure the stream; 0 measures nothing
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(0..=60))]
    pub seconds: u32,
    /// Include the serial number of a USB device
    #[arg(long)]
    pub serial: bool,
}

/// Arguments of `vb3 replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// A report from `vb3 run --report` [default: the last run's]
    pub recorded: Option<PathBuf>,
    /// Options of the run
    #[command(flatten)]
    pub options: RunOptions,
}

/// Arguments of `vb3 diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// Report of the first run, from `vb3 run --report`
    pub before: PathBuf,
    /// Report of the second run
    pub after: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `vb3 fits`.
#[derive(Debug, clap::Args)]
pub struct FitsArgs {
    /// Machine and devices
    #[command(flatten)]
    pub target: TargetArgs,
    /// Buffers of each queue
    #[arg(long, short, value_name = "N", default_value_t = 4, value_parser = buffers, help_heading = PLAIN)]
    pub buffers: u32,
    /// Seed of the machine
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = PLAIN)]
    pub seed: u64,
    /// Print JSON
    #[arg(long, help_heading = PLAIN)]
    pub json: bool,
    /// The devices; `vb3 devices` explains SPEC
    #[arg(value_name = "SPEC", help_heading = PLAIN)]
    pub devices: Vec<String>,
}

/// Arguments of `vb3 machines`.
#[derive(Debug, clap::Args)]
pub struct MachinesArgs {
    /// Print the profile of this machine as TOML: a name, a TOML file, or a board's device tree
    #[arg(value_name = "NAME|FILE")]
    pub name: Option<String>,
    /// Size of the machine's memory, such as 4GiB [default: as in the profile or device tree]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, requires = "name")]
    pub ram: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Parses the number of buffers of a queue.
fn buffers(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| (1..=1024).contains(count));
    count.ok_or_else(|| "use a number from 1 to 1024, such as -b 4".to_owned())
}

/// Parses a time in nanoseconds.
fn duration(text: &str) -> Result<u64, String> {
    time_of(text)
        .ok_or_else(|| "a time is a number and us, ms, s or min, such as 1500ms".to_owned())
}

/// Parses the name of a problem: the name of a refused call, or a kind of problem such as `lost`.
fn problem(text: &str) -> Result<String, String> {
    let call = text.strip_prefix("VIDIOC_").unwrap_or(text);
    let is_call = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_known = vb3_report::PROBLEMS.contains(&text);
    let has_capital = call.chars().any(|c| c.is_ascii_uppercase());
    match is_known
        || (has_capital || matches!(call, "open" | "mmap" | "read" | "write"))
            && call.chars().all(is_call)
    {
        true => Ok(call.to_owned()),
        false => Err(format!(
            "a problem is the name of a refused call, such as S_EXT_CTRLS, or one of {}",
            vb3_report::PROBLEMS.join(", ")
        )),
    }
}

fn leftover() -> impl TypedValueParser<Value = Leftover> {
    PossibleValuesParser::new(["session", "kill", "wait"]).map(|word| match &*word {
        "kill" => Leftover::Kill,
        "wait" => Leftover::Wait,
        _ => Leftover::Session,
    })
}

fn trace_format() -> impl TypedValueParser<Value = Format> {
    let words = [
        PossibleValue::new("text").help("A line of text for each call"),
        PossibleValue::new("json").help("A JSON object on a line for each call"),
        PossibleValue::new("perfetto").help("Chrome trace events, for ui.perfetto.dev"),
    ];
    PossibleValuesParser::new(words).try_map(|word| word.parse::<Format>())
}

fn parse_size(text: &str) -> Result<u64, String> {
    vb3_machine::profile::parse_size(text)
        .ok_or_else(|| "a size is a number of bytes, or a number with KiB, MiB or GiB".to_owned())
}

/// Arguments of `vb3 why`.
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// A report from `vb3 run --report` [default: the last run's]
    pub report: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Explain what this system's kernel refused, as the module vb2-why recorded it
    #[arg(long, conflicts_with_all = ["report", "json"])]
    pub kernel: bool,
}

/// Arguments of `vb3 ctl`.
#[derive(Debug, clap::Args)]
pub struct CtlArgs {
    /// The run, by the process ID of its `vb3 run` [default: the run around this command, else the
    /// only run]
    #[arg(long, value_name = "PID", global = true)]
    pub run: Option<u32>,
    /// The run, by the socket of its `--control`
    #[arg(long, value_name = "PATH", conflicts_with = "run", global = true)]
    pub control: Option<PathBuf>,
    /// Print the run's answers as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub order: CtlOrder,
}

/// Orders of `vb3 ctl`.
#[derive(Debug, Subcommand)]
pub enum CtlOrder {
    /// Unplug a device: its node disappears, and calls on its open files fail with ENODEV
    Unplug {
        /// The device: /dev/videoN, videoN or N
        device: String,
        /// Also revoke the buffers that the device exported. Otherwise their holders keep them
        #[arg(long)]
        revoke: bool,
    },
    /// Plug a device in again
    Plug {
        /// The device: /dev/videoN, videoN or N
        device: String,
    },
    /// List the devices and whether each is plugged in
    State,
    /// Let a camera play another clip, picture or pattern
    Play {
        /// The device: /dev/videoN, videoN or N
        device: String,
        /// A video or picture file, or `pattern`
        source: PathBuf,
        /// First frame of the new source, by its sequence number in the stream [default: the first for
        /// which the source has a picture]
        #[arg(long, value_name = "N")]
        sequence: Option<u32>,
    },
    /// Stop a camera's source at its present picture; frames still arrive
    Pause {
        /// The device: /dev/videoN, videoN or N
        device: String,
    },
    /// Let a paused source continue
    Resume {
        /// The device: /dev/videoN, videoN or N
        device: String,
    },
    /// Reset a camera between tests: plug it in, and restore its first source, signal and controls
    Reset {
        /// The device: /dev/videoN, videoN or N
        device: String,
    },
    /// Take the signal from a camera, restore it, or change an HDMI source's mode
    Signal {
        /// The device: /dev/videoN, videoN or N
        device: String,
        /// `lost`, `back`, `no-lock`, `out-of-range` or a mode, such as `1280x720p60`
        signal: String,
    },
    /// Make the next calls of an ioctl fail
    Fail {
        /// The device: /dev/videoN, videoN or N
        device: String,
        /// The ioctl, such as QBUF
        call: String,
        /// The error, such as EIO
        errno: String,
        /// Number of calls
        #[arg(default_value_t = 1)]
        times: u64,
    },
    /// Set a control of a device; its programs get an event
    Set {
        /// The device: /dev/videoN, videoN or N
        device: String,
        /// The control, as `v4l2-ctl --list-ctrls` names it
        // Needs an id other than `control`, which is the id of --control.
        #[arg(id = "control-name", value_name = "CONTROL")]
        control: String,
        /// The value
        #[arg(allow_negative_numbers = true)]
        value: i64,
    },
    /// Wait until a device has finished a frame
    Wait {
        /// The device: /dev/videoN, videoN or N
        device: String,
        /// The frame, counted from 0 since the start of the run
        frame: u64,
    },
    /// Advance a virtual clock
    Advance {
        /// How long, such as 1500ms or 2s
        #[arg(value_parser = duration)]
        time: u64,
    },
    /// Pass a frame from a file to the readers of a loopback
    ///
    /// The command ends when each program that streams from the loopback has got the frame. If none
    /// streams yet, the command waits for one.
    Push {
        /// The loopback: /dev/videoN, videoN or N
        device: String,
        /// The file with the frame's bytes, in the loopback's format
        file: PathBuf,
        /// The frame's time since the run began, such as 1500ms; needs a virtual clock
        #[arg(long, value_name = "TIME", value_parser = duration)]
        after: Option<u64>,
    },
    /// Describe the picture that a display showed last, and write it to a file
    ///
    /// From the first `shown` on, the display keeps a copy of each picture that it shows. The first
    /// `shown` itself reads the picture from its buffer, which the program may be filling again.
    Shown {
        /// The display: /dev/videoN, videoN or N
        device: String,
        /// The file: PNG if its name ends with .png, else the picture's bytes
        file: Option<PathBuf>,
    },
    /// Print events until the run ends: frames, opens, starts of streams, refusals
    Watch {
        /// Kinds of events [default: all]
        #[arg(value_parser = ["frame", "open", "start", "refusal"])]
        events: Vec<String>,
        /// Only of this device: /dev/videoN, videoN or N
        #[arg(long)]
        device: Option<String>,
        /// End after this many events
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// List the buffers with their memory and holders: queues, devices, and mappings and
    /// descriptors of processes
    Buffers,
    /// Revoke a buffer: devices cannot access its memory any longer, programs that mapped it read
    /// zeroes, fences of devices that use it end with an error, and QBUF, EXPBUF and mmap
    /// of it fail with ENODEV
    Revoke {
        /// The buffer's number in `vb3 ctl buffers`
        buffer: String,
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
    fn options_of_ctl_may_follow_the_order() {
        let words = "vb3 ctl set video0 brightness 7 --json --control /run/x";
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        let Command::Ctl(args) = cli.command else {
            panic!("not ctl")
        };
        assert!(args.json && args.control.is_some_and(|path| path.ends_with("x")));
        assert!(matches!(args.order, CtlOrder::Set { control, .. } if control == "brightness"));
    }

    #[test]
    fn short_help_is_short_and_in_groups() {
        let mut cli = Cli::command();
        let run = cli.find_subcommand_mut("run").unwrap();
        for option in run.get_arguments() {
            let help = option.get_help().unwrap().to_string();
            assert!(help.len() <= 110, "{}: {help}", option.get_id());
        }
        let help = run.render_help().to_string();
        let at = [DEVICES, TIME, "Results", PROCESSES].map(|heading| help.find(heading));
        assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{help}");
        let program = help.find("<PROGRAM>...  ");
        assert!(program < at[0], "{help}");
    }

    #[test]
    fn run_needs_a_program() {
        assert!(Cli::try_parse_from(["vb3", "run", "--seed", "7"]).is_err());
    }

    #[test]
    fn run_alone_is_parsed_as_among_all_commands() {
        for line in [
            "vb3 run -- true",
            "vb3 run true -V --help",
            "vb3 run -m imx8 -d camera=pattern --set video0.fps=9 --clock fast=3 -q --report a --report b x y",
            "vb3 run --trace t --trace-format json --leftover=kill --strict -v -- run",
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let Command::Run(expected) = Cli::try_parse_from(&words).expect(line).command else {
                panic!("{line}")
            };
            let alone = RunArgs::parse(&words).expect(line);
            assert_eq!(format!("{alone:?}"), format!("{expected:?}"), "{line}");
        }
        for line in [
            "vb3",
            "vb3 run",
            "vb3 run --help",
            "vb3 run -V",
            "vb3 run -q -v true",
            "vb3 run --leftover=some true",
            "vb3 run --trace-format text true",
            "vb3 why run true",
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(RunArgs::parse(&words).is_none(), "{line}");
        }
    }
}
