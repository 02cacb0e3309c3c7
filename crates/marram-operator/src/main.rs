//! The operator's program.

use clap::Parser;

/// Runs Marram clusters on Kubernetes.
#[derive(Parser)]
#[command(name = "marram-operator", version)]
struct Arguments {}

fn main() {
    let Arguments {} = Arguments::parse();
}
