//! An object's key inside a longer key of a table, in a form that keeps the order of keys although
//! something follows: a zero byte is written as 0 255, and the end as 0 0.

use marram_types::codec::{DecodeError, Reader};

/// Appends a key, or with `end` false what all keys that begin so begin with.
pub(crate) fn escape(out: &mut Vec<u8>, key: &str, end: bool) {
    for byte in key.bytes() {
        out.push(byte);
        if byte == 0 {
            out.push(u8::MAX);
        }
    }
    if end {
        out.extend_from_slice(&[0, 0]);
    }
}

/// Reads a key up to its end.
pub(crate) fn unescape(from: &mut Reader<'_>) -> Result<String, DecodeError> {
    let wrong = DecodeError::Invalid("escaped key");
    let mut key = Vec::new();
    loop {
        match (from.u8()?, from.rest().first()) {
            (0, Some(0)) => break,
            (0, Some(&u8::MAX)) => key.push(0),
            (0, _) => return Err(wrong),
            (byte, _) => {
                key.push(byte);
                continue;
            }
        }
        from.u8()?;
    }
    from.u8()?;
    String::from_utf8(key).map_err(|_| wrong)
}
