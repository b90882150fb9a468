//! Programs give codecs inputs whose results are known.

use super::*;
use crate::plan::Plan;
use crate::tests::{expect_refusal, plan, stream};
use std::collections::BTreeSet;

fn output(sim: &mut Sim<'_>, node: usize) -> At {
    let queues = stream(sim, node);
    let is_output = |at: &At| sim.queue(*at).is_ok_and(|queue| queue.kind.output);
    queues.into_iter().find(is_output).unwrap()
}

fn codecs() -> Plan {
    plan(&[
        "jpegdec,size=64x48,format=NV12",
        "jpegenc,size=64x48,format=NV12",
        "convert,size=64x48,format=YUYV",
        "camera,size=64x48,sizes=64x48,format=YUYV",
    ])
}

#[test]
fn jpeg_file_has_its_size_and_few_contents() {
    let files: BTreeSet<_> = (0..40).map(|number| jpeg(64, 48, number)).collect();
    assert_eq!(files.len(), 16);
    // Each of the 11 more macroblocks has six blocks of two bits.
    let longer = jpeg(64, 48, 1).len() - jpeg(16, 16, 1).len();
    assert_eq!(longer, (11 * 6 * 2_usize).div_ceil(8));
    for file in files {
        assert!(file.starts_with(&[0xff, 0xd8]) && file.ends_with(&[0xff, 0xd9]));
        let frame = file
            .windows(4)
            .position(|bytes| bytes == [0xff, 0xc0, 0, 17]);
        let size = &file[frame.unwrap() + 5..][..4];
        assert_eq!(size, [0, 48, 0, 64]);
    }
}

#[test]
fn painted_inputs_suit_their_devices() {
    let plan = codecs();
    let mut sim = Sim::new(&plan, false).unwrap();
    for (node, few, pixel) in [(0, 8, JPEG), (1, 8, NV12), (2, 40, YUYV)] {
        let at = output(&mut sim, node);
        assert_eq!(sim.queue(at).unwrap().picture.2, pixel);
        let paint = |number| sim.painting(at, number).unwrap().unwrap();
        let all: BTreeSet<_> = (0..40).map(paint).collect();
        assert_eq!(all.len(), few);
        sim.queue_mut(at).unwrap().picture.2 = 0;
        assert_eq!(sim.painting(at, 0), Ok(None));
    }
    assert_eq!(sim.node_of((9, 0)).err(), Some(LOST.to_owned()));
}

#[test]
fn input_needs_the_format_of_its_queue() {
    let plan = codecs();
    let mut sim = Sim::new(&plan, false).unwrap();
    for (node, is_coded) in [(0, true), (1, false)] {
        let at = output(&mut sim, node);
        let (_, _, pixel, size) = sim.queue(at).unwrap().picture;
        let content = Content {
            sum: 1,
            len: size,
            pixel,
        };
        let short = Content {
            len: size - 1,
            ..content
        };
        let other = Content {
            pixel: !pixel,
            ..content
        };
        for (time_us, (content, is_known)) in
            (1..).zip([(content, true), (short, is_coded), (other, false)])
        {
            sim.note_input(at, time_us, (4, Some(content))).unwrap();
            let input = &sim.files[at.0].inputs[&time_us];
            assert_eq!((input.memory, input.content.is_some()), (4, is_known));
        }
    }
    expect_refusal(sim.note_input((9, 0), 1, (4, None)), LOST);
}
