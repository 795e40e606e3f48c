use tempfile::TempDir;

use super::*;

const CLAIM: Claim = Claim { backend: "here", format: 2 };

fn claim(path: &Path) -> Result<DataDirectory, StoreError> {
    DataDirectory::claim(path, CLAIM, |_| Ok(false))
}

fn refusal(path: &Path) -> String {
    match claim(path) {
        Err(StoreError::Directory(line)) => line,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_missing_directory_is_made_and_marked() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("a/b/c");
    drop(claim(&path).unwrap());
    assert_eq!(fs::read_to_string(path.join(MARKER)).unwrap(), "backend = \"here\"\nformat = 2\n");
    drop(claim(&path).unwrap());
}

#[test]
fn a_claim_holds_until_it_is_dropped() {
    let directory = TempDir::new().unwrap();
    let held = claim(directory.path()).unwrap();
    assert_eq!(refusal(directory.path()), in_use(directory.path()).to_string());
    drop(held);
    claim(directory.path()).unwrap();
}

#[test]
fn an_interrupted_first_claim_is_taken_up() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(MARKER_DRAFT), "back").unwrap();
    claim(directory.path()).unwrap();
}

#[test]
fn what_is_not_ours_is_refused_untouched() {
    for (marker, reason) in [
        ("backend = \"there\"\nformat = 2\n", "was written by backend \"there\", not by \"here\": move"),
        ("backend = \"here\"\nformat = 3\nmore = [1]\n", "newer version: its format is 3, this version reads up to 2"),
        ("backend = \"here\"\nformat = 0\n", "damaged file KALAMDB"),
        ("backend = \"here\"\n", "damaged file KALAMDB"),
        ("\u{0}\u{0}", "damaged file KALAMDB"),
    ] {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join(MARKER), marker).unwrap();
        let line = refusal(directory.path());
        assert!(line.contains(reason), "{line}");
        assert!(line.contains(&directory.path().display().to_string()), "{line}");
        assert_eq!(line.lines().count(), 1);
        assert_eq!(fs::read_to_string(directory.path().join(MARKER)).unwrap(), marker);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

#[test]
fn files_without_a_marker_are_refused_unless_recognised() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("thesis.txt"), "draft").unwrap();
    assert!(refusal(directory.path()).contains("is not empty and not KalamDB's"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    DataDirectory::claim(directory.path(), CLAIM, |_| Ok(true)).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn a_file_in_its_place_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "").unwrap();
    assert!(refusal(&path).ends_with("is not a directory"));
}

#[test]
fn size_is_the_sum_of_all_files() {
    let directory = TempDir::new().unwrap();
    let claimed = claim(directory.path()).unwrap();
    let before = claimed.size().unwrap();
    fs::create_dir(directory.path().join("deep")).unwrap();
    fs::write(directory.path().join("deep/file"), [0; 1000]).unwrap();
    assert_eq!(claimed.size().unwrap(), before + 1000);
}
