//! The command line against a real cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use marram_cluster_tests::{Pool, Scratch, Shared, run};

/// Writes a folder with files of many sizes.
fn make_tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut pool = Pool::new(60, 8 << 20);
    let mut files = BTreeMap::new();
    for i in 0..60 {
        let folder = ["", "2024/", "2024/may/", "odd names/\u{e9}t\u{e9}/"][i % 4];
        let size = [0, 1, 5000, 70_000, 300_000, 4 << 20][i % 6];
        files.insert(format!("{folder}file {i}.bin"), pool.content(size).to_vec());
    }
    for (name, content) in &files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, content).expect("written");
    }
    files
}

fn read_tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .expect("below")
                    .to_str()
                    .expect("UTF-8");
                files.insert(name.to_owned(), fs::read(&path).expect("readable"));
            }
        }
    }
    files
}

#[test]
fn a_folder_goes_up_and_comes_back() {
    let cluster = Shared::cluster();
    let scratch = Scratch::new("commands");
    let (up, down) = (scratch.path().join("up"), scratch.path().join("down"));
    let files = make_tree(&up);
    let (up, down_text) = (up.to_str().expect("UTF-8"), down.to_str().expect("UTF-8"));
    let _ = run(&cluster, &["mb", "m://photos"]).done();
    let copied = run(&cluster, &["cp", "-r", "-q", up, "m://photos/2026/"]).done();
    assert_eq!(
        (copied.text(), copied.err.as_str()),
        ("", ""),
        "-q is quiet"
    );

    let listed = run(&cluster, &["ls", "-r", "--json", "m://photos/"]).done();
    let listed: BTreeMap<String, u64> = listed
        .json_lines()
        .iter()
        .map(|line| {
            let key = line["key"].as_str().expect("a key").to_owned();
            (key, line["size"].as_u64().expect("a size"))
        })
        .collect();
    // What is in the folder comes to stand below the target, without the folder's own name.
    let sizes = files.iter().map(|(name, bytes)| (name, bytes.len() as u64));
    let expected: BTreeMap<String, u64> = sizes
        .map(|(name, size)| (format!("2026/{name}"), size))
        .collect();
    assert_eq!(listed, expected);

    let _ = run(&cluster, &["cp", "-r", "-q", "m://photos/2026/", down_text]).done();
    assert!(
        read_tree(&down) == files,
        "the folder came back byte for byte"
    );

    let synced = run(&cluster, &["sync", "-q", up, "m://photos/synced"]).done();
    assert_eq!(synced.err, "");
    let listed = run(&cluster, &["ls", "-r", "--json", "m://photos/synced"]).done();
    assert_eq!(listed.json_lines().len(), files.len());

    let removed = run(&cluster, &["rm", "-r", "-q", "m://photos/"]).done();
    assert_eq!(removed.err, "");
    let _ = run(&cluster, &["rb", "m://photos"]).done();
}

#[test]
fn one_file_at_a_time() {
    let cluster = Shared::cluster();
    let scratch = Scratch::new("one-file");
    let content = Pool::new(61, 8 << 20).content(3 << 20);
    let file = scratch.path().join("a.jpg");
    fs::write(&file, &content).expect("written");
    let file = file.to_str().expect("UTF-8");
    let _ = run(&cluster, &["mb", "m://one-file"]).done();
    let _ = run(&cluster, &["cp", file, "m://one-file/x/a.jpg"]).done();
    assert!(run(&cluster, &["cat", "m://one-file/x/a.jpg"]).done().out == content);
    for (range, expected) in [
        ("0-99", &content[..100]),
        ("1000000-1000009", &content[1_000_000..1_000_010]),
        ("3145000-", &content[3_145_000..]),
        ("-100", &content[content.len() - 100..]),
    ] {
        let part = run(&cluster, &["cat", "--range", range, "m://one-file/x/a.jpg"]).done();
        assert!(part.out == expected, "{range}");
    }
    let stat = run(&cluster, &["stat", "--json", "m://one-file/x/a.jpg"]).done();
    assert_eq!(stat.json_lines()[0]["size"], 3 << 20);
    let _ = run(
        &cluster,
        &["cp", "-q", "m://one-file/x/a.jpg", "m://one-file/copy"],
    )
    .done();
    let _ = run(
        &cluster,
        &["mv", "-q", "m://one-file/copy", "m://one-file/moved"],
    )
    .done();
    let back = scratch.path().join("back");
    let _ = run(
        &cluster,
        &[
            "cp",
            "-q",
            "m://one-file/moved",
            back.to_str().expect("UTF-8"),
        ],
    )
    .done();
    assert!(fs::read(&back).expect("written") == content);
    let listed = run(&cluster, &["ls", "m://one-file/"]).done();
    assert!(
        listed.text().contains("x/") && listed.text().contains("moved"),
        "{}",
        listed.text()
    );
    assert!(
        !listed.text().contains("copy"),
        "it was moved: {}",
        listed.text()
    );
    let status = run(&cluster, &["admin", "status"]).done();
    assert!(status.text().contains("node-6"), "{}", status.text());
    let status = run(&cluster, &["admin", "status", "--json"]).done();
    assert_eq!(
        status.json_lines()[0]["nodes"].as_array().map(Vec::len),
        Some(6)
    );
    let _ = run(&cluster, &["rb", "--force", "m://one-file"]).done();
}

