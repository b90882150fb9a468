//! The tokens of a flattened device tree.
//!
//! Source: Devicetree Specification 0.4, chapter 5; differs: names may have up to 255 bytes, and
//! any characters except control characters. Linux's own trees have names of more than 31
//! characters.

use crate::{Damage, Error};

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Bytes of the header.
const HEADER_BYTES: usize = 40;
/// Maximum length of a name, in bytes.
const MAX_NAME: usize = 255;

/// One token of the structure block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A node begins.
    Begin(&'a str),
    /// A property of the most recent node.
    Property(&'a str, &'a [u8]),
    /// A node ends.
    End,
    /// The tree ends.
    Done,
}

/// Reads the tokens one after another.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    dtb: &'a [u8],
    strings: &'a [u8],
    /// Offset of the most recent token from the start of the file, in bytes.
    start: usize,
    /// Offset of the next token from the start of the file, in bytes.
    at: usize,
    /// Offset of the end of the structure block, in bytes.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Checks the header of a tree, and finds its blocks.
    pub(crate) fn new(dtb: &'a [u8]) -> Result<Self, Error> {
        let cut_off = |wanted| Error::CutOff {
            bytes: dtb.len(),
            wanted,
        };
        let field = |index: usize| {
            let value = word(dtb, index * 4).ok_or(cut_off(HEADER_BYTES))?;
            usize::try_from(value).map_err(|_| cut_off(usize::MAX))
        };
        match word(dtb, 0) {
            Some(MAGIC) | None => {}
            Some(found) => return Err(Error::NoTree { found }),
        }
        let (wanted, at, strings) = (field(1)?, field(2)?, field(3)?);
        let (strings_len, len) = (field(8)?, field(9)?);
        if wanted > dtb.len() {
            return Err(cut_off(wanted));
        }
        let outside = |index: usize, damage| Error::Damaged {
            offset: index * 4,
            damage,
        };
        let strings_end = strings.checked_add(strings_len);
        let strings = strings_end
            .and_then(|end| dtb.get(strings..end))
            .ok_or(outside(3, Damage::StringsBlock))?;
        let end = at.checked_add(len).filter(|&end| end <= dtb.len());
        let end = end.ok_or(outside(2, Damage::StructureBlock))?;
        Ok(Self {
            dtb,
            strings,
            at,
            start: at,
            end,
        })
    }

    /// Returns an error at the most recent token.
    pub(crate) const fn damaged(&self, damage: Damage) -> Error {
        Error::Damaged {
            offset: self.start,
            damage,
        }
    }

    /// Reads the next token.
    pub(crate) fn token(&mut self) -> Result<Token<'a>, Error> {
        loop {
            self.start = self.at;
            match self.word()? {
                NOP => {}
                BEGIN_NODE => {
                    self.start = self.at;
                    let name = name(self.dtb.get(self.at..self.end).unwrap_or_default());
                    let name = name.ok_or_else(|| self.damaged(Damage::NodeName))?;
                    self.skip(name.len().saturating_add(1))
                        .ok_or_else(|| self.damaged(Damage::NodeName))?;
                    return Ok(Token::Begin(name));
                }
                PROP => return self.property(),
                END_NODE => return Ok(Token::End),
                END => return Ok(Token::Done),
                other => return Err(self.damaged(Damage::Token(other))),
            }
        }
    }

    fn property(&mut self) -> Result<Token<'a>, Error> {
        let (bytes, name_at) = (self.word()?, self.word()?);
        let place = |value: u32| usize::try_from(value).ok();
        let name = place(name_at).and_then(|at| name(self.strings.get(at..)?));
        let name = name.ok_or_else(|| self.damaged(Damage::PropertyName))?;
        let at = self.at;
        let end = place(bytes).and_then(|len| at.checked_add(len));
        let value = end.and_then(|end| self.dtb.get(at..end));
        let value = value.and_then(|value| self.skip(value.len()).map(|()| value));
        let value = value.ok_or_else(|| self.damaged(Damage::Value { bytes }))?;
        Ok(Token::Property(name, value))
    }

    fn word(&mut self) -> Result<u32, Error> {
        let value = word(self.dtb, self.at);
        let value = value.and_then(|value| self.skip(4).map(|()| value));
        value.ok_or_else(|| self.damaged(Damage::NoEnd))
    }

    /// Skips this many bytes, and padding to a multiple of four; `None` beyond the block's end.
    fn skip(&mut self, bytes: usize) -> Option<()> {
        let next = self.at.checked_add(bytes)?.checked_next_multiple_of(4)?;
        self.at = Some(next).filter(|&next| next <= self.end)?;
        Some(())
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_be_bytes(word))
}

/// Returns the name that ends at the first zero byte; `None` if it is no valid name.
fn name(bytes: &[u8]) -> Option<&str> {
    let len = bytes
        .iter()
        .take(MAX_NAME + 1)
        .position(|&byte| byte == 0)?;
    let name = std::str::from_utf8(bytes.get(..len)?).ok()?;
    (!name.chars().any(char::is_control)).then_some(name)
}
