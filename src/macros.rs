//! The recording macros: names are checked at compile time and looked up once per call site.
//!
//! Owns the grammar of the macros. They keep names by reference. `statvent-core`'s `Registry` does the work.

/// Adds to a stat: `incr!("name")` adds 1, `incr!("name", 5)` adds 5.
///
/// With a `static` registry as the first argument it writes there: `incr!(STATS, "name", 5)`. The name is a literal; an
/// invalid name does not compile. After its first use, a call site takes no lock, allocates nothing and makes no system
/// call. A value that cannot be stored is counted in the stat `statvent.rejected`.
///
/// ```
/// use statvent::incr;
///
/// for n_bytes in [100, 250] {
///     incr!("requests");
///     incr!("bytes", n_bytes);
/// }
/// assert_eq!(statvent::get("bytes"), Some(350.into()));
/// ```
///
/// ```compile_fail
/// statvent::incr!("ends with a space ");
/// ```
///
/// A call site belongs to one registry, so the registry must be a `static`, not a variable:
///
/// ```compile_fail
/// static STATS: statvent::Registry<2, 0, 0> = statvent::Registry::new();
/// let stats = &STATS;
/// statvent::incr!(stats, "requests");
/// ```
#[macro_export]
macro_rules! incr {
    ($name:literal $(,)?) => {
        $crate::__at_site!($crate::__global!(), incr_at, literal_name, $name, 1)
    };
    ($name:literal, $value:expr $(,)?) => {
        $crate::__at_site!($crate::__global!(), incr_at, literal_name, $name, $value)
    };
    ($registry:path, $name:literal $(,)?) => {
        $crate::incr!($registry, $name, 1)
    };
    ($registry:path, $name:literal, $value:expr $(,)?) => {
        $crate::__at_site!($crate::__item!($registry), incr_at, literal_name, $name, $value)
    };
}

/// Sets a stat: `set!("name", 1.5)`, or `set!(STATS, "name", 1.5)` for a registry of your own.
///
/// Names, cost and limits are those of [`incr!`](crate::incr!).
///
/// ```
/// use statvent::set;
///
/// set!("temperature", 21.5);
/// set!("temperature", 22.0);
/// assert_eq!(statvent::get("temperature"), Some(22.0.into()));
/// ```
#[macro_export]
macro_rules! set {
    ($name:literal, $value:expr $(,)?) => {
        $crate::__at_site!($crate::__global!(), set_at, literal_name, $name, $value)
    };
    ($registry:path, $name:literal, $value:expr $(,)?) => {
        $crate::__at_site!($crate::__item!($registry), set_at, literal_name, $name, $value)
    };
}

/// Adds a sample to a series: `record!("rpc.{0}", seconds)`, or `record!(STATS, "rpc.{0}", seconds)`.
///
/// Names, cost and limits are those of [`incr!`](crate::incr!). The name contains `{0}`, which stands for the label.
///
/// ```
/// use statvent::record;
///
/// record!("rpc.{0}.seconds", 0.012);
/// ```
///
/// ```compile_fail
/// statvent::record!("rpc.seconds", 0.012);
/// ```
#[macro_export]
macro_rules! record {
    ($name:literal, $value:expr $(,)?) => {
        $crate::__at_site!($crate::__global!(), record_at, literal_template, $name, $value)
    };
    ($registry:path, $name:literal, $value:expr $(,)?) => {
        $crate::__at_site!($crate::__item!($registry), record_at, literal_template, $name, $value)
    };
}

/// One call site. The caller's expressions are evaluated outside of the block with the macro's items, which would
/// otherwise shadow the caller's.
#[doc(hidden)]
#[macro_export]
macro_rules! __at_site {
    ($registry:expr, $method:ident, $check:ident, $name:literal, $value:expr) => {
        match (&$registry, $value) {
            (registry, value) => {
                static SITE: $crate::__private::CallSite = $crate::__private::CallSite::new();
                const NAME: &str = $crate::__private::$check($name);
                registry.$method(&SITE, NAME, value)
            }
        }
    };
}

/// Accepts only a registry that is an item: a function in a constant cannot use a variable.
#[doc(hidden)]
#[macro_export]
macro_rules! __item {
    ($registry:path) => {{
        const _: fn() = || _ = &$registry;
        &$registry
    }};
}

#[cfg(feature = "posix")]
#[doc(hidden)]
#[macro_export]
macro_rules! __global {
    () => {
        $crate::GLOBAL
    };
}

#[cfg(not(feature = "posix"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __global {
    () => {
        compile_error!("found no global registry: enable the feature `posix`, or name a registry first, as in incr!(STATS, \"name\")")
    };
}
