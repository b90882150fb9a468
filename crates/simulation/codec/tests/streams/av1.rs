//! Headers of AV1, as ffmpeg's `trace_headers` reads them.

mod draw;
mod elements;

use crate::headers::{Elements, assert_same, traced};
use crate::tools::{ffmpeg_is_here, ivf};
use draw::{Draw, uniform};
use rand_pcg::Pcg32;
use vb3_codec::av1::{Known, frame, frame_flag, frame_type};

/// Returns the sizes of tiles along one side, as a header codes them.
fn sizes(found: &Elements, sizes: &str, log2: &str, total: u32) -> Vec<u32> {
    let number = |name: &str| found.get(name).map(|value| u32::try_from(*value).unwrap());
    match number("uniform_tile_spacing_flag").unwrap() {
        1 => uniform(total, number(log2).unwrap()),
        _ => (0..)
            .map_while(|at| number(&format!("{sizes}[{at}]")))
            .map(|less_one| less_one + 1)
            .collect(),
    }
}

/// A wrong bit moves all elements after it, so an error in one element shows in others.
#[test]
fn ffmpeg_reads_random_headers() {
    if !ffmpeg_is_here() {
        return;
    }
    let mut draw = Draw {
        random: Pcg32::new(1, 1),
        hints: [0; 8],
    };
    let (mut units, mut wanted) = (Vec::new(), Vec::new());
    for _ in 0..150 {
        let sequence = draw.sequence();
        for at in 0..6 {
            let kind = if at == 0 {
                frame_type::KEY
            } else {
                draw.below(4)
            };
            let mut header = draw.header(&sequence, kind);
            if at == 0 {
                header.flags |= frame_flag::SHOW_FRAME;
            }
            let known = Known {
                order_hints: draw.hints,
                ..Known::default()
            };
            let tiles = vec![&b"tile"[..]; header.tiles.columns.len() * header.tiles.rows.len()];
            let limit = tiles.len().min(256);
            header.tiles.context_update_tile_id = draw.byte(limit.try_into().unwrap());
            units.push(frame(&sequence, &header, &known, &tiles).unwrap());
            let of_frame = elements::of_frame(&header, &draw.hints);
            wanted.push((
                elements::of_sequence(&sequence),
                of_frame,
                header.tiles.clone(),
            ));
            draw.keep(&header);
        }
    }
    let titles = ["Sequence Header", "Frame Header"];
    let frames = (0..)
        .zip(units.iter().map(Vec::as_slice))
        .collect::<Vec<_>>();
    let file = ivf(*b"AV01", [64, 64], &frames);
    let found = traced((&file, "ivf"), titles, wanted.len());
    for (at, ([sequence, frame], (of_sequence, of_frame, tiles))) in
        found.iter().zip(&wanted).enumerate()
    {
        assert!(of_sequence.keys().all(|name| sequence.contains_key(name)));
        assert_same(at, sequence, of_sequence);
        assert!(
            frame.contains_key("reduced_tx_set"),
            "header {at}: {frame:#?}"
        );
        assert_same(at, frame, of_frame);
        let total = |sizes: &[u32]| sizes.iter().sum();
        let columns = sizes(
            frame,
            "width_in_sbs_minus_1",
            "tile_cols_log2",
            total(&tiles.columns),
        );
        let rows = sizes(
            frame,
            "height_in_sbs_minus_1",
            "tile_rows_log2",
            total(&tiles.rows),
        );
        assert_eq!(
            (columns, rows),
            (tiles.columns.clone(), tiles.rows.clone()),
            "header {at}"
        );
    }
}
