//! The secrets of a development cluster: its CA, certificates, key-encryption key, access key.

use std::fs;

use std::time::Duration;

use anyhow::{Context, Result};
use marram_mesh::{Authority, Role, make_ca};
use marram_types::ClusterId;
use rand::RngExt;

use super::layout::{Layout, Settings, write_private};

const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ID_RANDOM_CHARS: usize = 18;
const SECRET_CHARS: usize = 40;

/// Certificates of a development cluster are not renewed, so they last (docs/decisions/0004).
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// An access key.
#[derive(Debug, Clone)]
pub(super) struct AccessKey {
    pub id: String,
    pub secret: String,
}

fn random_text(alphabet: &[u8], length: usize) -> String {
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())]))
        .collect()
}

/// The cluster's access key: made at the first start, read afterwards.
pub(super) fn admin_key(layout: &Layout) -> Result<AccessKey> {
    let file = layout.admin_key_file();
    if !file.exists() {
        let id = format!("MK{}", random_text(ID_ALPHABET, ID_RANDOM_CHARS));
        let secret = random_text(SECRET_ALPHABET, SECRET_CHARS);
        write_private(&file, format!("{id} {secret}\n").as_bytes())?;
    }
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let (id, secret) = text
        .trim()
        .split_once(' ')
        .with_context(|| format!("{} is damaged: it must hold `id secret`", file.display()))?;
    Ok(AccessKey {
        id: id.to_owned(),
        secret: secret.to_owned(),
    })
}

/// Makes the key-encryption key where there is none.
pub(super) fn ensure_kek(layout: &Layout) -> Result<()> {
    let file = layout.kek_file();
    if file.exists() {
        return Ok(());
    }
    let key: [u8; 32] = rand::rng().random();
    let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
    write_private(&file, format!("{hex}\n").as_bytes())
}

/// Makes the CA, and a certificate for each process that has none.
pub(super) fn ensure_certificates(layout: &Layout, settings: &Settings) -> Result<()> {
    let cluster: ClusterId = settings
        .cluster
        .parse()
        .context("cluster.json is damaged")?;
    let authority = authority(layout, cluster)?;
    let nodes = settings.node_names().map(|(name, _)| (Role::Node, name));
    let gateways = settings
        .gateway_names()
        .map(|(name, _)| (Role::Gateway, name));
    for (role, name) in nodes.chain(gateways) {
        let folder = layout.tls_dir(&name);
        if folder.join("key.pem").exists() {
            continue;
        }
        let issued = authority
            .issue(role, &name, CERTIFICATE_LIFETIME)
            .with_context(|| format!("cannot make a certificate for {name}"))?;
        issued
            .write(&folder)
            .with_context(|| format!("cannot write the certificate of {name}"))?;
    }
    Ok(())
}

fn authority(layout: &Layout, cluster: ClusterId) -> Result<Authority> {
    let folder = layout.ca_dir();
    let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
    if key.exists() {
        let read = |file: &std::path::Path| {
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        };
        return Authority::from_pem(cluster, read(&certificate)?, read(&key)?)
            .context("the CA of the development cluster is damaged");
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let made = make_ca(cluster).context("cannot make a CA")?;
    write_private(&certificate, made.certificate_pem().as_bytes())?;
    write_private(&key, made.key_pem().as_bytes())?;
    Ok(made)
}
