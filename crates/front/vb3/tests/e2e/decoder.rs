//! The H.264 decoder, used by the kernel's interface for stateful decoders. Its pictures equal ffmpeg's, in
//! order. Each has the timestamp of the piece of the stream that it comes from.

use crate::common::{Run, RunOutput, compiled, ffmpeg, lacks, lacks_libavcodec};
use crate::compliance::expect_compliant;
use crate::streams::{I420, Told, by_ffmpeg, display_order, encoded, is_key, units, worker};
use std::fmt::Write as _;
use std::ops::Range;

/// A stream and the steps of its decoding.
pub(crate) struct Session {
    stream: Vec<u8>,
    commands: String,
    /// A script of faults, and its clock.
    script: Option<(String, &'static str)>,
}

impl Session {
    pub(crate) fn of(stream: Vec<u8>) -> Self {
        Self {
            stream,
            commands: String::new(),
            script: None,
        }
    }

    /// Adds a script and a clock.
    pub(crate) fn with_script(mut self, script: String, clock: &'static str) -> Self {
        self.script = Some((script, clock));
        self
    }

    pub(crate) fn say(mut self, command: &str) -> Self {
        self.commands.push_str(command);
        self.commands.push('\n');
        self
    }

    /// Queues the next pieces of the stream; waits after the first until the decoder has parsed it.
    pub(crate) fn feed(mut self, pieces: &[Range<usize>]) -> Self {
        for piece in pieces {
            let _ = writeln!(self.commands, "feed {}", piece.len());
            if piece.start == 0 {
                self.commands.push_str("ready\n");
            }
        }
        self
    }

    /// Runs the session on a decoder.
    fn run(self, machine: &str, options: &str, fourcc: &str) -> Option<Played> {
        let (played, _) = self.run_to_report(machine, options, fourcc)?;
        Some(played)
    }

    pub(crate) fn run_to_report(
        self,
        machine: &str,
        options: &str,
        fourcc: &str,
    ) -> Option<(Played, RunOutput)> {
        let program = compiled("decode.c")?;
        let run = Run::on(machine).device(format!("h264dec{options}"));
        std::fs::write(run.file("stream.h264"), &self.stream).unwrap();
        std::fs::write(run.file("commands"), &self.commands).unwrap();
        let run = match &self.script {
            None => run,
            Some((script, clock)) => {
                std::fs::write(run.file("script.toml"), script).unwrap();
                run.options(["--script", "script.toml", "--clock", clock])
            }
        };
        let outcome = run
            .program([program.as_os_str()])
            .and([fourcc, "stream.h264", "pictures.raw", "commands"])
            .run();
        outcome.expect_success();
        Some((Played::read(&outcome), outcome))
    }
}

/// Output of the decoding program.
#[derive(Debug)]
pub(crate) struct Played {
    /// Timestamp, damage and size of each picture.
    pub(crate) said: Vec<(u64, bool, String)>,
    /// All other lines.
    pub(crate) other: Vec<String>,
    pub(crate) bytes: Vec<u8>,
}

impl Played {
    fn read(outcome: &RunOutput) -> Self {
        let mut said = Vec::new();
        let mut other = Vec::new();
        for line in outcome.stdout.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                [kind @ ("picture" | "damaged"), stamp, size] => {
                    said.push((stamp.parse().unwrap(), kind == "damaged", size.to_owned()));
                }
                _ => other.push(line.to_owned()),
            }
        }
        Self {
            said,
            other,
            bytes: outcome.read("pictures.raw"),
        }
    }

    fn stamps(&self) -> Vec<u64> {
        self.said.iter().map(|(stamp, ..)| *stamp).collect()
    }

    /// Asserts that exactly these pictures came, in this order.
    fn expect(&self, pictures: &[I420]) -> &Self {
        self.expect_bytes(pictures, I420::nv12)
    }

    fn expect_bytes(&self, pictures: &[I420], bytes: impl Fn(&I420) -> Vec<u8>) -> &Self {
        let sizes: Vec<String> = pictures
            .iter()
            .map(|p| format!("{}x{}", p.width, p.height))
            .collect();
        let said: Vec<&String> = self.said.iter().map(|(.., size)| size).collect();
        assert_eq!(said, sizes.iter().collect::<Vec<_>>(), "{:?}", self.other);
        let mut rest = &self.bytes[..];
        for (number, picture) in pictures.iter().enumerate() {
            let wanted = bytes(picture);
            let (found, after) = rest.split_at(wanted.len().min(rest.len()));
            assert!(found == wanted, "picture {number} differs");
            rest = after;
        }
        assert!(rest.is_empty());
        self
    }

    fn expect_stamps(&self, stamps: impl IntoIterator<Item = u64>) -> &Self {
        assert_eq!(self.stamps(), stamps.into_iter().collect::<Vec<_>>());
        self
    }

    /// Asserts that pictures equal those of a codec process without devices, with the same damage.
    fn expect_told(&self, told: &[Told]) -> &Self {
        let pictures: Vec<I420> = told.iter().map(|t| t.picture.clone()).collect();
        self.expect(&pictures);
        let found: Vec<(u64, bool)> = self.said.iter().map(|(at, bad, _)| (*at, *bad)).collect();
        let wanted: Vec<(u64, bool)> = told.iter().map(|t| (t.piece, t.damaged)).collect();
        assert_eq!(found, wanted);
        self
    }

    fn expect_other(&self, other: &[&str]) -> &Self {
        assert_eq!(self.other, other);
        self
    }
}