#[test]
fn exit_codes_can_be_trusted() {
    let cluster = Shared::cluster();
    let code = |args: &[&str]| run(&cluster, args).code;
    assert_eq!(code(&["mb", "m://exit-codes"]), 0);
    assert_eq!(code(&["mb", "m://exit-codes"]), 1, "there already");
    assert_eq!(code(&["mb", "nonsense"]), 2);
    assert_eq!(code(&["frobnicate"]), 2);
    assert_eq!(code(&["cp", "only-one"]), 2);
    assert_eq!(code(&["cat", "m://exit-codes/none"]), 3);
    assert_eq!(code(&["stat", "m://exit-codes/none"]), 3);
    assert_eq!(code(&["ls", "m://no-such-bucket/"]), 3);
    assert_eq!(code(&["cp", "/no/such/file", "m://exit-codes/a"]), 3);
    assert_eq!(code(&["--secret-key", "wrong", "ls"]), 4);
    assert_eq!(code(&["rb", "m://exit-codes"]), 0);
    let told = run(&cluster, &["stat", "--json", "m://no-such-bucket/a"]);
    assert!(told.err.contains("BUCKET_NOT_FOUND"), "{}", told.err);
}

/// Keys that would leave the target folder are refused, and nothing is written outside.
#[test]
fn no_key_escapes_the_target_folder() {
    let cluster = Shared::cluster();
    let scratch = Scratch::new("escape");
    let file = scratch.path().join("file");
    fs::write(&file, "x").expect("written");
    let file = file.to_str().expect("UTF-8");
    let _ = run(&cluster, &["mb", "m://escape"]).done();
    for key in ["../evil", "a/../../evil", "/evil", "fine"] {
        let _ = run(&cluster, &["cp", "-q", file, &format!("m://escape/{key}")]).done();
    }
    let target = scratch.path().join("target/inner");
    fs::create_dir_all(&target).expect("made");
    let copied = run(
        &cluster,
        &[
            "cp",
            "-r",
            "-q",
            "m://escape/",
            target.to_str().expect("UTF-8"),
        ],
    );
    assert_eq!(copied.code, 1, "some were refused: {}", copied.err);
    assert!(copied.err.contains("../evil"), "{}", copied.err);
    let found: Vec<String> = read_tree(scratch.path()).into_keys().collect();
    let outside: Vec<&String> = found
        .iter()
        .filter(|name| *name != "file" && !name.starts_with("target/inner/"))
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
    assert!(
        found.iter().any(|name| name.ends_with("fine")),
        "the good one was copied: {found:?}"
    );
    let _ = run(&cluster, &["rb", "--force", "m://escape"]).done();
}

#[test]
fn a_check_says_each_step_and_fails_by_its_exit_code() {
    let cluster = Shared::cluster();
    let check = |more: &[&str]| {
        let args = [&["check", "put-get", "--bucket", "checked"], more].concat();
        run(&cluster, &args)
    };
    let said = check(&["--size", "1MiB", "--json"]).done();
    let steps = said.json_lines();
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str()).collect();
    let all = ["bucket", "put", "get", "list", "delete", "gone"].map(Some);
    assert_eq!(names, all);
    assert!(steps.iter().all(|step| step["ok"] == true), "{steps:?}");
    assert!(said.text().contains("1048576 bytes"), "{}", said.text());
    // The bucket stays, and goes where that is asked for.
    let said = check(&["--size", "0", "--remove-bucket"]).done();
    assert!(
        said.text().contains("m://checked is there"),
        "{}",
        said.text()
    );
    assert_eq!(run(&cluster, &["ls", "m://checked"]).code, 3);

    let denied = check(&["--access-key", "MKNOBODY"]);
    assert_eq!(denied.code, 4);
    assert!(
        denied.text().contains("bucket         FAILED"),
        "{}",
        denied.text()
    );
    let late = check(&["--timeout", "1s", "--endpoint", "127.0.0.1:1"]);
    assert_eq!(late.code, 1);
    assert_eq!(check(&["--size", "1GiB"]).code, 2);
}

