//! The plots of a stream as SVG, all with the same time axis.

use super::marks::Mark;
use crate::timeline::{Stay, Stream};
use maud::{Markup, PreEscaped, html};
use plotters::prelude::{
    ChartBuilder, Color as _, IntoDrawingArea as _, LineSeries, PathElement, RGBColor, SVGBackend,
    WHITE,
};
use std::ops::Range;

/// Width of a plot, and height of a plot with axes, in SVG units. The page scales them.
const WIDTH: u32 = 1160;
const HEIGHT: u32 = 200;
/// Margins of the plotted area: to its left, above it (for the marks' labels), and to its right.
const LEFT: u32 = 64;
const TOP: u32 = 22;
const RIGHT: u32 = 8;
/// Margin below the plotted area.
const BELOW: u32 = 28;
/// Width of one letter of a mark's label, in SVG units.
const LETTER: f64 = 8.0;
/// Maximum number of points of a plot. Beyond it, neighbours are grouped; a group's highest point is drawn.
const MAX_POINTS: usize = 1800;
/// Maximum number of bars and of their rows. A bar is one stay of a buffer at the device.
const MAX_STAYS: usize = 1500;
const MAX_ROWS: usize = 32;

const BLUE: RGBColor = RGBColor(20, 80, 160);
const RED: RGBColor = RGBColor(176, 0, 32);

/// Draws all plots of a stream.
pub(super) fn plots(stream: &Stream, marks: &[Mark]) -> Markup {
    let across = span(stream, marks);
    let depth = if stream.stays.is_empty() {
        Vec::new()
    } else {
        depth(stream)
    };
    html! {
        (plot("Milliseconds since the previous frame, over time in seconds", &intervals(stream), &across, marks))
        (plot("Buffers that the device owns, over time in seconds", &depth, &across, marks))
        @if !stream.stays.is_empty() { (stays(stream, &across, marks)) }
    }
}

/// Returns the time range that the stream's plots show, in seconds.
fn span(stream: &Stream, marks: &[Mark]) -> Range<f64> {
    let frames = stream.frames.iter().map(|at| at.as_secs_f64());
    let stays = stream.stays.iter();
    let stays = stays.flat_map(|stay| [stay.from.as_secs_f64(), stay.to.as_secs_f64()]);
    let all = frames.chain(stays).chain(marks.iter().map(|mark| mark.at));
    range(all)
}

/// Returns the milliseconds from frame to frame.
fn intervals(stream: &Stream) -> Vec<(f64, f64)> {
    let pairs = stream.frames.windows(2);
    let points = pairs.filter_map(|pair| {
        let (&before, &at) = (pair.first()?, pair.last()?);
        let gap = at.checked_sub(before)?;
        Some((at.as_secs_f64(), gap.as_secs_f64() * 1e3))
    });
    points.collect()
}

/// Returns the points of the stepped line that shows how many buffers the device owns.
fn depth(stream: &Stream) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut before = 0;
    for &(at, depth) in &stream.depth {
        let at = at.as_secs_f64();
        // CAST: a displayed number, at most 1,024.
        points.extend([(at, before as f64), (at, depth as f64)]);
        before = depth;
    }
    points
}

/// Keeps the highest point of each group of neighbours, so that no peak is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(MAX_POINTS).max(1);
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

/// Converts a time to a horizontal position in the plot.
fn x(at: f64, across: &Range<f64>) -> f64 {
    let width = f64::from(WIDTH - LEFT - RIGHT);
    f64::from(LEFT) + (at - across.start) / (across.end - across.start) * width
}

fn plot(title: &str, points: &[(f64, f64)], across: &Range<f64>, marks: &[Mark]) -> Markup {
    if points.len() < 2 {
        return html! {};
    }
    let points = thinned(points);
    let up = 0.0..range(points.iter().map(|&(_, y)| y)).end * 1.05;
    let mut svg = String::new();
    if let Err(why) = draw(&mut svg, &points, across, up, marks) {
        return html! { p { "No plot: " (why) } };
    }
    let labels = labels(marks, across).into_string();
    let svg = svg.replace("</svg>", &format!("{labels}</svg>"));
    figure(title, html! { (PreEscaped(svg)) })
}

fn figure(title: &str, svg: Markup) -> Markup {
    html! {
        figure tabindex="0" role="group" aria-label=(title) {
            figcaption { (title) }
            div role="img" aria-label=(title) { (svg) }
        }
    }
}

