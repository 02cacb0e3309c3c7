//! Duties of nodes, their removal, plans, and what the status says meanwhile.

use marram_meta::{DriveCommand, DriveDuty, NodeRecord, RootCommand, Tombstone};
use marram_proto::v1;
use marram_proto::v1::NodeDuty;
use marram_types::DriveId;
use tonic::{Code, Status};

use super::kit::{Client, cluster, content, reason};
use crate::testing::Cluster;

impl Client {
    async fn set(&mut self, node: &str, duty: NodeDuty) -> Result<NodeDuty, Status> {
        self.set_with(node, duty, false).await
    }

    async fn set_with(
        &mut self,
        node: &str,
        duty: NodeDuty,
        force: bool,
    ) -> Result<NodeDuty, Status> {
        let request = v1::SetNodeDutyRequest {
            node: node.to_owned(),
            duty: duty.into(),
            force,
            if_epoch: None,
            allow_narrower: true,
        };
        let answer = self.admin.set_node_duty(request).await?.into_inner();
        assert_eq!(answer.duty(), duty);
        Ok(answer.before())
    }

    async fn remove(&mut self, node: &str) -> Result<v1::RemoveNodeResponse, Status> {
        let request = v1::RemoveNodeRequest {
            node: node.to_owned(),
            if_epoch: None,
            allow_narrower: false,
        };
        Ok(self.admin.remove_node(request).await?.into_inner())
    }

    async fn plan(&mut self, request: v1::PlanLayoutRequest) -> v1::PlanLayoutResponse {
        let answer = self.admin.plan_layout(request).await;
        answer.unwrap().into_inner()
    }

    async fn status(&mut self) -> v1::GetClusterStatusResponse {
        let request = v1::GetClusterStatusRequest {};
        let answer = self.admin.get_cluster_status(request).await;
        answer.unwrap().into_inner()
    }
}

fn facts(status: &v1::GetClusterStatusResponse) -> (bool, String) {
    let redundancy = status.redundancy.as_ref().unwrap();
    (redundancy.fully_redundant, redundancy.under_way.join("\n"))
}

#[tokio::test]
async fn duties_change_step_by_step_and_again_without_harm() {
    let (_cluster, mut client) = cluster(6).await;
    let before = client.set("node-2", NodeDuty::Draining).await.unwrap();
    assert_eq!(before, NodeDuty::Serving);
    let again = client.set("node-2", NodeDuty::Draining).await.unwrap();
    assert_eq!(again, NodeDuty::Draining);
    let status = client.status().await;
    assert_eq!(status.nodes[1].duty(), NodeDuty::Draining);
    assert!(status.nodes[1].slots > 0);
    assert!(facts(&status).1.contains("node-2 is being drained"));
    // By id, and all the way back.
    let id = status.nodes[1].node_id.to_string();
    let before = client.set(&id, NodeDuty::Serving).await.unwrap();
    assert_eq!(before, NodeDuty::Draining);
    assert_eq!(client.status().await.nodes[1].duty(), NodeDuty::Serving);

    for (node, duty, code, why) in [
        (
            "nobody",
            NodeDuty::Cordoned,
            Code::NotFound,
            "NODE_NOT_FOUND",
        ),
        ("", NodeDuty::Cordoned, Code::NotFound, "NODE_NOT_FOUND"),
        (
            "node-2",
            NodeDuty::Unspecified,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        ),
    ] {
        let error = client.set(node, duty).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_str()), (code, why));
    }
}