#[test]
fn objects_are_found_summed_and_synced_by_patterns() {
    let cluster = Shared::cluster();
    let scratch = Scratch::new("patterns");
    let folder = scratch.path().join("tree");
    for (name, size) in [
        ("a.txt", 10),
        ("logs/b.gz", 5000),
        ("logs/old/c.gz", 70_000),
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, vec![7; size]).expect("written");
    }
    let folder = folder.to_str().expect("UTF-8");
    let _ = run(&cluster, &["mb", "m://patterns"]).done();
    let synced = [
        "sync",
        "--json",
        folder,
        "m://patterns",
        "--include",
        "*.gz",
        "--exclude",
        "old/**",
    ];
    let synced = run(&cluster, &synced).done();
    assert_eq!(
        synced.json_lines()[0]["copied"],
        2,
        "a pattern with a slash is about the whole name"
    );
    let _ = run(&cluster, &["sync", folder, "m://patterns"]).done();

    let find = |more: &[&str]| {
        let found = run(&cluster, &[&["find", "m://patterns"], more].concat()).done();
        found.text().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (b, c) = ("m://patterns/logs/b.gz", "m://patterns/logs/old/c.gz");
    assert_eq!(find(&["--include", "*.gz"]), [b, c]);
    assert_eq!(find(&["--include", "*.gz", "--smaller", "5000"]), [b]);
    assert_eq!(find(&["--larger", "5001"]), [c]);
    assert_eq!(find(&["--older-than", "1d"]), Vec::<String>::new());
    let wrong = run(&cluster, &["find", "m://patterns", "--include", "a["]);
    assert_eq!(wrong.code, 2, "{}", wrong.err);

    let sums = run(&cluster, &["du", "--json", "--depth", "2", "m://patterns"]).done();
    let sums: Vec<_> = sums
        .json_lines()
        .iter()
        .map(|sum| {
            (
                sum["prefix"].clone(),
                sum["objects"].clone(),
                sum["bytes"].clone(),
            )
        })
        .collect();
    let sum =
        |prefix: &str, objects: u64, bytes: u64| (prefix.into(), objects.into(), bytes.into());
    assert_eq!(
        sums,
        [
            sum("logs/old/", 1, 70_000),
            sum("logs/", 2, 75_000),
            sum("", 3, 75_010)
        ]
    );
}

/// A tree that the time of its files says nothing about is made equal by what is in them.
#[test]
fn trees_are_compared_by_their_bytes() {
    let cluster = Shared::cluster();
    let scratch = Scratch::new("by-bytes");
    let folder = scratch.path().join("tree");
    fs::create_dir_all(folder.join("deep")).expect("made");
    let names = ["same", "deep/changed", "longer"];
    for name in names {
        fs::write(folder.join(name), vec![1; 70_000]).expect("written");
    }
    let text = folder.to_str().expect("UTF-8");
    let sync = |more: &[&str]| {
        let all = [&["sync", "--json", text, "m://by-bytes/t"], more].concat();
        let said = run(&cluster, &all).done().json_lines();
        let tally = said.last().expect("a tally").clone();
        (tally["copied"].clone(), tally["skipped"].clone())
    };
    let _ = run(&cluster, &["mb", "m://by-bytes"]).done();
    assert_eq!(sync(&["--checksum"]), (3.into(), 0.into()));
    // Other bytes of the same length, older than their copy: size and time see nothing of it.
    let changed = folder.join("deep/changed");
    fs::write(&changed, vec![2; 70_000]).expect("written");
    let old = fs::File::options()
        .write(true)
        .open(&changed)
        .expect("open");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    old.set_times(fs::FileTimes::new().set_modified(long_ago))
        .expect("set");
    fs::write(folder.join("longer"), vec![1; 70_001]).expect("written");
    // Touched, so that its time says it is newer than its copy.
    fs::write(folder.join("same"), vec![1; 70_000]).expect("written");
    assert_eq!(sync(&["--checksum", "--dry-run"]), (2.into(), 1.into()));
    assert_eq!(sync(&["--checksum"]), (2.into(), 1.into()));
    let cat = run(&cluster, &["cat", "m://by-bytes/t/deep/changed"]).done();
    assert!(cat.out == vec![2; 70_000]);
    // Objects against objects, and back into files.
    let there = [
        "sync",
        "--json",
        "--checksum",
        "m://by-bytes/t",
        "m://by-bytes/u",
    ];
    let copied = |args: &[&str]| run(&cluster, args).done().json_lines()[0]["copied"].clone();
    assert_eq!((copied(&there), copied(&there)), (3.into(), 0.into()));
    let back = ["sync", "--json", "--checksum", "m://by-bytes/u", text];
    assert_eq!(copied(&back), 0);
    fs::write(&changed, vec![3; 70_000]).expect("written");
    assert_eq!(copied(&back), 1);
    assert!(fs::read(&changed).expect("read") == vec![2; 70_000]);
}

