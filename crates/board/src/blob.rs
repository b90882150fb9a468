//! The tokens of a flattened device tree.
//!
//! Source: Devicetree Specification 0.4, chapter 5; differs: names may have any length and any
//! characters but control characters. Linux's own trees have names of more than 31 characters.

use crate::Error;

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Longest name. Names are copied for every node below, and shared by properties.
const MAX_NAME: usize = 255;

/// One token of the structure block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A node begins.
    Begin(&'a str),
    /// A property of the node that began last.
    Property(&'a str, &'a [u8]),
    /// A node ends.
    End,
    /// The tree ends.
    Done,
}

/// Reads tokens in turn.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    dtb: &'a [u8],
    strings: &'a [u8],
    /// The next token, in bytes from the start.
    at: usize,
    /// Where the structure block ends.
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(dtb: &'a [u8]) -> Result<Self, Error> {
        let field = |index: usize| {
            let value = word(dtb, index * 4).ok_or(Error::Damaged { offset: index * 4 })?;
            usize::try_from(value).map_err(|_| Error::Damaged { offset: index * 4 })
        };
        if word(dtb, 0) != Some(MAGIC) {
            return Err(Error::Damaged { offset: 0 });
        }
        let (at, strings) = (field(2)?, field(3)?);
        let (strings_len, len) = (field(8)?, field(9)?);
        let strings_end = strings.checked_add(strings_len);
        let strings = strings_end
            .and_then(|end| dtb.get(strings..end))
            .ok_or(Error::Damaged { offset: 12 })?;
        let end = at.checked_add(len).filter(|&end| end <= dtb.len());
        let end = end.ok_or(Error::Damaged { offset: 8 })?;
        Ok(Self {
            dtb,
            strings,
            at,
            end,
        })
    }

    /// An error at the next token.
    pub(crate) const fn damaged(&self) -> Error {
        Error::Damaged { offset: self.at }
    }

    /// The next token.
    pub(crate) fn token(&mut self) -> Result<Token<'a>, Error> {
        loop {
            match self.word()? {
                NOP => {}
                BEGIN_NODE => {
                    let name = name(self.dtb.get(self.at..self.end).unwrap_or_default());
                    let name = name.ok_or_else(|| self.damaged())?;
                    self.skip(name.len().saturating_add(1))?;
                    return Ok(Token::Begin(name));
                }
                PROP => return self.property(),
                END_NODE => return Ok(Token::End),
                END => return Ok(Token::Done),
                _ => return Err(self.damaged()),
            }
        }
    }

    fn property(&mut self) -> Result<Token<'a>, Error> {
        let (len, name_at) = (self.word()?, self.word()?);
        let place = |value: u32| usize::try_from(value).ok();
        let name = place(name_at).and_then(|at| name(self.strings.get(at..)?));
        let value = place(len).and_then(|len| self.dtb.get(self.at..self.at.checked_add(len)?));
        let (Some(name), Some(value)) = (name, value) else {
            return Err(self.damaged());
        };
        self.skip(value.len())?;
        Ok(Token::Property(name, value))
    }

    fn word(&mut self) -> Result<u32, Error> {
        let value = word(self.dtb, self.at).ok_or_else(|| self.damaged())?;
        self.skip(4)?;
        Ok(value)
    }

    /// Goes on behind so many bytes, at the next multiple of four.
    fn skip(&mut self, bytes: usize) -> Result<(), Error> {
        let next = self.at.checked_add(bytes);
        let next = next.and_then(|next| next.checked_next_multiple_of(4));
        self.at = next
            .filter(|&next| next <= self.end)
            .ok_or_else(|| self.damaged())?;
        Ok(())
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_be_bytes(word))
}

/// The name up to the first zero.
fn name(bytes: &[u8]) -> Option<&str> {
    let len = bytes
        .iter()
        .take(MAX_NAME + 1)
        .position(|&byte| byte == 0)?;
    let name = std::str::from_utf8(bytes.get(..len)?).ok()?;
    (!name.chars().any(char::is_control)).then_some(name)
}
