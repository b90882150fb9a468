//! The table of what works: containers in rows, ways to use a device in columns.

use super::{machine, profile};
use crate::{docs, guest, sh};
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Longest time for one cell, in seconds.
const LIMIT: &str = "120";

/// Waits as programs do, in a language that calls the system directly.
pub(super) const WAITS: &str = include_str!("waits.py");

/// A way to use a device: its name, and a shell command that succeeds only if the use works.
pub(super) const USES: &[(&str, &str)] = &[
    // v4l2-ctl always ends with status 0, so the check is the length of its frames.
    (
        "mmap",
        "test $(v4l2-ctl -d0 --stream-mmap --stream-count=5 --stream-to=- | wc -c) -gt 100000",
    ),
    ("read", "python3 -c \"$WAITS\" read"),
    (
        "userptr",
        "test $(v4l2-ctl -d0 --stream-user --stream-count=5 --stream-to=- | wc -c) -gt 100000",
    ),
    (
        "dma-buf",
        "gst-launch-1.0 -q v4l2src num-buffers=5 io-mode=dmabuf \
         ! video/x-raw,format=YUY2,width=320,height=240 \
         ! v4l2sink device=/dev/video1 io-mode=dmabuf-import sync=false",
    ),
    ("epoll", "python3 -c \"$WAITS\" epoll"),
    ("mixed poll", "python3 -c \"$WAITS\" mixed"),
    ("listing", "python3 -c \"$WAITS\" listing"),
    ("compliance", "v4l2-compliance -d0 -s"),
    (
        "GStreamer",
        "gst-launch-1.0 -q v4l2src num-buffers=5 ! video/x-raw,width=320,height=240 ! fakesink",
    ),
    (
        "ffmpeg",
        "ffmpeg -v error -f v4l2 -video_size 320x240 -i /dev/video0 -frames:v 5 -f null -",
    ),
];

/// A root that a container may write to: an overlay of the machine's own root, which stays unchanged.
const ROOT: &str = "mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work /mnt/root \
     && mount -t overlay none -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root";

/// One hierarchy of control groups, as engines expect it, only in our own namespace.
const GROUPS: &str = "umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup";

/// Further set-up of a rootless engine: a user, and its range of subordinate users.
const ROOTLESS: &str = "mkdir /mnt/home /mnt/run && chmod 700 /mnt/run \
     && chown 65534:65534 /mnt/upper /mnt/home /mnt/run && touch /mnt/root/run/.containerenv \
     && chown 65534 /mnt/root/run/.containerenv && echo 65534:100000:65536 > /mnt/ids \
     && for file in /etc/subuid /etc/subgid; do [ -e $file ] || touch $file; \
     mount --bind /mnt/ids $file; done && cd /";

/// Starts an engine and a container in it.
const DOCKER: &str = include_str!("docker.sh");

/// A container: its name, the programs that it needs, and a script that runs `"$@"` in it.
/// `$BIN` is the directory with `vb3`.
const CONTAINERS: &[(&str, &str, &str)] = &[
    ("none", "sh", "exec \"$@\""),
    (
        "another user",
        "setpriv",
        "exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent \"$@\"",
    ),
    (
        "bubblewrap",
        "bwrap",
        "exec bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --ro-bind $BIN $BIN \
         --unshare-user --unshare-pid --unshare-ipc \"$@\"",
    ),
    (
        "systemd-nspawn",
        "systemd-nspawn",
        "exec unshare -m sh -c '$ROOT && exec systemd-nspawn -q -D /mnt/root --register=no \
         --keep-unit --as-pid2 --console=pipe --bind-ro=$BIN -E HOME=/root -E WAITS=\"$WAITS\" \"$@\"' sh \"$@\"",
    ),
    (
        "podman (root)",
        "podman",
        "exec unshare -m sh -c '$GROUPS; $ROOT && exec podman run --rm --cgroups=disabled \
         --network=none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 -e WAITS -e HOME=/root \
         -v $BIN:$BIN:ro --rootfs /mnt/root \"$@\"' sh \"$@\"",
    ),
    (
        "podman (another user)",
        "podman newuidmap setpriv",
        "exec unshare -m sh -c '$GROUPS; $ROOT && $ROOTLESS && exec setpriv --reuid=65534 \
         --regid=65534 --clear-groups env HOME=/mnt/home XDG_RUNTIME_DIR=/mnt/run podman \
         --cgroup-manager=cgroupfs run --rm --cgroups=disabled --network=none -e WAITS \
         -e HOME=/tmp -v $BIN:$BIN:ro --rootfs /mnt/root \"$@\"' sh \"$@\"",
    ),
    (
        "Docker",
        "dockerd",
        "echo \"$DOCKER\" > /run/vb3-reach-docker.sh; \
         SCRIPT=/run/vb3-reach-docker.sh exec sh /run/vb3-reach-docker.sh \"$@\"",
    ),
];

/// Tries all uses and makes the table.
///
/// # Errors
/// `vb3` cannot be built, or a use fails without a container or under a profile that is `complete`. Other
/// failures are results, not errors.
pub(crate) fn run(only: &[String], save: &docs::Save) -> Result<()> {
    let mut lost = Vec::new();
    save.table("reach", || {
        let rows = rows(only, &mut lost)?;
        ensure!(
            !rows.is_empty(),
            "there is no such place, or it is not available here"
        );
        let uses = USES.iter().map(|(name, _)| *name);
        Ok((std::iter::once("where").chain(uses).collect(), rows))
    })?;
    ensure!(
        lost.is_empty(),
        "lost where nothing is to be lost: {}",
        lost.join("; ")
    );
    Ok(())
}

