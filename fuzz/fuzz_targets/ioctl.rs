//! A program with arbitrary calls on all kinds of devices and machines, with codecs that follow the
//! rules or break them. Every call is answered, and devices come to rest. No resource is held after
//! all files are closed.
#![cfg_attr(feature = "libfuzzer", no_main)]

use vb3_fuzz::run::{Input, run};

vb3_fuzz::target!(|input: Input| {
    run(input);
});
