//! Tests decoders and encoders with invented codecs, which do what their input says.

use super::bench::{Bench, device};
use super::{SIZE, flat_picture};
use crate::hosted::{HostedDevice as _, RESIZED};
use crate::m2m::{Decoder, Encoder};
use crate::tests::bench::FILLER;
use vb3_codec::{Codec, Config, Kind, Launch, Out, Planes, Stop, StreamFormat};
use vb3_queue::{BufferInfo, DriverError, Error};
use vb3_v4l2::{
    Command, CommandSet, ControlSpec, ControlValue, DriverEvent, EventKinds, Flow, Format,
    FormatFlags, FrameSizes, Planarity, Rect, SelectionFlags, SelectionTarget, VideoDriver as _,
    cid, pixfmt,
};

/// Input that the codec does not support.
const UNSUPPORTED: u8 = 0xee;
/// Damaged input.
const CORRUPT: u8 = 0xed;
/// Input that ends the codec.
const FATAL: u8 = 0xec;
/// Input with two answers.
const TWICE: u8 = 0xeb;
/// Damaged input that is reported twice.
const CORRUPT_TWICE: u8 = 0xea;

/// The part of the coded picture that is shown.
const VISIBLE: Rect = Rect::new(2, 4, SIZE.0, SIZE.1);

/// Decodes each piece to a picture of one luma. The field says whether the format was announced.
struct Pieces(bool);

impl Codec for Pieces {
    fn configure(&mut self, _: Config) {}

    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        let luma = match data.first() {
            Some(&UNSUPPORTED) => return out.unsupported(tag, "an unknown profile"),
            Some(&CORRUPT) => return out.corrupt(tag, "a broken slice"),
            Some(&FATAL) => return Err(Stop::Gone),
            luma => luma.copied().unwrap_or(0),
        };
        if !self.0 {
            self.0 = true;
            let mut format = StreamFormat::of_size(48, 32);
            format.visible.left = 2;
            format.visible.top = 4;
            (format.visible.width, format.visible.height) = SIZE;
            out.format(&format)?;
        }
        flat_picture(tag, (SIZE, luma), out)
    }

    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }

    fn flush(&mut self, _: &mut Out) {}
}

fn decoder() -> Bench<Decoder<u32>> {
    let launch = Launch::in_thread_with(|kind| {
        let is_right = kind == Kind::H264Decoder;
        is_right.then(|| Box::new(Pieces(false)) as Box<dyn Codec>)
    });
    let spec = "h264dec,size=64x48,format=NV12";
    Bench::new(device(spec, launch, Decoder::new))
}

/// Returns timestamp, error flag and last flag of a buffer.
fn said(info: &BufferInfo) -> (u64, bool, bool) {
    (info.timestamp_ns, info.error, info.last)
}

fn has_format(bench: &Bench<Decoder<u32>>) -> bool {
    bench.events.contains(&RESIZED)
}

/// Starts CAPTURE with buffers of the announced format.
fn start_pictures(bench: &mut Bench<Decoder<u32>>) {
    bench.until("the format", |bench| has_format(bench));
    let count = bench.make(Flow::Capture, 3);
    bench.start(Flow::Capture);
    (0..count).for_each(|index| bench.queue_empty(index));
}

#[test]
fn an_undecodable_picture_uses_a_buffer_of_its_format() {
    let mut bench = decoder();
    bench.make(Flow::Output, 2);
    bench.start(Flow::Output);
    // Before the format is known, there is no buffer.
    bench.send(0, &[&[UNSUPPORTED]], 1);
    bench.send(1, &[&[7]], 2);
    start_pictures(&mut bench);
    let (info, picture) = bench.receive();
    assert_eq!((said(&info), picture[0]), ((2, false, false), 7));
    assert_eq!(bench.device.statistics().dropped, 1);
    let failure = bench.device.failure().expect("a sentence").to_string();
    assert!(failure.contains("an unknown profile"), "{failure}");
    for (index, byte) in [(0, UNSUPPORTED), (1, CORRUPT), (0, 9)] {
        bench.take(Flow::Output);
        bench.send(index, &[&[byte]], u64::from(byte));
        if byte != CORRUPT {
            let (info, _) = bench.receive();
            assert_eq!(said(&info), (byte.into(), byte == UNSUPPORTED, false));
            bench.queue_empty(info.index);
        }
    }
    assert_eq!(bench.device.statistics().dropped, 3);
}

