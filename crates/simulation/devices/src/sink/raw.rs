//! Recordings that append pictures to a file: raw bytes, or y4m.

use super::file::{PictureFile, Shape};
use super::{name, y4m};
use crate::Failure;
use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use vb3_picture::Frame;

/// A recording of pictures, one after the other, in one file, or in several if the pictures' shape changes.
pub(super) struct RawFile {
    path: PathBuf,
    count: u32,
    current: PathBuf,
    file: File,
    /// Bytes of the complete pictures in the current file.
    len: u64,
    /// Whether the files are y4m, and not only the pictures' bytes.
    is_y4m: bool,
    shape: Option<Shape>,
    /// Memory for a picture in a file's layout.
    out: Vec<u8>,
}

fn cannot(doing: &str, path: &Path, error: &std::io::Error) -> Failure {
    let parent = path.parent().unwrap_or(Path::new(""));
    let remedy = match error.kind() {
        ErrorKind::NotFound => format!("there is no directory {}; make it first", parent.display()),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on the disk".to_owned(),
        _ => "record to another file".to_owned(),
    };
    Failure::new(format!(
        "cannot {doing} {}: {error}; {remedy}",
        path.display()
    ))
}

impl RawFile {
    /// Opens or creates the recording's first file. The contents of an earlier recording stay until the
    /// first picture, or until [`end`](Self::end), because the run may still fail to begin.
    pub(super) fn create(path: &Path, is_y4m: bool) -> Result<Self, Failure> {
        let file = (File::options().write(true).create(true).truncate(false)).open(path);
        let file = file.map_err(|e| cannot("create", path, &e))?;
        Ok(Self {
            path: path.to_owned(),
            count: 1,
            current: path.to_owned(),
            file,
            len: 0,
            is_y4m,
            shape: None,
            out: Vec::new(),
        })
    }

    /// Appends `data`. If this fails, removes the part that was written.
    fn append(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.end();
        match self.file.write_all(data) {
            Ok(()) => {
                // CAST: usize fits in u64 on every target there is.
                self.len = self.len.saturating_add(data.len() as u64);
                Ok(())
            }
            Err(error) => {
                // A pipe cannot be truncated.
                let _ = self.file.set_len(self.len);
                let _ = self.file.seek(SeekFrom::Start(self.len));
                Err(cannot("write to", &self.current, &error))
            }
        }
    }
}

impl PictureFile for RawFile {
    fn begin(&mut self, shape: Shape) -> Result<(), Failure> {
        let is_same = self.shape.is_some_and(|now| match self.is_y4m {
            true => now == shape,
            false => (now.format, now.size) == (shape.format, shape.size),
        });
        if !is_same && self.len > 0 {
            let count = self.count.saturating_add(1);
            let path = name::nth(&self.path, count);
            self.file = File::create(&path).map_err(|e| cannot("create", &path, &e))?;
            (self.count, self.current, self.len) = (count, path, 0);
        }
        self.shape = Some(shape);
        Ok(())
    }

    fn write(&mut self, frame: &Frame) -> Result<(), Failure> {
        if !self.is_y4m {
            return self.append(frame.bytes());
        }
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let first = self.shape.as_ref().filter(|_| self.len == 0);
        y4m::append(&mut out, first, frame);
        let written = self.append(&out);
        self.out = out;
        written
    }

    /// Makes the current file empty if it has no picture of this run: before the first one, and at the end.
    fn end(&mut self) {
        if self.len == 0 {
            // A pipe cannot be truncated.
            let _ = self.file.set_len(0);
        }
    }
}