#[tokio::test]
async fn no_new_data_goes_to_nodes_that_do_not_serve() {
    let (cluster, mut client) = cluster(6).await;
    let old = content(3_000_000, 1);
    client.put("old", &old).await.unwrap();
    for duty in [NodeDuty::Cordoned, NodeDuty::Draining] {
        client.set("node-3", duty).await.unwrap();
        let held = cluster.drives.shards_of(cluster.nodes[2]);
        assert!(held > 0, "the first object is there too");
        let new = content(3_000_000, 2);
        let put = client.put("new", &new).await.unwrap();
        assert_eq!(put.profiles, ["3+2"], "five nodes are left to write to");
        assert_eq!(cluster.drives.shards_of(cluster.nodes[2]), held);
        // Reads go on from it.
        for away in [0, 1] {
            cluster.drives.stop(cluster.nodes[away]);
        }
        assert!(client.get("old").await.unwrap() == old);
        assert!(client.get("new").await.unwrap() == new);
        for away in [0, 1] {
            cluster.drives.start(cluster.nodes[away]);
        }
    }
    client.set("node-3", NodeDuty::Serving).await.unwrap();
    let put = client.put("new", &old).await.unwrap();
    assert_eq!(put.profiles, ["4+2"]);
}

#[tokio::test]
async fn a_node_that_answers_is_fenced_by_force_only_and_for_good() {
    let (cluster, mut client) = cluster(6).await;
    let error = client.set("node-4", NodeDuty::Fenced).await.unwrap_err();
    assert_eq!(reason(&error), "NODE_BUSY");
    assert!(error.message().contains("node-4 answers"), "{error:?}");
    client
        .set_with("node-4", NodeDuty::Fenced, true)
        .await
        .unwrap();
    cluster.drives.stop(cluster.nodes[4]);
    client.set("node-5", NodeDuty::Fenced).await.unwrap();
    let error = client.set("node-4", NodeDuty::Serving).await.unwrap_err();
    assert_eq!(reason(&error), "NODE_BUSY");
    let (redundant, text) = facts(&client.status().await);
    assert!(!redundant && text.contains("node-4 is fenced"), "{text}");
    // It holds slots still, which are rebuilt elsewhere first.
    let error = client.remove("node-4").await.unwrap_err();
    assert!(error.message().contains("slots"), "{error:?}");
}

#[tokio::test]
async fn a_node_goes_only_when_nothing_is_known_to_be_on_it() {
    let (cluster, mut client) = cluster(3).await;
    let added = cluster.add_node(4);
    let refused = async |client: &mut Client, why: &str| {
        let error = client.remove("node-4").await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(error.message().contains(why), "{error:?}");
    };
    refused(&mut client, "it serves").await;
    client.set("node-4", NodeDuty::Draining).await.unwrap();
    cluster.drives.stop(added);
    refused(&mut client, "does not answer").await;
    cluster.drives.start(added);
    let removed = client.remove("node-4").await.unwrap();
    assert_eq!(
        (removed.node_id, removed.name.as_str()),
        (added.0, "node-4")
    );
    assert_eq!(client.remove("node-4").await.unwrap(), removed);
    assert_eq!(client.remove(&added.0.to_string()).await.unwrap(), removed);
    assert_eq!(client.status().await.nodes.len(), 3);
    let error = client.set("node-4", NodeDuty::Serving).await.unwrap_err();
    assert_eq!(reason(&error), "NODE_NOT_FOUND");

    client.set("node-1", NodeDuty::Cordoned).await.unwrap();
    let error = client.remove("node-1").await.unwrap_err();
    assert!(error.message().contains("drain it first"), "{error:?}");
}

#[tokio::test]
async fn too_few_nodes_are_left_only_where_that_is_accepted() {
    let (cluster, mut client) = cluster(6).await;
    let said = "would leave 5 nodes; profile 4+2 of bucket bucket needs 6, or accept narrower \
                stripes: --allow-narrower";
    let request = v1::SetNodeDutyRequest {
        node: "node-3".to_owned(),
        duty: NodeDuty::Draining.into(),
        force: false,
        if_epoch: None,
        allow_narrower: false,
    };
    let error = client.admin.set_node_duty(request).await.unwrap_err();
    assert_eq!(reason(&error), "NODE_BUSY");
    assert!(error.message().contains(said), "{error:?}");
    let error = client.remove("node-3").await.unwrap_err();
    assert!(error.message().contains(said), "{error:?}");
    let nodes = || cluster.groups.view().borrow().nodes.clone();
    assert!(
        nodes().values().all(NodeRecord::takes_data),
        "it serves as before"
    );
    client.set("node-3", NodeDuty::Draining).await.unwrap();
    assert_eq!(cluster.groups.view().borrow().narrower.len(), 1);
    client.set("node-3", NodeDuty::Serving).await.unwrap();
    assert!(cluster.groups.view().borrow().narrower.is_empty());
}

