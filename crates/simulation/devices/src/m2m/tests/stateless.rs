//! Tests the stateless decoder with an invented codec, whose slices say what the picture is.

use super::bench::{Bench, device};
use super::{SIZE, flat_picture};
use crate::RequestReader;
use crate::hosted::HostedDevice as _;
use crate::m2m::StatelessDecoder;
use std::mem::{offset_of, size_of};
use vb3_codec::{Codec, Config, Kind, Launch, Out, Stop, StreamFormat};
use vb3_queue::{BufferInfo, DriverError};
use vb3_v4l2::sys::{self, v4l2_ctrl_h264_sps as Sps, v4l2_ctrl_hevc_sps as HevcSps};
use vb3_v4l2::{CompoundType, ControlValue, Flow, Format, VideoDriver as _, cid, pixfmt};

const BYTES: usize = 32 * 16 * 3 / 2;

/// Start code, the NAL unit's type, and a slice header. A byte of the picture's luma follows.
const HEAD: [u8; 6] = [0, 0, 1, 0x65, 0x88, 0x80];
/// The luma of slices without picture.
const BROKEN: u8 = 0xee;

fn slice(luma: u8) -> Vec<u8> {
    HEAD.into_iter().chain([luma]).collect()
}

/// Decodes slices to pictures of one luma.
struct Slices {
    size: (u32, u32),
    has_announced: bool,
}

impl Codec for Slices {
    fn configure(&mut self, _: Config) {}

    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        let (width, height) = self.size;
        let luma = data.last().copied().unwrap_or(BROKEN);
        if luma == BROKEN {
            return out.corrupt(tag, "a broken slice");
        }
        if !self.has_announced {
            out.format(&StreamFormat::of_size(width, height))?;
            // A flush may have ended the announcement.
            self.has_announced = true;
        }
        flat_picture(tag, (self.size, luma), out)
    }

    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }

    fn flush(&mut self, _: &mut Out) {}
}

/// Returns the value of the control for the sequence's parameters.
fn parameters((width, height): (u32, u32)) -> ControlValue {
    let mut bytes = vec![0; size_of::<Sps>()];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(offset_of!(Sps, profile_idc), &[66]);
    put(offset_of!(Sps, chroma_format_idc), &[1]);
    let flags = sys::V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY;
    put(offset_of!(Sps, flags), &flags.to_ne_bytes());
    let blocks = |side: u32| u16::try_from(side / 16 - 1).unwrap().to_ne_bytes();
    put(offset_of!(Sps, pic_width_in_mbs_minus1), &blocks(width));
    put(
        offset_of!(Sps, pic_height_in_map_units_minus1),
        &blocks(height),
    );
    ControlValue::Compound(bytes)
}

/// Makes a decoder whose program has set the sequence's parameters.
fn bench() -> Bench<StatelessDecoder<u32>> {
    bench_of::<{ SIZE.0 }, { SIZE.1 }>()
}

/// Does the same for pictures of another size.
fn bench_of<const WIDTH: u32, const HEIGHT: u32>() -> Bench<StatelessDecoder<u32>> {
    let launch = Launch::in_thread_with(|kind| {
        let is_right = kind == Kind::H264StatelessDecoder;
        let slices = Slices {
            size: (WIDTH, HEIGHT),
            has_announced: false,
        };
        is_right.then(|| Box::new(slices) as Box<dyn Codec>)
    });
    let spec = "h264dec-stateless,size=32x16,format=NV12";
    let mut bench = Bench::new(device(spec, launch, StatelessDecoder::new));
    let set = bench
        .device
        .set_control(cid::STATELESS_H264_SPS, &parameters(SIZE));
    assert_eq!(set, Ok(()));
    bench
}

/// Queues a picture of one field or of a whole frame.
fn send(bench: &mut Bench<StatelessDecoder<u32>>, index: u32, luma: u8, (ns, flags): (u64, u32)) {
    let bytes = slice(luma);
    bench.plane(Flow::Output, index, 0)[..bytes.len()].copy_from_slice(&bytes);
    let queued = bench.queue(Flow::Output, index, &[bytes.len() as u64], |request| {
        (request.timestamp_ns, request.frame_flags) = (ns, flags);
    });
    assert!(queued.is_ok(), "{queued:?}");
}

/// Returns number, timestamp and error flag of a buffer.
fn said(info: &BufferInfo) -> (u32, u64, bool) {
    (info.sequence, info.timestamp_ns, info.error)
}

