//! Properties of the IOMMUs that device trees name.

/// The properties of an IOMMU that a machine's profile needs.
pub(crate) struct Row {
    /// Prefix of the IOMMU's `compatible`.
    begins: &'static str,
    /// Text that the IOMMU's `compatible` contains.
    contains: &'static str,
    /// The page sizes that both the IOMMU and the simulated page tables support.
    pub(crate) page_sizes: &'static [&'static str],
    /// Width in bits of the addresses that the IOMMU translates.
    pub(crate) aperture: u32,
    /// Source of these values.
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
        source: "drivers/iommu/mtk_iommu.c: SZ_4K; its larger pages do not exist in the format used here",
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
    source: "unknown IOMMU: assumes pages of Arm's long descriptors, and addresses of 32 bits",
};

/// Returns the properties of an IOMMU by its `compatible`.
pub(crate) fn of(compatible: &str) -> &'static Row {
    let mut rows = ROWS.iter();
    let found =
        rows.find(|row| compatible.starts_with(row.begins) && compatible.contains(row.contains));
    found.unwrap_or(&OTHER)
}
