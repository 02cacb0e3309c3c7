//! Rows as lines of a table.

use marram_client::ClusterStatus;

use super::row::Row;
use crate::commands::admin::status::verdict;
use crate::output::{Paint, printable};
use crate::units::size;

/// The whole screen.
pub(super) fn lines(status: &ClusterStatus, rows: &[Row], paint: Paint) -> Vec<String> {
    let mut lines = vec![verdict(status, paint)];
    if let Some(work) = &status.work
        && work.moves_under_way + work.moves_to_go > 0
    {
        lines.push(format!(
            "Moving: {} placement groups under way, {} to go.",
            work.moves_under_way, work.moves_to_go
        ));
    }
    lines.push(String::new());
    let (node, up) = ("node", "");
    let heads = [
        "in/s", "out/s", "mesh in", "mesh out", "calls/s", "p50", "p99", "cpu", "memory", "fill",
        "leads",
    ];
    let heads = heads.map(|head| format!("{head:>9}")).join(" ");
    lines.push(paint.quiet(&format!("{node:<12}{up:<5}{heads}  work")));
    lines.extend(rows.iter().map(|row| line(row, paint)));
    lines.push(paint.quiet(&line(&total(rows), Paint::none())));
    lines
}

fn line(row: &Row, paint: Paint) -> String {
    let bytes = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| size(whole(rate)));
    let cells = [
        bytes(row.api_in_bytes_per_s),
        bytes(row.api_out_bytes_per_s),
        bytes(row.mesh_in_bytes_per_s),
        bytes(row.mesh_out_bytes_per_s),
        row.calls_per_s
            .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
        row.p50_s.map_or_else(|| "-".to_owned(), time),
        row.p99_s.map_or_else(|| "-".to_owned(), time),
        row.processors
            .map_or_else(|| "-".to_owned(), |cpu| format!("{:.0}%", cpu * 100.0)),
        bytes(row.memory_bytes),
        row.fill
            .map_or_else(|| "-".to_owned(), |fill| format!("{:.0}%", fill * 100.0)),
        row.leads.to_string(),
    ];
    let cells = cells.map(|cell| format!("{cell:>9}")).join(" ");
    let up = if row.up {
        "     ".to_owned()
    } else {
        format!("{} ", paint.critical("AWAY"))
    };
    format!(
        "{:<12}{up}{cells}  {}",
        printable(&row.node),
        row.work.join(", ")
    )
    .trim_end()
    .to_owned()
}

/// All nodes together; latencies cannot be added up.
fn total(rows: &[Row]) -> Row {
    let sum = |of: fn(&Row) -> Option<f64>| rows.iter().filter_map(of).reduce(|a, b| a + b);
    Row {
        node: "all".to_owned(),
        up: true,
        api_in_bytes_per_s: sum(|row| row.api_in_bytes_per_s),
        api_out_bytes_per_s: sum(|row| row.api_out_bytes_per_s),
        mesh_in_bytes_per_s: sum(|row| row.mesh_in_bytes_per_s),
        mesh_out_bytes_per_s: sum(|row| row.mesh_out_bytes_per_s),
        calls_per_s: sum(|row| row.calls_per_s),
        p50_s: None,
        p99_s: None,
        fill: None,
        leads: rows.iter().map(|row| row.leads).sum(),
        processors: sum(|row| row.processors),
        memory_bytes: sum(|row| row.memory_bytes),
        work: Vec::new(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // rates are not negative, and rounded
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

fn time(seconds: f64) -> String {
    match seconds * 1000.0 {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::Page;
    use super::*;

    #[test]
    fn columns_stand_below_their_heads_and_what_is_not_known_is_a_dash() {
        let row = Row {
            api_in_bytes_per_s: Some(1536.0),
            p99_s: Some(0.0123),
            ..Row::of("node-1", Some(&Page::default()), None)
        };
        let said = line(&row, Paint::none());
        let expected = format!("node-1{:13}1.5 KiB         -", "");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains(" 12 ms ") && said.ends_with(" 0"), "{said}");
        let away = line(&Row::of("node-2", None, None), Paint::none());
        assert!(away.starts_with("node-2      AWAY         -"), "{away}");
        assert_eq!(away.len(), said.len());
    }

    #[test]
    fn the_last_line_is_of_all() {
        let row = |rate| Row {
            calls_per_s: rate,
            leads: 2,
            ..Row::of("n", Some(&Page::default()), None)
        };
        let all = total(&[row(Some(1.0)), row(None), row(Some(2.5))]);
        assert_eq!(
            (all.calls_per_s, all.leads, all.memory_bytes),
            (Some(3.5), 6, None)
        );
    }

    #[test]
    fn times_have_two_digits_that_matter() {
        assert_eq!(
            [0.0012, 0.45, 1.25].map(time),
            ["1.2 ms", "450 ms", "1.2 s"]
        );
    }
}
