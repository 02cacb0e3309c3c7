//! Requests from nodes that do not lead.

use super::*;
use crate::testing::{Cluster, GROUP, Net, PATIENCE, put};

/// Calls hosts of the same process, and counts.
struct Direct {
    net: Arc<Net>,
    me: ReplicaId,
    calls: std::sync::atomic::AtomicU64,
    /// Answers to the first proposals are lost.
    lose: std::sync::atomic::AtomicU64,
}

impl Direct {
    fn host(&self, target: ReplicaId) -> Result<Arc<RaftHost>, CallError> {
        self.calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let away = || CallError::Unavailable("away".to_owned());
        if self.net.is_cut(self.me, target) {
            return Err(away());
        }
        self.net.host(target).ok_or_else(away)
    }
}

#[async_trait::async_trait]
impl RemoteCall for Direct {
    async fn propose(
        &self,
        target: ReplicaId,
        group: GroupId,
        command: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        use std::sync::atomic::Ordering::SeqCst;
        let outcome = self.host(target)?.propose(group, &command, timeout).await?;
        match self
            .lose
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
        {
            Ok(_) => Err(CallError::Unknown),
            Err(_) => Ok(outcome),
        }
    }

    async fn query_at(
        &self,
        target: ReplicaId,
        group: GroupId,
        query: Bytes,
        at_least: u64,
        wait: Duration,
    ) -> Result<(Bytes, u64), CallError> {
        let host = self.host(target)?;
        Ok(host.query_at(group, &query, at_least, wait).await?)
    }

    async fn query(
        &self,
        target: ReplicaId,
        group: GroupId,
        query: Bytes,
        linearizable: bool,
        _timeout: Duration,
    ) -> Result<(Bytes, u64), CallError> {
        Ok(self
            .host(target)?
            .query(group, &query, linearizable)
            .await?)
    }
}

fn direct(cluster: &Cluster, lose: u64) -> Arc<Direct> {
    Arc::new(Direct {
        net: cluster.net.clone(),
        me: ReplicaId(99),
        calls: std::sync::atomic::AtomicU64::new(0),
        lose: std::sync::atomic::AtomicU64::new(lose),
    })
}

fn voters(cluster: &Cluster) -> [(GroupId, Vec<ReplicaId>); 1] {
    [(
        GROUP,
        cluster.nodes.iter().map(|node| node.replica).collect(),
    )]
}

