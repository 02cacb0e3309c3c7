//! A newcomer dies at each step of its joining, and so do those who admit it and give it its place: it
//! is started again with the same command, and becomes the one member that it was to be.

use std::time::Duration;

use marram_client::NodeState;
use marram_cluster_tests::{
    Armed, ByHand, Daemon, Object, Pool, Scratch, free_address, put, room, until, verify_all,
};

const BUCKET: &str = "joins";
/// How long a newcomer may take that dies all the time.
const JOINED_WITHIN: Duration = Duration::from_secs(90);
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// What a newcomer does, one after the other: its key is durable; the answer came that used its token,
/// and is lost; its certificate is kept; its folders are marked as the cluster's; its log is there; it
/// knows who it is.
const NEWCOMER: [&str; 6] = [
    "join.keyed",
    "join.admitted",
    "join.certified",
    "join.marked",
    "join.logged",
    "join.named",
];

/// A newcomer that came through all of this begins to take part. The others: the root group has its node
/// and it was not told; the root group's leader has decided the next thing, has it follow, has it vote,
/// has told a group of the layout; the leaders of object groups have written down who votes, have it
/// follow, have it vote.
const OTHERS: [&str; 9] = [
    "join.opened",
    "admit.redeemed",
    "root.decided",
    "root.follows",
    "root.votes",
    "group.told",
    "votes.recorded",
    "votes.follows",
    "votes.changed",
];

/// Places behind steps that the root group takes once for a newcomer, and what a process says before such a
/// step. It can die at another place before it comes to this one: its successor finds the step done, and
/// nobody comes to this place any more.
const ONCE: [(&str, &str); 2] = [
    ("root.follows", "a replica begins to follow the root group"),
    ("root.votes", "the root group's voters change"),
];

/// A server that is started again whenever it has died.
struct Server {
    name: &'static str,
    addresses: (String, String),
    more: Vec<String>,
    process: Daemon,
    deaths: usize,
    /// Steps of [`ONCE`] that a process had begun when it died elsewhere.
    passed_by: Vec<&'static str>,
}

impl Server {
    fn start(cluster: &ByHand, name: &'static str, more: &[String]) -> Self {
        let addresses = match name {
            "first" => (cluster.api.clone(), cluster.mesh.clone()),
            _ => (free_address(), free_address()),
        };
        let process = Self::run(cluster, name, &addresses, more);
        Self {
            name,
            addresses,
            more: more.to_vec(),
            process,
            deaths: 0,
            passed_by: Vec::new(),
        }
    }

    fn run(cluster: &ByHand, name: &str, at: &(String, String), more: &[String]) -> Daemon {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        cluster.server(name, (&at.0, &at.1), &more)
    }

    fn keep_alive(&mut self, cluster: &ByHand) {
        if !self.process.ended() {
            return;
        }
        let said = self.process.said();
        let died = "a test ends this process here";
        assert!(said.contains(died), "{} ended:\n{said}", self.name);
        self.deaths += 1;
        let begun = ONCE.iter().filter(|(place, step)| {
            said.contains(step) && !said.contains(&format!("place=\"{place}\""))
        });
        self.passed_by.extend(begun.map(|(place, _)| *place));
        self.process = Self::run(cluster, self.name, &self.addresses, &self.more);
    }
}

fn joining(cluster: &ByHand, token: &str) -> [String; 2] {
    [
        format!("--join={}", cluster.mesh),
        format!("--token={token}"),
    ]
}

