//! `vb3 replay`: repeats a run from its report.

use crate::cli::{ReplayArgs, RunOptions};
use crate::run::{self, Exit, Plan};
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use vb3_report::{is_masked, why};

/// Repeats the run of a report. Returns the program's exit status.
///
/// # Errors
/// There is no such report, the report is incomplete, or the run fails to start.
pub fn replay(args: &ReplayArgs) -> Result<Exit> {
    let report = why::load_or_last(args.recorded.as_deref())?;
    let setup = &report.setup;
    if !report.error.is_empty() {
        bail!("that run did not begin: {}", report.error);
    }
    if setup.profile.is_empty() || report.program.is_empty() {
        bail!("the report does not name the program: an older vb3 wrote it");
    }
    if report.program == ["vhost-user"] {
        bail!("the report is of guests (`vb3 vhost-user`), which cannot be repeated");
    }
    // In the report, this character replaces bytes that are not UTF-8.
    if let Some(word) = report.program.iter().find(|word| word.contains('\u{fffd}')) {
        bail!("the program's argument {word:?} was not UTF-8, so the report cannot repeat it");
    }
    if let Some(word) = report.program.iter().find(|word| is_masked(word)) {
        bail!("a password was removed from the program's argument {word:?}; run it by hand");
    }
    // Paths on the command line are relative to the present directory, which changes below.
    let absolute = |path: &PathBuf| std::path::absolute(path);
    let recorded = args.recorded.as_ref().map(absolute).transpose()?;
    let reports: Result<_, _> = args.options.report.iter().map(absolute).collect();
    let options = RunOptions {
        report: reports?,
        trace: args.options.trace.as_ref().map(absolute).transpose()?,
        control: args.options.control.as_ref().map(absolute).transpose()?,
        ready: args.options.ready.as_ref().map(absolute).transpose()?,
        ..args.options.clone()
    };
    if !setup.directory.is_empty() {
        let directory = Path::new(&setup.directory);
        std::env::set_current_dir(directory)
            .with_context(|| format!("cannot go to {}", directory.display()))?;
    }
    let program = report.program.iter().map(OsString::from).collect();
    let profile = setup.profile.clone();
    let target = Target::new(&report.machine, profile, &setup.devices)?;
    let mut plan = Plan::new(target, report.seed, program);
    if !setup.clock.is_empty() {
        let pace = setup.clock.parse();
        plan = plan.with_pace(pace.map_err(|e| anyhow!("the report's clock: {e}"))?);
    }
    if !setup.script.is_empty() {
        let file = match &*setup.script_file {
            "" => "script.toml",
            file => file,
        };
        plan = plan.with_script(file, setup.script.clone())?;
    }
    let recorded = recorded.map(|path| ("the report to repeat", path));
    plan.inputs.extend(recorded);
    run::execute(plan, &options)
}
