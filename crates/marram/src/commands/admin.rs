//! `marram admin`: each part in a file of its own.

mod audit;
mod backup;
mod balance;
mod bundle;
mod doctor;
mod drives;
mod gateways;
mod identity;
mod keys;
mod log_level;
mod nodes;
mod profile;
mod profiled;
mod repair;
mod scrub;
mod status;
mod stopping;
mod top;

use crate::cli::{AdminCommand, BucketCommand, LayoutCommand};
use crate::commands::Context;
use crate::failure::Failure;

/// Runs a command of operators.
pub(super) async fn run(context: &Context<'_>, command: AdminCommand) -> Result<(), Failure> {
    match command {
        AdminCommand::Bootstrap(args) => identity::bootstrap(context, args).await,
        AdminCommand::Status(args) => status::run(context, args).await,
        AdminCommand::Doctor(args) => doctor::run(context, args).await,
        AdminCommand::Top(args) => top::run(context, args).await,
        AdminCommand::SupportBundle(args) => bundle::run(context, args).await,
        AdminCommand::LogLevel(args) => log_level::run(context, args).await,
        AdminCommand::Profile(command) => profiled::run(context, command).await,
        AdminCommand::OkToStop(args) => stopping::ok_to_stop(context, args).await,
        AdminCommand::Maintenance(args) => stopping::maintenance(context, args).await,
        AdminCommand::TransferLeader(args) => stopping::transfer_leader(context, args).await,
        AdminCommand::Cordon(args) => nodes::cordon(context, args).await,
        AdminCommand::Uncordon(args) => nodes::uncordon(context, args).await,
        AdminCommand::Drain(args) => nodes::drain(context, args).await,
        AdminCommand::Fence(args) => nodes::fence(context, args).await,
        AdminCommand::Remove(args) => nodes::remove(context, args).await,
        AdminCommand::Rebalance(args) => balance::rebalance(context, args).await,
        AdminCommand::Compare => balance::compare(context).await,
        AdminCommand::Uploads(command) => super::uploads::admin(context, command).await,
        AdminCommand::Bucket(BucketCommand::SetProfile(args)) => profile::set(context, args).await,
        AdminCommand::Bucket(BucketCommand::AllowProfile(args)) => {
            profile::allow(context, args).await
        }
        AdminCommand::Bucket(BucketCommand::Profile(args)) => profile::show(context, args).await,
        AdminCommand::Layout(LayoutCommand::Plan(args)) => nodes::plan(context, args).await,
        AdminCommand::Audit(args) => audit::run(context, args).await,
        AdminCommand::Backup(command) => backup::run(context, command).await,
        AdminCommand::FinalizeVersion => backup::finalize(context).await,
        AdminCommand::Token(command) => identity::token(context, command).await,
        AdminCommand::Key(command) => keys::run(context, command).await,
        AdminCommand::Ca(command) => identity::ca(context, command).await,
        AdminCommand::ReloadTls(args) => identity::reload_tls(context, args).await,
        AdminCommand::Gateway(command) => identity::gateway(context, command).await,
        AdminCommand::Repair(args) => repair::run(context, args).await,
        AdminCommand::Scrub(args) => scrub::run(context, args).await,
        AdminCommand::Gc(command) => scrub::gc(context, command).await,
        AdminCommand::Drive(command) => drives::run(context, command).await,
    }
}
