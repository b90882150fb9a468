//! Motion of whole frames (AV1, 5.9.24 and 5.9.25).

use super::bits::put_below;
use crate::parameter_sets::bits::BitWriter;

/// Bits of a parameter after the binary point.
const PRECISION: u32 = 16;

/// The motion of a frame relative to each reference frame. The references have the numbers 1 to 7; number 0 is
/// the frame itself (`INTRA_FRAME`), so entry 0 is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Motion {
    /// Type of each motion: 0: none, 1: translation, 2: rotation and zoom, 3: affine.
    pub types: [u32; 8],
    /// The parameters of each motion.
    pub params: [[i32; 6]; 8],
}

impl Default for Motion {
    fn default() -> Self {
        let one = 1 << PRECISION;
        Self {
            types: [0; 8],
            params: [[0, 0, one, 0, 0, one]; 8],
        }
    }
}

/// Writes a frame's motion as differences from the motion of an earlier frame.
///
/// # Errors
/// Returns a message about a type or parameter that no header can have.
pub(super) fn put(
    bits: &mut BitWriter,
    motion: &Motion,
    previous: &Motion,
    has_high_precision: bool,
) -> Result<(), String> {
    let references = motion
        .types
        .iter()
        .zip(&motion.params)
        .zip(&previous.params);
    for (at, ((kind, params), previous)) in references.enumerate().skip(1) {
        match kind {
            0 => bits.put(0b0, 1),
            1 => bits.put(0b101, 3),
            2 => bits.put(0b11, 2),
            3 => bits.put(0b100, 3),
            _ => {
                return Err(format!(
                    "reference {at} has motion of type {kind}; 3 is the last"
                ));
            }
        }
        let indices: &[usize] = match kind {
            0 => &[],
            1 => &[0, 1],
            2 => &[2, 3, 0, 1],
            _ => &[2, 3, 4, 5, 0, 1],
        };
        for index in indices {
            let is_only_translated = *kind == 1;
            let code = Code::of(*index, is_only_translated, has_high_precision);
            code.put(bits, params[*index], previous[*index])
                .map_err(|sentence| {
                    format!("motion parameter {index} of reference {at} {sentence}")
                })?;
        }
    }
    Ok(())
}

/// How a parameter is coded.
struct Code {
    /// Number of bits of the parameter's absolute value.
    limit: u32,
    /// Number of bits after the binary point.
    precision: u32,
    /// Whether the parameter's value without motion is 1, rather than 0.
    is_scale: bool,
}

impl Code {
    fn of(index: usize, is_only_translated: bool, has_high_precision: bool) -> Self {
        let less = u32::from(!has_high_precision);
        let (limit, precision) = match (index < 2, is_only_translated) {
            (true, true) => (9 - less, 3 - less),
            (true, false) => (12, 6),
            (false, _) => (12, 15),
        };
        Self {
            limit,
            precision,
            is_scale: index % 3 == 2,
        }
    }

    /// Writes a parameter as its difference from `previous`.
    fn put(&self, bits: &mut BitWriter, value: i32, previous: i32) -> Result<(), String> {
        let shift = PRECISION - self.precision;
        let one = if self.is_scale { 1 << PRECISION } else { 0 };
        let offset = i64::from(value) - one;
        let most = 1_i64 << self.limit;
        if offset & ((1 << shift) - 1) != 0 || (offset >> shift).abs() > most {
            return Err(format!(
                "is {value}; it can be {one} and up to {most} times {} more or less",
                1 << shift
            ));
        }
        let near = i64::from(previous >> shift) - (one >> shift);
        put_near(bits, (offset >> shift) + most, near + most, 2 * most + 1);
        Ok(())
    }
}

/// Writes a number below `limit`, with few bits if it is near `near`. AV1 reads it by
/// `decode_unsigned_subexp_with_ref`.
fn put_near(bits: &mut BitWriter, value: i64, near: i64, limit: i64) {
    let code = if near << 1 <= limit {
        recentred(near, value)
    } else {
        recentred(limit - 1 - near, limit - 1 - value)
    };
    put_subexp(bits, code, limit);
}

/// Returns a number for a value: the nearer the value is to `near`, the smaller the number.
const fn recentred(near: i64, value: i64) -> i64 {
    if value > 2 * near {
        value
    } else if value >= near {
        2 * (value - near)
    } else {
        2 * (near - value) - 1
    }
}

