//! `vb3 run`: a machine, its devices, a program on them, and a report.

use crate::cli::{FAILED, RunArgs, RunOptions, STRICT, VhostUserArgs};
use crate::say::say;
use crate::target::Target;
use crate::{codecs, elements, outputs, scripts};
use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use vb3_devices::spec::DeviceSpec;
use vb3_frontend::{Backend, Devices};
use vb3_intercept::{Error, Leftover, Note, Options, Program};
use vb3_machine::Profile;
use vb3_report::timeline::Timeline;
use vb3_report::trace::{self, Sink, Traced};
use vb3_report::{Picture, Report, Setup, is_fifo, masked, page, sentence, touch, why};
use vb3_run::control::Control;
use vb3_run::script::Script;
use vb3_run::{Pace, Run};

/// Smallest limit of open files (RLIMIT_NOFILE) that allows a run without devices.
const FEWEST_DESCRIPTORS: u64 = 64;
/// Number of open files by which the limit must be higher for each device of the run.
const DESCRIPTORS_PER_DEVICE: u64 = 8;
/// Maximum number of different notes in a report. Notes that concern all programs are always added.
const MAX_REMARKS: usize = 64;

/// Chromium's option that replaces all cameras by its own.
const FAKE_DEVICE: &str = "--use-fake-device-for-media-stream";

/// A prepared run.
pub(crate) struct Plan {
    profile: Profile,
    specs: Vec<DeviceSpec>,
    setup: Setup,
    seed: u64,
    program: Vec<OsString>,
    script: Option<Script>,
    pace: Pace,
    /// For a run that serves guests in place of a program: the directory of the guests' sockets, and what the run
    /// offers to guests. `None` for a run of a program.
    sockets: Option<(PathBuf, vb3_guest::Options)>,
    /// Files that the run reads, and their purposes.
    pub(crate) inputs: Vec<(&'static str, PathBuf)>,
}

impl Plan {
    /// Prepares a run of a program on a machine and its devices.
    pub(crate) fn new(target: Target, seed: u64, program: Vec<OsString>) -> Self {
        let Target {
            text,
            profile,
            words,
            specs,
        } = target;
        let setup = Setup {
            profile: text,
            devices: words,
            directory: directory(),
            script: String::new(),
            script_file: String::new(),
            clock: String::new(),
        };
        Self {
            profile,
            specs,
            setup,
            seed,
            program,
            script: None,
            pace: Pace::Real,
            sockets: None,
            inputs: Vec::new(),
        }
    }

    /// Sets the devices' clock.
    pub(crate) fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        if pace != Pace::Real {
            self.setup.clock = pace.to_string();
        }
        self
    }

    /// Adds a script. `name` is the script as the user named it.
    ///
    /// # Errors
    /// The script is invalid. The message names the line.
    pub(crate) fn with_script(mut self, name: &str, text: String) -> Result<Self> {
        self.setup.script_file = scripts::file_name(name);
        self.script = Some(scripts::parse(&self.setup.script_file, &text)?);
        self.setup.script = text;
        Ok(self)
    }
}

impl Plan {
    /// Adds the script, if there is one, and notes which files the run reads.
    ///
    /// # Errors
    /// The script cannot be read, or is invalid.
    fn with_files(mut self, script: Option<&str>, machine: &str) -> Result<Self> {
        if let Some(name) = script {
            self = self.with_script(name, scripts::text(name)?)?;
            self.inputs.push(("the script", name.into()));
        }
        self.inputs.push(("the machine", machine.into()));
        // Machines and scripts that come with vb3 have names, which are not files.
        self.inputs.retain(|(_, path)| path.is_file());
        Ok(self)
    }
}

/// Runs the program.
///
/// # Errors
/// The machine, a device or the report file cannot be set up. A failing program is not an error.
pub fn run(args: &RunArgs) -> Result<Exit> {
    let plan = prepare(args).inspect_err(|e| drop(keep_failure(&args.program, e)))?;
    execute(plan, &args.options)
}

fn prepare(args: &RunArgs) -> Result<Plan> {
    let target = Target::find(&args.target, &args.devices)?;
    let plan = Plan::new(target, args.seed, args.program.clone());
    let plan = plan.with_pace(args.clock);
    plan.with_files(args.script.as_deref(), &args.target.machine)
}

/// Serves guests, until SIGINT or SIGTERM.
///
/// # Errors
/// See [`run`]. Also fails if a socket cannot be made.
pub fn serve_guests(args: &VhostUserArgs) -> Result<Exit> {
    let target = Target::find(&args.target, &args.devices)?;
    let plan = Plan::new(target, args.seed, vec!["vhost-user".into()]);
    let plan = plan.with_pace(args.clock);
    let mut plan = plan.with_files(args.script.as_deref(), &args.target.machine)?;
    let dma_bufs = args.dma_bufs;
    plan.sockets = Some((args.socket.clone(), vb3_guest::Options { dma_bufs }));
    execute(plan, &args.options)
}

