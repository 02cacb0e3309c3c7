//! A cluster in trouble: every few seconds a random node is killed and started again, paused, or cut
//! off from its peers, while nodes are added, drained, wiped and lost for good under a load that
//! compares every answer. No call may fail beyond the client's own retries.
//!
//! Those that are lost are fenced by hand, as by an operator who knows that they do not come back: the
//! faults must not look like losses, so the cluster itself waits longer than this test lasts. That it
//! gives up and takes back by itself is what `liveness::dead_node` is about.

use std::fs;
use std::time::{Duration, Instant};

use marram_client::{Client, ClusterStatus, NodeDuty, Preconditions};
use marram_cluster_tests::{
    Cluster, Faults, Load, Object, Options, Pool, Scratch, Wires, equal_both_ways, fault_seed,
    log_uniform_sizes, moved, put_all, room, run, settled, until, verify_all,
};

const BUCKET: &str = "in-trouble";
/// Two data shards and two of parity: four nodes are enough, any two may be away.
const PROFILE: &str = "2+2";
const OBJECTS: usize = 40;
const SIZE_MAX: u64 = 6 << 20;
const TOTAL_MAX: u64 = 48 << 20;
/// How long the data of one node may take to move or to be computed again, with faults meanwhile.
const MOVED_WITHIN: Duration = Duration::from_secs(240);
/// Seconds after which what an upload has written counts as abandoned.
const FLOOR_LAG: &str = "30";
/// Seconds that a drain waits for uploads; faults last up to six.
const DRAIN_GRACE: &str = "8";
/// How long the last garbage may take: the lag, a search of the drives, and a busy machine.
const EMPTY_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_go_and_are_lost_while_others_fail() {
    let _room = room().await;
    let scratch = Scratch::new("in-trouble");
    let wires = Wires::lay(scratch.path());
    let options = Options {
        nodes: 5,
        quick_garbage: true,
        env: vec![
            ("MARRAM_GC_FLOOR_LAG", FLOOR_LAG.to_owned()),
            ("MARRAM_GC_DRAIN_GRACE", DRAIN_GRACE.to_owned()),
            // No other node is about to come.
            ("MARRAM_BALANCE_QUIET", "0".to_owned()),
        ],
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client
        .create_bucket(BUCKET, Some(PROFILE))
        .await
        .expect("made");
    let mut pool = Pool::new(300, 16 << 20);
    let mut objects: Vec<Object> = (0..)
        .zip(log_uniform_sizes(300, OBJECTS, SIZE_MAX, TOTAL_MAX))
        .map(|(i, size)| pool.object(format!("before/{i}"), size))
        .collect();
    put_all(&client, BUCKET, &objects).await;

    let load = Load::start(&client, BUCKET, 3);
    let processes = cluster.processes().clone();
    let faults = Faults::start(processes, wires, cluster.members(), fault_seed());
    let began = Instant::now();
    let mut trouble = Trouble {
        cluster,
        load,
        began,
    };
    trouble.add(&faults).await;
    trouble.drain_half_way_and_cancel(2).await;
    trouble.drain(3, &faults).await;
    trouble.wipe(4, &faults).await;
    trouble.return_too_late(5, &faults).await;
    trouble.add(&faults).await;
    trouble.lose(6, &faults).await;
    trouble.add(&faults).await;
    trouble.lose(7, &faults).await;
    // From five nodes on the metadata survives the loss of two as well.
    trouble.add(&faults).await;

    let (count, wires) = faults.stop().await;
    trouble.say(&format!("{count} faults have been")).await;
    let done = trouble.load.stop().await;
    println!("{} calls, the longest took {:?}", done.calls, done.longest);
    objects.extend(done.objects);
    let client = trouble.cluster.client();
    settled(&client, MOVED_WITHIN, &[], &[]).await;
    verify_all(&client, BUCKET, &objects).await;
    pairs_may_go(&trouble.cluster, &objects).await;
    println!("{:7.1} s: any two may go", began.elapsed().as_secs_f64());
    equal_both_ways(&trouble.cluster, EMPTY_WITHIN).await;
    println!(
        "{:7.1} s: drives and metadata agree",
        began.elapsed().as_secs_f64()
    );
    nothing_stays_behind(&client, &objects).await;
    println!(
        "{:7.1} s: the drives are empty",
        began.elapsed().as_secs_f64()
    );
    drop((trouble.cluster, wires));
}

/// What the metadata claims is on the drives: without any two nodes everything is read. Each node is
/// away twice.
async fn pairs_may_go(cluster: &Cluster, objects: &[Object]) {
    let members = cluster.members();
    let others = members.iter().cycle().skip(1);
    for pair in members
        .iter()
        .zip(others)
        .map(|(one, other)| [*one, *other])
    {
        two_may_go(cluster).await;
        cluster.kill(&pair);
        verify_all(&cluster.client_through_gateways(), BUCKET, objects).await;
        cluster.restart(&pair);
    }
    two_may_go(cluster).await;
}

/// Waits until every object has all of its shards, and every group the voters, so that any two nodes
/// may be lost.
async fn two_may_go(cluster: &Cluster) {
    let client = cluster.client();
    settled(&client, MOVED_WITHIN, &[], &[]).await;
    until("two nodes may be lost", MOVED_WITHIN, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        match status.redundancy {
            Some(redundancy) if redundancy.tolerated_losses >= 2 => Ok(()),
            other => Err(format!("{other:?} {:?}", status.groups)),
        }
    })
    .await;
}

