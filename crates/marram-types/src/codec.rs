//! The byte reader and writer under every stored encoding.
//!
//! Encodings are ours, explicit and versioned: a derive would let an
//! innocent change of a struct change what is on the drives. Fixed-width integers in keys are
//! big-endian, so that byte order is number order.

/// Why stored bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end in the middle of a field.
    #[error("the bytes end in the middle of a field")]
    Short,
    /// Bytes are left over after the last field.
    #[error("{0} bytes are left over after the last field")]
    Trailing(usize),
    /// A version or tag byte that this release does not know.
    #[error("{what} {found} is not known to this release")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// Its value.
        found: u64,
    },
    /// A value that the field does not allow.
    #[error("{0} holds a value that is not allowed")]
    Invalid(&'static str),
}

/// Builds an encoding.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty encoding.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty encoding with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Appends a flag as 0 or 1.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Appends 2 bytes, big-endian.
    pub fn u16_be(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends 4 bytes, big-endian.
    pub fn u32_be(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends 8 bytes, big-endian.
    pub fn u64_be(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends 16 bytes, big-endian.
    pub fn u128_be(&mut self, value: u128) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends a variable-length integer (LEB128): small numbers take one byte.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0
                .push(u8::try_from(value & 0x7f).expect("7 bits") | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).expect("7 bits"));
        self
    }

    /// Appends a length and the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(bytes.len() as u64).raw(bytes)
    }

    /// Appends a length and the text.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Appends a presence byte and, when there is one, the value.
    pub fn option<T>(&mut self, value: Option<&T>, each: impl FnOnce(&mut Self, &T)) -> &mut Self {
        self.bool(value.is_some());
        if let Some(value) = value {
            each(self, value);
        }
        self
    }

    /// Appends a count and each item.
    pub fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.varint(items.len() as u64);
        for item in items {
            each(self, item);
        }
        self
    }

    /// The encoding.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// The bytes so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// Reads an encoding from its start.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `count` bytes as they are.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.0 = tail;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// When none is left.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A flag; anything but 0 and 1 is refused.
    ///
    /// # Errors
    /// When no byte is left or it is neither 0 nor 1.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid("flag")),
        }
    }

    /// 2 bytes, big-endian.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u16_be(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// 4 bytes, big-endian.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u32_be(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// 8 bytes, big-endian.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u64_be(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// 16 bytes, big-endian.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u128_be(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_be_bytes(self.array()?))
    }

    /// A variable-length integer.
    ///
    /// # Errors
    /// When the bytes end, or the number does not fit 64 bits.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(DecodeError::Invalid("varint"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid("varint"))
    }

    /// A varint that counts things in memory.
    ///
    /// # Errors
    /// As [`Self::varint`], or when the number does not fit a `usize`.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.varint()?).map_err(|_| DecodeError::Invalid("count"))
    }

    /// A length and its bytes.
    ///
    /// # Errors
    /// When the bytes end first.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = self.count()?;
        self.raw(count)
    }

    /// A length and its text.
    ///
    /// # Errors
    /// When the bytes end first or are not UTF-8.
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Invalid("text"))
    }

    /// A presence byte and perhaps a value.
    ///
    /// # Errors
    /// What `each` returns, or a bad presence byte.
    pub fn option<T>(
        &mut self,
        each: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.bool()? {
            each(self).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A count and its items. The count is not trusted for memory: an item takes at least a byte.
    ///
    /// # Errors
    /// What `each` returns, or a count beyond the bytes left.
    pub fn list<T>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count()?;
        if count > self.0.len() {
            return Err(DecodeError::Short);
        }
        (0..count).map(|_| each(self)).collect()
    }

    /// Checks a version byte: 1 to `newest` are known.
    ///
    /// # Errors
    /// When the byte is missing, 0 or above `newest`.
    pub fn version(&mut self, what: &'static str, newest: u8) -> Result<u8, DecodeError> {
        match self.u8()? {
            found if (1..=newest).contains(&found) => Ok(found),
            found => Err(DecodeError::Unknown {
                what,
                found: u64::from(found),
            }),
        }
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When bytes are left over.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.0.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_width() {
        for bits in 0..64 {
            for value in [(1_u64 << bits) - 1, 1 << bits, u64::MAX] {
                let mut out = Writer::new();
                out.varint(value);
                let mut from = Reader::new(out.as_slice());
                assert_eq!(from.varint(), Ok(value));
                assert_eq!(from.finish(), Ok(()));
            }
        }
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
    }

    #[test]
    fn damaged_bytes_are_errors() {
        assert_eq!(Reader::new(&[5, 1]).bytes(), Err(DecodeError::Short));
        assert_eq!(Reader::new(&[2]).bool(), Err(DecodeError::Invalid("flag")));
        assert!(Reader::new(&[9]).version("row", 1).is_err());
        assert_eq!(Reader::new(&[1]).finish(), Err(DecodeError::Trailing(1)));
        let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(Reader::new(&huge).list(Reader::u8), Err(DecodeError::Short));
    }
}
