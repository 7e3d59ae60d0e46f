//! Buffer for the text of one snapshot, reused for the next one.
//!
//! Owns that memory. The registry's capacity bounds its size: one line for each stat, a few for each series.

use crate::limits::INITIAL_SNAPSHOT_BYTES;
use statvent_core::Snapshot;
use statvent_core::line::MAX_OWN_LINE_BYTES;

/// Holds the lines of the last snapshot.
#[derive(Debug, Default)]
pub(crate) struct SnapshotBuf {
    /// Never truncated, so that growing zeroes each byte once and not for each snapshot.
    buf: Vec<u8>,
}

impl SnapshotBuf {
    /// Writes all lines of a snapshot into the buffer and returns them. Allocates only if they take more than all before.
    pub(crate) fn render(&mut self, mut snapshot: Snapshot<'_>) -> &[u8] {
        let mut n_bytes = 0;
        loop {
            if self.buf.len() - n_bytes < MAX_OWN_LINE_BYTES {
                self.buf.resize((self.buf.len() * 2).max(INITIAL_SNAPSHOT_BYTES), 0);
            }
            // There is room for the longest line, so `fill` cannot fail.
            match snapshot.fill(&mut self.buf[n_bytes..]) {
                Ok(n) if n > 0 => n_bytes += n,
                _ => return &self.buf[..n_bytes],
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
            let name = format!("a.name.that.is.long.enough.to.fill.more.than.the.initial.buffer.{i}");
            MANY.incr(&name, i);
            expected.push_str(&format!("{name}: {i}\n"));
        }
        FEW.incr("few", 1);
        let mut buf = SnapshotBuf::default();
        assert_eq!(buf.render(MANY.snapshot()), expected.as_bytes());
        assert_eq!(buf.render(FEW.snapshot()), b"few: 1\n");
    }
}
