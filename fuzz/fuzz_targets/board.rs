//! Arbitrary device trees. Each is refused with a message, or gives a valid machine and devices that
//! this machine can host.
#![cfg_attr(feature = "libfuzzer", no_main)]

use vb3_devices::spec::DeviceSpec;
use vb3_devicetree::Board;
use vb3_fuzz::random::Rest;
use vb3_machine::Profile;

vb3_fuzz::target!(|dtb: Rest| {
    let board = match Board::read(&dtb.0) {
        Ok(board) => board,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            return;
        }
    };
    for ram in [None, Some(1 << 30)] {
        let text = board.profile(ram);
        let profile = Profile::parse(&text).unwrap_or_else(|e| panic!("{e} in\n{text}"));
        assert_eq!(profile.devices, board.specs());
        for spec in profile.devices {
            let parsed: Result<DeviceSpec, _> = spec.parse();
            assert!(parsed.is_ok(), "{spec}: {:?}", parsed.err());
        }
    }
    // A user reads these sentences, so there must not be very many.
    assert!(board.not_taken.len() <= 200, "{}", board.not_taken.len());
});
