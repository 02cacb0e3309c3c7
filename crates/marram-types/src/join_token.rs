//! What an operator carries to a new machine so that it may join.

use std::fmt;
use std::str::FromStr;

/// A join token: `id.secret.sha256(CA)`, in hexadecimal digits (rules.md 4). The hash lets the newcomer
/// know the cluster before it says anything.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Names the token; no secret.
    pub id: u64,
    /// Proves that one has it.
    pub secret: [u8; 32],
    /// SHA-256 of the CA's certificate.
    pub authority: [u8; 32],
}

/// Text that is not a join token. The text is not repeated: it may be most of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a join token: it has three parts of 16, 64 and 64 hexadecimal digits with dots \
     between them, as `marram admin token create` prints it"
)]
pub struct JoinTokenError;

/// Secrets do not belong in logs.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({:016x})", self.id)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn read_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.", self.id)?;
        write_hex(f, &self.secret)?;
        f.write_str(".")?;
        write_hex(f, &self.authority)
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let mut parts = text.trim().split('.');
        let (Some(id), Some(secret), Some(authority), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JoinTokenError);
        };
        if id.len() != 16 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(JoinTokenError);
        }
        Ok(Self {
            id: u64::from_str_radix(id, 16).map_err(|_| JoinTokenError)?,
            secret: read_hex(secret).ok_or(JoinTokenError)?,
            authority: read_hex(authority).ok_or(JoinTokenError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_written_and_nothing_else_is_one() {
        let token = JoinToken {
            id: 0x0a,
            secret: [0xf0; 32],
            authority: [7; 32],
        };
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!("{text}\n").parse(), Ok(token.clone()));
        assert_eq!(format!("{token:?}"), "JoinToken(000000000000000a)");
        for bad in [
            "",
            "a.b.c",
            &text[1..],
            &format!("{text}.00"),
            &format!("{text}0"),
            &text.replace('f', "g"),
            &text.replacen("00", "+0", 1),
        ] {
            assert_eq!(bad.parse::<JoinToken>(), Err(JoinTokenError), "{bad}");
        }
    }
}
