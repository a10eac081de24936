use std::collections::BTreeMap;

use super::*;
use crate::{
    cache::{CachedPrices, PartHeader, StoredPart},
    domain::{decoded::StoredHoldings, holdings::Holdings},
    service::{context::Level, fresh_prices::AnswerPrices},
};

const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);
const EUR: &str = "eur";

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn header(fetch: u64) -> Header {
    let stored = StoredPart {
        hash: 1,
        fetched_at: NOW,
        currency: Currency::USD,
        fetch,
        written: 1,
        chunks: 1,
        chunks_expire: Timestamp::default(),
        price_chunks: 0,
    };
    let part = PartHeader {
        stored: Some(stored),
        ..PartHeader::default()
    };
    Header {
        parts: [(Part::Wallet, part)].into(),
        ..Header::default()
    }
}

fn wallet(fetch: u64) -> CachedWallet {
    let part = CachedPart {
        holdings: StoredHoldings::new(Holdings::default().encode()).unwrap(),
        hash: 1,
        fetched_at: NOW,
        currency: Currency::USD,
        prices: PriceTable::default(),
    };
    let refreshed = CachedPrices {
        table: PriceTable::default(),
        hash: 1,
    };
    CachedWallet {
        parts: [(Part::Wallet, Arc::new(part))].into(),
        header: header(fetch),
        refreshed: [(Currency::USD, Arc::new(refreshed))].into(),
        leftovers: Vec::new(),
    }
}

fn query() -> Query {
    let address = Address::parse("0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234");
    Query::all(address.unwrap(), Scope::Wallet)
}

fn cache() -> WalletCache {
    WalletCache::new(1 << 20, Duration::from_secs(900))
}

fn held(wallet: &CachedWallet) -> LoadedHoldings {
    LoadedHoldings {
        parts: wallet.parts.clone(),
        fetched_at: NOW,
        level: Level::fresh(after(300)),
        fetched: false,
        unchanged: false,
        missing: Vec::new(),
        cached: wallet.clone(),
        storable: true,
    }
}

fn prices() -> Arc<FreshPrices> {
    Arc::new(FreshPrices {
        prices: Arc::new(AnswerPrices::default()),
        fresh_until: after(60),
        from: NOW,
        until: after(60),
    })
}

#[test]
fn copies_count_only_under_the_header_of_their_fetch() {
    let (cache, query) = (cache(), query());
    cache.keep(&query, &wallet(3), NOW);
    let under = |header: &Header| cache.under(&query.address, header);
    assert_eq!(under(&header(3)).parts.len(), 1);
    assert_eq!(under(&header(3)).refreshed.len(), 1);
    assert_eq!(under(&header(4)).parts.len(), 0);
    assert_eq!(under(&Header::default()).parts.len(), 0);
    let invalidated = Header {
        epoch: 1,
        ..header(3)
    };
    assert_eq!(under(&invalidated).refreshed, BTreeMap::new());
    assert!(!refer_to_the_same(&header(3), &invalidated));
    assert!(!refer_to_the_same(&header(3), &header(4)));
    assert!(refer_to_the_same(&header(3), &header(3)));
}

#[test]
fn a_copy_answers_only_while_all_that_the_query_needs_is_fresh() {
    let (cache, query, wallet) = (cache(), query(), wallet(3));
    let fresh = |query: &Query, fresh_after, now| {
        let copy = cache.fresh_copy(query, fresh_after, now);
        copy.is_some()
    };
    let long_ago = NOW.minus(Duration::from_secs(300));
    cache.keep(&query, &wallet, NOW);
    assert!(!fresh(&query, long_ago, NOW), "without prices");
    cache.keep_prices(&query, &held(&wallet), &prices(), NOW);
    assert!(fresh(&query, long_ago, after(59)));
    assert!(!fresh(&query, long_ago, after(60)), "prices have expired");
    assert!(!fresh(&query, NOW, after(59)), "holdings have expired");
    let earlier = NOW.minus(Duration::from_millis(1));
    assert!(!fresh(&query, long_ago, earlier), "the clock was set back");

    let others = [
        Query {
            scope: Scope::Aggregate,
            ..query.clone()
        },
        Query {
            currency: Currency::parse(EUR).unwrap(),
            ..query.clone()
        },
    ];
    for other in &others {
        assert!(!fresh(other, long_ago, NOW));
    }
    // A page of the same answer.
    let page = Query { limit: 1, ..query };
    assert!(fresh(&page, long_ago, NOW));
}

#[test]
fn prices_count_only_for_the_data_that_they_were_made_of() {
    let (cache, query, first) = (cache(), query(), wallet(3));
    cache.keep(&query, &first, NOW);
    cache.keep_prices(&query, &held(&first), &prices(), NOW);
    let found = |wallet: &CachedWallet| {
        let prices = cache.fresh_prices(&query, &held(wallet), NOW);
        prices.is_some()
    };
    assert!(found(&first));
    // The same content, read again: prices may have been refreshed meanwhile.
    let again = wallet(3);
    assert!(!found(&again));
    let mut refreshed = first.clone();
    refreshed.refreshed = again.refreshed.clone();
    assert!(!found(&refreshed));
    refreshed.refreshed.clear();
    assert!(!found(&refreshed));
    // A new copy begins without prices.
    cache.keep(&query, &again, NOW);
    assert!(!found(&first) && !found(&again));
}

#[test]
fn prices_in_a_currency_that_was_not_read_are_not_kept() {
    let (cache, query, wallet) = (cache(), query(), wallet(3));
    cache.keep(&query, &wallet, NOW);
    let euro = Query {
        currency: Currency::parse(EUR).unwrap(),
        ..query
    };
    cache.keep_prices(&euro, &held(&wallet), &prices(), NOW);
    assert!(cache.fresh_prices(&euro, &held(&wallet), NOW).is_none());
    // Read with them.
    cache.keep(&euro, &wallet, NOW);
    cache.keep_prices(&euro, &held(&wallet), &prices(), NOW);
    assert!(cache.fresh_prices(&euro, &held(&wallet), NOW).is_some());
}

#[test]
fn the_views_of_a_copy_are_bounded_and_count() {
    let (cache, query, wallet) = (cache(), query(), wallet(3));
    for currency in Currency::all() {
        let query = Query {
            currency,
            ..query.clone()
        };
        cache.keep(&query, &wallet, NOW);
        for scope in Scope::ALL {
            let query = Query {
                scope,
                ..query.clone()
            };
            cache.keep_prices(&query, &held(&wallet), &prices(), NOW);
        }
        let copy = cache.copies.get(&query.address).unwrap();
        assert!(copy.views.len() <= MAX_VIEWS);
    }
}
