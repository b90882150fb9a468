//! Reads the fields of controls that are structures.

/// A value of a field: a number or an array.
pub(super) trait Value {
    /// Reads the value at the start of `bytes`. Missing bytes give 0.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! numbers {
    ($($number:ident)*) => {$(
        impl Value for $number {
            fn read(bytes: &[u8]) -> Self {
                let raw = bytes.first_chunk();
                raw.map_or(0, |raw| Self::from_ne_bytes(*raw))
            }
        }
    )*};
}
numbers!(u8 i8 u16 i16 u32 i32 u64);

impl<T: Value, const N: usize> Value for [T; N] {
    fn read(bytes: &[u8]) -> Self {
        let at = |index: usize| bytes.get(index * size_of::<T>()..);
        std::array::from_fn(|index| T::read(at(index).unwrap_or_default()))
    }
}

/// The bytes of a control's value. The default stands for a value of zeros.
#[derive(Clone, Copy, Default)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Returns the bytes of a control with this structure; `None` if their number is wrong.
    pub(super) fn of<Control>(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() == size_of::<Control>()).then_some(Self(bytes))
    }

    /// Returns the bytes from offset `at` on.
    pub(super) fn part(&self, at: usize) -> Self {
        Self(self.0.get(at..).unwrap_or_default())
    }

    pub(super) fn get<T: Value>(&self, at: usize) -> T {
        T::read(self.part(at).0)
    }
}

/// Makes a structure from the bytes of fields with the same names in Linux's structure, and from further
/// fields.
macro_rules! fields {
    ($to:ident from $bytes:expr, $of:ident: $($field:ident),*; $($rest:tt)*) => {
        $to { $($field: $bytes.get(core::mem::offset_of!(vb3_v4l2::sys::$of, $field)),)* $($rest)* }
    };
}
pub(super) use fields;

/// Defines a structure with some fields of a control, and its parser.
macro_rules! structure {
    ($(#[$doc:meta])* $name:ident from $of:ident { $($field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        struct $name {
            $($field: $ty,)*
        }

        impl $name {
            /// Parses a control's value; `None` if its size is wrong.
            fn read(bytes: &[u8]) -> Option<Self> {
                let control = Bytes::of::<vb3_v4l2::sys::$of>(bytes)?;
                Some(fields!(Self from control, $of: $($field),*;))
            }
        }
    };
}
pub(super) use structure;
