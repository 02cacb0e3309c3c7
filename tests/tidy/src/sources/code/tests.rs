//! Each rule about code can fail, and does not fail on what it should allow.

use super::*;

fn in_crate(name: &str, text: &str) -> Source {
    Source::new(&format!("crates/{name}/src/x.rs"), text)
}

#[test]
fn long_functions_are_found() {
    let function = |lines: usize| {
        let body = "    // why\n    call();\n\n".repeat(lines);
        Source::new(
            "a.rs",
            &format!("impl X {{\npub fn f<T>(a: [u8; 3]) -> T {{\n{body}}}\n}}\n"),
        )
    };
    assert!(function_sizes(&function(70)).is_empty());
    let found = function_sizes(&function(71));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].line, 2);
    let declared = Source::new(
        "a.rs",
        "trait T { fn f(&self); fn g() {} }\ntype F = fn(u8) -> u8;",
    );
    assert!(function_sizes(&declared).is_empty());
}

#[test]
fn long_strings_count_as_lines() {
    let text = format!("fn f() {{\n    g(\"{}\");\n}}\n", "x\n".repeat(80));
    assert_eq!(function_sizes(&Source::new("a.rs", &text)).len(), 1);
}

#[test]
fn forbidden_words_are_found() {
    for bad in ["todo!()", "unimplemented!(\"later\")", "dbg!(x)"] {
        let file = Source::new("a.rs", &format!("fn f() {{ {bad}; }}"));
        assert_eq!(forbidden_words(&file).len(), 1, "{bad}");
    }
    let ignored = Source::new("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}");
    assert_eq!(forbidden_words(&ignored).len(), 1);
    let fine = Source::new(
        "a.rs",
        "// todo!()\nfn f() { todo_list(); let dbg = 1 != dbg; }",
    );
    assert!(forbidden_words(&fine).is_empty());
}

#[test]
fn impure_code_is_found() {
    for bad in [
        "use std::time::Instant;",
        "fn f() { std::fs::read(p); }",
        "async fn f() {}",
        "fn f() { std::thread::spawn(g); }",
    ] {
        assert_eq!(
            pure_sources(&in_crate("marram-meta", bad)).len(),
            1,
            "{bad}"
        );
        assert!(
            pure_sources(&in_crate("marram-store", bad)).is_empty(),
            "{bad}"
        );
    }
    let tests = "fn f() {}\n#[cfg(test)]\nmod tests { use std::time::Instant; }";
    assert!(pure_sources(&in_crate("marram-meta", tests)).is_empty());
}

#[test]
fn wire_types_below_the_edge_are_found() {
    let bad = "use marram_proto::v1::Chunk;";
    assert_eq!(wire_types(&in_crate("marram-object", bad)).len(), 1);
    assert!(wire_types(&in_crate("marram-gateway", bad)).is_empty());
    let handed_on = "pub use marram_proto::v1::Chunk;";
    assert_eq!(wire_types(&in_crate("marram-client", handed_on)).len(), 1);
}

#[test]
fn s3_words_below_the_gateway_are_found() {
    assert_eq!(s3_words(&in_crate("marram-meta", "struct S3Key;")).len(), 1);
    assert!(s3_words(&in_crate("marram-meta", "// as in S3\nstruct Key;")).is_empty());
    assert!(s3_words(&in_crate("marram-gateway", "struct S3Key;")).is_empty());
}
