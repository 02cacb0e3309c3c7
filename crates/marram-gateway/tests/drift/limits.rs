//! `docs/limits.md`, made of the table of limits.

use std::fmt::Write;

use marram_gateway::limits;

const HEAD: &str = "\
# Limits of the API

What a call, an object or a client may have at most, what is said beyond it, and the test that goes there. A reason in
capitals comes with the status and says in its details which field was wrong ([api.md](api.md)). This page is made of
the table in `crates/marram-gateway/src/limits.rs`.
";

/// The page.
pub(crate) fn write() -> String {
    let mut page = HEAD.to_owned();
    for group in limits() {
        let _ = write!(page, "\n## {}\n\n", group.title);
        page.push_str("| of | at most | beyond it | test |\n|---|---|---|---|\n");
        for limit in &group.limits {
            let file = limit
                .file
                .trim_end_matches(".rs")
                .trim_end_matches("/tests");
            let names: Vec<&str> = file.rsplit('/').take(2).collect();
            let test = format!("{}/{}::{}", names[1], names[0], limit.test);
            let (of, value, beyond) = (limit.of, &limit.value, limit.beyond);
            let _ = writeln!(page, "| {of} | {value} | {beyond} | `{test}` |");
        }
    }
    page
}
