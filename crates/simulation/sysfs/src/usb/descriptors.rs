//! Descriptors of USB devices: a webcam and its root hub.
//!
//! Source: USB 2.0 sections 9.6 and 11.23; USB Video Class 1.1 section 3. Differs: the streaming
//! interface describes no formats.

use super::UsbId;

/// Descriptor types.
const DEVICE: u8 = 1;
const CONFIGURATION: u8 = 2;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;
const ASSOCIATION: u8 = 0x0b;
const VIDEO_INTERFACE: u8 = 0x24;
const VIDEO_ENDPOINT: u8 = 0x25;

/// The class of video interfaces.
const VIDEO: u8 = 0x0e;
/// USB 2.0, in BCD.
const USB: u16 = 0x0200;
/// USB Video Class 1.1, in BCD.
const UVC: u16 = 0x0110;
/// The frequency in Hz of the clock in payload headers.
const CLOCK: u32 = 48_000_000;

/// The units of a webcam, as its media device names them. The output terminal has no entity.
const CAMERA: u8 = 1;
const PROCESSING: u8 = 2;
const OUTPUT: u8 = 3;
/// Controls of the camera: automatic exposure, exposure time.
const CAMERA_CONTROLS: [u8; 3] = [0x0a, 0, 0];
/// Controls of the processing unit: brightness, contrast, hue, saturation, white balance, automatic white
/// balance, gain.
const PROCESSING_CONTROLS: [u8; 2] = [0x4f, 0x12];

/// Puts the length of a descriptor before its other bytes.
fn with_len(rest: &[u8]) -> Vec<u8> {
    let len = u8::try_from(rest.len() + 1).unwrap_or(u8::MAX);
    [&[len], rest].concat()
}

/// Returns a configuration with these parts.
fn configuration(interfaces: u8, attributes: u8, power: u8, parts: &[u8]) -> Vec<u8> {
    let len = u16::try_from(parts.len() + 9).unwrap_or(u16::MAX);
    let [low, high] = len.to_le_bytes();
    let own = with_len(&[
        CONFIGURATION,
        low,
        high,
        interfaces,
        1,
        0,
        attributes,
        power,
    ]);
    [&own, parts].concat()
}

/// Returns the descriptor of one alternate setting of an interface.
fn interface(number: u8, setting: u8, endpoints: u8, class: [u8; 3]) -> Vec<u8> {
    let [class, subclass, protocol] = class;
    let rest = [
        INTERFACE, number, setting, endpoints, class, subclass, protocol, 0,
    ];
    with_len(&rest)
}

fn endpoint(address: u8, attributes: u8, max_packet: u16, interval: u8) -> Vec<u8> {
    let [low, high] = max_packet.to_le_bytes();
    with_len(&[ENDPOINT, address, attributes, low, high, interval])
}

/// Returns the descriptors of the video control interface.
fn control() -> Vec<u8> {
    let camera = [
        &[VIDEO_INTERFACE, 2, CAMERA, 0x01, 0x02][..],
        &[0; 8],
        &[3],
        &CAMERA_CONTROLS,
    ];
    let processing = [
        &[VIDEO_INTERFACE, 5, PROCESSING, CAMERA, 0, 0, 2][..],
        &PROCESSING_CONTROLS,
        &[0, 0],
    ];
    let output = [VIDEO_INTERFACE, 3, OUTPUT, 0x01, 0x01, 0, PROCESSING, 0];
    let units = [
        with_len(&camera.concat()),
        with_len(&processing.concat()),
        with_len(&output),
    ]
    .concat();
    // The header is part of the total length.
    let len = u16::try_from(units.len() + 13).unwrap_or(u16::MAX);
    let header = [
        &[VIDEO_INTERFACE, 1][..],
        &UVC.to_le_bytes(),
        &len.to_le_bytes(),
        &CLOCK.to_le_bytes(),
        &[1, super::STREAMING],
    ];
    [
        interface(super::CONTROL, 0, 1, [VIDEO, 1, 0]),
        with_len(&header.concat()),
        units,
        endpoint(0x83, 3, 16, 6),
        with_len(&[VIDEO_ENDPOINT, 3, 16, 0]),
    ]
    .concat()
}