/// What is on the drives is what the metadata claims: when all objects are deleted, nothing is left.
async fn nothing_stays_behind(client: &Client, objects: &[Object]) {
    for object in objects {
        let any = Preconditions::default();
        let gone = client.delete(BUCKET, &object.key, &any).await;
        gone.expect("deleted");
    }
    until("the drives are empty", EMPTY_WITHIN, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        let nodes = status.nodes.iter().map(|node| {
            let bytes = node.drives.iter().map(|drive| drive.record_bytes);
            (node.name.clone(), bytes.sum::<u64>())
        });
        let left: Vec<_> = nodes.filter(|(_, bytes)| *bytes > 0).collect();
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    })
    .await;
}

/// What is done while nodes fail.
struct Trouble {
    cluster: Cluster,
    load: Load,
    began: Instant,
}

impl Trouble {
    async fn say(&mut self, what: &str) {
        println!("{:7.1} s: {what}", self.began.elapsed().as_secs_f64());
        self.load.check().await;
    }

    fn admin(&self, args: &[&str]) {
        let args = [&["admin"], args].concat();
        let _said = run(&self.cluster, &args).done();
    }

    /// Waits until nothing has to move any more. Nodes may be away meanwhile.
    async fn moved(&self, with: &[&str], without: &[&str]) {
        moved(&self.cluster.client(), MOVED_WITHIN, with, without).await;
    }

    async fn add(&mut self, faults: &Faults) {
        let node = self.cluster.add_node();
        let name = format!("node-{node}");
        self.say(&format!("{name} is there")).await;
        self.load.use_client(&self.cluster.client());
        faults.only(self.cluster.members()).await;
        self.moved(&[&name], &[]).await;
        self.say(&format!("{name} has its share")).await;
    }

    async fn drain_half_way_and_cancel(&mut self, node: u16) {
        let name = format!("node-{node}");
        let client = self.cluster.client();
        let status = client.cluster_status().await.expect("answered");
        let held = slots(&status, &name);
        self.admin(&["drain", &name]);
        until("half of it has gone", MOVED_WITHIN, async || {
            let status = client.cluster_status().await.map_err(|e| e.to_string())?;
            let left = slots(&status, &name);
            (left <= held / 2)
                .then_some(())
                .ok_or_else(|| format!("{left} of {held} are left"))
        })
        .await;
        self.admin(&["drain", "--cancel", &name]);
        self.say(&format!("{name} is drained no longer")).await;
        self.moved(&[&name], &[]).await;
        let status = client.cluster_status().await.expect("answered");
        let again = slots(&status, &name);
        assert!(again > held / 2, "{name} has {again} slots of {held}");
        self.say(&format!("{name} has its share again")).await;
    }

    async fn drain(&mut self, node: u16, faults: &Faults) {
        let name = format!("node-{node}");
        self.admin(&["drain", &name]);
        self.moved(&[], &[&name]).await;
        self.say(&format!("{name} is drained")).await;
        self.remove(node, faults).await;
    }