#[test]
fn each_request_gets_its_picture() {
    let mut bench = bench();
    bench.begin(2, 2);
    for (number, luma) in [(0, 10), (1, 20), (2, 30), (3, 40)] {
        let ns = u64::from(number) * 1000;
        send(&mut bench, number % 2, luma, (ns, 0));
        let (info, picture) = bench.receive();
        assert_eq!(said(&info), (number, ns, false));
        let mut wanted = vec![luma; 512];
        wanted.resize(BYTES, 128);
        assert!(picture == wanted);
        assert_eq!(said(&bench.take(Flow::Output)), (number, ns, false));
        bench.queue_empty(info.index);
    }
    assert_eq!(bench.device.statistics().dropped, 0);
}

/// A picture of odd size would leave a column and a line of a mapped buffer as they were.
#[test]
fn only_whole_pictures_are_decoded_into_buffers() {
    for (mut bench, maps) in [(bench(), true), (bench_of::<31, 15>(), false)] {
        bench.memory.maps = true;
        bench.begin(2, 2);
        send(&mut bench, 0, 10, (0, 0));
        assert_eq!(said(&bench.take(Flow::Capture)), (0, 0, false));
        assert_eq!(!bench.memory.files.is_empty(), maps);
    }
}

#[test]
fn what_cannot_be_decoded_is_flagged() {
    let mut bench = bench();
    bench.begin(2, 2);
    let wrong_size = parameters((64, 64));
    for (number, luma, dropped) in [(0, BROKEN, 1), (1, 7, 2), (2, 8, 2)] {
        let sps = if number == 1 {
            &wrong_size
        } else {
            &parameters(SIZE)
        };
        let set = bench.device.set_control(cid::STATELESS_H264_SPS, sps);
        assert_eq!(set, Ok(()));
        send(&mut bench, 0, luma, (1000, 0));
        let (info, _) = bench.receive();
        let is_lost = number < 2;
        assert_eq!(said(&info), (number, 1000, is_lost));
        assert_eq!(said(&bench.take(Flow::Output)), (number, 1000, is_lost));
        assert_eq!(bench.device.statistics().dropped, dropped);
        bench.queue_empty(info.index);
    }
    let failure = bench.device.failure().expect("a sentence").to_string();
    assert!(failure.contains("64x64"), "{failure}");
}

#[test]
fn a_held_buffer_gets_the_second_field() {
    const HOLD: u32 = sys::V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF;
    let mut bench = bench();
    bench.begin(2, 2);
    send(&mut bench, 0, 10, (1000, HOLD));
    assert_eq!(said(&bench.take(Flow::Output)), (0, 1000, false));
    assert!(bench.try_take(Flow::Capture).is_err(), "it is held");
    send(&mut bench, 0, 20, (1000, 0));
    let (info, picture) = bench.receive();
    assert_eq!((said(&info), picture[0]), ((0, 1000, false), 20));
    bench.queue_empty(info.index);
    // A picture of another time releases the held buffer. A broken first field leaves its mark.
    send(&mut bench, 1, BROKEN, (2000, HOLD));
    assert_eq!(said(&bench.take(Flow::Output)).1, 1000);
    assert_eq!(said(&bench.take(Flow::Output)), (2, 2000, true));
    send(&mut bench, 0, 30, (2000, HOLD));
    assert_eq!(said(&bench.take(Flow::Output)), (3, 2000, false));
    send(&mut bench, 1, 40, (3000, 0));
    let all = [(1, 2000, true), (2, 3000, false)];
    for wanted in all {
        assert_eq!(said(&bench.receive().0), wanted);
    }
}

#[test]
fn a_stopped_queue_ends_the_request() {
    let mut bench = bench();
    bench.begin(2, 2);
    for (number, flow) in [(0, Flow::Capture), (1, Flow::Output)] {
        send(&mut bench, 0, 50, (1000, 0));
        bench.tick();
        bench.stop(flow);
        bench.work();
        bench.start(flow);
        if flow == Flow::Capture {
            assert_eq!(said(&bench.take(Flow::Output)), (0, 1000, true));
            (0..2).for_each(|index| bench.queue_empty(index));
        }
        send(&mut bench, 1, 60, (2000, 0));
        let (info, picture) = bench.receive();
        assert_eq!((said(&info).1, picture[0]), (2000, 60), "{number}");
        bench.take(Flow::Output);
        bench.queue_empty(info.index);
    }
}

