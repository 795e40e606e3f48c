//! Which build this is.

use kalamdb_core::BuildInfo;

/// Version, branch and commit of this build; `unknown` where it was not built from a repository.
pub const BUILD: BuildInfo =
    BuildInfo { version: env!("CARGO_PKG_VERSION"), branch: env!("KALAMDB_BRANCH"), commit: env!("KALAMDB_COMMIT") };

/// All of it, for people.
#[must_use]
pub fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (branch ", env!("KALAMDB_BRANCH"), ", commit ", env!("KALAMDB_COMMIT"), ")")
}
