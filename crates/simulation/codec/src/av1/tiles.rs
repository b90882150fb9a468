//! Sizes of tiles (AV1, 5.9.15).

use super::Tiles;
use super::bits::put_below;
use crate::parameter_sets::bits::BitWriter;

const MAX_TILE_WIDTH: u32 = 4096;
const MAX_TILE_AREA: u32 = 4096 * 2304;
const MAX_TILES: u32 = 64;

/// Returns the smallest `k` with `size << k >= target`.
fn log2(size: u32, target: u32) -> u32 {
    (0..32)
        .find(|k| u64::from(size) << k >= target.into())
        .unwrap_or(32)
}

/// Returns the sizes of uniform tiles across `total` superblocks.
fn uniform(total: u32, log2: u32) -> Vec<u32> {
    let each = total.div_ceil(1 << log2).max(1);
    let starts = (0..total).step_by(usize::try_from(each).unwrap_or(1));
    starts.map(|start| each.min(total - start)).collect()
}

/// Writes the sizes of a frame's tiles. The frame has `across` x `down` superblocks of `1 << shift` pixels.
///
/// # Errors
/// Returns a message about sizes that no header can have.
pub(super) fn put(
    bits: &mut BitWriter,
    tiles: &Tiles,
    (across, down): (u32, u32),
    shift: u32,
) -> Result<(), String> {
    for (found, wanted, what) in [
        (&tiles.columns, across, "columns"),
        (&tiles.rows, down, "rows"),
    ] {
        let sum: u64 = found.iter().map(|size| u64::from(*size)).sum();
        if sum != wanted.into() || found.contains(&0) {
            return Err(format!(
                "the {} {what} of tiles have {sum} superblocks together, and the frame has {wanted}",
                found.len()
            ));
        }
    }
    let widest = MAX_TILE_WIDTH >> shift;
    let largest = MAX_TILE_AREA >> (2 * shift);
    let least_columns = log2(widest, across);
    let least = least_columns.max(log2(largest, across * down));
    let most = |total: u32| log2(1, total.min(MAX_TILES));
    bits.flag(tiles.is_uniform);
    let (columns, rows) = if tiles.is_uniform {
        let columns = put_uniform(bits, &tiles.columns, least_columns, most(across), "columns")?;
        let least_rows = least.saturating_sub(columns);
        (
            columns,
            put_uniform(bits, &tiles.rows, least_rows, most(down), "rows")?,
        )
    } else {
        let area = (across * down) >> if least > 0 { least + 1 } else { 0 };
        put_each(bits, &tiles.columns, widest, "columns")?;
        let wide = tiles.columns.iter().copied().max().unwrap_or(1);
        put_each(bits, &tiles.rows, (area / wide.max(1)).max(1), "rows")?;
        let count = |sizes: &[u32]| log2(1, u32::try_from(sizes.len()).unwrap_or(u32::MAX));
        (count(&tiles.columns), count(&tiles.rows))
    };
    if columns + rows > 0 {
        bits.put(tiles.context_update_tile_id.into(), columns + rows);
        // The size field of each tile has 4 bytes.
        bits.put(3, 2);
    }
    Ok(())
}

fn put_uniform(
    bits: &mut BitWriter,
    sizes: &[u32],
    least: u32,
    most: u32,
    what: &str,
) -> Result<u32, String> {
    let total = sizes.iter().sum();
    let found = (least..=most).find(|log2| uniform(total, *log2) == sizes);
    let found = found.ok_or_else(|| {
        format!(
            "{} {what} of tiles over {total} superblocks are not uniform, or too few",
            sizes.len()
        )
    })?;
    bits.put(u64::MAX, found - least);
    if found < most {
        bits.flag(false);
    }
    Ok(found)
}

fn put_each(bits: &mut BitWriter, sizes: &[u32], most: u32, what: &str) -> Result<(), String> {
    if sizes.len() > 64 {
        return Err(format!(
            "there are {} {what} of tiles; at most 64 are possible",
            sizes.len()
        ));
    }
    let mut rest = sizes.iter().sum::<u32>();
    for size in sizes {
        let limit = rest.min(most);
        if *size > limit {
            return Err(format!(
                "one of the {what} of tiles has {size} superblocks; at most {limit} are possible"
            ));
        }
        put_below(bits, size - 1, limit);
        rest -= size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_tiles_are_found() {
        assert_eq!(uniform(5, 0), [5]);
        assert_eq!(uniform(5, 1), [3, 2]);
        assert_eq!(uniform(5, 2), [2, 2, 1]);
        assert_eq!(uniform(5, 3), [1; 5]);
        assert_eq!((log2(1, 5), log2(64, 64), log2(64, 65)), (3, 0, 1));
    }
}
