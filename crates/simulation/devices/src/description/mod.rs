//! Descriptions of real cameras: files with a device's answers to calls, and its frames' times and sizes.
//!
//! [`File`] is a file's contents. [`Description`] is the checked form, which a simulated camera imitates.
//! [`describe`] asks a real device for the facts.

mod check;
mod clone;
mod file;
mod rhythm;

use crate::mode::uvc_size;
use crate::place::UVC;
pub use clone::{describe, measure, print};
use file::StreamTable;
pub(crate) use file::pair;
pub use file::{File, Usb};
pub(crate) use rhythm::{Rhythm, pad};
pub use vb3_v4l2::{Errno, client::Client};

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vb3_v4l2::{
    Colorimetry, ControlSpec, Format, FourCc, FrameIntervals, FrameSizes, PixelFormat, Port,
};

const MAX_BYTES: u64 = 1 << 20;

/// Name and text of each description that ships with this crate.
pub const SHIPPED: &[(&str, &str)] = &[(
    "logitech-c920",
    include_str!("../../cameras/logitech-c920.toml"),
)];

/// A checked description.
#[derive(Debug, PartialEq, Eq)]
pub struct Description {
    pub(crate) file: File,
    formats: Vec<Offered>,
    pub(crate) controls: Vec<ControlSpec>,
    pub(crate) ports: Vec<Port>,
    /// Notes, with their lines, on parts that this crate's cameras cannot imitate.
    pub notes: Vec<String>,
    /// The file that the description was loaded from; `None` if it ships with this crate.
    pub path: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
struct Offered {
    pixel: &'static PixelFormat,
    color: Colorimetry,
    sizes: FrameSizes<'static>,
    /// A row for each discrete size, or one for a range.
    rows: Vec<Row>,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    line_bytes: u32,
    image_bytes: u32,
    intervals: FrameIntervals<'static>,
}

impl Description {
    /// Loads a description from a file, or by its name if it ships with this crate.
    ///
    /// # Errors
    /// Fails with a message that names the file and the line.
    pub fn load(name: &str) -> Result<Arc<Self>, String> {
        if let Some((_, text)) = SHIPPED.iter().find(|(known, _)| *known == name) {
            return Self::named(&format!("{name}.toml"), text, None);
        }
        if !name.ends_with(".toml") {
            let names = SHIPPED.iter().map(|(known, _)| *known);
            let guess = crate::spec::did_you_mean(name, names);
            return Err(format!(
                "there is no description \"{name}\"{guess} Use FILE.toml, or a name that \
                 `vb3 devices` lists"
            ));
        }
        let text = read(Path::new(name)).map_err(|why| format!("cannot read {name}: {why}"))?;
        Self::named(name, &text, Some(name.into())).map_err(|why| {
            match why.ends_with("missing field `version`") {
                true => format!(
                    "{why}: `vb3 clone` writes descriptions of cameras; a machine's file belongs to \
                     --machine, a script's to --script"
                ),
                false => why,
            }
        })
    }

    fn named(file: &str, text: &str, path: Option<PathBuf>) -> Result<Arc<Self>, String> {
        let mut parsed = check::parse(text).map_err(|e| format!("{file}:{e}"))?;
        for note in &mut parsed.notes {
            *note = format!("{file}:{note}");
        }
        parsed.path = path;
        Ok(Arc::new(parsed))
    }

    /// Returns the camera's name.
    #[must_use]
    pub fn card(&self) -> &str {
        &self.file.device.get_ref().card
    }

    fn stream(&self) -> Option<&StreamTable> {
        self.file.stream.as_ref().map(toml::Spanned::get_ref)
    }

    pub(crate) fn pixels(&self) -> Vec<&'static PixelFormat> {
        self.formats.iter().map(|format| format.pixel).collect()
    }

    /// Returns a format that the camera offers; the first one for an unknown code.
    fn offered(&self, fourcc: FourCc) -> Option<&Offered> {
        let known = |format: &&Offered| format.pixel.fourcc == fourcc;
        self.formats.iter().find(known).or(self.formats.first())
    }

    fn row(&self, fourcc: FourCc, size: (u32, u32)) -> Option<&Row> {
        let format = self.offered(fourcc)?;
        let at = match format.sizes {
            FrameSizes::Discrete(sizes) => sizes.iter().position(|known| *known == size)?,
            _ => 0,
        };
        format.rows.get(at)
    }

    pub(crate) fn sizes(&self, fourcc: FourCc) -> FrameSizes<'static> {
        let format = self.offered(fourcc);
        format.map_or(FrameSizes::Discrete(&[]), |format| format.sizes)
    }

    pub(crate) fn intervals(&self, fourcc: FourCc, size: (u32, u32)) -> FrameIntervals<'static> {
        let row = self.row(fourcc, size);
        row.map_or(FrameIntervals::Discrete(&[]), |row| row.intervals)
    }

    pub(crate) fn first_format(&self) -> Option<Format> {
        let first = self.formats.first()?;
        let (fourcc, size) = match &self.file.mode {
            Some(mode) => (mode.get_ref().format.0, mode.get_ref().size.0),
            None => {
                let sizes = self.sizes(first.pixel.fourcc);
                (first.pixel.fourcc, sizes.nearest((640, 480), (2, 2)))
            }
        };
        let mut wanted = Format::new(first.pixel, size.0, size.1)?;
        wanted.fourcc = fourcc;
        let mut format = self.negotiate(&wanted)?;
        let bytes = (self.file.mode.as_ref()).and_then(|mode| mode.get_ref().image_bytes);
        if let (Some(plane), Some(bytes)) = (format.planes.first_mut(), bytes) {
            plane.sizeimage = plane.sizeimage.max(bytes);
        }
        Some(format)
    }

    pub(crate) fn negotiate(&self, wanted: &Format) -> Option<Format> {
        let offered = self.offered(wanted.fourcc)?;
        let (pixel, fourcc) = (offered.pixel, offered.pixel.fourcc);
        let mut sizes = self.sizes(fourcc);
        if self.file.device.get_ref().driver == UVC {
            sizes = uvc_size(sizes, (wanted.width, wanted.height));
        }
        let size = sizes.nearest((wanted.width, wanted.height), pixel.align());
        let row = self.row(fourcc, size)?;
        let mut asked = Format::new(pixel, size.0, size.1)?;
        if let Some(plane) = asked.planes.first_mut() {
            plane.bytesperline = row.line_bytes;
            plane.sizeimage = row.image_bytes;
        }
        let mut format =
            Format::negotiate(&asked, &[pixel], FrameSizes::One(size.0, size.1), false)?;
        if let Some(plane) = format.planes.first_mut() {
            match pixel.is_compressed() {
                true if row.image_bytes > 0 => plane.sizeimage = row.image_bytes,
                _ => plane.sizeimage = plane.sizeimage.max(row.image_bytes),
            }
        }
        format.color = offered.color;
        Some(format)
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let invalid = |why: String| std::io::Error::other(why);
    // Opening a FIFO would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(invalid("it is no regular file".to_owned()));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    // CAST: widening.
    if text.len() as u64 > MAX_BYTES {
        return Err(invalid(format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
