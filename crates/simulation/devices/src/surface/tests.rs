//! Tests the places of a picture's bytes in planes of all sizes.

use super::*;
use proptest::prelude::*;

/// Returns a format with this many bytes from line to line in each memory plane.
fn padded(pixel: &'static PixelFormat, (width, height): (u32, u32), padding: u32) -> Format {
    let mut format = Format::new(pixel, width, height).expect("a picture");
    for (index, plane) in format.planes.iter_mut().enumerate().take(format.num_planes) {
        let line = plane.bytesperline + padding;
        let layout = pixel.plane_layout(index, width, height, line, line);
        *plane = layout.expect("a small plane");
    }
    format
}

/// The numbers of a buffer's planes before and after its driver has seen them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbers {
    lengths: Vec<u64>,
    payloads: Vec<u64>,
    offsets: Vec<u64>,
    field: u32,
}

impl Numbers {
    fn new(lengths: &[u64], payloads: &[u64], offsets: &[u64]) -> Self {
        Self {
            lengths: lengths.into(),
            payloads: payloads.into(),
            offsets: offsets.into(),
            field: FIELD_ANY,
        }
    }

    fn show<R>(&mut self, see: impl FnOnce(&mut Prepare<'_>) -> R) -> R {
        see(&mut Prepare {
            index: 0,
            lengths: &self.lengths,
            payloads: &mut self.payloads,
            data_offsets: &mut self.offsets,
            field: &mut self.field,
        })
    }

    /// Returns the payloads after `prepare`.
    fn prepared(mut self, format: &Format, flow: Flow) -> Result<Vec<u64>, DriverError> {
        self.show(|buffer| Surface(format).prepare(buffer, flow))?;
        assert_eq!(self.field, FIELD_NONE);
        Ok(self.payloads)
    }
}

#[test]
fn a_buffer_must_hold_a_whole_picture() {
    let format = Format::new(&pixfmt::NV12M, 16, 8).expect("a picture");
    let (y, uv) = (16 * 8, 16 * 4);
    let capture = |lengths: &[u64]| {
        let unused = vec![0; lengths.len()];
        Numbers::new(lengths, &unused, &unused).prepared(&format, Flow::Capture)
    };
    assert_eq!(capture(&[y, uv]), Ok(vec![y, uv]));
    assert_eq!(capture(&[2 * y, uv + 1]), Ok(vec![y, uv]));
    for short in [[y - 1, uv].as_slice(), &[y, uv - 1], &[y]] {
        assert_eq!(capture(short), Err(EINVAL), "{short:?}");
    }
    let output = |lengths: [u64; 2], payloads: [u64; 2], offsets: [u64; 2]| {
        Numbers::new(&lengths, &payloads, &offsets).prepared(&format, Flow::Output)
    };
    let large = [y + 64, uv + 64];
    assert_eq!(output(large, [y, uv], [0; 2]), Ok(vec![y, uv]));
    assert_eq!(output(large, [y + 7, uv], [7, 0]), Ok(vec![y + 7, uv]));
    for (lengths, payloads, offsets) in [
        (large, [y - 1, uv], [0, 0]),
        (large, [y, uv], [0, 1]),
        // A payload beyond the buffer's end counts up to the end.
        ([y, uv - 1], [y, uv + 9], [0, 0]),
    ] {
        let prepared = output(lengths, payloads, offsets);
        assert_eq!(prepared, Err(EINVAL), "{payloads:?} {offsets:?}");
    }
}

#[test]
fn a_compressed_picture_has_any_length() {
    let format = Format::new(&pixfmt::MJPEG, 16, 8).expect("a picture");
    let numbers = Numbers::new(&[100], &[3], &[0]);
    let prepared = |flow| numbers.clone().prepared(&format, flow);
    assert_eq!(prepared(Flow::Capture), Ok(vec![0]));
    assert_eq!(prepared(Flow::Output), Ok(vec![3]));
    let mut changed = numbers.clone();
    changed.show(|buffer| Surface(&format).extend_payloads(buffer));
    assert_eq!(changed, numbers);
    changed.show(|buffer| Surface(&format).limit_payloads(buffer));
    assert_eq!((changed.payloads, changed.field), (vec![3], FIELD_NONE));
}

#[test]
fn payloads_become_whole_pictures() {
    let format = Format::new(&pixfmt::GREY, 16, 8).expect("a picture");
    for (payload, offset, extended, limited) in [
        (0, 0, 128, 0),
        (127, 0, 128, 127),
        (128, 9, 137, 128),
        (500, 9, 500, 128),
    ] {
        let numbers = Numbers::new(&[1000], &[payload], &[offset]);
        let mut changed = numbers.clone();
        changed.show(|buffer| Surface(&format).extend_payloads(buffer));
        assert_eq!(changed.payloads, [extended]);
        let mut changed = numbers;
        changed.show(|buffer| Surface(&format).limit_payloads(buffer));
        assert_eq!(changed.payloads, [limited]);
    }
}

#[test]
fn further_buffers_are_at_least_as_large() {
    let format = Format::new(&pixfmt::NV12M, 16, 8).expect("a picture");
    let needed = [128, 64];
    let sizes = |sizes: &[u64]| PlaneSizes::new(sizes).expect("sizes");
    let setup = |create: Option<&[u64]>| {
        let create = create.map(sizes);
        Surface(&format).queue_setup(create.as_ref())
    };
    assert_eq!(setup(None), Ok(sizes(&needed)));
    for large in [[128, 64], [129, 64], [128, 4096]] {
        assert_eq!(setup(Some(&large)), Ok(sizes(&large)));
    }
    for bad in [[127, 64].as_slice(), &[128, 63], &[128], &[128, 64, 64]] {
        assert_eq!(setup(Some(bad)), Err(EINVAL), "{bad:?}");
    }
}

/// A plane with a number as cookie.
fn plane(cookie: u32, length_bytes: u64, payload_bytes: u64, data_offset: u64) -> PlaneView<u32> {
    PlaneView {
        cookie,
        length_bytes,
        payload_bytes,
        data_offset,
    }
}

/// Returns the places of a rectangle's lines: plane, offset, bytes of a line, lines, pitch.
fn places(
    format: &Format,
    planes: &[PlaneView<u32>],
    flow: Flow,
    rect: Rect,
) -> Result<Vec<[u64; 5]>, Trouble> {
    let lines = Surface(format).rect_lines_in(|index| Ok(planes.get(index)), flow, rect)?;
    let place = |at: &Lines<'_, u32>| {
        [
            u64::from(*at.cookie),
            at.offset,
            at.line_bytes,
            at.count,
            at.pitch,
        ]
    };
    Ok(lines.iter().map(place).collect())
}

