//! `tollgate replay`: its input, what it prints, its exit codes.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::{Ended, run, tollgate, wait};

const POLICY: &str =
    "domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ per_minute: 2 }] } }]\n";

/// A folder with a policy, and logs.
struct Folder {
    folder: tempfile::TempDir,
    policy: String,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy.yaml");
        fs::write(&policy, POLICY).unwrap();
        let policy = policy.to_str().unwrap().to_owned();
        Self { folder, policy }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn replay(&self, args: &[&str]) -> Ended {
        self.replay_plain(&[&["--entry", "k=$k"], args].concat())
    }

    /// Without an entry for the key of the policy.
    fn replay_plain(&self, args: &[&str]) -> Ended {
        run(&[&["replay", "--config", &self.policy], args].concat())
    }
}

/// Requests of some clients, a second apart.
fn log(clients: &[&str]) -> String {
    let line = |(second, client): (usize, &&str)| {
        let client = serde_json::Value::from(*client);
        format!(
            "{{\"start_time\":\"2026-03-01T00:00:{second:02}.500Z\",\"duration\":1,\"method\":\"GET\",\"path\":\"/\",\"remote_address\":\"203.0.113.7\",\"status\":200,\"k\":{client}}}\n"
        )
    };
    clients.iter().enumerate().map(line).collect()
}

fn first_lines(ended: &Ended, count: usize) -> Vec<&str> {
    ended.out.lines().take(count).collect()
}

#[test]
fn a_replay_says_who_would_be_denied() {
    let folder = Folder::new();
    let path = folder.write("a.json", log(&["ann", "ann", "bob", "ann", "ann"]));
    let told = folder.replay(&[&path]);
    assert_eq!((told.code, &*told.err), (Some(0), ""));
    assert_eq!(
        first_lines(&told, 3),
        [
            "domain d",
            "5 requests from 2026-03-01T00:00:00Z to 2026-03-01T00:00:04Z: 2 denied, 40.00 %",
            "2 keys; requests of 1 of them were denied",
        ]
    );
    assert!(told.out.contains("t, all "), "{}", told.out);
    let most = "  k=ann: 2 from 2026-03-01T00:00:03Z to 2026-03-01T00:00:04Z, at most 2 on end; t, all, 2 per minute";
    assert!(told.out.contains(most), "{}", told.out);
    assert!(told.out.contains("they neither retry nor slow down"), "{}", told.out);
}

#[test]
fn logs_are_files_folders_patterns_and_standard_input_packed_or_not() {
    let folder = Folder::new();
    let text = log(&["ann", "ann", "bob", "ann", "ann"]);
    let plain = folder.write("plain.json", &text);
    let expected = folder.replay(&["--json", &plain]).out;
    let told = |words: &[&str]| {
        let ended = folder.replay(&[&["--json"], words].concat());
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{words:?}");
        ended.out
    };
    let without_names = |json: &str| {
        let mut report: serde_json::Value = serde_json::from_str(json).unwrap();
        report["input"]["logs"].take();
        report
    };
    let expected = without_names(&expected);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = |text: &str| compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (first, second) = lines.split_at(2);
    // Two members, and two frames, as logs that were joined have them.
    let gz = folder.write("packed/a.json.gz", &gzip);
    assert_eq!(without_names(&told(&[&gz])), expected);
    let frames = [zstd(&first.concat()), zstd(&second.concat())].concat();
    let zst = folder.write("b.json.zst", frames);
    assert_eq!(without_names(&told(&[&zst])), expected);
    let packed = folder.path("packed");
    assert_eq!(without_names(&told(&[packed.to_str().unwrap()])), expected);
    let pattern = folder.path("packed/*.gz");
    // A log that is named twice is read once.
    assert_eq!(without_names(&told(&[pattern.to_str().unwrap(), &gz])), expected);

    let args = ["replay", "--config", &folder.policy, "--entry", "k=$k", "--json", "-"];
    let mut child = tollgate(&args, &[]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&gzip).unwrap();
    wait(&mut child);
    let out = child.wait_with_output().unwrap().stdout;
    assert_eq!(without_names(std::str::from_utf8(&out).unwrap()), expected);
}