fn draw(
    svg: &mut String,
    points: &[(f64, f64)],
    across: &Range<f64>,
    up: Range<f64>,
    marks: &[Mark],
) -> Result<(), String> {
    let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    let said = |e: &dyn std::fmt::Display| e.to_string();
    area.fill(&WHITE).map_err(|e| said(&e))?;
    let top = up.end;
    let mut chart = ChartBuilder::on(&area)
        .margin_top(TOP)
        .margin_right(RIGHT)
        .x_label_area_size(BELOW)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(across.clone(), up)
        .map_err(|e| said(&e))?;
    chart
        .configure_mesh()
        .x_labels(10)
        .y_labels(5)
        .draw()
        .map_err(|e| said(&e))?;
    let line = LineSeries::new(points.iter().copied(), BLUE);
    chart.draw_series(line).map_err(|e| said(&e))?;
    let lines = marks.iter().map(|mark| {
        let width = if mark.is_plug { 3 } else { 1 };
        PathElement::new([(mark.at, 0.0), (mark.at, top)], RED.stroke_width(width))
    });
    chart.draw_series(lines).map_err(|e| said(&e))?;
    area.present().map_err(|e| said(&e))
}

/// Labels the marks, plugs and unplugs first. Leaves out labels that would overlap others.
fn labels(marks: &[Mark], across: &Range<f64>) -> Markup {
    let mut taken: Vec<(f64, f64)> = Vec::new();
    let (plugs, faults): (Vec<&Mark>, Vec<&Mark>) = marks.iter().partition(|mark| mark.is_plug);
    let mut shown = Vec::new();
    for mark in plugs.into_iter().chain(faults) {
        let width = mark.label.chars().count() as f64 * LETTER;
        // A label at the right edge is moved to the left of its line.
        let from = x(mark.at, across).min(f64::from(WIDTH) - width);
        if taken
            .iter()
            .all(|(left, right)| from > *right || from + width < *left)
        {
            taken.push((from, from + width));
            shown.push((from, mark));
        }
    }
    html! {
        @for (from, mark) in shown {
            text x=(format!("{from:.1}")) y=(TOP - 6) font-size="13" font-family="sans-serif" fill="#b00020" { (mark.label) }
        }
    }
}

/// Draws a row for each buffer, with a bar for each time that the device owned it.
fn stays(stream: &Stream, across: &Range<f64>, marks: &[Mark]) -> Markup {
    let mut indices: Vec<u64> = stream.stays.iter().map(|stay| stay.index).collect();
    indices.sort_unstable();
    indices.dedup();
    let rows = indices.len().min(MAX_ROWS);
    let drawn = stream.stays.get(..MAX_STAYS).unwrap_or(&stream.stays);
    let is_cut = drawn.len() < stream.stays.len() || rows < indices.len();
    let title = "Buffers that the device owns, each from QBUF to DQBUF";
    let height = TOP as usize + rows * 14 + 4;
    let svg = html! {
        svg.stays xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (height) } width=(WIDTH) height=(height) font-family="sans-serif" {
            @for (row, index) in indices.iter().enumerate().take(rows) {
                text x="2" y=(TOP as usize + 9 + row * 14) font-size="11" { "buffer " (index) }
            }
            @for stay in drawn {
                @if let Some(row) = indices.binary_search(&stay.index).ok().filter(|row| *row < rows) {
                    (bar(stay, TOP as usize + row * 14, across))
                }
            }
            @for mark in marks {
                @let at = format!("{:.1}", x(mark.at, across));
                line x1=(at) x2=(at) y1=(TOP) y2=(height) stroke="#b00020" stroke-width=(if mark.is_plug { 3 } else { 1 }) {}
            }
            (labels(marks, across))
        }
    };
    html! {
        (figure(title, svg))
        @if drawn.iter().any(|stay| !stay.is_done) {
            p { "Outlined: the stream ended before DQBUF returned the buffer." }
        }
        @if is_cut {
            p { "Shows the first " (drawn.len()) " of " (stream.stays.len()) " bars, and " (rows) " of " (indices.len()) " buffers." }
        }
    }
}

fn bar(stay: &Stay, y: usize, across: &Range<f64>) -> Markup {
    let (from, to) = (
        x(stay.from.as_secs_f64(), across),
        x(stay.to.as_secs_f64(), across),
    );
    let width = (to - from).max(0.5);
    let ms = |time: std::time::Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
    let end = if stay.is_done {
        "DQBUF"
    } else {
        "the end of the stream"
    };
    // Buffers that DQBUF did not return are outlined, since not all readers can tell the colours apart.
    let (fill, stroke) = if stay.is_done {
        ("#1450a0", "none")
    } else {
        ("none", "#6b6b6b")
    };
    html! {
        rect x=(format!("{from:.1}")) y=(y) width=(format!("{width:.1}")) height="10" fill=(fill) stroke=(stroke) {
            title { "buffer " (stay.index) ", " (ms(stay.from)) " to " (end) " at " (ms(stay.to)) }
        }
    }
}
