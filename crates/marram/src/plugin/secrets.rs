//! Keys and CAs, out of the cluster's Secrets.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::cli::CredentialsArgs;
use super::cluster::Cluster;
use super::error::PluginError;
use super::kubectl::Kubectl;

#[derive(Debug, Deserialize)]
struct Secret {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessKey {
    spec: AccessKeySpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessKeySpec {
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
    let tls = format!("{}-api-tls", cluster.name);
    let [ca] = <[String; 1]>::try_from(values(kubectl, &tls, &["ca.crt"])?)
        .expect("one value for one key");
    let words = key.trim().split_once(' ');
    let (id, secret) = words.ok_or(PluginError::Lacks {
        secret: keys,
        key: "admin with an id and a secret",
    })?;
    Ok(Credentials {
        endpoint: format!("https://{}.{}.svc:7070", cluster.name, cluster.namespace),
        id: id.to_owned(),
        secret: secret.trim().to_owned(),
        ca,
    })
}

/// Those of an `AccessKey`.
fn of_key(kubectl: &Kubectl, name: &str) -> Result<Credentials, PluginError> {
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
    Ok(Credentials {
        endpoint,
        id,
        secret,
        ca,
    })
}

/// Writes them into a folder.
pub(super) fn credentials(
    kubectl: &Kubectl,
    cluster: &Cluster,
    args: &CredentialsArgs,
) -> Result<(), PluginError> {
    let found = match &args.access_key {
        Some(name) => of_key(kubectl, name)?,
        None => admin(kubectl, cluster)?,
    };
    let of = args.access_key.as_ref().unwrap_or(&cluster.name);
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
    write(&ca, &found.ca)?;
    let ca = std::path::absolute(&ca).unwrap_or(ca);
    let env = dir.join("env");
    write(&env, &environment(&found, &ca))?;
    println!("source {}", env.display());
    let (namespace, name) = (&cluster.namespace, &cluster.name);
    println!(
        "outside of Kubernetes, too: kubectl -n {namespace} port-forward service/{name} 7070 &"
    );
    println!("                            export MARRAM_ENDPOINT=https://localhost:7070");
    Ok(())
}

fn environment(of: &Credentials, ca: &Path) -> String {
    // Keys and endpoints are made of letters, digits and :/.-, which mean nothing to a shell.
    format!(
        "export MARRAM_ENDPOINT={}\nexport MARRAM_ACCESS_KEY={}\nexport MARRAM_SECRET_KEY={}\nexport \
         MARRAM_CA_FILE='{}'\n",
        of.endpoint,
        of.id,
        of.secret,
        ca.display().to_string().replace('\'', "'\\''"),
    )
}

/// Writes a file that only its owner reads.
fn write(path: &Path, text: &str) -> Result<(), PluginError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| PluginError::Write {
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
        assert!(
            text.ends_with("MARRAM_CA_FILE='/it'\\''s here/ca.crt'\n"),
            "{text}"
        );
    }
}
