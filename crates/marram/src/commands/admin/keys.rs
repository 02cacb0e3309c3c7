//! `marram admin key`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use marram_client::{AccessKeyChange, AccessKeyInfo, AccessKeySecret, Client, Grant};
use serde_json::json;

use crate::cli::{KeyCommand, KeyCreateArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, printable};
use crate::units::date;

/// Access keys.
pub(super) async fn run(context: &Context<'_>, command: KeyCommand) -> Result<(), Failure> {
    let (client, output) = (context.client()?, context.output.as_ref());
    match command {
        KeyCommand::Create(args) => create(output, &client, args).await,
        KeyCommand::List => list(output, &client).await,
        KeyCommand::Rotate(args) => {
            let rotated = client.rotate_access_key(&args.id, args.overlap).await;
            show_secret(output, &rotated.map_err(Failure::at(&args.id))?)
        }
        KeyCommand::Grant(args) => {
            let change = AccessKeyChange {
                add_grants: args.grants,
                ..AccessKeyChange::default()
            };
            update(output, &client, &args.id, change).await
        }
        KeyCommand::Revoke(args) => {
            let change = AccessKeyChange {
                remove_grants: args.grants,
                ..AccessKeyChange::default()
            };
            update(output, &client, &args.id, change).await
        }
        KeyCommand::Expire(args) => {
            let change = AccessKeyChange {
                expires_ms: Some(args.after.map_or(0, from_now)),
                ..AccessKeyChange::default()
            };
            update(output, &client, &args.id, change).await
        }
        KeyCommand::Disable(args) => switch(output, &client, &args.id, true).await,
        KeyCommand::Enable(args) => switch(output, &client, &args.id, false).await,
        KeyCommand::Delete(args) => {
            let existed = client.delete_access_key(&args.id).await;
            let existed = existed.map_err(Failure::at(&args.id))?;
            let value = json!({ "id": args.id, "existed": existed });
            output.done(&value, || match existed {
                true => format!("access key {} admits nobody any more", args.id),
                false => format!("there is no access key {}", printable(&args.id)),
            })
        }
    }
}

async fn create(output: &Output, client: &Client, args: KeyCreateArgs) -> Result<(), Failure> {
    let expires_ms = args.expires.map(from_now);
    let made = client
        .create_access_key(&args.grants, &args.note, expires_ms)
        .await;
    show_secret(output, &made.map_err(Failure::at("access key"))?)
}

/// For people, and for `source`: what the other commands read from the environment.
fn show_secret(output: &Output, made: &AccessKeySecret) -> Result<(), Failure> {
    if output.json {
        return output.value(made);
    }
    output.line(&format!("export MARRAM_ACCESS_KEY={}", made.key.id))?;
    output.line(&format!("export MARRAM_SECRET_KEY={}", made.secret))
}

async fn list(output: &Output, client: &Client) -> Result<(), Failure> {
    let keys = client.access_keys().await;
    for key in &keys.map_err(Failure::at("access keys"))? {
        match output.json {
            true => output.value(key)?,
            false => output.line(&line(key))?,
        }
    }
    Ok(())
}

async fn switch(output: &Output, client: &Client, id: &str, off: bool) -> Result<(), Failure> {
    let change = AccessKeyChange {
        disabled: Some(off),
        ..AccessKeyChange::default()
    };
    update(output, client, id, change).await
}

async fn update(
    output: &Output,
    client: &Client,
    id: &str,
    change: AccessKeyChange,
) -> Result<(), Failure> {
    let key = client.update_access_key(id, change).await;
    let key = key.map_err(Failure::at(id))?;
    output.done(&key, || line(&key))
}

fn line(key: &AccessKeyInfo) -> String {
    let state = if key.disabled { "off" } else { "on " };
    let ends = match key.expires_ms {
        Some(ms) if ms <= now_ms() => format!("  ended {}", date(ms)),
        Some(ms) => format!("  until {}", date(ms)),
        None => String::new(),
    };
    let old = match key.old_secrets_until_ms.iter().max() {
        Some(ms) => format!("  old secret until {}", date(*ms)),
        None => String::new(),
    };
    let note = match key.note.as_str() {
        "" => String::new(),
        note => format!("  ({})", printable(note)),
    };
    let grants: Vec<String> = key.grants.iter().map(Grant::to_string).collect();
    let grants = match grants.is_empty() {
        true => "nothing".to_owned(),
        false => printable(&grants.join(" ")).to_string(),
    };
    format!("{}  {state}  {grants}{ends}{old}{note}", key.id)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

fn from_now(time: Duration) -> i64 {
    let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    now_ms().saturating_add(time)
}