/// Returns a webcam's configuration: the control interface, and the streaming interface without and with an endpoint.
pub(super) fn webcam() -> Vec<u8> {
    let function = [ASSOCIATION, super::CONTROL, 2, VIDEO, 3, 0, 0];
    let streaming = |setting, endpoints| {
        let class = [VIDEO, 2, 0];
        interface(super::STREAMING, setting, endpoints, class)
    };
    let parts = [
        with_len(&function),
        control(),
        streaming(0, 0),
        streaming(1, 1),
        // Three packets of 1024 bytes in each microframe.
        endpoint(0x81, 5, 0x1400, 1),
    ];
    configuration(2, 0x80, 250, &parts.concat())
}

/// Returns a root hub's configuration: one interface, whose endpoint reports changes of ports.
pub(super) fn hub() -> Vec<u8> {
    let parts = [interface(0, 0, 1, [9, 0, 0]), endpoint(0x81, 3, 4, 12)];
    configuration(1, 0xe0, 0, &parts.concat())
}

/// Returns a device's descriptor, then its only configuration. `revision` has four BCD digits, and
/// `strings` are the numbers of manufacturer, product and serial number.
pub(super) fn device(
    UsbId { vendor, product }: UsbId,
    revision: &str,
    class: [&str; 3],
    strings: [u8; 3],
    configuration: &[u8],
) -> Vec<u8> {
    let revision = u16::from_str_radix(revision, 16).unwrap_or_default();
    let class = class.map(|hex| u8::from_str_radix(hex, 16).unwrap_or_default());
    let rest = [
        &[DEVICE][..],
        &USB.to_le_bytes(),
        &class,
        &[64],
        &vendor.to_le_bytes(),
        &product.to_le_bytes(),
        &revision.to_le_bytes(),
        &strings,
        &[1],
    ];
    [&with_len(&rest.concat()), configuration].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits descriptors by their lengths.
    fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut all = Vec::new();
        while let Some(&len) = bytes.first() {
            assert!(len >= 2 && usize::from(len) <= bytes.len(), "{bytes:?}");
            let (one, rest) = bytes.split_at(usize::from(len));
            all.push(one);
            bytes = rest;
        }
        all
    }

    /// Checks what libusb checks: lengths, numbers of interfaces and endpoints.
    fn expect_sound(configuration: &[u8], interfaces: u8) {
        let all = split(configuration);
        let total = u16::from_le_bytes([all[0][2], all[0][3]]);
        assert_eq!(usize::from(total), configuration.len());
        assert_eq!((all[0][1], all[0][4]), (CONFIGURATION, interfaces));
        let mut numbers = Vec::new();
        let starts = all
            .iter()
            .enumerate()
            .filter(|(_, one)| one[1] == INTERFACE);
        for (at, one) in starts {
            let own = all[at + 1..].iter().take_while(|one| one[1] != INTERFACE);
            let endpoints = own.filter(|one| one[1] == ENDPOINT).count();
            assert_eq!(endpoints, usize::from(one[4]), "{one:?}");
            numbers.push(one[2]);
        }
        numbers.dedup();
        assert_eq!(numbers, Vec::from_iter(0..interfaces));
    }

    #[test]
    fn configurations_are_consistent() {
        expect_sound(&webcam(), 2);
        expect_sound(&hub(), 1);
    }

    #[test]
    fn units_form_a_chain_that_the_header_counts() {
        let bytes = webcam();
        let all = split(&bytes);
        let units: Vec<_> = all.iter().filter(|one| one[1] == VIDEO_INTERFACE).collect();
        let [header, camera, processing, output] = units[..] else {
            panic!("{units:?}")
        };
        let len: usize = units.iter().map(|one| one.len()).sum();
        assert_eq!(usize::from(u16::from_le_bytes([header[5], header[6]])), len);
        assert_eq!(header[11..], [1, 1], "the streaming interface");
        assert_eq!((camera[3], camera.len()), (CAMERA, 18));
        assert_eq!((processing[3], processing[4]), (PROCESSING, CAMERA));
        assert_eq!((output[3], output[7]), (OUTPUT, PROCESSING));
    }

    #[test]
    fn a_device_has_its_ids_and_strings() {
        let id = UsbId {
            vendor: 0x046d,
            product: 0x0825,
        };
        let all = device(id, "0012", ["ef", "02", "01"], [0, 2, 3], &[]);
        let want = [
            18, 1, 0, 2, 0xef, 2, 1, 64, 0x6d, 0x04, 0x25, 0x08, 0x12, 0, 0, 2, 3, 1,
        ];
        assert_eq!(all, want);
    }
}
