//! `marram admin token`, `ca`, `reload-tls` and `gateway`.

use std::time::Duration;

use marram_client::{
    CaRotation, CaStatus, CaStep, Client, ErrorKind, Founding, JoinRole, JoinTokenInfo,
    JoinTokenState,
};
use serde_json::json;

use crate::cli::{
    BootstrapArgs, CaCommand, CaRotateArgs, GatewayCommand, ReloadTlsArgs, TokenCommand,
    TokenCreateArgs, TokenRoleArg,
};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Output, printable};
use crate::units::date;

/// How often a rotation that is watched looks whether it can go on.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// Founds a cluster.
pub(super) async fn bootstrap(context: &Context<'_>, args: BootstrapArgs) -> Result<(), Failure> {
    let founding = Founding {
        cluster_name: args.name,
        expected_nodes: args.expected_nodes,
        groups: args.object_groups,
        zone: args.zone,
    };
    let answer = context.client()?.bootstrap(&founding).await;
    let cluster = answer.map_err(Failure::at("bootstrap"))?;
    context.output.done(&cluster, || {
        let (id, name) = (&cluster.cluster_id, &founding.cluster_name);
        match cluster.founded {
            true => format!("cluster {name} is founded: {id}"),
            false => format!("cluster {name} was there already: {id}"),
        }
    })
}

/// Join tokens.
pub(super) async fn token(context: &Context<'_>, command: TokenCommand) -> Result<(), Failure> {
    let client = context.client()?;
    match command {
        TokenCommand::Create(args) => create(context, &client, args).await,
        TokenCommand::List => {
            let tokens = client.join_tokens().await.map_err(Failure::at("tokens"))?;
            for token in &tokens {
                match context.output.json {
                    true => context.output.value(token)?,
                    false => context.output.line(&token_line(token))?,
                }
            }
            Ok(())
        }
        TokenCommand::Revoke(args) => {
            let revoked = client.revoke_join_token(&args.id).await;
            let id = revoked.map_err(Failure::at("token"))?;
            let value = json!({ "id": id });
            context
                .output
                .done(&value, || format!("token {id} admits nobody any more"))
        }
    }
}

async fn create(
    context: &Context<'_>,
    client: &Client,
    args: TokenCreateArgs,
) -> Result<(), Failure> {
    let role = match args.role {
        TokenRoleArg::Storage => JoinRole::Storage,
        TokenRoleArg::Gateway => JoinRole::Gateway,
    };
    let bound = (args.name.as_deref(), args.zone.as_deref());
    let made = client.create_join_token(role, args.ttl, bound).await;
    let made = made.map_err(Failure::at("token"))?;
    match context.output.json {
        true => context.output.value(&made),
        false => context.output.line(&made.token),
    }
}

fn role_text(role: JoinRole) -> &'static str {
    match role {
        JoinRole::Storage => "storage",
        JoinRole::Gateway => "gateway",
        JoinRole::Unknown => "?",
    }
}

fn token_line(token: &JoinTokenInfo) -> String {
    let state = match token.state {
        JoinTokenState::Valid => "valid".to_owned(),
        JoinTokenState::Used => match token.used_by_node_id {
            Some(node) => format!("used by node {node}"),
            None => "used".to_owned(),
        },
        JoinTokenState::Expired => "expired".to_owned(),
        JoinTokenState::Revoked => "revoked".to_owned(),
        JoinTokenState::Unknown => "?".to_owned(),
    };
    let bound = [("name", &token.name), ("zone", &token.zone)];
    let bound = bound.iter().filter(|(_, text)| !text.is_empty());
    let bound: String = bound
        .map(|(what, text)| format!("  {what} {}", printable(text)))
        .collect();
    format!(
        "{}  {:<8} until {}  {state}{bound}",
        token.id,
        role_text(token.role),
        date(token.expires_ms)
    )
}

/// The CA.
pub(super) async fn ca(context: &Context<'_>, command: CaCommand) -> Result<(), Failure> {
    let client = context.client()?;
    match command {
        CaCommand::Status => {
            let status = client.ca_status().await.map_err(Failure::at("ca"))?;
            match context.output.json {
                true => context.output.value(&status),
                false => print(&context.output, &status),
            }
        }
        CaCommand::Rotate(args) => rotate(context, &client, args).await,
    }
}

