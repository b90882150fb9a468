//! Seeks by GStreamer: afterwards, only pictures from the new position come.

use crate::common::{Run, RunOutput, ffmpeg, lacks, lacks_libavcodec};
use crate::streams::{I420, by_ffmpeg, encode_to};
use std::path::Path;

const COUNT: u32 = 100;
const RATE: f64 = 25.0;
/// Number of pictures from one key frame to the next.
const GOP: usize = 10;

/// Writes moving pictures to an MP4 file. Returns its stream.
fn encode(file: &Path, x264: &str) -> Vec<u8> {
    let params = format!("keyint={GOP}:min-keyint={GOP}:scenecut=0:{x264}");
    encode_to(file, "176x144", COUNT, &params);
    ffmpeg([
        "-i",
        file.to_str().unwrap(),
        "-c",
        "copy",
        "-f",
        "h264",
        "-",
    ])
}

/// Decodes to a file for each picture, at the clip's rate, so that the seek comes before the end.
const TO_FILES: &str = "v4l2h264dec ! video/x-raw,format=NV12 \
                        ! multifilesink sync=true location=%05d.raw";
/// Decodes with the stateless decoder, as [`TO_FILES`].
const BY_REQUESTS: &str = "v4l2slh264dec ! video/x-raw,format=NV12 \
                           ! multifilesink sync=true location=%05d.raw";
/// Sends the decoder's dma-bufs to the display, which does not skip late pictures.
const TO_DISPLAY: &str = "v4l2h264dec capture-io-mode=dmabuf ! video/x-raw,format=NV12 \
                          ! v4l2sink device=/dev/video1 io-mode=dmabuf-import \
                          show-preroll-frame=false max-lateness=-1 qos=false";

/// Returns the pictures that came.
fn seen(outcome: &RunOutput, to: &str) -> Vec<Vec<u8>> {
    if to == TO_DISPLAY {
        let shown = outcome.read("shown.raw");
        return shown
            .chunks(176 * 144 * 3 / 2)
            .map(<[u8]>::to_vec)
            .collect();
    }
    let file = |n: usize| outcome.dir.path().join(format!("{n:05}.raw"));
    (0..).map_while(|n| std::fs::read(file(n)).ok()).collect()
}

/// Plays and seeks. Returns the numbers of the pictures that came.
fn played(machine: &str, to: &str, x264: &str, commands: &str) -> Option<Vec<usize>> {
    let python = "/usr/bin/python3";
    if lacks("ffmpeg") || lacks("gst-launch-1.0") || lacks(python) || lacks_libavcodec() {
        return None;
    }
    let run = Run::on(machine)
        .device(match to {
            BY_REQUESTS => "h264dec-stateless",
            _ => "h264dec",
        })
        .device("display=shown.raw,mplane=on,pace=free,format=NV12,size=176x144");
    let stream = encode(&run.file("clip.mp4"), x264);
    let pictures = by_ffmpeg(&stream, "176x144");
    let pictures: Vec<Vec<u8>> = pictures.iter().map(I420::nv12).collect();
    assert_eq!(pictures.len(), COUNT as usize);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/seek.py");
    let pipeline = format!("filesrc location=clip.mp4 ! qtdemux ! h264parse ! {to}");
    let outcome = run
        .program([Path::new(python), &script])
        .and([pipeline])
        .and(commands.split(' '))
        .run();
    outcome.expect_success();
    assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
    let numbers = seen(&outcome, to).into_iter().enumerate().map(|(n, seen)| {
        let known = pictures.iter().position(|picture| *picture == seen);
        known.unwrap_or_else(|| panic!("picture {n} is none of ffmpeg's"))
    });
    Some(numbers.collect())
}

/// Asserts that pictures come in runs without gaps that begin with these numbers. The last run
/// reaches the end of the clip.
fn expect_runs(numbers: &[usize], begins: &[usize]) {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some(run) if run.last() == Some(&number.wrapping_sub(1)) => run.push(number),
            _ => runs.push(vec![number]),
        }
    }
    let found: Vec<usize> = runs.iter().map(|run| run[0]).collect();
    assert_eq!(found, begins, "{numbers:?}");
    assert_eq!(numbers.last(), Some(&(COUNT as usize - 1)), "{numbers:?}");
}

/// Returns a time slightly after a picture.
fn at(number: usize) -> f64 {
    (number as f64 + 0.25) / RATE
}

const STREAMS: [&str; 2] = ["bframes=0", "bframes=2:b-adapt=0"];

#[test]
#[ignore = "full: further seeks"]
fn a_seek_to_a_key_frame_begins_there() {
    for (machine, x264) in ["pc", "soc-noncoherent"].into_iter().zip(STREAMS) {
        let commands = format!("until 0.3 key {} eos", at(64));
        let Some(numbers) = played(machine, TO_FILES, x264, &commands) else {
            return;
        };
        expect_runs(&numbers, &[0, 60]);
        assert!(numbers.len() > 45 && numbers.len() < 80, "{numbers:?}");
    }
}

#[test]
fn an_accurate_seek_begins_between_two() {
    for x264 in STREAMS {
        let commands = format!("until 0.3 accurate {} eos", at(66));
        let Some(numbers) = played("soc-cma", TO_FILES, x264, &commands) else {
            return;
        };
        expect_runs(&numbers, &[0, 66]);
    }
}

#[test]
#[ignore = "full: further seeks"]
fn forth_and_back_paused_and_after_the_end() {
    let (forth, back) = (at(80), at(70));
    let commands = format!(
        "until 0.2 key {forth} until {} key {} until {} pause accurate {back} play eos key {} eos",
        forth + 0.2,
        at(20),
        at(25),
        at(90),
    );
    let Some(numbers) = played("pc", TO_FILES, STREAMS[1], &commands) else {
        return;
    };
    // The run from 70 reached the end before the last seek.
    expect_runs(&numbers, &[0, 80, 20, 70, 90]);
}

#[test]
#[ignore = "full: further seeks"]
fn seeks_of_a_decoder_that_takes_requests() {
    for (machine, x264) in ["pc", "soc-noncoherent"].into_iter().zip(STREAMS) {
        let (key, back) = (at(64), at(30));
        let commands = format!("until 0.3 key {key} until {} key {back} eos", at(66));
        let Some(numbers) = played(machine, BY_REQUESTS, x264, &commands) else {
            return;
        };
        expect_runs(&numbers, &[0, 60, 30]);
    }
}

#[test]
fn many_seeks_one_after_the_other() {
    let mut commands = String::from("until 0.1");
    let mut begins = vec![0];
    for number in [30, 60, 10, 80, 50, 20, 70] {
        commands += &format!(" key {} until {}", at(number), at(number + 2));
        begins.push(number);
    }
    commands += &format!(" key {} eos", at(90));
    begins.push(90);
    let Some(numbers) = played("soc-iommu", TO_FILES, STREAMS[0], &commands) else {
        return;
    };
    expect_runs(&numbers, &begins);
}

#[test]
#[ignore = "full: further seeks"]
fn dmabufs_on_their_way_to_a_display_are_given_up() {
    for (machine, x264) in ["soc-cma", "soc-noncoherent"].into_iter().zip(STREAMS) {
        let commands = format!(
            "until 0.3 key {} until {} key {} eos",
            at(64),
            at(66),
            at(30)
        );
        let Some(numbers) = played(machine, TO_DISPLAY, x264, &commands) else {
            return;
        };
        expect_runs(&numbers, &[0, 60, 30]);
    }
}
