//! A source file as tokens: comments and the insides of strings are gone, so a rule about code
//! cannot trip over prose.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// One token with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token; a literal is only `"`.
    pub text: String,
    /// Its first line, from 1.
    pub line: usize,
    /// Its last line.
    pub last_line: usize,
}

/// The file is not Rust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError {
    /// What the lexer said.
    pub reason: String,
}

/// All tokens of a file in their order, brackets included.
///
/// `with_tests` keeps what stands behind `#[cfg(test)]`; without it such items are left out.
///
/// # Errors
/// [`TokenError`] when the text cannot be cut into tokens.
pub fn tokens(text: &str, with_tests: bool) -> Result<Vec<Token>, TokenError> {
    let stream: TokenStream = text
        .parse()
        .map_err(|error: proc_macro2::LexError| TokenError {
            reason: error.to_string(),
        })?;
    let mut out = Vec::new();
    flatten(stream, with_tests, &mut out);
    Ok(out)
}

fn flatten(stream: TokenStream, with_tests: bool, out: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        if !with_tests
            && is_punct(&tree, '#')
            && let Some(TokenTree::Group(attribute)) = trees.peek()
            && is_cfg_test(attribute)
        {
            // The item ends at its body or its semicolon.
            for rest in trees.by_ref() {
                let body =
                    matches!(&rest, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
                if body || is_punct(&rest, ';') {
                    break;
                }
            }
            continue;
        }
        push(tree, with_tests, out);
    }
}

fn push(tree: TokenTree, with_tests: bool, out: &mut Vec<Token>) {
    let span = tree.span();
    let token = |text: String, line: usize, last_line: usize| Token {
        text,
        line,
        last_line,
    };
    match tree {
        TokenTree::Group(group) => {
            let (open, close) = brackets(group.delimiter());
            let (first, last) = (
                group.span_open().start().line,
                group.span_close().end().line,
            );
            out.push(token(open.to_owned(), first, first));
            flatten(group.stream(), with_tests, out);
            out.push(token(close.to_owned(), last, last));
        }
        TokenTree::Literal(_) => {
            out.push(token("\"".to_owned(), span.start().line, span.end().line));
        }
        TokenTree::Ident(ident) => {
            out.push(token(ident.to_string(), span.start().line, span.end().line));
        }
        TokenTree::Punct(punct) => {
            let text = punct.as_char().to_string();
            out.push(token(text, span.start().line, span.end().line));
        }
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

fn is_punct(tree: &TokenTree, wanted: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_cfg_test(attribute: &Group) -> bool {
    let text: String = attribute
        .stream()
        .into_iter()
        .map(|tree| tree.to_string())
        .collect();
    text == "cfg(test)"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str, with_tests: bool) -> Vec<String> {
        let found = tokens(source, with_tests).expect("tokens");
        found.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_strings_are_gone() {
        let source = "// todo!()\nfn a() { let x = \"todo!()\"; }";
        assert!(!texts(source, true).contains(&"todo".to_owned()));
    }

    #[test]
    fn test_code_can_be_left_out() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}";
        assert!(texts(source, true).contains(&"b".to_owned()));
        let without = texts(source, false);
        assert!(!without.contains(&"b".to_owned()));
        assert!(without.contains(&"c".to_owned()), "what follows is kept");
    }

    #[test]
    fn lines_are_known() {
        let found = tokens("fn a() {\n    b();\n}\n", true).expect("tokens");
        let b = found.iter().find(|token| token.text == "b").expect("there");
        assert_eq!((b.line, b.last_line), (2, 2));
    }
}
