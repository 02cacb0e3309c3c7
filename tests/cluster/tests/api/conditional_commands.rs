//! Conditions, descriptions and checksums on the command line.

use std::fs;

use marram_cluster_tests::{Cluster, Ran, Scratch, Shared, run, said};
use serde_json::{Value, json};

fn generation(value: &Value) -> String {
    let generation = value["generation"].as_u64();
    generation.expect("a generation").to_string()
}

/// What a command with a condition that does not hold says.
#[track_caller]
fn refused(ran: &Ran) {
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("PRECONDITION_FAILED"), "{}", ran.err);
}

#[track_caller]
fn not_modified(ran: &Ran) {
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("NOT_MODIFIED"), "{}", ran.err);
}

fn stat(cluster: &Cluster, place: &str) -> Value {
    said(cluster, &["stat", place])
}

/// A bucket of its own with an object `k`, which is written twice, and the file that it is of.
struct Kit {
    cluster: Shared,
    scratch: Scratch,
    bucket: &'static str,
    first: Value,
    second: Value,
}

impl Kit {
    fn new(bucket: &'static str) -> Self {
        let (cluster, scratch) = (Shared::cluster(), Scratch::new(bucket));
        let _ = run(&cluster, &["mb", &format!("m://{bucket}")]).done();
        let mut kit = Self {
            cluster,
            scratch,
            bucket,
            first: Value::Null,
            second: Value::Null,
        };
        let (file, place) = (kit.file(), kit.place("k"));
        for text in ["first", "second"] {
            fs::write(&file, text).expect("written");
            let _ = kit.go(&["cp", "-q", &file, &place]).done();
            kit.first = kit.second;
            kit.second = stat(&kit.cluster, &place);
        }
        kit
    }

