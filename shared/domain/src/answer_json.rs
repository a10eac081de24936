//! Writes an answer as JSON: what serde makes of its types, in a fraction of the
//! time, which the tests compare.

use crate::{
    json::JsonWriter,
    response::{
        Answer, DefiSection, GroupBody, PositionBody, PriceBody, ProtocolBody, TokenBody,
        WalletSection,
    },
};

/// About what a position takes, and everything else.
const POSITION_BYTES: usize = 900;
const OTHER_BYTES: usize = 4096;

impl Answer<'_> {
    /// Writes the answer behind `out`, as JSON.
    ///
    /// # Errors
    /// Never in practice: its types always serialise.
    pub fn write_json(&self, out: &mut String) -> serde_json::Result<()> {
        out.reserve(OTHER_BYTES + POSITION_BYTES * self.positions());
        let mut json = JsonWriter::new(out);
        json.raw("{\"address\":");
        json.value(self.address)?;
        json.raw(",\"scope\":");
        json.value(&self.scope)?;
        json.raw(",\"currency\":");
        json.value(&self.currency)?;
        json.raw(",\"totals\":");
        json.value(&self.totals)?;
        if let Some(wallet) = &self.wallet {
            json.raw(",\"wallet\":");
            json.wallet(wallet);
        }
        if let Some(defi) = &self.defi {
            json.raw(",\"defi\":");
            json.defi(defi);
        }
        json.raw(",\"structure\":");
        json.value(&self.structure)?;
        json.raw(",\"prices\":");
        json.value(&self.prices)?;
        json.raw(",\"coverage\":");
        json.value(&self.coverage)?;
        json.raw(",\"page\":");
        json.value(&self.page)?;
        json.raw("}");
        Ok(())
    }

    /// Returns the answer as JSON.
    ///
    /// # Errors
    /// As of [`Answer::write_json`].
    pub fn to_json(&self) -> serde_json::Result<String> {
        let mut out = String::new();
        self.write_json(&mut out)?;
        Ok(out)
    }

    fn positions(&self) -> usize {
        let wallet = self.wallet.iter().map(|it| it.positions.len());
        let groups = self.defi.iter().flat_map(|it| &it.protocols);
        let groups = groups.flat_map(|it| &it.groups);
        let defi = groups.map(|it| it.positions.len());
        wallet.chain(defi).sum()
    }
}