/// Writes a number below `limit`, with few bits if it is small. AV1 reads it by `decode_subexp`.
fn put_subexp(bits: &mut BitWriter, value: i64, limit: i64) {
    let (mut least, mut count) = (0, 3);
    let mut is_first = true;
    loop {
        let room = 1_i64 << count;
        // CAST: both numbers are from 0 to 8193.
        if limit <= least + 3 * room {
            return put_below(bits, (value - least) as u32, (limit - least) as u32);
        }
        if !bits.flag(value >= least + room) {
            return bits.put((value - least) as u64, count);
        }
        least += room;
        count += u32::from(!is_first);
        is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bits<'a>(&'a [u8], usize);

    impl Bits<'_> {
        fn read(&mut self, count: u32) -> i64 {
            (0..count).fold(0, |value, _| {
                let bit = self.0[self.1 / 8] >> (7 - self.1 % 8) & 1;
                self.1 += 1;
                value << 1 | i64::from(bit)
            })
        }
    }

    /// AV1, 4.10.7.
    fn read_below(bits: &mut Bits<'_>, limit: i64) -> i64 {
        let count = limit.ilog2() + 1;
        let short = (1_i64 << count) - limit;
        let value = bits.read(count - 1);
        if value < short {
            return value;
        }
        (value << 1) - short + bits.read(1)
    }

    /// AV1, 5.9.28.
    fn read_subexp(bits: &mut Bits<'_>, limit: i64) -> i64 {
        let (mut i, mut mk, k) = (0, 0, 3);
        loop {
            let b2 = if i > 0 { k + i - 1 } else { k };
            let a = 1_i64 << b2;
            if limit <= mk + 3 * a {
                return read_below(bits, limit - mk) + mk;
            }
            if bits.read(1) == 0 {
                return bits.read(b2) + mk;
            }
            i += 1;
            mk += a;
        }
    }

    /// AV1, 5.9.26, 5.9.27 and 5.9.29.
    fn read_near(bits: &mut Bits<'_>, low: i64, high: i64, r: i64) -> i64 {
        let (mx, r) = (high - low, r - low);
        let v = read_subexp(bits, mx);
        let inverse = |r: i64, v: i64| match v {
            v if v > 2 * r => v,
            v if v & 1 != 0 => r - ((v + 1) >> 1),
            v => r + (v >> 1),
        };
        let x = match (r << 1) <= mx {
            true => inverse(r, v),
            false => mx - 1 - inverse(mx - 1 - r, v),
        };
        x + low
    }

    #[test]
    fn parameters_are_read_as_written() {
        let spread = |step| (-4096_i64..=4096).step_by(step).chain([-1, 0, 1, 4096]);
        for (value, near) in spread(61).flat_map(|value| spread(67).map(move |near| (value, near)))
        {
            for index in [0, 2, 3] {
                let code = Code::of(index, false, true);
                let shift = PRECISION - code.precision;
                let one = if code.is_scale { 1 << PRECISION } else { 0 };
                let whole = |value: i64| i32::try_from((value << shift) + one).unwrap();
                let mut bits = BitWriter::default();
                code.put(&mut bits, whole(value), whole(near)).unwrap();
                let bytes = bits.into_bytes();
                let found = read_near(&mut Bits(&bytes, 0), -4096, 4097, near);
                assert_eq!(found, value, "near {near}, parameter {index}");
            }
        }
    }

    #[test]
    fn impossible_motion_is_refused() {
        let written = |change: fn(&mut Motion)| {
            let mut motion = Motion::default();
            change(&mut motion);
            put(&mut BitWriter::default(), &motion, &Motion::default(), true)
        };
        assert_eq!(written(|_| ()), Ok(()));
        assert_eq!(written(|motion| motion.types[3] = 2), Ok(()));
        let kind = written(|motion| motion.types[3] = 4);
        assert!(
            kind.unwrap_err()
                .contains("reference 3 has motion of type 4")
        );
        let uneven = written(|motion| {
            motion.types[1] = 3;
            motion.params[1][4] = 1;
        });
        assert!(
            uneven
                .unwrap_err()
                .contains("motion parameter 4 of reference 1 is 1")
        );
    }
}
