//! A process's descriptors.

use super::*;

fn tag_of(process: &Process, fd: i32) -> Option<Tag> {
    process.descriptor(fd, Detail::Description).ok()?.tag
}

/// Returns a process with the most descriptors that it may have.
fn full() -> Process {
    let process = Process::new(5);
    let file = std::fs::File::open("/dev/null").unwrap();
    for nth in 0..MAX_FDS {
        let tag = Tag(nth as u64);
        let fd = file.try_clone().unwrap().into();
        let fd = process.install(&Made::Memory { fd, tag }, true).unwrap();
        assert_eq!(tag_of(&process, fd), Some(tag));
    }
    process
}

#[test]
fn file_gets_the_lowest_free_descriptor() {
    let process = full();
    let shared = process.shared(8).unwrap();
    assert_eq!(process.adopt(Rc::clone(&shared)), Err(Errno(24)));
    assert_eq!(process.close(8), None);
    assert_eq!(process.adopt(shared), Ok(8));
    assert!(process.numbers().into_iter().eq(3..3 + MAX_FDS as i32));
}

#[test]
fn only_the_last_close_ends_a_file() {
    let process = full();
    let _ = process.close(4);
    assert_eq!(process.adopt(process.shared(9).unwrap()), Ok(4));
    let tag = tag_of(&process, 9);
    assert_eq!(process.close(9), None);
    assert_eq!(process.close(4), tag);
    assert_eq!(process.close(4), None);
    assert_eq!(tag_of(&process, 4), None);
}

#[test]
fn descriptors_have_the_identity_of_their_files() {
    let process = full();
    let (file, name) = (FileId(3), c"");
    let fd = process.install(&Made::File { file, name }, false).unwrap();
    let identify = |fd| process.descriptor(fd, Detail::Name).map(|known| known.id);
    assert_eq!(identify(fd), Ok(identity_of(file)));
    assert_eq!(process.request(fd), Some(FileId(3)));
    let stat = fstat(&process.shared(3).unwrap().fd).unwrap();
    let (dev, ino) = (stat.st_dev, stat.st_ino);
    assert_eq!(identify(3), Ok(FdIdentity { dev, ino }));
    assert_eq!(identify(99), Err(Errno(9)));
    assert!(!process.numbers().contains(&fd));
    assert_eq!(process.origin().pid(), 5);
}
