//! Ids between the wire and the program.

use marram_types as types;

use crate::mesh::v1;

/// An id from the wire that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A message that must be there is not.
    #[error("the id has no {0}")]
    Missing(&'static str),
    /// A number does not fit.
    #[error("{field} is {value}, which is too large")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// What it held.
        value: u32,
    },
}

fn narrow<T: TryFrom<u32>>(field: &'static str, value: u32) -> Result<T, IdError> {
    T::try_from(value).map_err(|_| IdError::TooLarge { field, value })
}

impl From<types::DataId> for v1::DataId {
    fn from(id: types::DataId) -> Self {
        Self {
            group: u32::from(id.group.0),
            begin: id.begin,
            random: id.random,
        }
    }
}

impl TryFrom<v1::DataId> for types::DataId {
    type Error = IdError;

    fn try_from(id: v1::DataId) -> Result<Self, IdError> {
        Ok(Self {
            group: types::GroupId(narrow("group", id.group)?),
            begin: id.begin,
            random: id.random,
        })
    }
}

impl From<types::ShardId> for v1::ShardId {
    fn from(id: types::ShardId) -> Self {
        Self {
            data: Some(id.data.into()),
            slot: u32::from(id.slot),
            repair: u32::from(id.repair),
        }
    }
}

impl TryFrom<v1::ShardId> for types::ShardId {
    type Error = IdError;

    fn try_from(id: v1::ShardId) -> Result<Self, IdError> {
        Ok(Self {
            data: id.data.ok_or(IdError::Missing("data id"))?.try_into()?,
            slot: narrow("slot", id.slot)?,
            repair: narrow("repair", id.repair)?,
        })
    }
}

impl v1::WriteRunRequest {
    /// The shard and placement group that the run belongs to.
    ///
    /// # Errors
    /// When an id is missing or does not fit.
    pub fn place(&self) -> Result<(types::ShardId, types::PgId), IdError> {
        let shard = self.shard.ok_or(IdError::Missing("shard"))?.try_into()?;
        let pg = types::PgId {
            pool: types::PoolId(narrow("pool", self.pool)?),
            index: narrow("pg", self.pg)?,
        };
        Ok((shard, pg))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_ids_round_trip_and_bad_ones_are_refused() {
        let shard = types::ShardId {
            data: types::DataId {
                group: types::GroupId(8),
                begin: 77,
                random: u64::MAX,
            },
            slot: 5,
            repair: 9,
        };
        let wire = v1::ShardId::from(shard);
        assert_eq!(types::ShardId::try_from(wire), Ok(shard));
        let wide = v1::ShardId { slot: 256, ..wire };
        assert_eq!(
            types::ShardId::try_from(wide),
            Err(IdError::TooLarge {
                field: "slot",
                value: 256
            })
        );
        let headless = v1::ShardId { data: None, ..wire };
        assert_eq!(
            types::ShardId::try_from(headless),
            Err(IdError::Missing("data id"))
        );
    }
}
