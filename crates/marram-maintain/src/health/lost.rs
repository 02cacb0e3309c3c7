//! What is said of objects that cannot be read from any drive. Each stands between `<` and `>`, whatever is in its
//! key, so that who gives the sentence away can leave the names out.

use marram_meta::ClusterView;
use marram_types::BucketId;

use crate::mover::Unreadable;

/// A sentence for people; none when everything can be read.
pub(super) fn note(view: &ClusterView, found: &Unreadable) -> Option<String> {
    if found.extents == 0 {
        return None;
    }
    let bucket = |id: &BucketId| {
        let known = view.buckets.values().find(|bucket| bucket.bucket == *id);
        known.map_or_else(
            || format!("bucket {}", id.0),
            |bucket| bucket.name.to_string(),
        )
    };
    let named = found.objects.iter();
    let key = |key: &str| key.escape_debug().to_string().replace('>', "\\u{3e}");
    let named = named.map(|(id, name)| format!("<m://{}/{}>", bucket(id), key(name)));
    let named: Vec<String> = named.collect();
    let extents = match found.extents {
        1 => "1 extent of an object has".to_owned(),
        many => format!("{many} extents of objects have"),
    };
    let more = if found.extents > named.len() {
        " and perhaps others"
    } else {
        ""
    };
    Some(format!(
        "{extents} lost more shards than their parity, and cannot be read: {}{more}. Bring back a node or drive that \
         had them, or put them again, or delete them. Placement groups move on without them; a drive that is \
         drained keeps what it has of them until then.",
        named.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_of_by_name() {
        let view = ClusterView::default();
        assert_eq!(note(&view, &Unreadable::default()), None);
        let object = (BucketId(7), "a\n/b>".to_owned());
        let one = Unreadable {
            extents: 1,
            objects: [object.clone()].into(),
        };
        let said = note(&view, &one).expect("said");
        assert!(said.starts_with("1 extent of an object has lost"), "{said}");
        assert!(
            said.contains("<m://bucket 7/a\\n/b\\u{3e}>. Bring back"),
            "{said}"
        );
        let many = Unreadable { extents: 3, ..one };
        let said = note(&view, &many).expect("said");
        assert!(
            said.contains("3 extents") && said.contains("and perhaps others. "),
            "{said}"
        );
    }
}