    fn file(&self) -> String {
        let path = self.scratch.path().join("f");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn place(&self, key: &str) -> String {
        format!("m://{}/{key}", self.bucket)
    }

    fn go(&self, args: &[&str]) -> Ran {
        run(&self.cluster, args)
    }
}

#[test]
fn changes_have_conditions() {
    let kit = Kit::new("conditional-changes");
    let (file, place) = (kit.file(), kit.place("k"));
    let (old, now) = (generation(&kit.first), generation(&kit.second));
    let put = |args: &[&str]| kit.go(&[&["cp", "-q", &file, &place], args].concat());
    refused(&put(&["--if-generation-match", "0"]));
    refused(&put(&["--if-none-match", "*"]));
    refused(&put(&["--if-generation-match", &old]));
    refused(&put(&["--if-generation-not-match", &now]));
    // The quotes of a tag are lost in a shell: both forms are understood.
    let tag = kit.second["etag"].as_str().expect("a tag");
    let old_tag = kit.first["etag"].as_str().expect("a tag");
    refused(&put(&["--if-etag-match", old_tag]));
    refused(&put(&["--if-match", old_tag.trim_matches('"')]));
    let _ = put(&["--if-etag-match", tag.trim_matches('"')]).done();
    let now = generation(&stat(&kit.cluster, &place));
    refused(&kit.go(&["rm", "--if-generation-match", &old, &place]));
    refused(&kit.go(&["mv", "-q", "--if-generation-match", "0", &file, &place]));
    let there = fs::exists(&file).expect("looked");
    assert!(there, "what was not written is not taken away");

    refused(&kit.go(&["tags", "set", &place, "a=b", "--if-generation-match", &old]));
    let _ = kit
        .go(&["tags", "set", &place, "a=b", "--if-generation-match", &now])
        .done();
    refused(&kit.go(&["tags", "rm", &place, "--if-etag-match", old_tag]));
    let copy = kit.place("copy");
    let copied = || kit.go(&["cp", "-q", "--if-generation-match", "0", &place, &copy]);
    let _ = copied().done();
    refused(&copied());
    assert_eq!(stat(&kit.cluster, &copy)["tags"]["a"], "b");
    let _ = kit
        .go(&["rm", "--if-generation-match", &now, &place])
        .done();
    assert_eq!(kit.go(&["stat", &place]).code, 3);
}

#[test]
fn reads_have_conditions() {
    let kit = Kit::new("conditional-reads");
    let place = kit.place("k");
    let (old, now) = (generation(&kit.first), generation(&kit.second));
    let read = |args: &[&str]| kit.go(&[&["cat", &place], args].concat());
    assert_eq!(read(&["--if-generation-match", &now]).done().out, b"second");
    refused(&read(&["--if-generation-match", &old]));
    not_modified(&read(&["--if-generation-not-match", &now]));
    let since = ["--if-modified-since", "2001-01-31"];
    assert_eq!(read(&since).done().out, b"second");
    refused(&read(&["--if-unmodified-since", "2001-01-31T08:00:00Z"]));
    let old_tag = kit.first["etag"].as_str().expect("a tag");
    assert_eq!(read(&["--if-none-match", old_tag]).done().out, b"second");
    let tag = kit.second["etag"].as_str().expect("a tag");
    not_modified(&read(&["--if-none-match", tag]));
    let ms = kit.second["modified_ms"]
        .as_i64()
        .expect("a time")
        .to_string();
    let _ = kit
        .go(&["stat", "--if-unmodified-since", &ms, &place])
        .done();
    not_modified(&kit.go(&["stat", "--if-modified-since", &ms, &place]));

    let down = kit.scratch.path().join("down");
    let down = down.to_str().expect("UTF-8");
    refused(&kit.go(&["cp", "-q", "--if-generation-match", &old, &place, down]));
    assert!(!fs::exists(down).expect("looked"));
    let ranges = ["--range", "0-0", "--range", "1-1"];
    let of = |generation| read(&[&ranges[..], &["--if-generation-match", generation]].concat());
    assert_eq!(of(&now).done().out, b"se");
    refused(&of(&old));
}

#[test]
fn what_is_written_is_described() {
    let kit = Kit::new("described");
    let (file, place, copy) = (kit.file(), kit.place("a"), kit.place("b"));
    let told = |place: &str| {
        let told = stat(&kit.cluster, place);
        let all = ["content_type", "metadata", "tags"].map(|name| told[name].clone());
        Value::from(all.to_vec())
    };
    let described = [
        "--content-type=text/plain",
        "--metadata=by=me",
        "--metadata=at=",
        "--tag=t=1",
    ];
    let put = [&["cp", "-q", &file, &place], &described[..]].concat();
    let _ = kit.go(&put).done();
    let metadata = json!({ "by": "me", "at": "" });
    assert_eq!(told(&place), json!(["text/plain", metadata, { "t": "1" }]));
    // A copy keeps what it is not told.
    let copied = |args: &[&str]| {
        let _ = kit
            .go(&[&["cp", "-q", &place, &copy], args].concat())
            .done();
        told(&copy)
    };
    assert_eq!(copied(&[]), json!(["text/plain", metadata, { "t": "1" }]));
    let by_you = json!(["text/plain", { "by": "you" }, { "t": "1" }]);
    assert_eq!(copied(&["--metadata", "by=you"]), by_you);
    let other = ["--content-type", "a/b", "--tag", "t=2"];
    assert_eq!(copied(&other), json!(["a/b", metadata, { "t": "2" }]));
}

#[test]
fn checksums_are_compared_before_anything_is_there() {
    let kit = Kit::new("summed");
    let (file, place) = (kit.file(), kit.place("sum"));
    fs::write(&file, "123456789").expect("written");
    let put = |sums: &[&str]| {
        let sums = sums.iter().flat_map(|sum| ["--checksum", *sum]);
        let args = ["cp", "-q", &file, &place].into_iter().chain(sums);
        kit.go(&args.collect::<Vec<_>>())
    };
    for wrong in [
        "crc32c=e3069284",
        "crc64nvme=0000000000000000",
        "md5=00000000000000000000000000000000",
    ] {
        let ran = put(&[wrong]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.contains("OBJECT_CHECKSUM_MISMATCH"), "{}", ran.err);
    }
    assert_eq!(kit.go(&["stat", &place]).code, 3, "nothing of it is there");
    let _ = put(&["crc32c=e3069283"]).done();
    let _ = put(&["crc32c", "crc64nvme", "sha256", "md5"]).done();
    let tag = &stat(&kit.cluster, &place)["etag"];
    assert_eq!(tag, "\"25f9e794323b453885f5181f1b624d0b\"", "the MD5");
}

#[test]
fn mistakes_are_named() {
    let kit = Kit::new("mistaken");
    let (file, place, copy) = (kit.file(), kit.place("k"), kit.place("copy"));
    let (all, other) = (kit.place(""), kit.place("other/"));
    let zero = "--if-generation-match=0";
    for (wrong, named) in [
        (&["cp", "-r", zero, &all, &other][..], "exactly one source"),
        (&["rm", "-r", zero, &all], "exactly one object"),
        (&["cat", "--version", "1", zero, &place], "--version"),
        (&["stat", zero, &all], "go with an object"),
        (&["cp", "--if-etag-match=a\"b", &file, &place], "entity tag"),
        (
            &["cp", &file, &place, "--metadata=a=1", "--metadata=a=2"],
            "metadata",
        ),
        (
            &["cp", &file, &place, "--checksum=md5", "--checksum=md5"],
            "checksum",
        ),
        (&["cp", &place, "/tmp/", "--tag=a=b"], "--tag"),
        (&["cp", &place, &copy, "--checksum=md5"], "--checksum"),
        (&["cp", &file, &place, "--checksum=sha1"], "sha1"),
        (
            &["cp", &file, &place, "--checksum=crc32c=xyz"],
            "hexadecimal",
        ),
        (
            &["cat", &place, "--if-modified-since=yesterday"],
            "2027-01-31",
        ),
    ] {
        let ran = kit.go(wrong);
        assert_eq!(ran.code, 2, "{wrong:?}: {}", ran.err);
        assert!(ran.err.contains(named), "{wrong:?}: {}", ran.err);
    }
    let eleven: Vec<String> = (0..11).map(|i| format!("--tag=t{i}=v")).collect();
    let mut many = vec!["cp", "-q", &file, &place];
    many.extend(eleven.iter().map(String::as_str));
    let ran = kit.go(&many);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("tags"), "{}", ran.err);
}