#[test]
fn capture_follows_the_size_of_output() {
    let mut bench = bench();
    let coded = |width, height| Format::new(&pixfmt::H264_SLICE, width, height).unwrap();
    let made = bench.set_format(Flow::Output, &coded(60, 40));
    assert_eq!((made.width, made.height), (64, 48), "whole macroblocks");
    let shown = bench.device.format(Flow::Capture);
    assert_eq!((shown.width, shown.height), (64, 48));
    let mut wanted = shown;
    (wanted.width, wanted.height) = (32, 16);
    let tried = bench.device.try_format(Flow::Capture, &wanted);
    assert_eq!((tried.width, tried.height), (64, 48));
    // A program that names no colours gets the usual ones.
    let mut wanted = coded(64, 48);
    for (named, set) in [(0, 3), (8, 8)] {
        wanted.color.colorspace = named;
        let tried = bench.device.try_format(Flow::Output, &wanted);
        assert_eq!(tried.color.colorspace, set);
    }
    let (same, other) = (coded(64, 48), coded(32, 16));
    let busy = |bench: &mut Bench<StatelessDecoder<u32>>, format| {
        let format = bench.device.try_format(Flow::Output, format);
        bench.device.set_format(Flow::Output, &format, true)
    };
    assert_eq!(busy(&mut bench, &same), Ok(()));
    assert_eq!(
        busy(&mut bench, &other).map_err(DriverError::errno),
        Err(16)
    );
}

#[test]
fn controls_are_checked_before_they_are_set() {
    let bench = bench();
    let id = cid::STATELESS_H264_SPS;
    let check = |value: &ControlValue| {
        bench
            .device
            .try_control(id, value)
            .map_err(DriverError::errno)
    };
    assert_eq!(check(&parameters(SIZE)), Ok(()));
    let ControlValue::Compound(mut bytes) = parameters(SIZE) else {
        panic!("a structure");
    };
    bytes[offset_of!(Sps, chroma_format_idc)] = 3;
    assert_eq!(check(&ControlValue::Compound(bytes)), Err(22));
    assert_eq!(check(&ControlValue::Number(1)), Ok(()));
    assert!(!bench.device.has_selection());
}

#[test]
fn a_withdrawn_buffer_ends_the_request() {
    let mut bench = bench();
    bench.begin(2, 1);
    send(&mut bench, 0, 50, (1000, 0));
    bench.tick();
    bench.withdraw(0);
    let info = bench.take(Flow::Capture);
    assert!(info.error);
    assert_eq!(said(&bench.take(Flow::Output)), (0, 1000, true));
}

/// Makes a reader of HEVC requests, whose sequence has 8-bit pictures of 64x64.
fn hevc(change: impl FnOnce(&mut [u8])) -> RequestReader {
    let mut reader = RequestReader::new(Kind::HevcStatelessDecoder).expect("a stateless codec");
    let mut sps = vec![0; size_of::<HevcSps>()];
    for at in [
        offset_of!(HevcSps, pic_width_in_luma_samples),
        offset_of!(HevcSps, pic_height_in_luma_samples),
    ] {
        sps[at..at + 2].copy_from_slice(&64_u16.to_ne_bytes());
    }
    sps[offset_of!(HevcSps, chroma_format_idc)] = 1;
    sps[offset_of!(HevcSps, log2_diff_max_min_luma_coding_block_size)] = 1;
    change(&mut sps);
    let set = reader.set(cid::STATELESS_HEVC_SPS, &sps);
    assert_eq!(set, Ok(()));
    reader
}

#[test]
fn a_reader_needs_the_codecs_controls() {
    assert!(RequestReader::new(Kind::H264Decoder).is_none());
    let mut reader = RequestReader::new(Kind::HevcStatelessDecoder).expect("a stateless codec");
    let controls: Vec<_> = reader.controls().collect();
    let sps = (cid::STATELESS_HEVC_SPS, CompoundType::HevcSps);
    assert!(controls.len() > 3 && controls.contains(&sps));
    let slice = || [[0, 0, 1, 0x26, 1].as_slice(), &[0xac; 32]].concat();
    assert!(reader.read((64, 64), slice(), 1).is_err(), "no sequence");
    let said = |mut reader: RequestReader, size| match reader.read(size, slice(), 1) {
        Ok(bytes) => panic!("{bytes:?}"),
        Err(sentence) => sentence,
    };
    let other = said(hevc(|_| {}), (128, 64));
    assert!(other.contains("64x64"), "{other}");
    let long = |sps: &mut [u8]| sps[offset_of!(HevcSps, num_long_term_ref_pics_sps)] = 2;
    let long = said(hevc(long), (64, 64));
    assert!(long.contains("2 long-term"), "{long}");
    let scaled = |sps: &mut [u8]| {
        let at = offset_of!(HevcSps, flags);
        let flag = vb3_codec::parameter_sets::hevc::sps_flag::SCALING_LIST_ENABLED;
        sps[at..at + 8].copy_from_slice(&flag.to_ne_bytes());
    };
    let scaled = said(hevc(scaled), (64, 64));
    assert!(scaled.contains("SCALING_MATRIX"), "{scaled}");
    let slice = hevc(|_| {}).read((64, 64), slice(), 1).expect("a picture");
    assert!(slice.windows(3).any(|bytes| bytes == [0x26, 1, 0xac]));
}
