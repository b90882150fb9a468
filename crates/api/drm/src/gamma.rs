//! Gamma tables of CRTCs: the property GAMMA_LUT, and the older GETGAMMA and SETGAMMA.

use crate::Error;
use crate::bytes::get;
use crate::call::{Answer, Ioctl, Step};
use crate::card::{Card, MAX_BLOBS};
use crate::commit::Change;
use crate::shown::ENTRY;
use crate::state::Blob;
use std::sync::Arc;

/// Number of entries of GETGAMMA's and SETGAMMA's tables.
pub(crate) const ENTRIES: u32 = 256;

impl Card {
    /// Returns the gamma table in a blob, of at most [`ENTRIES`] entries; `None` for blob zero.
    pub(crate) fn gamma_of(&self, id: u32) -> Result<Option<Arc<Blob>>, Error> {
        let found = self.blobs.get(&id).map(|(blob, _)| blob);
        let found = found.filter(|blob| {
            blob.bytes.len() % ENTRY == 0 && blob.bytes.len() <= ENTRIES as usize * ENTRY
        });
        match found {
            _ if id == 0 => Ok(None),
            Some(blob) => Ok(Some(Arc::clone(blob))),
            None => Err(Error::Invalid("GAMMA_LUT", id.into())),
        }
    }

    /// Finds the CRTC of a call on its gamma table, and the addresses of red, green and blue.
    fn gamma_call(&self, io: &Ioctl<'_>) -> Result<(usize, [u64; 3]), Error> {
        let (id, size) = get!(io.arg, drm_mode_crtc_lut: crtc_id, gamma_size);
        let crtc = self.find_crtc(io.file, id)?;
        if size != ENTRIES {
            return Err(Error::Invalid("gamma_size (not 256)", size.into()));
        }
        Ok((
            crtc,
            get!(io.arg, drm_mode_crtc_lut: red, green, blue).into(),
        ))
    }

    /// Answers MODE_GETGAMMA.
    pub(crate) fn get_gamma(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (crtc, to) = self.gamma_call(io)?;
        let blob = self.state.crtcs[crtc].gamma.as_ref();
        // Without a table, each value stays.
        let ramp = (0..ENTRIES as u16).flat_map(|n| [n << 8; ENTRY / 2].map(u16::to_ne_bytes));
        let ramp = || ramp.flatten().collect();
        let mut entries: Vec<u8> = blob.map_or_else(ramp, |blob| blob.bytes.clone());
        entries.resize(ENTRIES as usize * ENTRY, 0);
        for (color, to) in to.into_iter().enumerate() {
            let words = entries.as_chunks::<ENTRY>().0.iter();
            let words = words.flat_map(|entry| [entry[2 * color], entry[2 * color + 1]]);
            io.program.write(to, &words.collect::<Vec<u8>>())?;
        }
        Ok(Step::Done)
    }

    /// Answers MODE_SETGAMMA.
    pub(crate) fn set_gamma(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (at, from) = self.gamma_call(io)?;
        let mut bytes = vec![0; ENTRIES as usize * ENTRY];
        for (color, from) in from.into_iter().enumerate() {
            let words = io.bytes(from, u64::from(ENTRIES) * 2, "entries")?;
            let entries = bytes.as_chunks_mut::<ENTRY>().0.iter_mut();
            for (entry, word) in entries.zip(words.as_chunks::<2>().0) {
                [entry[2 * color], entry[2 * color + 1]] = *word;
            }
        }
        if self.blobs.len() >= MAX_BLOBS {
            return Err(Error::Full("blobs", MAX_BLOBS as u64));
        }
        let mut next = self.state.clone();
        next.crtcs[at].gamma = Some(self.new_blob(bytes));
        self.commit(io, Change::of(next, [at]))
    }
}