/// Tries every use in each place. Adds those that fail but must work to `lost`.
fn rows(only: &[String], lost: &mut Vec<String>) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    let names = places().into_iter().map(|place| place.name);
    let guests = guest::ALL.iter().map(|kind| kind.name.to_owned());
    let names: Vec<String> = names.chain(guests).collect();
    let wanted = |name: &str| is_wanted(name, only, &names);
    let mut add = |name: String, complete: bool, works: Vec<bool>| {
        for (works, (usage, _)) in works.iter().zip(USES) {
            if complete && !works {
                lost.push(format!("{name}: {usage}"));
            }
        }
        let verdicts = works.iter().map(|&works| verdict(works).to_owned());
        rows.push(std::iter::once(name).chain(verdicts).collect());
    };
    let here: Vec<Environment> = places().into_iter().filter(|p| wanted(&p.name)).collect();
    if !here.is_empty() {
        let vb3 = sh::release_vb3()?;
        let bin = vb3.parent().context("vb3 lies in a directory")?;
        for place in here {
            match place.is_here() {
                Ok(()) => {
                    let works = place.uses(bin)?;
                    add(place.name, place.complete, works);
                }
                Err(why) => eprintln!("reach: {} is left out: {why:#}", place.name),
            }
        }
    }
    for kind in guest::ALL.iter().filter(|kind| wanted(kind.name)) {
        match guest::Guest::get(*kind) {
            Ok(guest) if kind.refused => {
                add(machine::refusal(&guest)?, false, vec![false; USES.len()]);
            }
            Ok(guest) => {
                let (name, works) = machine::uses(&guest)?;
                add(name, true, works);
            }
            Err(why) => eprintln!("reach: {} is left out: {why:#}", kind.name),
        }
    }
    Ok(rows)
}

fn verdict(works: bool) -> &'static str {
    if works { "ok" } else { "lost" }
}

/// Returns whether a place was asked for: by its name, or by a part of it that is no place's name.
fn is_wanted(name: &str, only: &[String], names: &[String]) -> bool {
    only.is_empty()
        || only.iter().any(|word| {
            let is_whole = names.iter().any(|name| name == word);
            name == word || (!is_whole && name.contains(word.as_str()))
        })
}

/// A place where programs run.
struct Environment {
    name: String,
    /// Programs that it needs installed.
    needs: &'static str,
    script: String,
    /// Whether every use must work there.
    complete: bool,
}

fn places() -> Vec<Environment> {
    let containers = CONTAINERS.iter().map(|&(name, needs, script)| Environment {
        name: name.to_owned(),
        needs,
        script: script
            .replace("$GROUPS", GROUPS)
            .replace("$ROOTLESS", ROOTLESS)
            .replace("$ROOT ", &format!("{ROOT} ")),
        complete: true,
    });
    let profiles = profile::ALL.iter().map(|profile| Environment {
        name: format!("profile {}", profile.name),
        needs: "sh",
        script: format!("exec \"$XTASK\" confine {} \"$@\"", profile.name),
        complete: profile.complete,
    });
    containers.chain(profiles).collect()
}

impl Environment {
    fn is_here(&self) -> Result<()> {
        let dirs = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
        let is_missing = |name: &&str| !dirs.iter().any(|dir| Path::new(dir).join(name).is_file());
        match self.needs.split(' ').find(is_missing) {
            None => Ok(()),
            Some(name) => bail!("{name} is not installed"),
        }
    }

    /// Tries every use in this place.
    fn uses(&self, bin: &Path) -> Result<Vec<bool>> {
        let mut all = Vec::new();
        for (name, command) in USES {
            let began = Instant::now();
            let works = self.run(bin, command)?;
            let said = works.as_ref().err().map_or("", String::as_str);
            let verdict = verdict(works.is_ok());
            let time = began.elapsed().as_secs_f32();
            eprintln!(
                "reach: {}: {name}: {verdict} ({time:.1} s) {said}",
                self.name
            );
            all.push(works.is_ok());
        }
        Ok(all)
    }

    /// Runs a command in it, under `vb3 run`. The inner error is the end of the command's output.
    fn run(&self, bin: &Path, command: &str) -> Result<std::result::Result<(), String>> {
        let own: PathBuf = std::env::current_exe().context("own path")?;
        let mut child = Command::new("timeout");
        child
            .args(["-k", "5", LIMIT, "sh", "-c", &self.script, "sh"])
            .arg(bin.join("vb3"))
            .args(["run", "-d", "camera=pattern", "-d", "display=null"])
            .args(["--", "sh", "-c", command])
            .env("BIN", bin)
            .env("XTASK", own)
            .env("WAITS", WAITS)
            .env("DOCKER", DOCKER)
            // The default search path, without a user's additions.
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .stdin(Stdio::null());
        let out = child.output().context("timeout does not start")?;
        if out.status.success() {
            return Ok(Ok(()));
        }
        let mut text = out.stdout;
        text.extend(out.stderr);
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let tail = lines
            .get(lines.len().saturating_sub(3)..)
            .unwrap_or_default();
        Ok(Err(format!("{}: {}", out.status, tail.join(" | "))))
    }
}

#[cfg(test)]
mod tests {
    use super::is_wanted;

    #[test]
    fn a_whole_name_asks_for_one_place() {
        let names = ["none", "arm64", "arm64-16k", "profile moby"].map(str::to_owned);
        let asked = |word: &str| {
            let only = [word.to_owned()];
            let wanted = names.iter().filter(|name| is_wanted(name, &only, &names));
            wanted.cloned().collect::<Vec<_>>()
        };
        assert_eq!(asked("arm64"), ["arm64"]);
        assert_eq!(asked("arm"), ["arm64", "arm64-16k"]);
        assert_eq!(asked("profile"), ["profile moby"]);
        assert!(is_wanted("none", &[], &names));
    }
}
