//! The secrets of a development cluster: its key-encryption key and access key.

use std::fs;

use anyhow::{Context, Result};
use rand::RngExt;

use super::layout::{Layout, write_private};

const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ID_RANDOM_CHARS: usize = 18;
const SECRET_CHARS: usize = 40;

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
