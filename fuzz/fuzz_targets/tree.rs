//! Well-formed device trees with arbitrary cells: sizes near 2^64, overlapping memory, any number of cells. Each is
//! refused with a message, or gives a valid machine.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use vb3_devicetree::Board;
use vb3_machine::Profile;

/// A property: a usual name, and cells. Most cells are small, or near an end of their range.
#[derive(Arbitrary, Clone, Debug)]
struct Property {
    name: u8,
    cells: Vec<(bool, i8)>,
    compatible: u8,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Begin { name: u8, at: u8 },
    Put(Property),
    End,
}

const NODES: [&str; 8] = [
    "memory",
    "reserved-memory",
    "soc",
    "camera",
    "iommu",
    "linux,cma",
    "codec",
    "cpus",
];
const NAMES: [&str; 14] = [
    "reg",
    "#address-cells",
    "#size-cells",
    "ranges",
    "dma-ranges",
    "iommus",
    "memory-region",
    "phandle",
    "size",
    "alignment",
    "alloc-ranges",
    "compatible",
    "status",
    "dma-coherent",
];
const COMPATIBLE: [&str; 6] = [
    "shared-dma-pool",
    "arm,smmu-v3",
    "rockchip,rk3399-vdec",
    "allwinner,sun4i-a10-video-engine",
    "simple-bus",
    "qcom,msm8916-camss",
];

/// Writes trees in the format of the Devicetree Specification 0.4, chapter 5.
#[derive(Default)]
struct Writer {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        self.structure
            .resize(self.structure.len().next_multiple_of(4), 0);
    }

    fn begin(&mut self, name: &str) {
        self.word(1);
        self.padded(format!("{name}\0").as_bytes());
    }

    fn property(&mut self, name: &str, value: &[u8]) {
        self.word(3);
        self.word(value.len() as u32);
        self.word(self.strings.len() as u32);
        self.strings.extend(format!("{name}\0").as_bytes());
        self.padded(value);
    }

    fn put(&mut self, property: &Property) {
        let name = NAMES[usize::from(property.name) % NAMES.len()];
        let cell =
            |&(is_high, low): &(bool, i8)| (i32::from(low) << if is_high { 24 } else { 0 }) as u32;
        let value: Vec<u8> = match name {
            "compatible" => {
                let one = COMPATIBLE[usize::from(property.compatible) % COMPATIBLE.len()];
                format!("{one}\0").into()
            }
            _ => property
                .cells
                .iter()
                .take(64)
                .flat_map(|at| cell(at).to_be_bytes())
                .collect(),
        };
        self.property(name, &value);
    }

    fn finish(mut self) -> Vec<u8> {
        self.word(9);
        // An empty list of reserved memory follows the header's 40 bytes.
        let structure = 56;
        let strings = structure + self.structure.len() as u32;
        let (sizes, total) = (
            [self.strings.len(), self.structure.len()],
            strings + self.strings.len() as u32,
        );
        let mut tree = Vec::new();
        for word in [
            0xd00d_feed,
            total,
            structure,
            strings,
            40,
            17,
            16,
            0,
            sizes[0] as u32,
            sizes[1] as u32,
        ] {
            tree.extend(word.to_be_bytes());
        }
        tree.extend([0; 16]);
        tree.extend(self.structure);
        tree.extend(self.strings);
        tree
    }
}

vb3_fuzz::target!(|steps: Vec<Step>| {
    let (mut writer, mut depth) = (Writer::default(), 1);
    writer.begin("");
    for step in steps.iter().take(200) {
        match step {
            Step::Begin { name, at } => {
                writer.begin(&format!(
                    "{}@{at:x}",
                    NODES[usize::from(*name) % NODES.len()]
                ));
                depth += 1;
            }
            Step::Put(property) => writer.put(property),
            Step::End if depth > 1 => {
                writer.word(2);
                depth -= 1;
            }
            Step::End => {}
        }
    }
    (0..depth).for_each(|_| writer.word(2));
    match Board::read(&writer.finish()) {
        Ok(board) => {
            let text = board.profile(Some(1 << 30));
            Profile::parse(&text).unwrap_or_else(|e| panic!("{e} in\n{text}"));
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
});
