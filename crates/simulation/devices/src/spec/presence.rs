//! The times at which a device appears and disappears.

use super::parse::parse_with_unit;

/// The values of `plug=` and `unplug=`.
pub(super) const TIMES: &str = "a whole number of ms, s or min up to 24 hours, such as 1500ms";
const MAX_NS: u64 = 24 * 3600 * 1_000_000_000;

/// When a device appears and disappears by itself, in nanoseconds from the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// When the device is plugged in; if `None`, it is present from the start.
    pub plug_ns: Option<u64>,
    /// When the device is unplugged; if `None`, it never is.
    pub unplug_ns: Option<u64>,
}

impl Presence {
    /// Returns whether the device is present at the start of the run.
    #[must_use]
    pub const fn at_start(self) -> bool {
        match (self.plug_ns, self.unplug_ns) {
            (Some(plug), Some(unplug)) => unplug < plug,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }
}

/// Parses a time with its unit. Returns nanoseconds.
pub(super) fn parse(value: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 3] = [
        ("ms", 1_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
    ];
    let ns = parse_with_unit(value, &UNITS)?;
    (ns <= MAX_NS).then_some(ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::DeviceSpec;

    fn presence(text: &str) -> Presence {
        text.parse::<DeviceSpec>().expect(text).presence
    }

    #[test]
    fn presence_follows_plug_and_unplug() {
        let rows = [
            ("camera", None, None, true),
            ("camera,unplug=2s", None, Some(2_000), true),
            ("camera,plug=1500ms", Some(1_500), None, false),
            ("camera,unplug=2s,plug=3s", Some(3_000), Some(2_000), true),
            ("camera,plug=0s,unplug=1min", Some(0), Some(60_000), false),
        ];
        for (text, plug_ms, unplug_ms, at_start) in rows {
            let ns = |ms: Option<u64>| ms.map(|ms| ms * 1_000_000);
            let found = presence(text);
            assert_eq!(found.plug_ns, ns(plug_ms), "{text}");
            assert_eq!(found.unplug_ns, ns(unplug_ms), "{text}");
            assert_eq!(found.at_start(), at_start, "{text}");
        }
    }

    #[test]
    fn times_have_a_unit_and_an_end() {
        for text in [
            "camera,plug=1",
            "camera,plug=-1s",
            "camera,unplug=1441min",
            "camera,unplug=s",
            "camera,plug=2s,unplug=2000ms",
        ] {
            assert!(text.parse::<DeviceSpec>().is_err(), "{text}");
        }
    }
}
