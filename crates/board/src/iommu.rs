//! What the IOMMUs of trees are like.

/// An IOMMU as a profile has it.
pub(crate) struct Row {
    /// What its `compatible` begins with.
    begins: &'static str,
    /// And contains.
    contains: &'static str,
    /// Sizes of its pages, of those that the formats here have.
    pub(crate) page_sizes: &'static [&'static str],
    /// Bits of the addresses that it translates.
    pub(crate) aperture: u32,
    /// Where that is said.
    pub(crate) source: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        begins: "rockchip,",
        contains: "iommu",
        page_sizes: &["4KiB"],
        aperture: 32,
        source: "drivers/iommu/rockchip-iommu.c: two levels, entries of 4 KiB, \
                 aperture_end DMA_BIT_MASK(32)",
    },
    Row {
        begins: "samsung,",
        contains: "sysmmu",
        page_sizes: &["4KiB"],
        aperture: 32,
        source: "drivers/iommu/exynos-iommu.c: SPAGE_SIZE, LPAGE_SIZE, SECT_SIZE",
    },
    Row {
        begins: "qcom,",
        contains: "-iommu",
        page_sizes: &["4KiB"],
        aperture: 32,
        source: "drivers/iommu/arm/arm-smmu/qcom_iommu.c: ARM_32_LPAE_S1, 4 KiB of its pgsize_bitmap",
    },
    Row {
        begins: "allwinner,",
        contains: "iommu",
        page_sizes: &["4KiB"],
        aperture: 32,
        source: "drivers/iommu/sun50i-iommu.c: SZ_4K, aperture_end DMA_BIT_MASK(32)",
    },
    Row {
        begins: "mediatek,",
        contains: "",
        page_sizes: &["4KiB"],
        aperture: 32,
        source: "drivers/iommu/mtk_iommu.c: SZ_4K and larger ones that the format here does not have",
    },
    Row {
        begins: "renesas,",
        contains: "ipmmu",
        page_sizes: &["4KiB", "2MiB", "1GiB"],
        aperture: 32,
        source: "drivers/iommu/ipmmu-vmsa.c: SZ_1G | SZ_2M | SZ_4K, aperture_end DMA_BIT_MASK(32)",
    },
];

const OTHER: Row = Row {
    begins: "",
    contains: "",
    page_sizes: &["4KiB", "2MiB", "1GiB"],
    aperture: 32,
    source: "no row for it: pages of Arm's long descriptors, and addresses of 32 bits, are assumed",
};

/// What is known of one with this `compatible`.
pub(crate) fn of(compatible: &str) -> &'static Row {
    let mut rows = ROWS.iter();
    let found =
        rows.find(|row| compatible.starts_with(row.begins) && compatible.contains(row.contains));
    found.unwrap_or(&OTHER)
}
