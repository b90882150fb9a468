use super::*;
use crate::cid;

#[test]
fn rounding_at_the_edges_of_numbers() {
    for (value, min, max, step, wanted) in [
        (i64::MAX, i64::MIN, i64::MAX, 1, i64::MAX),
        (i64::MIN, i64::MIN, i64::MAX, 1, i64::MIN),
        (-1, i64::MIN, i64::MAX, u64::MAX, i64::MIN),
        (0, i64::MIN, i64::MAX, u64::MAX, i64::MAX),
        (7, 0, 10, 4, 8),
        (10, 0, 10, 4, 8),
        (5, 3, 3, 1, 3),
        (5, 9, 3, 0, 9),
    ] {
        assert_eq!(
            round(value, min, max, step),
            wanted,
            "{value} in {min}..={max} by {step}"
        );
    }
}

#[test]
fn drivers_name_their_own_classes() {
    let named = ControlSpec {
        kind: ControlKind::Class,
        ..ControlSpec::button(0x00f0_0001, "Vivid Controls")
    };
    let own = ControlSpec::boolean(0x00f0_f000, "Own", false);
    for specs in [[named, own], [own, named]] {
        let handler = Handler::new(&specs);
        let class = handler.find(0x00f0_0001).expect("a class");
        assert_eq!((class.name, class.kind), ("Vivid Controls", None));
        assert_eq!(class.range().ty, sys::V4L2_CTRL_TYPE_CTRL_CLASS);
        assert_eq!(class.flags.bits(), 0x44);
        assert_eq!(handler.controls.len(), 2);
    }
}

/// Source: Linux `handler_new_ref`, which adds the class of a control below the compound types.
#[test]
fn structures_bring_no_class() {
    use crate::control::CompoundType;
    let frame = ControlSpec::compound(cid::STATELESS_VP8_FRAME, "Frame", CompoundType::Vp8Frame);
    let handler = Handler::new(&[frame]);
    assert_eq!(handler.controls.len(), 1);
    let menu = ControlSpec::boolean(cid::STATELESS_H264_DECODE_MODE, "Mode", false);
    assert_eq!(Handler::new(&[frame, menu]).controls.len(), 3);
}

#[test]
fn gaps_of_an_integer_menu_cannot_be_chosen() {
    let menu = ControlSpec {
        kind: ControlKind::IntegerMenu {
            first: 1,
            items: &[None, Some(2), Some(3)],
            default: 2,
        },
        ..ControlSpec::button(0x0098_f907, "Integer menu")
    };
    let control = Control::from_spec(&menu);
    for (wanted, got) in [
        (0, Err(34)),
        (1, Err(22)),
        (2, Ok(ControlValue::Number(2))),
        (4, Err(34)),
    ] {
        let found = control.validate(ControlValue::Number(wanted));
        assert_eq!(found.map_err(|e| e.errno()), got, "{wanted}");
    }
}

#[test]
fn invalid_declarations_are_omitted() {
    let brightness = sys::V4L2_CID_BRIGHTNESS;
    let first = ControlSpec::boolean(brightness, "First", true);
    let handler = Handler::new(&[
        first,
        ControlSpec::boolean(brightness, "Second", true),
        ControlSpec::boolean(12, "No class", true),
    ]);
    let names: Vec<_> = handler.controls.iter().map(|c| c.name).collect();
    assert_eq!(names, ["User Controls", "First"]);
    assert!(Handler::new(&[]).is_empty());

    let many: Vec<_> = (0..1000)
        .map(|n| ControlSpec::boolean(sys::V4L2_CID_USER_BASE | (0x1000 + n), "One", true))
        .collect();
    assert!(Handler::new(&many).controls.len() <= MAX_CONTROLS);
}

#[test]
fn a_range_changes_with_its_value() {
    let spec = |max| ControlSpec::integer(cid::EXPOSURE, "Exposure", (4, max, 1), 100);
    let mut handler = Handler::new(&[spec(1000)]);
    assert_eq!(handler.change_range(&spec(1000), 100), None);
    assert_eq!(handler.change_range(&spec(500), 100), Some(false));
    assert_eq!(handler.change_range(&spec(50), 50), Some(true));
    let control = handler.find(cid::EXPOSURE).unwrap();
    assert_eq!((control.range().max, control.value.number()), (50, 50));
    let value = control.validate(ControlValue::Number(1000));
    assert_eq!(value, Ok(ControlValue::Number(50)));
    let other = ControlSpec::boolean(cid::HFLIP, "Horizontal Flip", false);
    assert_eq!(handler.change_range(&other, 1), None);
}

/// Source: Linux `cluster_changed`.
#[test]
fn volatile_controls_are_never_reported_as_changed() {
    use crate::{Flow, Planarity};
    let (volatile, execute) = (ControlFlags::VOLATILE, ControlFlags::EXECUTE_ON_WRITE);
    let id = sys::V4L2_CID_BRIGHTNESS;
    for (flags, same, other, writes) in [
        (ControlFlags::empty(), false, true, 1),
        (execute, true, true, 2),
        (volatile, false, false, 0),
        (volatile | execute, false, false, 2),
    ] {
        let spec = ControlSpec::integer(id, "Brightness", (0, 255, 1), 128).with(flags);
        let mut handler = Handler::new(&[spec]);
        let mut driver = crate::tests::TestDriver::new(Flow::Capture, Planarity::Single);
        let mut set = |value| handler.set(id, ControlValue::Number(value), &mut driver);
        assert_eq!(set(128), Ok(same), "{flags:?}");
        assert_eq!(set(5), Ok(other), "{flags:?}");
        assert_eq!(driver.written.len(), writes, "{flags:?}");
    }
}