const KEYS: &str = "bframes=0:keyint=10:scenecut=0";
const SMALL: &str = "176x144";

fn pictures_are_ffmpegs_on_every_machine(machines: &[&str]) {
    let Some(stream) = encoded(SMALL, 30, KEYS) else {
        return;
    };
    let pictures = by_ffmpeg(&stream, SMALL);
    assert_eq!(pictures.len(), 30);
    let pieces = units(&stream);
    for &machine in machines {
        let session = Session::of(stream.clone()).feed(&pieces).say("drain");
        let Some(played) = session.run(machine, "", "NV12") else {
            return;
        };
        played
            .expect(&pictures)
            .expect_stamps(1..=30)
            .expect_other(&["change 176x144", "last", "end"]);
    }
}

#[test]
fn every_format_and_lines_with_padding() {
    let Some(stream) = encoded(SMALL, 12, KEYS) else {
        return;
    };
    let pictures = by_ffmpeg(&stream, SMALL);
    let pieces = units(&stream);
    for options in ["", ",stride=64"] {
        for fourcc in ["NV12", "NM12", "YU12"] {
            let session = Session::of(stream.clone()).feed(&pieces).say("drain");
            let Some(played) = session.run("soc-noncoherent", options, fourcc) else {
                return;
            };
            match fourcc {
                "YU12" => played.expect_bytes(&pictures, |picture| picture.bytes.clone()),
                _ => played.expect(&pictures),
            };
            played.expect_stamps(1..=12);
        }
    }
}

#[test]
fn from_one_macroblock_to_1080_lines() {
    for (size, count) in [("16x16", 12), ("34x18", 12), ("1920x1080", 4)] {
        let Some(stream) = encoded(size, count, KEYS) else {
            return;
        };
        let pictures = by_ffmpeg(&stream, size);
        assert_eq!(pictures.len(), count as usize);
        let pieces = units(&stream);
        let session = Session::of(stream).feed(&pieces).say("drain");
        let Some(played) = session.run("soc-cma", "", "NV12") else {
            return;
        };
        played
            .expect(&pictures)
            .expect_stamps(1..=u64::from(count))
            .expect_other(&[&format!("change {size}"), "last", "end"]);
    }
}

/// The report counts the bytes that the codec process copies. These are at least the chroma, since
/// libavcodec decodes luma into the buffers.
#[test]
#[ignore = "full: large pictures"]
fn separate_planes_of_1080_lines_count_copies() {
    const COUNT: u32 = 8;
    let Some(stream) = encoded("1920x1080", COUNT, KEYS) else {
        return;
    };
    let pictures = by_ffmpeg(&stream, "1920x1080");
    let pieces = units(&stream);
    let whole = u64::from(COUNT) * 1920 * 1080 * 3 / 2;
    for fourcc in ["NM12", "NV12"] {
        let session = Session::of(stream.clone()).feed(&pieces).say("drain");
        let Some((played, outcome)) = session.run_to_report("soc-cma", "", fourcc) else {
            return;
        };
        played.expect(&pictures).expect_stamps(1..=COUNT.into());
        assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
        let copied = outcome.report.total(|q| q.bytes_copied_by_codec);
        assert_eq!(copied, whole, "{fourcc}");
    }
}

