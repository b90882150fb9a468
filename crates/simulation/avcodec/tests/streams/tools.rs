//! Shared parts of worker tests, and streams made and decoded by ffmpeg.

#[path = "../../../codec/tests/streams/tools.rs"]
mod shared;

pub(crate) use shared::*;

/// Makes an H.264 byte stream of moving pictures, with x264's options.
pub(crate) fn x264(size: &str, frames: u32, profile: &str, options: &str) -> Vec<u8> {
    let source = format!("testsrc2=size={size}:rate=25");
    let options = format!("threads=1:{options}");
    let stream = ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            &source,
            "-frames:v",
            &frames.to_string(),
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-profile:v",
            profile,
            "-x264-params",
            &options,
            "-f",
            "h264",
        ],
        &[],
    );
    assert!(!stream.is_empty(), "x264 made nothing of {options}");
    stream
}

/// Decodes a stream with ffmpeg to consecutive I420 pictures. It uses one thread: with several, ffmpeg
/// 5.1 sometimes decoded HEVC with slices differently.
pub(crate) fn decoded_by_ffmpeg(stream: &[u8], format: &str) -> Vec<u8> {
    ffmpeg(
        &[
            "-threads",
            "1",
            "-flags",
            "+unaligned",
            "-f",
            format,
            "-i",
            "INPUT",
            "-vsync",
            "0",
            "-f",
            "rawvideo",
        ],
        stream,
    )
}

/// Splits a stream into access units. Each one begins with the bytes before its first slice.
pub(crate) fn access_units(stream: &[u8]) -> Vec<&[u8]> {
    let mut cuts = vec![0];
    let mut had_slice = false;
    let mut at = 0;
    while let Some(found) = stream[at..].windows(3).position(|w| w == [0, 0, 1]) {
        let code = at + found;
        let start = if code > 0 && stream[code - 1] == 0 {
            code - 1
        } else {
            code
        };
        let slice = matches!(stream[code + 3] & 0x1f, 1 | 5);
        let first = stream[code + 4] & 0x80 != 0;
        if had_slice && (!slice || first) {
            cuts.push(start);
            had_slice = false;
        }
        had_slice |= slice;
        at = code + 3;
    }
    cuts.push(stream.len());
    cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect()
}

/// Panics with the number of the first picture that differs between two decoders.
pub(crate) fn assert_same_pictures(name: &str, ours: &[&[u8]], theirs: &[u8]) {
    let mut rest = theirs;
    for (i, picture) in ours.iter().enumerate() {
        assert!(
            rest.len() >= picture.len(),
            "{name}: picture {i} is one too many"
        );
        let (theirs, after) = rest.split_at(picture.len());
        if *picture != theirs {
            panic!(
                "{name}: picture {i} differs: {:.1} dB",
                psnr(picture, theirs)
            );
        }
        rest = after;
    }
    assert!(
        rest.is_empty(),
        "{name}: {} bytes of pictures are missing",
        rest.len()
    );
    assert!(!ours.is_empty(), "{name}: no pictures");
}

impl Driven {
    pub(crate) fn tags(&self) -> Vec<u64> {
        let tags = self.events.iter().filter_map(|event| match event {
            TestEvent::Picture { tag, .. } => Some(*tag),
            _ => None,
        });
        tags.collect()
    }
}
