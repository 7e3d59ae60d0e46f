//! House rules that a compiler does not check, over all source files of the repository.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod circles;
mod imports;
mod quotes;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 400;

/// Whether a file states these rules, and so quotes what they ban.
fn is_own(path: &str) -> bool {
    path.starts_with("tests/tidy/")
}

/// Where the sources of the four packages are.
const SOURCE_FOLDERS: [&str; 4] = ["core/src/", "posix/src/", "src/", "web/src/"];

struct Source {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let skipped = name.starts_with('.') || ["target", "corpus", "artifacts"].contains(&&*name);
        if entry.file_type().unwrap().is_dir() {
            if !skipped {
                files_below(&entry.path(), found);
            }
        } else {
            found.push(entry.path());
        }
    }
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

/// All files of the repository with one of these extensions.
fn texts(extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    files_below(root(), &mut found);
    let has_extension = |path: &Path| {
        path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
    };
    found
        .into_iter()
        .filter(|path| has_extension(path))
        .map(|path| Source { path: relative(&path), text: fs::read_to_string(&path).unwrap() })
        .collect()
}

fn sources() -> Vec<Source> {
    let sources = texts(&["rs"]);
    assert!(sources.len() > 30, "the repository's sources were found");
    sources
}

fn complain(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Complains about every line that `is_bad`, except in the files that state the rules.
fn no_line(sources: &[Source], rule: &str, is_bad: impl Fn(&Source, &str) -> bool) {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| !is_own(&source.path)) {
        for (line_idx, line) in source.text.lines().enumerate() {
            if is_bad(source, line) {
                complaints.push(format!("{}:{}: {rule}: {}", source.path, line_idx + 1, line.trim()));
            }
        }
    }
    complain(complaints);
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let mut complaints = Vec::new();
    for Source { path, text } in sources() {
        if text.lines().count() > MAX_LINES {
            complaints.push(format!("{path}: longer than {MAX_LINES} lines"));
        }
        let header = text.lines().next().unwrap_or_default();
        if !header.starts_with("//!") && !header.starts_with("#![doc = include_str!") {
            complaints.push(format!("{path}: does not begin with what it owns (//!)"));
        }
    }
    complain(complaints);
}

/// Watching that nothing happens takes time; a function of this name does that, and no other.
const MAY_SLEEP: &str = "fn observe_for(";

#[test]
fn tests_wait_for_events_and_do_not_sleep() {
    let mut complaints = Vec::new();
    for source in sources().into_iter().filter(|source| !is_own(&source.path)) {
        let mut in_tests = source.path.contains("/tests/") || source.path.starts_with("tests/");
        let mut function = "";
        for line in source.text.lines() {
            in_tests |= line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
            if line.contains("fn ") {
                function = line;
            }
            if in_tests && line.contains("sleep(") && !function.contains(MAY_SLEEP) {
                complaints.push(format!(
                    "{}: waits for time, not for an event: {}",
                    source.path,
                    line.trim()
                ));
            }
        }
    }
    complain(complaints);
}

#[test]
fn tests_are_named_after_behaviour_and_none_is_switched_off() {
    no_line(&sources(), "house rule for tests", |_, line| {
        ["fn test_", "#[ignore", "should_panic"].iter().any(|bad| line.contains(bad))
    });
}

#[test]
fn what_is_to_be_done_has_an_issue() {
    no_line(&sources(), "needs the number of an issue, as in TODO(#12)", |_, line| {
        ["TODO", "FIXME", "XXX"].iter().any(|mark| line.contains(mark)) && !line.contains("TODO(#")
    });
}

#[test]
fn core_takes_atomics_from_one_place() {
    no_line(&sources(), "import it from crate::sync", |source, line| {
        source.path.starts_with("core/src/")
            && !["core/src/sync.rs", "core/src/models.rs"].contains(&&*source.path)
            && ["sync::atomic", "portable_atomic", "loom::sync"].iter().any(|module| line.contains(module))
    });
}

/// The packages that each package may depend on; no arrow runs back.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("posix", &["core"]),
    (".", &["core", "posix"]),
    ("web", &["core", "posix"]),
    ("fuzz", &["core", "web"]),
];

#[test]
fn packages_depend_on_each_other_in_one_direction() {
    let package = |folder: &str| match folder {
        "." => "statvent".to_owned(),
        folder => format!("statvent-{folder}"),
    };
    let mut complaints = Vec::new();
    for (folder, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            let is_ours = name == "statvent" || name.starts_with("statvent-");
            let is_allowed = allowed.iter().any(|other| package(other) == name);
            if section.ends_with("dependencies]")
                && !section.contains("dev-")
                && section != "[workspace.dependencies]"
                && is_ours
                && !is_allowed
            {
                complaints.push(format!("{folder}: must not depend on {name}"));
            }
        }
    }
    complain(complaints);
}

#[test]
fn the_map_shows_every_source_file_and_no_other() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let shown: BTreeSet<_> = map
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.ends_with(".rs") && word.contains("src/"))
        .map(str::to_owned)
        .collect();
    let there: BTreeSet<_> = sources()
        .into_iter()
        .map(|source| source.path)
        .filter(|path| SOURCE_FOLDERS.iter().any(|folder| path.starts_with(folder)))
        .collect();
    let missing: Vec<_> = there.difference(&shown).map(|path| format!("not in the map: {path}")).collect();
    let gone: Vec<_> =
        shown.difference(&there).map(|path| format!("in the map, not there: {path}")).collect();
    complain([missing, gone].concat());
}