#[test]
fn a_rectangle_has_its_place_in_each_component() {
    let rect = Rect::new(4, 2, 8, 4);
    let one = padded(&pixfmt::NV12, (16, 8), 4);
    let whole = 20 * 12;
    let found = |length, payload, offset, flow| {
        places(&one, &[plane(7, length, payload, offset)], flow, rect)
    };
    let y = [7, 2 * 20 + 4, 8, 4, 20];
    let uv = [7, 20 * 8 + 20 + 4, 8, 2, 20];
    assert_eq!(found(whole, 0, 0, Flow::Capture), Ok(vec![y, uv]));
    let short = Err(Trouble::TooSmall);
    assert_eq!(found(whole - 1, 0, 0, Flow::Capture), short);
    // At OUTPUT, the bytes are those of the program.
    assert_eq!(found(whole, whole, 0, Flow::Output), Ok(vec![y, uv]));
    assert_eq!(found(whole, whole - 1, 0, Flow::Output), short);
    assert_eq!(found(whole, whole + 5, 5, Flow::Output), short);
    let moved = |mut place: [u64; 5]| {
        place[1] += 5;
        place
    };
    let after = found(whole + 5, whole + 5, 5, Flow::Output);
    assert_eq!(after, Ok(vec![moved(y), moved(uv)]));

    let two = padded(&pixfmt::NV12M, (16, 8), 0);
    let planes = [plane(1, 128, 0, 0), plane(2, 64, 0, 0)];
    let wanted = vec![[1, 2 * 16 + 4, 8, 4, 16], [2, 16 + 4, 8, 2, 16]];
    assert_eq!(places(&two, &planes, Flow::Capture, rect), Ok(wanted));
    assert_eq!(places(&two, &planes[..1], Flow::Capture, rect), short);
    assert_eq!(Surface(&two).rect_bytes(rect), Some(8 * 4 + 8 * 2));
}

