//! `ProfileCursors`: bucket -> how far its versions were gone through by its new profile.

use marram_types::codec::{DecodeError, Reader, Writer};

use crate::stored::{Stored, only_version};

const VERSION: u8 = 1;

/// Versions up to here are judged by the bucket's present profile; there is no cursor when all are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProfileCursor {
    /// The last key; none: no version is.
    pub(crate) after: Option<String>,
}

impl Stored for ProfileCursor {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION).option(self.after.as_ref(), |out, key| {
            out.str(key);
        });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "profile cursor version", VERSION)?;
        let after = from.option(|from| from.str().map(str::to_owned))?;
        Ok(Self { after })
    }
}