/// Keeps a report that says why the run could not begin, so that `vb3 why` does not describe an earlier run.
fn keep_failure(program: &[OsString], error: &anyhow::Error) -> Report {
    let program = words(program);
    let report = Report::of_failure(program, directory(), format!("{error:#}"));
    keep(&report);
    report
}

/// Keeps a report for `vb3 why`.
fn keep(report: &Report) {
    if let Some(path) = why::last_report_path()
        && let Err(e) = why::keep(report, &path)
    {
        say(format_args!("cannot store the report for `vb3 why`: {e:#}"));
    }
}

/// Returns the program and its arguments for a report, without passwords in URLs.
fn words(program: &[OsString]) -> Vec<String> {
    let words = program.iter().map(|word| word.to_string_lossy());
    words.map(|word| masked(&word)).collect()
}

fn directory() -> String {
    let directory = std::env::current_dir().unwrap_or_default();
    directory.to_string_lossy().into_owned()
}

/// Runs a prepared run.
///
/// # Errors
/// As [`run`].
pub(crate) fn execute(plan: Plan, options: &RunOptions) -> Result<Exit> {
    let program = plan.program.clone();
    carry_out(plan, options).inspect_err(|e| {
        if !e.is::<Unwritten>() {
            keep_failure(&program, e);
        }
    })
}

/// The run has ended, but a report could not be written.
#[derive(Debug)]
struct Unwritten;

impl std::fmt::Display for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the report is missing")
    }
}