#[test]
fn a_rectangle_lies_within_the_picture() {
    let format = Format::new(&pixfmt::GREY, 16, 8).expect("a picture");
    let planes = [plane(1, 128, 0, 0)];
    for (rect, fits) in [
        (Rect::new(0, 0, 16, 8), true),
        (Rect::new(14, 6, 2, 2), true),
        (Rect::new(2, 0, 16, 8), false),
        (Rect::new(0, 2, 16, 8), false),
        (Rect::new(2, 0, u32::MAX, 8), false),
        (Rect::new(0, 2, 16, u32::MAX), false),
    ] {
        let found = places(&format, &planes, Flow::Capture, rect);
        assert_eq!(found.is_ok(), fits, "{rect:?}");
    }
}

#[test]
fn lines_become_longer_by_the_stride() {
    let pixels: &[&'static PixelFormat] = &[&pixfmt::NV12, &pixfmt::MJPEG];
    let format = Format::new(&pixfmt::NV12, 100, 8).expect("a picture");
    let aligned = |stride| align_lines(format, pixels, stride);
    for stride in [0, 1, 4, 50] {
        assert_eq!(aligned(stride), Some(format), "{stride}");
    }
    let longer = aligned(64).expect("short lines");
    assert_eq!((longer.width, longer.height), (100, 8));
    let plane = longer.planes[0];
    assert_eq!((plane.bytesperline, plane.sizeimage), (128, 128 * 12));
    assert_eq!(longer.color, format.color);
    let mut long = format;
    long.planes[0].bytesperline = u32::MAX - 1;
    assert_eq!(align_lines(long, pixels, 64), None);
}

#[test]
fn an_outcome_counts_faults_only() {
    let mut statistics = Statistics::default();
    let mut after = |moved| {
        let outcome = outcome(moved, &mut statistics);
        (outcome, statistics.bus_faults)
    };
    assert_eq!(after(Ok(3)), (Some((Ok(()), Some(3))), 0));
    assert_eq!(after(Err(Trouble::Stale)), (None, 0));
    let lost = Some((Err(DriverError::EIO), None));
    assert_eq!(after(Err(Trouble::Fault)), (lost, 1));
    assert_eq!(after(Err(Trouble::TooSmall)), (lost, 2));
}

proptest! {
    /// Pieces of any size move each byte of a picture once, in order, from its place in its plane.
    #[test]
    fn pieces_of_any_size_move_each_byte_once(
        (width, height) in (1..20_u32, 1..12_u32),
        padding in 0..3_u32,
        pieces in proptest::collection::vec(1..200_usize, 1..8),
    ) {
        let size = (2 * width, 2 * height);
        let format = padded(&pixfmt::YUV420, size, 2 * padding);
        let planes = [plane(1, 1 << 20, 0, 0)];
        let whole = Rect::whole(size.0, size.1);
        let surface = Surface(&format);
        let all = surface.rect_lines_in(|index| Ok(planes.get(index)), Flow::Capture, whole);
        let all = all.expect("a large plane");
        let wanted: Vec<(usize, u64)> = all
            .iter()
            .enumerate()
            .flat_map(|(component, lines)| {
                let line = |line| lines.offset + line * lines.pitch;
                let bytes = move |start| (start..start + lines.line_bytes).map(move |at| (component, at));
                (0..lines.count).flat_map(move |index| bytes(line(index)))
            })
            .collect();
        prop_assert_eq!(Some(wanted.len()), surface.rect_bytes(whole));
        let (mut found, mut cursor) = (Vec::new(), PictureCursor::default());
        for piece in pieces.iter().cycle() {
            let (mut left, before) = (*piece, found.len());
            let is_complete = resume(&all, &mut cursor, &mut left, |run| {
                assert_eq!(run.in_all().start, found.len());
                let len = run.packed.len() as u64;
                found.extend((run.offset..run.offset + len).map(|at| (run.component, at)));
                Ok(())
            });
            prop_assert_eq!(found.len() - before, piece - left);
            match is_complete {
                Ok(false) => prop_assert_eq!(left, 0),
                complete => {
                    prop_assert_eq!(complete, Ok(true));
                    break;
                }
            }
        }
        prop_assert!(found == wanted);
    }
}

/// Nothing writes to the memory before its first use.
#[test]
fn fitted_memory_is_not_written() {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/thread-self/statm").expect("it is readable");
        let pages: Option<usize> = pages.split(' ').nth(1).and_then(|n| n.parse().ok());
        pages.expect("a number") * 4096
    };
    let len = 1 << 30;
    let (mut bytes, before) = (vec![7; 5], resident());
    fit(&mut bytes, len);
    assert!(resident() < before + len / 2);
    assert_eq!((bytes.len(), bytes[len - 1]), (len, 0));
    fit(&mut bytes, 3);
    assert_eq!(bytes.len(), 3);
}
