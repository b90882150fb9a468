//! The environment of a test's programs: a separate home, directories and GStreamer registry, and
//! nothing from the user's desktop.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Environment variables that programs keep, in addition to `VB3_*`. All others are removed.
const KEPT: [&str; 7] = [
    "PATH",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "RUST_BACKTRACE",
    // Sanitizers and emulators find their libraries by this variable.
    "LD_LIBRARY_PATH",
];

/// Prepares a command in a directory, with a separate environment below it.
pub(crate) fn command(program: impl AsRef<OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    let kept = |name: &OsStr| {
        let name = name.to_string_lossy();
        KEPT.contains(&&*name) || name.starts_with("VB3_")
    };
    command
        .current_dir(dir)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| kept(name)))
        .envs(variables(dir));
    command
}

/// Makes a test's directories. Returns the variables that name them.
fn variables(dir: &Path) -> Vec<(&'static str, OsString)> {
    use std::os::unix::fs::PermissionsExt as _;
    let home = dir.join("home");
    let made = |name: &str, mode: u32| -> OsString {
        let dir = home.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
        dir.into()
    };
    let registry = home.join("gstreamer-registry.bin");
    if let Some(scanned) = registry_of_all().filter(|_| !registry.exists() && dir.is_absolute()) {
        std::fs::create_dir_all(&home).unwrap();
        std::fs::copy(scanned, &registry).unwrap();
    }
    let mut variables = vec![
        ("LANG", "C.UTF-8".into()),
        ("XDG_RUNTIME_DIR", made("run", 0o700)),
        ("XDG_CONFIG_HOME", made("config", 0o755)),
        ("XDG_CACHE_HOME", made("cache", 0o755)),
        ("TMPDIR", made("tmp", 0o755)),
        ("HOME", home.into()),
        ("XDG_STATE_HOME", dir.into()),
        ("GST_REGISTRY", registry.into()),
    ];
    variables.extend(other_plugins().map(|dir| (PLUGINS, dir.into())));
    variables
}

/// Names the directory of the system's GStreamer plugins.
pub(crate) const PLUGINS: &str = "GST_PLUGIN_SYSTEM_PATH_1_0";

/// Returns a directory of links to the installed plugins other than libcamera's, if that is installed: it
/// hides V4L2's devices from programs that list all devices.
fn other_plugins() -> Option<&'static PathBuf> {
    static PLUGINS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let installed = PLUGINS.get_or_init(|| {
        let places = [
            "lib/x86_64-linux-gnu",
            "lib/aarch64-linux-gnu",
            "lib64",
            "lib",
        ];
        let mut places = places
            .map(|lib| format!("/usr/{lib}/gstreamer-1.0"))
            .into_iter();
        let hidden = "libgstlibcamera.so";
        let place = places.find(|place| Path::new(place).join(hidden).exists())?;
        let links = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gstreamer-plugins");
        std::fs::create_dir_all(&links).ok()?;
        for plugin in std::fs::read_dir(place).ok()?.flatten() {
            if plugin.file_name() != hidden {
                // The link may exist from an earlier process.
                let _ = std::os::unix::fs::symlink(plugin.path(), links.join(plugin.file_name()));
            }
        }
        Some(links)
    });
    installed.as_ref()
}

/// Returns GStreamer's registry of the installed plugins. Making it takes a second, so all tests
/// start with a copy. GStreamer itself rescans changed plugins.
fn registry_of_all() -> Option<&'static PathBuf> {
    static REGISTRY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = REGISTRY.get_or_init(|| {
        let name = format!("gstreamer-registry-{}.bin", std::process::id());
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gstreamer-registry.bin");
        let registry = kept.with_file_name(name);
        // The registry may exist from an earlier process.
        let _ = std::fs::copy(&kept, &registry);
        let mut scan = Command::new("gst-inspect-1.0");
        scan.arg("fakesink").env_clear();
        scan.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        scan.env("GST_REGISTRY", &registry);
        scan.envs(other_plugins().map(|dir| (PLUGINS, dir)));
        let scan = scan.stdout(Stdio::null()).stderr(Stdio::null()).status();
        scan.ok().filter(std::process::ExitStatus::success)?;
        std::fs::rename(&registry, &kept).ok()?;
        Some(kept)
    });
    made.as_ref()
}

/// A test for each kind of program and each directory that programs write to.
const AGAIN: [&str; 12] = [
    "compliance::pc::camera",
    "desktop::pipewire_offers_the_camera_by_default",
    "gstreamer::src_userptr",
    "hotplug::streams_end_on_unplug_and_restart_after_plug",
    "lifecycle::nothing_stays_in_the_temporary_directory",
    "machines::why_lists_the_last_runs_refusals",
    "media::ffmpeg_captures",
    "media::opencv_captures",
    "media::static_c_program_captures",
    "page::browser_shows_the_plots_without_errors",
    "players::ffmpeg_keeps_the_times_of_a_file",
    "v4l2_ctl::userptr",
];

/// Tests also pass with a PipeWire that never answers, a broken GStreamer plugin, a long TMPDIR, a
/// missing home and a umask of 077.
#[test]
#[ignore = "full: repeats other tests"]
fn hostile_surroundings_change_no_result() {
    let dir = crate::common::tempdir();
    let made = |name: &str| {
        let made = dir.path().join(name);
        std::fs::create_dir(&made).unwrap();
        made
    };
    let runtime = made("runtime");
    let _deaf = std::os::unix::net::UnixListener::bind(runtime.join("pipewire-0")).unwrap();
    let plugins = made("plugins");
    std::fs::write(plugins.join("libgstjunk.so"), "junk").unwrap();
    let mut again = Command::new("sh");
    again
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .arg("--exact")
        .args(AGAIN)
        .env("HOME", "/no/such/home")
        .env("TMPDIR", made(&"long".repeat(30)))
        .env("XDG_RUNTIME_DIR", &runtime)
        .env("PIPEWIRE_RUNTIME_DIR", &runtime)
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/no/such/bus")
        .env("DISPLAY", ":77")
        .env("LANG", "tr_TR.UTF-8")
        .env("GST_PLUGIN_PATH", &plugins)
        // Not a file of the system, because GStreamer replaces the file that this variable names.
        .env("GST_REGISTRY", plugins.join("registry.bin"))
        .env("PYTHONPATH", &plugins);
    let (status, said, _) = crate::common::finish(&mut again, dir.path());
    assert_eq!(status, 0, "{said}");
    assert!(
        !plugins.join("registry.bin").exists(),
        "a test followed GST_REGISTRY"
    );
    let passed = format!("test result: ok. {} passed", AGAIN.len());
    assert!(said.contains(&passed), "{said}");
}
