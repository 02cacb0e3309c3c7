//! Extents encoded anew: what this node does when it is asked, and how other nodes are asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_gateway::{ReencodeError, ReencodeJob, Reencoded, Reencoder, WorkPace};
use marram_maintain::{Lane, Pace, Reencoders, Reencoding, ReencodingError, fault_point};
use marram_mesh::{CallError, Mesh, Reencode, RpcCode, RpcFailure};
use marram_proto::mesh::v1 as wire;
use marram_types::{BucketId, DataId, GroupId, NodeId, ObjectKey, PgId, PoolId, Profile};

use super::shards::{bad, small};

/// How long an answer is waited for: an extent has up to 1 GiB, and the node goes on without us.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);

/// Encodes an extent anew on this node.
pub(super) async fn run(
    reencoder: &Reencoder,
    request: wire::ReencodeRequest,
) -> Result<wire::ReencodeResponse, RpcFailure> {
    let done = reencoder.run(read_job(request)?).await;
    match done {
        Ok(Reencoded::Done { written }) => {
            fault_point("reencode.committed");
            Ok(wire::ReencodeResponse {
                outcome: wire::ReencodeOutcome::Done.into(),
                written,
            })
        }
        Ok(Reencoded::NotLive) => Ok(wire::ReencodeResponse {
            outcome: wire::ReencodeOutcome::NotLive.into(),
            written: 0,
        }),
        Err(error) => {
            let code = match &error {
                ReencodeError::Busy => RpcCode::Overloaded,
                ReencodeError::UnderWay => RpcCode::Aborted,
                ReencodeError::NotNow(_) => RpcCode::Unavailable,
            };
            Err(RpcFailure::new(code, error.to_string()))
        }
    }
}

fn read_job(request: wire::ReencodeRequest) -> Result<ReencodeJob, RpcFailure> {
    let data = request.data.ok_or_else(|| bad("data id"))?;
    let (k, m) = (small(request.k, "profile")?, small(request.m, "profile")?);
    Ok(ReencodeJob {
        group: GroupId(small(request.group, "group")?),
        bucket: BucketId(request.bucket),
        key: ObjectKey::new(request.key).map_err(|_| bad("key"))?,
        pg: PgId {
            pool: PoolId(small(request.pool, "pool")?),
            index: small(request.pg, "placement group")?,
        },
        data: DataId::try_from(data).map_err(|_| bad("data id"))?,
        profile: Profile::new(k, m).map_err(|_| bad("profile"))?,
    })
}

/// The pace of this node's re-encoding: its own link. The drives and links of those that it reads from and
/// writes to are asked for a turn there.
pub(super) struct LinkPace(pub(super) Arc<Pace>);

#[async_trait]
impl WorkPace for LinkPace {
    async fn receive(&self, bytes: u64) {
        self.0.take(Lane::Received, bytes).await;
    }

    async fn send(&self, bytes: u64) {
        self.0.take(Lane::Sent, bytes).await;
    }

    fn before_commit(&self) {
        fault_point("reencode.written");
    }
}

/// The nodes of the cluster through the mesh; this one by its loopback.
pub(super) struct MeshReencoders {
    mesh: Mesh,
}

impl MeshReencoders {
    pub(super) fn new(mesh: Mesh) -> Self {
        Self { mesh }
    }
}

fn failure(error: &CallError) -> ReencodingError {
    match error.code() {
        Some(RpcCode::Overloaded) => ReencodingError::Busy,
        Some(RpcCode::Aborted) => ReencodingError::UnderWay,
        Some(_) => ReencodingError::NotNow,
        None => ReencodingError::Away,
    }
}

#[async_trait]
impl Reencoders for MeshReencoders {
    fn is_up(&self, node: NodeId) -> bool {
        self.mesh.is_up(node)
    }

    async fn reencode(&self, node: NodeId, what: &Reencoding) -> Result<u64, ReencodingError> {
        let (bucket, key) = &what.object;
        let request = wire::ReencodeRequest {
            group: u32::from(what.group.0),
            bucket: bucket.0,
            key: key.as_str().to_owned(),
            pool: u32::from(what.pg.pool.0),
            pg: u32::from(what.pg.index),
            data: Some(what.data.into()),
            k: u32::from(what.profile.k_byte()),
            m: u32::from(what.profile.m_byte()),
        };
        let call = self
            .mesh
            .call::<Reencode>(node, request, Bytes::new(), ANSWER_WITHIN);
        let (answer, _) = call.await.map_err(|error| {
            tracing::debug!(%node, data = %what.data, %error, "an extent is encoded anew later");
            failure(&error)
        })?;
        Ok(answer.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> wire::ReencodeRequest {
        let data = DataId {
            group: GroupId(3),
            begin: 7,
            random: 9,
        };
        wire::ReencodeRequest {
            group: 3,
            bucket: 5,
            key: "a/b".to_owned(),
            pool: 6,
            pg: 511,
            data: Some(data.into()),
            k: 4,
            m: 2,
        }
    }

    #[test]
    fn a_job_is_read_and_what_cannot_be_is_refused() {
        let job = read_job(request()).expect("it is whole");
        assert_eq!((job.group, job.bucket), (GroupId(3), BucketId(5)));
        assert_eq!((job.pg.pool, job.pg.index), (PoolId(6), 511));
        assert_eq!(job.profile.to_string(), "4+2");
        let spoiled = |spoil: &dyn Fn(&mut wire::ReencodeRequest)| {
            let mut bad = request();
            spoil(&mut bad);
            read_job(bad)
        };
        assert!(spoiled(&|r| r.data = None).is_err());
        assert!(spoiled(&|r| r.key = String::new()).is_err());
        assert!(spoiled(&|r| r.k = 0).is_err());
        assert!(spoiled(&|r| r.m = 300).is_err());
        assert!(spoiled(&|r| r.pg = 1 << 20).is_err());
    }

    #[test]
    fn refusals_say_whether_another_node_may_do_it() {
        let of = |code| failure(&CallError::Failed(RpcFailure::new(code, "")));
        assert_eq!(of(RpcCode::Overloaded), ReencodingError::Busy);
        assert_eq!(of(RpcCode::Aborted), ReencodingError::UnderWay);
        assert_eq!(of(RpcCode::Unavailable), ReencodingError::NotNow);
        let lost = CallError::Lost {
            peer: String::new(),
        };
        assert_eq!(failure(&lost), ReencodingError::Away);
    }
}
