//! Rules about a file's code.

use crate::layers::{BELOW_L4, PURE, WIRE};
use crate::{Finding, Findings, Source, Token, tokens};

/// Lines with code in a function's body at most.
const FUNCTION_LINES_MAX: usize = 70;
/// Crates at the edge whose users must not see generated types through them.
const SURFACES: [&str; 3] = ["marram-gateway", "marram-client", "marram"];

fn code(file: &Source, with_tests: bool) -> Result<Vec<Token>, Finding> {
    tokens(&file.text, with_tests).map_err(|error| {
        Finding::of(
            &file.path,
            format!("cannot be read as Rust: {}", error.reason),
        )
    })
}

/// True when the tokens at `at` are `wanted`.
fn matches_at(tokens: &[Token], at: usize, wanted: &[&str]) -> bool {
    tokens.len() >= at + wanted.len()
        && wanted
            .iter()
            .zip(&tokens[at..])
            .all(|(text, token)| token.text == *text)
}

/// Finds each sequence of tokens in `table` and says what to do instead.
fn sequences(file: &Source, with_tests: bool, table: &[(&[&str], &str)]) -> Findings {
    let tokens = match code(file, with_tests) {
        Ok(tokens) => tokens,
        Err(finding) => return vec![finding],
    };
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        for (wanted, advice) in table {
            if matches_at(&tokens, at, wanted) {
                let text = format!("`{}`: {advice}", wanted.concat());
                findings.push(Finding::at(&file.path, token.line, text));
            }
        }
    }
    findings
}

/// Function bodies have at most 70 lines with code; comments and blank lines are free.
#[must_use]
pub fn function_sizes(file: &Source) -> Findings {
    let tokens = match code(file, true) {
        Ok(tokens) => tokens,
        Err(finding) => return vec![finding],
    };
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(name) = tokens.get(at + 1) else {
            break;
        };
        let is_name = name
            .text
            .starts_with(|c: char| c.is_alphabetic() || c == '_');
        if token.text != "fn" || !is_name {
            continue;
        }
        let Some(body) = body(&tokens[at..]) else {
            continue;
        };
        let lines = lines_with_code(body);
        if lines > FUNCTION_LINES_MAX {
            let text = format!(
                "function `{}` has {lines} lines with code, at most {FUNCTION_LINES_MAX} are \
                 allowed: give each of its steps a function with a name",
                name.text
            );
            findings.push(Finding::at(&file.path, token.line, text));
        }
    }
    findings
}

/// The tokens between the braces of the function that begins at the first token; `None` for a
/// function without a body.
fn body(tokens: &[Token]) -> Option<&[Token]> {
    let mut depth = 0_usize;
    let mut start = None;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            ";" if depth == 0 => return None,
            "{" if depth == 0 && start.is_none() => {
                start = Some(at);
                depth += 1;
            }
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if let (0, Some(start)) = (depth, start) {
                    return Some(&tokens[start + 1..at]);
                }
            }
            _ => {}
        }
    }
    None
}

fn lines_with_code(body: &[Token]) -> usize {
    let mut lines = 0;
    let mut counted_to = 0;
    for token in body {
        let first = token.line.max(counted_to + 1);
        if token.last_line >= first {
            lines += token.last_line - first + 1;
            counted_to = token.last_line;
        }
    }
    lines
}

/// Nothing is left undone, printed for debugging, or skipped by the tests.
#[must_use]
pub fn forbidden_words(file: &Source) -> Findings {
    let table: [(&[&str], &str); 5] = [
        (
            &["todo", "!"],
            "write it, or leave the feature out and say so in an error",
        ),
        (
            &["unimplemented", "!"],
            "write it, or leave the feature out and say so in an error",
        ),
        (&["dbg", "!"], "remove it, or log with tracing"),
        (
            &["[", "ignore"],
            "a test that is not run proves nothing: mend it or remove it",
        ),
        (
            &["[", "cfg_attr", "(", "ignore"],
            "mend the test or remove it",
        ),
    ];
    sequences(file, true, &table)
}

/// The pure crates have no clock, no randomness, no files, no sockets, no threads, no async.
#[must_use]
pub fn pure_sources(file: &Source) -> Findings {
    if !file.crate_name().is_some_and(|name| PURE.contains(&name)) || file.is_test() {
        return Vec::new();
    }
    const ARGUMENT: &str = "take it as an argument: this crate is pure (ARCHITECTURE.md)";
    const OUTSIDE: &str = "do it in a crate of layer L2 or above: this crate is pure";
    let table: [(&[&str], &str); 11] = [
        (&["Instant"], ARGUMENT),
        (&["SystemTime"], ARGUMENT),
        (&["thread_rng"], ARGUMENT),
        (&["async"], OUTSIDE),
        (&[":", ":", "fs"], OUTSIDE),
        (&["TcpStream"], OUTSIDE),
        (&["TcpListener"], OUTSIDE),
        (&["UdpSocket"], OUTSIDE),
        (&[":", ":", "thread"], OUTSIDE),
        (&[":", ":", "process"], OUTSIDE),
        (&[":", ":", "env", ":", ":"], OUTSIDE),
    ];
    sequences(file, false, &table)
}

/// Generated message types are seen only by the crates at the edge, and none hands them on.
#[must_use]
pub fn wire_types(file: &Source) -> Findings {
    let Some(name) = file.crate_name() else {
        return Vec::new();
    };
    if WIRE.contains(&name) {
        if !SURFACES.contains(&name) {
            return Vec::new();
        }
        let advice = "wrap it in a type of this crate: generated types stop at the edge";
        return sequences(file, true, &[(&["pub", "use", "marram_proto"], advice)]);
    }
    let advice = "use a type of marram-types or of this crate, converted at the edge: generated \
                  types are for marram-proto, -mesh, -raft, -gateway, -client and marram only";
    let table: [(&[&str], &str); 4] = [
        (&["marram_proto"], advice),
        (&["prost"], advice),
        (&["prost_types"], advice),
        (&["tonic"], advice),
    ];
    sequences(file, true, &table)
}

/// Nothing under layer L4 names S3 in its code; that vocabulary belongs to the gateway.
#[must_use]
pub fn s3_words(file: &Source) -> Findings {
    if !file
        .crate_name()
        .is_some_and(|name| BELOW_L4.contains(&name))
    {
        return Vec::new();
    }
    let tokens = match code(file, false) {
        Ok(tokens) => tokens,
        Err(finding) => return vec![finding],
    };
    let named = tokens.iter().filter(|token| {
        let word = token.text.to_ascii_lowercase();
        word == "s3" || word.starts_with("s3_") || word.contains("_s3") || token.text.contains("S3")
    });
    let advice = "name it by what it means to Marram: S3's words belong to the gateway";
    named
        .map(|token| {
            Finding::at(
                &file.path,
                token.line,
                format!("`{}`: {advice}", token.text),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
