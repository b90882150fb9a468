//! The plan of a simulation, made from its seed: machine, devices, programs and steps.

use rand_core::Rng as _;
use rand_pcg::Pcg32;
use std::collections::BTreeSet;
use std::fmt;
use vb3_machine::profile::BUILTINS;

/// A generator of random numbers for one purpose.
#[derive(Debug)]
pub(crate) struct Dice(Pcg32);

impl Dice {
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        Self(Pcg32::new(seed, purpose))
    }

    /// Returns a number below `n`, or zero if `n` is zero.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        self.0.next_u32() % n.max(1)
    }

    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(u32::try_from(of.len()).unwrap_or(u32::MAX)) as usize)
    }
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// On the run's virtual clock.
    Virtual,
    /// On a clock that the simulation moves.
    Given,
}

/// The plan of a seed. Each step has a number, and from it its own random numbers. So if a step is dropped,
/// the other steps stay the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed from which the plan was made.
    pub seed: u64,
    /// The name of the machine's profile.
    pub machine: &'static str,
    /// The SPECs of the devices, as in `--device`.
    pub devices: Vec<String>,
    /// The numbers of the programs. Shrinking a plan removes some.
    pub programs: BTreeSet<u32>,
    /// The numbers of the steps. Shrinking a plan removes some.
    pub steps: Vec<u32>,
    /// Whether platform calls fail, devices come and go, and buffers are revoked.
    pub faults: bool,
    /// How time passes.
    pub pace: Pace,
    /// Whether programs use codecs and dma-heaps, too.
    pub codecs: bool,
    /// Whether the faults include IOMMUs that do not remove a mapping, so that memory stays quarantined.
    pub unmap_faults: bool,
}

const STEPS: u32 = 260;

const STATELESS: &str = "h264dec-stateless";
const SIZES: [&str; 3] = ["16x16", "32x16", "64x48"];

fn device(dice: &mut Dice, machine: &str) -> String {
    let size = SIZES[dice.below(3) as usize];
    let kind = ["camera", "camera", "display", "loopback", "convert"][dice.below(5) as usize];
    let mut spec = format!("{kind},size={size},format=YUYV");
    if kind == "camera" {
        spec += &format!(",sizes={size}");
    }
    let is_video = matches!(kind, "camera" | "display");
    if is_video && dice.percent(30) {
        spec += ",mplane=on";
    }
    if dice.percent(30) {
        spec += ",pace=free";
    }
    spec + &memory(dice, machine)
}

/// Returns the SPEC of a memory-to-memory device that takes one picture in each OUTPUT buffer.
fn codec(dice: &mut Dice, machine: &str) -> String {
    let size = SIZES[dice.below(3) as usize];
    let kind = ["jpegdec", "jpegenc", STATELESS, "convert"][dice.below(4) as usize];
    let format = if kind == "convert" { "YUYV" } else { "NV12" };
    let mut spec = format!("{kind},size={size},format={format}");
    for option in memory(dice, machine).split(',').skip(1) {
        // A device with media requests must be able to start without buffers.
        if kind != STATELESS || !option.starts_with("min-queued") {
            spec += &format!(",{option}");
        }
    }
    spec
}

/// Returns options about a device's memory.
fn memory(dice: &mut Dice, machine: &str) -> String {
    let mut spec = String::new();
    let alloc = dice.below(5) as usize;
    spec += ["", "", "", ",alloc=sg", ",alloc=vmalloc"][alloc];
    let has_dma = alloc < 4;
    if dice.percent(25) {
        spec += &format!(",min-queued={}", dice.below(3));
    }
    if alloc < 3 && dice.percent(15) {
        spec += ",place=lazy";
    }
    if has_dma && dice.percent(20) && machine != "soc-sram" {
        spec += ",mask=25";
    }
    if has_dma && dice.percent(15) {
        spec += ",align=4096";
    }
    spec
}

impl Plan {
    /// Makes the plan of a seed. Half of all plans also have heaps and codecs, three of ten have a display
    /// card, and a quarter has unmaps that fail.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut plan = Self::basic(seed);
        let mut dice = Dice::new(seed, 4);
        if dice.percent(50) {
            let codecs = (0..1 + dice.below(2)).map(|_| codec(&mut dice, plan.machine));
            plan.devices.extend(codecs.collect::<Vec<_>>());
            // Codecs work in threads, and only the run's own clock waits for them.
            plan.pace = Pace::Virtual;
            plan.codecs = true;
        }
        let mut dice = Dice::new(seed, 6);
        if dice.percent(30) {
            let (size, pace) = ("32x16", ["", ",pace=free"][dice.below(2) as usize]);
            plan.devices
                .push(format!("kms,size={size},sizes={size}{pace}"));
        }
        plan.unmap_faults = plan.faults && Dice::new(seed, 5).percent(40);
        plan
    }

    /// Makes the plan of a seed that has only cameras, displays, loopbacks and converters.
    #[must_use]
    pub fn basic(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let names: Vec<&'static str> = BUILTINS.iter().map(|(name, _)| *name).collect();
        let machine = dice.pick(&names).copied().unwrap_or("pc");
        let mut devices = vec!["camera,size=32x16,sizes=32x16,format=YUYV".to_owned()];
        devices.extend((0..1 + dice.below(3)).map(|_| device(&mut dice, machine)));
        let has_converter = devices.iter().any(|spec| spec.starts_with("convert"));
        let is_given = !has_converter && dice.percent(60);
        Self {
            seed,
            machine,
            devices,
            programs: (0..1 + dice.below(3)).collect(),
            steps: (0..STEPS / 2 + dice.below(STEPS)).collect(),
            faults: dice.percent(60),
            pace: if is_given { Pace::Given } else { Pace::Virtual },
            codecs: false,
            unmap_faults: false,
        }
    }

    /// Returns the random numbers of a step.
    pub(crate) fn dice(&self, step: u32) -> Dice {
        Dice::new(self.seed, 1000 + u64::from(step))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} --machine {}", self.seed, self.machine)?;
        for device in &self.devices {
            write!(f, " --device {device}")?;
        }
        let pace = match self.pace {
            Pace::Virtual => "virtual",
            Pace::Given => "given",
        };
        let faults = match (self.faults, self.unmap_faults) {
            (false, _) => "off",
            (true, false) => "on",
            (true, true) => "on, also of unmaps",
        };
        let (programs, steps) = (self.programs.len(), self.steps.len());
        write!(
            f,
            "; clock {pace}, faults {faults}, {programs} programs, {steps} steps"
        )
    }
}

#[cfg(test)]
mod tests;