#[test]
fn a_benchmark_counts_what_it_does() {
    let cluster = Shared::cluster();
    let _ = run(&cluster, &["mb", "m://measured"]).done();
    let go = |kind: &str, more: &[&str]| {
        let all = [
            "bench", kind, "--bucket", "measured", "--size", "4KiB", "--json",
        ];
        let all = [&all[..], &["--objects", "50", "--concurrency", "4"], more].concat();
        run(&cluster, &all).done().json_lines()[0].clone()
    };
    for (kind, parts) in [
        ("put", &["put"][..]),
        ("get", &["get"]),
        ("mixed", &["put", "get"]),
        ("list", &["list"]),
    ] {
        let said = go(kind, &["--count", "40", "--warm-up", "200ms"]);
        let mut all = 0;
        for part in ["put", "get", "list"] {
            let told = &said[part];
            assert_eq!(told.is_null(), !parts.contains(&part), "{kind}: {said}");
            if told.is_null() {
                continue;
            }
            all += told["requests"].as_u64().expect("a number");
            assert_eq!(told["failed"], 0);
            let ms = |name: &str| told["latency"][name].as_f64().expect("a number");
            assert!(ms("p50_ms") > 0.0 && ms("p50_ms") <= ms("p99_ms"), "{told}");
            assert!(ms("p99_ms") <= ms("p999_ms"), "{told}");
        }
        assert_eq!(all, 40, "{kind}: those before do not count: {said}");
    }
    let late = go("put", &["--duration", "300ms"]);
    assert!(late["seconds"].as_f64().expect("a number") >= 0.3, "{late}");
    let left = run(&cluster, &["ls", "-r", "m://measured"]).done();
    assert_eq!(left.text(), "", "it takes its objects away");
}

/// The object is replaced under a benchmark that reads it: what it reads is not what it wrote.
#[test]
fn a_benchmark_that_reads_other_bytes_fails() {
    let cluster = Shared::cluster();
    let _ = run(&cluster, &["mb", "m://replaced"]).done();
    let scratch = Scratch::new("replaced");
    let other = scratch.path().join("other");
    fs::write(&other, vec![7; 4096]).expect("written");
    let other = other.to_str().expect("UTF-8");
    let bench = [
        "bench",
        "get",
        "--bucket",
        "replaced",
        "--size",
        "4KiB",
        "--objects",
        "1",
        "--concurrency",
        "1",
        "--duration",
        "6s",
        "--json",
    ];
    let list = ["ls", "-r", "--json", "m://replaced"];
    let ran = std::thread::scope(|scope| {
        let ran = scope.spawn(|| run(&cluster, &bench));
        // It is there as soon as it was written, and is written once.
        let name = loop {
            let listed = run(&cluster, &list).done().json_lines();
            if let Some(name) = listed.first().and_then(|object| object["key"].as_str()) {
                break name.to_owned();
            }
            assert!(!ran.is_finished(), "it takes six seconds");
        };
        let _ = run(
            &cluster,
            &["cp", "-q", other, &format!("m://replaced/{name}")],
        )
        .done();
        ran.join().expect("it ran")
    });
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err.contains("the data read is not the data written"),
        "{}",
        ran.err
    );
    let said = ran.json_lines();
    let failed = said[0]["get"]["failed"].as_u64().expect("a number");
    assert!(failed > 0, "the result counts them: {said:?}");
}
