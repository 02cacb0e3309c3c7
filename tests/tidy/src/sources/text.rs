//! Rules about a file's text: its size, name, header and characters.

use crate::{Finding, Findings, Source};

/// Lines of a source file at most.
const FILE_LINES_MAX: usize = 800;
/// Names that tell nothing about what is inside: drawers fill up.
const DRAWERS: [&str; 6] = ["common", "util", "utils", "helpers", "misc", "shared"];

/// Source files have at most 800 lines.
#[must_use]
pub fn file_sizes(file: &Source) -> Findings {
    let lines = file.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let text = format!(
        "{lines} lines, at most {FILE_LINES_MAX} are allowed: move one of its types with its \
         functions into a file of its own below a folder of this file's name"
    );
    vec![Finding::of(&file.path, text)]
}

/// Files are named after what is inside, and a module's file lies beside its folder.
#[must_use]
pub fn file_names(file: &Source) -> Findings {
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    if stem == "mod" {
        let text =
            "move this file to the folder's name with .rs, beside the folder: one style only";
        return vec![Finding::of(&file.path, text)];
    }
    if DRAWERS.contains(&stem) {
        let text = "name the file after the one thing it holds, or move its parts to where they are \
                    used: drawers fill up";
        return vec![Finding::of(&file.path, text)];
    }
    Vec::new()
}

/// Every source file begins with `//!` and what it is for; `tests.rs` says it by its name, it
/// holds the tests of the module beside it.
#[must_use]
pub fn module_headers(file: &Source) -> Findings {
    if file.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let first = file
        .text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let said = first
        .strip_prefix("//!")
        .is_some_and(|text| text.trim().len() > 3);
    if said {
        return Vec::new();
    }
    let text = "begin the file with //! and one sentence: what it is for";
    vec![Finding::at(&file.path, 1, text)]
}

/// Sources, manifests, protos and documents are ASCII.
#[must_use]
pub fn ascii(file: &Source) -> Findings {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let Some(odd) = line
            .chars()
            .find(|c| !c.is_ascii() || (c.is_ascii_control() && *c != '\t'))
        else {
            continue;
        };
        let text = format!(
            "the character {} is not printable ASCII: write a plain one, or in a string its escape",
            odd.escape_unicode()
        );
        findings.push(Finding::at(&file.path, index + 1, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_found() {
        let ok = Source::new("a.rs", &"x\n".repeat(800));
        let long = Source::new("a.rs", &"x\n".repeat(801));
        assert!(file_sizes(&ok).is_empty());
        assert_eq!(file_sizes(&long).len(), 1);
    }

    #[test]
    fn drawers_and_mod_files_are_found() {
        assert!(file_names(&Source::new("crates/a/src/pool.rs", "")).is_empty());
        assert_eq!(
            file_names(&Source::new("crates/a/src/utils.rs", "")).len(),
            1
        );
        assert_eq!(
            file_names(&Source::new("crates/a/src/pool/mod.rs", "")).len(),
            1
        );
    }

    #[test]
    fn missing_headers_are_found() {
        assert!(module_headers(&Source::new("a.rs", "//! The pool.\n")).is_empty());
        assert_eq!(
            module_headers(&Source::new("a.rs", "use std::fs;\n")).len(),
            1
        );
        assert_eq!(
            module_headers(&Source::new("a.rs", "//!\n//! x\n")).len(),
            1
        );
    }

    #[test]
    fn odd_characters_are_found() {
        assert!(ascii(&Source::new("a.rs", "let x = 1;\t// y\n")).is_empty());
        let found = ascii(&Source::new("a.rs", "a\nb \u{2026}\n"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
    }
}
