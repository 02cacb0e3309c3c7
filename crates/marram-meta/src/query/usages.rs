//! What each bucket holds in a group, for who adds groups up.

use std::ops::Bound;

use marram_types::BucketId;
use marram_types::codec::{DecodeError, Reader, Writer};

use super::run::{Page, page};
use crate::kinds::bucket;
use crate::kinds::usage::Usage;
use crate::kv::{KvRead, Table};
use crate::stored::{StateError, Stored};

/// Buckets of one answer at most.
pub const USAGES_PAGE_MAX: u32 = 4096;

/// What buckets hold, by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsagesAnswer {
    /// What each of them holds in the group.
    pub buckets: Vec<(BucketId, Usage)>,
    /// There are more after them.
    pub more: bool,
}

impl Stored for UsagesAnswer {
    fn encode(&self, out: &mut Writer) {
        out.list(&self.buckets, |out, (bucket, usage)| {
            usage.encode(out.u64_be(bucket.0));
        });
        out.bool(self.more);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let one = |from: &mut Reader<'_>| Ok((BucketId(from.u64_be()?), Usage::decode(from)?));
        Ok(Self {
            buckets: from.list(one)?,
            more: from.bool()?,
        })
    }
}

/// The counters of the buckets after one.
pub(super) fn usages(
    kv: &dyn KvRead,
    after: Option<BucketId>,
    limit: u32,
) -> Result<UsagesAnswer, StateError> {
    let after = after.map(bucket::ser_key);
    let from = match &after {
        None => Bound::Unbounded,
        Some(key) => Bound::Excluded(&key[..]),
    };
    let each = |key: &[u8], value: &[u8]| {
        let bucket = Reader::new(key).u64_be()?;
        Ok(Some((BucketId(bucket), Usage::deser_value(value)?)))
    };
    let range = (from, Bound::Unbounded);
    let limit = limit.clamp(1, USAGES_PAGE_MAX);
    let Page { items, more } = page(kv, Table::Usage, range, limit, each)?;
    Ok(UsagesAnswer {
        buckets: items,
        more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::MemKv;
    use crate::stored::store;

    #[test]
    fn pages_follow_each_other() {
        let mut kv = MemKv::default();
        let held = |number: u64| Usage {
            objects: number,
            bytes: number * 1000,
            ..Usage::default()
        };
        for number in [3, 300, 70_000] {
            let key = bucket::ser_key(BucketId(number));
            store(&mut kv, Table::Usage, &key, &held(number)).expect("stored");
        }
        let all = [3, 300, 70_000].map(|number| (BucketId(number), held(number)));
        let page = |after: Option<u64>, limit| {
            usages(&kv, after.map(BucketId), limit).expect("it can be read")
        };
        let of = |found: &UsagesAnswer| (found.buckets.clone(), found.more);
        assert_eq!(of(&page(None, 2)), (all[..2].to_vec(), true));
        assert_eq!(of(&page(Some(300), 2)), (all[2..].to_vec(), false));
        assert_eq!(of(&page(None, 3)), (all.to_vec(), false));
        assert_eq!(of(&page(Some(70_000), 3)), (Vec::new(), false));
        assert_eq!(
            of(&page(None, 0)),
            (all[..1].to_vec(), true),
            "at least one"
        );
    }
}
