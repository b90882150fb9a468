//! Streams with random options, and the JVT's conformance streams. Every picture that a program
//! gets from the decoder equals ffmpeg's, in order.
//!
//! `VB3_EXACT_SEED` and `VB3_EXACT_STREAMS` choose seed and number; `VB3_H264_VECTORS` names the directory of
//! the JVT's streams.

mod others;

use crate::common::{Run, ffmpeg, lacks, lacks_libavcodec};
use crate::streams::by_ffmpeg;
use std::path::Path;

/// Random numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Parameters of a stream to encode.
struct Draft {
    size: String,
    source: String,
    frames: u64,
    x264: String,
}

fn draft(random: &mut Random) -> Draft {
    let interlaced = random.below(5) == 0;
    let step = if interlaced { 4 } else { 2 };
    let large = random.below(20) == 0;
    let (width, height) = match large {
        true => random.one(&[(1920, 1080), (1280, 720)]),
        false => {
            let mut side = |most| (16 + random.below(most)).next_multiple_of(step);
            // GStreamer pads lines of other widths.
            (side(400).next_multiple_of(4), side(300))
        }
    };
    let frames = if large { 8 } else { 5 + random.below(26) };
    let source = match random.below(3) {
        0 => format!("testsrc2=size={width}x{height}:rate=25"),
        1 => format!("mandelbrot=size={width}x{height}:rate=25"),
        _ => format!("testsrc2=size={width}x{height}:rate=25,noise=alls=12:allf=t"),
    };
    let mut x264 = x264(random);
    if interlaced {
        x264 += random.one(&[":tff=1", ":bff=1"]);
    }
    Draft {
        size: format!("{width}x{height}"),
        source,
        frames,
        x264,
    }
}

/// Draws x264's options.
fn x264(random: &mut Random) -> String {
    let options = [
        format!("bframes={}", random.one(&[0, 1, 2, 3, 5, 8, 16])),
        format!("b-adapt={}", random.below(3)),
        format!(
            "direct={}",
            random.one(&["none", "spatial", "temporal", "auto"])
        ),
        format!("b-pyramid={}", random.one(&["none", "strict", "normal"])),
        format!("weightb={}:weightp={}", random.below(2), random.below(3)),
        format!("ref={}", random.one(&[1, 2, 4, 8, 16])),
        format!("slices={}", random.one(&[1, 1, 2, 4])),
        format!("8x8dct={}:cabac={}", random.below(2), random.below(2)),
        format!("no-deblock={}", u8::from(random.below(6) == 0)),
        format!("keyint={}", random.one(&[1, 5, 12, 250])),
        format!("open-gop={}", random.below(2)),
        format!("crf={}", random.one(&[12, 20, 28, 40])),
        format!("subme={}:partitions=all", random.one(&[1, 5, 9])),
    ];
    options.join(":")
}

impl Draft {
    fn encode(&self) -> Vec<u8> {
        let frames = self.frames.to_string();
        let params = format!("threads=1:{}", self.x264);
        let mut words = vec!["-f", "lavfi", "-i", &self.source, "-frames:v", &frames];
        words.extend([
            "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast",
        ]);
        words.extend(["-x264-params", &params, "-f", "h264", "-"]);
        ffmpeg(words)
    }
}

/// Programs that decode `stream.h264` to `pictures.raw`, NV12.
const PLAYERS: [(&str, &str); 2] = [
    (
        "gst-launch-1.0",
        "gst-launch-1.0 -q filesrc location=stream.h264 ! h264parse ! v4l2h264dec \
         ! video/x-raw,format=NV12 ! filesink location=pictures.raw",
    ),
    (
        "ffmpeg",
        "ffmpeg -nostdin -v error -flags +unaligned -c:v h264_v4l2m2m -f h264 -i stream.h264 \
         -fps_mode passthrough -pix_fmt nv12 -f rawvideo pictures.raw",
    ),
];

