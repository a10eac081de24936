//! CoinMarketCap's JSON in all of the shapes that its versions answer with.
//!
//! `data` is an array (v3, simple price), a map of coins (v2 by id) or a map
//! of arrays (v2 by symbol); `quote` is a map by currency (v2) or an array
//! (v3, where simple price calls it `quotes`).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    clock::Timestamp,
    domain::{
        decimal::Decimal,
        price::{CmcId, RejectReason},
        price_book::QuoteId,
    },
    upstream::{
        Quote,
        lenient::{describe, lenient, number, text, text_or_empty},
    },
};

#[derive(Deserialize)]
struct Envelope<'b> {
    #[serde(borrow)]
    data: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct StatusEnvelope {
    #[serde(default, deserialize_with = "lenient")]
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "text")]
    error_code: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    credit_count: Option<u64>,
}

/// What the status object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StatusFields {
    /// The error code, sent as a number or as a string of one.
    pub error_code: Option<i64>,
    /// The credits that the answer cost; refusals may cost some as well.
    pub credits: u64,
}

/// The status object, wherever there is one.
pub(super) fn read_status(body: &[u8]) -> StatusFields {
    let envelope: Option<StatusEnvelope> = serde_json::from_slice(body).ok();
    let Some(status) = envelope.and_then(|envelope| envelope.status) else {
        return StatusFields::default();
    };
    StatusFields {
        error_code: status.error_code.and_then(|code| code.parse().ok()),
        credits: status.credit_count.unwrap_or(0),
    }
}

#[derive(Deserialize)]
struct Coin<'b> {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(borrow, default, alias = "quotes")]
    quote: Option<&'b RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireQuote {
    #[serde(deserialize_with = "lenient")]
    symbol: Option<String>,
    #[serde(deserialize_with = "number")]
    price: Option<Decimal>,
    #[serde(deserialize_with = "number")]
    percent_change_24h: Option<Decimal>,
    #[serde(deserialize_with = "lenient")]
    last_updated: Option<String>,
}

/// Reads the prices in `convert` (upper case) out of an answer. A price that is
/// null, zero or negative is told as none; a coin without a quote in that
/// currency is left out.
///
/// # Errors
/// When the body is not an answer to a request for prices.
pub fn read_quotes(body: &[u8], convert: &str) -> Result<Vec<Quote>, String> {
    let coins = coins(data(body)?)?;
    Ok(coins
        .iter()
        .filter_map(|coin| {
            let id = QuoteId::Number(coin.id.as_deref()?.parse().ok()?);
            let quote = quote(coin.quote?, convert)?;
            Some(Quote {
                id,
                price: quote
                    .price
                    .filter(|price| price.is_positive())
                    .ok_or(RejectReason::NotPositive),
                change_24h_percent: quote.percent_change_24h.map(|percent| percent.rounded(6)),
                as_of: quote.last_updated.as_deref().and_then(Timestamp::parse),
            })
        })
        .collect())
}

fn data(body: &[u8]) -> Result<&RawValue, String> {
    // A v3 answer is documented as a bare array as well.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return serde_json::from_slice(body).map_err(|error| describe(&error));
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|error| describe(&error))?;
    envelope.data.ok_or_else(|| "no data".to_owned())
}

fn coins(data: &RawValue) -> Result<Vec<Coin<'_>>, String> {
    let parse = |raw: &RawValue| -> Result<(), String> {
        Err(format!(
            "data is of another type, {} bytes",
            raw.get().len()
        ))
    };
    match data.get().as_bytes().first() {
        Some(b'[') => list(data),
        Some(b'{') => {
            let by_key: HashMap<String, &RawValue> =
                serde_json::from_str(data.get()).map_err(|error| describe(&error))?;
            let mut coins = Vec::with_capacity(by_key.len());
            for raw in by_key.into_values() {
                if raw.get().starts_with('[') {
                    coins.extend(list(raw)?);
                } else if let Ok(coin) = serde_json::from_str(raw.get()) {
                    coins.push(coin);
                }
            }
            Ok(coins)
        }
        _ => parse(data).map(|()| Vec::new()),
    }
}

fn list(raw: &RawValue) -> Result<Vec<Coin<'_>>, String> {
    let raws: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|error| describe(&error))?;
    Ok(raws
        .into_iter()
        .filter_map(|raw| serde_json::from_str(raw.get()).ok())
        .collect())
}

fn quote(raw: &RawValue, convert: &str) -> Option<WireQuote> {
    if raw.get().starts_with('[') {
        let quotes: Vec<WireQuote> = serde_json::from_str(raw.get()).ok()?;
        return quotes.into_iter().find(|quote| {
            quote
                .symbol
                .as_deref()
                .is_some_and(|symbol| symbol.eq_ignore_ascii_case(convert))
        });
    }
    let by_currency: HashMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    serde_json::from_str(by_currency.get(convert)?.get()).ok()
}

/// A coin of the map.
#[derive(Clone, Debug, Deserialize)]
pub struct MapCoin {
    /// Its id.
    pub id: CmcId,
    /// Ticker; not unique, empty if the map has none.
    #[serde(default, deserialize_with = "text_or_empty")]
    pub symbol: String,
    /// Its name in addresses of pages.
    #[serde(default, deserialize_with = "text_or_empty")]
    pub slug: String,
    /// Where its primary contract is; none for coins of their own chain.
    #[serde(default, deserialize_with = "lenient")]
    pub platform: Option<MapPlatform>,
}

