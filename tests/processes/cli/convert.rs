//! `convert`.

use std::fs;

use super::{Ended, run};

const CONFIGURATION: &str = "domain: shop
descriptors:
- key: plan
  value: free
  rate_limit: { unit: minute, requests_per_unit: 10 }
";

const UNSAYABLE: &str = "domain: files
descriptors:
- key: path
  value: '*.png'
  rate_limit: { unit: minute, requests_per_unit: 10 }
";

fn path(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_converted_policy_is_what_check_takes() {
    let folder = tempfile::tempdir().unwrap();
    let shop = path(&folder, "shop.yaml", CONFIGURATION);
    let Ended { code, out, err } = run(&["convert", "--strict", &shop]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err, "domain shop: limits converted: 1; left out, see the comments: 0\n");
    let policy = path(&folder, "policy.yaml", &out);
    let checked = run(&["check", "--strict", &policy]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.contains("domain shop: 1 table, 1 row, 1 bucket"), "{checked:?}");
}

#[test]
fn several_domains_are_documents_or_files_and_strict_counts_what_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let both = [path(&folder, "a.yaml", CONFIGURATION), path(&folder, "b.yaml", UNSAYABLE)];
    let [shop, files] = both.each_ref().map(String::as_str);
    let printed = run(&["convert", shop, files]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let documents: Vec<_> = printed.out.split("---\n").collect();
    assert_eq!(documents.len(), 2);
    assert!(
        printed.err.ends_with("domain files: limits converted: 0; left out, see the comments: 1\n")
    );

    let out = folder.path().join("policies");
    let out = out.to_str().unwrap();
    let written = run(&["convert", "--strict", "--out", out, shop, files]);
    assert_eq!((written.code, &*written.out), (Some(1), ""), "{written:?}");
    let read = |name: &str| fs::read_to_string(format!("{out}/{name}")).unwrap();
    assert_eq!([read("shop.yaml"), read("files.yaml")], documents[..]);
    assert_eq!(run(&["check", "--strict", out]).code, Some(0));

    let again = run(&["convert", "--out", out, shop]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("shop.yaml: File exists"), "{again:?}");
    let twice = run(&["convert", shop, shop]);
    assert!(twice.code == Some(2) && twice.err.contains("`shop` is already defined"), "{twice:?}");
}
