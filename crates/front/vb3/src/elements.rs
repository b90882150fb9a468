//! GStreamer's registry, its cache of elements.
//!
//! GStreamer makes an element of each memory-to-memory device. It probes the devices again only when
//! the names in `/dev` change. With one registry for all runs, a run whose `/dev/video0` is a converter
//! could get the elements of the previous run, whose `/dev/video0` was a decoder. Programs outside `vb3`
//! could also get elements of a run's devices. So runs with memory-to-memory devices use separate
//! registries, one for each set of devices.

use std::ffi::OsString;
use std::fs::DirEntry;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use vb3_devices::spec::DeviceSpec;

/// Environment variables that name the registry, in GStreamer's order of precedence.
const NAMES: [&str; 2] = ["GST_REGISTRY_1_0", "GST_REGISTRY"];
/// Maximum number of stored registries. Each is slightly larger than a megabyte.
const MAX_KEPT: usize = 8;
const PREFIX: &str = "gstreamer-";

/// Returns the environment variable to set for a program on these devices, and its value.
///
/// `None` keeps the program's usual registry: no device becomes an element, the user has set a
/// registry, or there is no home directory.
#[must_use]
pub fn registry(specs: &[DeviceSpec]) -> Option<(&'static str, PathBuf)> {
    let var = |name: &str| std::env::var_os(name);
    if !specs.iter().any(|spec| spec.is_mem2mem()) || NAMES.iter().any(|name| var(name).is_some()) {
        return None;
    }
    let dir = cache_dir(var("XDG_CACHE_HOME"), var("HOME"))?;
    std::fs::create_dir_all(&dir).ok()?;
    let file = dir.join(format!("{PREFIX}{:016x}.bin", fingerprint(specs)));
    prune(&dir, &file);
    Some((NAMES[1], file))
}

fn cache_dir(cache: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |dir: OsString| Some(PathBuf::from(dir)).filter(|dir| dir.is_absolute());
    let cache = cache.and_then(absolute);
    let cache = cache.or_else(|| home.and_then(absolute).map(|home| home.join(".cache")))?;
    Some(cache.join("vb3"))
}

/// Returns a hash of everything that elements depend on: the devices and the vb3 binary.
fn fingerprint(specs: &[DeviceSpec]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for spec in specs {
        let size = spec.size.map(|size| (size.width(), size.height()));
        (spec.kind.name(), spec.mplane, spec.node, size).hash(&mut hasher);
    }
    let built = std::env::current_exe().and_then(std::fs::metadata);
    if let Ok(built) = built {
        (built.len(), built.modified().ok()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Removes the oldest registries. If one is still in use, the next run makes it again.
fn prune(dir: &Path, keep: &Path) {
    let Ok(entries) = dir.read_dir() else { return };
    let is_registry = |entry: &DirEntry| {
        entry.path() != keep && entry.file_name().to_string_lossy().starts_with(PREFIX)
    };
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(is_registry)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort_unstable();
    let surplus = (found.len() + 1).saturating_sub(MAX_KEPT);
    for (_, path) in found.into_iter().take(surplus) {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(words: &[&str]) -> Vec<DeviceSpec> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn other_devices_have_another_registry() {
        let of = |words: &[&str]| fingerprint(&specs(words));
        assert_eq!(of(&["h264dec", "convert"]), of(&["h264dec", "convert"]));
        assert_ne!(of(&["h264dec", "convert"]), of(&["convert", "h264dec"]));
        assert_ne!(of(&["h264dec"]), of(&["h264dec,node=video3"]));
        // Elements do not depend on card names or hints.
        assert_eq!(of(&["h264dec"]), of(&["h264dec,name=x,hints=off"]));
    }

    #[test]
    fn cameras_and_displays_leave_the_registry_alone() {
        assert_eq!(registry(&specs(&["camera=pattern", "display=null"])), None);
    }

    #[test]
    fn it_is_kept_in_the_cache() {
        let dir = |cache: &str, home: &str| cache_dir(Some(cache.into()), Some(home.into()));
        assert_eq!(dir("/c", "/h"), Some("/c/vb3".into()));
        assert_eq!(dir("not/absolute", "/h"), Some("/h/.cache/vb3".into()));
        assert_eq!(cache_dir(None, None), None);
    }

    #[test]
    fn the_oldest_registries_go() {
        let dir = tempfile::tempdir().unwrap();
        let file = |n: usize| dir.path().join(format!("{PREFIX}{n}.bin"));
        std::fs::write(dir.path().join("other.bin"), "").unwrap();
        for n in 0..12 {
            let made = std::fs::File::create(file(n)).unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            made.set_modified(at).unwrap();
        }
        prune(dir.path(), &file(2));
        let left: Vec<usize> = (0..12).filter(|n| file(*n).exists()).collect();
        assert_eq!(left, [2, 5, 6, 7, 8, 9, 10, 11]);
        assert!(dir.path().join("other.bin").exists());
    }
}
