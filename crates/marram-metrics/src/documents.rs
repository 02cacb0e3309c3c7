//! `docs/metrics.md`, made of the catalogue.

use std::fmt::Write;

use crate::catalogue::{CHAPTERS, Family, From, Kind, Label};

const HEAD: &str = "# Metrics

Made of the catalogue in `crates/marram-metrics`; a test says how to make it anew. Every server and
gateway gives these at `/metrics` of its `--metrics-listen` address, as Prometheus text 0.0.4, or as OpenMetrics
where the request asks for it. How to use them is in [operations.md](operations.md#metrics-and-health).

*By*: `all` are servers and gateways; `servers` are processes with drives; `leaders` are servers, each for the groups
that it leads now, so that the sum over all servers is the cluster's; `asked` is the server that leads the root group, where
`metrics_buckets` is set; `with TLS` are those whose API speaks it; `operator` is `marram-operator`. A histogram `x` is asked for as `x_bucket`,
`x_sum` and `x_count`. Counters begin at 0 when the process starts.
";

/// The whole page.
#[must_use]
pub fn documents() -> String {
    let mut out = HEAD.to_owned();
    let mut labels: Vec<Label> = Vec::new();
    for chapter in CHAPTERS {
        let _ = write!(out, "\n## {}\n\n", chapter.title);
        out.push_str("| name | type | labels | by | meaning |\n|---|---|---|---|---|\n");
        for family in chapter.families {
            line(&mut out, family);
            for label in family.labels {
                if !labels
                    .iter()
                    .any(|known| known.name == label.name && known.help == label.help)
                {
                    labels.push(*label);
                }
            }
        }
    }
    out.push_str("\n## Labels\n\nNo label holds what a client chose, such as keys and access keys, but `bucket`, which is there only where `metrics_buckets` asks for it.\n\n");
    out.push_str("| label | meaning |\n|---|---|\n");
    labels.sort_by_key(|label| label.name);
    for label in labels {
        let _ = writeln!(out, "| `{}` | {} |", label.name, label.help);
    }
    out
}

fn line(out: &mut String, family: &Family) {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let by = match family.from {
        From::All => "all",
        From::Servers => "servers",
        From::Leaders => "leaders",
        From::Asked => "asked",
        From::WithTls => "with TLS",
        From::Operator => "operator",
    };
    let labels: Vec<String> = family
        .labels
        .iter()
        .map(|l| format!("`{}`", l.name))
        .collect();
    let (name, labels, help) = (family.name, labels.join(" "), family.help);
    let _ = writeln!(out, "| `{name}` | {kind} | {labels} | {by} | {help} |");
}
