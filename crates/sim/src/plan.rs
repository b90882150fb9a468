//! What a simulation does, made from its seed: machine, devices, programs and steps.

use rand_core::Rng as _;
use rand_pcg::Pcg32;
use std::collections::BTreeSet;
use std::fmt;
use vb3_machine::profile::BUILTINS;

/// Random numbers for one purpose.
#[derive(Debug)]
pub(crate) struct Dice(Pcg32);

impl Dice {
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        Self(Pcg32::new(seed, purpose))
    }

    /// A number below `n`; zero for `n` of zero.
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
    /// The world's virtual clock.
    Virtual,
    /// A clock that the simulation moves.
    Given,
}

/// The plan of a seed. Steps are numbered. Each step has its own random numbers, so dropping one
/// step leaves the others unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The machine's profile.
    pub machine: &'static str,
    /// The devices, as `--device` has them.
    pub devices: Vec<String>,
    /// The programs, by number; shrinking removes some.
    pub programs: BTreeSet<u32>,
    /// The steps, by number; shrinking removes some.
    pub steps: Vec<u32>,
    /// Whether platform calls fail, devices come and go, and buffers are revoked.
    pub faults: bool,
    /// How time passes.
    pub pace: Pace,
}

const STEPS: u32 = 260;

fn device(dice: &mut Dice, machine: &str) -> String {
    let size = ["16x16", "32x16", "64x48"][dice.below(3) as usize];
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
    /// Expands a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
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
        }
    }

    /// The random numbers of a step.
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
        let faults = if self.faults { "on" } else { "off" };
        let (programs, steps) = (self.programs.len(), self.steps.len());
        write!(
            f,
            "; clock {pace}, faults {faults}, {programs} programs, {steps} steps"
        )
    }
}
