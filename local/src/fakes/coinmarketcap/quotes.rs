//! The three endpoints that give prices.

use serde_json::{Map, Value, json};

use super::coin::{Coin, Coins, Platform};
use super::status::{ErrorCodes, Refusal};
use crate::fakes::currencies::Currency;
use crate::fakes::query::Query;

/// Which endpoint writes the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A map of coins by id, each with a map of quotes by currency.
    V2,
    /// A list of coins, each with a list of quotes.
    V3,
    /// A list of coins with little more than prices.
    Simple,
}

/// The parameters of the quotes endpoints.
const PARAMETERS: &[&str] = &["id", "convert", "convert_id", "aux", "skip_invalid"];
/// Those that the light endpoint has on top.
const SIMPLE_PARAMETERS: &[&str] = &[
    "include_market_cap",
    "include_24h_volume",
    "include_24h_change",
    "include_last_updated",
    "include_all",
    "precision",
];
/// The fields of a coin that `aux` chooses from.
const AUX: &[&str] = &[
    "num_market_pairs",
    "cmc_rank",
    "date_added",
    "tags",
    "platform",
    "max_supply",
    "circulating_supply",
    "total_supply",
    "is_active",
    "is_fiat",
];
/// Further values of `aux` that name fields of the quotes.
const QUOTE_AUX: &[&str] = &[
    "market_cap_by_total_supply",
    "volume_24h_reported",
    "volume_7d",
    "volume_7d_reported",
    "volume_30d",
    "volume_30d_reported",
];
const MAX_CONVERT: usize = 120;

impl Form {
    /// How the endpoint writes `error_code`.
    pub fn error_codes(self) -> ErrorCodes {
        match self {
            Self::V2 => ErrorCodes::Numbers,
            Self::V3 | Self::Simple => ErrorCodes::Texts,
        }
    }

    /// How many coins one credit pays for.
    fn coins_per_credit(self) -> usize {
        match self {
            Self::V2 | Self::V3 => 100,
            Self::Simple => 250,
        }
    }
}

/// The quotes asked for, and the credits they cost.
pub fn latest(query: &Query, form: Form, coins: &Coins) -> Result<(Value, u64), Refusal> {
    check_names(query, form)?;
    let skip_invalid = boolean(query, "skip_invalid")?.unwrap_or(true);
    let aux = aux(query)?;
    let currencies = currencies(query)?;
    let mut found: Vec<&Coin> = Vec::new();
    for id in ids(query)? {
        match coins.get(id) {
            Some(coin) => found.push(coin),
            None if skip_invalid => {}
            None => return Err(invalid("id", &id.to_string())),
        }
    }
    // The service does not keep the order of the request either.
    found.sort_by_key(|coin| coin.id);
    found.dedup_by_key(|coin| coin.id);
    let ranks = coins.ranks();
    let write = |coin: &&Coin| match form {
        Form::Simple => simple(coin, coins, &currencies, query),
        Form::V2 | Form::V3 => {
            let mut row = full(coin, coins, &currencies, form);
            row["cmc_rank"] = ranks.get(&coin.id).copied().into();
            keep(&mut row, aux.as_deref());
            row
        }
    };
    let data = match form {
        Form::V2 => found
            .iter()
            .map(|coin| (coin.id.to_string(), write(coin)))
            .collect(),
        Form::V3 | Form::Simple => found.iter().map(write).collect(),
    };
    let credits = found.len().div_ceil(form.coins_per_credit()) + currencies.len() - 1;
    Ok((data, credits as u64))
}

fn check_names(query: &Query, form: Form) -> Result<(), Refusal> {
    let known = |name: &str| {
        PARAMETERS.contains(&name) || (form == Form::Simple && SIMPLE_PARAMETERS.contains(&name))
    };
    for (name, _) in query.iter() {
        if matches!(name, "slug" | "symbol") {
            return Err(Refusal::parameter(format!(
                "\"{name}\" is not served by this fake, use \"id\""
            )));
        }
        if !known(name) {
            return Err(Refusal::parameter(format!("\"{name}\" is not allowed")));
        }
    }
    Ok(())
}

fn ids(query: &Query) -> Result<Vec<u32>, Refusal> {
    let text = query.get("id").unwrap_or_default();
    if text.is_empty() {
        return Err(Refusal::parameter(
            "\"value\" must contain at least one of [id, symbol, slug]",
        ));
    }
    text.split(',')
        .map(|id| match id.trim().parse() {
            Ok(0) | Err(_) => Err(Refusal::parameter("Invalid value for \"id\"")),
            Ok(id) => Ok(id),
        })
        .collect()
}

fn currencies(query: &Query) -> Result<Vec<Currency>, Refusal> {
    let mut chosen: Vec<Currency> = Vec::new();
    let mut choose = |name: &str, text: &str, currency: Option<Currency>| match currency {
        Some(currency) => {
            if !chosen.iter().any(|other| other.code == currency.code) {
                chosen.push(currency);
            }
            Ok(())
        }
        None => Err(invalid(name, text)),
    };
    match (query.get("convert"), query.get("convert_id")) {
        (Some(_), Some(_)) => {
            return Err(Refusal::parameter(
                "\"convert\" conflict with forbidden peer \"convert_id\"",
            ));
        }
        (None, None) => choose("convert", "USD", Currency::by_code("usd"))?,
        (Some(codes), None) => {
            for code in codes.split(',') {
                choose("convert", code, Currency::by_code(&code.to_lowercase()))?;
            }
        }
        (None, Some(ids)) => {
            for id in ids.split(',') {
                let currency = id.parse().ok().and_then(Currency::by_cmc_id);
                choose("convert_id", id, currency)?;
            }
        }
    }
    if chosen.len() > MAX_CONVERT {
        return Err(Refusal::parameter("\"convert\" has too many values"));
    }
    Ok(chosen)
}

