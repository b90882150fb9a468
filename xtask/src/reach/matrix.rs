//! What works where: containers in rows, ways of using a device in columns.

use super::profile;
use crate::{sh, table};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Longest time for one cell.
const LIMIT: &str = "120";

/// Waits as programs wait, in a language that has no wrappers around them.
const WAITS: &str = include_str!("waits.py");

/// A way to use a device: its name and a shell command that fails unless it works.
const USES: &[(&str, &str)] = &[
    // v4l2-ctl ends with status 0 whatever came: its frames are counted.
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

/// A root that a container may write to: the machine's own below, nothing of it changed.
const ROOT: &str = "mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work /mnt/root \
     && mount -t overlay none -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root";

/// One hierarchy of control groups, which engines expect; only in our own name space.
const GROUPS: &str = "umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup";

/// Starts an engine and a container in it.
const DOCKER: &str = include_str!("docker.sh");

/// A container: its name, the program it needs, and a script that runs `"$@"` in it. `$BIN` is
/// the directory with `vb3`.
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
        "Docker (the system's)",
        "dockerd",
        "echo \"$DOCKER\" > /run/vb3-reach-docker.sh; \
         SCRIPT=/run/vb3-reach-docker.sh exec sh /run/vb3-reach-docker.sh \"$@\"",
    ),
];

/// Makes the table.
///
/// # Errors
/// `vb3` cannot be built. What does not work somewhere is no error, but what does not work
/// without a container, or under a profile that is to lose nothing.
pub(crate) fn run(only: &[String]) -> Result<()> {
    sh::run(Command::new("cargo").args(["build", "-q", "-p", "vb3"]))?;
    let bin = sh::target().join("debug");
    let mut rows = Vec::new();
    let mut lost = Vec::new();
    let wanted =
        |name: &str| only.is_empty() || only.iter().any(|word| name.contains(word.as_str()));
    for place in places().iter().filter(|place| wanted(&place.name)) {
        if let Err(why) = place.is_here() {
            eprintln!("reach: {} is left out: {why:#}", place.name);
            continue;
        }
        let mut cells = vec![place.name.clone()];
        for (name, command) in USES {
            let began = Instant::now();
            let works = place.run(&bin, command)?;
            let said = works.as_ref().err().map_or("", String::as_str);
            let verdict = if works.is_ok() { "ok" } else { "lost" };
            let time = began.elapsed().as_secs_f32();
            eprintln!(
                "reach: {}: {name}: {verdict} ({time:.1} s) {said}",
                place.name
            );
            if works.is_err() && place.complete {
                lost.push(format!("{}: {name}", place.name));
            }
            cells.push(verdict.to_owned());
        }
        rows.push(cells);
    }
    let header: Vec<&str> = std::iter::once("where")
        .chain(USES.iter().map(|(name, _)| *name))
        .collect();
    println!("{}", table::format(&header, &rows));
    if rows.is_empty() {
        bail!("there is no such place");
    }
    if !lost.is_empty() {
        bail!("lost where nothing is to be lost: {}", lost.join("; "));
    }
    Ok(())
}

/// Where programs run.
struct Place {
    name: String,
    /// What it needs installed.
    needs: &'static str,
    script: String,
    /// Everything is to work there.
    complete: bool,
}

fn places() -> Vec<Place> {
    let containers = CONTAINERS.iter().map(|&(name, needs, script)| Place {
        name: name.to_owned(),
        needs,
        script: script.replace("$GROUPS", GROUPS).replace("$ROOT", ROOT),
        complete: true,
    });
    let profiles = profile::ALL.iter().map(|profile| Place {
        name: format!("profile {}", profile.name),
        needs: "sh",
        script: format!("exec \"$XTASK\" confine {} \"$@\"", profile.name),
        complete: profile.complete,
    });
    containers.chain(profiles).collect()
}

impl Place {
    fn is_here(&self) -> Result<()> {
        let mut dirs = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter();
        let found = dirs.any(|dir| Path::new(dir).join(self.needs).is_file());
        if found {
            Ok(())
        } else {
            bail!("{} is not installed", self.needs)
        }
    }

    /// Runs a command in it, under `vb3 run`; the inner error is the end of what was said.
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
            // Not what a person has in front of the system's own.
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
