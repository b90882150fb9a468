//! Methods that only call the same method of another object.

/// Defines methods that pass their arguments on to the methods of `$to` with the same names.
macro_rules! forward {
    ($to:expr => $(
        fn $name:ident(&$($this:ident)+ $(, $arg:ident: $type:ty)* $(,)?) $(-> $result:ty)?;
    )*) => {
        $(fn $name(&$($this)+ $(, $arg: $type)*) $(-> $result)? {
            $to.$name($($arg),*)
        })*
    };
}
pub(crate) use forward;
