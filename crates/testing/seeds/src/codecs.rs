//! Memory-to-memory devices: the inputs that programs queue, and the results that the devices must return.
//!
//! A program numbers its OUTPUT buffers by their timestamps, which these devices copy. The timestamp of a
//! CAPTURE buffer therefore names the input whose result it has.

use crate::api::{ERROR, Told};
use crate::model::{At, Buffer, Content, Input, Node};
use crate::pixels::{NV12, YUYV, picture};
use crate::run::{Check, LOST, Sim};
use crate::slices;

/// The pixel format of JPEG files.
const JPEG: u32 = u32::from_le_bytes(*b"JPEG");

/// Returns a JPEG file of a grey picture whose sides are multiples of 16. All coefficients are zero except
/// the DC of the first block. `number` determines the scale of this coefficient.
pub(crate) fn jpeg(width: u32, height: u32, number: u32) -> Vec<u8> {
    // CAST: the simulation's pictures are small.
    let [[high, h], [wide, w]] = [height, width].map(|side| (side as u16).to_be_bytes());
    let scale = 8 * (1 + (number % 16) as u8);
    let mut file = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0, scale];
    file.extend([1; 63]);
    // The frame header: three components in 4:2:0.
    file.extend([0xff, 0xc0, 0, 17, 8, high, h, wide, w, 3]);
    file.extend([1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]);
    // The Huffman codes of DC: 0 for no difference, 10 for one bit. AC has one code: 0 ends a block.
    file.extend([0xff, 0xc4, 0, 21, 0x00, 1, 1]);
    file.extend([0; 14]);
    file.extend([0, 1, 0xff, 0xc4, 0, 20, 0x10, 1]);
    file.extend([0; 16]);
    file.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    // The first block has the bits 10 1 0, and each other block has 0 0. Ones fill the last byte.
    let blocks = 6 * (width / 16) * (height / 16);
    let bits = 2 + 2 * blocks;
    file.push(0b1010_0000);
    file.extend((1..bits / 8).map(|_| 0));
    file.push(0xff >> (bits % 8));
    file.extend([0xff, 0xd9]);
    file
}

impl Sim<'_> {
    /// Returns the node of a queue's file.
    pub(crate) fn node_of(&self, at: At) -> Check<&Node> {
        Ok(&self.nodes[self.file(at.0)?.node])
    }

    /// Records a queued OUTPUT buffer as an input, with its content if the content suits the queue's format.
    pub(crate) fn note_input(
        &mut self,
        at: At,
        time_us: i64,
        (memory, content): (u64, Option<Content>),
    ) -> Check {
        let (_, _, pixel, size) = self.queue(at)?.picture;
        let is_coded = [JPEG, slices::S264].contains(&pixel);
        let content = content.filter(|c| c.pixel == pixel && (is_coded || c.len == size));
        let file = self.files.get_mut(at.0).ok_or(LOST)?;
        file.inputs.insert(time_us, Input { memory, content });
        Ok(())
    }

    /// Compares a CAPTURE buffer with the result of the input that its timestamp names.
    pub(crate) fn check_result(&mut self, at: At, buffer: &Buffer, told: Told) -> Check {
        let is_error = told.flags & ERROR != 0;
        // A buffer without bytes also comes back when its memory is revoked.
        let is_revoked = is_error && told.used == 0 && self.revoked && told.time_us == 0;
        let has_no_result = is_revoked || told.is_last() && !is_error;
        if has_no_result {
            return Ok(());
        }
        let file = self.files.get_mut(at.0).ok_or(LOST)?;
        let (node, program, time) = (file.node, file.program, told.time_us);
        let Some(input) = file.inputs.remove(&time) else {
            return Err(format!(
                "buffer {}: timestamp {time} names no input, or an input that had its result",
                told.index
            ));
        };
        let Some(content) = input.content.filter(|_| !self.revoked) else {
            return Ok(());
        };
        if is_error {
            return self.disturbed.then_some(()).ok_or_else(|| {
                format!("buffer {}: an error for good input {content:?}", told.index)
            });
        }
        let Some(bytes) = self.bytes_alone(program, buffer, told.used)? else {
            return Ok(());
        };
        let sum = crc32fast::hash(&bytes);
        let name = self.nodes[node].name.clone();
        let wanted = match name.as_str() {
            "convert" => content.sum,
            _ => *self.results.entry((node, content.sum)).or_insert(sum),
        };
        if sum != wanted {
            return Err(format!(
                "buffer {}: not the result of input {time} of {name}",
                told.index
            ));
        }
        self.note(|| format!("{at:?} has the result of {name}"));
        let pixel = self.queue(at)?.picture.2;
        let len = told.used;
        self.note_content(buffer.memory, Content { sum, len, pixel });
        Ok(())
    }

    /// Returns the bytes that a program writes to an OUTPUT buffer; `None` for formats that it cannot write.
    /// Records the expected result if it is known in advance.
    pub(crate) fn painting(&mut self, at: At, number: u32) -> Check<Option<Vec<u8>>> {
        let (width, height, pixel, _) = self.queue(at)?.picture;
        let size = (width, height);
        // There are only eight different inputs, so that each comes several times.
        let few = 1 + number % 8;
        Ok(match pixel {
            JPEG => Some(jpeg(width, height, few)),
            slices::S264 => {
                let bytes = slices::slice(width, height, few as u8);
                let node = self.file(at.0)?.node;
                let result = crc32fast::hash(&slices::nv12(width, height, few as u8));
                let sum = crc32fast::hash(&bytes);
                self.results.insert((node, sum), result);
                Some(bytes)
            }
            NV12 => Some(picture(pixel, size, few, <[u8]>::to_vec)),
            YUYV => {
                let mut bytes = picture(pixel, size, number % 512, <[u8]>::to_vec);
                // The number makes every picture different.
                let unique = bytes.iter_mut().zip(number.to_ne_bytes());
                unique.for_each(|(to, byte)| *to = byte);
                Some(bytes)
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
