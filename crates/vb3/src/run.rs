//! `vb3 run`: a machine, its devices, a program on them, and a report.

use crate::cli::{FAILED, RunArgs, RunOptions, STRICT};
use crate::say::say;
use crate::target::Target;
use crate::{ctl, elements, outputs, scripts};
use anyhow::{Context as _, Result, anyhow, bail};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::time::Instant;
use vb3_devices::spec::DeviceSpec;
use vb3_host::Backend;
use vb3_intercept::{Error, Leftover, Note, Options, Program};
use vb3_machine::Profile;
use vb3_report::timeline::Timeline;
use vb3_report::trace::{self, Sink, Traced};
use vb3_report::{Picture, Report, Setup, page, sentence, why};
use vb3_world::control::Control;
use vb3_world::script::Script;
use vb3_world::{Pace, World};

/// Open files that a run needs at least, without its devices.
const FEWEST_DESCRIPTORS: u64 = 64;
/// Open files that a device needs besides.
const DESCRIPTORS_PER_DEVICE: u64 = 8;
/// Most different remarks of the front end on single programs that are kept.
const MAX_REMARKS: usize = 64;

/// What is run.
pub(crate) struct Plan {
    profile: Profile,
    specs: Vec<DeviceSpec>,
    setup: Setup,
    seed: u64,
    program: Vec<OsString>,
    script: Option<Script>,
    pace: Pace,
}

impl Plan {
    /// Plans to run a program on a machine and its devices.
    pub(crate) fn new(target: Target, seed: u64, program: Vec<OsString>) -> Self {
        let Target {
            text,
            profile,
            words,
            specs,
        } = target;
        let directory = std::env::current_dir().unwrap_or_default();
        let setup = Setup {
            profile: text,
            devices: words,
            directory: directory.to_string_lossy().into_owned(),
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
        }
    }

    /// Lets the devices' time pass in another way.
    pub(crate) fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        if pace != Pace::Real {
            self.setup.clock = pace.to_string();
        }
        self
    }

    /// Plays a script, which the user calls `name`, during the run.
    ///
    /// # Errors
    /// A sentence with the line: the script is wrong.
    pub(crate) fn with_script(mut self, name: &str, text: String) -> Result<Self> {
        self.setup.script_file = scripts::file_name(name);
        self.script = Some(scripts::parse(&self.setup.script_file, &text)?);
        self.setup.script = text;
        Ok(self)
    }
}

/// Runs the program; gives its exit status.
///
/// # Errors
/// The machine, a device or the report file is not to be had. What the program does is no error.
pub fn run(args: &RunArgs) -> Result<u8> {
    let target = Target::find(&args.target, &args.devices)?;
    let plan = Plan::new(target, args.seed, args.program.clone());
    let mut plan = plan.with_pace(args.clock);
    if let Some(name) = &args.script {
        plan = plan.with_script(name, scripts::text(name)?)?;
    }
    execute(plan, &args.options)
}

