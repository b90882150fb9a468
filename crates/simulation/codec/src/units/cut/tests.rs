use super::*;
use crate::units::H264;

/// Parameter sets of 64x64 pictures.
const SPS: &[u8] = &[0, 0, 1, 0x67, 0x42, 0xc0, 0x0a, 0xda, 0x10, 0x99];
const PPS: &[u8] = &[0, 0, 1, 0x68, 0xce, 0x3c, 0x80];

/// Returns the first bytes of a slice, which begins a picture (`first`) or continues one.
fn slice(kind: u8, first: bool) -> Vec<u8> {
    let mut slice = vec![0, 0, 1, kind, if first { 0x88 } else { 0x40 }];
    slice.extend([0x55; 60]);
    slice
}

fn units(pieces: &[&[u8]], all: bool) -> Vec<Unit> {
    let (mut units, mut params) = (Units::<H264>::default(), H264::default());
    let mut found = Vec::new();
    for (tag, piece) in (1..).zip(pieces) {
        units.push(tag, piece);
        found.extend(std::iter::from_fn(|| units.next(&mut params, all)));
    }
    found.extend(std::iter::from_fn(|| units.next(&mut params, true)));
    found
}

#[test]
fn a_unit_ends_where_the_next_begins() {
    let (key, more, next) = (slice(0x65, true), slice(0x65, false), slice(0x41, true));
    let stream = [SPS, PPS, &key, &more, &next, PPS, &next].concat();
    let found = units(&[&stream], false);
    let first = [SPS, PPS, &key, &more].concat();
    let bytes: Vec<&[u8]> = found.iter().map(|unit| unit.bytes.as_slice()).collect();
    assert_eq!(bytes, [&first[..], &next, &[PPS, &next].concat()]);
    let keys: Vec<bool> = found.iter().map(|unit| unit.key).collect();
    assert_eq!(keys, [true, false, false]);
}

#[test]
fn units_and_tags_do_not_depend_on_pieces() {
    let (key, next) = (slice(0x65, true), slice(0x41, true));
    let stream = [SPS, PPS, &key, &next, &next].concat();
    let whole = units(&[&stream], false);
    let begins = SPS.len() + PPS.len() + 3;
    for cut in 1..stream.len() {
        let (a, b) = stream.split_at(cut);
        let found = units(&[a, b], false);
        let bytes = |units: &[Unit]| units.iter().map(|u| u.bytes.clone()).collect::<Vec<_>>();
        assert_eq!(bytes(&found), bytes(&whole), "cut at {cut}");
        assert_eq!(
            found[0].tag,
            if cut > begins { 1 } else { 2 },
            "cut at {cut}"
        );
    }
}

#[test]
fn slices_as_short_as_the_peek_are_cut_alike() {
    for len in PEEK - 6..PEEK + 6 {
        let (mut key, mut next) = (slice(0x65, true), slice(0x41, true));
        key.truncate(START + len);
        next.truncate(START + len);
        let stream = [SPS, PPS, &key, &next, &[0], &next].concat();
        let whole = units(&[&stream], false);
        assert_eq!(whole.len(), 3, "{len} bytes");
        for cut in 1..stream.len() {
            let (a, b) = stream.split_at(cut);
            let same =
                |(one, other): (&Unit, &Unit)| one.bytes == other.bytes && one.key == other.key;
            let found = units(&[a, b], false);
            assert_eq!(found.len(), whole.len(), "{len} bytes, cut at {cut}");
            assert!(
                whole.iter().zip(&found).all(same),
                "{len} bytes, cut at {cut}"
            );
        }
    }
}

#[test]
fn whole_pieces_are_units_and_sets_await_a_slice() {
    let (key, next) = (slice(0x65, true), slice(0x41, true));
    let (mut units, mut params) = (Units::<H264>::default(), H264::default());
    let sets = [&[0], SPS, PPS].concat();
    units.push(1, &sets);
    assert_eq!(units.next(&mut params, true), None);
    units.push(2, &key);
    let unit = units.next(&mut params, true).unwrap();
    assert_eq!((unit.tag, unit.bytes), (2, [&sets[..], &key].concat()));
    units.push(3, &next);
    let unit = units.next(&mut params, true).unwrap();
    assert_eq!((unit.tag, unit.bytes), (3, next));
    assert_eq!(units.fault(), None);
}

#[test]
fn noise_is_reported_and_dropped() {
    let (mut units, mut params) = (Units::<H264>::default(), H264::default());
    for tag in 0..1000 {
        units.push(tag, &[0x77; 1000]);
        assert_eq!(units.next(&mut params, false), None);
        assert_eq!(units.fault().map(|(tag, _)| tag), Some(tag));
        assert!(units.bytes.len() < 10);
    }
    units.push(1, &[0; 1000]);
    assert_eq!(units.next(&mut params, false), None);
    assert!(units.fault().is_some(), "the last of the noise");
    units.push(2, &[0; 1000]);
    assert_eq!(units.next(&mut params, false), None);
    assert_eq!(units.fault(), None, "zeroes may stand between units");
}