/// B frames are the default of encoders.
#[test]
fn b_frames_come_in_the_order_they_are_shown() {
    let x264 = "bframes=3:b-adapt=0:keyint=12:scenecut=0:open-gop=1:b-pyramid=normal";
    let Some(stream) = encoded(SMALL, 30, x264) else {
        return;
    };
    let pictures = by_ffmpeg(&stream, SMALL);
    assert_eq!(pictures.len(), 30);
    let order = display_order(SMALL, 30, x264);
    assert!(!order.is_sorted(), "there are B-frames");
    let pieces = units(&stream);
    let session = Session::of(stream).feed(&pieces).say("drain");
    let Some(played) = session.run("pc", "", "NV12") else {
        return;
    };
    played.expect(&pictures).expect_stamps(order);
}

/// Both fields are in one buffer, line by line, and the buffer says which field came first.
#[test]
fn interlaced_pictures_say_which_field_came_first() {
    if lacks("ffmpeg") || lacks_libavcodec() {
        return;
    }
    for (first, top, field) in [
        ("setfield=tff", "1", "field 8"),
        ("setfield=bff", "0", "field 9"),
    ] {
        let source = format!("testsrc2=size={SMALL}:rate=25,{first}");
        let words = ["-f", "lavfi", "-i", &source, "-frames:v", "12", "-pix_fmt"];
        let codec = [
            "yuv420p",
            "-c:v",
            "libx264",
            "-flags",
            "+ildct+ilme",
            "-top",
            top,
        ];
        let to = ["-x264-params", "aud=1:threads=1", "-f", "h264", "-"];
        let stream = ffmpeg(words.into_iter().chain(codec).chain(to));
        let pictures = by_ffmpeg(&stream, SMALL);
        let pieces = units(&stream);
        let session = Session::of(stream).feed(&pieces).say("drain");
        let Some(played) = session.run("pc", "", "NV12") else {
            return;
        };
        played.expect(&pictures);
        let fields = played.other.iter().filter(|line| *line == field).count();
        assert_eq!(fields, 12, "{:?}", played.other);
    }
}

/// Cut and damaged streams give ffmpeg's pictures, including concealed parts. Damaged pictures are
/// marked.
#[test]
fn damaged_streams_give_the_pictures_of_ffmpeg() {
    let x264 = "bframes=2:keyint=10:scenecut=0";
    let Some(mut stream) = encoded(SMALL, 30, x264) else {
        return;
    };
    let pieces = units(&stream);
    let slice = pieces[13].clone();
    assert!(slice.len() > 60, "{}", slice.len());
    for byte in &mut stream[slice.start + 30..slice.end.min(slice.start + 50)] {
        *byte ^= 0x5a;
    }
    let pictures = by_ffmpeg(&stream, SMALL);
    let session = Session::of(stream).feed(&pieces).say("drain");
    let Some(played) = session.run("pc", "", "NV12") else {
        return;
    };
    played.expect(&pictures);
    assert!(played.said.iter().any(|(_, damaged, _)| *damaged));
}

#[test]
fn a_seek_forgets_what_was_before() {
    let Some(stream) = encoded(SMALL, 40, KEYS) else {
        return;
    };
    let pictures = by_ffmpeg(&stream, SMALL);
    let pieces = units(&stream);
    let at = 30;
    assert!(is_key(&stream[pieces[at].clone()]));
    for (seek, machine) in [("seek", "pc"), ("seek-both", "soc-noncoherent")] {
        let session = Session::of(stream.clone())
            .feed(&pieces[..15])
            .say(seek)
            .say(&format!("jump {} 101", pieces[at].start))
            .feed(&pieces[at..])
            .say("drain");
        let Some(played) = session.run(machine, "", "NV12") else {
            return;
        };
        // Some pictures from before the seek, then all after it, and no others.
        let before = played.said.len() - 10;
        assert!(before <= 15, "{:?}", played.stamps());
        let wanted: Vec<I420> = [&pictures[..before], &pictures[at..]].concat();
        let stamps = (1..=before as u64).chain(101..=110);
        played.expect(&wanted).expect_stamps(stamps);
    }
}

