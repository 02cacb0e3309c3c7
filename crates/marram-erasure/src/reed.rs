//! The codecs: Reed-Solomon, and copies where there is nothing to compute.

use marram_types::Profile;
use reed_solomon_turbo::ReedSolomon;

use crate::codec::{Codec, CodecError, Shard, check_encode, check_reconstruct};

/// `k+m` with `k` above 1 and `m` above 0.
#[derive(Debug)]
pub(crate) struct ReedSolomonCodec {
    profile: Profile,
    code: ReedSolomon,
}

impl ReedSolomonCodec {
    /// The profile has at least two data and one parity shard. The code runs on the caller's
    /// thread only: the caller decides how many cores an object may take.
    pub(crate) fn new(profile: Profile) -> Self {
        let code = ReedSolomon::new(profile.k(), profile.m())
            .expect("a profile has at most 40 shards, the code allows 256")
            .with_max_threads(1);
        Self { profile, code }
    }
}

impl Codec for ReedSolomonCodec {
    fn profile(&self) -> Profile {
        self.profile
    }

    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError> {
        if check_encode(self.profile, data, parity)? > 0 {
            self.code
                .encode_sep(data, parity)
                .expect("counts and lengths were checked");
        }
        Ok(())
    }

    fn reconstruct(&self, shards: &mut [Shard<'_>]) -> Result<(), CodecError> {
        let len = check_reconstruct(self.profile, shards)?;
        if len == 0 || !shards.iter().any(|s| matches!(s, Shard::Want(_))) {
            return Ok(());
        }
        let k = self.profile.k();
        let parity_wanted = shards[k..].iter().any(|s| matches!(s, Shard::Want(_)));
        let stand_in = shards
            .iter()
            .find_map(|s| match s {
                Shard::Have(bytes) => Some(*bytes),
                _ => None,
            })
            .expect("at least k shards are here");
        let mut cells: Vec<(Cell<'_>, bool)> = shards
            .iter_mut()
            .enumerate()
            .map(|(i, shard)| match shard {
                Shard::Have(bytes) => (Cell::Read(bytes), true),
                Shard::Want(bytes) => (Cell::Write(bytes), false),
                // The code restores all data, or all shards: what nobody asked for goes to waste.
                Shard::Skip if i < k || parity_wanted => (Cell::Waste(vec![0; len]), false),
                Shard::Skip => (Cell::Read(stand_in), false),
            })
            .collect();
        let done = if parity_wanted {
            self.code.reconstruct(&mut cells)
        } else {
            self.code.reconstruct_data(&mut cells)
        };
        done.expect("counts and lengths were checked");
        Ok(())
    }
}

/// A shard as the code takes it.
enum Cell<'a> {
    Read(&'a [u8]),
    Write(&'a mut [u8]),
    Waste(Vec<u8>),
}

impl AsRef<[u8]> for Cell<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Cell::Read(bytes) => bytes,
            Cell::Write(bytes) => bytes,
            Cell::Waste(bytes) => bytes,
        }
    }
}

impl AsMut<[u8]> for Cell<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Cell::Read(_) => unreachable!("the code writes only what it was asked to restore"),
            Cell::Write(bytes) => bytes,
            Cell::Waste(bytes) => bytes,
        }
    }
}

/// `1+m`, where parity is a copy, and `k+0`, where there is none. It writes what the Reed-Solomon
/// matrix of `1+m` would write.
#[derive(Debug)]
pub(crate) struct Copies {
    profile: Profile,
}

impl Copies {
    /// The profile has one data shard or no parity.
    pub(crate) fn new(profile: Profile) -> Self {
        debug_assert!(profile.k() == 1 || profile.m() == 0);
        Self { profile }
    }
}

impl Codec for Copies {
    fn profile(&self) -> Profile {
        self.profile
    }

    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError> {
        check_encode(self.profile, data, parity)?;
        for copy in parity {
            copy.copy_from_slice(data[0]);
        }
        Ok(())
    }

    fn reconstruct(&self, shards: &mut [Shard<'_>]) -> Result<(), CodecError> {
        check_reconstruct(self.profile, shards)?;
        let source = shards.iter().find_map(|s| match s {
            Shard::Have(bytes) => Some(*bytes),
            _ => None,
        });
        let source = source.expect("at least k shards are here");
        for shard in shards {
            if let Shard::Want(bytes) = shard {
                bytes.copy_from_slice(source);
            }
        }
        Ok(())
    }
}
