//! Fixed windows: what is counted beside others.

use super::*;
use crate::limit::Window;

fn window(requests: u32) -> Bucket {
    Bucket::Window(Window::new(requests, Unit::Minute))
}

#[test]
fn a_window_in_shadow_counts_beyond_its_limit_and_beside_a_denial() {
    let store = MemoryStore::new(1000);
    let (one, two) = (window(1), window(2));
    let shadow = Charge { mode: Mode::Shadow(0), ..charge("a", &one, Hits::ONE) };
    let both = [shadow, charge("b", &two, Hits::ONE)];
    for (is_denied, counted) in [(false, 0), (false, 1), (true, 2), (true, 3)] {
        let (admission, outcomes) = ask(&store, NOW, &both);
        assert_eq!(admission == Admission::Denied, is_denied);
        assert_eq!([outcomes[0].before, outcomes[1].before], [counted; 2]);
    }
}

#[test]
fn a_spared_window_counts_only_while_no_other_is_over() {
    let store = MemoryStore::new(1000);
    let (one, five) = (window(1), window(5));
    let spare = |of, bucket| {
        let counting = Counting::SpareOthers;
        Charge { counting, ..charge(of, bucket, Hits::ONE) }
    };
    let shadow = Charge { mode: Mode::Shadow(0), ..spare("a", &one) };
    let both = [shadow, spare("b", &five)];
    let told: Vec<_> = (0..3)
        .map(|_| {
            let (admission, outcomes) = ask(&store, NOW, &both);
            assert_ne!(admission, Admission::Denied);
            (outcomes[0].before, outcomes[1].remaining)
        })
        .collect();
    assert_eq!(told, [(0, 4), (1, 4), (2, 4)]);
}

#[test]
fn spared_charges_of_one_window_are_judged_alone_and_made_in_order() {
    let store = MemoryStore::new(1000);
    let (five, one) = (window(5), window(1));
    let spare = |bucket, hits| Charge {
        counting: Counting::SpareOthers,
        ..charge("a", bucket, Hits::charge(hits))
    };
    // What each charge is told, whether it is over and the count before it; and the count after all of them.
    let ask = |charges: &[Charge<'_>]| {
        let (_, outcomes) = ask(&store, NOW, charges);
        let told = outcomes.iter().map(|outcome| (outcome.wait != Wait::NONE, outcome.before));
        (told.collect::<Vec<_>>(), store.peek(name("a"), &five, None, NOW).before)
    };
    assert_eq!(ask(&[spare(&five, 1)]), (vec![(false, 0)], 1));
    // Each fits alone, so that both count.
    assert_eq!(ask(&[spare(&five, 3), spare(&five, 3)]), (vec![(false, 1), (true, 4)], 7));
    store.set_state(name("a"), BucketState::NONE, NOW);
    assert_eq!(ask(&[spare(&five, 1)]), (vec![(false, 0)], 1));
    // The second does not fit, and is counted alone, before the other or behind it.
    assert_eq!(ask(&[spare(&five, 1), spare(&five, 5)]), (vec![(false, 1), (true, 1)], 6));
    store.set_state(name("a"), BucketState::NONE, NOW);
    assert_eq!(ask(&[spare(&five, 6), spare(&five, 1)]), (vec![(true, 0), (true, 6)], 6));
    store.set_state(name("a"), BucketState::NONE, NOW);
    // Each by its own limit.
    assert_eq!(ask(&[spare(&five, 2), spare(&one, 2)]), (vec![(false, 0), (true, 0)], 2));
}
