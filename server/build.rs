//! Tells the program which branch and commit it is built from.
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
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["HEAD", "logs/HEAD"] {
        let path = ask(&["rev-parse", "--git-path", name]).map(|path| root.join(path));
        // A missing file would make every build a new one.
        if let Some(path) = path.filter(|path| path.is_file()) {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
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
