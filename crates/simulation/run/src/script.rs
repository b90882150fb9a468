//! Scripts: which events happen to a run's devices and machine, and when.

mod parse;
mod shipped;
#[cfg(test)]
mod tests;

pub use parse::time_of;
pub(crate) use parse::{call_name, call_named, errno_named, nearest_call};
pub use shipped::SHIPPED;

use std::fmt;
use vb3_devices::{FrameFault, Signal};

/// Longest accepted script in bytes.
pub const MAX_FILE: u64 = 1 << 18;
/// Maximum number of steps of a script.
pub const MAX_STEPS: usize = 256;
/// Maximum number of frames or calls of a step.
pub const MAX_COUNT: u64 = 1 << 32;
/// Longest time in a script, in nanoseconds: one day.
pub const MAX_TIME_NS: u64 = 86_400_000_000_000;

/// A script: a name, a description and its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// A short name, or an empty string.
    pub name: String,
    /// One sentence, or an empty string.
    pub description: String,
    /// The steps, in the order of the file.
    pub steps: Vec<Step>,
}

/// One event of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The step's line in the file, from 1.
    pub line: usize,
    /// The device, or `None` for a step that affects the whole machine.
    pub device: Option<StepDevice>,
    /// When the step begins.
    pub when: When,
    /// How many frames or calls it affects.
    pub count: u64,
    /// Distance from one affected frame or call to the next, counted in frames or calls.
    pub every: u64,
    /// The step's action.
    pub action: Action,
}

impl Step {
    /// Returns an error with the step's line.
    pub(crate) fn error(&self, message: String) -> ScriptError {
        let line = self.line;
        ScriptError { line, message }
    }
}

/// The device of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepDevice {
    /// `/dev/videoN`, by its N.
    Video(u32),
    /// `/dev/dri/cardN`, by its N.
    Card(usize),
}

/// The device's path.
impl fmt::Display for StepDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Video(number) => write!(f, "/dev/video{number}"),
            Self::Card(number) => write!(f, "/dev/dri/card{number}"),
        }
    }
}

/// When a step begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// When the run starts.
    Start,
    /// At this time of the run, in nanoseconds.
    Time(u64),
    /// At this frame of the device, from 0.
    Frame(u64),
    /// At this call on the device, from 1.
    Call {
        /// The number of the call.
        number: u64,
        /// The ioctl that is counted; if `None`, all ioctls are.
        request: Option<u32>,
    },
}

/// The action of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes an ioctl fail before the device sees it.
    Fail {
        /// The ioctl.
        request: u32,
        /// The errno.
        errno: i32,
    },
    /// Injects a fault into frames.
    Frame(FrameFault),
    /// Changes the size of the source.
    Source {
        /// Width in pixels.
        width: u32,
        /// Height in lines.
        height: u32,
    },
    /// Changes the source's signal.
    Signal(Signal),
    /// Unplugs the device, or plugs it in again.
    Plug(bool),
    /// Occupies contiguous memory until its longest free run has at most `longest` bytes.
    OccupyCma {
        /// Length in bytes.
        longest: u64,
    },
    /// Frees the occupied contiguous memory.
    FreeCma,
    /// Makes the device's next memory access fault in its IOMMU.
    IommuFault,
    /// Stops the devices' time.
    StopClock {
        /// Nanoseconds of real time.
        for_ns: u64,
    },
}

impl Action {
    /// Returns the action's key in scripts and reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fail { .. } => "fail",
            Self::Frame(FrameFault::Late { .. }) => "late",
            Self::Frame(FrameFault::Twice) => "twice",
            Self::Frame(FrameFault::Torn) => "torn",
            Self::Frame(FrameFault::Flagged) => "error",
            Self::Frame(FrameFault::Short { .. }) => "short",
            Self::Frame(FrameFault::Lost) => "lose",
            Self::Frame(FrameFault::Corrupt { .. }) => "corrupt",
            Self::Source { .. } => "source",
            Self::Signal(_) => "signal",
            Self::Plug(false) => "unplug",
            Self::Plug(true) => "plug",
            Self::OccupyCma { .. } => "occupy_cma",
            Self::FreeCma => "free_cma",
            Self::IommuFault => "iommu_fault",
            Self::StopClock { .. } => "stop_clock",
        }
    }
}

/// An error in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Writes `LINE: MESSAGE`, for use after a file's name and a colon.
impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// Parses a script.
    ///
    /// # Errors
    /// Returns a [`ScriptError`] with the faulty line.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        parse::parse(text)
    }
}