#[tokio::test]
async fn records_on_its_drives_keep_a_node() {
    let (cluster, mut client) = cluster(3).await;
    let added = cluster.add_node(4);
    client.set("node-4", NodeDuty::Draining).await.unwrap();
    let drive = cluster.groups.view().borrow().nodes[&added].drives[0].drive;
    cluster.drives.litter(drive);
    let error = client.remove("node-4").await.unwrap_err();
    assert!(error.message().contains("bytes of records"), "{error:?}");
}

#[tokio::test]
async fn the_status_says_what_lacks() {
    let (cluster, mut client) = cluster(6).await;
    client.put("k", &content(3_000_000, 1)).await.unwrap();
    let status = client.status().await;
    assert_eq!(facts(&status), (true, String::new()));
    assert_eq!(
        (status.moves_under_way, status.placement_groups_to_move),
        (0, 0)
    );
    let slots: u64 = status.nodes.iter().map(|node| node.slots).sum();
    assert_eq!(slots, 6 * 512);

    cluster.drives.stop(cluster.nodes[1]);
    let (redundant, text) = facts(&client.status().await);
    assert!(
        !redundant && text.contains("node-2 does not answer"),
        "{text}"
    );
    // Narrower than asked for, and as safe: no repair waits, and the counter says it.
    let put = client.put("narrow", &content(3_000_000, 2)).await.unwrap();
    assert_eq!(put.profiles, ["3+2"]);
    cluster.drives.start(cluster.nodes[1]);
    let status = client.status().await;
    assert!(facts(&status).0, "{status:?}");
    assert_eq!(status.redundancy.unwrap().narrowed_versions, 1);

    cluster.add_node(7);
    let status = client.status().await;
    assert!(status.placement_groups_to_move > 100);
    assert!(facts(&status).1.contains("yet to be moved"));
}

#[tokio::test]
async fn a_plan_says_what_would_move_and_moves_nothing() {
    let (cluster, mut client) = cluster(6).await;
    for key in 0..20_u64 {
        let data = content(1_000_000, key);
        client.put(&format!("k{key}"), &data).await.unwrap();
    }
    let now = client.plan(v1::PlanLayoutRequest::default()).await;
    assert_eq!((now.slots, now.bytes, now.worth_it), (0, 0, false));
    let with = v1::PlannedNode {
        zone: String::new(),
        drive_capacity_bytes: vec![1 << 40],
    };
    let grown = client
        .plan(v1::PlanLayoutRequest {
            with: vec![with.clone()],
            ..v1::PlanLayoutRequest::default()
        })
        .await;
    assert!(grown.worth_it && grown.bytes > 0);
    let new = grown.nodes.last().unwrap();
    assert_eq!((new.node_id, new.name.as_str()), (0, "new node 1"));
    assert_eq!((new.slots_before, new.slots_after), (0, grown.slots));
    assert!(grown.slots.abs_diff(6 * 512 / 7) < 10, "{grown:?}");
    assert_eq!(new.bytes_in, grown.bytes);

    let changed = client
        .plan(v1::PlanLayoutRequest {
            without: vec!["node-2".to_owned()],
            with: vec![with],
            ..v1::PlanLayoutRequest::default()
        })
        .await;
    let gone = &changed.nodes[1];
    assert_eq!((gone.slots_before, gone.slots_after), (512, 0));
    assert_eq!(changed.slots, 512);
    let alone = v1::PlanLayoutRequest {
        without: vec!["node-2".to_owned()],
        ..v1::PlanLayoutRequest::default()
    };
    assert_eq!(client.plan(alone).await.pools[0].unplaced, 512);
    assert_eq!(client.status().await.moves_under_way, 0);
    assert_eq!(cluster.groups.view().borrow().nodes.len(), 6);
}

