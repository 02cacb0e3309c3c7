//! Deleting many objects with one call: each a mutation of its own.

use std::collections::HashSet;

use futures::{StreamExt, stream};
use marram_meta::BucketRecord;
use marram_proto::v1;
use marram_types::caps::DELETES_PER_CALL_MAX;
use marram_types::{BucketName, Generation, ObjectKey, Permission, RequestId, Target};
use parking_lot::Mutex;

use super::{DeleteError, Deletion, delete_one};
use crate::auth::{Caller, Guard};
use crate::core::Core;
use crate::status;
use crate::validate::{self, InvalidField};

/// Deletions of one call at once: its entries share the log's syncs, and others have their turn.
const AT_ONCE_MAX: usize = 32;

/// Deletes objects and says of each what came of it. The call fails as a whole only where the batch is
/// none, or there is no such bucket.
pub(crate) async fn delete_all(
    core: &Core,
    (caller, guard): (&Caller, Guard),
    request: v1::DeleteObjectsRequest,
) -> Result<Vec<v1::DeleteResult>, DeleteError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    check_batch(&request.objects)?;
    let bucket = core.bucket(&name).await?;
    let bucket = &bucket;
    let gate = Gate {
        core,
        caller,
        bucket: &name,
        guard: Mutex::new((guard, false)),
    };
    let gate = &gate;
    let deletions = request
        .objects
        .into_iter()
        .zip(0_u64..)
        .map(|(object, at)| {
            let request = RequestId {
                client: id.client,
                sequence: id.sequence.wrapping_add(at),
            };
            async move {
                match gate.lets(&object.key) {
                    true => result(one(core, bucket, object, request).await),
                    false => result(Err(DeleteError::Denied)),
                }
            }
        });
    Ok(stream::iter(deletions)
        .buffered(AT_ONCE_MAX)
        .collect()
        .await)
}

/// Asked before each deletion, because a batch may take longer than a change of its key's grants.
struct Gate<'a> {
    core: &'a Core,
    caller: &'a Caller,
    bucket: &'a BucketName,
    /// What the call was admitted by, and whether that was taken back: it is told once only.
    guard: Mutex<(Guard, bool)>,
}

impl Gate<'_> {
    fn lets(&self, key: &str) -> bool {
        {
            let (guard, taken_back) = &mut *self.guard.lock();
            *taken_back |= guard.taken_back().is_some();
            if *taken_back {
                return false;
            }
        }
        let target = Target::Keys {
            bucket: self.bucket.as_str().to_owned(),
            under: key.to_owned(),
        };
        let view = self.core.view.borrow();
        let grants = view.access_keys.get(&self.caller.access_key);
        grants.is_some_and(|grants| grants.allows(Permission::Write, &target))
    }
}

/// A batch has few enough objects, and none of them twice: the second deletion of a key, or of a version,
/// would race with the first.
fn check_batch(objects: &[v1::ObjectToDelete]) -> Result<(), InvalidField> {
    let wrong = |rule| InvalidField::Wrong {
        field: "objects",
        rule,
    };
    if objects.is_empty() {
        return Err(wrong("name at least one object"));
    }
    if objects.len() > DELETES_PER_CALL_MAX {
        return Err(wrong("name at most 1000 objects in one call"));
    }
    let mut seen = HashSet::with_capacity(objects.len());
    let name = |object: &v1::ObjectToDelete| (object.key.clone(), object.generation);
    if !objects.iter().all(|object| seen.insert(name(object))) {
        return Err(wrong("a key, or a version of it, is named twice"));
    }
    Ok(())
}

async fn one(
    core: &Core,
    bucket: &BucketRecord,
    object: v1::ObjectToDelete,
    request: RequestId,
) -> Result<Deletion, DeleteError> {
    let version = object.generation.map(Generation);
    let key = ObjectKey::new(object.key).map_err(InvalidField::from)?;
    let precondition = validate::precondition(object.preconditions)?;
    delete_one(core, bucket, (key, version), precondition, request).await
}

fn result(done: Result<Deletion, DeleteError>) -> v1::DeleteResult {
    match done {
        Ok(done) => v1::DeleteResult {
            existed: done.existed,
            failure: None,
            delete_marker: done.delete_marker,
            generation: done.generation,
        },
        Err(error) => {
            let told = status::told(&error);
            v1::DeleteResult {
                failure: Some(v1::DeleteFailure {
                    code: told.code,
                    reason: told.reason.to_owned(),
                    message: error.to_string(),
                    metadata: told.metadata,
                }),
                ..v1::DeleteResult::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(keys: impl IntoIterator<Item = String>) -> Vec<v1::ObjectToDelete> {
        let object = |key| v1::ObjectToDelete {
            key,
            ..v1::ObjectToDelete::default()
        };
        keys.into_iter().map(object).collect()
    }

    #[test]
    fn a_batch_has_one_to_a_thousand_objects_each_once() {
        let many = |count: usize| objects((0..count).map(|n| n.to_string()));
        assert!(check_batch(&many(0)).is_err());
        assert!(check_batch(&many(1)).is_ok());
        assert!(check_batch(&many(1000)).is_ok());
        assert!(check_batch(&many(1001)).is_err());
        let mut twice = objects(["a", "b", "a"].map(str::to_owned));
        assert!(check_batch(&twice).is_err());
        for (object, generation) in twice.iter_mut().zip([5, 5, 6]) {
            object.generation = Some(generation);
        }
        assert!(check_batch(&twice).is_ok(), "two versions of a");
        twice[2].generation = Some(5);
        assert!(check_batch(&twice).is_err());
    }
}
