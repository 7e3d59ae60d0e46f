//! Documents quote only tests and files that exist.

use super::{complain, root, texts};

/// Returns what a text quotes between backticks, line by line.
fn quotes(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Whether a quote is the name of a test, as in `module::behaviour_of_the_unit_under_test`: other names are shorter.
fn is_test_name(quote: &str) -> bool {
    let is_name =
        quote.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_:".contains(&byte));
    is_name && quote.matches('_').count() >= 4
}

/// Whether a quote is the path of a source file from the root of the repository.
fn is_path(quote: &str) -> bool {
    quote.ends_with(".rs")
        && ["core/", "posix/", "web/", "tests/", "fuzz/", "examples/"]
            .iter()
            .any(|folder| quote.starts_with(folder))
}

#[test]
fn documents_quote_tests_and_files_that_exist() {
    let code: String = texts(&["rs"]).iter().map(|file| file.text.as_str()).collect();
    let mut complaints = Vec::new();
    let mut n_tests = 0;
    for file in texts(&["md"]) {
        for quote in quotes(&file.text) {
            let name = quote.rsplit("::").next().unwrap_or(quote);
            n_tests += usize::from(is_test_name(quote));
            if is_test_name(quote) && !code.contains(&format!("fn {name}(")) {
                complaints.push(format!("{}: there is no test {quote}", file.path));
            }
            if is_path(quote) && !root().join(quote).exists() {
                complaints.push(format!("{}: there is no file {quote}", file.path));
            }
        }
    }
    assert!(n_tests > 50, "the tests in the tables of faults were found");
    complain(complaints);
}
