//! `/v1/cryptocurrency/map`: every coin with its id and primary contract.

use serde_json::{Map, Value, json};

use super::coin::{Coin, Coins, Platform};
use super::status::Refusal;
use crate::fakes::query::Query;

const PARAMETERS: &[&str] = &["listing_status", "start", "limit", "sort", "symbol", "aux"];
const AUX: &[&str] = &[
    "platform",
    "first_historical_data",
    "last_historical_data",
    "is_active",
    "status",
];
const DEFAULT_AUX: &str = "platform,first_historical_data,last_historical_data,is_active";
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 5000;

/// The rows of one page.
pub fn rows(query: &Query, coins: &Coins) -> Result<Value, Refusal> {
    if let Some(unknown) = query.first_unknown(PARAMETERS) {
        return Err(Refusal::parameter(format!("\"{unknown}\" is not allowed")));
    }
    let aux: Vec<&str> = query.get("aux").unwrap_or(DEFAULT_AUX).split(',').collect();
    one_of("aux", &aux, AUX)?;
    let statuses: Vec<&str> = query
        .get("listing_status")
        .unwrap_or("active")
        .split(',')
        .collect();
    one_of(
        "listing_status",
        &statuses,
        &["active", "inactive", "untracked"],
    )?;
    let start = number(query, "start", 1, usize::MAX)?;
    let limit = number(query, "limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let by_rank = match query.get("sort") {
        None | Some("id") => false,
        Some("cmc_rank") => true,
        Some(other) => return Err(invalid("sort", other)),
    };
    let ranks = coins.ranks();
    let rank = |coin: &Coin| ranks.get(&coin.id).copied().unwrap_or(0);
    let mut chosen: Vec<&Coin> = match query.get("symbol") {
        // The other parameters then have no effect.
        Some(symbols) => {
            let symbols: Vec<String> = symbols.split(',').map(str::to_uppercase).collect();
            return Ok(coins
                .iter()
                .filter(|coin| symbols.contains(&coin.symbol.to_uppercase()))
                .map(|coin| row(coin, rank(coin), &aux))
                .collect());
        }
        None => coins
            .iter()
            .filter(|coin| statuses.contains(&status(coin)))
            .collect(),
    };
    if by_rank {
        chosen.sort_by_key(|coin| rank(coin));
    }
    Ok(chosen
        .into_iter()
        .skip(start - 1)
        .take(limit)
        .map(|coin| row(coin, rank(coin), &aux))
        .collect())
}

fn status(coin: &Coin) -> &'static str {
    if coin.is_active { "active" } else { "inactive" }
}

fn row(coin: &Coin, rank: usize, aux: &[&str]) -> Value {
    let mut row = Map::new();
    let mut put = |name: &str, value: Value| row.insert(name.to_owned(), value);
    put("id", coin.id.into());
    put("rank", rank.into());
    put("name", coin.name.as_str().into());
    put("symbol", coin.symbol.as_str().into());
    put("slug", coin.slug.as_str().into());
    for field in aux {
        let value = match *field {
            "is_active" => u8::from(coin.is_active).into(),
            "status" => status(coin).into(),
            "first_historical_data" => coin.date_added().into(),
            "last_historical_data" => coin.quoted_at().into(),
            _ => coin.platform.as_ref().map_or(json!(null), Platform::json),
        };
        put(field, value);
    }
    Value::Object(row)
}

fn one_of(name: &str, values: &[&str], known: &[&str]) -> Result<(), Refusal> {
    match values.iter().find(|value| !known.contains(value)) {
        Some(value) => Err(invalid(name, value)),
        None => Ok(()),
    }
}

fn number(query: &Query, name: &str, default: usize, max: usize) -> Result<usize, Refusal> {
    let Some(text) = query.get(name) else {
        return Ok(default);
    };
    let number: usize = text
        .parse()
        .map_err(|_| Refusal::parameter(format!("\"{name}\" must be a number")))?;
    if number < 1 {
        return Err(Refusal::parameter(format!(
            "\"{name}\" must be larger than or equal to 1"
        )));
    }
    if number > max {
        return Err(Refusal::parameter(format!(
            "\"{name}\" must be less than or equal to {max}"
        )));
    }
    Ok(number)
}

fn invalid(name: &str, value: &str) -> Refusal {
    Refusal::parameter(format!("Invalid value for \"{name}\": \"{value}\""))
}
