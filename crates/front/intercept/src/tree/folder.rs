//! The run's temporary directory for generated files. If a run is killed, the next run removes its
//! directory.

#![expect(
    clippy::disallowed_methods,
    reason = "the functions borrow a MayBlock token"
)]

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::kernel::{MayBlock, may_block, raw};

use vb3_frontend::Errno;

pub(crate) const PREFIX: &str = "vb3-sys-";
/// Maximum number of attempts: another run may remove the new directory as abandoned before it is locked.
const TRIES: u32 = 8;

/// A temporary directory, removed on drop. Its lock shows other runs that it is in use.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: OwnedFd,
}

/// Returns possible locations, the best first: the user's choice, then memory, then a disk, where making
/// the files may take ten times as long. `var` reads environment variables.
fn places(var: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = var("TMPDIR").map(PathBuf::from).into_iter().collect();
    places.push("/dev/shm".into());
    places.extend(var("XDG_RUNTIME_DIR").map(PathBuf::from));
    places.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
    places.retain(|place| place.is_absolute());
    places
}

impl Folder {
    /// Makes a directory in the first location where making it and `fill` both succeed. Returns the first
    /// location's error if no location works.
    pub(crate) fn make(
        may: &MayBlock,
        fill: impl FnMut(&Self) -> Result<(), Errno>,
    ) -> Result<Self, Errno> {
        Self::make_in(may, &places(|name| std::env::var_os(name)), fill)
    }

    fn make_in(
        may: &MayBlock,
        places: &[PathBuf],
        mut fill: impl FnMut(&Self) -> Result<(), Errno>,
    ) -> Result<Self, Errno> {
        let mut first = Errno(libc::ENOENT);
        for (i, place) in places.iter().enumerate() {
            remove_stale(may, place);
            let made = Self::at(may, place);
            match made.and_then(|folder| fill(&folder).map(|()| folder)) {
                Ok(folder) => return Ok(folder),
                Err(e) if i == 0 => first = e,
                Err(_) => {}
            }
        }
        Err(first)
    }

    fn at(may: &MayBlock, place: &Path) -> Result<Self, Errno> {
        let template = place.join(format!("{PREFIX}XXXXXX"));
        for _ in 0..TRIES {
            let template = CString::new(template.as_os_str().as_bytes());
            let mut template = template
                .map_err(|_| Errno(libc::EINVAL))?
                .into_bytes_with_nul();
            // SAFETY: a NUL-terminated template that mkdtemp may write to.
            if unsafe { libc::mkdtemp(template.as_mut_ptr().cast()) }.is_null() {
                return Err(raw::errno());
            }
            template.pop();
            let path = PathBuf::from(OsStr::from_bytes(&template));
            if let Some(lock) = lock(may, &path) {
                // Readable by all, since the program may run as another user.
                let mode = fs::Permissions::from_mode(0o755);
                let folder = Self { path, _lock: lock };
                fs::set_permissions(&folder.path, mode).map_err(|e| raw::of_io(&e))?;
                return Ok(folder);
            }
        }
        Err(Errno(libc::EAGAIN))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Ignores errors: the next run removes the remaining files.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Locks a directory. Returns `None` if it cannot be opened, if another run holds the lock, or if another run has
/// meanwhile removed the directory that was opened, so that the path names another one or none.
fn lock(may: &MayBlock, path: &Path) -> Option<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let fd = may_block::open(may, path, flags).ok()?;
    let taken = flock(&fd, FlockOperation::NonBlockingLockExclusive);
    let there = fs::symlink_metadata(path).ok()?;
    let ours = raw::fstat(fd.as_fd()).ok()?;
    (taken.is_ok() && there.ino() == ours.st_ino && there.dev() == ours.st_dev).then_some(fd)
}

/// Removes directories in `place` that killed runs of this user have left.
fn remove_stale(may: &MayBlock, place: &Path) {
    let user = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = |meta: fs::Metadata| meta.is_dir() && meta.uid() == user;
        let stale = entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())
            && entry.metadata().is_ok_and(is_ours);
        if stale && let Some(_lock) = lock(may, &entry.path()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn empty(_: &Folder) -> Result<(), Errno> {
        Ok(())
    }

    #[test]
    fn what_a_killed_run_left_goes_and_what_lives_stays() {
        let may = MayBlock::of_this_thread();
        let outer = Folder::make(&may, empty).expect("a folder");
        let place = [outer.path().to_owned()];
        let living = Folder::make_in(&may, &place, empty).expect("a folder");
        let left = outer.path().join(format!("{PREFIX}killed"));
        fs::create_dir_all(left.join("class")).expect("made");
        let other = outer.path().join("someone-elses");
        fs::create_dir(&other).expect("made");
        let next = Folder::make_in(&may, &place, empty).expect("a folder");
        assert!(!left.exists());
        assert!(living.path().is_dir() && next.path().is_dir() && other.is_dir());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn user_folder_comes_first_memory_before_disk() {
        let set = |set: &'static [(&str, &str)]| {
            places(move |name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.into())
            })
        };
        let all = ["/big", "/dev/shm", "/run/user/7", "/tmp", "/var/tmp"].map(PathBuf::from);
        let both = set(&[("TMPDIR", "/big"), ("XDG_RUNTIME_DIR", "/run/user/7")]);
        assert_eq!(both, all);
        assert_eq!(
            set(&[("TMPDIR", "not/absolute")]),
            [&all[1], &all[3], &all[4]].map(Clone::clone)
        );
    }

    #[test]
    fn an_unusable_place_is_passed_over() {
        let may = MayBlock::of_this_thread();
        let outer = Folder::make(&may, empty).expect("a folder");
        let places = [outer.path().join("missing"), outer.path().to_owned()];
        let folder = Folder::make_in(&may, &places, empty).expect("the second place");
        assert!(folder.path().starts_with(outer.path()));
        assert_eq!(
            Folder::make_in(&may, &places[..1], empty).expect_err("no place"),
            Errno(libc::ENOENT)
        );
    }

    #[test]
    fn a_full_place_is_passed_over_and_left_clean() {
        let may = MayBlock::of_this_thread();
        let outer = Folder::make(&may, empty).expect("a folder");
        let places = ["full", "free"].map(|name| outer.path().join(name));
        for place in &places {
            fs::create_dir(place).expect("made");
        }
        let fill = |folder: &Folder| {
            fs::write(folder.path().join("file"), "text").expect("written");
            match folder.path().starts_with(&places[0]) {
                true => Err(Errno(libc::ENOSPC)),
                false => Ok(()),
            }
        };
        let folder = Folder::make_in(&may, &places, fill).expect("the second place");
        assert!(folder.path().join("file").is_file());
        assert!(folder.path().starts_with(&places[1]));
        assert_eq!(fs::read_dir(&places[0]).expect("readable").count(), 0);
        let none = Folder::make_in(&may, &places[..1], fill).expect_err("no place");
        assert_eq!(none, Errno(libc::ENOSPC));
    }
}
