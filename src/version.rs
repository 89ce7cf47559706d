//! The version of this program: of its package, and the commit that it was built from.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that the program was built from, as 12 hexadecimal digits, or `unknown`: for builds without optimisation,
/// and for those outside of a clone without the environment variable `EARMARK_COMMIT`.
pub const COMMIT: &str = env!("EARMARK_BUILD_COMMIT");
