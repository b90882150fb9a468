//! Descriptions of real cameras: files with a device's answers to calls, and its frames' times and sizes.
//!
//! [`File`] is a file's contents. [`Description`] is the checked form, which a simulated camera imitates.
//! [`describe`] asks a real device for the facts.

mod check;
mod clone;
mod file;

use crate::likeness::Likeness;
use crate::text::did_you_mean;
pub use clone::{describe, measure, print};
pub use file::{File, Usb};
pub use vb3_v4l2::{Errno, client::Client};

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// What a camera imitates.
    pub(crate) likeness: Arc<Likeness>,
    /// Notes, with their lines, on parts that this crate's cameras cannot imitate.
    pub notes: Vec<String>,
    /// The file that the description was loaded from; `None` if it ships with this crate.
    pub path: Option<PathBuf>,
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
            let guess = did_you_mean(name, names);
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
        let checked = check::parse(text).map_err(|e| format!("{file}:{e}"))?;
        let notes = checked.notes.iter().map(|note| format!("{file}:{note}"));
        Ok(Arc::new(Self {
            notes: notes.collect(),
            file: checked.file,
            likeness: checked.likeness.into(),
            path,
        }))
    }

    /// Returns the camera's name.
    #[must_use]
    pub fn card(&self) -> &str {
        &self.file.device.get_ref().card
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
