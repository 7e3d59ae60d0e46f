//! Property of `LineSplitter`: any chunking of a stream gives the same lines.
//!
//! The first bytes of the input determine the sizes of the chunks.

use statvent_core::line::{LineError, LineSplitter, MAX_LINE_BYTES};

type Lines = Vec<Result<Vec<u8>, LineError>>;

pub(crate) fn split_lines(input: &[u8]) {
    let (cuts, stream) = input.split_at(input.len().min(4));
    let expected = naive(stream);
    assert_eq!(split(&[stream]), expected);
    let mut chunks = Vec::new();
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
        let (chunk, later) = rest.split_at((usize::from(*cut) * 20 + 1).min(rest.len()));
        chunks.push(chunk);
        rest = later;
    }
    assert_eq!(split(&chunks), if chunks.is_empty() { naive(b"") } else { expected });
}

fn split(chunks: &[&[u8]]) -> (Lines, bool) {
    let (mut splitter, mut lines) = (LineSplitter::new(), Vec::new());
    for chunk in chunks {
        splitter.feed(chunk, |line| lines.push(line.map(<[u8]>::to_vec)));
    }
    let torn = splitter.finish() == Err(LineError::Torn);
    (lines, torn)
}

fn naive(stream: &[u8]) -> (Lines, bool) {
    let mut pieces: Vec<_> = stream.split(|byte| *byte == b'\n').collect();
    let last = pieces.pop().unwrap_or_default();
    let too_long = |piece: &&[u8]| piece.len() > MAX_LINE_BYTES;
    let read = |piece: &[u8]| if too_long(&piece) { Err(LineError::TooLong) } else { Ok(piece.to_vec()) };
    let mut lines: Lines = pieces.into_iter().map(read).collect();
    if too_long(&last) {
        lines.push(Err(LineError::TooLong));
    }
    (lines, !last.is_empty() && !too_long(&last))
}
