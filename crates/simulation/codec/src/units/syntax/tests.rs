use super::*;
use crate::job::Framing;
use crate::units::Cutter;
use crate::units::Parser as _;

fn cut<S: Syntax>(pieces: &[&[u8]], framing: Framing) -> Vec<(u64, bool, Vec<u8>)> {
    let mut cutter = Cutter::<S>::default();
    cutter.set_framing(framing);
    let mut units = Vec::new();
    for (tag, piece) in (1..).zip(pieces) {
        cutter.push(tag, piece);
        units.extend(std::iter::from_fn(|| cutter.next(false)));
    }
    units.extend(std::iter::from_fn(|| cutter.next(true)));
    units.into_iter().map(|u| (u.tag, u.key, u.bytes)).collect()
}

/// Checks that a stream is cut into these units, no matter where its pieces end.
fn expect_units<S: Syntax>(units: &[(bool, Vec<u8>)]) {
    let stream: Vec<u8> = units.iter().flat_map(|(_, unit)| unit.clone()).collect();
    for at in 1..stream.len() {
        let (a, b) = stream.split_at(at);
        let found = cut::<S>(&[a, b], Framing::Stream);
        let found: Vec<_> = found
            .into_iter()
            .map(|(_, key, unit)| (key, unit))
            .collect();
        assert_eq!(found, units, "cut at {at}");
    }
    let whole: Vec<&[u8]> = units.iter().map(|(_, unit)| unit.as_slice()).collect();
    let found = cut::<S>(&whole, Framing::Auto);
    let tags: Vec<u64> = found.iter().map(|(tag, ..)| *tag).collect();
    assert_eq!(tags, (1..=units.len() as u64).collect::<Vec<_>>());
}

fn nal(head: &[u8]) -> Vec<u8> {
    [&[0, 0, 1], head, &[0x55; 60]].concat()
}

#[test]
fn hevc_is_cut_before_sets_and_first_segments() {
    let (vps, idr, more) = (
        nal(&[0x40, 1]),
        nal(&[0x26, 1, 0x80]),
        nal(&[0x26, 1, 0x40]),
    );
    let (trail, suffix) = (nal(&[0x02, 1, 0x80]), nal(&[0x50, 1]));
    expect_units::<Hevc>(&[
        (true, [vps.clone(), idr.clone(), more, suffix].concat()),
        (false, trail.clone()),
        (true, [vps, idr].concat()),
        (false, trail),
    ]);
}

#[test]
fn mpeg2_is_cut_before_headers_of_pictures() {
    let (sequence, group) = (nal(&[0xb3]), nal(&[0xb8]));
    let picture = |kind: u8| nal(&[0x00, 0, kind << 3]);
    // The last byte of a slice may be 0.
    let slice = |row: u8| [nal(&[row]), vec![0]].concat();
    let intra = [picture(1), nal(&[0xb5]), slice(1), slice(2)].concat();
    let other = [picture(2), slice(1), slice(2)].concat();
    expect_units::<Mpeg2>(&[
        (true, [sequence, group.clone(), intra.clone()].concat()),
        (false, other),
        (false, [group, intra].concat()),
    ]);
}

#[test]
fn mpeg4_is_cut_after_vops() {
    let (volume, group) = (nal(&[0x20]), nal(&[0xb3]));
    let vop = |kind: u8| nal(&[0xb6, kind << 6 | 5]);
    expect_units::<Mpeg4>(&[
        (true, [volume, vop(0)].concat()),
        (false, vop(1)),
        (false, [vop(2), nal(&[0xb1])].concat()),
        (true, [group, vop(0)].concat()),
    ]);
}
