//! Bytes of a write that are not recorded yet. Pure.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use marram_types::caps::{API_DATA_BYTES_MAX, WRITE_UNRECORDED_BYTES_MAX};

/// The bytes from what is recorded to what the body has given.
#[derive(Debug)]
pub(super) struct Kept {
    pieces: VecDeque<Bytes>,
    /// What is recorded ends here.
    start: u64,
    end: u64,
    /// Pieces that this attempt has sent, from the first one on, and where they end.
    sent: usize,
    sent_to: u64,
    /// Where all that any attempt has sent ends: a server may record it long after its call broke.
    sent_most: u64,
}

impl Kept {
    pub(super) fn new(offset: u64) -> Self {
        Self {
            pieces: VecDeque::new(),
            start: offset,
            end: offset,
            sent: 0,
            sent_to: offset,
            sent_most: offset,
        }
    }

    /// Where the write goes on.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Where the body is.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether any byte was sent.
    pub(super) fn is_untouched(&self) -> bool {
        self.sent_most == self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether another piece may be taken, of the length that one may have.
    pub(super) fn has_room(&self) -> bool {
        self.end - self.start + API_DATA_BYTES_MAX as u64 <= WRITE_UNRECORDED_BYTES_MAX
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.end += piece.len() as u64;
        self.pieces.push_back(piece);
    }

    pub(super) fn all_sent(&self) -> bool {
        self.sent == self.pieces.len()
    }

    /// The next piece to be sent.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let piece = self.pieces.get(self.sent)?.clone();
        self.sent += 1;
        self.sent_to += piece.len() as u64;
        self.sent_most = self.sent_most.max(self.sent_to);
        Some(piece)
    }

    /// Forgets what is recorded by now, and tells how many bytes of it this attempt has not sent: a former
    /// one did. An error where it is nothing that was sent.
    pub(super) fn recorded(&mut self, persisted: u64) -> Result<u64, Range<u64>> {
        if persisted < self.start || persisted > self.sent_most {
            return Err(self.start..self.sent_most);
        }
        while self.start < persisted {
            let first = self.pieces.front_mut().expect("what was sent is kept");
            let done = persisted - self.start;
            if first.len() as u64 <= done {
                self.start += first.len() as u64;
                self.pieces.pop_front();
                self.sent = self.sent.saturating_sub(1);
            } else {
                let cut = usize::try_from(done).expect("less than a piece");
                drop(first.split_to(cut));
                self.start = persisted;
            }
        }
        let late = self.start.saturating_sub(self.sent_to);
        self.sent_to += late;
        Ok(late)
    }

    /// All is to be sent again; how many bytes were sent.
    pub(super) fn rewind(&mut self) -> u64 {
        let again = self.sent_to - self.start;
        self.sent = 0;
        self.sent_to = self.start;
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    #[test]
    fn what_is_recorded_is_forgotten_and_the_rest_is_sent_again() {
        let mut kept = Kept::new(100);
        for len in [10, 20, 30] {
            kept.push(piece(len));
        }
        assert_eq!(
            (kept.next().unwrap().len(), kept.next().unwrap().len()),
            (10, 20)
        );
        assert!(!kept.all_sent());
        assert_eq!(kept.recorded(110), Ok(0));
        // In the middle of a piece, too: servers cut where they like.
        kept.recorded(125).unwrap();
        assert_eq!((kept.start(), kept.end()), (125, 160));
        assert_eq!(kept.rewind(), 5);
        assert_eq!(kept.next().unwrap().len(), 5);
        assert_eq!(kept.next().unwrap().len(), 30);
        assert!(kept.all_sent() && kept.next().is_none());
        kept.recorded(160).unwrap();
        assert!(kept.is_empty() && kept.all_sent());
    }

    #[test]
    fn bytes_of_somebody_else_are_noticed() {
        let mut kept = Kept::new(0);
        kept.push(piece(10));
        assert_eq!(kept.recorded(1), Err(0..0), "nothing was sent");
        kept.next().unwrap();
        assert_eq!(kept.recorded(11), Err(0..10));
        kept.recorded(4).unwrap();
        assert_eq!(kept.recorded(3), Err(4..10));
    }

    #[test]
    fn what_a_former_attempt_sent_may_be_recorded_late() {
        let mut kept = Kept::new(0);
        assert!(kept.is_untouched());
        for _ in 0..3 {
            kept.push(piece(10));
        }
        while kept.next().is_some() {}
        assert!(!kept.is_untouched());
        assert_eq!(kept.rewind(), 30);
        // Nothing was sent since, or less than that.
        assert_eq!(kept.recorded(15), Ok(15));
        assert_eq!(kept.next().unwrap().len(), 5);
        assert_eq!(kept.recorded(30), Ok(10));
        assert!(kept.is_empty() && kept.all_sent());
        assert_eq!(kept.rewind(), 0);
        kept.push(piece(4));
        assert_eq!(kept.next().unwrap().len(), 4);
        assert_eq!((kept.rewind(), kept.start()), (4, 30));
    }

    #[test]
    fn no_more_is_kept_than_may_be_sent_twice() {
        let mut kept = Kept::new(1 << 40);
        let mut count = 0;
        while kept.has_room() {
            kept.push(piece(API_DATA_BYTES_MAX));
            count += 1;
        }
        assert_eq!(count, 32);
        while kept.next().is_some() {}
        kept.recorded((1 << 40) + 1).unwrap();
        assert!(!kept.has_room(), "a whole piece does not fit yet");
        kept.recorded((1 << 40) + API_DATA_BYTES_MAX as u64)
            .unwrap();
        assert!(kept.has_room());
    }
}
