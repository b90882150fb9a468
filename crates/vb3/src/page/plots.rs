//! The pictures of a page, as SVG.

use crate::report::{DeviceReport, QueueReport, Report};
use crate::sentence::bytes;
use crate::timeline::{Stay, Stream};
use maud::{Markup, PreEscaped, html};
use plotters::prelude::{
    ChartBuilder, IntoDrawingArea as _, IntoFont as _, LineSeries, RGBColor, SVGBackend, WHITE,
};
use std::ops::Range;
use std::time::Duration;

/// Size of a plot in its own units; a page scales it.
const SIZE: (u32, u32) = (900, 220);
/// Most points of a plot: the highest of each group stands for the group.
const MOST_POINTS: usize = 1800;
/// Most stays drawn, and most rows of them.
const MOST_STAYS: usize = 1500;
const MOST_ROWS: usize = 32;

const BLUE: RGBColor = RGBColor(20, 80, 160);

/// Milliseconds from frame to frame.
pub(super) fn intervals(stream: &Stream) -> Markup {
    let points: Vec<(f64, f64)> = stream
        .frames
        .windows(2)
        .filter_map(|pair| {
            let (&before, &at) = (pair.first()?, pair.last()?);
            Some((
                at.as_secs_f64(),
                (at.checked_sub(before)?).as_secs_f64() * 1e3,
            ))
        })
        .collect();
    plot("Milliseconds since the frame before, over seconds", &points)
}

/// Buffers that the device has.
pub(super) fn depth(stream: &Stream) -> Markup {
    let mut points = Vec::new();
    let mut before = 0;
    for (at, depth) in stream.depth() {
        let at = at.as_secs_f64();
        // CAST: shown only, and no more than 1,024.
        points.extend([(at, before as f64), (at, depth as f64)]);
        before = depth;
    }
    plot("Buffers with the device, over seconds", &points)
}

/// Of each group of neighbours the highest, so that no peak is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(MOST_POINTS).max(1);
    let highest = points
        .chunks(group)
        .filter_map(|group| group.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)));
    highest.collect()
}

fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    low..high.max(low + 1e-3)
}

fn plot(title: &str, points: &[(f64, f64)]) -> Markup {
    if points.len() < 2 {
        return html! {};
    }
    let points = thinned(points);
    let across = range(points.iter().map(|&(x, _)| x));
    let up = 0.0..range(points.iter().map(|&(_, y)| y)).end * 1.05;
    let mut svg = String::new();
    match draw(&mut svg, title, &points, across, up) {
        Ok(()) => html! { figure role="img" aria-label=(title) { (PreEscaped(svg)) } },
        Err(why) => html! { p { "No plot: " (why) } },
    }
}

fn draw(
    svg: &mut String,
    title: &str,
    points: &[(f64, f64)],
    across: Range<f64>,
    up: Range<f64>,
) -> Result<(), String> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let said = |e: &dyn std::fmt::Display| e.to_string();
    area.fill(&WHITE).map_err(|e| said(&e))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 15).into_font())
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(across, up)
        .map_err(|e| said(&e))?;
    chart
        .configure_mesh()
        .x_labels(10)
        .y_labels(5)
        .draw()
        .map_err(|e| said(&e))?;
    let line = LineSeries::new(points.iter().copied(), BLUE);
    chart.draw_series(line).map_err(|e| said(&e))?;
    area.present().map_err(|e| said(&e))
}

