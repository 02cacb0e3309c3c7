//! Whose resources a cluster takes, and whose grants a bucket takes: by namespace, as those who own them say.

use kube::{Resource, ResourceExt};
use marram_client::BucketInfo;
use marram_types::{Grant, Permission, Permissions, Scope};

use super::Hold;
use crate::api::{self, AccessKey, Bucket, ClusterRef, GrantPermission, MarramCluster, lists};

/// What stands against a resource of this namespace in the cluster that it names.
#[must_use]
pub fn admit(
    cluster: Option<&MarramCluster>,
    reference: &ClusterRef,
    namespace: &str,
) -> Option<Hold> {
    let (of, name) = reference.from(namespace);
    let Some(cluster) = cluster else {
        let message = format!("there is no MarramCluster {name} in the namespace {of}");
        return Some(Hold::waits("NoCluster", message));
    };
    if of != namespace && !lists(&cluster.spec.allowed_namespaces, namespace) {
        return Some(Hold::stalled(
            "NamespaceNotAllowed",
            format!(
                "the MarramCluster {of}/{name} takes nothing from the namespace {namespace}: whoever owns it \
                 must list that in its spec.allowedNamespaces"
            ),
        ));
    }
    if cluster.spec.paused {
        let message = format!("the MarramCluster {of}/{name} is paused");
        return Some(Hold::waits("ClusterPaused", message));
    }
    let founded = cluster.status.as_ref().and_then(|s| s.cluster_id.as_ref());
    if founded.is_none() {
        let message = format!("the MarramCluster {of}/{name} is not founded yet");
        return Some(Hold::waits("ClusterNotFounded", message));
    }
    None
}

/// Whether two resources are about the same bucket.
fn same_bucket(one: &Bucket, other: &Bucket) -> bool {
    let place = |bucket: &Bucket| {
        let namespace = bucket.namespace().unwrap_or_default();
        (bucket.spec.cluster_ref.from(&namespace), bucket.bucket())
    };
    place(one) == place(other)
}

/// Whether a bucket is this resource's by what is written down.
#[must_use]
pub fn owns(bucket: &Bucket) -> bool {
    let written = bucket.status.as_ref().and_then(|s| s.bucket.as_ref());
    written == Some(&bucket.bucket())
}

/// Another resource of the same bucket that goes before this one: it has the bucket already, or is older.
#[must_use]
pub fn rival<'a>(bucket: &Bucket, all: &'a [Bucket]) -> Option<&'a Bucket> {
    let order = |bucket: &Bucket| {
        let created = bucket.meta().creation_timestamp.as_ref();
        let created = created.map_or(0, |time| time.0.as_second());
        let place = (bucket.namespace(), bucket.name_any());
        (!owns(bucket), created, place)
    };
    let first = all
        .iter()
        .filter(|other| same_bucket(bucket, other))
        .min_by_key(|other| order(other))?;
    (order(first) < order(bucket)).then_some(first)
}

/// The bucket is in the cluster, and this resource did not make it.
pub(super) fn already_there(bucket: &Bucket, found: &BucketInfo) -> Option<Hold> {
    let namespace = bucket.namespace().unwrap_or_default();
    let (of, _) = bucket.spec.cluster_ref.from(&namespace);
    let name = &found.name;
    match bucket.spec.adopt_existing {
        true if of == namespace => None,
        true => Some(Hold::stalled(
            "Exists",
            format!(
                "the bucket {name} is in the cluster already, and only a Bucket in the cluster's own namespace \
                 {of} may take it over with adoptExisting"
            ),
        )),
        false => Some(Hold::stalled(
            "Exists",
            format!(
                "the bucket {name} is in the cluster already, and no Bucket made it: choose another name in \
                 spec.bucket, or take it over with adoptExisting: true in the cluster's namespace {of}"
            ),
        )),
    }
}

/// The grants of a key that hold now, and of the others why they do not.
#[must_use]
pub fn grants(key: &AccessKey, buckets: &[Bucket]) -> (Vec<Grant>, Vec<String>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for wanted in &key.spec.grants {
        match grant(key, wanted, buckets) {
            Ok(grant) if !good.contains(&grant) => good.push(grant),
            Ok(_) => {}
            Err(why) => bad.push(why),
        }
    }
    (good, bad)
}

fn grant(key: &AccessKey, wanted: &api::Grant, buckets: &[Bucket]) -> Result<Grant, String> {
    let own = key.namespace().unwrap_or_default();
    let of = wanted.bucket_ref.namespace.as_deref().unwrap_or(&own);
    let name = &wanted.bucket_ref.name;
    let found = buckets
        .iter()
        .find(|bucket| bucket.namespace().as_deref() == Some(of) && bucket.name_any() == *name);
    // Whether one is there is nobody's business whom it does not allow.
    let closed = || {
        format!(
            "no Bucket {of}/{name} allows the namespace {own}: whoever owns it must list that in its \
             spec.allowedNamespaces"
        )
    };
    let bucket = match found {
        None if of == own => return Err(format!("there is no Bucket {name} in {own}")),
        None => return Err(closed()),
        Some(bucket) if of != own && !lists(&bucket.spec.allowed_namespaces, &own) => {
            return Err(closed());
        }
        Some(bucket) => bucket,
    };
    if bucket.spec.cluster_ref.from(of) != key.spec.cluster_ref.from(&own) {
        return Err(format!("the Bucket {of}/{name} is of another cluster"));
    }
    if !owns(bucket) {
        return Err(format!("the Bucket {of}/{name} has no bucket yet"));
    }
    let scope = Scope::of(&bucket.bucket(), wanted.prefix.as_deref().unwrap_or(""));
    let scope = scope.map_err(|error| format!("{name}: {error}"))?;
    let permissions: Vec<Permission> = wanted.permissions.iter().map(permission).collect();
    let permissions = Permissions::of(&permissions);
    let permissions = permissions.ok_or_else(|| format!("nothing is granted on {name}"))?;
    Grant::new(permissions, scope).map_err(|error| format!("{name}: {error}"))
}

fn permission(permission: &GrantPermission) -> Permission {
    match permission {
        GrantPermission::List => Permission::List,
        GrantPermission::Read => Permission::Read,
        GrantPermission::Write => Permission::Write,
        GrantPermission::Admin => Permission::Admin,
    }
}
