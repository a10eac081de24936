//! What comes from outside may be anything: nothing of it may panic.

use proptest::prelude::*;
use serde_json::value::RawValue;

use crate::{
    cache::{codec, price_book},
    domain::{
        asset_mapping::NoAssets, holdings::Holdings, holdings_builder::HoldingsBuilder, scope::Part,
    },
    lambda::event::decode,
    upstream::{coinmarketcap, defillama, zerion},
};

/// Answers and events as they should be.
const SAMPLES: [&str; 5] = [
    r#"{"links":{"self":"","next":null},"data":[{"type":"positions","id":"a-ethereum-asset-asset","attributes":{"parent":null,"protocol":"Pool","name":"Asset","position_type":"loan","group_id":"g","quantity":{"int":"1000","decimals":18,"float":0.1,"numeric":"0.000000000000001"},"value":-12.5,"price":3000.25,"changes":{"absolute_1d":1.0,"percent_1d":2.5},"fungible_info":{"name":"Token","symbol":"TKN","icon":{"url":"https://example.org/a.png"},"flags":{"verified":true},"implementations":[{"chain_id":"ethereum","address":"0xdac17f958d2ee523a2206206994597c13d831ec7","decimals":6}]},"flags":{"displayable":true,"is_trash":false},"application_metadata":{"name":"Pool","icon":{"url":null},"url":null}},"relationships":{"chain":{"data":{"type":"chains","id":"ethereum"}},"fungible":{"data":{"type":"fungibles","id":"eth"}},"dapp":{"data":null}}}]}"#,
    r#"{"data":[{"id":1027,"symbol":"ETH","slug":"ethereum","platform":{"id":1,"name":"n","slug":"s","token_address":"0x1"},"quote":[{"symbol":"USD","price":6.3e-08,"percent_change_24h":-1.5,"last_updated":"2026-11-21T09:40:46.007Z"}]}],"status":{"error_code":"0","credit_count":1}}"#,
    r#"{"data":{"1":{"id":1,"quote":{"USD":{"price":50000.5}}},"BTC":[{"id":"1","quote":{"USD":{"price":null}}}]},"status":{"error_code":1008}}"#,
    r#"{"coins":{"base:0xA":{"decimals":18,"symbol":"A","price":1.5,"timestamp":1775055544,"confidence":0.99}}}"#,
    r#"{"version":"2.0","routeKey":"$default","rawPath":"/v1/wallets/0x1/defi","rawQueryString":"limit=1&chains=a%2Cb","headers":{"accept-encoding":"gzip"},"requestContext":{"http":{"method":"GET","path":"/"},"requestId":"r","stage":"$default","timeEpoch":1},"isBase64Encoded":false}"#,
];

fn read_everything(bytes: &[u8]) {
    let mut draft = HoldingsBuilder::default();
    let _ = zerion::read_page(bytes, None, &mut draft);
    for part in Part::ALL {
        let finished = draft.encode(part, &draft.map(&NoAssets));
        Holdings::decode(&finished.bytes).expect("what was just encoded");
    }
    let _ = coinmarketcap::read_quotes(bytes, "USD");
    let _ = coinmarketcap::read_map(bytes);
    let _ = defillama::read_prices(bytes);
    let _ = Holdings::decode(bytes);
    let _ = codec::decompress(bytes);
    let _ = codec::unpack_prices(bytes);
    let _ = price_book::unpack(bytes);
    if let Ok(raw) = serde_json::from_slice::<&RawValue>(bytes) {
        let _ = decode(raw);
    }
}

/// A sample with some of its bytes changed, left out or doubled, and some of
/// its values replaced by others.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let values = prop_oneof![
        Just("null"),
        Just("0"),
        Just("-1e400"),
        Just("1e-400"),
        Just("\"\""),
        Just("[]"),
        Just("{}"),
        Just("true"),
        Just("123456789012345678901234567890123456789012345678901234567890123456789012345678"),
        Just("\"\\u0000\\ud800\""),
    ];
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let replaced = proptest::collection::vec((any::<prop::sample::Index>(), values), 0..4);
    (0..SAMPLES.len(), replaced, changes).prop_map(|(sample, replaced, changes)| {
        let mut text = SAMPLES[sample].to_owned();
        for (at, value) in replaced {
            // After some colon, up to the value's end.
            let colons: Vec<usize> = text.match_indices(':').map(|(at, _)| at + 1).collect();
            let start = *at.get(&colons);
            let rest = &text[start..];
            let end = rest
                .find([',', '}', ']'])
                .map_or(text.len(), |end| start + end);
            text.replace_range(start..end, value);
        }
        let mut bytes = text.into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            match byte % 3 {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    #[test]
    fn damaged_answers_are_refused_or_read(bytes in damaged()) {
        read_everything(&bytes);
    }
}

#[test]
fn the_samples_are_what_they_should_be() {
    let mut draft = HoldingsBuilder::default();
    assert!(zerion::read_page(SAMPLES[0].as_bytes(), None, &mut draft).is_ok());
    assert_eq!(draft.len(), 1);
    assert!(coinmarketcap::read_quotes(SAMPLES[1].as_bytes(), "USD").is_ok());
    assert!(coinmarketcap::read_quotes(SAMPLES[2].as_bytes(), "USD").is_ok());
    assert!(defillama::read_prices(SAMPLES[3].as_bytes()).is_ok());
    let event = serde_json::from_str::<&RawValue>(SAMPLES[4]).unwrap();
    assert!(decode(event).is_ok());
}
