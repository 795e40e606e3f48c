//! The files of segments on a machine whose power goes: what was made durable is there afterwards; of the rest, luck
//! decides. The backend's rows are the machine's own affair.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rand::Rng as _;
use rand::rngs::StdRng;

/// As the local storage names what is not complete.
const TEMPORARY: &str = "tmp";

/// See the module.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    /// Files, relative to the root, that a power cut leaves as they are.
    durable: Mutex<HashSet<PathBuf>>,
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == TEMPORARY)
}

/// A file may be renamed or deleted while it is looked at.
fn unless_gone(result: io::Result<()>) {
    if let Err(error) = result {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

impl Disk {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, durable: Mutex::default() }
    }

    /// What is on it now, relative to its root, sorted.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        files_below(&self.root)
    }

    pub(super) fn length(&self, path: &Path) -> u64 {
        fs::metadata(self.root.join(path)).expect("the file is there").len()
    }

    /// Every file that has its name now keeps it, and its bytes.
    pub(super) fn names_are_durable(&self) {
        let named = self.files().into_iter().filter(|path| !is_temporary(path));
        self.durable.lock().expect("no panic").extend(named);
    }

    fn frozen(&self) -> PathBuf {
        self.root.with_extension("frozen")
    }

    /// The power went a moment ago: whatever is done to the files from here on is not what the next life finds.
    pub(super) fn freeze(&self) {
        let frozen = self.frozen();
        if self.root.is_dir() {
            fs::create_dir_all(&frozen).expect("a directory");
        }
        for path in self.files() {
            let copy = frozen.join(&path);
            fs::create_dir_all(copy.parent().expect("below the root")).expect("a directory");
            unless_gone(fs::copy(self.root.join(&path), copy).map(drop));
        }
    }

    /// The next life begins: with what was durable, and some of the rest.
    pub(super) fn thaw(&self, die: &mut StdRng) {
        unless_gone(fs::remove_dir_all(&self.root));
        unless_gone(fs::rename(self.frozen(), &self.root));
        let mut durable = self.durable.lock().expect("no panic");
        for path in self.files().into_iter().filter(|path| !durable.contains(path)) {
            damage(&self.root.join(path), die);
        }
        *durable = self.files().into_iter().collect();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_dir_all(self.frozen());
    }
}

/// What becomes of a file that was not durable. One with its final name had its bytes on disk before, but not the name.
fn damage(path: &Path, die: &mut StdRng) {
    match die.random_range(0..3) {
        0 => {}
        1 => fs::remove_file(path).expect("removed"),
        _ if is_temporary(path) => {
            let length = fs::metadata(path).expect("there").len();
            let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
            file.set_len(die.random_range(0..=length)).expect("cut");
        }
        _ => {
            let name = format!("{}.{TEMPORARY}", path.display());
            fs::rename(path, name).expect("renamed");
        }
    }
}

fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = left.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for path in entries.map(|entry| entry.expect("a readable directory").path()) {
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(root).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}
