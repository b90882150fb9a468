//! Checks the controls of a description, with their ranges and menus.

use super::{Result, Source, is_plain, keep};
use crate::description::file::{ControlTable, ControlType, FLAGS};
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
        let kind = kind(source, table)?;
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

/// The numbers in a control's table, with defaults for missing ones.
struct Numbers {
    min: i64,
    max: i64,
    step: u64,
    default: i64,
    value: i64,
}

impl Numbers {
    fn of(control: &ControlTable) -> Self {
        Self {
            min: control.min.unwrap_or(0),
            max: control.max.unwrap_or(0),
            step: control.step.unwrap_or(1).max(1),
            default: control.default,
            value: control.value.unwrap_or(control.default),
        }
    }

    /// Returns a control with a range of numbers, or a message about what is wrong.
    fn range(&self, is_long: bool) -> std::result::Result<ControlKind, String> {
        let Self {
            min,
            max,
            step,
            default,
            value,
        } = *self;
        if min > max || [default, value].iter().any(|n| !(min..=max).contains(n)) {
            return Err(format!(
                "min = {min}, max = {max}, default = {default}, value = {value}: min must not be \
                 above max, and default and value must lie between"
            ));
        }
        if is_long {
            return Ok(ControlKind::Integer64 {
                min,
                max,
                step,
                default,
            });
        }
        let short = || {
            Some(ControlKind::Integer {
                min: i32::try_from(min).ok()?,
                max: i32::try_from(max).ok()?,
                step: u32::try_from(step).ok()?,
                default: i32::try_from(default).ok()?,
            })
        };
        short().ok_or_else(|| "an integer's range has 32 bits; use integer64".to_owned())
    }

    /// Returns the first and the default index of a menu of `len` items. `None` if a number is not the index
    /// of an item.
    fn menu(&self, len: usize) -> Option<(u32, u32)> {
        let end = i64::try_from(len).ok()?.checked_add(self.min)?;
        let is_item = |index: &i64| (self.min..end).contains(index);
        let is_menu = (1..=MAX_ITEMS).contains(&len) && (0..1 << 16).contains(&self.min);
        (is_menu && [self.default, self.value].iter().all(is_item)).then_some(())?;
        Some((
            u32::try_from(self.min).ok()?,
            u32::try_from(self.default).ok()?,
        ))
    }

    /// Describes, for a message, the numbers that a menu may have.
    fn menu_rule(&self) -> String {
        format!(
            "from index min = {} on; default = {} and value = {} are indexes of items",
            self.min, self.default, self.value
        )
    }

    fn bitmask(&self) -> Option<ControlKind> {
        u32::try_from(self.value).ok()?;
        Some(ControlKind::Bitmask {
            mask: u32::try_from(self.max).ok()?,
            default: u32::try_from(self.default).ok()?,
        })
    }
}

/// Checks a control's values, and returns its kind.
fn kind(source: &Source<'_>, table: &Spanned<ControlTable>) -> Result<ControlKind> {
    let control = table.get_ref();
    let numbers = Numbers::of(control);
    let made = match control.kind {
        ControlType::Integer => numbers.range(false),
        ControlType::Integer64 => numbers.range(true),
        ControlType::Boolean => match (numbers.default, numbers.value) {
            (0 | 1, 0 | 1) => Ok(ControlKind::Boolean {
                default: numbers.default == 1,
            }),
            _ => Err("default and value are 0 or 1".to_owned()),
        },
        ControlType::Menu => menu(control, &numbers),
        ControlType::IntegerMenu => match numbers.menu(control.numbers.len()) {
            Some((first, default)) => {
                let numbers = (i64::from(first)..).zip(&control.numbers);
                let items = numbers.map(|(index, number)| {
                    let is_gap = control.gaps.contains(&index);
                    Some(*number).filter(|_| !is_gap)
                });
                Ok(ControlKind::IntegerMenu {
                    first,
                    items: Vec::leak(items.collect()),
                    default,
                })
            }
            None => Err(format!(
                "an integer-menu has 1 to {MAX_ITEMS} numbers {}",
                numbers.menu_rule()
            )),
        },
        ControlType::Bitmask => {
            let made = numbers.bitmask();
            made.ok_or_else(|| "max, default and value are 32 bits".to_owned())
        }
        ControlType::Button => Ok(ControlKind::Button),
        ControlType::Class => Ok(ControlKind::Class),
    };
    let at = table.span().start;
    made.or_else(|allowed| source.error(at, format_args!("{}: {allowed}", control.name)))
}

fn menu(control: &ControlTable, numbers: &Numbers) -> std::result::Result<ControlKind, String> {
    let items = &control.items;
    let index = numbers.menu(items.len());
    let index = index.filter(|_| items.iter().all(|item| is_plain(item, 31)));
    let (first, default) = index.ok_or_else(|| {
        format!(
            "a menu has 1 to {MAX_ITEMS} items of 31 printable bytes {}",
            numbers.menu_rule()
        )
    })?;
    let items: Vec<&'static str> = items.iter().map(|item| keep(item)).collect();
    Ok(ControlKind::Menu {
        first,
        items: Box::leak(items.into_boxed_slice()),
        default,
    })
}
