//! Streams in any pieces, as programs send them. H.264, HEVC, MPEG-2 and MPEG-4 are cut into access
//! units, which must not depend on the pieces. A worker decodes JPEG files. The target `decoder`
//! tests libavcodec.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use vb3_codec::units::{
    Av1, Cutter, H264, Hevc, Key as _, Mpeg2, Mpeg4, Parser as _, Syntax, Unit, Vp8, Vp9,
};
use vb3_codec::{Framing, Kind, Launch};
use vb3_fuzz::drive::{Plan, drive};
use vb3_fuzz::random::{Random, Rest};

/// Cuts pieces into units. With `drains`, it sometimes drains in the middle.
fn cut<S: Syntax>(pieces: &[&[u8]], mut drains: Option<Random>, whole: bool) -> Vec<Unit> {
    let mut units = Cutter::<S>::default();
    units.set_framing(Framing::Stream);
    let mut found: Vec<Unit> = Vec::new();
    let (mut fed, mut gave, mut faults) = (0, 0, 0);
    for (tag, piece) in (1..).zip(pieces) {
        units.push(tag, piece);
        fed += piece.len();
        let drain = drains.as_mut().is_some_and(|random| random.below(4) == 0);
        let all = whole || drain || tag == pieces.len() as u64;
        while let Some(unit) = units.next(all) {
            assert!(
                (1..=tag).contains(&unit.tag),
                "a unit has a tag that no piece has"
            );
            assert!(found.last().is_none_or(|last| last.tag <= unit.tag));
            gave += unit.bytes.len();
            assert!(gave <= fed, "the units have more bytes than the pieces");
            found.push(unit);
        }
        while let Some((at, sentence)) = units.fault() {
            assert!((1..=tag).contains(&at) && !sentence.is_empty());
            faults += 1;
        }
        // No piece causes more than a few faults.
        assert!(faults <= 2 * tag, "{faults} faults in {tag} pieces");
    }
    assert!(units.pending().is_none(), "bytes are left after the end");
    found
}

fn compare<S: Syntax>(mut random: Random, data: &[u8]) {
    let most = [1, 8, 64, 1024][random.below(4)];
    let pieces = random.pieces(data, most);
    cut::<S>(&pieces, Some(random), false);
    cut::<S>(&pieces, None, true);
    let (once, often) = (
        cut::<S>(&[data], None, false),
        cut::<S>(&pieces, None, false),
    );
    assert_eq!(once.len(), often.len(), "pieces change what is a unit");
    for (one, other) in once.iter().zip(&often) {
        let bare = |unit: &Unit| {
            let zeroes = unit.bytes.iter().take_while(|byte| **byte == 0).count();
            unit.bytes[zeroes..].to_vec()
        };
        assert_eq!(bare(one), bare(other), "pieces change a unit");
        assert_eq!(one.key, other.key);
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    /// Odd: JPEG. Even: a codec whose streams are cut.
    kind: u8,
    plan: Plan,
    data: Rest,
}

vb3_fuzz::target!(|input: Input| {
    let (random, data) = (input.plan.random, input.data.0.as_slice());
    match input.kind % 8 {
        0 => compare::<H264>(random, data),
        2 => compare::<Hevc>(random, data),
        4 => compare::<Mpeg2>(random, data),
        6 => compare::<Mpeg4>(random, data),
        _ => {
            let _ = (Vp8::is_key(data), Vp9::is_key(data), Av1::is_key(data));
            drive(Kind::JpegDecoder, &Launch::in_thread(), input.plan, data);
        }
    }
});
