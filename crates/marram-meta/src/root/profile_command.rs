//! What the root group can be told about the profiles that writes to a bucket may ask for.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketName, Profile};

use crate::kinds::bucket::get_name;
use crate::refusal::unknown;
use crate::stored::{get_profile, put_profile};

/// Tag of these commands; a byte that tells them apart follows.
pub(crate) const TAG: u8 = 132;
const ALLOW: u8 = 1;
const WITHDRAW: u8 = 2;

/// A command about the profiles that writes to a bucket may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileCommand {
    /// Lets writes to a bucket ask for a profile, pending until every object group knows it.
    Allow {
        /// The bucket's name.
        name: BucketName,
        /// The profile.
        profile: Profile,
    },
    /// Lets no further write ask for it. What has it as its own follows the bucket's profile from then
    /// on, and is encoded anew in the background.
    Withdraw {
        /// The bucket's name.
        name: BucketName,
        /// The profile.
        profile: Profile,
    },
}

impl ProfileCommand {
    pub(crate) fn encode(&self, out: &mut Writer) {
        let (what, name, profile) = match self {
            Self::Allow { name, profile } => (ALLOW, name, profile),
            Self::Withdraw { name, profile } => (WITHDRAW, name, profile),
        };
        put_profile(out.u8(TAG).u8(what).str(name.as_str()), *profile);
    }

    /// Reads a command after its tag.
    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = from.u8()?;
        let (name, profile) = (get_name(from)?, get_profile(from)?);
        match what {
            ALLOW => Ok(Self::Allow { name, profile }),
            WITHDRAW => Ok(Self::Withdraw { name, profile }),
            other => Err(unknown("command of a bucket's profiles", other)),
        }
    }
}
