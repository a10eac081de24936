//! What a request selects from a wallet's portfolio.

use crate::{
    address::Address,
    amount::Amount,
    currency::Currency,
    cursor::{Cursor, CursorError},
    scope::Scope,
};

/// Positions per page unless asked otherwise.
pub const DEFAULT_LIMIT: u32 = 1000;
/// Most positions per page.
pub const MAX_LIMIT: u32 = 5000;
/// Most chains in one filter.
pub const MAX_CHAINS: usize = 100;
/// Longest id of a chain, in characters.
pub const MAX_CHAIN_LENGTH: usize = 64;
/// What may be asked for.
pub const PARAMETERS: [&str; 6] = [
    "currency",
    "chains",
    "min_value",
    "hidden",
    "limit",
    "cursor",
];

/// A validated request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Whose portfolio.
    pub address: Address,
    /// Which part of it.
    pub scope: Scope,
    /// In which currency.
    pub currency: Currency,
    /// Only these chains (sorted, unique); none means all.
    pub chains: Option<Vec<String>>,
    /// Positions under this value, and those without one, are not listed.
    pub min_value: Option<Amount>,
    /// Whether positions that the provider hides are listed.
    pub hidden: bool,
    /// Positions per page, 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// Where the page starts.
    pub cursor: Option<Cursor>,
}

/// A parameter that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter '{name}' {reason}")]
pub struct InvalidParameter {
    /// The parameter's name as the client wrote it.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl InvalidParameter {
    /// Names a parameter and what is wrong with it.
    pub fn new(name: &str, reason: impl Into<String>) -> Self {
        Self {
            name: printable(name),
            reason: reason.into(),
        }
    }
}

/// At most 60 characters of what a client sent, without control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .take(60)
        .collect()
}

impl Query {
    /// Everything of a wallet in the default currency.
    pub fn all(address: Address, scope: Scope) -> Self {
        Self {
            address,
            scope,
            currency: Currency::default(),
            chains: None,
            min_value: None,
            hidden: false,
            limit: DEFAULT_LIMIT,
            cursor: None,
        }
    }

    /// Reads parameters as `(name, value)`, percent-decoded. Each may be given
    /// once.
    pub fn parse<'p>(
        address: Address,
        scope: Scope,
        parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
    ) -> Result<Self, InvalidParameter> {
        let mut query = Self::all(address, scope);
        let mut cursor = None;
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in parameters {
            if seen.contains(&name) {
                return Err(InvalidParameter::new(name, "is given more than once"));
            }
            seen.push(name);
            let invalid = |reason: String| InvalidParameter::new(name, reason);
            match name {
                "currency" => {
                    query.currency = Currency::parse(value).ok_or_else(|| {
                        let known: Vec<_> = Currency::all().map(Currency::as_str).collect();
                        invalid(format!("is not one of {}", known.join(", ")))
                    })?;
                }
                "chains" => query.chains = Some(parse_chains(value).map_err(invalid)?),
                "min_value" => {
                    let amount = Amount::parse(value).ok_or_else(|| {
                        invalid("is not a decimal number of at least 0, such as 0.01".to_owned())
                    })?;
                    query.min_value = Some(amount);
                }
                "hidden" => {
                    query.hidden = match value {
                        "true" => true,
                        "false" => false,
                        _ => return Err(invalid("is neither true nor false".to_owned())),
                    };
                }
                "limit" => {
                    query.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                        .ok_or_else(|| invalid(format!("is not a number from 1 to {MAX_LIMIT}")))?;
                }
                "cursor" => cursor = Some(value),
                _ => {
                    return Err(invalid(format!(
                        "is not known; there are {}",
                        PARAMETERS.join(", ")
                    )));
                }
            }
        }
        if let Some(text) = cursor {
            let parsed = Cursor::parse(text, &query.selection())
                .map_err(|error: CursorError| InvalidParameter::new("cursor", error.to_string()))?;
            query.cursor = Some(parsed);
        }
        Ok(query)
    }

    /// Whether positions on `chain` are selected.
    pub fn selects(&self, chain: &str) -> bool {
        self.chains.as_ref().is_none_or(|chains| {
            chains
                .binary_search_by(|known| known.as_str().cmp(chain))
                .is_ok()
        })
    }

    /// Whether a position of this value is listed.
    pub fn lists(&self, value: Option<&Amount>) -> bool {
        match (&self.min_value, value) {
            (Some(least), Some(value)) => value >= least,
            (Some(least), None) => least.is_zero(),
            (None, _) => true,
        }
    }

    /// A text that is the same for requests that select and order alike; the
    /// page does not count.
    pub fn selection(&self) -> String {
        format!(
            "{} {} {} {} {} {}",
            self.address,
            self.scope,
            self.currency,
            self.chains
                .as_ref()
                .map_or("*".to_owned(), |chains| chains.join(",")),
            self.min_value
                .as_ref()
                .map_or("-".to_owned(), Amount::to_string),
            self.hidden,
        )
    }
}

