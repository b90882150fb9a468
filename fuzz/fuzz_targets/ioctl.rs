//! A program that does anything to devices of every kind, on machines of several kinds, with codecs
//! that keep to the rules or do not: every call has an answer, nothing waits that may not, devices
//! come to rest, and when all is closed nothing is held.
#![cfg_attr(feature = "libfuzzer", no_main)]

use vb3_fuzz::world::{Input, run};

vb3_fuzz::target!(|input: Input| {
    run(input);
});