/// Runs what is planned; gives the program's exit status.
///
/// # Errors
/// As [`run`].
pub(crate) fn execute(plan: Plan, options: &RunOptions) -> Result<u8> {
    let Plan {
        profile,
        specs,
        setup,
        seed,
        program,
        script,
        pace,
    } = plan;
    outputs::check(&specs, options)?;
    enough_descriptors(specs.len())?;
    for path in &options.report {
        // Known to be writable before the program runs for an hour.
        File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let machine = profile.name.clone();
    let mut sinks = trace::sinks(
        options.trace.as_ref(),
        options.trace_format,
        options.verbose,
    )?;
    let mut world = World::new(profile, &specs, seed)?;
    world.set_pace(pace);
    world.set_mappings(options.mappings);
    if let Some(script) = &script {
        world
            .play(script)
            .map_err(|e| anyhow!("{}:{e}", setup.script_file))?;
    }
    let orders = match Control::open() {
        Ok(control) => {
            let path = control.path().as_os_str().to_owned();
            world.set_control(control);
            Ok(path)
        }
        Err(e) => Err(format!("`vb3 ctl` cannot reach this run: {e:#}")),
    };
    let start = Instant::now();
    let mut timeline = options
        .report
        .iter()
        .any(|path| page::is_page(path))
        .then(Timeline::default);
    if timeline.is_some() {
        world.keep_thumbnails();
    }
    let (status, remarks) = if sinks.is_empty() && timeline.is_none() {
        supervise(&mut world, &program, options, &specs, orders.as_ref().ok())?
    } else {
        let time = World::own_time;
        let mut traced = Traced::new(&mut world, &mut sinks, start, time, timeline.as_mut());
        supervise(&mut traced, &program, options, &specs, orders.as_ref().ok())?
    };
    let own = world.own_time().map(|own| own.elapsed());
    let took = own.unwrap_or_else(|| start.elapsed());
    let pictures = match timeline {
        Some(_) => world.pictures(Picture::PER_DEVICE),
        None => Vec::new(),
    };
    let words = program.iter().map(|word| word.to_string_lossy());
    let mut report = Report {
        format: vb3_report::FORMAT,
        machine,
        seed,
        setup,
        program: words.map(std::borrow::Cow::into_owned).collect(),
        exit_status: i32::from(status),
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        ..world.report()
    };
    report.notes.extend(remarks);
    report.notes.extend(orders.err());
    drop(world);
    for sink in sinks {
        report.notes.extend(end_of_trace(sink));
    }
    if !options.quiet {
        summarise(&report);
    }
    if let Some(timeline) = &mut timeline {
        timeline.finish(took);
    }
    for path in &options.report {
        match &timeline {
            Some(timeline) if page::is_page(path) => {
                page::write(&report, timeline, &pictures, path)?
            }
            _ => report.write(path)?,
        }
    }
    if let Some(path) = why::last_report_path()
        && let Err(e) = why::keep(&report, &path)
    {
        say(format_args!("the report is not kept for `vb3 why`: {e:#}"));
    }
    Ok(exit_status(status, options, &report))
}

/// What a trace lacks, told to the person as well.
fn end_of_trace(sink: Sink) -> Vec<String> {
    let name = sink.name().to_owned();
    let left = sink.finish();
    let dropped = (left.dropped > 0).then(|| {
        let calls = left.dropped;
        format!("{calls} calls are missing in the trace in {name}: writing was too slow")
    });
    let lacks: Vec<String> = left.error.into_iter().chain(dropped).collect();
    for lack in &lacks {
        say(lack);
    }
    lacks
}

/// Refuses to begin where descriptors would run out in the midst.
///
/// # Errors
/// The limit is too low, and how high it must be.
fn enough_descriptors(devices: usize) -> Result<()> {
    use rustix::process::{Resource, getrlimit};
    let needed = FEWEST_DESCRIPTORS + devices as u64 * DESCRIPTORS_PER_DEVICE;
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < needed => bail!(
            "no more than {limit} files may be open here, and {needed} are needed for {devices} \
             devices; raise the limit (ulimit -n {needed})"
        ),
        _ => Ok(()),
    }
}

/// The program's status, unless it is a success that shall be none.
fn exit_status(program: u8, options: &RunOptions, report: &Report) -> u8 {
    let unrecorded = report.failures.iter().any(|failure| failure.recording);
    if program == 0 && unrecorded {
        return FAILED;
    }
    if program == 0 && options.strict && !report.is_well() {
        return STRICT;
    }
    program
}

/// Hands the program to the front end; gives its exit status and what it had to remark.
///
/// # Errors
/// The front end cannot work here. A program that is missing is no error but a status.
fn supervise(
    world: &mut dyn Backend,
    program: &[OsString],
    how: &RunOptions,
    specs: &[DeviceSpec],
    orders: Option<&OsString>,
) -> Result<(u8, Vec<String>)> {
    let (name, rest) = program
        .split_first()
        .context("there is no program to run")?;
    let mut remarks = BTreeSet::new();
    let mut remark = |note: Note| {
        let text = note.to_string();
        let is_kept = remarks.len() < MAX_REMARKS || note.is_of_all_programs();
        let new = is_kept && remarks.insert(text.clone());
        if new && note.is_warning() && !how.quiet {
            let more = match note {
                Note::LeftOver {
                    is_ended: false, ..
                } => " (--kill ends it)",
                Note::LeftOver { .. } if !how.kill => " (--wait keeps it)",
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
        program = program.env(ctl::VARIABLE, path);
    }
    let options = Options {
        notes: Some(&mut remark),
        keep_signals: false,
        leftover: match (how.kill, how.wait) {
            (true, _) => Leftover::Kill,
            (false, true) => Leftover::Wait,
            (false, false) => Leftover::Session,
        },
    };
    let status = match vb3_intercept::run(&program, world, options) {
        Ok(ended) => ended.status,
        Err(e @ (Error::NotFound | Error::Exec { .. })) => {
            say(format_args!("{}: {e}", name.to_string_lossy()));
            e.exit_status()
        }
        Err(e) => return Err(e).with_context(|| name.to_string_lossy().into_owned()),
    };
    Ok((
        u8::try_from(status).unwrap_or(FAILED),
        remarks.into_iter().collect(),
    ))
}

/// Shows what broke down and which clips ended, a line each, and one closing line on what else
/// went wrong; nothing when all is well.
fn summarise(report: &Report) {
    for failure in &report.failures {
        say(sentence::failure(failure));
    }
    for note in report.device_notes() {
        say(note);
    }
    if let Some(problems) = sentence::problems(report) {
        say(format_args!("{problems}. `vb3 why` explains."));
    }
}
