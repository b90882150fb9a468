//! Shared parts of the encoders' tests: a source, its packets, and the comparison with ffmpeg.

use crate::tools::{Driven, TestEvent, assert_same_pictures, decoded_by_ffmpeg, ffmpeg, psnr};
use crate::{decode, launch};
use vb3_codec::{Config, Framing, Job, Kind, Planes};

pub(crate) const WIDTH: u32 = 320;
pub(crate) const HEIGHT: u32 = 240;
pub(crate) const FRAMES: usize = 40;

/// Tag, whether it is a key picture, and bytes.
pub(crate) type Packet<'a> = (u64, bool, &'a [u8]);

pub(crate) fn source() -> Vec<u8> {
    let words = format!(
        "-f lavfi -i testsrc2=size={WIDTH}x{HEIGHT}:rate=25 -frames:v {FRAMES} \
         -pix_fmt yuv420p -f rawvideo"
    );
    ffmpeg(&words.split_whitespace().collect::<Vec<_>>(), &[])
}

pub(crate) fn planes(picture: &[u8], width: u32, height: u32) -> Planes<'_> {
    let luma = (width * height) as usize;
    let (y, rest) = picture.split_at(luma);
    let (u, v) = rest.split_at(luma / 4);
    let half = width as usize / 2;
    Planes {
        width,
        height,
        data: [y, u, v],
        strides: [width as usize, half, half],
    }
}

/// Starts an encoder of a kind and sets it up.
pub(crate) fn start(kind: Kind, config: Config) -> Driven {
    let mut driven = Driven::new(kind, &launch());
    driven.submit(Job::Configure(config));
    driven
}

/// Submits a picture without forcing a key picture.
pub(crate) fn submit(driven: &mut Driven, tag: u64, picture: &[u8], (width, height): (u32, u32)) {
    driven.submit(Job::Encode {
        tag,
        picture: planes(picture, width, height),
        force_key: false,
    });
}

/// Drains an encoder and checks that it reported no fault.
pub(crate) fn drain(driven: &mut Driven) {
    driven.submit(Job::Drain);
    driven.wait_for(|event| *event == TestEvent::Drained);
    assert_eq!(driven.faults(), Vec::<&TestEvent>::new());
}

/// Encodes all pictures of the source, the one tagged 7 as a forced key picture.
pub(crate) fn encode(kind: Kind, config: Config, pictures: &[u8]) -> Driven {
    let mut driven = start(kind, config);
    for (tag, picture) in (1..).zip(pictures.chunks(pictures.len() / FRAMES)) {
        driven.submit(Job::Encode {
            tag,
            picture: planes(picture, WIDTH, HEIGHT),
            force_key: tag == 7,
        });
    }
    drain(&mut driven);
    driven
}

pub(crate) fn packets(driven: &Driven) -> Vec<Packet<'_>> {
    let packets = driven.events.iter().filter_map(|event| match event {
        TestEvent::Packet { tag, key, bytes } => Some((*tag, *key, bytes.as_slice())),
        _ => None,
    });
    packets.collect()
}

/// Returns the total length of all packets in bytes.
pub(crate) fn packet_bytes(driven: &Driven) -> usize {
    packets(driven).iter().map(|packet| packet.2.len()).sum()
}

/// Joins packets to a byte stream.
pub(crate) fn byte_stream(packets: &[Packet<'_>]) -> Vec<u8> {
    packets
        .iter()
        .flat_map(|packet| packet.2)
        .copied()
        .collect()
}

/// Checks tags and key pictures of the packets of [`encode`], with a GOP of 16.
pub(crate) fn check_order(packets: &[Packet<'_>]) {
    let tags: Vec<u64> = packets.iter().map(|packet| packet.0).collect();
    assert_eq!(tags, (1..=FRAMES as u64).collect::<Vec<_>>());
    let keys: Vec<u64> = packets.iter().filter(|p| p.1).map(|p| p.0).collect();
    assert_eq!(keys, [1, 7, 23, 39], "first, forced, and 16 after each");
}

/// Checks that ffmpeg decodes a file of the packets to pictures similar to the source, and that our
/// decoder gives the same pictures. Returns the decoder.
pub(crate) fn check_decoding(
    packets: &[Packet<'_>],
    (file, format): (&[u8], &str),
    (decoder, framing): (Kind, Framing),
    (pictures, least_psnr): (&[u8], f64),
) -> Driven {
    let theirs = decoded_by_ffmpeg(file, format);
    assert_eq!(theirs.len(), pictures.len(), "{format}");
    let ratio = psnr(&theirs, pictures);
    assert!(ratio > least_psnr, "{format}: {ratio:.1} dB");
    let units: Vec<&[u8]> = packets.iter().map(|packet| packet.2).collect();
    let back = decode(decoder, framing, &units);
    assert_same_pictures("both ways", &back.pictures(), &theirs);
    back
}
