mod ffmpeg;

use super::*;
use rustix::event::{PollFd, PollFlags, poll};
use std::path::Path;
use tempfile::TempDir;
use vb3_picture::{read_number, render};

fn wanted(size: Size, number: u32) -> Frame {
    render(
        &pixfmt::NV12,
        size,
        number,
        Background::Bars,
        &Picture::default(),
    )
}

fn open(path: &Path, end: ClipEnd) -> Result<Source, Failure> {
    Source::open(&SourceSpec::Clip(path.to_owned()), end)
}

/// Takes the clip's next picture. Waits on the clip's descriptor, as a host does.
fn take(clip: &mut Source) -> Result<Arc<Frame>, Ready> {
    loop {
        clip.acknowledge();
        match clip.ready() {
            Ready::Frame => {
                let picture = clip.clip.as_mut().and_then(|clip| clip.current.take());
                return Ok(picture.expect("it is ready"));
            }
            Ready::Later => {
                let fd = clip.wake_fd().expect("a clip that plays has a descriptor");
                let mut fds = [PollFd::new(&fd, PollFlags::IN)];
                let limit = rustix::event::Timespec {
                    tv_sec: 60,
                    tv_nsec: 0,
                };
                assert_eq!(
                    poll(&mut fds, Some(&limit)),
                    Ok(1),
                    "no wake-up within a minute"
                );
            }
            other => return Err(other),
        }
    }
}

const SMALL: (u32, u32) = (96, 64);

fn small() -> Size {
    Size::nearest(SMALL.0, SMALL.1)
}

/// Plays a clip. Returns the frame numbers in its first `count` pictures.
fn numbers(clip: &mut Source, size: Size, count: u32) -> Vec<u32> {
    clip.start(&pixfmt::NV12, size, Fraction::new(1, 25))
        .expect("it plays");
    let mut number = |place| match take(clip) {
        Ok(picture) => read_number(&picture).0,
        other => panic!("picture {place}: {other:?}"),
    };
    (0..count).map(&mut number).collect()
}

#[test]
fn what_ffmpeg_cannot_play_is_one_sentence() {
    let directory = TempDir::new().expect("a directory");
    let sentence = |path: &Path| {
        let failure = open(path, ClipEnd::Stop).expect_err("no clip");
        assert!(!failure.sentence().contains('\n'), "{failure}");
        failure.sentence().to_owned()
    };
    let missing = sentence(&directory.path().join("missing.mp4"));
    assert!(
        missing.starts_with("cannot read ") && missing.contains("No such file"),
        "{missing}"
    );
    let no_file = sentence(directory.path());
    assert!(no_file.contains("is a directory"), "{no_file}");
    let text = directory.path().join("text.mp4");
    std::fs::write(&text, "not a clip").expect("a file");
    let text = sentence(&text);
    assert!(
        text.contains("finds no video in") || text.contains("apt install ffmpeg"),
        "{text}"
    );
    let absent = crate::source::tool::not_started("ffmpeg", &std::io::ErrorKind::NotFound.into());
    assert!(absent.sentence().contains("apt install ffmpeg"), "{absent}");
}

#[test]
fn only_files_with_contents_are_clips() {
    let directory = TempDir::new().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("empty"), []).expect("a file");
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).expect("a pipe");
    let socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    for (path, reason) in [
        (at("empty"), "is empty"),
        (at("pipe"), "is a named pipe"),
        (at("socket"), "is a socket"),
        (directory.path().to_owned(), "is a directory"),
        ("/dev/null".into(), "is a device"),
        (at("none"), "check the path"),
        ("https://example.com/clip.mp4".into(), "is an address"),
    ] {
        let failure = open(&path, ClipEnd::Loop).expect_err("no clip");
        assert!(failure.to_string().contains(reason), "{failure}");
    }
    drop(socket);
}
