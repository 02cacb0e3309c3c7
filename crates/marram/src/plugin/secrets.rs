//! Keys and CAs, out of the cluster's Secrets.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::cli::CredentialsArgs;
use super::cluster::{Cluster, Metadata};
use super::error::PluginError;
use super::kubectl::Kubectl;

#[derive(Debug, Deserialize)]
struct Secret {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// What is to be trusted of the API.
#[derive(Debug, Deserialize)]
struct ConfigMap {
    data: Trust,
}

#[derive(Debug, Deserialize)]
struct Trust {
    #[serde(rename = "ca.crt")]
    ca: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessKey {
    metadata: Metadata,
    spec: AccessKeySpec,
}

#[derive(Debug, Deserialize)]
struct ClusterRef {
    name: String,
    namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessKeySpec {
    cluster_ref: ClusterRef,
    secret_name: Option<String>,
}

/// What a client needs.
pub(super) struct Credentials {
    pub(super) endpoint: String,
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) ca: String,
}

fn values(
    kubectl: &Kubectl,
    secret: &str,
    keys: &[&'static str],
) -> Result<Vec<String>, PluginError> {
    let live: Secret = kubectl.json(&["get", "secret", secret])?;
    let value = |key: &&'static str| {
        let bytes = live
            .data
            .get(*key)
            .and_then(|text| STANDARD.decode(text).ok());
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| PluginError::Lacks {
            secret: secret.to_owned(),
            key,
        })
    };
    keys.iter().map(value).collect()
}

/// The admin's.
pub(super) fn admin(kubectl: &Kubectl, cluster: &Cluster) -> Result<Credentials, PluginError> {
    let keys = format!("{}-keys", cluster.name);
    let [key] = <[String; 1]>::try_from(values(kubectl, &keys, &["admin"])?)
        .expect("one value for one key");
    let trust = format!("{}-api-ca", cluster.name);
    let trust: ConfigMap = kubectl.json(&["get", "configmap", &trust])?;
    let words = key.trim().split_once(' ');
    let (id, secret) = words.ok_or(PluginError::Lacks {
        secret: keys,
        key: "admin with an id and a secret",
    })?;
    Ok(Credentials {
        endpoint: format!("https://{}.{}.svc:7070", cluster.name, cluster.namespace),
        id: id.to_owned(),
        secret: secret.trim().to_owned(),
        ca: trust.data.ca,
    })
}

/// Those of an `AccessKey`, into a folder. The cluster may be in a namespace that its owner does not see.
pub(super) fn of_access_key(
    kubectl: &Kubectl,
    name: &str,
    args: &CredentialsArgs,
) -> Result<(), PluginError> {
    let key: AccessKey = kubectl.json(&["get", "accesskey.marram.dev", name])?;
    let secret = key.spec.secret_name.unwrap_or_else(|| name.to_owned());
    let wanted = [
        "MARRAM_ENDPOINT",
        "MARRAM_ACCESS_KEY",
        "MARRAM_SECRET_KEY",
        "ca.crt",
    ];
    let all = values(kubectl, &secret, &wanted)?;
    let [endpoint, id, secret, ca] =
        <[String; 4]>::try_from(all).expect("a value for each of four keys");
    let found = Credentials {
        endpoint,
        id,
        secret,
        ca,
    };
    let of = key.spec.cluster_ref;
    let namespace = of.namespace.unwrap_or(key.metadata.namespace);
    put_down(&found, args, name, (&namespace, &of.name))
}

/// The admin's, into a folder.
pub(super) fn of_admin(
    kubectl: &Kubectl,
    cluster: &Cluster,
    args: &CredentialsArgs,
) -> Result<(), PluginError> {
    let (namespace, name) = (&cluster.namespace, &cluster.name);
    put_down(&admin(kubectl, cluster)?, args, name, (namespace, name))
}

fn put_down(
    found: &Credentials,
    args: &CredentialsArgs,
    of: &str,
    (namespace, name): (&str, &str),
) -> Result<(), PluginError> {
    let dir = args.dir.clone();
    let dir = dir.unwrap_or_else(|| PathBuf::from(format!(".marram-{of}")));
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir);
    made.map_err(|error| PluginError::Write {
        path: dir.clone(),
        error,
    })?;
    let ca = dir.join("ca.crt");
    write(&dir, &ca, &found.ca)?;
    let ca = std::path::absolute(&ca).unwrap_or(ca);
    let env = dir.join("env");
    write(&dir, &env, &environment(found, &ca))?;
    super::print(&format!(
        "source {}\noutside of Kubernetes, too: kubectl -n {namespace} port-forward service/{name} 7070 &\n{:28}export \
         MARRAM_ENDPOINT=https://localhost:7070\n",
        quoted(&env),
        ""
    ))
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn environment(of: &Credentials, ca: &Path) -> String {
    // Keys and endpoints are made of letters, digits and :/.-, which mean nothing to a shell.
    format!(
        "export MARRAM_ENDPOINT={}\nexport MARRAM_ACCESS_KEY={}\nexport MARRAM_SECRET_KEY={}\nexport \
         MARRAM_CA_FILE={}\n",
        of.endpoint,
        of.id,
        of.secret,
        quoted(ca),
    )
}

/// Writes a file that only its owner reads, in place of one that may be there.
fn write(dir: &Path, path: &Path, text: &str) -> Result<(), PluginError> {
    let written = tempfile::Builder::new()
        .tempfile_in(dir)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.persist(path).map_err(|error| error.error)
        });
    written.map(drop).map_err(|error| PluginError::Write {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_environment() {
        let of = Credentials {
            endpoint: "https://store.data.svc:7070".into(),
            id: "MKA".into(),
            secret: "s".into(),
            ca: String::new(),
        };
        let text = environment(&of, Path::new("/it's here/ca.crt"));
        assert!(text.contains("export MARRAM_ACCESS_KEY=MKA\n"));
        assert_eq!(quoted(Path::new("/x/.marram-a/env")), "/x/.marram-a/env");
        assert!(
            text.ends_with("MARRAM_CA_FILE='/it'\\''s here/ca.crt'\n"),
            "{text}"
        );
    }
}
