//! Streams as a program may send them, in any pieces. H.264 is cut into access units, which must
//! not depend on the pieces; its parameter sets are read. JPEG files are decoded by a worker.
//! The H.264 library itself is left to the target `decoder`.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use vb3_codec::{Kind, Launch, MAX_HEIGHT, MAX_WIDTH};
use vb3_fuzz::drive::{Plan, drive};
use vb3_fuzz::random::Rest;

mod job {
    pub(crate) use vb3_codec::{Colour, Rect, StreamFormat};
}

#[allow(dead_code, reason = "decoders use more of it")]
#[path = "../../crates/codec/src/h264"]
mod h264 {
    mod params;
    mod units;

    use params::{Params, format};
    use units::{Unit, Units};
    use vb3_codec::{MAX_HEIGHT, MAX_WIDTH};
    use vb3_fuzz::random::Random;

    /// Cuts pieces into units; with `drains`, sometimes in the middle.
    fn cut(pieces: &[&[u8]], mut drains: Option<Random>, whole: bool) -> Vec<Unit> {
        let (mut units, mut params) = (Units::default(), Params::default());
        let mut found: Vec<Unit> = Vec::new();
        let (mut fed, mut gave, mut faults) = (0, 0, 0);
        for (tag, piece) in (1..).zip(pieces) {
            units.push(tag, piece);
            fed += piece.len();
            let drain = drains.as_mut().is_some_and(|random| random.below(4) == 0);
            let all = whole || drain || tag == pieces.len() as u64;
            while let Some(unit) = units.next(&mut params, all) {
                assert!((1..=tag).contains(&unit.tag), "a tag of no piece");
                assert!(found.last().is_none_or(|last| last.tag <= unit.tag));
                assert!(!unit.slice.is_empty() && unit.slice.len() <= 48);
                let inside = unit
                    .bytes
                    .windows(unit.slice.len())
                    .any(|w| w == unit.slice);
                // Zeroes at the end belong to no NAL unit.
                assert!(
                    inside || unit.slice.last() == Some(&0),
                    "a slice from elsewhere"
                );
                gave += unit.bytes.len();
                assert!(gave <= fed, "more came out than went in");
                if let Some((set, sps)) = params.of_slice(&unit.slice) {
                    assert!(!set.is_empty());
                    if let Ok(format) = format(sps) {
                        assert!(
                            format.coded_width <= MAX_WIDTH && format.coded_height <= MAX_HEIGHT
                        );
                        let visible = format.visible;
                        assert!(visible.left + visible.width <= format.coded_width);
                        assert!(visible.top + visible.height <= format.coded_height);
                        assert!(format.held_back <= 16 && visible.width > 0 && visible.height > 0);
                    }
                }
                found.push(unit);
            }
            while let Some((at, sentence)) = units.fault() {
                assert!((1..=tag).contains(&at) && !sentence.is_empty());
                faults += 1;
            }
            // What there is to say of a piece is said in few words.
            assert!(faults <= 2 * tag, "{faults} faults in {tag} pieces");
            if let Some((at, slice, _)) = units.pending() {
                assert!((1..=tag).contains(&at) && !slice.is_empty());
            }
        }
        assert!(params.stream().len() <= 288 * 4100);
        assert!(units.pending().is_none(), "something is left after the end");
        found
    }

    pub(crate) fn compare(mut random: Random, data: &[u8]) {
        let most = [1, 8, 64, 1024][random.below(4)];
        let pieces = random.pieces(data, most);
        cut(&pieces, Some(random), false);
        cut(&pieces, None, true);
        let (once, often) = (cut(&[data], None, false), cut(&pieces, None, false));
        assert_eq!(once.len(), often.len(), "pieces change what is a unit");
        for (one, other) in once.iter().zip(&often) {
            let bare = |unit: &Unit| {
                let zeroes = unit.bytes.iter().take_while(|byte| **byte == 0).count();
                unit.bytes[zeroes..].to_vec()
            };
            assert_eq!(bare(one), bare(other), "pieces change a unit");
            // Zeroes behind a short slice may be seen or not; they belong to no NAL unit.
            let slice = |unit: &Unit| {
                let last = unit.slice.iter().rposition(|byte| *byte != 0);
                unit.slice[..last.map_or(0, |at| at + 1)].to_vec()
            };
            assert_eq!((one.key, slice(one)), (other.key, slice(other)));
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    /// Even: H.264; odd: JPEG.
    kind: u8,
    plan: Plan,
    data: Rest,
}

vb3_fuzz::target!(|input: Input| {
    if input.kind.is_multiple_of(2) {
        h264::compare(input.plan.random, &input.data.0);
    } else {
        drive(
            Kind::JpegDecoder,
            &Launch::in_thread(),
            input.plan,
            &input.data.0,
        );
    }
});