#[tokio::test]
async fn an_audit_names_what_has_too_few_shards_left() {
    let (cluster, mut client) = cluster(6).await;
    let large = content(900_000, 1);
    client.put("large", &large).await.unwrap();
    client.put("small", b"inline").await.unwrap();
    let mut audit = async |page_size| {
        let request = v1::AuditObjectsRequest {
            bucket: "bucket".to_owned(),
            page_token: String::new(),
            page_size,
        };
        client
            .admin
            .audit_objects(request)
            .await
            .unwrap()
            .into_inner()
    };
    let whole = audit(0).await;
    assert_eq!((whole.checked, whole.degraded), (2, 0));
    let first = audit(1).await;
    assert_eq!(first.checked, 1);
    assert!(!first.next_page_token.is_empty());
    cluster.drives.lose_one_shard_each();
    cluster.drives.lose_one_shard_each();
    let degraded = audit(0).await;
    assert_eq!((degraded.degraded, degraded.lost.len()), (1, 0));
    cluster.drives.lose_one_shard_each();
    let lost = audit(0).await;
    assert_eq!((lost.degraded, lost.lost), (0, vec!["large".to_owned()]));
}

#[tokio::test]
async fn who_acts_on_an_old_status_is_told() {
    let (cluster, mut client) = cluster(3).await;
    cluster.add_node(4);
    let seen = client.status().await.layout_epoch;
    let duty = |node: &str, duty: NodeDuty, if_epoch| v1::SetNodeDutyRequest {
        node: node.to_owned(),
        duty: duty.into(),
        force: false,
        if_epoch: Some(if_epoch),
        allow_narrower: false,
    };
    let drain = duty("node-4", NodeDuty::Draining, seen);
    client.admin.set_node_duty(drain).await.unwrap();
    // Another operator, who looked before.
    let serve = duty("node-4", NodeDuty::Serving, seen);
    let error = client.admin.set_node_duty(serve).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("look again"), "{error:?}");
    let removal = |if_epoch| v1::RemoveNodeRequest {
        node: "node-4".to_owned(),
        if_epoch: Some(if_epoch),
        allow_narrower: false,
    };
    let error = client.admin.remove_node(removal(seen)).await.unwrap_err();
    assert!(error.message().contains("look again"), "{error:?}");
    let now = client.status().await.layout_epoch;
    assert!(now > seen);
    client.admin.remove_node(removal(now)).await.unwrap();
}

/// A drain that is refused leaves no acceptance behind: else the removal would read it as one.
#[tokio::test]
async fn narrower_stripes_are_not_accepted_by_a_drain_that_was_refused() {
    let (cluster, mut client) = cluster(6).await;
    let seen = client.status().await.layout_epoch;
    client.set("node-3", NodeDuty::Cordoned).await.unwrap();
    let drain = |node: &str, if_epoch| v1::SetNodeDutyRequest {
        node: node.to_owned(),
        duty: NodeDuty::Draining.into(),
        force: false,
        if_epoch,
        allow_narrower: true,
    };
    for node in ["node-2", "node-3"] {
        let refused = client.admin.set_node_duty(drain(node, Some(seen))).await;
        let error = refused.unwrap_err();
        assert!(error.message().contains("look again"), "{error:?}");
        assert!(cluster.core.view().narrower.is_empty(), "{node}");
    }
    let accepted = client.admin.set_node_duty(drain("node-3", None)).await;
    accepted.unwrap();
    assert_eq!(cluster.core.view().narrower.len(), 1);
}

