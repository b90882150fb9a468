use super::super::{Background, Picture, read_number, render};
use super::*;
use rustix::event::{PollFd, PollFlags, poll};
use std::io::Write;
use tempfile::TempDir;

/// Makes a lossless clip of test pictures; `None`, with the reason printed, without ffmpeg.
fn make_clip(directory: &TempDir, size: Size, frames: u32, rate: &str) -> Option<PathBuf> {
    let path = directory.path().join("clip, one.nut");
    let started = Command::new("ffmpeg")
        .args([
            "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", "nv12",
        ])
        .args(["-s", &size.to_string(), "-r", rate, "-i", "-"])
        .args(["-c:v", "ffv1", "-pix_fmt", "yuv420p"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(e) => {
            println!("not tested: ffmpeg does not start ({e}); run \"apt install ffmpeg\"");
            return None;
        }
    };
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    for number in 0..frames {
        stdin
            .write_all(wanted(size, number).bytes())
            .expect("ffmpeg takes pictures");
    }
    drop(stdin);
    assert!(child.wait().expect("ffmpeg ends").success());
    Some(path)
}

fn wanted(size: Size, number: u32) -> Frame {
    render(
        &pixfmt::NV12,
        size,
        number,
        Background::Bars,
        &Picture::default(),
    )
}

/// Waits on the clip's descriptor, as a host does.
fn take(clip: &mut Clip) -> Next {
    loop {
        clip.acknowledge();
        match clip.take() {
            Next::Later => {
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
            other => return other,
        }
    }
}

const SMALL: (u32, u32) = (96, 64);

fn small() -> Size {
    Size::nearest(SMALL.0, SMALL.1)
}

#[test]
fn every_picture_arrives_once_and_the_last_says_so() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 10, "25") else {
        return;
    };
    let mut clip = Clip::open(&path, false).expect("a clip");
    assert_eq!(clip.info().size, small());
    assert_eq!(clip.info().interval, Fraction::new(1, 25));
    // Twice: a clip starts again at its beginning.
    for _ in 0..2 {
        clip.start(&pixfmt::NV12, small(), Fraction::new(1, 25))
            .expect("it plays");
        for number in 0..10 {
            let Next::Frame(picture) = take(&mut clip) else {
                panic!("picture {number} is missing")
            };
            assert!(
                picture.frame == wanted(small(), number),
                "picture {number} differs"
            );
            assert_eq!(picture.last, number == 9, "picture {number}");
        }
        assert!(matches!(take(&mut clip), Next::End));
    }
}

#[test]
fn a_looping_clip_goes_on_without_a_gap() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 3, "25") else {
        return;
    };
    let mut clip = Clip::open(&path, true).expect("a clip");
    clip.start(&pixfmt::NV12, small(), Fraction::new(1, 25))
        .expect("it plays");
    for number in 0..10 {
        let Next::Frame(picture) = take(&mut clip) else {
            panic!("picture {number} is missing")
        };
        assert_eq!(read_number(&picture.frame).0, number % 3);
        assert!(!picture.last);
    }
}

#[test]
fn size_format_and_rate_are_made_to_order() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 10, "20") else {
        return;
    };
    let mut clip = Clip::open(&path, false).expect("a clip");
    let size = Size::nearest(48, 32);
    let single = |format: &&PixelFormat| !format.is_compressed() && format.memory_planes == 1;
    for layout in pixfmt::TABLE.iter().copied().filter(single) {
        clip.start(layout, size, Fraction::new(1, 10))
            .expect("it plays");
        let mut count = 0;
        while let Next::Frame(picture) = take(&mut clip) {
            assert_eq!(
                (picture.frame.format(), picture.frame.size()),
                (layout, size)
            );
            // Below the strip and beside the box: the yellow bar.
            let seen = picture.frame.rgb_at(9, 28);
            let yellow = if layout.has(pixfmt::Sample::R) || layout.has(pixfmt::Sample::U) {
                [191, 191, 0]
            } else {
                [170; 3]
            };
            for (is, should) in seen.bytes().into_iter().zip(yellow) {
                assert!(is.abs_diff(should) <= 12, "{layout:?}: yellow is {seen:?}");
            }
            count += 1;
        }
        assert_eq!(count, 5, "{layout:?}: half the rate, half the pictures");
    }
}

#[test]
fn stopping_ends_the_decoder_though_nobody_takes() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 60, "25") else {
        return;
    };
    let mut clip = Clip::open(&path, true).expect("a clip");
    clip.start(&pixfmt::NV12, small(), Fraction::new(1, 25))
        .expect("it plays");
    assert!(matches!(take(&mut clip), Next::Frame(_)));
    let running = Arc::clone(&clip.player.as_ref().expect("it plays").running);
    clip.stop();
    assert!(lock(&running).child.is_none(), "its child was waited for");
    assert_eq!(Arc::strong_count(&running), 1, "its thread is gone");
    assert!(matches!(clip.take(), Next::End));
}

#[test]
fn what_cannot_be_played_is_one_sentence() {
    let directory = TempDir::new().expect("a directory");
    let sentence = |path: &Path| {
        let failure = Clip::open(path, false).expect_err("no clip");
        assert!(!failure.sentence().contains('\n'), "{failure}");
        failure.sentence().to_owned()
    };
    let missing = sentence(&directory.path().join("missing.mp4"));
    assert!(
        missing.starts_with("cannot read ") && missing.contains("No such file"),
        "{missing}"
    );
    let no_file = sentence(directory.path());
    assert!(no_file.contains("is no file"), "{no_file}");
    let text = directory.path().join("text.mp4");
    std::fs::write(&text, "not a clip").expect("a file");
    let text = sentence(&text);
    assert!(
        text.contains("choose a video file") || text.contains("apt install ffmpeg"),
        "{text}"
    );
    let absent = probe::not_started("ffmpeg", &std::io::ErrorKind::NotFound.into());
    assert!(absent.sentence().contains("apt install ffmpeg"), "{absent}");
}

#[test]
fn a_broken_clip_fails_with_what_ffmpeg_said() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 5, "25") else {
        return;
    };
    let mut clip = Clip::open(&path, false).expect("a clip");
    // The file vanishes between the look at it and playing.
    std::fs::remove_file(&path).expect("the clip");
    clip.start(&pixfmt::NV12, small(), Fraction::new(1, 25))
        .expect("a thread");
    let Next::Failed(failure) = take(&mut clip) else {
        panic!("it cannot play")
    };
    assert!(failure.sentence().contains("No such file"), "{failure}");
    assert!(matches!(take(&mut clip), Next::End));
}
