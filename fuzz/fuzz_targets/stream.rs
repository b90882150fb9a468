//! Streams as a program may send them, in any pieces. H.264, HEVC, MPEG-2 and MPEG-4 are cut into
//! access units, which must not depend on the pieces; H.264's parameter sets are read. JPEG files are decoded by a worker.
//! The H.264 library itself is left to the target `decoder`.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use vb3_codec::units::{Av1, Cutter, H264, Hevc, Key as _, Mpeg2, Mpeg4, Syntax, Unit, Vp8, Vp9};
use vb3_codec::{Framing, Kind, Launch, MAX_HEIGHT, MAX_WIDTH};
use vb3_fuzz::drive::{Plan, drive};
use vb3_fuzz::random::{Random, Rest};

/// Cuts pieces into units; with `drains`, sometimes in the middle.
fn cut<S: Syntax>(
    pieces: &[&[u8]],
    mut drains: Option<Random>,
    whole: bool,
    look: fn(&S, &Unit),
) -> Vec<Unit> {
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
            look(&units.syntax, &unit);
            found.push(unit);
        }
        while let Some((at, sentence)) = units.fault() {
            assert!((1..=tag).contains(&at) && !sentence.is_empty());
            faults += 1;
        }
        // What there is to say of a piece is said in few words.
        assert!(faults <= 2 * tag, "{faults} faults in {tag} pieces");
        if let Some((slice, _)) = units.pending() {
            assert!(!slice.is_empty());
        }
    }
    assert!(units.pending().is_none(), "something is left after the end");
    found
}

fn compare<S: Syntax>(mut random: Random, data: &[u8], look: fn(&S, &Unit)) {
    let most = [1, 8, 64, 1024][random.below(4)];
    let pieces = random.pieces(data, most);
    cut(&pieces, Some(random), false, look);
    cut(&pieces, None, true, look);
    let (once, often) = (
        cut(&[data], None, false, look),
        cut(&pieces, None, false, look),
    );
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

/// What an H.264 stream says of its pictures.
fn look_h264(syntax: &H264, unit: &Unit) {
    if let Some(Ok(format)) = syntax.format(&unit.slice) {
        assert!(format.coded_width <= MAX_WIDTH && format.coded_height <= MAX_HEIGHT);
        let visible = format.visible;
        assert!(visible.left + visible.width <= format.coded_width);
        assert!(visible.top + visible.height <= format.coded_height);
        assert!(format.held_back <= 16 && visible.width > 0 && visible.height > 0);
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    /// Odd: JPEG; even: a codec whose streams are cut.
    kind: u8,
    plan: Plan,
    data: Rest,
}

vb3_fuzz::target!(|input: Input| {
    let (random, data) = (input.plan.random, input.data.0.as_slice());
    match input.kind % 8 {
        0 => compare::<H264>(random, data, look_h264),
        2 => compare::<Hevc>(random, data, |_, _| ()),
        4 => compare::<Mpeg2>(random, data, |_, _| ()),
        6 => compare::<Mpeg4>(random, data, |_, _| ()),
        _ => {
            let _ = (Vp8::is_key(data), Vp9::is_key(data), Av1::is_key(data));
            drive(Kind::JpegDecoder, &Launch::in_thread(), input.plan, data);
        }
    }
});
