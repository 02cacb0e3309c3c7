//! What every stored value has in common: an explicit, versioned encoding.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, PgId, PoolId, Profile};

use crate::kv::{KvError, KvRead, KvWrite, Table};

/// A value with an encoding of its own. The first byte of a top-level value is its version.
pub(crate) trait Stored: Sized {
    /// Appends the encoding.
    fn encode(&self, out: &mut Writer);

    /// Reads what [`Self::encode`] wrote.
    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The encoding alone.
    fn ser_value(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64);
        self.encode(&mut out);
        out.finish()
    }

    /// Reads an encoding that must end where the bytes end.
    fn deser_value(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let value = Self::decode(&mut from)?;
        from.finish()?;
        Ok(value)
    }
}

/// A group's state could not be read or written. Nothing here is a user's mistake.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store failed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A stored value does not decode: the state is damaged or of a newer release.
    #[error("a value of table {} is damaged: {source}", .table.name())]
    Corrupt {
        /// Where it lies.
        table: Table,
        /// What is wrong with it.
        source: DecodeError,
    },
}

impl StateError {
    /// Blames a decoding error on its table.
    pub(crate) fn corrupt(table: Table) -> impl Fn(DecodeError) -> Self {
        move |source| Self::Corrupt { table, source }
    }
}

/// Reads and decodes a value.
pub(crate) fn load<T: Stored>(
    kv: &dyn KvRead,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, StateError> {
    let Some(bytes) = kv.get(table, key)? else {
        return Ok(None);
    };
    T::deser_value(&bytes)
        .map(Some)
        .map_err(StateError::corrupt(table))
}

/// Encodes and writes a value.
pub(crate) fn store<T: Stored>(
    kv: &mut dyn KvWrite,
    table: Table,
    key: &[u8],
    value: &T,
) -> Result<(), KvError> {
    kv.put(table, key, &value.ser_value())
}

/// Reads a version byte of which only one is read: earlier forms were never released.
pub(crate) fn only_version(
    from: &mut Reader<'_>,
    what: &'static str,
    only: u8,
) -> Result<(), DecodeError> {
    match from.version(what, only)? {
        found if found == only => Ok(()),
        found => Err(DecodeError::Unknown {
            what,
            found: u64::from(found),
        }),
    }
}

/// Appends a list of drives.
pub(crate) fn put_drives(out: &mut Writer, drives: &[DriveId]) {
    out.list(drives, |out, drive| {
        out.varint(drive.0);
    });
}

/// Reads a list of drives.
pub(crate) fn get_drives(from: &mut Reader<'_>) -> Result<Vec<DriveId>, DecodeError> {
    from.list(|from| from.varint().map(DriveId))
}

/// Appends a list of lists of drives.
pub(crate) fn put_places(out: &mut Writer, places: &[Vec<DriveId>]) {
    out.list(places, |out, drives| put_drives(out, drives));
}

/// Reads a list of lists of drives.
pub(crate) fn get_places(from: &mut Reader<'_>) -> Result<Vec<Vec<DriveId>>, DecodeError> {
    from.list(get_drives)
}

/// Appends a profile.
pub(crate) fn put_profile(out: &mut Writer, profile: Profile) {
    out.u8(profile.k_byte()).u8(profile.m_byte());
}

/// Reads a profile.
pub(crate) fn get_profile(from: &mut Reader<'_>) -> Result<Profile, DecodeError> {
    let (k, m) = (from.u8()?, from.u8()?);
    Profile::new(k, m).map_err(|_| DecodeError::Invalid("profile"))
}

/// Appends a placement group; its byte order is its number order.
pub(crate) fn put_pg(out: &mut Writer, pg: PgId) {
    out.u16_be(pg.pool.0).u16_be(pg.index);
}

/// Reads a placement group.
pub(crate) fn get_pg(from: &mut Reader<'_>) -> Result<PgId, DecodeError> {
    Ok(PgId {
        pool: PoolId(from.u16_be()?),
        index: from.u16_be()?,
    })
}

/// Reads a key that is one big-endian `u64`.
pub(crate) fn deser_u64_key(key: &[u8]) -> Result<u64, DecodeError> {
    let mut from = Reader::new(key);
    let id = from.u64_be()?;
    from.finish()?;
    Ok(id)
}