#[test]
fn a_seek_to_between_two_keys_begins_at_the_next() {
    let Some(stream) = encoded(SMALL, 40, KEYS) else {
        return;
    };
    let pictures = by_ffmpeg(&stream, SMALL);
    let pieces = units(&stream);
    let session = Session::of(stream.clone())
        .feed(&pieces[..10])
        .say("wait 9")
        .say("seek")
        .say(&format!("jump {} 101", pieces[25].start))
        .feed(&pieces[25..])
        .say("drain");
    let Some(played) = session.run("pc", "", "NV12") else {
        return;
    };
    let before = played.said.len() - 10;
    let wanted: Vec<I420> = [&pictures[..before], &pictures[30..]].concat();
    let stamps = (1..=before as u64).chain(106..=115);
    played.expect(&wanted).expect_stamps(stamps);
}

#[test]
fn it_goes_on_after_a_drain() {
    let Some(stream) = encoded(SMALL, 30, KEYS) else {
        return;
    };
    let pictures = by_ffmpeg(&stream, SMALL);
    let pieces = units(&stream);
    for again in ["start", "restart"] {
        let session = Session::of(stream.clone())
            .feed(&pieces[..20])
            .say("drain")
            .say(again)
            .feed(&pieces[20..])
            .say("drain");
        let Some(played) = session.run("soc-noncoherent", "", "NV12") else {
            return;
        };
        played
            .expect(&pictures)
            .expect_stamps(1..=30)
            .expect_other(&["change 176x144", "last", "end", "last", "end"]);
    }
}

#[test]
fn the_size_changes_in_mid_stream() {
    const SIZES: [(&str, u32); 4] = [(SMALL, 11), ("320x240", 13), ("64x48", 7), (SMALL, 5)];
    let parts: Option<Vec<Vec<u8>>> = SIZES
        .iter()
        .map(|(size, count)| encoded(size, *count, KEYS))
        .collect();
    let Some(parts) = parts else {
        return;
    };
    let pictures = parts.iter().zip(SIZES);
    let pictures: Vec<I420> = pictures
        .flat_map(|(part, (size, _))| by_ffmpeg(part, size))
        .collect();
    assert_eq!(pictures.len(), 36);
    let stream = parts.concat();
    let pieces = units(&stream);
    for (machine, fourcc) in [("soc-cma", "NV12"), ("soc-sram", "NM12")] {
        let session = Session::of(stream.clone()).feed(&pieces).say("drain");
        let Some(played) = session.run(machine, "", fourcc) else {
            return;
        };
        played
            .expect(&pictures)
            .expect_stamps(1..=36)
            .expect_other(&[
                "change 176x144",
                "change 320x240",
                "change 64x48",
                "change 176x144",
                "last",
                "end",
            ]);
    }
}

#[test]
fn a_truncated_file_loses_its_last_picture_only() {
    let Some(stream) = encoded(SMALL, 20, KEYS) else {
        return;
    };
    let whole = by_ffmpeg(&stream, SMALL);
    let pieces = units(&stream);
    let end = pieces[15].start + pieces[15].len() / 2;
    let cut = stream[..end].to_vec();
    let mut pieces = pieces[..16].to_vec();
    pieces[15].end = end;
    let parts: Vec<&[u8]> = pieces.iter().map(|piece| &cut[piece.clone()]).collect();
    let told = worker(&parts);
    let session = Session::of(cut.clone()).feed(&pieces).say("drain");
    let Some(played) = session.run("pc", "", "NV12") else {
        return;
    };
    played.expect_told(&told);
    let alone = by_ffmpeg(&cut, SMALL);
    assert_eq!(
        told.iter().map(|t| &t.picture).collect::<Vec<_>>(),
        alone.iter().collect::<Vec<_>>()
    );
    let good: Vec<&I420> = told.iter().take(15).map(|t| &t.picture).collect();
    assert_eq!(good, whole[..15].iter().collect::<Vec<_>>());
    assert!(told.iter().take(15).all(|t| !t.damaged));
}

