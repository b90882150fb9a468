//! Several IOMMUs in a machine, and devices outside them.

use crate::common::*;
use vb3_dma::{Attrs, Constraint, DmaOps as _};
use vb3_machine::{DeviceLimits, Held};

const TWO: &str = "coherent = true\ncma = \"1MiB\"\niommu = \"none\"\n\
                   [iommus.narrow]\nformat = \"arm-lpae-s1\"\npage_sizes = [\"4KiB\"]\n\
                   aperture = 24\nreserved = [[0x800000, 0xffffff]]\n\
                   [iommus.wide]\npage_sizes = [\"4KiB\", \"2MiB\"]\naperture = 32";

#[test]
fn each_device_has_the_addresses_of_its_own_iommu() {
    let mut mapper = mapper(TWO);
    let machine = mapper.platform_mut();
    let at = |name| machine.profile().iommu_named(name);
    let (narrow, wide) = (at("narrow"), at("wide"));
    assert!(narrow.is_some() && wide.is_some() && narrow != wide);
    let mut add = |name, further_iommu| {
        let limits = DeviceLimits {
            further_iommu,
            ..DeviceLimits::default()
        };
        machine.add_device(name, limits)
    };
    let narrow = add("narrow", narrow).unwrap();
    let wide = add("wide", wide).unwrap();
    let outside = add("outside", None).unwrap();
    assert!(add("nowhere", Some(2)).is_err());
    let addr = |dev, pages: u64| {
        let alloc = mapper.alloc_coherent(dev, pages * PAGE, Attrs::empty())?;
        let addr = mapper.alloc_dma_addr(&alloc).unwrap().get();
        mapper.free(alloc);
        Ok::<_, vb3_dma::Error>(addr)
    };
    // Addresses are assigned from the top of the space that is not reserved.
    assert_eq!(addr(narrow, 16).unwrap(), 0x80_0000 - 16 * PAGE);
    assert_eq!(addr(wide, 16).unwrap(), (1 << 32) - 16 * PAGE);
    // This is twice the size of the contiguous area. A device behind an IOMMU does not need that area.
    addr(wide, 512).unwrap();
    let reason = addr(outside, 512).unwrap_err().reason().unwrap();
    assert_eq!(reason.constraint, Constraint::ContiguousPool);
    // This is more than the narrow IOMMU has addresses for.
    let reason = addr(narrow, 2048).unwrap_err().reason().unwrap();
    assert_eq!(reason.constraint, Constraint::IovaSpace);
    let mut byte = [0];
    let machine = mapper.platform_mut();
    for (dev, has) in [(narrow, true), (wide, true), (outside, false)] {
        assert_eq!(machine.iommu_root(dev).is_some(), has);
        let stray = machine.bus_read(dev, vb3_dma::DmaAddr::new(0x10_0000), &mut byte);
        assert!(stray.is_err(), "nothing is there for {dev:?}");
    }
    assert_eq!(machine.held(), Held::default());
}