fn print(output: &Output, status: &CaStatus) -> Result<(), Failure> {
    for ca in &status.authorities {
        let issues = if ca.issues {
            "issues certificates"
        } else {
            "trusted"
        };
        let until = ca.expires_s.map_or_else(String::new, |at| {
            format!(", until {}", date(at.saturating_mul(1000)))
        });
        output.line(&format!("CA {}  {issues}{until}", ca.fingerprint))?;
    }
    output.line("")?;
    for member in &status.members {
        let until = match member.expires_s {
            Some(at) => format!("until {}", date(at.saturating_mul(1000))),
            None => "no certificate reported".to_owned(),
        };
        let issuer = member.issuer.get(..12).unwrap_or("?");
        let asked = if member.renewal_asked {
            ", to be renewed now"
        } else {
            ""
        };
        output.line(&format!(
            "{:<12} {:<8} {until}, by CA {issuer}{asked}",
            printable(&member.name),
            role_text(member.role)
        ))?;
    }
    output.line("")?;
    output.line(&next_text(status))
}

fn next_text(status: &CaStatus) -> String {
    let step = match status.next_step {
        Some(CaStep::Trust) | None => return "No replacement of the CA is under way.".to_owned(),
        Some(CaStep::Issue) => "certificates are issued from the new CA",
        Some(CaStep::Drop) => "the old CA is dropped",
    };
    let waiting: Vec<String> = status.waiting_for.iter().map(|n| printable(n)).collect();
    match waiting.is_empty() {
        true => format!("Next, {step}; every member is ready for it."),
        false => format!(
            "Next, {step}; not before these are ready: {}.",
            waiting.join(", ")
        ),
    }
}

fn made_text(rotation: &CaRotation) -> String {
    let made = match rotation.made {
        Some(CaStep::Trust) => "step 1 of 3: a new CA is trusted",
        Some(CaStep::Issue) => "step 2 of 3: certificates are issued from the new CA",
        Some(CaStep::Drop) => "step 3 of 3: the old CA is trusted no longer",
        None => "nothing to do: that CA is trusted no longer",
    };
    format!("{made}. {}", next_text(&rotation.status))
}

async fn rotate(context: &Context<'_>, client: &Client, args: CaRotateArgs) -> Result<(), Failure> {
    let mut replaces = args.replaces;
    if args.watch && replaces.is_none() {
        // The oldest is the one that goes: with its name, the last step ends the watching.
        let status = client.ca_status().await.map_err(Failure::at("ca"))?;
        replaces = status
            .authorities
            .into_iter()
            .next()
            .map(|ca| ca.fingerprint);
    }
    loop {
        let rotation = match client.rotate_ca(replaces.as_deref()).await {
            Ok(rotation) => rotation,
            // Members are not that far yet.
            Err(error) if args.watch && error.kind() == ErrorKind::Precondition => {
                tokio::time::sleep(WATCH_EVERY).await;
                continue;
            }
            Err(error) => return Err(Failure::at("ca")(error)),
        };
        context.output.done(&rotation, || made_text(&rotation))?;
        context.output.flush()?;
        if !args.watch || matches!(rotation.made, None | Some(CaStep::Drop)) {
            return Ok(());
        }
    }
}

/// Renewals, now.
pub(super) async fn reload_tls(context: &Context<'_>, args: ReloadTlsArgs) -> Result<(), Failure> {
    let done = context.client()?.reload_tls(args.member.as_deref()).await;
    let done = done.map_err(Failure::at("certificates"))?;
    context.output.done(&done, || {
        let list = |names: &[String]| {
            let names: Vec<String> = names.iter().map(|n| printable(n)).collect();
            names.join(", ")
        };
        match (done.renewed.is_empty(), done.pending.is_empty()) {
            (_, true) => format!("renewed: {}", list(&done.renewed)),
            (true, false) => format!("not renewed yet: {}", list(&done.pending)),
            (false, false) => format!(
                "renewed: {}; not yet: {}",
                list(&done.renewed),
                list(&done.pending)
            ),
        }
    })?;
    match done.pending.len() {
        0 => Ok(()),
        failed => Err(Failure::Partly {
            failed: failed as u64,
            all: (failed + done.renewed.len()) as u64,
        }),
    }
}

/// Gateways without drives.
pub(super) async fn gateway(context: &Context<'_>, command: GatewayCommand) -> Result<(), Failure> {
    let GatewayCommand::Remove(args) = command;
    let removed = context.client()?.remove_gateway(&args.name).await;
    let name = removed.map_err(Failure::at(&args.name))?;
    let value = json!({ "name": name });
    context
        .output
        .done(&value, || format!("{} is removed", printable(&name)))
}
