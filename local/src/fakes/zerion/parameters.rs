//! The query parameters of the positions endpoint.

use crate::fakes::catalog::chains;
use crate::fakes::currencies::Currency;
use crate::fakes::query::Query;

/// Which part of a wallet is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionFilter {
    OnlySimple,
    OnlyComplex,
    NoFilter,
}

/// Whether spam is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrashFilter {
    OnlyNonTrash,
    OnlyTrash,
    NoFilter,
}

/// The order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    HighestFirst,
    LowestFirst,
}

/// All parameters, checked.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub positions: PositionFilter,
    pub trash: TrashFilter,
    pub sort: Sort,
    pub currency: Currency,
    pub position_types: Option<Vec<String>>,
    pub chains: Option<Vec<String>>,
    pub fungibles: Option<Vec<String>>,
    pub dapps: Option<Vec<String>>,
}

const NAMES: &[&str] = &[
    "filter[positions]",
    "filter[position_types]",
    "filter[chain_ids]",
    "filter[fungible_ids]",
    "filter[dapp_ids]",
    "filter[trash]",
    "currency",
    "sort",
    "sync",
];
const POSITION_TYPES: &[&str] = &[
    "wallet",
    "deposit",
    "loan",
    "staked",
    "locked",
    "reward",
    "investment",
    "airdrop",
    "margin",
];
const TEST_CHAINS: &[&str] = &[
    "base-sepolia-test",
    "ethereum-sepolia",
    "monad-test-v2",
    "unichain-sepolia",
];

impl Parameters {
    /// Reads a query; the error says which parameter is wrong.
    pub fn read(query: &Query) -> Result<Self, String> {
        if let Some(unknown) = query.first_unknown(NAMES) {
            return Err(format!("parameter {{{unknown}}} is not supported"));
        }
        let positions = match query.get("filter[positions]") {
            None | Some("only_simple") => PositionFilter::OnlySimple,
            Some("only_complex") => PositionFilter::OnlyComplex,
            Some("no_filter") => PositionFilter::NoFilter,
            Some(other) => return Err(wrong("filter[positions]", other)),
        };
        let trash = match query.get("filter[trash]") {
            None | Some("only_non_trash") => TrashFilter::OnlyNonTrash,
            Some("only_trash") => TrashFilter::OnlyTrash,
            Some("no_filter") => TrashFilter::NoFilter,
            Some(other) => return Err(wrong("filter[trash]", other)),
        };
        let sort = match query.get("sort") {
            None | Some("value") => Sort::HighestFirst,
            Some("-value") => Sort::LowestFirst,
            Some(other) => return Err(wrong("sort", other)),
        };
        if let Some(other) = query.get("sync")
            && !matches!(other, "true" | "false")
        {
            return Err(wrong("sync", other));
        }
        let code = query.get("currency").unwrap_or("usd");
        let currency = Currency::by_code(code)
            .ok_or_else(|| format!("currency {{{code}}} is not supported"))?;
        let position_types = list(query, "filter[position_types]", 8, 32)?;
        for kind in position_types.iter().flatten() {
            if !POSITION_TYPES.contains(&kind.as_str()) {
                return Err(wrong("filter[position_types]", kind));
            }
        }
        let chains = list(query, "filter[chain_ids]", 25, 64)?;
        for chain in chains.iter().flatten() {
            let known =
                chains::by_zerion_id(chain).is_some() || TEST_CHAINS.contains(&chain.as_str());
            if !known {
                return Err(format!("chain {{{chain}}} is not supported"));
            }
        }
        Ok(Self {
            positions,
            trash,
            sort,
            currency,
            position_types,
            chains,
            fungibles: list(query, "filter[fungible_ids]", 25, 44)?,
            dapps: list(query, "filter[dapp_ids]", 25, 32)?,
        })
    }
}

/// The values of a list, none of them empty.
fn list(
    query: &Query,
    name: &str,
    most: usize,
    longest: usize,
) -> Result<Option<Vec<String>>, String> {
    let Some(text) = query.get(name) else {
        return Ok(None);
    };
    let values: Vec<String> = text.split(',').map(str::to_owned).collect();
    if values.len() > most {
        return Err(format!("parameter {{{name}}} has more than {most} values"));
    }
    match values
        .iter()
        .find(|value| value.is_empty() || value.len() > longest)
    {
        Some(value) => Err(wrong(name, value)),
        None => Ok(Some(values)),
    }
}

fn wrong(name: &str, value: &str) -> String {
    format!("value {{{value}}} of parameter {{{name}}} is not supported")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Parameters, String> {
        let uri = format!("/x?{query}").parse().expect("a valid address");
        Parameters::read(&Query::of(&uri))
    }

    #[test]
    fn the_defaults_are_those_of_the_service() {
        let parameters = read("").expect("nothing wrong");
        assert_eq!(parameters.positions, PositionFilter::OnlySimple);
        assert_eq!(parameters.trash, TrashFilter::OnlyNonTrash);
        assert_eq!(parameters.sort, Sort::HighestFirst);
        assert_eq!(parameters.currency.code, "usd");
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        for (query, part) in [
            ("filter[positions]=all", "filter[positions]"),
            ("filter[trash]=yes", "filter[trash]"),
            (
                "filter[chain_ids]=base,nowhere",
                "chain {nowhere} is not supported",
            ),
            ("filter[chain_ids]=", "filter[chain_ids]"),
            ("filter[position_types]=wallet,moon", "moon"),
            (
                "filter[dapp_ids]=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "filter[dapp_ids]",
            ),
            ("currency=USD", "currency"),
            ("currency=sek", "currency {sek}"),
            ("sort=name", "sort"),
            ("page[size]=10", "page[size]"),
            ("sync=maybe", "sync"),
        ] {
            let problem = read(query).expect_err(query);
            assert!(problem.contains(part), "{problem}");
        }
        let many = vec!["base"; 26].join(",");
        assert!(read(&format!("filter[chain_ids]={many}")).is_err());
        assert!(read("filter[chain_ids]=base,solana&sync=true&sort=-value").is_ok());
    }
}
