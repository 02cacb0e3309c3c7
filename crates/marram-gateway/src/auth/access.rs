//! What each method of the API needs: the one table. A method that does not stand in it needs admin
//! on everything.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use marram_proto::v1;
use marram_proto::v1::put_object_request::Message as Put;
use marram_proto::v1::upload_part_request::Message as Part;
use marram_proto::v1::write_object_request::Message as Piece;
use marram_types::{Permission, Target};
use prost::{DecodeError, Message};

/// A permission somewhere. A call needs each of its needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) permission: Permission,
    pub(crate) target: Target,
}

/// What a method needs.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// An access key; what is answered depends on its grants.
    AnyKey,
    /// Admin on everything.
    Operator,
    /// What the call's first message says.
    Of(fn(Bytes) -> Result<Vec<Need>, DecodeError>),
}

fn whole(permission: Permission, bucket: String) -> Vec<Need> {
    let target = Target::Bucket(bucket);
    vec![Need { permission, target }]
}

fn keys(permission: Permission, bucket: String, under: String) -> Vec<Need> {
    let target = Target::Keys { bucket, under };
    vec![Need { permission, target }]
}

/// Whoever may do anything in a bucket may know that it is there.
fn seen(bucket: String) -> Vec<Need> {
    let target = Target::Seen(bucket);
    let permission = Permission::List;
    vec![Need { permission, target }]
}

macro_rules! of {
    ($message:ty, |$given:ident| $needs:expr) => {
        Rule::Of(|bytes| <$message>::decode(bytes).map(|$given| $needs))
    };
}

fn put_needs(request: v1::PutObjectRequest) -> Vec<Need> {
    // A stream that begins with anything but a header is refused by the method itself.
    let (bucket, key) = match request.message {
        Some(Put::Header(header)) => (header.bucket, header.key),
        _ => Default::default(),
    };
    keys(Permission::Write, bucket, key)
}

fn part_needs(request: v1::UploadPartRequest) -> Vec<Need> {
    let (bucket, key) = match request.message {
        Some(Part::Header(header)) => (header.bucket, header.key),
        _ => Default::default(),
    };
    keys(Permission::Write, bucket, key)
}

fn write_needs(request: v1::WriteObjectRequest) -> Vec<Need> {
    let (bucket, key) = match request.message {
        Some(Piece::Header(header)) => (header.bucket, header.key),
        _ => Default::default(),
    };
    keys(Permission::Write, bucket, key)
}

fn copy_needs(request: v1::CopyObjectRequest) -> Vec<Need> {
    let mut needs = keys(Permission::Read, request.source_bucket, request.source_key);
    needs.extend(keys(Permission::Write, request.bucket, request.key));
    needs
}

fn rows() -> Vec<(&'static str, Rule)> {
    use Permission::{Admin, List, Read, Write};
    vec![
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Rule::AnyKey,
        ),
        (
            "/marram.v1.BucketService/CreateBucket",
            of!(v1::CreateBucketRequest, |r| whole(Admin, r.bucket)),
        ),
        (
            "/marram.v1.BucketService/DeleteBucket",
            of!(v1::DeleteBucketRequest, |r| whole(Admin, r.bucket)),
        ),
        (
            "/marram.v1.BucketService/HeadBucket",
            of!(v1::HeadBucketRequest, |r| seen(r.bucket)),
        ),
        ("/marram.v1.BucketService/ListBuckets", Rule::AnyKey),
        (
            "/marram.v1.BucketService/SetVersioning",
            of!(v1::SetVersioningRequest, |r| whole(Admin, r.bucket)),
        ),
        (
            "/marram.v1.BucketService/GetBucketUsage",
            of!(v1::GetBucketUsageRequest, |r| whole(List, r.bucket)),
        ),
        (
            "/marram.v1.ObjectService/PutObject",
            of!(v1::PutObjectRequest, |r| put_needs(r)),
        ),
        (
            "/marram.v1.ObjectService/GetObject",
            of!(v1::GetObjectRequest, |r| keys(Read, r.bucket, r.key)),
        ),
        (
            "/marram.v1.ObjectService/ReadRanges",
            of!(v1::ReadRangesRequest, |r| keys(Read, r.bucket, r.key)),
        ),
        (
            "/marram.v1.ObjectService/HeadObject",
            of!(v1::HeadObjectRequest, |r| keys(Read, r.bucket, r.key)),
        ),
        (
            "/marram.v1.ObjectService/CopyObject",
            of!(v1::CopyObjectRequest, |r| copy_needs(r)),
        ),
        (
            "/marram.v1.ObjectService/DeleteObject",
            of!(v1::DeleteObjectRequest, |r| keys(Write, r.bucket, r.key)),
        ),
        // The method looks at each key: some may be deleted and others not.
        (
            "/marram.v1.ObjectService/DeleteObjects",
            of!(v1::DeleteObjectsRequest, |r| seen(r.bucket)),
        ),
        (
            "/marram.v1.ObjectService/ListObjects",
            of!(v1::ListObjectsRequest, |r| keys(List, r.bucket, r.prefix)),
        ),
        (
            "/marram.v1.ObjectService/ListObjectVersions",
            of!(v1::ListObjectVersionsRequest, |r| keys(
                List, r.bucket, r.prefix
            )),
        ),
        // The ticket is bound to the access key and its grants.
        ("/marram.v1.ObjectService/ReadShard", Rule::AnyKey),
    ]
}

