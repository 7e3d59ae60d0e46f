//! No file depends on itself by way of others: each can be read, understood and changed with those below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::imports::{Dependencies, dependencies};
use super::{complain, root};

/// The root files of all crates.
const CRATES: &[&str] = &[
    "core/src/lib.rs",
    "posix/src/lib.rs",
    "src/lib.rs",
    "web/src/lib.rs",
    "web/src/main.rs",
    "tests/storm/src/main.rs",
    "benches/peers/src/main.rs",
    "examples/firmware/src/main.rs",
];

/// Returns the circles: each a set of files that all depend on each other, directly or by way of others in the set.
fn circles(dependencies: &Dependencies) -> Vec<BTreeSet<&str>> {
    let mut reachable: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in dependencies.keys() {
        reachable.entry(from).or_default().insert(to);
    }
    loop {
        let mut has_grown = false;
        for file in reachable.keys().copied().collect::<Vec<_>>() {
            let further: BTreeSet<&str> =
                reachable[file].iter().filter_map(|next| reachable.get(next)).flatten().copied().collect();
            let known = reachable.entry(file).or_default();
            let n_before = known.len();
            known.extend(further);
            has_grown |= known.len() > n_before;
        }
        if !has_grown {
            break;
        }
    }
    let depends = |from: &str, to: &str| reachable.get(from).is_some_and(|files| files.contains(to));
    let circles: BTreeSet<BTreeSet<&str>> = reachable
        .keys()
        .filter(|file| depends(file, file))
        .map(|file| reachable[file].iter().copied().filter(|other| depends(other, file)).collect())
        .collect();
    circles.into_iter().collect()
}

fn describe(dependencies: &Dependencies, circle: &BTreeSet<&str>) -> String {
    let within = dependencies
        .iter()
        .filter(|((from, to), _)| circle.contains(&**from) && circle.contains(&**to))
        .map(|((from, to), paths)| {
            let paths: Vec<_> = paths.iter().map(String::as_str).collect();
            format!("  {from} -> {to}: {}", paths.join(", "))
        });
    let arrows: Vec<_> = within.collect();
    format!("a circle of {} files:\n{}", circle.len(), arrows.join("\n"))
}

#[test]
fn no_file_depends_on_itself_by_way_of_others() {
    let source_of = |file: &str| fs::read_to_string(root().join(file)).ok();
    let mut complaints = Vec::new();
    for crate_root in CRATES {
        let dependencies = dependencies(crate_root, &source_of);
        assert!(!dependencies.is_empty(), "{crate_root}: its dependencies were found");
        complaints.extend(circles(&dependencies).iter().map(|circle| describe(&dependencies, circle)));
    }
    complain(complaints);
}

/// The circles of a crate with these files.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let source_of =
        |wanted: &str| files.iter().find(|(file, _)| *file == wanted).map(|(_, text)| (*text).to_owned());
    let dependencies = dependencies("lib.rs", &source_of);
    circles(&dependencies).into_iter().map(|circle| circle.into_iter().map(str::to_owned).collect()).collect()
}

#[test]
fn circles_are_found_behind_reexports_aliases_globs_inline_paths_and_macros() {
    let lib = "mod a; mod b { pub(crate) use inner::B as Alias; mod inner; } pub use a::A;";
    let cases = [
        "use crate::b::Alias; pub struct A(Alias);",
        "pub struct A(super::b::Alias);",
        "use crate::b; pub struct A(b::Alias);",
        "use crate::b::{self as other}; pub fn a() -> other::Alias { todo() } pub struct A;",
        "use crate::b::*; pub struct A; fn f(_: &Alias) {}",
        "pub struct A; fn f() { assert!(crate::b::Alias::new()); }",
        "pub struct A; macro_rules! m { () => { $crate::b::Alias }; }",
    ];
    for a in cases {
        let files = [("lib.rs", lib), ("a.rs", a), ("b/inner.rs", "use crate::A; pub struct B(A);")];
        assert_eq!(circles_of(&files), [["a.rs", "b/inner.rs"]], "{a}");
    }
}

#[test]
fn a_child_may_use_its_parents_file_only_if_that_uses_nothing_of_the_child() {
    let child = ("a/child.rs", "pub struct Child(super::A);");
    let lib = ("lib.rs", "mod a;");
    assert!(circles_of(&[lib, ("a/mod.rs", "mod child; pub struct A;"), child]).is_empty());
    let parent = ("a/mod.rs", "mod child; pub use child::Child; pub struct A;");
    assert_eq!(circles_of(&[lib, parent, child]), [["a/child.rs", "a/mod.rs"]]);
}

#[test]
fn mod_lines_tests_and_other_crates_are_no_dependencies() {
    let lib = "mod a; mod b; #[cfg(test)] mod tests;";
    let a = "use memchr::memchr; use b::B; pub struct A; \
             #[cfg(test)] mod tests { use crate::b::B; } \
             impl A { #[cfg(test)] fn new() -> crate::b::B { todo() } }";
    let files = [("lib.rs", lib), ("a.rs", a), ("b.rs", "pub struct B(crate::a::A);")];
    assert_eq!(circles_of(&files), Vec::<Vec<String>>::new());
}
