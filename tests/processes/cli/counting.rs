//! `--counting` of the commands that read ratelimit configurations.

use std::fs;

use super::{run, run_in};

const CONFIGURATION: &str = "domain: shop
descriptors:
- key: plan
  value: free
  rate_limit: { unit: minute, requests_per_unit: 10 }
";

#[test]
fn what_a_domain_counts_is_chosen_by_flag_or_environment() {
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("shop.yaml");
    fs::write(&shop, CONFIGURATION).unwrap();
    let shop = shop.to_str().unwrap();
    let explained = |args: &[&str], env: &[(&str, &str)]| {
        let words = [&["explain", "--config", shop][..], args, &["plan=free"]].concat();
        run_in(&words, env).out
    };
    let of_admitted = "counts admitted calls only";
    assert!(!explained(&[], &[]).contains(of_admitted));
    assert!(explained(&["--counting", "shop=all-or-none"], &[]).contains(of_admitted));
    assert!(!explained(&["--counting", "other=all-or-none"], &[]).contains(of_admitted));
    let both = [("TOLLGATE_COUNTING", "spare-others,shop=all-or-none")];
    assert!(explained(&[], &both).contains(of_admitted));

    let checked = run(&["check", "--strict", "--counting", "other=each", shop]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let warning = "warning: --counting: no ratelimit configuration has the domain `other`";
    assert!(checked.out.contains(warning), "{checked:?}");
}