impl JsonWriter<'_> {
    /// Writes what `each` writes of all items, with commas between.
    fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.raw("[");
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.raw(",");
            }
            each(self, item);
        }
        self.raw("]");
    }

    fn wallet(&mut self, wallet: &WalletSection<'_>) {
        self.raw("{\"value\":");
        self.amount(&wallet.value);
        self.raw(",\"positions\":");
        self.list(&wallet.positions, Self::position);
        self.raw("}");
    }

    fn defi(&mut self, defi: &DefiSection<'_>) {
        self.raw("{\"value\":");
        self.amount(&defi.value);
        self.raw(",\"protocols\":");
        self.list(&defi.protocols, Self::protocol);
        self.raw("}");
    }

    fn protocol(&mut self, protocol: &ProtocolBody<'_>) {
        self.raw("{\"id\":");
        self.text(protocol.id);
        self.raw(",\"name\":");
        self.text(protocol.name);
        self.raw(",\"url\":");
        self.optional_text(protocol.url);
        self.raw(",\"icon\":");
        self.optional_text(protocol.icon);
        self.raw(",\"value\":");
        self.amount(&protocol.value);
        self.raw(",\"groups\":");
        self.list(&protocol.groups, Self::group);
        self.raw("}");
    }

    fn group(&mut self, group: &GroupBody<'_>) {
        self.raw("{\"id\":");
        self.text(group.id);
        self.raw(",\"name\":");
        self.text(group.name);
        self.raw(",\"value\":");
        self.amount(&group.value);
        self.raw(",\"positions\":");
        self.list(&group.positions, Self::position);
        self.raw("}");
    }

    fn position(&mut self, position: &PositionBody<'_>) {
        self.raw("{\"id\":");
        self.position_id(&position.id);
        self.raw(",\"type\":");
        self.text(position.r#type);
        self.raw(",\"kind\":\"");
        self.raw(position.kind.as_str());
        self.raw("\",\"chain\":");
        self.text(position.chain);
        self.raw(",\"name\":");
        self.text(position.name);
        self.raw(",\"token\":");
        self.token(&position.token);
        match position.quantity {
            Some(quantity) => {
                self.raw(",\"quantity\":");
                self.quantity(quantity);
                self.raw(",\"quantity_raw\":");
                self.base_units(quantity);
            }
            None => self.raw(",\"quantity\":null,\"quantity_raw\":null"),
        }
        match position.value {
            Some(value) => {
                self.raw(",\"value\":");
                self.amount(value);
            }
            None => self.raw(",\"value\":null"),
        }
        match &position.price {
            Some(price) => {
                self.raw(",\"price\":");
                self.price(price);
            }
            None => self.raw(",\"price\":null"),
        }
        match position.unpriced_reason {
            Some(reason) => {
                self.raw(",\"unpriced_reason\":\"");
                self.raw(reason.as_str());
                self.raw("\",\"displayable\":");
            }
            None => self.raw(",\"unpriced_reason\":null,\"displayable\":"),
        }
        self.flag(position.displayable);
        self.raw(",\"trash\":");
        self.flag(position.trash);
        self.raw("}");
    }

    fn token(&mut self, token: &TokenBody<'_>) {
        self.raw("{\"id\":");
        self.identifier(token.id);
        self.raw(",\"symbol\":");
        self.text(token.symbol);
        self.raw(",\"name\":");
        self.text(token.name);
        self.raw(",\"icon\":");
        self.icon(token.icon);
        self.raw(",\"address\":");
        self.identifier(token.address);
        self.raw(",\"decimals\":");
        match token.decimals {
            Some(decimals) => self.number(decimals),
            None => self.raw("null"),
        }
        self.raw(",\"verified\":");
        self.flag(token.verified);
        self.raw("}");
    }

    fn price(&mut self, price: &PriceBody) {
        self.raw("{\"amount\":");
        self.decimal(price.amount);
        self.raw(",\"source\":\"");
        self.raw(price.source.as_str());
        self.raw("\",\"as_of\":");
        self.moment(price.as_of);
        self.raw(",\"change_24h_percent\":");
        match price.change_24h_percent {
            Some(change) => self.decimal(change),
            None => self.raw("null"),
        }
        self.raw("}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{
        decimal::Decimal,
        portfolio_tests::{query, with_portfolio},
        provider_position::{Implementation, ProviderPosition, ProviderProtocol},
        quantity::Quantity,
        query::Query,
    };

    /// Texts of all kinds that JSON writes differently.
    fn any_text() -> impl Strategy<Value = String> {
        "[a-z ]{0,9}|[\"\\\\\n\x00-\x1f]{1,3}|\\PC{0,9}"
    }

    fn any_address() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("0x[0-9a-f]{40}|0x[0-9A-F]{40}|[1-9A-HJ-NP-Za-km-z]{44}|\\PC{0,5}")
    }

    prop_compose! {
        fn any_token()(
            texts in (any_text(), any_text(), proptest::option::of(any_text())),
            fungible in proptest::option::of("[a-z]{1,3}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
            icon in proptest::option::of("https://cdn.zerion.io/(0x[0-9a-f]{40}|[a-f0-9]{4}|\").png|\\PC{0,9}"),
            address in any_address(),
            decimals in proptest::option::of(0_u16..40),
            verified in any::<bool>(),
        ) -> ProviderPosition {
            let (symbol, token_name, url) = texts;
            ProviderPosition {
                chain: "ethereum".to_owned(),
                fungible,
                symbol,
                token_name,
                icon,
                verified,
                decimals,
                implementations: vec![Implementation { chain: "ethereum".to_owned(), address, decimals }],
                protocol: Some(ProviderProtocol { url, ..ProviderProtocol::default() }),
                ..ProviderPosition::default()
            }
        }
    }

    prop_compose! {
        fn any_row()(
            token in any_token(),
            id in any_text(),
            name in any_text(),
            kind in prop_oneof![Just("wallet"), Just("deposit"), Just("loan"), Just("a \"new\" one")],
            int in proptest::option::of("-?[0-9]{1,50}"),
            numeric in proptest::option::of("[0-9]{1,5}(\\.[0-9]{1,20})?"),
            price in proptest::option::of((any::<i64>(), -30_i16..30)),
            change in proptest::option::of((any::<i64>(), -30_i16..3)),
            flags in (any::<bool>(), 0_u8..4),
        ) -> ProviderPosition {
            let packed = format!("base-ethereum-{}-{kind}", name.to_lowercase());
            ProviderPosition {
                id: if id.is_empty() { packed } else { id },
                kind: Some(kind.to_owned()),
                quantity: Quantity::parse(int.as_deref(), token.decimals, numeric.as_deref())
                    .map(Quantity::into_owned),
                price: price.map(|(coefficient, exponent)| Decimal::new(coefficient, exponent)),
                change_24h_percent: change.map(|(coefficient, exponent)| Decimal::new(coefficient, exponent)),
                displayable: flags.0,
                trash: flags.1 == 0,
                protocol: token.protocol.map(|protocol| ProviderProtocol {
                    id: format!("protocol {}", name.len()),
                    name: name.clone(),
                    icon: protocol.url.clone(),
                    ..protocol
                }),
                name,
                ..token
            }
        }
    }

    proptest! {
        #[test]
        fn answers_are_written_as_serde_does(
            rows in proptest::collection::vec(any_row(), 0..12),
            hidden in any::<bool>(),
            limit in 1_u32..15,
        ) {
            with_portfolio(rows, |portfolio| {
                let query = Query { hidden, limit, ..query() };
                let valuation = portfolio.value(&query).unwrap();
                let answer = valuation.answer(limit);
                let json = answer.to_json().unwrap();
                assert_eq!(json, serde_json::to_string(&answer).unwrap());
            });
        }
    }
}