fn command(key: &str, value: &str) -> Bytes {
    Bytes::from(put(key, value))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_redirect_finds_the_leader_and_then_none_is_needed() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await.replica();
    let remote = direct(&cluster, 0);
    let calls = || remote.calls.load(std::sync::atomic::Ordering::SeqCst);
    let router = Router::new(None, remote.clone());
    let nowhere = router.propose(GROUP, command("a", "0"), PATIENCE).await;
    assert_eq!(nowhere, Err(RouteError::NoRoute(GROUP)));
    // The leader comes last, so the first try is wrong.
    let mut order = voters(&cluster);
    order[0].1.sort_by_key(|replica| *replica == leader);
    for node in &cluster.nodes {
        let host = node.host();
        crate::testing::eventually("all know the leader", || host.leader(GROUP) == Some(leader))
            .await;
    }
    router.set_voters(order);
    router
        .propose(GROUP, command("a", "1"), PATIENCE)
        .await
        .expect("taken");
    assert_eq!(calls(), 2);
    assert_eq!(router.leader(GROUP), Some(leader));
    let asked = router
        .query(GROUP, Bytes::from_static(b"a"), true, PATIENCE)
        .await;
    assert_eq!(asked.expect("an answer").0.as_ref(), b"1");
    assert_eq!(calls(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_replica_needs_no_call_for_itself() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let remote = direct(&cluster, 0);
    let router = Router::new(Some(leader.clone()), remote.clone());
    router
        .propose(GROUP, command("a", "1"), PATIENCE)
        .await
        .expect("taken");
    let asked = router
        .query(GROUP, Bytes::from_static(b"a"), true, PATIENCE)
        .await;
    assert_eq!(asked.expect("an answer").0.as_ref(), b"1");
    let asked = router
        .query(GROUP, Bytes::from_static(b"a"), false, PATIENCE)
        .await;
    assert_eq!(asked.expect("an answer").0.as_ref(), b"1");
    assert_eq!(remote.calls.load(std::sync::atomic::Ordering::SeqCst), 0);
    let refused = router
        .propose(GROUP, Bytes::from_static(b"no"), PATIENCE)
        .await;
    assert!(
        matches!(refused, Err(RouteError::Refused(_))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_leader_is_replaced_behind_the_callers_back() {
    let mut cluster = Cluster::of(3).await;
    let router = Router::new(None, direct(&cluster, 0));
    router.set_voters(voters(&cluster));
    router
        .propose(GROUP, command("a", "1"), PATIENCE)
        .await
        .expect("taken");
    let dead = cluster.leader().await.replica();
    cluster.node(dead).kill();
    router
        .propose(GROUP, command("a", "2"), PATIENCE)
        .await
        .expect("taken");
    let asked = router
        .query(GROUP, Bytes::from_static(b"a"), true, PATIENCE)
        .await;
    assert_eq!(asked.expect("an answer").0.as_ref(), b"2");
    assert_ne!(router.leader(GROUP), Some(dead));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again_and_unknown_at_the_end() {
    let cluster = Cluster::of(1).await;
    let router = Router::new(None, direct(&cluster, 2));
    router.set_voters(voters(&cluster));
    router
        .propose(GROUP, command("a", "1"), PATIENCE)
        .await
        .expect("the third try");
    let router = Router::new(None, direct(&cluster, u64::MAX));
    router.set_voters(voters(&cluster));
    let lost = router
        .propose(GROUP, command("a", "2"), Duration::from_millis(300))
        .await;
    assert_eq!(lost, Err(RouteError::OutcomeUnknown));
    cluster.net.cut(ReplicaId(99), true);
    let never_sent = router
        .propose(GROUP, command("a", "3"), Duration::from_millis(300))
        .await;
    assert!(
        matches!(never_sent, Err(RouteError::Unavailable { .. })),
        "{never_sent:?}"
    );
    let never_sent = router
        .query(GROUP, Bytes::new(), true, Duration::from_millis(300))
        .await;
    assert!(
        matches!(never_sent, Err(RouteError::Unavailable { .. })),
        "{never_sent:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_an_index_is_answered_when_it_is_applied() {
    let cluster = Cluster::of(3).await;
    // Behind it there is nothing of the election left that would count as what is waited for.
    let leader = loop {
        let leader = cluster.leader().await;
        if leader
            .propose(GROUP, &put("b", "0"), PATIENCE)
            .await
            .is_ok()
        {
            break leader;
        }
    };
    let remote = direct(&cluster, 0);
    let far = Router::new(None, remote.clone());
    far.set_voters(voters(&cluster));
    let near = Router::new(Some(leader.clone()), remote);
    let index = leader.status(GROUP).expect("it has a replica").applied;
    let short = Duration::from_millis(50);
    let query = || Bytes::from_static(b"a");
    for router in [&far, &near] {
        let (_, applied) = router
            .query_at(GROUP, query(), index + 100, short)
            .await
            .expect("an answer, though not what was waited for");
        assert!(applied < index + 100);
    }
    let waiting = [far, near].map(|router| {
        tokio::spawn(async move { router.query_at(GROUP, query(), index + 1, PATIENCE).await })
    });
    tokio::time::sleep(short).await;
    assert!(waiting.iter().all(|asked| !asked.is_finished()));
    leader
        .propose(GROUP, &put("a", "1"), PATIENCE)
        .await
        .expect("taken");
    for asked in waiting {
        let (value, applied) = asked.await.expect("no panic").expect("an answer");
        assert!(applied > index);
        assert_eq!(value.as_ref(), b"1");
    }
}
