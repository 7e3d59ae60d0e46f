//! The text of one snapshot, in memory that is used again for the next.
//!
//! Owns that memory. Its size is bounded by the registry's: a line for each stat, a few for each series. Called by
//! the recorder.

use statvent_core::Snapshot;
use statvent_core::line::MAX_OWN_LINE_BYTES;

const FIRST_BYTES: usize = 64 * 1024;

/// The lines of the last snapshot.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// Never shortened, so that nothing is cleared before it is overwritten.
    room: Vec<u8>,
}

impl Text {
    /// Writes all lines of a snapshot and returns them. Allocates when they are more than ever before.
    pub(crate) fn of(&mut self, mut snapshot: Snapshot<'_>) -> &[u8] {
        let mut n_bytes = 0;
        loop {
            if self.room.len() - n_bytes < MAX_OWN_LINE_BYTES {
                self.room.resize((self.room.len() * 2).max(FIRST_BYTES), 0);
            }
            // There is room for one line at least, so that nothing is refused.
            match snapshot.fill(&mut self.room[n_bytes..]) {
                Ok(n) if n > 0 => n_bytes += n,
                _ => return &self.room[..n_bytes],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_core::Registry;

    #[test]
    fn grows_for_a_large_snapshot_and_forgets_the_one_before() {
        static MANY: Registry<2048, 2, 262_144> = Registry::new();
        static FEW: Registry<2, 2, 16> = Registry::new();
        let mut expected = String::new();
        for i in 0..2000 {
            let name = format!("a.name.that.is.long.enough.to.fill.more.than.the.first.room.{i}");
            MANY.incr(&name, i);
            expected.push_str(&format!("{name}: {i}\n"));
        }
        FEW.incr("few", 1);
        let mut text = Text::default();
        assert_eq!(text.of(MANY.snapshot()), expected.as_bytes());
        assert_eq!(text.of(FEW.snapshot()), b"few: 1\n");
    }
}