#[test]
fn a_packed_log_that_is_cut_ends_the_replay() {
    let folder = Folder::new();
    let text = log(&["ann"; 60]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let cut = folder.write("cut.gz", &gzip[..gzip.len() / 2]);
    let told = folder.replay(&[&cut]);
    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(told.err.starts_with(&cut), "{}", told.err);
    let zstd = compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
    let cut = folder.write("cut.zst", &zstd[..zstd.len() - 9]);
    let told = folder.replay(&[&cut]);
    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(told.err.starts_with(&cut), "{}", told.err);
}

#[test]
fn a_part_that_is_denied_too_often_fails() {
    let folder = Folder::new();
    // 2 of 5 requests, and 1 of 2 keys.
    let path = folder.write("a.json", log(&["ann", "ann", "bob", "ann", "ann"]));
    for (flag, limit, code) in [
        ("--fail-above", "40%", 0),
        ("--fail-above", "39.9%", 1),
        ("--fail-above-keys", "50%", 0),
        ("--fail-above-keys", "49 %", 1),
    ] {
        let told = folder.replay(&[flag, limit, &path]);
        assert_eq!(told.code, Some(code), "{flag} {limit}");
        assert_eq!(told.err.contains("would be denied, more than"), code == 1, "{}", told.err);
    }
    for wrong in ["0.1", "-1%", "101%", "x%", "NaN%"] {
        assert_eq!(folder.replay(&["--fail-above", wrong, &path]).code, Some(2), "{wrong}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let folder = Folder::new();
    let path = folder.write("a.json", log(&["ann"]));
    let told = folder.replay(&["--entry", "j=$nowhere", &path]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("no line has nowhere"), "{}", told.err);
    let told = folder.replay(&["missing.log"]);
    assert_eq!(told.code, Some(2));
    assert!(told.err.starts_with("missing.log: no such log;"), "{}", told.err);
    let told = folder.replay(&["-", "-"]);
    assert_eq!(told.code, Some(2));
    assert!(told.err.contains("twice"), "{}", told.err);
    let other = folder.write("other.yaml", POLICY.replace("domain: d", "domain: e"));
    let told = folder.replay(&["--against", &other, &path]);
    assert_eq!(told.code, Some(2));
    assert!(told.err.contains("no domain `d`"), "{}", told.err);
}

#[test]
fn times_that_are_not_asked_for_are_left_out() {
    let folder = Folder::new();
    let path = folder.write("a.json", log(&["ann"; 10]));
    let told = folder.replay(&[
        "--since",
        "2026-03-01T00:00:04Z",
        "--until",
        "2026-03-01T00:00:07Z",
        &path,
    ]);
    assert!(told.out.contains("\n3 requests from 2026-03-01T00:00:04Z to"), "{}", told.out);
    assert!(told.out.contains("note: 7 requests were left out, since they are of other times"));
}

#[test]
fn two_policies_are_compared() {
    let folder = Folder::new();
    let path = folder.write("a.json", log(&["ann", "ann", "ann", "ann"]));
    let lax = folder.write("lax.yaml", POLICY.replace("per_minute: 2", "per_minute: 3"));
    let told = folder.replay(&["--against", &lax, &path]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let difference = "the other policy denies 1, 25.00 %: of these 0 no longer, and 1 newly\n  t, all: 2 denied, where the other denies 1\n";
    assert!(told.out.contains(difference), "{}", told.out);
    assert!(told.out.contains("newly denied most:\n  k=ann: 1 from"), "{}", told.out);
}

/// What clients send is told without what it would do to a terminal or a page.
#[test]
fn hostile_values_are_escaped() {
    let folder = Folder::new();
    let evil = "\u{1b}[31m\r\n<script>alert(1)</script>\u{202e}";
    let path = folder.write("a.json", log(&[evil; 5]) + "\u{1b}[2J<b>\r\n");
    let page = folder.path("page.html");
    let told = folder.replay(&["--html", page.to_str().unwrap(), &path]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let is_plain = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
    assert!(told.out.chars().all(is_plain), "{}", told.out);
    assert!(told.out.contains("<script>"), "a terminal needs no escape of it");
    let page = fs::read_to_string(page).unwrap();
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert(1)"));
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'));
}

/// What `--sample` prints is a mapping that replays the log it was made of.
#[test]
fn a_sample_is_a_mapping_of_its_log() {
    let folder = Folder::new();
    let log = "config/replay/access.json";
    let sample = run(&["replay", "--sample", log]);
    assert_eq!((sample.code, &*sample.err), (Some(0), ""));
    let lines: Vec<_> = sample.out.lines().collect();
    assert_eq!(lines[0], "# config/replay/access.json: json, 120 lines");
    for entry in [
        "  tenant_type: $x_tenant_type",
        "  tenant: $x_tenant",
        "  method: $method",
        "  path: $path",
        "  remote_address: $remote_address",
    ] {
        assert!(lines.contains(&entry), "{entry}: {}", sample.out);
    }
    assert!(
        lines.contains(&"  # 120 lines, 4 values: umbrella, initech, globex"),
        "{}",
        sample.out
    );
    assert!(
        sample.out.contains("\n  # No field looks like it: a field, or a constant.\n  # scope: \n")
    );
    assert!(sample.out.contains("\n#   $status: 120 lines, 1 value: 200\n"), "{}", sample.out);
    let map = folder.write("map.yaml", &sample.out);
    let told = |map: &str| run(&["replay", "--map", map, log]).out;
    assert_eq!(told(&map), told("config/replay/management-api.yaml"));
    // A name of a field is a client's text as well.
    let evil = folder.write("evil.json", log_with_field("k\u{1b}[2J\n: $x"));
    let sample = folder.replay_plain(&["--sample", &evil]);
    assert_eq!(sample.code, Some(0), "{sample:?}");
    assert!(sample.out.chars().all(|c| c == '\n' || !c.is_control()), "{}", sample.out);
    let map = folder.write("evil.yaml", &sample.out);
    assert_eq!(folder.replay_plain(&["--map", &map, &evil]).code, Some(0), "{}", sample.out);
}

fn log_with_field(name: &str) -> String {
    let name = serde_json::Value::from(name);
    format!("{{\"start_time\":\"2026-03-01T00:00:00.500Z\",\"a_k\":\"1\",{name}:\"2\"}}\n")
        .repeat(3)
}