#[test]
fn one_fault_is_reported_per_piece() {
    let (mut units, mut params) = (Units::<H264>::default(), H264::default());
    for tag in 1..4 {
        units.push(tag, &[0, 0, 1, 0x67].repeat(1000));
        assert_eq!(units.next(&mut params, true), None);
        assert_eq!(units.fault().map(|(tag, _)| tag), Some(tag));
        assert_eq!(units.fault(), None);
    }
}

#[test]
fn pieces_may_have_very_many_units() {
    const UNITS: usize = 100_000;
    let (mut units, mut params) = (Units::<H264>::default(), H264::default());
    let one = [0, 0, 1, 0x65, 0x88, 0x80];
    units.push(1, &one.repeat(UNITS));
    let cut = std::iter::from_fn(|| units.next(&mut params, true));
    assert_eq!(cut.filter(|unit| unit.bytes == one).count(), UNITS);
    assert!(units.bytes.is_empty() && units.pieces.len() <= 1);
}

#[test]
fn endless_units_are_dropped() {
    let (mut units, mut params) = (Units::<H264>::default(), H264::default());
    units.push(1, &slice(0x65, true));
    for tag in 2..40 {
        units.push(tag, &[0x77; 1 << 20]);
        assert_eq!(units.next(&mut params, false), None);
        assert!(units.bytes.len() <= MAX_UNIT + (1 << 20));
    }
    assert!(units.fault().unwrap().1.contains("more than"));
}

/// Each piece ends in a NAL unit that is too short to be judged.
#[test]
fn endless_units_in_short_pieces_are_dropped() {
    let (mut units, mut params) = (Units::<H264>::default(), H264::default());
    units.push(1, &slice(0x65, true));
    for tag in 2..40 {
        let piece = [&[0x77; 1 << 20][..], &[0, 0, 1, 0x41]].concat();
        units.push(tag, &piece);
        assert_eq!(units.next(&mut params, false), None);
        assert!(units.bytes.len() <= MAX_UNIT + (1 << 20) + 4);
    }
    assert!(units.fault().unwrap().1.contains("more than"));
}

#[test]
fn leading_noise_belongs_to_no_unit() {
    let (key, next) = (slice(0x65, true), slice(0x41, true));
    let stream = [&[0x85, 0, 7, 0][..], SPS, PPS, &key, &next].concat();
    for cut in 1..stream.len() {
        let (a, b) = stream.split_at(cut);
        let found = units(&[a, b], false);
        let first = found[0].bytes.iter().position(|byte| *byte != 0);
        let bare = &found[0].bytes[first.unwrap()..];
        assert_eq!(bare, &[&SPS[2..], PPS, &key].concat(), "cut at {cut}");
    }
    let (mut units, mut params) = (Units::<H264>::default(), H264::default());
    units.push(7, &stream);
    assert!(units.next(&mut params, false).is_some());
    let (tag, sentence) = units.fault().unwrap();
    assert_eq!(tag, 7);
    assert!(sentence.contains("no start code"), "{sentence}");
}

#[test]
fn long_start_codes_after_noise_are_whole() {
    let key = [&[0], SPS, PPS, &slice(0x65, true)].concat();
    let found = units(&[&[&[7][..], &key].concat()], true);
    assert_eq!(found[0].bytes, key);
}

/// A parameter set says whether a unit may have one field of a picture only.
#[test]
fn fields_are_known_before_the_first_slice() {
    // As SPS, but of the main profile, and without frame_mbs_only_flag.
    let fields = [0, 0, 1, 0x67, 0x4d, 0x40, 0x0a, 0xda, 0x10, 0x84, 0x80];
    for (set, has_fields) in [(SPS, false), (&fields[..], true)] {
        let (mut units, mut params) = (Units::<H264>::default(), H264::default());
        units.push(1, &[set, PPS, &slice(0x65, true)].concat());
        assert!(units.next(&mut params, true).is_some() && units.fault().is_none());
        assert_eq!(params.has_fields(), has_fields);
    }
}

#[test]
fn an_access_unit_consists_of_its_nal_units() {
    let nal_units = |bytes| nal_units(bytes).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(
        nal_units(&[0, 0, 0, 1, 7, 8, 0, 0, 1, 5]),
        [&[7, 8][..], &[5]]
    );
    assert_eq!(nal_units(&[9, 0, 0, 1, 0, 0, 1, 2]), [&[][..], &[2]]);
    assert!(nal_units(&[0, 0]).is_empty() && nal_units(&[0, 0, 1]) == [[0; 0]]);
}