fn parse_chains(text: &str) -> Result<Vec<String>, String> {
    let mut chains: Vec<String> = text.split(',').map(|id| id.trim().to_owned()).collect();
    for id in &chains {
        let plausible = (1..=MAX_CHAIN_LENGTH).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !plausible {
            return Err(format!(
                "holds '{}', which is no chain id; ids are separated by commas, such as ethereum,base",
                printable(id)
            ));
        }
    }
    chains.sort();
    chains.dedup();
    if chains.len() > MAX_CHAINS {
        return Err(format!("has more than {MAX_CHAINS} chains"));
    }
    Ok(chains)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &[(&str, &str)]) -> Result<Query, InvalidParameter> {
        let address = Address::parse(&format!("0x{}", "ab".repeat(20))).unwrap();
        Query::parse(address, Scope::Wallet, parameters.iter().copied())
    }

    #[test]
    fn reads_every_parameter() {
        let query = parse(&[
            ("currency", "EUR"),
            ("chains", "base,ethereum,base"),
            ("min_value", "0.5"),
            ("hidden", "true"),
            ("limit", "5000"),
        ])
        .unwrap();
        assert_eq!(query.currency.as_str(), "eur");
        assert_eq!(
            query.chains.as_deref(),
            Some(&["base".to_owned(), "ethereum".to_owned()][..])
        );
        assert!(query.hidden && query.limit == 5000);
        assert!(query.selects("base") && !query.selects("polygon"));
        assert!(!query.lists(Some(&Amount::parse("0.49").unwrap())) && !query.lists(None));
    }

    #[test]
    fn a_cursor_and_words_are_read_as_they_are_written() {
        assert!(!parse(&[("hidden", "false")]).unwrap().hidden);
        let cursor = Cursor {
            value: None,
            id: "some".to_owned(),
            ordinal: 2,
        };
        let text = cursor.to_text(&parse(&[]).unwrap().selection());
        assert_eq!(parse(&[("cursor", &text)]).unwrap().cursor, Some(cursor));
    }

    #[test]
    fn chains_are_bounded() {
        let list = |count: usize| (0..count).map(|id| format!("c{id}")).collect::<Vec<_>>();
        let read = |count| parse(&[("chains", &list(count).join(","))]).is_ok();
        assert!(read(MAX_CHAINS) && !read(MAX_CHAINS + 1) && !read(MAX_CHAINS + 9));
        let longest = "x".repeat(MAX_CHAIN_LENGTH);
        assert!(parse(&[("chains", &longest)]).is_ok());
        assert!(parse(&[("chains", &format!("{longest}x"))]).is_err());
        assert!(parse(&[("chains", "zksync-era,base2")]).is_ok());
        for wrong in ["a_b", "a.b", "A"] {
            assert!(parse(&[("chains", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_what_it_refuses() {
        for (name, value) in [
            ("currency", "xyz"),
            ("currency", ""),
            ("chains", ""),
            ("chains", "Ethereum"),
            ("chains", "a,,b"),
            ("min_value", "-1"),
            ("min_value", "1e3"),
            ("hidden", "1"),
            ("limit", "0"),
            ("limit", "5001"),
            ("limit", "ten"),
            ("limit", "-3"),
            ("cursor", "zzz"),
            ("cursor", ""),
            ("page", "2"),
        ] {
            let refused = parse(&[(name, value)]).unwrap_err();
            assert_eq!(refused.name, name, "{value}");
            assert!(refused.to_string().contains(name));
        }
        assert_eq!(
            parse(&[("limit", "1"), ("limit", "2")]).unwrap_err().name,
            "limit"
        );
    }
}
