//! A program's structure as bytes, accessed by field offset.

pub(crate) use vb3_frontend::Image;

/// Size of the largest structure of an ioctl in bytes (`drm_stats`), rounded up.
pub(crate) const MAX_ARG: usize = 256;
/// Maximum number of entries of an array in a program's memory that one call reads.
pub(crate) const MAX_ENTRIES: u32 = 4096;
/// Length in bytes of the longest such array.
// CAST: widening.
pub(crate) const MAX_ARRAY: u64 = MAX_ENTRIES as u64 * 8;

/// The structure of a call.
pub(crate) type Arg = Image<[u8; MAX_ARG]>;

/// Offset of a field of a structure in [`crate::sys`].
macro_rules! at {
    ($ty:ident . $name:ident) => {
        core::mem::offset_of!($crate::sys::$ty, $name)
    };
}

/// Returns fields of a call's structure, each with its own type.
macro_rules! get {
    ($arg:expr, $ty:ident: $($name:ident),+) => {
        ($($crate::bytes::get_field(
            &$arg,
            $crate::bytes::at!($ty.$name),
            |of: &$crate::sys::$ty| &of.$name,
        )),+)
    };
}

/// Sets fields of a call's structure.
macro_rules! set {
    ($arg:expr, $ty:ident: $($name:ident = $value:expr),+) => {$(
        $crate::bytes::set_field(
            &mut $arg,
            ($crate::bytes::at!($ty.$name), $value),
            |of: &$crate::sys::$ty| &of.$name,
        );
    )+};
}
pub(crate) use {at, get, set};

/// The type of a field.
pub(crate) trait Field: Sized {
    fn get(arg: &Arg, at: usize) -> Self;
    fn set(self, arg: &mut Arg, at: usize);
}

macro_rules! numbers {
    ($($ty:ty)*) => {$(
        impl Field for $ty {
            fn get(arg: &Arg, at: usize) -> Self {
                Self::from_ne_bytes(arg.bytes(at))
            }
            fn set(self, arg: &mut Arg, at: usize) {
                arg.set_bytes(at, self.to_ne_bytes());
            }
        }
    )*};
}
numbers! { u8 u16 u32 i32 u64 i64 }

impl<T: Field, const N: usize> Field for [T; N] {
    fn get(arg: &Arg, at: usize) -> Self {
        core::array::from_fn(|n| T::get(arg, at + n * size_of::<T>()))
    }
    fn set(self, arg: &mut Arg, at: usize) {
        for (n, value) in self.into_iter().enumerate() {
            value.set(arg, at + n * size_of::<T>());
        }
    }
}

/// Returns the field at an offset. `_of` only gives the field's type.
pub(crate) fn get_field<S, T: Field>(arg: &Arg, at: usize, _of: fn(&S) -> &T) -> T {
    T::get(arg, at)
}

/// Sets the field at an offset. `_of` only gives the field's type.
pub(crate) fn set_field<S, T: Field>(arg: &mut Arg, (at, value): (usize, T), _of: fn(&S) -> &T) {
    value.set(arg, at);
}
