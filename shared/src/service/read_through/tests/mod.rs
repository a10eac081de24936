//! The mechanism with the smallest payload there is: a number, in a store that is
//! a variable.

mod world;

use std::time::Duration;

use world::{MINUTE, Stored, World};

use crate::{
    cache::PartHeader,
    clock::Clock,
    service::{
        context::{CacheOutcome, Detail, ServiceError},
        policy::{LEASE_TTL, TRANSIENT_FAILURE_TTL, UNLEASED_FETCHES},
    },
    sync::locked,
    upstream::Failure,
};

#[tokio::test(start_paused = true)]
async fn a_miss_is_fetched_once_and_then_found() {
    let world = World::new();
    let (number, level) = world.found().await;
    assert_eq!(
        (number, level.outcome, level.stored),
        (1, CacheOutcome::Miss, true)
    );
    let (number, level) = world.found().await;
    assert_eq!(
        (number, level.outcome, level.stale),
        (1, CacheOutcome::Hit, false)
    );
    tokio::time::sleep(5 * MINUTE).await;
    let (number, level) = world.found().await;
    assert_eq!((number, level.outcome), (2, CacheOutcome::Expired));
}

#[tokio::test(start_paused = true)]
async fn simultaneous_misses_are_one_fetch() {
    let world = World::new();
    let asked = futures::future::join_all((0..20).map(|_| world.found())).await;
    assert!(asked.iter().all(|(number, _)| *number == 1));
    assert_eq!(world.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_answered_with_stale_data_and_remembered() {
    let world = World::new();
    world.found().await;
    tokio::time::sleep(6 * MINUTE).await;
    world.fail(Failure::Unavailable("HTTP 502".to_owned()));
    for _ in 0..3 {
        let (number, level) = world.found().await;
        assert_eq!((number, level.stale), (1, true));
        assert_eq!(level.detail, Some(Detail::UpstreamError));
    }
    // The first one; the others found its note.
    assert_eq!(world.fetches(), 2);
    tokio::time::sleep(TRANSIENT_FAILURE_TTL).await;
    world.fail(None);
    assert_eq!(world.found().await.0, 3);

    // Nothing older than its limit stands in.
    tokio::time::sleep(66 * MINUTE).await;
    world.fail(Failure::Timeout);
    assert!(matches!(world.ask().await, Err(ServiceError::Provider(_))));
}

#[tokio::test(start_paused = true)]
async fn a_wallet_that_is_not_tracked_is_never_answered_with_old_data() {
    let world = World::new();
    world.found().await;
    tokio::time::sleep(6 * MINUTE).await;
    world.fail(Failure::NotTrackable);
    for _ in 0..2 {
        let error = world.ask().await.err().unwrap();
        let ServiceError::Provider(error) = error else {
            panic!("{error:?}")
        };
        assert_eq!(error.failure, Failure::NotTrackable);
    }
    assert_eq!(world.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn old_data_answer_at_once_while_another_process_fetches() {
    let world = World::new();
    world.found().await;
    tokio::time::sleep(6 * MINUTE).await;
    world.hold();
    let before = world.clock.now();
    let (number, level) = world.found().await;
    assert_eq!((number, level.stale), (1, true));
    assert_eq!(level.detail, Some(Detail::BeingRefreshed));
    assert_eq!((world.clock.now(), world.fetches()), (before, 1));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_is_waited_for_until_its_lease_ends() {
    let world = World::new();
    world.hold();
    let before = world.clock.now();
    assert_eq!(world.found().await.0, 1);
    let waited = world.clock.now().since(before);
    assert!(waited >= LEASE_TTL && waited < LEASE_TTL + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_slow_fetch_keeps_its_lease() {
    let world = World::new();
    *locked(&world.took) = Duration::from_secs(9);
    let asked = futures::future::join_all((0..3).map(|_| world.found())).await;
    assert!(asked.iter().all(|(number, _)| *number == 1));
    assert_eq!(world.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_again_is_not_taken_for_what_is_there() {
    let world = World::new();
    world.found().await;
    tokio::time::sleep(6 * MINUTE).await;
    // Read as it was, then unreadable under the lease: another process has held
    // that between.
    let hold = |header: &mut PartHeader| header.generation += 1;
    locked(&world.stored).header.get_mut(&()).map(hold).unwrap();
    *locked(&world.broken_loads) = [true, true].into();
    assert_eq!(world.found().await.0, 2);
    let previous = std::mem::take(&mut *locked(&world.previous));
    assert_eq!(previous, [Some(1), None]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_to_store_is_fetched_by_each_request() {
    let world = World::new();
    *locked(&world.too_large) = true;
    for number in 1..=3 {
        let (found, level) = world.found().await;
        assert_eq!((found, level.stored), (number, false));
        assert_eq!(level.detail, Some(Detail::Uncached));
    }
    // The first one alone tried to store it.
    assert_eq!(locked(&world.previous).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_store_fetches_are_limited_and_the_last_copy_answers() {
    let world = World::new();
    *locked(&world.unusable) = true;
    for _ in 0..UNLEASED_FETCHES {
        assert!(world.ask().await.is_ok());
    }
    let refused = world.ask().await.err();
    assert_eq!(refused, Some(ServiceError::CacheUnavailable));
    assert_eq!(world.fetches(), UNLEASED_FETCHES);

    *locked(&world.unusable) = false;
    let (number, _) = world.found().await;
    *locked(&world.unusable) = true;
    let (copy, level) = world.found().await;
    assert_eq!((copy, level.detail), (number, Some(Detail::Copy)));
    assert!(level.stale);
}

#[tokio::test(start_paused = true)]
async fn no_copy_answers_for_what_is_known_to_be_deleted() {
    let world = World::new();
    world.found().await;
    // Invalidated by another process; then the table is readable, and no more.
    *locked(&world.stored) = Stored::default();
    *locked(&world.unwritable) = true;
    world.fail(Failure::Unavailable("HTTP 502".to_owned()));
    assert!(matches!(world.ask().await, Err(ServiceError::Provider(_))));
}