/// Waits until nobody is left to die, every server is a member that is up, and every group has all
/// three of them as its voters. Returns how many have died at the places.
async fn all_take_part(
    cluster: &ByHand,
    armed: &Armed,
    places: &[&str],
    servers: &mut [&mut Server],
) -> usize {
    let client = cluster.client(&cluster.api);
    until("all take part", JOINED_WITHIN, async || {
        for server in servers.iter_mut() {
            server.keep_alive(cluster);
        }
        let mut left = armed.left(places);
        let status = client.cluster_status().await.map_err(|e| e.to_string());
        let status = status.map_err(|error| format!("{error}; {left:?} are left"))?;
        let names: Vec<&str> = status.nodes.iter().map(|n| n.name.as_str()).collect();
        let up = status.nodes.iter().filter(|n| n.state == NodeState::Up);
        let up = up.count();
        let voters = status.groups.iter().map(|group| group.voters_up).min();
        let votes = if servers.len() > 2 { 3 } else { 1 };
        assert!(
            names.len() <= servers.len(),
            "one was let in twice: {names:?}"
        );
        left.retain(|place| !servers.iter().any(|s| s.passed_by.contains(place)));
        if left.is_empty() && up == servers.len() && voters == Some(votes) {
            return Ok(());
        }
        Err(format!(
            "{left:?} are left; {up} of {names:?} are up, {voters:?} vote"
        ))
    })
    .await;
    places.len() - armed.left(places).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_survives_a_death_at_each_step() {
    let _room = room().await;
    let scratch = Scratch::new("joins");
    let armed = Armed::new(&scratch.path().join("faults"));
    let mut cluster = ByHand::new(scratch.path());
    // What moves that were broken off left at their old places is found by searches.
    let search = ("MARRAM_GC_SCAN_EVERY", "3".to_owned());
    cluster.env = vec![armed.env(), search];
    let mut founder = cluster.found();
    founder.says("serving");
    cluster.ready(1).await;
    let tokens = [cluster.token(&[]), cluster.token(&[])];
    drop(founder);
    let mut first = Server::start(&cluster, "first", &[]);
    cluster.ready(1).await;

    // The newcomer dies six times, and the founder at what it decides for the first layout.
    let decided = ["admit.redeemed", "root.decided", "group.told"];
    let places = [&NEWCOMER[..], &decided].concat();
    places.iter().for_each(|place| armed.arm(place));
    let mut second = Server::start(&cluster, "second", &joining(&cluster, &tokens[0]));
    let died = all_take_part(&cluster, &armed, &places, &mut [&mut first, &mut second]).await;
    assert_eq!(died, places.len());
    assert_eq!((first.deaths, second.deaths), (3, 6));

    let client = cluster.client(&cluster.api);
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(902, 4 << 20);
    let sizes = [0, 900, 50_000, 300_000, 3 << 20];
    let objects: Vec<Object> = sizes
        .iter()
        .map(|size| pool.object(format!("object/{size}"), *size))
        .collect();
    for object in &objects {
        put(&client, BUCKET, object).await.expect("put");
    }

    // With the third one there are voters to be chosen, and data to be moved.
    OTHERS.iter().for_each(|place| armed.arm(place));
    let mut third = Server::start(&cluster, "third", &joining(&cluster, &tokens[1]));
    let servers = &mut [&mut first, &mut second, &mut third];
    let died = all_take_part(&cluster, &armed, &OTHERS, servers).await;
    let deaths: usize = servers.iter().map(|server| server.deaths).sum();
    assert_eq!(deaths, 9 + died);

    let client = cluster.client(&cluster.api);
    let listed = cluster.done(&["token", "list", "--json"]);
    let used = listed.matches("\"used\"").count();
    assert_eq!(used, 2, "each token let one in: {listed}");
    until("every shard is at its place", WHOLE_WITHIN, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        let left = status.moves_under_way + status.placement_groups_to_move;
        match status.redundancy {
            Some(data) if left == 0 && data.fully_redundant => Ok(()),
            data => Err(format!("{left} to move, {data:?}")),
        }
    })
    .await;
    verify_all(&client, BUCKET, &objects).await;
    until(
        "drives hold what the metadata wants",
        WHOLE_WITHIN,
        async || match cluster.admin(&["compare"]) {
            (0, _) => Ok(()),
            (_, said) => Err(said),
        },
    )
    .await;
}

/// The vote for the leader that it heard of is kept, and nothing else that the leader said: so it knows a
/// leader, and not one member that may speak to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_that_dies_when_it_first_hears_of_a_leader_takes_part_all_the_same() {
    let _room = room().await;
    let scratch = Scratch::new("first-heard");
    let armed = Armed::new(&scratch.path().join("faults"));
    let mut cluster = ByHand::new(scratch.path());
    cluster.env = vec![armed.env()];
    let mut founder = cluster.found();
    founder.says("serving");
    cluster.ready(1).await;
    let token = cluster.token(&[]);
    drop(founder);
    let mut first = Server::start(&cluster, "first", &[]);
    cluster.ready(1).await;

    let places = ["raft.appended"];
    armed.arm(places[0]);
    let mut second = Server::start(&cluster, "second", &joining(&cluster, &token));
    let died = all_take_part(&cluster, &armed, &places, &mut [&mut first, &mut second]).await;
    assert_eq!((died, first.deaths, second.deaths), (1, 0, 1));
}
