//! A contact sheet: rows of small pictures, each under a line that says what it is.

use super::Rgb;
use anyhow::{Context as _, Result};
use font8x8::UnicodeFonts as _;
use std::fs::File;
use std::path::Path;

/// Space between pictures, in pixels.
const GAP: usize = 6;
/// Height and width of a letter, in pixels.
const LETTER: usize = 8;
const BACKGROUND: u8 = 0x20;
const INK: u8 = 0xe0;

/// A row of the sheet.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Text above the picture.
    pub(crate) label: String,
    /// Side by side.
    pub(crate) pictures: Vec<Rgb>,
}

impl Row {
    fn width(&self) -> usize {
        let pictures = self.pictures.iter().map(|picture| picture.width + GAP);
        let text = self.label.chars().count() * LETTER + GAP;
        GAP + pictures.sum::<usize>().max(text)
    }

    fn height(&self) -> usize {
        let tallest = self.pictures.iter().map(|picture| picture.height).max();
        LETTER + GAP + tallest.unwrap_or(0) + GAP
    }
}

/// The sheet while it is drawn.
struct Canvas {
    width: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// Copies a line of pixels.
    fn put(&mut self, left: usize, top: usize, line: &[u8]) {
        let start = (top * self.width + left) * 3;
        if let Some(to) = self.pixels.get_mut(start..start + line.len()) {
            to.copy_from_slice(line);
        }
    }

    fn write(&mut self, left: usize, top: usize, text: &str) {
        for (place, letter) in text.chars().enumerate() {
            let glyph = font8x8::BASIC_FONTS.get(letter).unwrap_or_default();
            for (row, bits) in glyph.into_iter().enumerate() {
                for column in (0..LETTER).filter(|column| bits >> column & 1 != 0) {
                    self.put(left + place * LETTER + column, top + row, &[INK; 3]);
                }
            }
        }
    }
}

/// Writes a contact sheet as one PNG.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_sheet(path: &Path, rows: &[Row]) -> Result<()> {
    let width = rows.iter().map(Row::width).max().unwrap_or(GAP);
    let height = rows.iter().map(Row::height).sum::<usize>() + GAP;
    let mut canvas = Canvas {
        width,
        pixels: vec![BACKGROUND; width * height * 3],
    };
    let mut top = GAP;
    for row in rows {
        canvas.write(GAP, top, &row.label);
        let mut left = GAP;
        for picture in &row.pictures {
            let lines = picture.pixels.chunks_exact(picture.width * 3);
            for (n, line) in lines.enumerate() {
                canvas.put(left, top + LETTER + GAP + n, line);
            }
            left += picture.width + GAP;
        }
        top += row.height();
    }
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut encoder = png::Encoder::new(
        std::io::BufWriter::new(file),
        u32::try_from(width).context("the sheet is too wide")?,
        u32::try_from(height).context("the sheet is too high")?,
    );
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&canvas.pixels)?;
    writer
        .finish()
        .with_context(|| format!("cannot write {}", path.display()))
}