#[test]
fn a_dead_decoder_breaks_its_queues() {
    let mut bench = decoder();
    bench.make(Flow::Output, 2);
    bench.start(Flow::Output);
    bench.send(0, &[&[7]], 1);
    start_pictures(&mut bench);
    assert_eq!(said(&bench.take(Flow::Capture)), (1, false, false));
    bench.take(Flow::Output);
    bench.send(0, &[&[FATAL]], 2);
    bench.until("the end", |bench| {
        bench.try_take(Flow::Capture) == Err(Error::QueueError)
    });
    assert_eq!(bench.try_take(Flow::Output), Err(Error::QueueError));
    assert!(bench.device.failure().is_some());
    for flow in [Flow::Output, Flow::Capture] {
        bench.stop(flow);
    }
}

#[test]
fn a_decoder_shows_what_the_stream_shows() {
    let mut bench = decoder();
    let flags = SelectionFlags::empty();
    let of = |bench: &Bench<Decoder<u32>>, target| {
        let device = &bench.device;
        assert_eq!(device.selection(Flow::Output, target), None);
        device.selection(Flow::Capture, target)
    };
    let crops = [
        SelectionTarget::Crop,
        SelectionTarget::CropDefault,
        SelectionTarget::CropBounds,
    ];
    let guess = Some(Rect::whole(64, 48));
    assert_eq!(crops.map(|target| of(&bench, target)), [guess; 3]);
    assert_eq!(of(&bench, SelectionTarget::Compose), guess);
    bench.make(Flow::Output, 2);
    bench.start(Flow::Output);
    bench.send(0, &[&[7]], 1);
    bench.until("the format", |bench| has_format(bench));
    let (visible, coded) = (Some(VISIBLE), Some(Rect::whole(48, 32)));
    assert_eq!(
        crops.map(|target| of(&bench, target)),
        [visible, visible, coded]
    );
    let composed = Rect::whole(SIZE.0, SIZE.1);
    assert_eq!(of(&bench, SelectionTarget::Compose), Some(composed));
    let mut set = |target| {
        let wanted = Rect::new(0, 0, 8, 8);
        (bench.device).set_selection(Flow::Capture, target, wanted, flags)
    };
    assert_eq!(set(SelectionTarget::Compose), Ok(composed));
    assert_eq!(
        set(SelectionTarget::Crop).map_err(DriverError::errno),
        Err(22)
    );
    assert_eq!(bench.device.commands(), Some(CommandSet::Decoder));
    let events = EventKinds::EOS | EventKinds::SOURCE_CHANGE;
    assert_eq!(bench.device.events(), events);
}

#[test]
fn an_empty_piece_drains_once() {
    let mut bench = decoder();
    bench.make(Flow::Output, 4);
    bench.start(Flow::Output);
    bench.send(0, &[&[7]], 1);
    start_pictures(&mut bench);
    assert_eq!(said(&bench.take(Flow::Capture)), (1, false, false));
    bench.command(Command::Stop).expect("a drain begins");
    bench.send(1, &[&[]], 2);
    let end = bench.take(Flow::Capture);
    assert_eq!((said(&end), end.frame_flags), ((0, false, true), 0));
    assert_eq!(end.planes[0].map(|plane| plane.payload_bytes), Some(0));
    bench.work();
    let is_end = |event: &&DriverEvent| matches!(event, DriverEvent::Eos);
    assert_eq!(bench.events.iter().filter(is_end).count(), 1);
}

/// Puts into each packet how many pictures this codec has seen, and the picture's first byte.
struct Packets(u8);

impl Codec for Packets {
    fn configure(&mut self, _: Config) {}

