//! Scripts on decoders, encoders and converters. Each picture keeps the timestamp of its source,
//! with any fault.

use super::{rows, step};
use crate::common::{Run, RunOutput, ffmpeg_in, lacks};
use crate::convert::{self, COUNT};
use crate::decoder::Session;
use crate::streams::{by_ffmpeg, encoded, units};

/// Makes a torn picture: its second half is from `before`.
fn torn(picture: &[u8], before: &[u8]) -> Vec<u8> {
    let half = picture.len() / 2;
    [&picture[..half], &before[half..]].concat()
}

#[test]
fn decoded_pictures_keep_timestamps_under_faults() {
    let Some(stream) = encoded("176x144", 16, "bframes=0:keyint=10:scenecut=0") else {
        return;
    };
    let pictures = by_ffmpeg(&stream, "176x144");
    let pictures: Vec<Vec<u8>> = pictures.iter().map(|p| p.nv12()).collect();
    let script = [
        step("frame = 1\nlate = \"60ms\""),
        step("frame = 2\ntwice = true"),
        step("frame = 5\ntorn = true"),
        step("frame = 7\nlose = true"),
        step("frame = 9\nerror = true"),
        step("frame = 11\nshort = 0"),
        step("frame = 15\nlate = \"60ms\""),
    ];
    for (machine, clock) in [
        ("pc", "real"),
        ("soc-noncoherent", "real"),
        ("soc-sram", "virtual"),
    ] {
        let session = Session::of(stream.clone()).with_script(script.concat(), clock);
        let session = session.feed(&units(&stream)).say("drain");
        let Some((played, outcome)) = session.run_to_report(machine, "", "NV12") else {
            return;
        };
        let came: Vec<(u64, bool)> = played.said.iter().map(|said| (said.0, said.1)).collect();
        // Timestamps are numbers from 1; the client does not look at an empty picture.
        let left = (1..=16).filter(|stamp| ![8, 12].contains(stamp));
        let wanted: Vec<(u64, bool)> = left.map(|stamp| (stamp, stamp == 10)).collect();
        assert_eq!(came, wanted, "{machine}");
        let seen = played.bytes.chunks_exact(pictures[0].len());
        for (seen, (stamp, _)) in seen.zip(&wanted) {
            let picture = |number: u64| &pictures[number as usize - 1];
            let wanted = match stamp {
                4 => picture(3).clone(),
                6 => torn(picture(6), picture(5)),
                other => picture(*other).clone(),
            };
            assert!(seen == wanted, "{machine}: picture {stamp}");
        }
        // The end is reported after the last picture, which is late.
        assert_eq!(played.other, ["change 176x144", "last", "end"]);
        assert_eq!(rows(&outcome, "late"), [Some(1), Some(15)], "{machine}");
        assert_eq!(rows(&outcome, "lose"), [Some(7)], "{machine}");
    }
}

/// Converts pictures with v4l2-ctl, under a script.
fn converted(machine: &str, more: &[&str], script: &str) -> Option<(Vec<u8>, RunOutput)> {
    if lacks("v4l2-ctl") {
        return None;
    }
    let pictures = convert::pictures("nv12")?;
    let (width, height) = convert::SIZE;
    let run = super::scripted(machine, "convert", script).options(more);
    std::fs::write(run.file("in.raw"), &pictures).unwrap();
    let format = format!("width={width},height={height},pixelformat=NM12");
    let outcome = run
        .program(["v4l2-ctl", "-d", "/dev/video0"])
        .and(["--stream-mmap", "--stream-out-mmap", "--verbose"])
        .and([format!("--set-fmt-video={format}")])
        .and([format!("--set-fmt-video-out={format}")])
        .and(["--stream-from", "in.raw", "--stream-to", "out.raw"])
        .run();
    outcome.expect_success();
    Some((pictures, outcome))
}

#[test]
#[ignore = "full: three machines and two clocks"]
fn v4l2_ctl_gets_repeated_and_torn_conversions() {
    let script = [
        step("frame = 0\ntwice = true"),
        step("frame = 3\ntorn = true"),
        step("frame = 2\nlate = \"40ms\""),
    ];
    for machine in ["pc", "soc-iommu", "vm-bounce"] {
        // A late picture also comes if the clock only advances for waiting programs.
        for clock in ["real", "virtual"] {
            let script = script.concat();
            let Some((pictures, outcome)) = converted(machine, &["--clock", clock], &script) else {
                return;
            };
            let sent: Vec<&[u8]> = pictures.chunks_exact(pictures.len() / COUNT).collect();
            let seen = outcome.read("out.raw");
            let seen: Vec<&[u8]> = seen.chunks_exact(sent[0].len()).collect();
            assert_eq!(seen.len(), COUNT, "{machine}, {clock}");
            // Luma and chroma are separate planes.
            let luma = convert::SIZE.0 * convert::SIZE.1;
            let ((y, uv), (old_y, old_uv)) = (sent[3].split_at(luma), sent[2].split_at(luma));
            let torn = [torn(y, old_y), torn(uv, old_uv)].concat();
            let wanted = [sent[0], sent[0], sent[2], &torn];
            assert!(seen == wanted, "{machine}, {clock}");
            for action in ["twice", "torn", "late"] {
                assert_eq!(rows(&outcome, action).len(), 1, "{machine}: {action}");
            }
        }
    }
}

#[test]
fn encoder_faults_leave_packets_out_of_the_file() {
    if lacks("v4l2-ctl") || lacks("ffmpeg") {
        return;
    }
    let script = [
        step("frame = 3\nlose = true"),
        step("frame = 6\nerror = true"),
        step("frame = 8\nshort = 2"),
    ];
    let packets = |script: &str| {
        let run = match script {
            "" => Run::on("pc").device("jpegenc"),
            _ => super::scripted("pc", "jpegenc", script),
        };
        let source = "-f lavfi -i testsrc2=size=64x48:rate=30 -frames:v 10 -pix_fmt yuv420p";
        let words = format!("{source} -f rawvideo source.yuv");
        ffmpeg_in(run.dir.path(), words.split(' '));
        let outcome = run
            .program(["v4l2-ctl", "-d", "/dev/video0"])
            .and(["--set-fmt-video-out=width=64,height=48,pixelformat=YU12"])
            .and(["--stream-out-mmap", "--stream-from=source.yuv"])
            .and(["--stream-mmap", "--stream-to=seen.jpg", "--verbose"])
            .run();
        outcome.expect_success();
        let files = outcome.read("seen.jpg");
        (files, outcome)
    };
    let (all, _) = packets("");
    let begins = all.windows(2).enumerate();
    let begins = begins.filter(|(_, two)| *two == [0xff, 0xd8]);
    let mut bounds: Vec<usize> = begins.map(|(at, _)| at).collect();
    assert_eq!(bounds.len(), 10);
    bounds.push(all.len());
    let files = bounds.windows(2).map(|bounds| &all[bounds[0]..bounds[1]]);
    let wanted: Vec<&[u8]> = files
        .enumerate()
        .filter(|(number, _)| ![3, 6].contains(number))
        .map(|(number, file)| if number == 8 { &file[..2] } else { file })
        .collect();
    let (seen, outcome) = packets(&script.concat());
    assert!(seen == wanted.concat(), "{}", outcome.stderr);
    assert_eq!(rows(&outcome, "lose"), [Some(3)]);
    let errors = outcome.stderr.matches("error").count();
    assert!(errors >= 1, "{}", outcome.stderr);
}
