//! Clips that ffmpeg decodes. The quick tests leave these out.

use super::*;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Makes a lossless clip of test pictures. Without ffmpeg, prints the reason and returns `None`.
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
            vb3_skip::skip(format_args!("ffmpeg does not start ({e})"));
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

#[test]
fn every_picture_arrives_once() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 10, "25") else {
        return;
    };
    let mut clip = open(&path, ClipEnd::Stop).expect("a clip");
    assert_eq!(clip.native().expect("a clip").size, small());
    assert_eq!(
        clip.native().expect("a clip").interval,
        Fraction::new(1, 25)
    );
    // The second time, the clip starts again at its beginning.
    for _ in 0..2 {
        clip.start(&pixfmt::NV12, small(), Fraction::new(1, 25))
            .expect("it plays");
        for number in 0..10 {
            let Ok(picture) = take(&mut clip) else {
                panic!("picture {number} is missing")
            };
            let wanted = wanted(small(), number);
            assert!(*picture == wanted, "picture {number} differs");
        }
        assert!(matches!(take(&mut clip), Err(Ready::End)));
    }
}

#[test]
fn a_looping_clip_goes_on_without_a_gap() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 3, "25") else {
        return;
    };
    let mut clip = open(&path, ClipEnd::Loop).expect("a clip");
    let wanted: Vec<u32> = (0..10).map(|number| number % 3).collect();
    assert_eq!(numbers(&mut clip, small(), 10), wanted);
    // The clip's pictures are all in memory, so its file is not needed any more.
    std::fs::remove_file(&path).expect("the clip");
    for number in 10..40 {
        let Ok(picture) = take(&mut clip) else {
            panic!("picture {number} is missing")
        };
        assert_eq!(read_number(&picture).0, number % 3);
    }
}

#[test]
fn a_clip_longer_than_its_head_loops_exactly() {
    let directory = TempDir::new().expect("a directory");
    // A picture has 4 MiB. ffmpeg starts again for the pictures beyond 64 MiB.
    let (large, count) = (Size::nearest(2048, 1364), 20);
    let Some(path) = make_clip(&directory, large, count, "25") else {
        return;
    };
    let mut clip = open(&path, ClipEnd::Loop).expect("a clip");
    let wanted: Vec<u32> = (0..50).map(|number| number % count).collect();
    assert_eq!(numbers(&mut clip, large, 50), wanted);
}

#[test]
fn the_last_picture_is_held() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 3, "25") else {
        return;
    };
    let mut clip = open(&path, ClipEnd::Hold).expect("a clip");
    assert_eq!(numbers(&mut clip, small(), 8), [0, 1, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn slow_camera_sees_first_picture_of_short_clip() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 3, "25") else {
        return;
    };
    let mut clip = open(&path, ClipEnd::Loop).expect("a clip");
    clip.start(&pixfmt::NV12, small(), Fraction::new(1, 1))
        .expect("it plays");
    for _ in 0..5 {
        let next = take(&mut clip);
        assert!(matches!(&next, Ok(picture) if read_number(picture).0 == 0));
    }
}

/// Runs ffmpeg. Without ffmpeg, prints the reason and returns false.
fn ffmpeg(directory: &TempDir, words: &str) -> bool {
    let mut command = Command::new("ffmpeg");
    let command = command.current_dir(directory.path());
    match command
        .args(["-nostdin", "-v", "error"])
        .args(words.split(' '))
        .status()
    {
        Ok(status) => status.success(),
        Err(e) => {
            vb3_skip::skip(format_args!("ffmpeg does not start ({e})"));
            false
        }
    }
}

#[test]
fn a_still_picture_never_ends() {
    let directory = TempDir::new().expect("a directory");
    for name in ["still.png", "still.jpg"] {
        let words = format!("-f lavfi -i testsrc2=size=96x64 -frames:v 1 {name}");
        if !ffmpeg(&directory, &words) {
            return;
        }
        let path = directory.path().join(name);
        let mut clip = open(&path, ClipEnd::Loop).expect("a picture");
        assert_eq!(
            clip.native().expect("a clip").interval,
            Fraction::new(1, 30),
            "{name}"
        );
        // At this rate, ffmpeg would round the duration to zero.
        clip.start(&pixfmt::NV12, small(), Fraction::new(1, 5))
            .expect("it plays");
        let Ok(first) = take(&mut clip) else {
            panic!("{name} shows nothing")
        };
        std::fs::remove_file(&path).expect("the picture");
        for _ in 0..100 {
            assert!(matches!(take(&mut clip), Ok(picture) if Arc::ptr_eq(&picture, &first)));
        }
    }
}

