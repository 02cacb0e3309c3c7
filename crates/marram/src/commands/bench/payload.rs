//! The bytes of the benchmark's objects. Pure but for the random bytes they begin with.

use bytes::Bytes;
use marram_types::caps::MIB;

/// Objects begin at different places of one block of random bytes, this far apart.
const STRIDE: usize = 4099;

/// Makes the bytes of every object, and knows them again. No two of 256 objects in a row are
/// equal, and making one costs no copy.
#[derive(Clone)]
pub(super) struct Payload {
    block: Bytes,
    size: usize,
}

impl Payload {
    pub(super) fn new(size: usize) -> Self {
        let mut block = vec![0; size + MIB];
        rand::fill(&mut block[..]);
        Self {
            block: block.into(),
            size,
        }
    }

    /// The bytes of an object.
    pub(super) fn object(&self, index: u32) -> Bytes {
        let offset = (index as usize).wrapping_mul(STRIDE) % MIB;
        self.block.slice(offset..offset + self.size)
    }

    /// Compares pieces with an object as they come.
    pub(super) fn check(&self, index: u32) -> Check {
        Check(self.object(index))
    }
}

/// What is still to come of an object.
pub(super) struct Check(Bytes);

impl Check {
    /// True when `piece` is what comes next.
    pub(super) fn next(&mut self, piece: &[u8]) -> bool {
        let matches = self.0.starts_with(piece);
        if matches {
            let _ = self.0.split_to(piece.len());
        }
        matches
    }

    /// True when everything came.
    pub(super) fn is_complete(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_differ_and_are_known_again() {
        let payload = Payload::new(1000);
        assert_ne!(payload.object(0), payload.object(1));
        let object = payload.object(5);
        let mut check = payload.check(5);
        assert!(check.next(&object[..400]) && !check.is_complete());
        assert!(!check.next(&object[..10]));
        assert!(check.next(&object[400..]) && check.is_complete());
        assert!(!check.next(b"x"));
    }
}
