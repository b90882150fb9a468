use super::*;

fn ring() -> (Arc<Ring>, Socket) {
    let (ours, theirs) = Socket::pair().unwrap();
    let link = Arc::new(Link::new(Socket::new(ours)));
    (
        Arc::new(Ring::new(&link, 7, 100, Chroma::Planar).unwrap()),
        Socket::new(theirs),
    )
}

#[test]
fn impossible_slots_are_refused() {
    let (ring, _theirs) = ring();
    let fits = ring.slot_len as u64;
    assert!(ring.take(OUTPUT_SLOTS as u64, 1).is_none());
    assert!(ring.take(u64::MAX, 1).is_none());
    assert!(ring.take(0, fits + 1).is_none());
    let held = ring.take(0, fits).unwrap();
    assert!(ring.take(0, 1).is_none(), "it is in use");
    drop(held);
    assert!(ring.take(0, 1).is_some());
}

#[test]
fn dropping_a_picture_releases_its_slot() {
    let (ring, theirs) = ring();
    drop(ring.take(3, 10));
    let crate::socket::Received::Message(message, None) = theirs.receive(false) else {
        panic!("no message");
    };
    assert_eq!(message, Message::new(Op::Release, &[7, 3]));
}

#[test]
fn odd_sizes_round_chroma_up() {
    let layout = Layout::new(5, 3).unwrap();
    assert_eq!((layout.luma, layout.chroma, layout.len()), (15, 6, 27));
    assert_eq!(Layout::new(MAX_WIDTH + 1, 16), None);
    assert_eq!(Layout::new(0, 16), None);
    let full = Layout::sampled(5, 3, crate::Subsampling::Yuv422).unwrap();
    assert_eq!((full.plane(1), full.len()), ((3, 3), 15 + 2 * 9));
    let largest = Layout::sampled(MAX_WIDTH, crate::MAX_HEIGHT, crate::Subsampling::Yuv422);
    assert!(largest.unwrap().len() <= crate::MAX_INPUT);
}

#[test]
fn pictures_are_copied_without_gaps() {
    let layout = Layout::new(3, 2).unwrap();
    let (y, c) = ([1, 2, 3, 9, 4, 5, 6], [7, 8]);
    let from = |y| Planes {
        width: 3,
        height: 2,
        data: [y, &c, &c],
        strides: [4, 2, 2],
    };
    let mut bytes = vec![0; layout.len()];
    assert!(copy(
        &layout,
        &from(&y),
        layout.split_mut(&mut bytes).unwrap()
    ));
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 7, 8]);
    let short = layout.split_mut(&mut bytes).unwrap();
    assert!(!copy(&layout, &from(&y[..6]), short), "a byte is missing");
}

#[test]
fn chroma_joins_incomplete_blocks() {
    // One block of the vectorised loop and one more sample, in rows with gaps.
    let layout = Layout::new(33, 3).unwrap();
    let y = vec![1; layout.luma];
    let plane = |first: u8| -> Vec<u8> { (0..2 * 20).map(|i| first + i).collect() };
    let (u, v) = (plane(0), plane(100));
    let from = |v| Planes {
        width: 33,
        height: 3,
        data: [&y, &u, v],
        strides: [33, 20, 20],
    };
    let mut bytes = vec![0; layout.len()];
    assert!(pack(&layout, &from(&v), Chroma::Pairs, &mut bytes));
    let (luma, chroma) = bytes.split_at(layout.luma);
    assert!(luma.iter().all(|y| *y == 1));
    let row = |from: u8| (from..from + 17).flat_map(|i| [i, 100 + i]);
    assert_eq!(chroma, row(0).chain(row(20)).collect::<Vec<_>>());
    let short = v.get(..36).unwrap();
    assert!(!pack(&layout, &from(short), Chroma::Pairs, &mut bytes));
    let end = bytes.len() - 1;
    assert!(!pack(&layout, &from(&v), Chroma::Pairs, &mut bytes[..end]));
}

#[test]
fn ten_bit_samples_use_the_upper_bits() {
    let layout = Layout::with_bits(3, 2, 10).unwrap();
    assert_eq!((layout.luma, layout.chroma, layout.len()), (12, 4, 20));
    assert_eq!(Layout::with_bits(3, 2, 12), None);
    let row =
        |samples: &[u16]| -> Vec<u8> { samples.iter().flat_map(|s| s.to_le_bytes()).collect() };
    // The plane Y has a gap after each row.
    let (y, u, v) = (row(&[1, 2, 3, 9, 4, 5, 1023]), row(&[6, 7]), row(&[8, 512]));
    let from = Planes {
        width: 3,
        height: 2,
        data: [&y, &u, &v],
        strides: [8, 4, 4],
    };
    let mut bytes = vec![0; layout.len()];
    assert!(pack(&layout, &from, Chroma::Pairs, &mut bytes));
    let up = |samples: &[u16]| row(&samples.iter().map(|s| s << 6).collect::<Vec<_>>());
    assert_eq!(bytes, up(&[1, 2, 3, 4, 5, 1023, 6, 8, 7, 512]));
    assert!(pack(&layout, &from, Chroma::Planar, &mut bytes));
    assert_eq!(bytes, up(&[1, 2, 3, 4, 5, 1023, 6, 7, 8, 512]));
}
