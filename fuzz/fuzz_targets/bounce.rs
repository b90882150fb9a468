//! A random driver on machines with a small bounce pool, which they use always, when needed, or for
//! private memory.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use vb3_fuzz::{Step, run};
use vb3_machine::DeviceLimits;

#[derive(Arbitrary, Debug)]
struct Input {
    always: bool,
    private: bool,
    iommu: bool,
    coherent: bool,
    pool_pages: u8,
    narrow: bool,
    steps: Vec<Step>,
}

vb3_fuzz::target!(|input: Input| {
    let mode = if input.always {
        "always"
    } else {
        "when-needed"
    };
    let pool = (1 + u64::from(input.pool_pages)) * vb3_fuzz::PAGE;
    let iommu = if input.iommu {
        "[iommu]\npage_sizes = [\"4KiB\", \"2MiB\"]\naperture = 32"
    } else {
        ""
    };
    let profile = format!(
        "coherent = {}\ncma = \"4MiB\"\nprivate_memory = {}\n\
         [bounce]\nmode = \"{mode}\"\npool = {pool}\n{iommu}",
        input.coherent, input.private
    );
    let limits = DeviceLimits {
        // A 24-bit device cannot reach most of the machine's 32 MiB.
        mask: input.narrow.then_some((1 << 24) - 1),
        ..DeviceLimits::default()
    };
    run(&profile, limits, &input.steps);
});