    /// Removes a node that holds nothing.
    async fn remove(&mut self, node: u16, faults: &Faults) {
        let others = self.cluster.members();
        faults.only(others.into_iter().filter(|n| *n != node)).await;
        self.cluster.remove_node(node).await;
        self.load.use_client(&self.cluster.client());
        self.say(&format!("node-{node} is removed")).await;
    }

    /// Kills a node for good, or for so long that nobody waits for it.
    async fn give_up(&mut self, node: u16, faults: &Faults) {
        let others = self.cluster.members();
        let others = others.into_iter().filter(|n| *n != node);
        faults.only(others).await;
        let name = format!("node-{node}");
        self.cluster.kill(&[node]);
        self.admin(&["fence", &name, "--force"]);
        self.say(&format!("{name} is lost")).await;
    }

    async fn lose(&mut self, node: u16, faults: &Faults) {
        self.give_up(node, faults).await;
        let name = format!("node-{node}");
        self.moved(&[], &[&name]).await;
        {
            let _truce = faults.truce().await;
            settled(&self.cluster.client(), MOVED_WITHIN, &[], &[&name]).await;
        }
        self.say("every object has all of its shards again").await;
        self.remove(node, faults).await;
    }

    /// A machine loses its drives. It joins anew under its name with a new token, and is another node: what
    /// the old one had is computed again, and that one is removed by its id, because two have the name.
    async fn wipe(&mut self, node: u16, faults: &Faults) {
        let name = format!("node-{node}");
        let status = self.cluster.client().cluster_status().await;
        let before = status.expect("answered").nodes.into_iter();
        let old = before.filter(|n| n.name == name).map(|n| n.node_id).next();
        let old = old.expect("it was a member");
        self.give_up(node, faults).await;
        let drive = self.cluster.drive(node);
        fs::remove_dir_all(&drive).expect("its drive can be wiped");
        fs::create_dir(&drive).expect("it has an empty one");
        self.cluster.restart(&[node]);
        until(
            "the wiped machine is used again",
            MOVED_WITHIN,
            async || {
                let client = self.cluster.client();
                let status = client.cluster_status().await.map_err(|e| e.to_string())?;
                let named = status.nodes.iter().filter(|n| n.name == name);
                let (was, is): (Vec<_>, Vec<_>) = named.partition(|n| n.node_id == old);
                let emptied = was.iter().all(|n| n.slots == 0);
                let used = is.len() == 1 && is.iter().all(|n| n.slots > 0);
                let left = status.moves_under_way + status.placement_groups_to_move;
                match emptied && used && left == 0 {
                    true => Ok(()),
                    false => Err(format!("{left} to move, {was:?} {is:?}")),
                }
            },
        )
        .await;
        self.say(&format!(
            "{name} was wiped, and is another node with its share"
        ))
        .await;
        let id = old.to_string();
        until("what it was is removed", MOVED_WITHIN, async || {
            let removed = run(&self.cluster, &["admin", "remove", &id]);
            match removed.code {
                0 => Ok(()),
                _ => Err(removed.err),
            }
        })
        .await;
        faults.only(self.cluster.members()).await;
        self.say(&format!("what {name} was is removed")).await;
    }

    /// A node comes back when everything that it had was computed again elsewhere.
    async fn return_too_late(&mut self, node: u16, faults: &Faults) {
        self.give_up(node, faults).await;
        let name = format!("node-{node}");
        self.moved(&[], &[&name]).await;
        self.cluster.restart(&[node]);
        self.say(&format!("{name} is back, too late")).await;
        let client = self.cluster.client();
        until("what it had is collected", MOVED_WITHIN, async || {
            let status = client.cluster_status().await.map_err(|e| e.to_string())?;
            let found = status.nodes.iter().find(|n| n.name == name);
            let found = found.ok_or("it is not there")?;
            if found.duty != NodeDuty::Fenced {
                return Err("the server that answers has not heard of the fence".to_owned());
            }
            let bytes: u64 = found.drives.iter().map(|d| d.record_bytes).sum();
            match (found.drives.iter().all(|d| d.capacity_bytes > 0), bytes) {
                (true, 0) => Ok(()),
                other => Err(format!("it answers and has {other:?} bytes")),
            }
        })
        .await;
        self.remove(node, faults).await;
    }
}

fn slots(status: &ClusterStatus, name: &str) -> u64 {
    let node = status.nodes.iter().find(|node| node.name == name);
    node.map_or(0, |node| node.slots)
}