/// Each would be fine alone. Whoever comes second is told, whatever both had seen.
#[tokio::test]
async fn of_two_operators_at_once_who_would_leave_too_few_nodes_one_is_refused() {
    let (cluster, mut one) = cluster(6).await;
    cluster.add_node(7);
    let mut other = Client::of(&cluster).await;
    for _ in 0..10 {
        let drain = |node: &str| v1::SetNodeDutyRequest {
            node: node.to_owned(),
            duty: NodeDuty::Draining.into(),
            force: true,
            if_epoch: None,
            allow_narrower: false,
        };
        let (first, second) = tokio::join!(
            one.admin.set_node_duty(drain("node-2")),
            other.admin.set_node_duty(drain("node-3")),
        );
        let refused: Vec<_> = [first.err(), second.err()].into_iter().flatten().collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        let said = refused[0].message();
        assert!(said.contains("would leave 5 nodes"), "{said}");

        // And the opposite of what somebody wishes at the same moment: one of both holds in the end, and
        // the answers tell the order.
        let (drains, serves) = tokio::join!(
            one.set("node-2", NodeDuty::Draining),
            other.set("node-2", NodeDuty::Serving),
        );
        let now = one.status().await.nodes[1].duty();
        match (drains, serves) {
            (Ok(before), Ok(_)) if now == NodeDuty::Draining => {
                assert_ne!(before, NodeDuty::Unspecified);
            }
            (Ok(_), Ok(before)) => {
                assert_eq!((now, before), (NodeDuty::Serving, NodeDuty::Draining));
            }
            (Ok(_), Err(told)) => {
                assert_eq!(
                    (now, reason(&told).as_str()),
                    (NodeDuty::Draining, "NODE_BUSY")
                );
            }
            (Err(told), Ok(_)) => {
                assert_eq!(
                    (now, reason(&told).as_str()),
                    (NodeDuty::Serving, "NODE_BUSY")
                );
            }
            (Err(one), Err(other)) => panic!("{one:?}, {other:?}"),
        }
        for node in ["node-2", "node-3"] {
            one.set(node, NodeDuty::Serving).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_gateway_with_an_old_view_cannot_commit_onto_a_node_that_is_about_to_go() {
    let (cluster, mut client) = cluster(6).await;
    let node = cluster.nodes[1];
    let drive = cluster.groups.view().borrow().nodes[&node].drives[0].drive;
    let data = content(3_000_000, 1);
    client.put("before", &data).await.unwrap();
    // The groups know, this gateway does not yet: its view has the node serving.
    cluster.groups.tombstone(Tombstone {
        node,
        epoch: 1_000_000,
        stands: true,
        drives: vec![drive],
    });
    let error = client.put("late", &data).await.unwrap_err();
    assert_eq!(reason(&error), "UPLOAD_TOO_OLD", "{error:?}");
    assert!(error.message().contains("about to go"), "{error:?}");
    assert_eq!(client.get("late").await.unwrap_err().code(), Code::NotFound);
    // Now it knows, and the same put goes elsewhere.
    client.set("node-2", NodeDuty::Draining).await.unwrap();
    let put = client.put("late", &data).await.unwrap();
    assert_eq!(put.profiles, ["3+2"]);
    assert!(client.get("late").await.unwrap() == data);
}

#[tokio::test]
async fn drives_and_metadata_are_compared_both_ways() {
    let (cluster, mut client) = cluster(6).await;
    for key in 0..10_u64 {
        let data = content(1_000_000, key);
        client.put(&format!("k{key}"), &data).await.unwrap();
    }
    let compare = async |client: &mut Client| {
        let request = v1::CompareShardsRequest {};
        let answer = client.admin.compare_shards(request).await;
        answer.unwrap().into_inner()
    };
    let same = compare(&mut client).await;
    assert_eq!((same.wanted, same.held), (60, 60));
    assert_eq!((same.lacking, same.extra, same.waiting), (0, 0, 0));

    // Garbage that waits for its time is not too much.
    let data = content(1_000_000, 77);
    client.put("k0", &data).await.unwrap();
    let waits = compare(&mut client).await;
    assert_eq!((waits.lacking, waits.extra, waits.waiting), (0, 0, 6));

    cluster.drives.lose_one_shard_each();
    let lacks = compare(&mut client).await;
    assert_eq!((lacks.lacking, lacks.extra), (10, 0));
    assert!(lacks.differences.iter().all(|d| d.lacks && d.node_id > 0));

    cluster.drives.stop(cluster.nodes[2]);
    let silent = compare(&mut client).await;
    assert_eq!(silent.silent_node_ids, [cluster.nodes[2].0]);
    assert!(silent.wanted < 60 && silent.extra == 0);
}

#[tokio::test]
async fn a_rebalance_is_exactly_the_plan_or_refused() {
    let (cluster, mut client) = cluster(6).await;
    let planned = client.plan(v1::PlanLayoutRequest::default()).await;
    let rebalance = async |client: &mut Client, plan_id: &str, cancel| {
        let plan_id = plan_id.to_owned();
        let request = v1::RebalanceRequest { plan_id, cancel };
        let answer = client.admin.rebalance(request).await;
        answer.map(tonic::Response::into_inner)
    };
    let begun = rebalance(&mut client, &planned.plan_id, false)
        .await
        .unwrap();
    assert!(!begun.already && client.status().await.rebalancing);
    assert!(rebalance(&mut client, "", false).await.unwrap().already);
    let ended = rebalance(&mut client, "", true).await.unwrap();
    assert!(!ended.already && !client.status().await.rebalancing);

    cluster.add_node(7);
    let error = rebalance(&mut client, &planned.plan_id, false)
        .await
        .unwrap_err();
    assert!(error.message().contains("came, went"), "{error:?}");
    let planned = client.plan(v1::PlanLayoutRequest::default()).await;
    client.set("node-2", NodeDuty::Cordoned).await.unwrap();
    let error = rebalance(&mut client, &planned.plan_id, false)
        .await
        .unwrap_err();
    assert!(error.message().contains("duty"), "{error:?}");
    let error = rebalance(&mut client, "nonsense", false).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    // As if the cordoned node served again.
    let add = v1::PlanLayoutRequest {
        add: vec!["node-2".to_owned()],
        ..v1::PlanLayoutRequest::default()
    };
    assert_eq!(client.plan(add).await.plan_id, "");
}

/// The node of a drive had one more, which was removed.
fn had_another_drive(cluster: &Cluster, drive: DriveId) {
    let view = cluster.groups.view();
    let has = |node: &&NodeRecord| node.drive(drive).is_some();
    let node = view.borrow().nodes.values().find(has).unwrap().node;
    cluster.groups.root(&RootCommand::Drives(DriveCommand::Add {
        node,
        label: 77,
        capacity: 1 << 30,
    }));
    let added = view.borrow().nodes[&node].drives[1].drive;
    for command in [
        DriveCommand::SetDuty {
            drive: added,
            duty: DriveDuty::Draining,
        },
        DriveCommand::Remove { drive: added },
    ] {
        cluster.groups.root(&RootCommand::Drives(command));
    }
    let removed = &view.borrow().nodes[&node].drives[1];
    assert_eq!(removed.duty, DriveDuty::Removed);
}

#[tokio::test]
async fn a_drain_without_room_elsewhere_is_refused_with_numbers() {
    let (cluster, mut client) = cluster(6).await;
    cluster.add_node(7);
    client.put("k", &content(3_000_000, 1)).await.unwrap();
    for node in &cluster.nodes {
        let drives = cluster.groups.view().borrow().nodes[node].drives.clone();
        drives.iter().for_each(|d| cluster.drives.fill(d.drive));
    }
    let seventh = {
        let view = cluster.groups.view().borrow().clone();
        let node = view.nodes.values().last().unwrap();
        node.drives[0].drive
    };
    cluster.drives.fill(seventh);
    had_another_drive(&cluster, seventh);
    let drain = v1::SetNodeDutyRequest {
        node: "node-2".to_owned(),
        duty: NodeDuty::Draining.into(),
        ..v1::SetNodeDutyRequest::default()
    };
    let error = client.admin.set_node_duty(drain).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("has room for 0"), "{error:?}");
    assert_eq!(client.status().await.nodes[1].duty(), NodeDuty::Serving);
    let forced = client.set_with("node-2", NodeDuty::Draining, true).await;
    assert_eq!(forced.unwrap(), NodeDuty::Serving);
}