#[test]
fn pictures_of_varying_size_all_come_in_each_lap() {
    let directory = TempDir::new().expect("a directory");
    // A picture has 9 MiB, so the second lap also needs ffmpeg.
    let (wanted, count) = (Size::nearest(4096, 1536), 12);
    let mut stream = Vec::new();
    for number in 0..count {
        let (width, height) = (64 + 16 * (number % 5), 48 + 8 * (number % 3));
        let luma = 20 * number;
        let words = format!(
            "-y -f lavfi -i color=size={width}x{height},geq=lum={luma}:cb=128:cr=128 -frames:v 1 \
             -f mjpeg one.jpg"
        );
        if !ffmpeg(&directory, &words) {
            return;
        }
        stream.extend(std::fs::read(directory.path().join("one.jpg")).expect("a picture"));
    }
    let path = directory.path().join("varying.mjpeg");
    std::fs::write(&path, stream).expect("a file");
    let mut clip = open(&path, ClipEnd::Loop).expect("a clip");
    clip.start(&pixfmt::NV12, wanted, Fraction::new(1, 25))
        .expect("it plays");
    let mut lumas = Vec::new();
    for number in 0..3 * count {
        let Ok(picture) = take(&mut clip) else {
            panic!("picture {number} is missing")
        };
        lumas.push(picture.bytes()[0]);
    }
    let (first, rest) = lumas.split_at(count as usize);
    assert!(first.is_sorted_by(|a, b| a < b), "{first:?}");
    assert_eq!(rest, [first, first].concat());
}

#[test]
fn an_ffmpeg_that_stalls_is_ended_with_a_sentence() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 3, "25") else {
        return;
    };
    let mut clip = open(&path, ClipEnd::Loop).expect("a clip");
    clip.clip.as_mut().expect("a clip").job.patience = Duration::from_millis(200);
    // ffmpeg waits for a writer of the pipe.
    std::fs::remove_file(&path).expect("the clip");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo").success());
    clip.start(&pixfmt::NV12, small(), Fraction::new(1, 25))
        .expect("a thread");
    let Err(Ready::Failed(failure)) = take(&mut clip) else {
        panic!("it cannot play")
    };
    assert!(failure.sentence().contains("gave nothing"), "{failure}");
    assert!(matches!(take(&mut clip), Err(Ready::End)));
}

#[test]
fn size_format_and_rate_are_made_to_order() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 10, "20") else {
        return;
    };
    let mut clip = open(&path, ClipEnd::Stop).expect("a clip");
    let size = Size::nearest(48, 32);
    let single = |format: &&PixelFormat| !format.is_compressed() && format.memory_planes == 1;
    for layout in pixfmt::TABLE.iter().copied().filter(single) {
        clip.start(layout, size, Fraction::new(1, 10))
            .expect("it plays");
        let mut count = 0;
        while let Ok(picture) = take(&mut clip) {
            assert_eq!((picture.format(), picture.size()), (layout, size));
            // This pixel below the strip and beside the box is in the yellow bar.
            let rgb = picture.to_rgb();
            let seen = &rgb[3 * (28 * 48 + 9)..][..3];
            let yellow = if layout.has(pixfmt::Sample::R) || layout.has(pixfmt::Sample::U) {
                [191, 191, 0]
            } else {
                [170; 3]
            };
            for (is, should) in seen.iter().zip(yellow) {
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
    let mut clip = open(&path, ClipEnd::Loop).expect("a clip");
    clip.start(&pixfmt::NV12, small(), Fraction::new(1, 25))
        .expect("it plays");
    assert!(take(&mut clip).is_ok());
    clip.stop();
    assert_eq!(clip.ready(), Ready::End);
}

#[test]
fn stopping_waits_for_no_process() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 3, "25") else {
        return;
    };
    let [decoder, pipe, started] =
        ["decoder", "pipe", "started"].map(|name| directory.path().join(name));
    for pipe in [&pipe, &started] {
        let made = Command::new("mkfifo").arg(pipe).status();
        assert!(made.expect("mkfifo").success());
    }
    // A process outside of ffmpeg's group keeps the messages' pipe open, and no kill reaches this process.
    let [waits, tells] = [&pipe, &started].map(|pipe| pipe.display());
    let waiting = format!("setsid sh -c \"echo >'{tells}'; exec cat '{waits}' >/dev/null\"");
    let script = format!("#!/bin/sh\n{waiting} &\nexec sleep 1000\n");
    std::fs::write(&decoder, script).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&decoder, mode).expect("ours");
    let mut clip = open(&path, ClipEnd::Loop).expect("a clip");
    clip.clip.as_mut().expect("a clip").job.program = decoder;
    clip.start(&pixfmt::NV12, small(), Fraction::new(1, 25))
        .expect("a thread");
    std::fs::read(&started).expect("it has started");
    clip.stop();
    assert_eq!(clip.ready(), Ready::End);
    // This ends the process.
    drop(std::fs::File::create(&pipe).expect("the pipe"));
}

#[test]
fn a_broken_clip_fails_with_what_ffmpeg_said() {
    let directory = TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory, small(), 5, "25") else {
        return;
    };
    let mut clip = open(&path, ClipEnd::Stop).expect("a clip");
    // The file is removed between probing and playing.
    std::fs::remove_file(&path).expect("the clip");
    clip.start(&pixfmt::NV12, small(), Fraction::new(1, 25))
        .expect("a thread");
    let Err(Ready::Failed(failure)) = take(&mut clip) else {
        panic!("it cannot play")
    };
    assert!(failure.sentence().contains("No such file"), "{failure}");
    assert!(matches!(take(&mut clip), Err(Ready::End)));
}
