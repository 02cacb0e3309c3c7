//! A cluster made by hand, with the commands that operators give.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use marram_client::{Client, ClientConfig, NodeState, RetryPolicy};

use crate::{Daemon, binary, free_address, until};

const ACCESS_KEY: &str = "MKBYHAND";
const SECRET_KEY: &str = "a-secret-that-only-this-test-knows";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The files and addresses of a cluster that is made by hand.
#[derive(Debug)]
pub struct ByHand {
    /// Where all its files are.
    pub folder: PathBuf,
    /// Where its first server serves applications.
    pub api: String,
    /// Where its first server serves peers.
    pub mesh: String,
    /// Environment variables of its servers.
    pub env: Vec<(&'static str, String)>,
}

impl ByHand {
    /// The files that the commands need; no server runs yet.
    ///
    /// # Panics
    /// When they cannot be written.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("made");
        let key = format!("{ACCESS_KEY} {SECRET_KEY}\n");
        fs::write(folder.join("admin-key"), key).expect("written");
        fs::write(folder.join("kek"), "5a".repeat(32)).expect("written");
        Self {
            folder: folder.to_owned(),
            api: free_address(),
            mesh: free_address(),
            env: Vec::new(),
        }
    }

    /// The path of a file in the folder.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// A server with a folder of its own, its addresses for applications and peers, and these further
    /// arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn server(&self, name: &str, (api, mesh): (&str, &str), more: &[&str]) -> Daemon {
        let mut args = vec![
            "server".to_owned(),
            format!("--data={}", self.file(&format!("{name}/d1"))),
            format!("--api-listen={api}"),
            format!("--mesh-listen={mesh}"),
            "--segment-mib=16".to_owned(),
        ];
        if !more.iter().any(|arg| arg.starts_with("--kek-file")) {
            args.push(format!("--kek-file={}", self.file("kek")));
        }
        fs::create_dir_all(self.folder.join(name)).expect("made");
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        Daemon::start_with(&self.folder, name, &args, &self.env)
    }

    /// The first server, which founds the cluster.
    #[must_use]
    pub fn found(&self) -> Daemon {
        let key = format!("--admin-key-file={}", self.file("admin-key"));
        let (api, mesh) = (self.api.clone(), self.mesh.clone());
        self.server(
            "first",
            (&api, &mesh),
            &["--bootstrap=dune", "--expected-nodes=2", &key],
        )
    }

    /// A server that joins through the first one.
    #[must_use]
    pub fn join(&self, name: &str, token: &str, more: &[&str]) -> Daemon {
        let (api, mesh) = (free_address(), free_address());
        let join = format!("--join={}", self.mesh);
        let token = format!("--token={token}");
        let mut args = vec![join.as_str(), token.as_str()];
        args.extend(more);
        self.server(name, (&api, &mesh), &args)
    }

    /// A command of `marram admin`: its exit code and all that it said.
    ///
    /// # Panics
    /// When it cannot be started, or is killed.
    #[must_use]
    pub fn admin(&self, args: &[&str]) -> (i32, String) {
        let output = Command::new(binary())
            .arg("admin")
            .args(args)
            .env("MARRAM_ENDPOINT", &self.api)
            .env("MARRAM_ACCESS_KEY", ACCESS_KEY)
            .env("MARRAM_SECRET_KEY", SECRET_KEY)
            .output()
            .expect("marram can be started");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).expect("text");
        (output.status.code().expect("it ended"), said)
    }

    /// What a command says that must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        let (code, said) = self.admin(args);
        assert_eq!(code, 0, "{args:?}: {said}");
        said.trim().to_owned()
    }

    /// A join token, for a storage node if nothing else is said.
    #[must_use]
    pub fn token(&self, more: &[&str]) -> String {
        let mut args = vec!["token", "create"];
        if !more.contains(&"--role") {
            args.extend(["--role", "storage"]);
        }
        args.extend(more);
        self.done(&args)
    }

    /// A client of one server that retries nothing.
    ///
    /// # Panics
    /// When the address is none.
    #[must_use]
    pub fn client(&self, api: &str) -> Client {
        let mut config = ClientConfig::new(api, ACCESS_KEY, SECRET_KEY);
        config.retry = RetryPolicy::never();
        Client::connect(config).expect("valid")
    }

    /// Waits until so many nodes are up.
    ///
    /// # Panics
    /// When that does not come to be.
    pub async fn ready(&self, nodes: usize) {
        let client = self.client(&self.api);
        until("all nodes are up", READY_WITHIN, async || {
            let status = client.cluster_status().await.map_err(|e| e.to_string())?;
            let up = status.nodes.iter().filter(|n| n.state == NodeState::Up);
            match up.count() {
                up if up == nodes => Ok(()),
                up => Err(format!("{up} are up")),
            }
        })
        .await;
    }
}