fn carry_out(plan: Plan, options: &RunOptions) -> Result<Exit> {
    let Plan {
        profile,
        specs,
        setup,
        seed,
        program,
        script,
        pace,
        sockets,
        inputs,
    } = plan;
    outputs::check(&specs, &inputs, options)?;
    let described = specs.iter().filter_map(|spec| spec.like.as_ref());
    for note in described.flat_map(|like| &like.notes) {
        if !options.quiet {
            say(note);
        }
    }
    enough_descriptors(specs.len())?;
    // Skips FIFOs: `touch` would open and close them, and their readers would take that for the report's end.
    for path in options.report.iter().filter(|path| !is_fifo(path)) {
        // Checks before the run that the file is writable. An earlier report stays if the run cannot begin.
        touch(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let machine = profile.name.clone();
    let mut sinks = trace::sinks(
        options.trace.as_ref(),
        options.trace_format,
        options.verbose,
    )?;
    let mut run = Run::with(profile, &specs, seed, codecs::outside())?;
    run.set_pace(pace);
    if let Some(script) = &script {
        run.play(script)
            .map_err(|e| anyhow!("{}:{e}", setup.script_file))?;
    }
    let control = match &options.control {
        Some(path) => Ok(Control::open_at(path)?),
        None => Control::open(),
    };
    let orders = match control {
        Ok(control) => {
            let path = control.path().as_os_str().to_owned();
            run.set_control(control);
            Ok(path)
        }
        Err(e) => Err(format!("`vb3 ctl` cannot reach this run: {e:#}")),
    };
    if let Some(file) = &options.ready {
        announce(file, &orders)?;
    }
    let start = Instant::now();
    let mut timeline = options
        .report
        .iter()
        .any(|path| page::is_page(path))
        .then(Timeline::default);
    if timeline.is_some() {
        run.keep_thumbnails();
    }
    let front = Front {
        sockets: sockets.as_ref(),
        program: &program,
        options,
        specs: &specs,
        orders: orders.as_ref().ok(),
    };
    let (ended, mut run) = if sinks.is_empty() && timeline.is_none() {
        front.run(run)?
    } else {
        let time = Run::own_time;
        let traced = Traced::new(Box::new(run), sinks, start, time, timeline);
        let (ended, traced) = front.run(traced)?;
        let run;
        (run, sinks, timeline) = traced.into_parts();
        (ended, *run)
    };
    let own = run.own_time().map(|own| own.elapsed());
    let took = own.unwrap_or_else(|| start.elapsed());
    let pictures = match timeline {
        Some(_) => run.pictures(Picture::PER_DEVICE),
        None => Vec::new(),
    };
    if let Some(error) = ended.error {
        // A run that has not begun must not overwrite the reports of earlier runs.
        say(format_args!("{error:#}"));
        let report = keep_failure(&program, &error);
        let is_new = |path: &&PathBuf| path.metadata().is_ok_and(|found| found.len() == 0);
        let new = options.report.iter().filter(is_new);
        new.map(|path| report.write(path))
            .fold(Ok(()), Result::and)?;
        return Ok(Exit {
            status: ended.status,
            is_interrupted: false,
        });
    }
    let seen = run.report();
    let (status, remarks) = (ended.status, ended.remarks);
    let mut report = Report {
        format: vb3_report::FORMAT,
        machine,
        seed,
        setup,
        program: words(&program),
        exit_status: i32::from(status),
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        ..seen
    };
    report.notes.extend(remarks);
    report.notes.extend(orders.err());
    drop(run);
    for sink in sinks {
        report.notes.extend(end_of_trace(sink));
    }
    if !options.quiet {
        let is_strict = exit_status(status, options, &report) == STRICT;
        summarise(&report, is_strict);
    }
    if let Some(timeline) = &mut timeline {
        timeline.finish(took);
    }
    // Writes the other reports even if one of them cannot be written.
    let written = options.report.iter().map(|path| match &timeline {
        Some(timeline) if page::is_page(path) => page::write(&report, timeline, &pictures, path),
        _ => report.write(path),
    });
    let written = written.fold(Ok(()), Result::and);
    keep(&report);
    written.context(Unwritten)?;
    Ok(Exit {
        status: exit_status(status, options, &report),
        is_interrupted: ended.is_interrupted,
    })
}

/// Writes the path of the run's socket to a file or FIFO.
///
/// # Errors
/// There is no socket, or the file cannot be written.
fn announce(file: &Path, orders: &Result<OsString, String>) -> Result<()> {
    let path = orders.as_ref().map_err(|e| anyhow!("{e}"))?;
    let line = [path.as_encoded_bytes(), b"\n"].concat();
    std::fs::write(file, line).with_context(|| format!("cannot write {}", file.display()))
}

/// Ends a trace. Prints and returns notes on calls that it lacks.
fn end_of_trace(sink: Sink) -> Vec<String> {
    let name = sink.name().to_owned();
    let left = sink.finish();
    let dropped = (left.dropped > 0).then(|| {
        let calls = left.dropped;
        format!("the trace in {name} lacks {calls} calls: the writer was too slow")
    });
    let lacks: Vec<String> = left.error.into_iter().chain(dropped).collect();
    for lack in &lacks {
        say(lack);
    }
    lacks
}

/// Refuses a run that would need more descriptors than the limit allows.
///
/// # Errors
/// The limit is too low. The message gives the necessary limit.
pub(crate) fn enough_descriptors(devices: usize) -> Result<()> {
    let needed = descriptors_for(devices);
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < needed => bail!(
            "the limit of open files is {limit}, and {devices} devices need {needed}; raise it \
            (ulimit -n {needed})"
        ),
        _ => Ok(()),
    }
}

/// Returns the smallest limit of open files for a run.
pub(crate) const fn descriptors_for(devices: usize) -> u64 {
    FEWEST_DESCRIPTORS + devices as u64 * DESCRIPTORS_PER_DEVICE
}

/// Returns the exit status of the run. It is the program's, unless the program succeeded and the run did not:
/// [`FAILED`] for an incomplete recording, [`STRICT`] for a problem that `--strict` finds.
fn exit_status(program: u8, options: &RunOptions, report: &Report) -> u8 {
    let unrecorded = report.failures.iter().any(|failure| failure.recording);
    if program == 0 && unrecorded {
        return FAILED;
    }
    let names = report.problem_names();
    let mut found = names.iter().filter(|name| !options.allow.contains(name));
    if program == 0 && options.strict && found.next().is_some() {
        return STRICT;
    }
    program
}

/// How `vb3` exits after a run.
#[derive(Debug)]
pub struct Exit {
    status: u8,
    is_interrupted: bool,
}

impl Exit {
    /// Ends this process by SIGINT if SIGINT ended the program. Otherwise returns the exit status.
    #[must_use]
    pub fn status(self) -> u8 {
        if self.is_interrupted {
            vb3_intercept::end_by_interrupt();
        }
        self.status
    }
}

/// The end of a supervised program.
struct Supervised {
    status: u8,
    /// Whether SIGINT ended the program.
    is_interrupted: bool,
    /// Why the program did not begin; `None` if it began.
    error: Option<anyhow::Error>,
    remarks: Vec<String>,
}

/// Whom a run serves: a program, or guests at sockets.
struct Front<'a> {
    sockets: Option<&'a (PathBuf, vb3_guest::Options)>,
    program: &'a [OsString],
    options: &'a RunOptions,
    specs: &'a [DeviceSpec],
    orders: Option<&'a OsString>,
}