fn aux(query: &Query) -> Result<Option<Vec<&str>>, Refusal> {
    let Some(text) = query.get("aux") else {
        return Ok(None);
    };
    let chosen: Vec<&str> = text.split(',').collect();
    match chosen
        .iter()
        .find(|name| !AUX.contains(name) && !QUOTE_AUX.contains(name))
    {
        Some(unknown) => Err(invalid("aux", unknown)),
        None => Ok(Some(chosen)),
    }
}

fn boolean(query: &Query, name: &str) -> Result<Option<bool>, Refusal> {
    match query.get(name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Refusal::parameter(format!("\"{name}\" must be a boolean"))),
    }
}

/// Takes those fields out that `aux` could have chosen and did not.
fn keep(row: &mut Value, aux: Option<&[&str]>) {
    if let (Some(fields), Some(aux)) = (row.as_object_mut(), aux) {
        fields.retain(|name, _| !AUX.contains(&name.as_str()) || aux.contains(&name.as_str()));
    }
}

fn full(coin: &Coin, coins: &Coins, currencies: &[Currency], form: Form) -> Value {
    let tags: Vec<Value> = coin
        .tags
        .iter()
        .map(|(slug, name, category)| json!({"slug": slug, "name": name, "category": category}))
        .collect();
    let mut row = json!({
        "id": coin.id,
        "name": coin.name,
        "symbol": coin.symbol,
        "slug": coin.slug,
        "num_market_pairs": 40 + coin.id % 900,
        "date_added": coin.date_added(),
        "tags": tags,
        "max_supply": coin.max_supply,
        "circulating_supply": coin.circulating_supply,
        "total_supply": coin.circulating_supply,
        "is_active": u8::from(coin.is_active),
        "infinite_supply": coin.max_supply.is_none(),
        "platform": coin.platform.as_ref().map(Platform::json),
        "is_fiat": 0,
        "self_reported_circulating_supply": null,
        "self_reported_market_cap": null,
        "tvl_ratio": null,
        "last_updated": coin.quoted_at(),
    });
    let quotes = currencies
        .iter()
        .map(|currency| (currency, quote(coin, coins, currency)));
    row["quote"] = match form {
        Form::V2 => quotes
            .map(|(currency, quote)| (currency.code.to_uppercase(), quote))
            .collect::<Map<_, _>>()
            .into(),
        Form::V3 | Form::Simple => quotes
            .map(|(currency, mut quote)| {
                quote["id"] = currency.cmc_id.into();
                quote["symbol"] = currency.code.to_uppercase().into();
                quote["minted_market_cap"] = quote["market_cap"].clone();
                quote
            })
            .collect(),
    };
    if form == Form::V3 {
        row["is_market_cap_included_in_calc"] = 1.into();
        row["unlocked_circulating_supply"] = Value::Null;
        row["unlocked_market_cap"] = Value::Null;
    }
    row
}

/// The quote of a coin in one currency.
#[expect(clippy::float_arithmetic, reason = "the real service sends doubles")]
fn quote(coin: &Coin, coins: &Coins, currency: &Currency) -> Value {
    let price = coins.price(coin).map(|usd| usd * currency.per_usd);
    let market_cap = price.map(|price| price * coin.circulating_supply);
    let fully_diluted = coin.max_supply.unwrap_or(coin.circulating_supply);
    let day = coin.percent_change_24h;
    // The other spans only have to be plausible.
    let times = |factor: f64| day.map(|day| day * factor);
    json!({
        "price": price,
        "volume_24h": market_cap.map(|cap| cap * 0.043),
        "volume_change_24h": times(-3.1),
        "percent_change_1h": times(0.07),
        "percent_change_24h": day,
        "percent_change_7d": times(1.9),
        "percent_change_30d": times(-2.4),
        "percent_change_60d": times(4.2),
        "percent_change_90d": times(6.8),
        "market_cap": market_cap,
        "market_cap_dominance": market_cap.map(|cap| cap / currency.per_usd / 3.1e10),
        "fully_diluted_market_cap": price.map(|price| price * fully_diluted),
        "tvl": null,
        "last_updated": coin.quoted_at(),
    })
}

fn simple(coin: &Coin, coins: &Coins, currencies: &[Currency], query: &Query) -> Value {
    let wants = |name: &str| {
        query.get("include_all") == Some("true")
            || query.get(&format!("include_{name}")) == Some("true")
    };
    let quotes: Vec<Value> = currencies
        .iter()
        .map(|currency| {
            let quote = quote(coin, coins, currency);
            let mut short = json!({
                "symbol": currency.code.to_uppercase(),
                "price": quote["price"],
            });
            for (option, field) in [
                ("market_cap", "market_cap"),
                ("24h_volume", "volume_24h"),
                ("24h_change", "percent_change_24h"),
                ("last_updated", "last_updated"),
            ] {
                if wants(option) {
                    short[field] = quote[field].clone();
                }
            }
            short
        })
        .collect();
    json!({
        "id": coin.id,
        "name": coin.name,
        "symbol": coin.symbol,
        "slug": coin.slug,
        "quotes": quotes,
    })
}

fn invalid(name: &str, value: &str) -> Refusal {
    Refusal::parameter(format!("Invalid value for \"{name}\": \"{value}\""))
}
