//! Streams and libraries that a decoder does not expect.

use crate::tools::{
    Driven, TestEvent, access_units, assert_same_pictures, decoded_by_ffmpeg, x264,
};
use crate::{decode, launch, library};
use std::path::Path;
use std::process::Command;
use vb3_codec::{
    CODECS, Codec, Config, Framing, Job, Kind, Launch, Library, MAX_INPUT, Out, Stop, Work,
};

#[test]
fn sizes_may_change_within_a_piece() {
    if library().is_none() {
        return;
    }
    let sizes = ["320x240", "176x144", "640x368"];
    let streams = sizes.map(|size| x264(size, 8, "main", "bframes=2"));
    let exact = streams
        .each_ref()
        .map(|stream| decoded_by_ffmpeg(stream, "h264"));
    let whole = streams.concat();
    for cut in [whole.len(), streams[0].len() + 100, 10_000] {
        let pieces: Vec<&[u8]> = whole.chunks(cut).collect();
        let driven = decode(Kind::H264Decoder, Framing::Stream, &pieces);
        assert_same_pictures("sizes", &driven.pictures(), &exact.concat());
        let formats = driven
            .events
            .iter()
            .filter(|event| matches!(event, TestEvent::Format(_)));
        assert_eq!(formats.count(), 3);
    }
}

#[test]
#[ignore = "full: 20 MiB for each codec"]
fn pieces_of_20_mib_are_survived() {
    let Some(library) = library() else {
        return;
    };
    let has = |kind| library.kinds.iter().any(|(known, _)| *known == kind);
    let decodes = |work| matches!(work, Work::Decoder(_) | Work::Stateless);
    let rows = CODECS
        .iter()
        .filter(|row| decodes(row.work) && has(row.kind));
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()[0]
    })
    .take(MAX_INPUT)
    .collect();
    let codes: Vec<u8> = noise
        .iter()
        .enumerate()
        .map(|(at, noise)| [0, 0, 1, *noise][at % 4])
        .collect();
    for row in rows {
        for data in [&noise, &codes] {
            let mut driven = Driven::new(row.kind, &launch());
            driven.submit(Job::Decode { tag: 1, data });
            driven.submit(Job::Drain);
            driven.wait_for(|event| matches!(event, TestEvent::Drained | TestEvent::Died(_)));
        }
    }
}

/// A decoder that counts the pieces of each call, and reports them as faults.
struct Counting(Box<dyn Codec>);

impl Codec for Counting {
    fn configure(&mut self, config: Config) {
        self.0.configure(config);
    }

    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        let before = out.pieces();
        self.0.decode(tag, data, out)?;
        let begun = out.pieces() - before;
        out.corrupt(tag, &format!("{begun} pieces"))
    }

    fn drain(&mut self, out: &mut Out) -> Result<(), Stop> {
        self.0.drain(out)
    }

    fn flush(&mut self, out: &mut Out) {
        self.0.flush(out);
    }
}

#[test]
fn units_decoded_again_each_get_a_jobs_time() {
    if library().is_none() {
        return;
    }
    let stream = x264("320x240", 24, "main", "keyint=48:bframes=0:scenecut=0");
    let units = access_units(&stream);
    let counted = Launch::in_thread_with(|kind| {
        vb3_avcodec::make(kind).map(|codec| Box::new(Counting(codec)) as Box<dyn Codec>)
    });
    let mut driven = Driven::new(Kind::H264Decoder, &counted);
    driven.submit(Job::Configure(Config::Decoder(Framing::AccessUnits)));
    driven.decode(units[..16].iter().copied());
    // `decode` ends with a drain.
    driven.decode(units[16..18].iter().copied());
    let counts: Vec<&str> = driven
        .events
        .iter()
        .filter_map(|event| match event {
            TestEvent::Corrupt(_, sentence) if sentence.ends_with(" pieces") => Some(&sentence[..]),
            _ => None,
        })
        .collect();
    // The first unit after the drain needs the 16 before it.
    assert_eq!(counts.len(), 18, "{counts:?}");
    let begun = |count: &str| count.trim_end_matches(" pieces").parse::<u64>().unwrap();
    assert!(begun(counts[16]) >= begun(counts[15]) + 16, "{counts:?}");
    assert_eq!(begun(counts[17]), begun(counts[15]), "{counts:?}");
}

/// Hides libavcodec's wrapper of another library from a program.
const HIDE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libavcodec/avcodec.h>
const AVCodec *av_codec_iterate(void **at)
{
	static const AVCodec *(*real)(void **);
	const AVCodec *found;
	if (!real)
		real = (const AVCodec *(*)(void **))dlsym(RTLD_NEXT, "av_codec_iterate");
	do
		found = real(at);
	while (found && found->id == AV_CODEC_ID_AV1 && found->wrapper_name);
	return found;
}
"#;

#[test]
fn av1_needs_a_decoder_without_hardware() {
    let program = Path::new(env!("CARGO_BIN_EXE_avcodec-worker"));
    let dir = tempfile::tempdir().unwrap();
    let [source, hiding] = ["hide.c", "hide.so"].map(|name| dir.path().join(name));
    std::fs::write(&source, HIDE).unwrap();
    let mut cc = Command::new("cc");
    let made = cc
        .args(["-shared", "-fPIC", "-o"])
        .args([&hiding, &source])
        .arg("-ldl")
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        return vb3_skip::skip("there is no C compiler with libavcodec's headers");
    }
    let list = |hides: bool| {
        let mut command = Command::new(program);
        command.arg("--list");
        if hides {
            command.env("LD_PRELOAD", &hiding);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    if !list(false).contains("has av1dec ") {
        return vb3_skip::skip("libavcodec has no decoder of AV1");
    }
    let hidden = list(true);
    assert!(hidden.contains("has h264dec "), "{hidden}");
    assert!(!hidden.contains("av1dec"), "{hidden}");
    assert!(Library::ask(program).is_ok());
}
