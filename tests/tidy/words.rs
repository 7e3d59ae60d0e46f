//! Prose uses the words that a working engineer would say aloud.

use super::{complain, is_own, texts};

/// Words that make a sentence hard to read, in identifiers too; beside each what to write instead.
const BANNED: &[(&str, &str)] = &[
    ("alone", "only"),
    ("anew", "again, or a fresh ..."),
    ("anybody", "any process, any reader"),
    ("believe", "accept, or treat as complete"),
    ("believed", "accepted, or complete"),
    ("believes", "accepts"),
    ("called by", "leave it out: a list of callers is soon wrong"),
    ("everybody", "every process, every reader"),
    ("for want of", "without"),
    ("heard", "received"),
    ("nobody", "no process, no reader"),
    ("of which", "which, whose, or a new sentence"),
    ("said", "sent, written, reported"),
    ("somebody", "a process, a reader"),
    ("told", "sent, logged, reported"),
    ("whatever", "any, or all that"),
    ("whoever", "any process that, any user who"),
];

/// Returns the banned word or pair of words in a line, and what to write instead.
fn banned_in(line: &str) -> Option<(&'static str, &'static str)> {
    let words: Vec<_> = line
        .split(|char: char| !char.is_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let has = |banned: &str| {
        let parts: Vec<_> = banned.split(' ').collect();
        words.windows(parts.len()).any(|window| window == parts)
    };
    BANNED.iter().find(|(banned, _)| has(banned)).copied()
}

#[test]
fn sentences_use_plain_words() {
    let mut complaints = Vec::new();
    for file in texts(&["rs", "md"]).iter().filter(|file| !is_own(&file.path)) {
        for (line_idx, line) in file.text.lines().enumerate() {
            if let Some((banned, instead)) = banned_in(line) {
                complaints.push(format!(
                    "{}:{}: \"{banned}\", write {instead}: {}",
                    file.path,
                    line_idx + 1,
                    line.trim()
                ));
            }
        }
    }
    complain(complaints);
}

#[test]
fn banned_words_are_found_in_identifiers_and_not_in_longer_words() {
    assert_eq!(banned_in("fn what_nobody_told_us() {}").map(|(word, _)| word), Some("nobody"));
    assert_eq!(banned_in("/// Called by the collector.").map(|(word, _)| word), Some("called by"));
    assert_eq!(banned_in("a standalone program, an unbelieved one"), None);
}
