//! The documentation says nothing that is not there: links resolve, commands exist, tables are whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kalamdb_commons::settings::SettingKey;
use kalamdb_tests::repository_path;

/// Every Markdown file of the repository: those at its root and those below `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&repository_path(""), false, &mut found);
    collect(&repository_path("docs"), true, &mut found);
    assert!(found.len() > 5, "{found:?}");
    found
}

fn collect(directory: &Path, deep: bool, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() && deep {
            collect(&path, deep, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text without fenced code and code spans, where brackets mean something else.
fn prose(text: &str) -> String {
    let mut in_fence = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_fence ^= fence;
        !in_fence && !fence
    });
    lines.map(|line| line.split('`').step_by(2).collect::<Vec<_>>().join("`")).collect::<Vec<_>>().join("\n")
}

/// The code of a page's fenced blocks in this language.
fn fenced<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// What `[text](target)` points to.
fn targets(text: &str) -> Vec<String> {
    prose(text)
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split_whitespace().next().unwrap_or_default().to_owned())
        .collect()
}

/// A heading's anchor: lower case, words joined by hyphens, without punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn relative_links_resolve() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        for target in targets(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target.as_str(), ""));
            let linked =
                if file.is_empty() { page.clone() } else { page.parent().expect("a file has a directory").join(file) };
            let found = linked.try_exists().unwrap_or(false);
            if !found || (!anchor.is_empty() && !anchors(&read(&linked)).contains(anchor)) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(checked > 20, "only {checked} links looked at");
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn no_page_lies_directly_in_docs() {
    let mut found = Vec::new();
    collect(&repository_path("docs"), false, &mut found);
    assert!(found.is_empty(), "{found:?} belongs into build, quickstart or architecture");
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = read(&repository_path("Makefile"));
    let rules: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.', ' ']))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        for (_, rest) in text.match_indices("make ").map(|(at, _)| text.split_at(at)) {
            let is_command = text[..text.len() - rest.len()].ends_with(['`', '\n']);
            let word = rest["make ".len()..].split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap_or("");
            if !is_command || word.is_empty() {
                continue;
            }
            checked += 1;
            assert!(rules.contains(word), "{}: `make {word}` is no target of {rules:?}", page.display());
        }
    }
    assert!(checked >= 5, "only {checked} commands looked at");
}

#[test]
fn packages_and_scripts_that_are_named_exist() {
    let manifest = read(&repository_path("Cargo.toml"));
    let members: BTreeSet<String> = manifest
        .lines()
        .skip_while(|line| !line.starts_with("members"))
        .skip(1)
        .take_while(|line| !line.starts_with(']'))
        .map(|line| line.trim().trim_matches(|c| c == '"' || c == ',').to_owned())
        .map(|member| {
            let manifest = read(&repository_path(&member).join("Cargo.toml"));
            let name = manifest.lines().find_map(|line| line.strip_prefix("name = ")).expect("a package has a name");
            name.trim_matches('"').to_owned()
        })
        .collect();
    assert!(members.len() >= 10, "{members:?}");
    for page in pages() {
        let text = read(&page);
        for command in fenced(&text, "sh") {
            for words in command.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()) {
                for pair in words.windows(2).filter(|pair| pair[0] == "-p") {
                    assert!(members.contains(pair[1]), "{}: no package {}", page.display(), pair[1]);
                }
            }
        }
        for script in text.split('`').filter(|span| span.starts_with(".ci/") && !span.contains(char::is_whitespace)) {
            assert!(repository_path(script).is_file(), "{}: no file {script}", page.display());
        }
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read(&repository_path("Cargo.toml"));
    let named: BTreeSet<String> = manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| !name.starts_with("kalamdb-") && !name.starts_with(['"', '#']))
        .collect();
    let page = read(&repository_path("docs/build/dependencies.md"));
    let explained: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name != "crate")
        .collect();
    assert!(named.len() > 20, "{named:?}");
    assert_eq!(named, explained, "Cargo.toml and docs/build/dependencies.md");
}

#[test]
fn every_invariant_that_is_cited_is_in_the_overview() {
    let overview = read(&repository_path("docs/architecture/overview.md"));
    let listed: BTreeSet<String> = overview
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
        .map(|(id, _)| id.to_owned())
        .filter(|id| is_invariant(id))
        .collect();
    assert!(listed.len() > 10, "{listed:?}");
    let mut unknown = Vec::new();
    for folder in ["protocol", "storage", "actors", "server", "tests"] {
        cited(&repository_path(folder), &mut |path, id| {
            if !listed.contains(id) {
                unknown.push(format!("{}: {id}", path.display()));
            }
        });
    }
    assert!(unknown.is_empty(), "cited and not listed:\n{}", unknown.join("\n"));
}

/// Two capital letters, a hyphen, a number, of a family of invariants.
fn is_invariant(word: &str) -> bool {
    let families = ["PA", "WR", "SQ", "CA", "EN", "FM", "DO", "AC", "FL", "SE"];
    word.split_once('-').is_some_and(|(family, number)| {
        families.contains(&family) && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
    })
}

fn cited(path: &Path, tell: &mut dyn FnMut(&Path, &str)) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a readable directory") {
            cited(&entry.expect("a readable directory").path(), tell);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let text = read(path);
        let comments = text.lines().filter_map(|line| line.split_once("//")).map(|(_, comment)| comment);
        for word in comments.flat_map(|comment| comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')) {
            if is_invariant(word) {
                tell(path, word);
            }
        }
    }
}

/// Settings that are accepted, and change nothing so far: the shipped file is silent about them.
const NOT_ACTED_ON: [&str; 2] = ["backup.dir", "compaction.enabled"];

#[test]
fn every_setting_is_in_the_shipped_file() {
    let shipped = read(&repository_path("settings.toml"));
    let mut section = String::new();
    let mut named = BTreeSet::new();
    for line in shipped.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            named.insert(format!("{section}.{key}"));
        }
    }
    let known: BTreeSet<String> = SettingKey::ALL.iter().map(|key| key.name.to_owned()).collect();
    for name in NOT_ACTED_ON {
        assert!(known.contains(name), "{name} is no setting: take it off this test's list");
        assert!(named.insert(name.to_owned()), "settings.toml has {name}: take it off this test's list");
    }
    assert_eq!(named, known, "settings.toml, and the settings that there are");
}
