//! DeFiLlama's prices.

use portfolio::{
    domain::{
        price::PriceKey,
        price_book::{PAGES, QuoteKey},
        provider::Provider,
    },
    upstream::defillama::read_prices,
};

use crate::quotes::{self, Told};

/// Any bytes as an answer: refused, or prices that can be stored.
pub fn prices(body: &[u8]) {
    let Ok(quotes) = read_prices(body) else {
        return;
    };
    quotes::check(quotes.into_iter().map(|quote| {
        let key = QuoteKey {
            provider: Provider::DefiLlama,
            id: quote.id,
        };
        assert!(key.page().number < PAGES);
        Told {
            key: PriceKey::of_asset(&key.to_string()),
            price: quote.price,
            change: None,
            as_of: quote.as_of,
            source: Provider::DefiLlama,
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn seeds_are_read() {
        let mut tokens = 0;
        for (name, body) in seeds::of("defillama_prices") {
            prices(&body);
            let read = read_prices(&body);
            assert_eq!(read.is_ok(), !name.starts_with("bad-"), "{name}");
            tokens += read.map_or(0, |quotes| quotes.len());
        }
        assert!(tokens > 5);
    }
}
