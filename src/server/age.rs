//! How old a connection may become.
//!
//! Envoy keeps a connection for as long as it works. Where something between them deals out connections and not
//! calls, as a Service of Kubernetes does, a replica that comes later would get no calls of the Envoys that are
//! there. So each connection is ended after a while, gracefully, and Envoy opens another. Connections that were
//! opened together, as after a restart, are not ended together.

use std::time::Duration;

/// Completes when a connection that opens now is of age; never if there is none.
pub(super) async fn reached(age: Option<Duration>) {
    match age {
        // Without chance it would be the age as it is: connections may then end together, which is no harm to
        // any one of them.
        Some(age) => {
            tokio::time::sleep(spread(age, getrandom::u32().unwrap_or(u32::MAX / 2))).await
        }
        None => std::future::pending().await,
    }
}

/// Up to a fifth less or more, by chance.
fn spread(age: Duration, chance: u32) -> Duration {
    let fifth = age / 5;
    let more = (fifth * 2).mul_f64(f64::from(chance) / f64::from(u32::MAX));
    (fifth * 4).saturating_add(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_spread_by_a_fifth_to_both_sides() {
        let age = Duration::from_secs(300);
        assert_eq!(spread(age, 0), Duration::from_secs(240));
        assert_eq!(spread(age, u32::MAX), Duration::from_secs(360));
        let middle = spread(age, u32::MAX / 2);
        assert!(middle.abs_diff(age) < Duration::from_millis(1), "{middle:?}");
        assert!(spread(Duration::MAX, u32::MAX) > Duration::MAX / 2);
    }

    #[test]
    fn connections_that_are_opened_together_are_of_age_apart() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
            let opened = tokio::time::Instant::now();
            let ages: Vec<_> = (0..100)
                .map(|_| {
                    tokio::spawn(async move {
                        reached(Some(Duration::from_secs(300))).await;
                        opened.elapsed()
                    })
                })
                .collect();
            let mut different = std::collections::BTreeSet::new();
            for age in ages {
                let age = age.await.unwrap();
                assert!((240..=360).contains(&age.as_secs()), "{age:?}");
                different.insert(age.as_secs());
            }
            assert!(different.len() > 20, "{different:?}");
        });
    }
}