/// What becomes of what a bucket holds, how much it may hold, and what happens in it.
fn keeping_rows() -> Vec<(&'static str, Rule)> {
    use Permission::{Admin, List};
    vec![
        (
            "/marram.v1.WatchService/WatchObjects",
            of!(v1::WatchObjectsRequest, |r| keys(List, r.bucket, r.prefix)),
        ),
        (
            "/marram.v1.BucketService/SetLifecycle",
            of!(v1::SetLifecycleRequest, |r| whole(Admin, r.bucket)),
        ),
        (
            "/marram.v1.BucketService/GetLifecycle",
            of!(v1::GetLifecycleRequest, |r| whole(List, r.bucket)),
        ),
        (
            "/marram.v1.BucketService/PreviewLifecycle",
            of!(v1::PreviewLifecycleRequest, |r| whole(List, r.bucket)),
        ),
        (
            "/marram.v1.BucketService/SetQuota",
            of!(v1::SetQuotaRequest, |r| whole(Admin, r.bucket)),
        ),
    ]
}

fn annotate_rows() -> Vec<(&'static str, Rule)> {
    use Permission::{Read, Write};
    vec![
        (
            "/marram.v1.ObjectService/GetObjectTags",
            of!(v1::GetObjectTagsRequest, |r| keys(Read, r.bucket, r.key)),
        ),
        (
            "/marram.v1.ObjectService/SetObjectTags",
            of!(v1::SetObjectTagsRequest, |r| keys(Write, r.bucket, r.key)),
        ),
        (
            "/marram.v1.ObjectService/DeleteObjectTags",
            of!(v1::DeleteObjectTagsRequest, |r| keys(
                Write, r.bucket, r.key
            )),
        ),
        (
            "/marram.v1.ObjectService/UpdateObjectMetadata",
            of!(v1::UpdateObjectMetadataRequest, |r| keys(
                Write, r.bucket, r.key
            )),
        ),
    ]
}

fn upload_rows() -> Vec<(&'static str, Rule)> {
    use Permission::{List, Write};
    vec![
        (
            "/marram.v1.UploadService/CreateUpload",
            of!(v1::CreateUploadRequest, |r| keys(Write, r.bucket, r.key)),
        ),
        (
            "/marram.v1.UploadService/UploadPart",
            of!(v1::UploadPartRequest, |r| part_needs(r)),
        ),
        // Who sends the parts may see which are there.
        (
            "/marram.v1.UploadService/ListParts",
            of!(v1::ListPartsRequest, |r| keys(Write, r.bucket, r.key)),
        ),
        (
            "/marram.v1.UploadService/ListUploads",
            of!(v1::ListUploadsRequest, |r| keys(List, r.bucket, r.prefix)),
        ),
        (
            "/marram.v1.UploadService/CompleteUpload",
            of!(v1::CompleteUploadRequest, |r| keys(Write, r.bucket, r.key)),
        ),
        (
            "/marram.v1.UploadService/AbortUpload",
            of!(v1::AbortUploadRequest, |r| keys(Write, r.bucket, r.key)),
        ),
        (
            "/marram.v1.WriteService/StartWrite",
            of!(v1::StartWriteRequest, |r| keys(Write, r.bucket, r.key)),
        ),
        (
            "/marram.v1.WriteService/WriteObject",
            of!(v1::WriteObjectRequest, |r| write_needs(r)),
        ),
        (
            "/marram.v1.WriteService/QueryWrite",
            of!(v1::QueryWriteRequest, |r| keys(Write, r.bucket, r.key)),
        ),
        (
            "/marram.v1.WriteService/FinishWrite",
            of!(v1::FinishWriteRequest, |r| keys(Write, r.bucket, r.key)),
        ),
    ]
}

/// Services whose every method is for operators.
const OPERATORS: [&str; 2] = ["/marram.v1.AdminService/", "/marram.v1.IamService/"];

/// The rule of a method, if the table has it.
pub(crate) fn listed(path: &str) -> Option<Rule> {
    static TABLE: LazyLock<HashMap<&'static str, Rule>> = LazyLock::new(|| {
        [rows(), keeping_rows(), annotate_rows(), upload_rows()]
            .into_iter()
            .flatten()
            .collect()
    });
    let operator = OPERATORS.iter().any(|service| path.starts_with(service));
    TABLE
        .get(path)
        .copied()
        .or_else(|| operator.then_some(Rule::Operator))
}

/// What a method needs.
pub(crate) fn rule(path: &str) -> Rule {
    listed(path).unwrap_or(Rule::Operator)
}

/// What an operator's method needs.
pub(crate) fn operator() -> Need {
    Need {
        permission: Permission::Admin,
        target: Target::Cluster,
    }
}
