//! What a process gives operators, asked for over HTTP and read strictly.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a process may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Asks for `path` with these further header lines, each with its line end: the status and the body.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub fn http_get(address: &str, path: &str, headers: &str) -> Result<(u16, String), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("{address}{path}: {error}"))?;
    let parts = answer.split_once("\r\n\r\n");
    let (head, body) = parts.ok_or_else(|| format!("{address}{path}: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("{address}{path}: {head:?}"))?;
    Ok((status, body.to_owned()))
}

/// One family of a page.
#[derive(Debug, Default)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it means.
    pub help: String,
    /// The samples: what follows the family's name, the labels, the value.
    pub samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads a page of Prometheus text 0.0.4, by the names of its families.
///
/// # Errors
/// The line that is not as it should be.
pub fn read_page(page: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').ok_or_else(|| wrong("no help"))?;
            let family = Family {
                help: help.to_owned(),
                ..Family::default()
            };
            if families.insert(name.to_owned(), family).is_some() {
                return Err(wrong("a family in two places"));
            }
            name.clone_into(&mut current);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or_else(|| wrong("no type"))?;
            let family = families.get_mut(name).filter(|_| name == current);
            kind.clone_into(&mut family.ok_or_else(|| wrong("a type without help"))?.kind);
        } else {
            let family = families.get_mut(&current).filter(|f| !f.kind.is_empty());
            let family = family.ok_or_else(|| wrong("a sample without type"))?;
            let (series, value) = line.rsplit_once(' ').ok_or_else(|| wrong("no value"))?;
            let value = value.parse().map_err(|_| wrong("no number"))?;
            let rest = series.strip_prefix(current.as_str());
            let rest = rest.ok_or_else(|| wrong("a sample of another family"))?;
            let (part, labels) = match rest.split_once('{') {
                Some((part, labels)) => (part, read_labels(labels).ok_or_else(|| wrong("labels"))?),
                None => (rest, BTreeMap::new()),
            };
            family.samples.push((part.to_owned(), labels, value));
        }
    }
    Ok(families)
}

/// Reads `a="b",c="d"}`. No value that Marram gives has quotes, commas or backslashes in it.
fn read_labels(text: &str) -> Option<BTreeMap<String, String>> {
    let text = text.strip_suffix('}')?;
    let pairs = text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        (!value.is_empty() && !value.contains('"')).then(|| (name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}
