//! Memory for several planes, all of it or none.

use super::host::TestOps as _;
use super::{CAMERA, DIRECT, PAGE, args, assert_nothing, planes};
use crate::{Coherency, Device, Direction, MemOps, PlaneError, Short, reserve};

#[test]
fn all_planes_are_given_or_none() {
    let wanted = args(2 * PAGE, Direction::FromDevice, Coherency::Coherent);
    for dev in [CAMERA, DIRECT] {
        // How many calls of the host the planes take that are given.
        let mut failing = 0;
        let given = loop {
            let t = planes();
            t.ops().fail_after(failing.into());
            match reserve(&t, Device::contig(dev), 3, wanted) {
                Ok(given) => break (t, given),
                Err(Short { fits, why }) => {
                    assert!(fits < 3 && fits <= failing, "{fits} after {failing} calls");
                    assert_eq!(why.errno(), 12);
                    assert_nothing(&t);
                }
            }
            failing += 1;
        };
        let (t, given) = given;
        assert!(failing >= 3, "a plane without a call of the host");
        assert_eq!(given.len(), 3);
        for plane in given {
            assert!(t.cookie(&plane).is_some(), "the device reaches it");
            t.put(plane);
        }
        assert_nothing(&t);
    }
}

#[test]
fn no_planes_and_empty_ones() {
    let t = planes();
    let dev = Device::contig(CAMERA);
    let empty = args(0, Direction::FromDevice, Coherency::Coherent);
    let refused = reserve(&t, dev, 2, empty).map(|_| ());
    let why = PlaneError::Invalid(None);
    assert_eq!(refused, Err(Short { fits: 0, why }));
    let some = args(PAGE, Direction::FromDevice, Coherency::Coherent);
    assert!(reserve(&t, dev, 0, some).is_ok_and(|none| none.is_empty()));
    assert_nothing(&t);
}