/// Asserts that both programs get ffmpeg's own pictures. Returns their number.
fn expect_exact(name: &str, stream: &[u8], size: &str) -> usize {
    let pictures = by_ffmpeg(stream, size);
    assert!(!pictures.is_empty(), "{name}: ffmpeg gives no pictures");
    let wanted: Vec<u8> = pictures.iter().flat_map(|picture| picture.nv12()).collect();
    let picture = wanted.len() / pictures.len();
    for (player, line) in PLAYERS {
        let run = Run::on("pc").device("h264dec");
        std::fs::write(run.file("stream.h264"), stream).unwrap();
        let outcome = run.program(["sh", "-c", line]).run();
        outcome.expect_success();
        let name = format!("{name}: {player}");
        expect_same(&name, &outcome.read("pictures.raw"), &wanted, picture);
    }
    pictures.len()
}

/// Asserts that pictures of `picture` bytes each equal the wanted ones.
fn expect_same(name: &str, found: &[u8], wanted: &[u8], picture: usize) {
    let mut pairs = found.chunks(picture).zip(wanted.chunks(picture));
    let differs = pairs.position(|(found, wanted)| found != wanted);
    assert_eq!(differs, None, "{name}: the first picture that differs");
    assert_eq!(found.len(), wanted.len(), "{name}: bytes of pictures");
}

fn lacks_players() -> bool {
    lacks_libavcodec() || PLAYERS.iter().any(|(player, _)| lacks(player))
}

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(default, |value| value.parse().unwrap())
}

fn seed() -> u64 {
    number("VB3_EXACT_SEED", 1)
}

/// Returns the number of streams.
fn streams() -> u64 {
    number("VB3_EXACT_STREAMS", 6)
}

#[test]
fn streams_at_random_are_exact() {
    if lacks_players() {
        return;
    }
    let (seed, streams) = (seed(), streams());
    println!("VB3_EXACT_SEED={seed} VB3_EXACT_STREAMS={streams}");
    let mut pictures = 0;
    for n in 0..streams {
        let draft = draft(&mut Random::new(seed.wrapping_mul(1_000_003) + n));
        let name = format!("stream {n}: {} {} {}", draft.size, draft.source, draft.x264);
        let count = expect_exact(&name, &draft.encode(), &draft.size);
        assert_eq!(count as u64, draft.frames, "{name}");
        pictures += count;
        println!("{n}: {count} pictures of {}: {}", draft.size, draft.x264);
    }
    println!("{streams} streams, {pictures} pictures, each exact by both programs");
}

#[test]
fn the_jvts_streams_are_exact() {
    if lacks_players() {
        return;
    }
    let Some(files) = vectors() else { return };
    for file in &files {
        let name = file.file_name().to_string_lossy().into_owned();
        let stream = std::fs::read(file.path()).unwrap();
        let size = size_of(&file.path());
        println!("{name}: {} pictures", expect_exact(&name, &stream, &size));
    }
    println!("{} streams, each exact by both programs", files.len());
}

/// Returns the JVT's streams in the directory `VB3_H264_VECTORS`. Without it, prints the reason and
/// returns `None`.
pub(crate) fn vectors() -> Option<Vec<std::fs::DirEntry>> {
    let Some(dir) = std::env::var_os("VB3_H264_VECTORS") else {
        vb3_skip::elsewhere("VB3_H264_VECTORS names no directory of streams");
        return None;
    };
    let mut files: Vec<_> = Path::new(&dir).read_dir().unwrap().flatten().collect();
    files.sort_by_key(std::fs::DirEntry::path);
    Some(files)
}

/// Returns the visible size of a stream.
pub(crate) fn size_of(file: &Path) -> String {
    let file = file.to_str().unwrap();
    let words = ["-flags", "+unaligned", "-f", "h264", "-i", file];
    let one = ["-frames:v", "1", "-f", "yuv4mpegpipe", "-"];
    let y4m = ffmpeg(words.into_iter().chain(one));
    let head = String::from_utf8_lossy(&y4m[..y4m.len().min(60)]).into_owned();
    let number = |key: char| {
        let word = head
            .split([' ', '\n'])
            .find_map(|word| word.strip_prefix(key));
        word.unwrap().to_owned()
    };
    format!("{}x{}", number('W'), number('H'))
}