/// A bar for each stay of a buffer with the device, a row for each buffer.
pub(super) fn stays(stream: &Stream) -> Markup {
    let mut indices: Vec<u64> = stream.stays.iter().map(|stay| stay.index).collect();
    indices.sort_unstable();
    indices.dedup();
    let rows = indices.len().min(MOST_ROWS);
    let drawn = stream.stays.get(..MOST_STAYS).unwrap_or(&stream.stays);
    let begin = drawn.iter().map(|stay| stay.from).min().unwrap_or_default();
    let end = drawn.iter().map(|stay| stay.to).max().unwrap_or_default();
    let left = 56.0;
    let width = f64::from(SIZE.0) - left - 8.0;
    let span = (end.saturating_sub(begin)).as_secs_f64().max(1e-6);
    let x = |at: Duration| left + at.saturating_sub(begin).as_secs_f64() / span * width;
    let height = 34 + rows * 14;
    let is_cut = drawn.len() < stream.stays.len() || rows < indices.len();
    html! {
        figure role="img" aria-label="When the device had which buffer" {
            svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (SIZE.0) " " (height) } width=(SIZE.0) height=(height) {
                text x=(left) y="14" font-size="15" font-family="sans-serif" {
                    "Each buffer with the device, from QBUF to DQBUF"
                }
                @for (row, index) in indices.iter().enumerate().take(rows) {
                    text x="2" y=(34 + row * 14) font-size="11" font-family="sans-serif" { "buffer " (index) }
                }
                @for stay in drawn {
                    @if let Some(row) = indices.binary_search(&stay.index).ok().filter(|row| *row < rows) {
                        (bar(stay, row, x(stay.from), x(stay.to)))
                    }
                }
            }
            @if is_cut {
                figcaption { "The first " (drawn.len()) " stays of the first " (rows) " buffers; there were " (stream.stays.len()) " of " (indices.len()) "." }
            }
        }
    }
}

fn bar(stay: &Stay, row: usize, from: f64, to: f64) -> Markup {
    let width = (to - from).max(0.5);
    let ms = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
    let end = if stay.is_done {
        "DQBUF"
    } else {
        "the end of the stream"
    };
    // Outlined, not only of another colour, where it did not come back by DQBUF.
    let (fill, stroke) = if stay.is_done {
        ("#1450a0", "none")
    } else {
        ("none", "#b00020")
    };
    html! {
        rect x=(format!("{from:.1}")) y=(25 + row * 14) width=(format!("{width:.1}")) height="10" fill=(fill) stroke=(stroke) {
            title { "buffer " (stay.index) ", " (ms(stay.from)) " to " (end) " at " (ms(stay.to)) }
        }
    }
}

/// The devices to the left and right of the program, with what went between them.
pub(super) fn way(report: &Report) -> Markup {
    let queues: Vec<(&DeviceReport, &QueueReport)> = report
        .devices
        .iter()
        .flat_map(|device| device.queues.iter().map(move |queue| (device, queue)))
        .filter(|(_, queue)| queue.frames > 0)
        .take(MOST_ROWS)
        .collect();
    if queues.is_empty() {
        return html! { p { "No frame went through a device." } };
    }
    let height = 20 + queues.len() * 64;
    html! {
        figure role="img" aria-label="Devices and the program, with the bytes of each hop" {
            svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 900 " (height) } width="900" height=(height) font-family="sans-serif" font-size="14" {
                defs { marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto" {
                    path d="M0 0L10 5L0 10z" {}
                } }
                (block(680, 10, height - 20, "the program", ""))
                @for (row, (device, queue)) in queues.iter().enumerate() {
                    (hop(device, queue, 10 + row * 64))
                }
            }
        }
    }
}

fn block(x: usize, y: usize, height: usize, title: &str, below: &str) -> Markup {
    html! {
        rect x=(x) y=(y) width="210" height=(height) rx="6" fill="#f4f6fa" stroke="#1450a0" {}
        text x=(x + 12) y=(y + 22) { (title) }
        text x=(x + 12) y=(y + 40) font-size="12" { (below) }
    }
}

fn hop(device: &DeviceReport, queue: &QueueReport, y: usize) -> Markup {
    // Frames of a capture queue come to the program.
    let to_program = queue.queue.contains("capture");
    let (from, to) = if to_program { (222, 678) } else { (678, 222) };
    let unless_none = |count, what| match count {
        0 => String::new(),
        count => format!(", {} {what}", bytes(count)),
    };
    let by_codec = unless_none(queue.bytes_copied_by_codec, "by the codec");
    let bounced = unless_none(queue.bytes_bounced, "bounced");
    let moved = unless_none(queue.bytes_moved, "moved");
    html! {
        (block(10, y, 52, &format!("{} {}", device.node, device.kind), &queue.queue))
        line x1=(from) y1=(y + 26) x2=(to) y2=(y + 26) stroke="#333" stroke-width="2" marker-end="url(#tip)" {}
        text x="450" y=(y + 18) text-anchor="middle" font-size="13" {
            (queue.frames) " frames by " (queue.memory) ", " (bytes(queue.bytes_copied)) " copied" (by_codec) (bounced) (moved)
        }
    }
}