    fn encode(
        &mut self,
        tag: u64,
        picture: &Planes<'_>,
        force_key: bool,
        out: &mut Out,
    ) -> Result<(), Stop> {
        self.0 += 1;
        let luma = picture.data[0][0];
        match luma {
            CORRUPT => out.corrupt(tag, "a bad picture"),
            CORRUPT_TWICE => {
                out.corrupt(tag, "a bad picture")?;
                out.corrupt(tag, "a bad picture")
            }
            FATAL => Err(Stop::Gone),
            TWICE => {
                out.packet(tag, force_key, &[&[self.0, luma]])?;
                out.packet(tag, force_key, &[&[self.0, luma]])
            }
            _ => out.packet(tag, force_key, &[&[self.0], &[luma]]),
        }
    }

    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }

    fn flush(&mut self, _: &mut Out) {}
}

/// Makes a streaming encoder of pictures of one byte value.
fn encoder(spec: &str) -> Bench<Encoder<u32>> {
    let launch = Launch::in_thread_with(|kind| {
        kind.encodes()
            .then(|| Box::new(Packets(0)) as Box<dyn Codec>)
    });
    let mut bench = Bench::new(device(spec, launch, Encoder::new));
    let format = Format::new(&pixfmt::NV12, SIZE.0, SIZE.1).expect("a picture");
    bench.set_format(Flow::Output, &format);
    bench.begin(2, 2);
    bench
}

const KEY: u32 = 0x8;

/// Encodes a picture. Returns flags, error and bytes of its packet.
fn encode(bench: &mut Bench<Encoder<u32>>, luma: u8) -> (u32, bool, Vec<u8>) {
    bench.send(0, &[&[luma; 32 * 16 * 3 / 2]], luma.into());
    let (info, bytes) = bench.receive();
    assert_eq!(info.timestamp_ns, u64::from(luma));
    let source = bench.take(Flow::Output);
    assert_eq!((source.index, source.error), (0, info.error));
    bench.queue_empty(info.index);
    (info.frame_flags & KEY, info.error, bytes)
}

#[test]
fn a_lost_picture_makes_the_next_one_a_key() {
    let mut bench = encoder("h264enc,size=32x16,format=NV12");
    assert_eq!(encode(&mut bench, 1), (0, false, vec![1, 1]));
    assert_eq!(encode(&mut bench, CORRUPT), (0, true, vec![]));
    assert_eq!(encode(&mut bench, 3), (KEY, false, vec![3, 3]));
    assert_eq!(encode(&mut bench, 4), (0, false, vec![4, 4]));
    let statistics = bench.device.statistics();
    assert_eq!((statistics.dropped, statistics.bus_faults), (1, 0));
    // The packet's buffer is no longer mapped.
    let lost = [0, 1].map(|index| bench.cookie(Flow::Capture, index));
    bench.memory.unmapped = lost.to_vec();
    assert_eq!(encode(&mut bench, 5), (0, true, vec![]));
    bench.memory.unmapped.clear();
    let statistics = bench.device.statistics();
    assert_eq!((statistics.dropped, statistics.bus_faults), (1, 1));
    assert_eq!(encode(&mut bench, 6), (KEY, false, vec![6, 6]));
    assert_eq!(bench.plane(Flow::Capture, 0, 0)[2], FILLER);
}

#[test]
fn a_second_answer_to_a_picture_is_ignored() {
    let mut bench = encoder("h264enc,size=32x16,format=NV12");
    assert_eq!(encode(&mut bench, TWICE), (0, false, vec![1, TWICE]));
    assert_eq!(encode(&mut bench, 2), (0, false, vec![2, 2]));
    assert_eq!(encode(&mut bench, 3), (0, false, vec![3, 3]));
    assert_eq!(encode(&mut bench, CORRUPT_TWICE), (0, true, vec![]));
    assert_eq!(encode(&mut bench, 5).2, [5, 5]);
}

