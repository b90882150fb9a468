//! Descriptions of a profile's fields, for users.

/// Every field with its description, in the order of the built-in files.
pub const FIELDS: &[(&str, &str)] = &[
    ("name", "a short name for the machine"),
    ("description", "one sentence about it"),
    (
        "ram",
        "bytes of RAM, as a number or like \"512MiB\"; a run never allocates more RAM",
    ),
    (
        "cma",
        "bytes of that memory set aside for physically contiguous buffers; 0 for none. A contiguous buffer \
         then comes from the kernel's page allocator, whose largest block is 4 MiB (32 MiB with pages of \
         16KiB, 512 MiB with 64KiB)",
    ),
    (
        "cma_heap",
        "a second name of the dma-heap for that memory, besides default_cma_region; such as \"linux,cma\", \
         the only name in kernels before 6.17",
    ),
    (
        "areas",
        "further reserved memory, by name ([areas] NAME = \"8MiB\"): each area is a dma-heap of that name for \
         physically contiguous buffers, and a device with place=lazy may put buffers there",
    ),
    (
        "areas.pages",
        "for an area that is written as a table ([areas.NAME] size = \"8MiB\"): false for memory on the \
         chip, such as SRAM. This memory is not RAM: it lies at 3 GiB or above, is uncached and has no \
         struct pages",
    ),
    (
        "areas.protected",
        "for an area that is written as a table: true if programs cannot map it and only devices with \
         protected= reach it",
    ),
    (
        "page_size",
        "bytes of a page of the board's kernel: 4KiB (the default), 16KiB or 64KiB; allocations, mmap \
         offsets and pinned memory use such pages, but a program's getpagesize() returns the host's size",
    ),
    (
        "coherent",
        "true if devices see the CPU's caches; false if the CPU and the devices may read old bytes until a \
         cache sync",
    ),
    (
        "iommu",
        "\"none\", or a table: scattered memory then looks contiguous to devices, and they reach \
         only memory that is mapped for them",
    ),
    (
        "iommu.format",
        "the format of its page tables in memory: \"vt-d\" (the default), \"arm-lpae-s1\" or \
         \"arm-lpae-s2\"",
    ),
    (
        "iommu.page_sizes",
        "sizes of its pages: 4KiB, 2MiB and 1GiB; in the Arm formats also 16KiB and 32MiB, or 64KiB and \
         512MiB. Memory that is allocated for a device behind this IOMMU consists of pieces of the smallest \
         size",
    ),
    (
        "iommu.aperture",
        "bits of the addresses that it translates: 20 to 57, or 20 to 48 in the Arm formats",
    ),
    (
        "iommu.reserved",
        "ranges of addresses where nothing is ever mapped: [[FIRST, LAST], ...]",
    ),
    (
        "iommu.flush",
        "when the IOMMU forgets a mapping that was removed: with \"strict\" (the default) at once; with \
         \"lazy\" later, together with many others, and until then the device still reaches the memory",
    ),
    (
        "iommu.segments",
        "at which I/O addresses scattered memory lies: with \"contiguous\" (the default) in one run without \
         gaps; with \"compatible\" in the segments that Linux makes, with a gap before a segment that would \
         otherwise cross the device's boundary",
    ),
    (
        "iommus",
        "further IOMMUs by name, each a table as iommu is ([iommus.NAME]): a device with iommu=NAME \
         is behind that one",
    ),
    ("dma_mask", "address bits of a device, 20 to 64"),
    (
        "max_segment",
        "longest piece of a buffer that a device accepts, or \"none\" for no limit",
    ),
    (
        "boundary",
        "a power of two: no piece of a buffer crosses a multiple of it; or \"none\"",
    ),
    (
        "bounce",
        "\"none\", or a table: memory out of a device's reach is copied through a pool",
    ),
    (
        "bounce.mode",
        "which memory is copied: \"when-needed\" for memory out of reach; \"always\" for every streaming \
         mapping (as by dma_map_sg), also of memory in reach",
    ),
    ("bounce.pool", "bytes of memory set aside for the pool"),
    (
        "private_memory",
        "true on a confidential machine: devices reach only memory that is shared with them",
    ),
    (
        "untrusted",
        "true if a device must not see other data in the pages of its memory: if the memory begins or ends \
         inside a page, the part in this page is copied; needs an IOMMU and a bounce pool",
    ),
    (
        "sram",
        "bytes of memory on each device (SRAM); 0 for none. This memory is coherent and has no struct pages. A \
         device allocates its buffers there, except those for which a program asks for cached memory",
    ),
    (
        "scattered",
        "true (the default): pages that are allocated singly never lie side by side; false: they \
         may lie side by side if that memory is free",
    ),
    (
        "userptr",
        "true if devices offer USERPTR; a device's userptr= changes it",
    ),
    (
        "allocator",
        "how devices without alloc= allocate their memory: \"contig\" or \"vmalloc\"",
    ),
    (
        "devices",
        "the devices that `vb3 run` offers without --device, each written as for --device",
    ),
];
