//! What one node did between two looks at its metrics.

use std::time::Duration;

use serde::Serialize;

use super::page::Page;

/// The families that are asked for.
pub(super) const FAMILIES: [&str; 13] = [
    "marram_api_received_bytes_total",
    "marram_api_sent_bytes_total",
    "marram_api_calls_total",
    "marram_api_answer_began_seconds",
    "marram_mesh_received_bytes_total",
    "marram_mesh_sent_bytes_total",
    "marram_drive_capacity_bytes",
    "marram_drive_free_bytes",
    "marram_raft_role",
    "marram_group_repairs_waiting",
    "marram_scrub_read_bytes",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
];

/// What a node did in one interval. What is not known is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) node: String,
    /// It answers.
    pub(super) up: bool,
    pub(super) api_in_bytes_per_s: Option<f64>,
    pub(super) api_out_bytes_per_s: Option<f64>,
    pub(super) mesh_in_bytes_per_s: Option<f64>,
    pub(super) mesh_out_bytes_per_s: Option<f64>,
    pub(super) calls_per_s: Option<f64>,
    /// Until the answer began; none where no call ended.
    pub(super) p50_s: Option<f64>,
    pub(super) p99_s: Option<f64>,
    /// Part of the drives that is used.
    pub(super) fill: Option<f64>,
    /// Metadata groups that it leads.
    pub(super) leads: usize,
    /// Processors that it kept busy.
    pub(super) processors: Option<f64>,
    pub(super) memory_bytes: Option<f64>,
    /// Work in the background that it does.
    pub(super) work: Vec<String>,
}

impl Row {
    /// Of the metrics now, and those of an earlier time where they are known.
    pub(super) fn of(node: &str, now: Option<&Page>, before: Option<(&Page, Duration)>) -> Self {
        let empty = Page::default();
        let page = now.unwrap_or(&empty);
        let rate = |family| {
            let (old, time) = before?;
            rate(
                page.sum(family, &[])?,
                old.sum(family, &[]).unwrap_or(0.0),
                time,
            )
        };
        let began = |quantile| {
            let old = before?.0.buckets("marram_api_answer_began_seconds");
            at_most(
                &page.buckets("marram_api_answer_began_seconds"),
                &old,
                quantile,
            )
        };
        let bytes = |family| page.sum(family, &[]);
        let capacity = bytes("marram_drive_capacity_bytes").filter(|bytes| *bytes > 0.0);
        let free = bytes("marram_drive_free_bytes");
        Self {
            node: node.to_owned(),
            up: now.is_some(),
            api_in_bytes_per_s: rate("marram_api_received_bytes_total"),
            api_out_bytes_per_s: rate("marram_api_sent_bytes_total"),
            mesh_in_bytes_per_s: rate("marram_mesh_received_bytes_total"),
            mesh_out_bytes_per_s: rate("marram_mesh_sent_bytes_total"),
            calls_per_s: rate("marram_api_calls_total"),
            p50_s: began(0.5),
            p99_s: began(0.99),
            fill: capacity.zip(free).map(|(all, free)| 1.0 - free / all),
            leads: page.count("marram_raft_role", &[("role", "leader")]),
            processors: rate("process_cpu_seconds_total"),
            memory_bytes: bytes("process_resident_memory_bytes"),
            work: work(page),
        }
    }
}

/// A counter that is smaller than before began anew.
fn rate(now: f64, before: f64, time: Duration) -> Option<f64> {
    let grown = if now < before { now } else { now - before };
    let seconds = time.as_secs_f64();
    (seconds > 0.0).then(|| grown / seconds)
}

fn work(page: &Page) -> Vec<String> {
    let mut work = Vec::new();
    let scrubbed = page.count("marram_scrub_read_bytes", &[]);
    if scrubbed > 0 {
        work.push(format!(
            "scrub {scrubbed}/{}",
            page.all("marram_scrub_read_bytes")
        ));
    }
    if let Some(repairs) = page
        .sum("marram_group_repairs_waiting", &[])
        .filter(|n| *n > 0.0)
    {
        work.push(format!("repairs {repairs}"));
    }
    work
}

/// The time that this part of the calls between two looks stayed below: within the bucket that it falls
/// into the calls are taken to be spread evenly.
fn at_most(now: &[(f64, f64)], before: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let old = |bound: f64| {
        let mut known = before.iter();
        known
            .find(|(b, _)| b.total_cmp(&bound).is_eq())
            .map_or(0.0, |(_, count)| *count)
    };
    let mut new: Vec<(f64, f64)> = now
        .iter()
        .map(|(bound, count)| (*bound, count - old(*bound)))
        .collect();
    if new.iter().any(|(_, count)| *count < 0.0) {
        new = now.to_vec(); // the process began anew
    }
    let all = new
        .last()
        .map(|(_, count)| *count)
        .filter(|all| *all > 0.0)?;
    let wanted = all * quantile;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in new {
        if count >= wanted {
            if bound.is_infinite() || count <= below {
                return Some(lower);
            }
            return Some(lower + (bound - lower) * (wanted - below) / (count - below));
        }
        (lower, below) = (bound, count);
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_interval_and_restarts_are_no_negative_ones() {
        let second = Duration::from_secs(2);
        assert_eq!(rate(300.0, 100.0, second), Some(100.0));
        assert_eq!(rate(50.0, 100.0, second), Some(25.0));
        assert_eq!(rate(50.0, 0.0, Duration::ZERO), None);
    }

    #[test]
    fn quantiles_are_of_the_calls_between_two_looks() {
        let before = [(0.001, 90.0), (0.01, 90.0), (f64::INFINITY, 90.0)];
        let now = [(0.001, 90.0), (0.01, 190.0), (f64::INFINITY, 190.0)];
        let half = at_most(&now, &before, 0.5).expect("calls");
        assert!((half - 0.0055).abs() < 1e-9, "{half}");
        assert_eq!(at_most(&now, &now, 0.5), None, "no call ended");
        let slow = [(0.001, 0.0), (0.01, 0.0), (f64::INFINITY, 5.0)];
        assert_eq!(
            at_most(&slow, &before, 0.5),
            Some(0.01),
            "after a restart: more than is known"
        );
    }

    #[test]
    fn a_row_is_made_of_two_pages() {
        let page = |calls: u32, cpu: f64| {
            Page::read(&format!(
                "marram_api_calls_total{{method=\"A\"}} {calls}\nprocess_cpu_seconds_total {cpu}\n\
                 marram_drive_capacity_bytes{{drive=\"1\"}} 100\nmarram_drive_free_bytes{{drive=\"1\"}} 25\n\
                 marram_raft_role{{group=\"0\",role=\"leader\"}} 1\nmarram_raft_role{{group=\"1\",role=\"leader\"}} 0\n\
                 marram_scrub_read_bytes{{drive=\"1\"}} 5\nmarram_group_repairs_waiting{{group=\"1\"}} 3\n"
            ))
        };
        let (old, new) = (page(10, 1.0), page(30, 2.0));
        let row = Row::of("n", Some(&new), Some((&old, Duration::from_secs(2))));
        assert_eq!((row.calls_per_s, row.processors), (Some(10.0), Some(0.5)));
        assert_eq!((row.fill, row.leads), (Some(0.75), 1));
        assert_eq!(row.work, ["scrub 1/1", "repairs 3"]);
        assert_eq!((row.p50_s, row.api_in_bytes_per_s), (None, None));
        let away = Row::of("n", None, Some((&old, Duration::from_secs(2))));
        assert!(!away.up && away.calls_per_s.is_none() && away.fill.is_none());
    }
}
