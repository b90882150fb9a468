//! Events for the host of an H.264 decoder, and their order.

use crate::tools::*;
use crate::{expect_exact, launch, library};
use rand_core::Rng as _;
use vb3_codec::{Chroma, Config, Framing, Job, Kind, Launch};

const KIND: Kind = Kind::H264Decoder;

fn decode(name: &str, stream: &[u8], framing: Framing) -> Driven {
    let driven = crate::decode(KIND, framing, &access_units(stream));
    expect_exact(name, &driven, stream, "h264");
    driven
}

#[test]
fn conforming_streams_decode_with_right_tags() {
    if library().is_none() {
        return;
    }
    let cases = [
        ("baseline", "320x240", 30, "baseline", "keyint=10"),
        ("slices", "320x240", 12, "baseline", "slices=4"),
        ("main", "320x240", 30, "main", "bframes=0:keyint=12"),
        (
            "refs",
            "320x240",
            40,
            "high",
            "ref=6:bframes=0:weightp=2:8x8dct=1",
        ),
        ("one", "320x240", 1, "high", "bframes=3"),
        ("smallest", "16x16", 20, "high", "bframes=0"),
        ("cropped", "66x50", 10, "high", "bframes=0"),
    ];
    for (name, size, frames, profile, options) in cases {
        let stream = x264(size, frames, profile, options);
        let driven = decode(name, &stream, Framing::AccessUnits);
        assert_eq!(driven.pictures().len(), frames as usize, "{name}");
        let wanted: Vec<u64> = (1..=frames.into()).collect();
        assert_eq!(driven.tags(), wanted, "{name}");
    }
}

#[test]
fn full_hd_is_cropped_to_what_is_visible() {
    if library().is_none() {
        return;
    }
    let stream = x264(
        "1920x1080",
        8,
        "high",
        "bframes=0:colorprim=bt709:transfer=bt709:colormatrix=bt709:fullrange=on",
    );
    let driven = decode("full hd", &stream, Framing::AccessUnits);
    let [format] = driven.formats()[..] else {
        panic!("{:?}", driven.formats());
    };
    assert_eq!((format.coded_width, format.coded_height), (1920, 1088));
    assert_eq!((format.visible.width, format.visible.height), (1920, 1080));
    let color = format.color;
    assert_eq!((color.primaries, color.transfer, color.matrix), (1, 1, 1));
    assert!(color.full_range);
    assert!(
        matches!(driven.events[0], TestEvent::Format(_)),
        "it comes first"
    );
}

#[test]
fn chroma_pairs_are_returned_on_request() {
    if library().is_none() {
        return;
    }
    let (width, height) = (70, 34);
    let stream = x264("70x34", 4, "high", "bframes=0");
    let pictures = |chroma| {
        let mut driven = Driven::new(KIND, &launch());
        driven.chroma = chroma;
        driven.decode(access_units(&stream));
        driven.pictures().concat()
    };
    let (planar, pairs) = (pictures(Chroma::Planar), pictures(Chroma::Pairs));
    let frame = width * height * 3 / 2;
    assert_eq!(planar.len(), 4 * frame);
    let mut wanted = Vec::new();
    for picture in planar.chunks(frame) {
        let (y, chroma) = picture.split_at(width * height);
        let (u, v) = chroma.split_at(chroma.len() / 2);
        wanted.extend_from_slice(y);
        wanted.extend(u.iter().zip(v).flat_map(|(u, v)| [*u, *v]));
    }
    assert!(pairs == wanted);
}

#[test]
fn pieces_of_any_size_give_the_same_pictures() {
    if library().is_none() {
        return;
    }
    let stream = x264("176x144", 30, "high", "bframes=0:slices=3:keyint=8");
    let whole = decode("units", &stream, Framing::AccessUnits);
    for seed in 0..12 {
        let mut random = rand_pcg::Pcg32::new(seed, 1);
        let most = [1, 7, 300, 5000][seed as usize % 4];
        let framing = [Framing::Stream, Framing::Auto][seed as usize / 4 % 2];
        let mut pieces = Vec::new();
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let len = (1 + random.next_u32() as usize % most).min(rest.len());
            let (piece, after) = rest.split_at(len);
            pieces.push(piece);
            rest = after;
        }
        let mut driven = Driven::new(KIND, &launch());
        driven.submit(Job::Configure(Config::Decoder(framing)));
        driven.decode(pieces.iter().copied());
        assert_eq!(driven.faults(), Vec::<&TestEvent>::new(), "seed {seed}");
        assert!(driven.pictures() == whole.pictures(), "seed {seed}");
        assert_eq!(
            driven.count(|s| matches!(s, TestEvent::Consumed(_))),
            pieces.len()
        );
        // The tag names the piece with the beginning of the picture's first slice.
        let units = access_units(&stream);
        let starts: Vec<usize> = units
            .iter()
            .scan(0, |at, unit| {
                let slice = unit
                    .windows(4)
                    .position(|w| w[..3] == [0, 0, 1] && matches!(w[3] & 0x1f, 1 | 5));
                let start = *at + slice.unwrap() + 3;
                *at += unit.len();
                Some(start)
            })
            .collect();
        let ends: Vec<usize> = pieces
            .iter()
            .scan(0, |at, piece| {
                *at += piece.len();
                Some(*at)
            })
            .collect();
        let expected: Vec<u64> = whole
            .tags()
            .iter()
            .map(|unit| ends.partition_point(|end| *end <= starts[*unit as usize - 1]) as u64 + 1)
            .collect();
        assert_eq!(driven.tags(), expected, "seed {seed}");
    }
}

