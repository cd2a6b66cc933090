//! The maximum age of a connection.
//!
//! Envoy keeps a connection as long as it works. A layer-4 balancer between Envoy and tollgate, such as a Kubernetes
//! Service, spreads connections, not calls, so a new replica would receive no calls from Envoys that are already
//! connected. Each connection is therefore closed gracefully after a while, and Envoy opens another. The age is
//! random within a fifth, so that connections that were opened together, as after a restart, do not end together.

use std::time::Duration;

/// Completes when a connection that opens now reaches its maximum age; never without one.
pub(super) async fn reached(max_age: Option<Duration>) {
    match max_age {
        // Without random numbers the age is exact, and connections may end together, which harms none of them.
        Some(age) => {
            tokio::time::sleep(with_jitter(age, getrandom::u32().unwrap_or(u32::MAX / 2))).await
        }
        None => std::future::pending().await,
    }
}

/// 0.8 to 1.2 times `age`, for a `random` number from 0 to `u32::MAX`.
fn with_jitter(age: Duration, random: u32) -> Duration {
    let fifth = age / 5;
    let more = (fifth * 2).mul_f64(f64::from(random) / f64::from(u32::MAX));
    (fifth * 4).saturating_add(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_random_by_a_fifth_to_both_sides() {
        let age = Duration::from_secs(300);
        assert_eq!(with_jitter(age, 0), Duration::from_secs(240));
        assert_eq!(with_jitter(age, u32::MAX), Duration::from_secs(360));
        let middle = with_jitter(age, u32::MAX / 2);
        assert!(middle.abs_diff(age) < Duration::from_millis(1), "{middle:?}");
        assert!(with_jitter(Duration::MAX, u32::MAX) > Duration::MAX / 2);
    }

    #[test]
    fn connections_that_are_opened_together_end_apart() {
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
