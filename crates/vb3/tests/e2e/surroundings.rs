//! What a test's programs find around them: a home, directories and a GStreamer registry of their
//! own, and nothing of the desktop or the user who runs the tests.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Variables that programs keep, besides those that begin with `VB3_`. All others are removed.
const KEPT: [&str; 7] = [
    "PATH",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "RUST_BACKTRACE",
    // Sanitizers and emulators of other processors find their libraries by it.
    "LD_LIBRARY_PATH",
];

/// A command in a directory, with surroundings of its own below it.
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

/// Makes a test's directories; gives the variables that name them.
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
    vec![
        ("LANG", "C.UTF-8".into()),
        ("XDG_RUNTIME_DIR", made("run", 0o700)),
        ("XDG_CONFIG_HOME", made("config", 0o755)),
        ("XDG_CACHE_HOME", made("cache", 0o755)),
        ("TMPDIR", made("tmp", 0o755)),
        ("HOME", home.into()),
        ("XDG_STATE_HOME", dir.into()),
        ("GST_REGISTRY", registry.into()),
        // Where it is installed, it hides the cameras of V4L2 from programs that ask for all.
        (
            "GST_PLUGIN_FEATURE_RANK",
            "libcameraprovider:NONE,libcamerasrc:NONE".into(),
        ),
    ]
}

/// GStreamer's registry of the installed plugins. It takes a second to make, so all tests begin with
/// a copy of one. GStreamer itself looks again at plugins that have changed.
fn registry_of_all() -> Option<&'static PathBuf> {
    static REGISTRY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = REGISTRY.get_or_init(|| {
        let name = format!("gstreamer-registry-{}.bin", std::process::id());
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gstreamer-registry.bin");
        let registry = kept.with_file_name(name);
        // Of an earlier process, or of none yet.
        let _ = std::fs::copy(&kept, &registry);
        let mut scan = Command::new("gst-inspect-1.0");
        scan.arg("fakesink").env_clear();
        scan.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        scan.env("GST_REGISTRY", &registry);
        let scan = scan.stdout(Stdio::null()).stderr(Stdio::null()).status();
        scan.ok().filter(std::process::ExitStatus::success)?;
        std::fs::rename(&registry, &kept).ok()?;
        Some(kept)
    });
    made.as_ref()
}

/// One test of each kind of program, and of each place that programs write to.
const AGAIN: [&str; 12] = [
    "compliance::pc::camera",
    "desktop::pipewire_hands_the_camera_on_without_being_told_how",
    "gstreamer::src_userptr",
    "hotplug::streams_of_v4l2_ctl_and_gstreamer_end_with_their_error_and_begin_again",
    "lifecycle::nothing_stays_in_the_temporary_directory",
    "machines::why_tells_the_last_runs_refusals",
    "media::ffmpeg_captures",
    "media::opencv_captures",
    "media::static_c_program_captures",
    "page::a_browser_shows_the_plots_and_complains_of_nothing",
    "players::ffmpeg_keeps_the_times_of_a_file",
    "v4l2_ctl::userptr",
];

/// With a desktop's PipeWire that never answers, a plugin of GStreamer's that is none, a long TMPDIR,
/// a home that does not exist and a umask of 077, tests pass as they do without.
#[test]
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
        // No file of the system: a GStreamer that follows the variable replaces the file.
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
