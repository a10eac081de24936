//! What each kind of request costs, counted: serial waits for DynamoDB, the
//! capacity that its answers report, and requests to upstreams.

use std::{sync::Arc, time::Duration};

use portfolio::{
    app::App,
    domain::{address::Address, query::Query, scope::Scope},
    service::{Request, Service},
    telemetry::request_cost::RequestCostTotals,
};
use portfolio_tests::{TestApp, rows};

async fn cost(service: &Service, app: &TestApp, address: &str) -> RequestCostTotals {
    let request = Request {
        deadline: app.now().plus(Duration::from_secs(20)),
        // What is counted must not depend on how busy the machine is.
        patient: true,
        ..Request::default()
    };
    let query = Query::all(
        Address::parse(address).expect("an address"),
        Scope::Aggregate,
    );
    let answered = service.portfolio(&query, &request).await;
    answered.expect("an answer");
    request.cost.totals()
}

fn row(tokens: u32, what: &str, cost: RequestCostTotals) {
    println!(
        "{tokens:>6} {what:<15} {:>11} {:>8} {:>8} {:>8}",
        cost.round_trips, cost.read_units, cost.write_units, cost.upstream_calls
    );
}

#[tokio::test]
async fn requests_stay_within_their_budgets() {
    // One batch holds all of the ids.
    let app = TestApp::with(&[("CMC_MAX_IDS", "5000")]).await;
    for number in 1..=3000 {
        app.fakes().set_coin(rows::listed(number));
    }
    App::new(app.config())
        .registry_update()
        .unwrap()
        .run()
        .await
        .unwrap();
    app.fakes().reset_stats();
    println!("tokens what            round trips      RRU      WRU  upstream");
    for (tokens, read_budget) in [(30, 1.5), (300, 4.0), (3000, 24.0)] {
        let address = format!("0x{tokens:040}");
        // Another wallet with the same tokens, to meet what was refreshed.
        let twin = format!("0x1{tokens:039}");
        for address in [&address, &twin] {
            let held = (1..=tokens).map(rows::token).collect();
            app.fakes().set_wallet(address, held);
        }
        let new_process = || {
            App::with_clock(app.config(), app.clock.clone())
                .service()
                .unwrap()
        };
        let service = new_process();

        let miss = cost(&service, &app, &address).await;
        row(tokens, "structure miss", miss);
        assert!(miss.round_trips <= 4);
        assert_eq!(miss.upstream_calls, 1);
        assert_eq!(app.stats().coinmarketcap.requests, 0);

        let hit = cost(&service, &app, &address).await;
        row(tokens, "all fresh", hit);
        assert_eq!((hit.round_trips, hit.upstream_calls), (1, 0));
        assert!(hit.read_units <= read_budget, "{} RRU", hit.read_units);

        let copy = cost(&service, &app, &address).await;
        row(tokens, "from the copy", copy);
        assert_eq!((copy.round_trips, copy.upstream_calls), (1, 0));
        assert!(copy.read_units <= 1.0, "{} RRU", copy.read_units);
        let copies = [miss, hit, copy].map(|cost| cost.copy_hits);
        assert_eq!(copies, [0, 0, 1]);

        let noted = cost(&service, &app, &twin).await;
        row(tokens, "another miss", noted);
        assert!(noted.write_units < miss.write_units);
        app.fakes().reset_stats();

        app.clock.advance(Duration::from_secs(61));
        let refresh = cost(&service, &app, &address).await;
        row(tokens, "price miss", refresh);
        assert!(refresh.round_trips <= 3);
        assert_eq!(refresh.upstream_calls, 1);
        let stats = app.stats();
        assert_eq!(
            (stats.zerion.requests, stats.coinmarketcap.requests),
            (0, 1)
        );
        assert_eq!(stats.coinmarketcap.ids, u64::from(tokens));

        let shared = cost(&new_process(), &app, &twin).await;
        row(tokens, "from the book", shared);
        assert!(shared.round_trips <= 3);
        assert_eq!(shared.upstream_calls, 0);

        let after = cost(&service, &app, &address).await;
        row(tokens, "fresh again", after);
        assert!(after.read_units <= read_budget, "{} RRU", after.read_units);
        app.fakes().reset_stats();
    }
    drop(Arc::new(app));
}
