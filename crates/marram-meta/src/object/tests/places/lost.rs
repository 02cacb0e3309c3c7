//! How much lacks shards.

use super::*;
use crate::{Lacking, LostTotals};

#[test]
fn what_lacks_shards_is_counted_by_what_is_spare() {
    let mut group = group(&[]);
    let totals = |group: &Group| match ask(group, &ObjectQuery::LostTotals) {
        ObjectAnswer::LostTotals(totals) => totals,
        other => panic!("{other:?}"),
    };
    commit(&mut group, wrote_by(&stable(), one()));
    assert_eq!(totals(&group), LostTotals::default());
    for (shard, spare) in [(1, 1), (3, 0), (0, -1)] {
        group.run(&missing(shard, first_row(PG).drives[usize::from(shard)]));
        let found = totals(&group);
        assert_eq!(found.spare, [(spare, 1)].into(), "of 4+2");
        let lost = u64::try_from(2 - spare).unwrap();
        assert_eq!(found.bytes, lost << 18, "a quarter each");
        let whole = Lacking {
            extents: 1,
            bytes: 1 << 20,
        };
        assert_eq!(found.lacking, [((2, spare), whole)].into());
    }
    group.run(&delete("a"));
    assert_eq!(totals(&group), LostTotals::default());
}