#[test]
fn corrupt_slice_damages_pictures_until_next_key() {
    let Some(mut stream) = encoded(SMALL, 30, KEYS) else {
        return;
    };
    let whole = by_ffmpeg(&stream, SMALL);
    let pieces = units(&stream);
    let slice = pieces[13].clone();
    assert!(slice.len() > 60, "{}", slice.len());
    for byte in &mut stream[slice.start + 30..slice.end.min(slice.start + 50)] {
        *byte ^= 0x5a;
    }
    let parts: Vec<&[u8]> = pieces.iter().map(|piece| &stream[piece.clone()]).collect();
    let told = worker(&parts);
    assert!(
        told.iter()
            .any(|t| t.damaged || t.picture != whole[t.piece as usize - 1])
    );
    let session = Session::of(stream.clone()).feed(&pieces).say("drain");
    let Some(played) = session.run("pc", "", "NV12") else {
        return;
    };
    played.expect_told(&told);
    for told in &told {
        let number = told.piece as usize - 1;
        if !(13..20).contains(&number) {
            assert!(!told.damaged, "picture {number}");
            assert!(told.picture == whole[number], "picture {number}");
        }
    }
    let outside = told.iter().filter(|t| !(14..=20).contains(&t.piece));
    assert_eq!(outside.count(), 23);
}

#[test]
fn the_end_comes_also_without_pictures() {
    let Some(stream) = encoded(SMALL, 2, KEYS) else {
        return;
    };
    // Parameter sets without a picture; bytes that are no stream; nothing at all.
    let sets = stream
        .windows(4)
        .position(|window| matches!(window, [0, 0, 1, kind] if matches!(kind & 0x1f, 5 | 6)))
        .unwrap();
    for bytes in [stream[..sets - 1].to_vec(), vec![0x55; 5000], Vec::new()] {
        let len = bytes.len();
        let mut session = Session::of(bytes).say("capture");
        if len > 0 {
            session = session.say(&format!("feed {len}"));
        }
        let Some(played) = session.say("drain").run("pc", "", "NV12") else {
            return;
        };
        played.expect(&[]).expect_other(&["last", "end"]);
    }
}

#[test]
fn pieces_may_be_cut_anywhere() {
    let Some(stream) = encoded(SMALL, 20, KEYS) else {
        return;
    };
    let pictures = by_ffmpeg(&stream, SMALL);
    let pieces: Vec<Range<usize>> = (0..stream.len())
        .step_by(1000)
        .map(|at| at..stream.len().min(at + 1000))
        .collect();
    let mut session = Session::of(stream);
    for piece in &pieces {
        session = session.say(&format!("feed {}", piece.len()));
    }
    let session = session.say("ready").say("drain");
    let Some(played) = session.run("pc", "", "NV12") else {
        return;
    };
    played.expect(&pictures);
    assert!(played.stamps().is_sorted(), "{:?}", played.stamps());
}

/// Runs v4l2-compliance with a stream that is larger than several of the device's buffers.
fn expect_decoder_compliant(machine: &str, specs: &[&str], words: &[&str]) {
    let Some(stream) = encoded(SMALL, 150, "bframes=0:keyint=12:bitrate=6000") else {
        return;
    };
    let dir = crate::common::tempdir();
    let file = dir.path().join("stream.h264");
    std::fs::write(&file, stream).unwrap();
    let mut words = words.to_vec();
    words.extend(["--stream-from", file.to_str().unwrap()]);
    expect_compliant(machine, specs, &words);
}

const DECODER: &str = "h264dec,size=176x144";

fn complies_on_every_machine(machines: &[&str]) {
    for &machine in machines {
        expect_decoder_compliant(machine, &[DECODER], &[]);
    }
}

/// Runs with the limits of each board's decoder, if that decoder is stateful.
#[test]
#[ignore = "full: runs on every board"]
fn complies_on_boards_that_ship() {
    let mut count = 0;
    for board in vb3_devicetree::BOARDS {
        let profile = vb3_machine::Profile::parse(board.profile).unwrap();
        let mut devices = profile.devices.iter();
        if let Some(spec) = devices.find(|spec| spec.starts_with("h264dec,")) {
            let spec = format!("{spec},size=176x144");
            expect_decoder_compliant(board.name, &[&spec], &[]);
            count += 1;
        }
    }
    assert_eq!(count, 2);
}

#[test]
#[ignore = "full: repeats v4l2-compliance with other options"]
fn complies_with_the_displays_dmabufs() {
    // The display's buffers must also be large enough for the stream.
    let display = "display=null,mplane=on,format=NV12,size=1280x720";
    for machine in ["soc-noncoherent", "soc-cma"] {
        expect_decoder_compliant(machine, &[DECODER, display], &["-e", "/dev/video1"]);
    }
}

crate::common::on_machines! {
    pictures_are_ffmpegs_on_every_machine
    complies_on_every_machine
}