/// Where a coin's primary contract is.
#[derive(Clone, Debug, Deserialize)]
pub struct MapPlatform {
    /// Display name, e.g. "BNB Smart Chain (BEP20)".
    #[serde(default, deserialize_with = "text_or_empty")]
    pub name: String,
    /// Slug, e.g. "bnb".
    #[serde(default, deserialize_with = "text_or_empty")]
    pub slug: String,
    /// Contract, in any case; may be no address at all.
    pub token_address: String,
}

/// A page of the map.
#[derive(Clone, Debug, Default)]
pub struct MapPage {
    /// Rows on the page, readable or not; a full page is not the last one.
    pub rows: usize,
    /// The coins among them.
    pub coins: Vec<MapCoin>,
}

/// Reads a page of the map; rows that are no coins are only counted.
///
/// # Errors
/// When the body is not a map's page.
pub fn read_map(body: &[u8]) -> Result<MapPage, String> {
    let raws: Vec<&RawValue> =
        serde_json::from_str(data(body)?.get()).map_err(|error| describe(&error))?;
    Ok(MapPage {
        rows: raws.len(),
        coins: raws
            .into_iter()
            .filter_map(|raw| serde_json::from_str(raw.get()).ok())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(body: &str) -> Vec<(QuoteId, String)> {
        let mut prices: Vec<_> = read_quotes(body.as_bytes(), "EUR")
            .unwrap()
            .into_iter()
            .map(|quote| match quote.price {
                Ok(price) => (quote.id, price.to_string()),
                Err(refusal) => (quote.id, format!("{refusal:?}")),
            })
            .collect();
        prices.sort();
        prices
    }

    #[test]
    fn reads_every_shape() {
        let expected = vec![
            (QuoteId::Number(1), "50000.5".to_owned()),
            (QuoteId::Number(1027), "0.00000006".to_owned()),
        ];
        for body in [
            r#"{"data":[{"id":1,"quote":[{"symbol":"EUR","price":50000.5}]},{"id":1027,"quote":[{"symbol":"USD","price":9},{"symbol":"EUR","price":6e-08}]}],"status":{"error_code":"0"}}"#,
            r#"{"data":[{"id":1,"quotes":[{"symbol":"EUR","price":50000.5}]},{"id":1027,"quotes":[{"symbol":"EUR","price":6e-08}]}]}"#,
            r#"{"data":{"1":{"id":1,"quote":{"EUR":{"price":50000.5}}},"1027":{"id":1027,"quote":{"EUR":{"price":6e-08}}}}}"#,
            r#"{"data":{"BTC":[{"id":1,"quote":{"EUR":{"price":50000.5}}}],"ETH":[{"id":"1027","quote":{"EUR":{"price":6e-08}}}]}}"#,
            r#"[{"id":1,"quote":[{"symbol":"EUR","price":50000.5}]},{"id":1027,"quote":[{"symbol":"EUR","price":6e-08}]}]"#,
        ] {
            assert_eq!(prices(body), expected, "{body}");
        }
    }

    #[test]
    fn tells_coins_without_a_price_from_unknown_ones() {
        let body = r#"{"data":[{"id":1,"quote":[{"symbol":"EUR","price":null}]},{"id":2,"quote":[{"symbol":"EUR","price":0}]},{"id":6,"quote":[{"symbol":"EUR","price":-1.5}]},{"id":3,"quote":null},{"id":4},null,{"id":5,"quote":[{"symbol":"USD","price":1}]}]}"#;
        let none = |id| (QuoteId::Number(id), "NotPositive".to_owned());
        assert_eq!(prices(body), vec![none(1), none(2), none(6)]);
    }

    #[test]
    fn refuses_what_is_no_answer() {
        for body in [
            "",
            "{}",
            "null",
            "<html>",
            r#"{"data":null}"#,
            r#"{"data":7}"#,
            r#"{"data":[{"#,
        ] {
            assert!(read_quotes(body.as_bytes(), "USD").is_err(), "{body}");
        }
    }

    #[test]
    fn reads_error_codes_of_both_types() {
        let read = |body: &[u8]| {
            let said = read_status(body);
            (said.error_code, said.credits)
        };
        assert_eq!(
            read(br#"{"status":{"error_code":1008,"credit_count":0}}"#),
            (Some(1008), 0)
        );
        assert_eq!(
            read(br#"{"status":{"error_code":"500","credit_count":3}}"#),
            (Some(500), 3)
        );
        assert_eq!(read(br#"{"data":[]}"#), (None, 0));
    }

    #[test]
    fn reads_the_map() {
        let body = r#"{"data":[{"id":1,"symbol":"BTC","platform":null},{"id":825,"symbol":"USDT","platform":{"id":1027,"name":"Ethereum","slug":"ethereum","token_address":"0xdAC1"}},{"id":7,"symbol":null},{"id":"x"}]}"#;
        let map = read_map(body.as_bytes()).unwrap();
        assert_eq!((map.rows, map.coins.len()), (4, 3));
        assert_eq!(map.coins[2].symbol, "");
        assert_eq!(
            map.coins[1].platform.as_ref().unwrap().token_address,
            "0xdAC1"
        );
    }
}
