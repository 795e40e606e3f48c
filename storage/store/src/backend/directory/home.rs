//! What tells a data directory from a copy of it.
//!
//! A file is made in it once, [`HOME`], and never written again. Its number and birth, and the directory's own number,
//! stay as they are when the directory is renamed within its file system. `cp`, `rsync` and a restored backup make new
//! ones, whatever times and owners they keep, and so does moving it to another file system.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::{DataDirectory, refused, sync_directory};
use crate::StoreError;
use crate::backend::FoundHome;
use crate::codec::meta::Home;

/// The file that marks where a data directory was made.
pub const HOME: &str = "KALAMDB.home";

/// What it says: only that it is this very file matters.
const WORDS: &str = "KalamDB knows this data directory from copies of it by this file.\n";

/// The machine's name for itself.
const MACHINE: &str = "/etc/machine-id";

impl DataDirectory {
    /// What the directory is known by; marks it if that has not been done.
    ///
    /// # Errors
    /// [`StoreError::Directory`] when it cannot be read or written.
    pub fn home(&self) -> Result<FoundHome, StoreError> {
        home(&self.path).map_err(|error| refused(&self.path.join(HOME), "cannot be marked", &error))
    }
}

fn home(directory: &Path) -> io::Result<FoundHome> {
    let path = directory.join(HOME);
    let (marker, is_new) = match fs::symlink_metadata(&path) {
        Ok(marker) => (marker, false),
        Err(error) if error.kind() == ErrorKind::NotFound => (mark(directory, &path)?, true),
        Err(error) => return Err(error),
    };
    let home = Home {
        directory: fs::metadata(directory)?.ino(),
        marker: marker.ino(),
        born: born(&marker),
        machine: fs::read_to_string(MACHINE).ok().as_deref().and_then(machine_of),
    };
    Ok(FoundHome { home, is_new })
}

/// On disk before anybody writes down what it is known by.
fn mark(directory: &Path, path: &Path) -> io::Result<Metadata> {
    let mut file = File::create_new(path)?;
    file.write_all(WORDS.as_bytes())?;
    file.sync_all()?;
    sync_directory(directory)?;
    file.metadata()
}

/// Not every file system keeps it.
fn born(marker: &Metadata) -> Option<i64> {
    let since = marker.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// Images of containers have the file without a name in it.
fn machine_of(text: &str) -> Option<String> {
    let name = text.trim();
    (name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// As `cp -a`.
    fn copy(from: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap().path();
            fs::copy(&entry, to.join(entry.file_name().unwrap())).unwrap();
        }
    }

    #[test]
    fn a_directory_is_known_again_where_it_was_and_under_another_name() {
        let parent = TempDir::new().unwrap();
        let (one, other) = (parent.path().join("one"), parent.path().join("other"));
        fs::create_dir(&one).unwrap();
        let first = home(&one).unwrap();
        assert!(first.is_new);
        let again = home(&one).unwrap();
        assert_eq!((&again.home, again.is_new), (&first.home, false));
        fs::rename(&one, &other).unwrap();
        assert_eq!(home(&other).unwrap(), again);
    }

    #[test]
    fn a_copy_is_another_also_in_its_place_and_with_linked_files() {
        let parent = TempDir::new().unwrap();
        let (one, other, linked) =
            (parent.path().join("one"), parent.path().join("other"), parent.path().join("linked"));
        fs::create_dir(&one).unwrap();
        let first = home(&one).unwrap().home;
        copy(&one, &other);
        let copied = home(&other).unwrap();
        assert!(!copied.is_new && copied.home != first, "{copied:?}");
        fs::create_dir(&linked).unwrap();
        fs::hard_link(one.join(HOME), linked.join(HOME)).unwrap();
        let hard = home(&linked).unwrap().home;
        assert!(hard.marker == first.marker && hard != first, "{hard:?}");
        // Put back into the very directory, with the first file still there under another name: the number is not
        // given again.
        fs::rename(one.join(HOME), parent.path().join("kept")).unwrap();
        fs::copy(other.join(HOME), one.join(HOME)).unwrap();
        let back = home(&one).unwrap();
        assert!(!back.is_new && back.home.directory == first.directory && back.home != first, "{back:?}");
    }

    #[test]
    fn a_marker_that_is_gone_is_made_anew_and_said_to_be() {
        let directory = TempDir::new().unwrap();
        assert!(home(directory.path()).unwrap().is_new);
        fs::remove_file(directory.path().join(HOME)).unwrap();
        assert!(home(directory.path()).unwrap().is_new);
        assert!(!home(directory.path()).unwrap().is_new);
    }

    #[test]
    fn a_machine_without_a_name_has_none() {
        let name = "0123456789abcdef0123456789abcdef";
        assert_eq!(machine_of(&format!("{name}\n")), Some(name.to_owned()));
        assert_eq!(machine_of(""), None);
        assert_eq!(machine_of("uninitialized\n"), None);
    }
}
