//! CoinMarketCap's quotes and map.

use portfolio::{
    domain::{
        chain::{Chain, is_native},
        price::{CmcId, PriceKey},
        price_book::QuoteId,
        provider::Provider,
    },
    upstream::coinmarketcap::{read_map, read_quotes},
};

use crate::quotes::{self, Told};

/// Any bytes as an answer of one of the endpoints for prices, which differ in
/// shape only: refused, or prices that can be stored.
pub fn quotes(body: &[u8]) {
    for currency in ["USD", "EUR"] {
        let Ok(quotes) = read_quotes(body, currency) else {
            continue;
        };
        quotes::check(quotes.into_iter().map(|quote| {
            let QuoteId::Number(id) = quote.id else {
                panic!("{} is no number", quote.id);
            };
            Told {
                key: PriceKey::Cmc(CmcId(id)),
                price: quote.price,
                change: quote.change_24h_percent,
                as_of: quote.as_of,
                source: Provider::CoinMarketCap,
            }
        }));
    }
}

/// Any bytes as a page of the map: refused, or coins that can be placed.
pub fn map(body: &[u8]) {
    let Ok(page) = read_map(body) else { return };
    assert!(page.coins.len() <= page.rows, "coins are rows");
    for coin in &page.coins {
        let Some(platform) = &coin.platform else {
            continue;
        };
        if let Some(chain) = Chain::by_platform(&platform.slug, &platform.name) {
            is_native(chain.id, platform.token_address.trim());
        }
        for native in Chain::all().iter().flat_map(Chain::natives) {
            native.is(coin.id, &coin.slug, &coin.symbol);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn seeds_of_quotes_are_read() {
        let mut prices = 0;
        for (name, body) in seeds::of("coinmarketcap_quotes") {
            quotes(&body);
            let read = read_quotes(&body, "USD");
            assert_eq!(read.is_ok(), !name.starts_with("bad-"), "{name}");
            prices += read.map_or(0, |quotes| quotes.len());
        }
        assert!(prices > 10);
    }

    #[test]
    fn seeds_of_the_map_are_read() {
        let mut coins = 0;
        for (name, body) in seeds::of("coinmarketcap_map") {
            map(&body);
            let read = read_map(&body);
            assert_eq!(read.is_ok(), !name.starts_with("bad-"), "{name}");
            coins += read.map_or(0, |page| page.coins.len());
        }
        assert!(coins > 5);
    }
}
