//! Scripts: what happens to the devices and the machine of a run, and when.

mod parse;
mod print;
mod shipped;
#[cfg(test)]
mod tests;

pub use shipped::SHIPPED;

use std::fmt;
use vb3_devices::FrameFault;

/// Longest script taken, in bytes.
pub const MAX_FILE: u64 = 1 << 18;
/// Most steps of a script.
pub const MAX_STEPS: usize = 256;
/// Most frames or calls of a step.
pub const MAX_COUNT: u64 = 1 << 32;
/// Longest time that a script can name, in nanoseconds: a day.
pub const MAX_TIME_NS: u64 = 86_400_000_000_000;

/// A script as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// A short name; may be empty.
    pub name: String,
    /// One sentence; may be empty.
    pub description: String,
    /// What happens, in the order of the file.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its line in the file, from 1.
    pub line: usize,
    /// The N of `/dev/videoN`; `None` for what happens to the whole machine.
    pub device: Option<u32>,
    /// When it begins.
    pub when: When,
    /// How many frames or calls it happens to.
    pub count: u64,
    /// From one such frame or call to the next.
    pub every: u64,
    /// What happens.
    pub action: Action,
}

impl Step {
    /// What is wrong with this step.
    pub(crate) fn error(&self, message: String) -> ScriptError {
        let line = self.line;
        ScriptError { line, message }
    }
}

/// When a step begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// With the run.
    Start,
    /// At this time of the run, in nanoseconds.
    Time(u64),
    /// At this frame of the device, from 0.
    Frame(u64),
    /// At this call on the device, from 1: of one ioctl, or of any.
    Call {
        /// Which.
        number: u64,
        /// The ioctl that is counted; `None` for all.
        request: Option<u32>,
    },
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An ioctl fails, and the device does not hear of it.
    Fail {
        /// The ioctl.
        request: u32,
        /// With this errno.
        errno: i32,
    },
    /// Something happens to frames.
    Frame(FrameFault),
    /// The source has another size.
    Source {
        /// Pixels.
        width: u32,
        /// Lines.
        height: u32,
    },
    /// The source loses its signal, or has it again.
    Signal(bool),
    /// The device is unplugged, or plugged in again.
    Plug(bool),
    /// Others take contiguous memory, until no free run is longer than this.
    OccupyCma {
        /// Bytes.
        longest: u64,
    },
    /// They give it back.
    FreeCma,
    /// The next access of the device to memory faults in its IOMMU.
    IommuFault,
    /// The time of the devices stands still.
    StopClock {
        /// Nanoseconds of real time.
        for_ns: u64,
    },
}

impl Action {
    /// The key that stands for it in a script, and in reports.
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

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// `LINE: MESSAGE`, to stand behind the name of a file and a colon.
impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// [`ScriptError`] with the line.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        parse::parse(text)
    }
}
