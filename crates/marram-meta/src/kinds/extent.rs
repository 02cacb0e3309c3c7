//! Extents, in object rows or, beyond 16 of them, in `ExtentRows`: (version, chunk) -> extents.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DataId, DriveId, PgId, Profile, VersionId};

use crate::stored::{Stored, get_pg, get_profile, put_pg, put_profile};

const CHUNK_VERSION: u8 = 1;

/// A run of an object's stripes in one placement group, with one profile and one data id
/// (rules.md 16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Names its bytes.
    pub data: DataId,
    /// Where its shards are.
    pub pg: PgId,
    /// The profile it was written with, perhaps narrower than the bucket's (rules.md 18).
    pub profile: Profile,
    /// Bytes of one cell of a full stripe.
    pub cell: u32,
    /// Object bytes that it holds.
    pub length: u64,
    /// `slots[i]` is the slot of the placement group's row that holds shard `i`.
    pub slots: Vec<u8>,
    /// Bit `i` set: shard `i` is known to be lost. 0 at birth (placement-protocol.md 12).
    pub missing: u64,
    /// Shards that lie elsewhere than the row of the placement group says
    /// (placement-protocol.md 5): shard index and drive.
    pub overrides: Vec<(u8, DriveId)>,
}

impl Extent {
    /// The form that crosses the mesh.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.ser_value()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::deser_value(bytes)
    }

    /// Whether the shape is one that a writer may make: a slot of its own for each shard, within the
    /// pool's width, which is its number; missing bits and overrides only for shards that exist.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let width = self.profile.width();
        let distinct = |at: usize| !self.slots[..at].contains(&self.slots[at]);
        self.slots.len() == width
            && (0..width).all(distinct)
            && self.slots.iter().all(|s| u16::from(*s) < self.pg.pool.0)
            && self.cell > 0
            && self.length > 0
            && self.missing >> width == 0
            && self.overrides.iter().all(|(i, _)| usize::from(*i) < width)
    }

    /// The place of a shard that lies elsewhere than the layout says.
    #[must_use]
    pub fn override_of(&self, shard: u8) -> Option<DriveId> {
        let moved = self.overrides.iter().find(|(of, _)| *of == shard);
        moved.map(|(_, drive)| *drive)
    }

    /// Whether a shard is known to be lost.
    #[must_use]
    pub fn is_missing(&self, shard: u8) -> bool {
        let bits = self.missing.checked_shr(u32::from(shard));
        bits.is_some_and(|bits| bits & 1 == 1)
    }

    /// The shards, each with its slot.
    pub fn shards(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        (0..=u8::MAX).zip(self.slots.iter().copied())
    }

    /// Sets or clears a shard's override; overrides stay in the order of shards, so that the same
    /// state has one form.
    pub(crate) fn set_override(&mut self, shard: u8, place: Option<DriveId>) {
        self.overrides.retain(|(of, _)| *of != shard);
        self.overrides.extend(place.map(|drive| (shard, drive)));
        self.overrides.sort_unstable();
    }

    /// Whether the extent is narrower than `nominal` in data or parity shards.
    #[must_use]
    pub fn is_narrower_than(&self, nominal: Profile) -> bool {
        self.profile.k() < nominal.k() || self.profile.m() < nominal.m()
    }
}

impl Stored for Extent {
    fn encode(&self, out: &mut Writer) {
        self.data.encode(out);
        put_pg(out, self.pg);
        put_profile(out, self.profile);
        out.varint(u64::from(self.cell))
            .varint(self.length)
            .bytes(&self.slots)
            .varint(self.missing)
            .list(&self.overrides, |out, (shard, drive)| {
                out.u8(*shard).varint(drive.0);
            });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            data: DataId::decode(from)?,
            pg: get_pg(from)?,
            profile: get_profile(from)?,
            cell: u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid("cell"))?,
            length: from.varint()?,
            slots: from.bytes()?.to_vec(),
            missing: from.varint()?,
            overrides: from.list(|from| Ok((from.u8()?, DriveId(from.varint()?))))?,
        })
    }
}

/// Appends a list of extents.
pub(crate) fn put_extents(out: &mut Writer, extents: &[Extent]) {
    out.list(extents, |out, extent| extent.encode(out));
}

/// Reads a list of extents.
pub(crate) fn get_extents(from: &mut Reader<'_>) -> Result<Vec<Extent>, DecodeError> {
    from.list(Extent::decode)
}

/// The key of one chunk of a version's extents.
pub(crate) fn ser_chunk_key(version: VersionId, chunk: u16) -> [u8; 18] {
    let mut key = [0; 18];
    key[..16].copy_from_slice(&version.0.to_be_bytes());
    key[16..].copy_from_slice(&chunk.to_be_bytes());
    key
}

pub(crate) fn ser_chunk(extents: &[Extent]) -> Vec<u8> {
    let mut out = Writer::with_capacity(64 * extents.len());
    out.u8(CHUNK_VERSION);
    put_extents(&mut out, extents);
    out.finish()
}

pub(crate) fn deser_chunk(bytes: &[u8]) -> Result<Vec<Extent>, DecodeError> {
    let mut from = Reader::new(bytes);
    from.version("extent row version", CHUNK_VERSION)?;
    let extents = get_extents(&mut from)?;
    from.finish()?;
    Ok(extents)
}
