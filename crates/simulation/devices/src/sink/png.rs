//! Writes one PNG file per picture. RGB24 is written as it is. Y'CbCr is converted by [`Frame::to_rgb`], with
//! the matrix of the program's format.

use super::file::PictureFile;
use super::name::NumberedName;
use crate::Failure;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use vb3_picture::{Frame, Size};

/// Numbered PNG files. The first number is 0.
pub(super) struct PngFiles {
    name: NumberedName,
    next: u64,
}

impl PngFiles {
    pub(super) fn create(name: &str) -> Result<Self, Failure> {
        let numbered = NumberedName::new(name).ok_or_else(|| {
            Failure::new(format!(
                "{name} has no place for a number, as frames/%04d.png has"
            ))
        })?;
        if let Some(directory) = Path::new(name).parent() {
            std::fs::create_dir_all(directory).map_err(|e| {
                Failure::new(format!(
                    "cannot create the directory {}: {e}; record to other files",
                    directory.display()
                ))
            })?;
        }
        Ok(Self {
            name: numbered,
            next: 0,
        })
    }
}

impl PictureFile for PngFiles {
    fn write(&mut self, frame: &Frame) -> Result<(), Failure> {
        let path = self.name.with(self.next);
        self.next = self.next.saturating_add(1);
        let cannot = |e: &dyn std::fmt::Display| {
            Failure::new(format!(
                "cannot write {}: {e}; make room on the disk, or record to other files",
                path.display()
            ))
        };
        let file = File::create(&path).map_err(|e| cannot(&e))?;
        write_png(file, frame.size(), &frame.to_rgb()).map_err(|e| {
            // Removes the incomplete file.
            let _ = std::fs::remove_file(&path);
            cannot(&e)
        })
    }
}

pub(super) fn write_png(file: File, size: Size, rgb: &[u8]) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(BufWriter::new(file), size.width(), size.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()
}
