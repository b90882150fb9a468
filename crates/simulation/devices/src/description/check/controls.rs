//! Checks the controls of a description, with their ranges and menus.

use super::{Result, Source, is_plain, keep};
use crate::description::file::{ControlTable, ControlType, FLAGS};
use std::ops::RangeInclusive;
use toml::Spanned;
use vb3_v4l2::{ControlFlags, ControlKind, ControlSpec, Master};

const MAX_CONTROLS: usize = 120;
pub(in crate::description) const MAX_ITEMS: usize = 256;

pub(super) fn controls(
    source: &Source<'_>,
    tables: &[Spanned<ControlTable>],
) -> Result<Vec<ControlSpec>> {
    let mut all: Vec<ControlSpec> = Vec::new();
    for table in tables {
        let (at, control) = (table.span().start, table.get_ref());
        let (id, name) = (control.id, &control.name);
        let message = format_args!("a description has at most {MAX_CONTROLS} [[control]]");
        source.expect(at, all.len() < MAX_CONTROLS, message)?;
        // An id has a class and not too many bits. Only a class has the class's own id.
        let is_class = control.kind == ControlType::Class;
        let is_id = id.0 & 0x0fff_0000 != 0 && id.0 <= 0x0fff_ffff;
        let is_id = is_id && (id.0 & 0xffff == 1) == is_class;
        source.expect(at, is_id, format_args!("id = \"{id}\" is no control's id"))?;
        let is_new = all.iter().all(|known| known.id != id.0);
        let message = format_args!("there are two [[control]] {id}; remove one");
        source.expect(at, is_new, message)?;
        let message = format_args!("name = {name:?}: allowed are 1 to 31 bytes");
        source.expect(at, !name.is_empty() && is_plain(name, 31), message)?;
        let made = kind(control);
        let kind = made.or_else(|why| source.error(at, format_args!("{name}: {why}")))?;
        all.push(ControlSpec {
            id: id.0,
            name: keep(name),
            kind,
            flags: (FLAGS.iter())
                .filter(|(flag, _)| control.flags.contains(flag))
                .fold(ControlFlags::empty(), |all, (_, flag)| all.union(*flag)),
            master: control.active_if.map(|master| Master {
                id: master.id.0,
                manual: master.value,
            }),
            initial: control.value,
        });
    }
    for table in tables {
        if let Some(master) = table.get_ref().active_if {
            let (id, is_there) = (master.id, all.iter().any(|known| known.id == master.id.0));
            let message = format_args!("active_if names {id}, and there is no such [[control]]");
            source.expect(table.span().start, is_there, message)?;
        }
    }
    Ok(all)
}

/// Checks a control's values, and returns its kind or a message about what is wrong.
fn kind(control: &ControlTable) -> std::result::Result<ControlKind, String> {
    let (min, max) = (control.min.unwrap_or(0), control.max.unwrap_or(0));
    let (step, default) = (control.step.unwrap_or(1).max(1), control.default);
    let value = control.value.unwrap_or(default);
    let lie_in = |range: RangeInclusive<i64>| [default, value].iter().all(|n| range.contains(n));
    match control.kind {
        ControlType::Integer | ControlType::Integer64 if !lie_in(min..=max) => Err(format!(
            "min = {min}, max = {max}, default = {default}, value = {value}: min must not be above \
             max, and default and value must lie between"
        )),
        ControlType::Integer64 => Ok(ControlKind::Integer64 {
            min,
            max,
            step,
            default,
        }),
        ControlType::Integer => {
            let narrow = |number: i64| i32::try_from(number).ok();
            let ends = narrow(min).zip(narrow(max));
            let kind = ends.zip(narrow(default).zip(u32::try_from(step).ok()));
            let kind = kind.map(|((min, max), (default, step))| ControlKind::Integer {
                min,
                max,
                step,
                default,
            });
            kind.ok_or_else(|| "an integer's range has 32 bits; use integer64".to_owned())
        }
        ControlType::Boolean if lie_in(0..=1) => Ok(ControlKind::Boolean {
            default: default == 1,
        }),
        ControlType::Boolean => Err("default and value are 0 or 1".to_owned()),
        ControlType::Menu | ControlType::IntegerMenu => {
            let len = match control.kind {
                ControlType::Menu => control.items.len(),
                _ => control.numbers.len(),
            };
            let last = i64::try_from(len).map_or(0, |len| min.saturating_add(len - 1));
            let menu = menu(control, min).filter(|_| lie_in(min..=last));
            let rule = || {
                format!(
                    "a menu has 1 to {MAX_ITEMS} items of 31 printable bytes, or numbers, from \
                     index min = {min} on; default = {default} and value = {value} are indexes of \
                     items"
                )
            };
            menu.ok_or_else(rule)
        }
        ControlType::Bitmask => {
            let mut bits = [max, default, value].map(u32::try_from).into_iter();
            match (bits.next(), bits.next(), bits.next()) {
                (Some(Ok(mask)), Some(Ok(default)), Some(Ok(_))) => {
                    Ok(ControlKind::Bitmask { mask, default })
                }
                _ => Err("max, default and value are 32 bits".to_owned()),
            }
        }
        ControlType::Button => Ok(ControlKind::Button),
        ControlType::Class => Ok(ControlKind::Class),
    }
}

/// Returns a menu whose first item has the index `min`; `None` for items or indexes that are not allowed.
fn menu(control: &ControlTable, min: i64) -> Option<ControlKind> {
    let first = u32::from(u16::try_from(min).ok()?);
    let default = u32::try_from(control.default).ok()?;
    let (names, numbers) = (&control.items, &control.numbers);
    Some(match control.kind {
        ControlType::IntegerMenu => {
            (1..=MAX_ITEMS).contains(&numbers.len()).then_some(())?;
            let items = (min..).zip(numbers).map(|(index, number)| {
                let is_gap = control.gaps.contains(&index);
                Some(*number).filter(|_| !is_gap)
            });
            ControlKind::IntegerMenu {
                first,
                items: Vec::leak(items.collect()),
                default,
            }
        }
        _ => {
            let is_menu = (1..=MAX_ITEMS).contains(&names.len());
            (is_menu && names.iter().all(|name| is_plain(name, 31))).then_some(())?;
            ControlKind::Menu {
                first,
                items: Vec::leak(names.iter().map(|name| keep(name)).collect()),
                default,
            }
        }
    })
}
