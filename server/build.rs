//! Tells the program which branch and commit it is built from, and has its relocations packed.
//!
//! `KALAMDB_BRANCH` and `KALAMDB_COMMIT` say it where there is no repository (an image's build); outside
//! a repository and without them it is `unknown`. Only what Git writes when HEAD moves is watched, so an
//! unchanged tree is not built again.

use std::path::Path;
use std::process::Command;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let own_repository = git(root, &["rev-parse", "--show-toplevel"])
        .and_then(|top| Path::new(&top).canonicalize().ok())
        .is_some_and(|top| root.canonicalize().is_ok_and(|root| root == top));
    let ask = |arguments: &[&str]| own_repository.then(|| git(root, arguments)).flatten();

    report("KALAMDB_BRANCH", ask(&["rev-parse", "--abbrev-ref", "HEAD"]));
    report("KALAMDB_COMMIT", ask(&["rev-parse", "--short=12", "HEAD"]));
    pack_relocations();
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["HEAD", "logs/HEAD"] {
        let path = ask(&["rev-parse", "--git-path", name]).map(|path| root.join(path));
        // A missing file would make every build a new one.
        if let Some(path) = path.filter(|path| path.is_file()) {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}

/// The loader reads every relocation of a program when it starts, and those pages stay in memory: 17 MB of an unoptimised
/// build, 6 MB of an optimised one. Packed they are a fiftieth of it. glibc reads the packed form from 2.36 on.
fn pack_relocations() {
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" && glibc().is_some_and(|version| version >= (2, 36)) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's C library, which the program is linked against.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn report(variable: &str, found: Option<String>) {
    println!("cargo:rerun-if-env-changed={variable}");
    let given = std::env::var(variable).ok().filter(|value| !value.is_empty());
    println!("cargo:rustc-env={variable}={}", given.or(found).unwrap_or_else(|| "unknown".to_owned()));
}

fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