#[test]
fn a_dead_encoder_breaks_its_queues() {
    let mut bench = encoder("h264enc,size=32x16,format=NV12");
    assert_eq!(encode(&mut bench, 1), (0, false, vec![1, 1]));
    bench.send(0, &[&[FATAL; 32 * 16 * 3 / 2]], 2);
    bench.until("the end", |bench| {
        bench.try_take(Flow::Capture) == Err(Error::QueueError)
    });
    assert_eq!(bench.try_take(Flow::Output), Err(Error::QueueError));
}

/// x265 is set up only once, so other settings need another codec.
#[test]
fn only_some_codecs_start_again_for_new_settings() {
    for (spec, is_new) in [("hevcenc", true), ("h264enc", false)] {
        let mut bench = encoder(&format!("{spec},size=32x16,format=NV12"));
        assert_eq!(encode(&mut bench, 1).2, [1, 1]);
        assert_eq!(encode(&mut bench, 2).2, [2, 2]);
        let value = ControlValue::Number(300_000);
        let set = bench.device.set_control(cid::MPEG_VIDEO_BITRATE, &value);
        assert_eq!(set, Ok(()));
        let count = if is_new { 1 } else { 3 };
        assert_eq!(encode(&mut bench, 3).2, [count, 3], "{spec}");
        assert_eq!(encode(&mut bench, 4).2, [count + 1, 4], "{spec}");
    }
}

/// As the kernel's converters do, for programs that crop the picture.
#[test]
fn a_short_picture_counts_as_whole() {
    let mut bench = encoder("h264enc,size=32x16,format=NV12");
    bench.plane(Flow::Output, 0, 0).fill(7);
    let queued = bench.queue(Flow::Output, 0, &[10], |_| {});
    assert!(queued.is_ok(), "{queued:?}");
    assert_eq!(bench.receive().1, [1, 7]);
    let source = bench.take(Flow::Output).planes[0];
    let whole = 32 * 16 * 3 / 2;
    assert_eq!(source.map(|plane| plane.payload_bytes), Some(whole));
}

#[test]
fn an_encoder_has_a_rate_and_an_end() {
    let bench = encoder("h264enc,size=32x16,format=NV12");
    assert_eq!(bench.device.commands(), Some(CommandSet::Encoder));
    assert_eq!(bench.device.events(), EventKinds::EOS);
    let intervals = bench.device.frame_intervals(&pixfmt::NV12, 32, 16);
    assert!(intervals.is_some());
    let decoder = decoder();
    let intervals = decoder.device.frame_intervals(&pixfmt::NV12, 32, 16);
    assert!(intervals.is_none());
}

#[test]
fn a_codec_says_what_it_is() {
    let (decoder, encoder) = (decoder().device, encoder("h264enc,name=Mine").device);
    assert_eq!(decoder.identity().driver, "videobuf3");
    assert_eq!(encoder.identity().card, "Mine");
    let planarities = [decoder.planarity(), encoder.planarity()];
    assert_eq!(planarities, [Planarity::Multi; 2]);
    let flags = |flow| {
        let pixel = &pixfmt::NV12;
        [
            decoder.format_flags(flow, pixel),
            encoder.format_flags(flow, pixel),
        ]
    };
    let none = FormatFlags::empty();
    let stream = FormatFlags::CONTINUOUS_BYTESTREAM | FormatFlags::DYN_RESOLUTION;
    assert_eq!(flags(Flow::Output), [stream, none]);
    let rate = FormatFlags::ENC_CAP_FRAME_INTERVAL;
    assert_eq!(flags(Flow::Capture), [none, rate]);
    for (sizes, edge) in [
        (decoder.frame_sizes(&pixfmt::H264), (64, 48)),
        (encoder.frame_sizes(&pixfmt::NV12), SIZE),
    ] {
        let FrameSizes::Stepwise { width, height } = sizes else {
            panic!("{sizes:?}");
        };
        assert!((width.0..=width.1).contains(&edge.0) && (height.0..=height.1).contains(&edge.1));
    }
    let has = |controls: Vec<ControlSpec>, id| controls.iter().any(|spec| spec.id == id);
    assert!(has(decoder.controls(), cid::MIN_BUFFERS_FOR_CAPTURE));
    assert!(has(encoder.controls(), cid::MPEG_VIDEO_BITRATE));
}