impl Front<'_> {
    /// Serves the devices to the end. Returns them.
    ///
    /// # Errors
    /// The front end cannot work here.
    fn run<D: Backend + 'static>(&self, mut devices: D) -> Result<(Supervised, D)> {
        let Some((dir, offer)) = self.sockets else {
            let (program, options) = (self.program, self.options);
            let ended = supervise(&mut devices, program, options, self.specs, self.orders)?;
            return Ok((ended, devices));
        };
        let devices = Arc::new(Mutex::new(devices));
        let shared = Arc::clone(&devices);
        let ended = serve(shared, dir, *offer, self.options)?;
        let devices = Arc::into_inner(devices).context("a thread still uses the devices")?;
        Ok((
            ended,
            devices.into_inner().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// Serves guests at sockets in a directory, until SIGINT or SIGTERM.
///
/// # Errors
/// A socket or the directory cannot be made.
fn serve(
    devices: Arc<Mutex<dyn Devices>>,
    dir: &Path,
    offer: vb3_guest::Options,
    how: &RunOptions,
) -> Result<Supervised> {
    use std::os::fd::AsFd as _;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // Buffers are descriptors of this process, so guests use more of them than the usual limit allows.
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).ok();
    let (stop, stopped) = std::os::unix::net::UnixStream::pair()?;
    let mut registered = Vec::new();
    for signal in [Signal::INT, Signal::TERM] {
        let stopped = stopped.try_clone()?;
        registered.push(signal_hook::low_level::pipe::register(
            signal.as_raw(),
            stopped,
        )?);
    }
    let note = |note: vb3_guest::Note| {
        if !how.quiet {
            say(note);
        }
    };
    let served = vb3_guest::serve(devices, dir, offer, stop.as_fd(), &note);
    for id in registered {
        signal_hook::low_level::unregister(id);
    }
    served?;
    Ok(Supervised {
        status: 0,
        is_interrupted: false,
        error: None,
        remarks: Vec::new(),
    })
}

/// Runs the program under the front end.
///
/// # Errors
/// The front end cannot work here. A program that cannot be executed is not an error: the result then has the
/// reason, and the exit status 126 or 127.
fn supervise(
    run: &mut dyn Backend,
    program: &[OsString],
    how: &RunOptions,
    specs: &[DeviceSpec],
    orders: Option<&OsString>,
) -> Result<Supervised> {
    let (name, rest) = program
        .split_first()
        .context("there is no program to run")?;
    let mut remarks = BTreeSet::new();
    if rest.iter().any(|word| word == FAKE_DEVICE) {
        let text = format!("{FAKE_DEVICE} hides all cameras from this browser; leave it out");
        if !how.quiet {
            say(&text);
        }
        remarks.insert(text);
    }
    let mut remark = |note: Note| {
        let text = note.to_string();
        let is_kept = remarks.len() < MAX_REMARKS || note.is_of_all_programs();
        let new = is_kept && remarks.insert(format!("{note:#}"));
        if new && note.is_warning() && !how.quiet {
            let more = match note {
                Note::LeftOver {
                    is_ended: false, ..
                } => " (--leftover=kill ends it)",
                Note::LeftOver { .. } if how.leftover != Leftover::Kill => {
                    " (--leftover=wait keeps it)"
                }
                _ => "",
            };
            say(format_args!("{text}{more}"));
        }
    };
    let mut program = Program::new(name).args(rest);
    if let Some((name, file)) = elements::registry(specs) {
        program = program.env(name, file);
    }
    if let Some(path) = orders {
        program = program.env(vb3_client::VARIABLE, path);
    }
    let options = Options {
        notes: Some(&mut remark),
        keep_signals: false,
        leftover: how.leftover,
    };
    let (status, signal, error) = match vb3_intercept::run(&program, run, options) {
        Ok(ended) => (ended.status, ended.signal, None),
        Err(e @ (Error::NotFound | Error::Exec { .. })) => {
            let name = name.to_string_lossy();
            let hint = match name.starts_with('-') {
                true => "; options of vb3 go before --",
                false => "",
            };
            (e.exit_status(), None, Some(anyhow!("{name}: {e}{hint}")))
        }
        Err(e) => return Err(e).with_context(|| name.to_string_lossy().into_owned()),
    };
    Ok(Supervised {
        status: u8::try_from(status).unwrap_or(FAILED),
        is_interrupted: signal == Some(Signal::INT.as_raw()),
        error,
        remarks: remarks.into_iter().collect(),
    })
}

/// Prints a line for each failure and each ended clip, then one line that sums up all other
/// problems. Prints nothing if there are none.
fn summarise(report: &Report, is_strict: bool) {
    for failure in &report.failures {
        say(sentence::failure(failure));
    }
    for note in report.device_notes() {
        say(note);
    }
    if let Some(problems) = sentence::problems(report) {
        let status = match is_strict {
            true => format!(" --strict: exit status {STRICT}."),
            false => String::new(),
        };
        say(format_args!("{problems}. `vb3 why` explains.{status}"));
    }
}