#[test]
fn new_size_follows_old_pictures_and_proceed() {
    if library().is_none() {
        return;
    }
    let small = x264("176x144", 10, "high", "bframes=0");
    let large = x264("320x240", 10, "high", "bframes=0");
    let both = [small.as_slice(), &large].concat();
    for framing in [Framing::AccessUnits, Framing::Stream, Framing::Auto] {
        let mut driven = Driven::new(KIND, &launch());
        driven.submit(Job::Configure(Config::Decoder(framing)));
        driven.decode(access_units(&both));
        assert_eq!(driven.faults(), Vec::<&TestEvent>::new());
        let expected = [
            decoded_by_ffmpeg(&small, "h264"),
            decoded_by_ffmpeg(&large, "h264"),
        ]
        .concat();
        assert_same_pictures("two sizes", &driven.pictures(), &expected);
        let order: Vec<char> = driven
            .events
            .iter()
            .filter_map(|event| match event {
                TestEvent::Format(_) => Some('F'),
                TestEvent::Picture { .. } => Some('P'),
                _ => None,
            })
            .collect();
        let order: String = order.into_iter().collect();
        assert_eq!(order, "FPPPPPPPPPPFPPPPPPPPPP");
        let widths: Vec<u32> = driven.formats().iter().map(|f| f.visible.width).collect();
        assert_eq!(widths, [176, 320]);
    }
}

#[test]
fn flush_withdraws_unaccepted_format() {
    if library().is_none() {
        return;
    }
    let stream = x264("64x64", 5, "baseline", "keyint=1");
    let units = access_units(&stream);
    let mut driven = Driven::new(KIND, &launch());
    driven.proceeds = false;
    driven.submit(Job::Configure(Config::Decoder(Framing::AccessUnits)));
    for (tag, data) in (1..).zip(units.iter().copied()) {
        driven.submit(Job::Decode { tag, data });
    }
    driven.wait_for(|event| matches!(event, TestEvent::Format(_)));
    assert_eq!(driven.events.len(), 1, "{:?}", driven.events);
    driven.submit(Job::Flush);
    driven.wait_for(|event| *event == TestEvent::Flushed);
    let tags: Vec<TestEvent> = (1..=5)
        .map(TestEvent::Consumed)
        .chain([TestEvent::Flushed])
        .collect();
    assert_eq!(driven.events[1..], tags);
    assert!(
        driven.worker.submit(Job::Proceed(Chroma::Planar)).is_err(),
        "it was taken back"
    );
    driven.proceeds = true;
    driven.events.clear();
    driven.decode(units.iter().copied());
    assert_same_pictures(
        "after",
        &driven.pictures(),
        &decoded_by_ffmpeg(&stream, "h264"),
    );
    assert_eq!(driven.formats().len(), 1, "it is announced again");
}

#[test]
fn one_unit_gives_its_picture_at_once() {
    if library().is_none() {
        return;
    }
    let stream = x264("64x64", 6, "baseline", "keyint=250");
    let mut driven = Driven::new(KIND, &launch());
    driven.submit(Job::Configure(Config::Decoder(Framing::AccessUnits)));
    for (tag, data) in (1..).zip(access_units(&stream)) {
        driven.submit(Job::Decode { tag, data });
        driven.wait_for(|event| *event == TestEvent::Consumed(tag));
        assert_eq!(driven.tags().len() as u64, tag);
    }
    // Without a configured framing, it is detected only from the second piece on.
    let mut driven = Driven::new(KIND, &launch());
    for (tag, data) in (1..).zip(access_units(&stream)) {
        driven.submit(Job::Decode { tag, data });
        driven.wait_for(|event| *event == TestEvent::Consumed(tag));
        assert_eq!(driven.tags().len() as u64, if tag == 1 { 0 } else { tag });
    }
}

#[test]
fn truncated_stream_gives_its_pictures() {
    if library().is_none() {
        return;
    }
    let stream = x264("176x144", 12, "high", "bframes=0:keyint=250");
    for len in [0, 3, 30, stream.len() / 3, stream.len() - 1] {
        let mut driven = Driven::new(KIND, &launch());
        driven.decode(stream[..len].chunks(1000));
        let whole = access_units(&stream[..len]).len().saturating_sub(1);
        let got = driven.pictures().len();
        assert!(
            len < 100 || got >= whole && got <= whole + 1,
            "{got} of {whole} from {len} bytes"
        );
        assert_eq!(
            driven.count(|s| matches!(s, TestEvent::Died(_))),
            0,
            "{:?}",
            driven.events
        );
    }
}

#[test]
#[ignore = "full: large pictures"]
fn the_largest_pictures_fit() {
    if library().is_none() {
        return;
    }
    let stream = x264("4096x2304", 6, "high", "bframes=0:ref=4");
    let mut driven = Driven::new(KIND, &launch());
    driven.decode(access_units(&stream));
    assert_eq!(driven.faults(), Vec::<&TestEvent>::new());
    assert_same_pictures(
        "largest",
        &driven.pictures(),
        &decoded_by_ffmpeg(&stream, "h264"),
    );
}

#[test]
fn the_same_pieces_give_the_same_events() {
    if library().is_none() {
        return;
    }
    let mut stream = x264("176x144", 30, "high", "bframes=0:keyint=8");
    let middle = stream.len() / 2;
    stream[middle..middle + 60].fill(0xa5);
    let run = |launch: &Launch| {
        let mut driven = Driven::new(KIND, launch);
        driven.decode(stream.chunks(777));
        driven.events
    };
    let first = run(&launch());
    assert!(first.len() > 30);
    assert!(first == run(&launch()), "two processes differ");
    let thread = Launch::in_thread_with(vb3_avcodec::make);
    assert!(first == run(&thread), "process and thread differ");
}
