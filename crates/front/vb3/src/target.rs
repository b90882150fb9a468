//! The machine and devices that the command line chooses.

use crate::cli::TargetArgs;
use crate::{board, machines};
use anyhow::{Context as _, Result, anyhow, bail};
use vb3_devices::spec::{DEFAULTS, DeviceSpec, MAX_DEVICES, with_option};
use vb3_machine::Profile;

/// A machine and its devices.
pub(crate) struct Target {
    /// The profile's text, as `vb3 machines` prints it.
    pub(crate) text: String,
    /// The profile, parsed from the text.
    pub(crate) profile: Profile,
    /// The devices as the user wrote them.
    pub(crate) words: Vec<String>,
    /// The same devices, parsed.
    pub(crate) specs: Vec<DeviceSpec>,
}

impl Target {
    /// Parses the machine's profile and the devices that the user has named, or that a report names for a replay.
    /// Without devices, takes the profile's own, or else the default ones.
    ///
    /// # Errors
    /// The profile or a device is invalid.
    pub(crate) fn new(machine: &str, text: String, words: &[String]) -> Result<Self> {
        let profile = machines::parse(machine, &text)?;
        let words = match (words, profile.devices.as_slice()) {
            ([], []) => DEFAULTS.map(str::to_owned).to_vec(),
            ([], own) => own.to_vec(),
            (named, _) => named.to_vec(),
        };
        Ok(Self {
            specs: device_specs(&words)?,
            text,
            profile,
            words,
        })
    }

    /// Finds the machine that the command line names, and applies `--set` to its devices.
    ///
    /// # Errors
    /// There is no such machine, or a device is invalid.
    pub(crate) fn find(args: &TargetArgs, devices: &[String]) -> Result<Self> {
        let found = machines::find(&args.machine, args.ram)?;
        if let (Some(board), []) = (&found.board, devices) {
            board::has_devices(board, &args.machine)?;
        }
        let mut target = Self::new(&found.name, found.text, devices)?;
        for change in &args.set {
            target
                .change(change)
                .with_context(|| format!("--set {change}"))?;
        }
        Ok(target)
    }

    /// Changes one option of a device, such as `video0.size=640x480`.
    fn change(&mut self, change: &str) -> Result<()> {
        let form = "write DEVICE.KEY=VALUE, such as video0.size=1280x720";
        let (path, value) = change.split_once('=').context(form)?;
        let (device, option) = path.split_once('.').unwrap_or((path, ""));
        let at = self.device(device)?;
        let word = self.words.get_mut(at).context(form)?;
        *word = with_option(word, option, value);
        let spec: DeviceSpec = word.parse().map_err(|e| anyhow!("{e}"))?;
        self.specs.splice(at..=at, [spec]);
        Ok(())
    }

    /// Finds a device by its node, or by its kind if only one device has that kind. Returns its
    /// index.
    fn device(&self, name: &str) -> Result<usize> {
        let mut expanded = Vec::new();
        let mut owners = Vec::new();
        for (at, spec) in self.specs.iter().enumerate() {
            let nodes = spec.nodes().map_err(|e| anyhow!("{}", e.sentence()))?;
            owners.extend(nodes.iter().map(|_| at));
            expanded.extend(nodes);
        }
        let nodes = vb3_run::numbers(&expanded)?;
        let nodes: Vec<_> = nodes
            .iter()
            .map(|number| format!("video{number}"))
            .collect();
        let plain = name.strip_prefix("/dev/").unwrap_or(name);
        if let Some((at, _)) = owners.iter().zip(&nodes).find(|(_, node)| *node == plain) {
            return Ok(*at);
        }
        let list = || {
            let words = owners.iter().filter_map(|at| self.words.get(*at));
            let rows = nodes
                .iter()
                .zip(words)
                .map(|(node, word)| format!("{node} ({word})"));
            format!("the devices are {}", rows.collect::<Vec<_>>().join(", "))
        };
        let kinds = self.specs.iter().map(|spec| spec.kind.name());
        let same: Vec<usize> = (kinds.enumerate())
            .filter_map(|(at, kind)| (kind == name).then_some(at))
            .collect();
        match same[..] {
            [at] => Ok(at),
            [] => bail!("there is no device {name}; {}", list()),
            _ => bail!(
                "there are several devices {name}; name a node instead: {}",
                list()
            ),
        }
    }
}

fn device_specs(words: &[String]) -> Result<Vec<DeviceSpec>> {
    if words.len() > MAX_DEVICES as usize {
        bail!(
            "{} devices are too many; the limit is {MAX_DEVICES}",
            words.len()
        );
    }
    words
        .iter()
        .map(|word| {
            let spec: Result<DeviceSpec, _> = word.parse();
            spec.with_context(|| format!("--device {word}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(machine: &str, devices: &[&str], set: &[&str]) -> Result<Target> {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let args = TargetArgs {
            machine: machine.to_owned(),
            ram: None,
            set: owned(set),
        };
        let devices: Vec<String> = owned(devices);
        Target::find(&args, &devices)
    }

    fn refusal(machine: &str, devices: &[&str], set: &[&str]) -> String {
        format!("{:#}", target(machine, devices, set).err().unwrap())
    }

    #[test]
    fn device_specs_name_the_one_that_is_wrong() {
        assert_eq!(target("pc", &[], &[]).unwrap().specs.len(), 2);
        let said = refusal("pc", &["camera=pattern", "scanner=x"], &[]);
        assert!(said.contains("--device scanner=x"), "{said}");
        target("pc", &["camera=pattern"; 65], &[]).err().unwrap();
    }

    #[test]
    fn set_changes_one_option_of_one_device() {
        let sets = ["video2.size=64x48", "camera.fps=5", "/dev/video3=a.y4m"];
        let devices = ["loopback", "camera,fps=9", "display"];
        let words = target("pc", &devices, &sets).unwrap().words;
        let wanted = ["loopback", "camera,fps=5,size=64x48", "display=a.y4m"];
        assert_eq!(words, wanted);
        for (set, said) in [
            (
                "video9.size=4x4",
                "there is no device video9; the devices are video0 (loopback), video1 (loopback), ",
            ),
            ("camera.siz=4x4", "did you mean size?"),
            ("camera.size", "write DEVICE.KEY=VALUE"),
        ] {
            let found = refusal("pc", &devices, &[set]);
            assert!(found.contains(said) && found.contains(set), "{found}");
        }
        let two = refusal("pc", &["camera", "camera"], &["camera.fps=5"]);
        assert!(two.contains("several devices camera"), "{two}");
    }

    #[test]
    fn set_changes_one_device_of_a_board() {
        let plain = target("rpi-4", &[], &[]).unwrap();
        let changed = target("rpi-4", &[], &["video0.align=4096"]).unwrap();
        assert_eq!(plain.words.len(), changed.words.len());
        assert!(
            changed.words[0].ends_with(",align=4096"),
            "{:?}",
            changed.words
        );
    }
}
