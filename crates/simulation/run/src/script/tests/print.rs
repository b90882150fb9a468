//! Prints a script as TOML that parses to the same script.

use crate::script::{Action, Script, Step, When, call_name};
use std::fmt;
use toml::Value;
use vb3_devices::FrameFault;

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, text) in [("name", &self.name), ("description", &self.description)] {
            if !text.is_empty() {
                writeln!(f, "{key} = {}", Value::from(text.as_str()))?;
            }
        }
        self.steps.iter().try_for_each(|step| write!(f, "\n{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[step]]")?;
        if let Some(device) = self.device {
            writeln!(f, "device = \"{device}\"")?;
        }
        match self.when {
            When::Start => {}
            When::Time(at_ns) => writeln!(f, "time = {}", time(at_ns))?,
            When::Frame(frame) => writeln!(f, "frame = {frame}")?,
            When::Call { number, request } => {
                writeln!(f, "call = {number}")?;
                // The action `fail` itself names the counted call.
                let is_said = matches!(self.action, Action::Fail { .. });
                if let Some(request) = request.filter(|_| !is_said) {
                    writeln!(f, "of = \"{}\"", call_name(request))?;
                }
            }
        }
        for (key, value) in [("every", self.every), ("count", self.count)] {
            if value != 1 {
                writeln!(f, "{key} = {value}")?;
            }
        }
        writeln!(f, "{} = {}", self.action.name(), value(&self.action))?;
        if let Action::Fail { errno, .. } = self.action {
            writeln!(f, "errno = {errno}")?;
        }
        Ok(())
    }
}

/// Returns the value for an action's key.
fn value(action: &Action) -> String {
    match action {
        Action::Fail { request, .. } => format!("\"{}\"", call_name(*request)),
        Action::Frame(FrameFault::Late { by_ns }) => time(*by_ns),
        Action::Frame(FrameFault::Short { len } | FrameFault::Corrupt { len }) => len.to_string(),
        Action::Source { width, height } => format!("\"{width}x{height}\""),
        Action::Signal(signal) => format!("\"{signal}\""),
        Action::OccupyCma { longest } => longest.to_string(),
        Action::StopClock { for_ns } => time(*for_ns),
        Action::Frame(
            FrameFault::Twice | FrameFault::Torn | FrameFault::Flagged | FrameFault::Lost,
        )
        | Action::Plug(_)
        | Action::FreeCma
        | Action::IommuFault => "true".to_owned(),
    }
}

/// Prints a time in seconds, exact to the nanosecond.
fn time(ns: u64) -> String {
    let (seconds, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    format!("\"{seconds}.{rest:09}s\"")
}
