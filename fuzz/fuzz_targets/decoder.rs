//! H.264 streams in any pieces, through the decoder process that `VB3_CODEC` names. The decoder's
//! library may fail, but the owner of the decoder must get valid events.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use vb3_codec::{Kind, Launch};
use vb3_fuzz::drive::{Plan, drive};
use vb3_fuzz::random::Rest;

#[derive(Arbitrary, Debug)]
struct Input {
    plan: Plan,
    data: Rest,
}

vb3_fuzz::target!(|input: Input| {
    let program = std::env::var_os("VB3_CODEC");
    let program = program.expect("VB3_CODEC names the program vb3-codec");
    let launch = Launch::other_program(program);
    drive(Kind::H264Decoder, &launch, input.plan, &input.data.0);
});
