//! Holdings that are decoded once and kept with the bytes that they borrow from.

use std::fmt;

use self_cell::self_cell;

use crate::{
    holdings::{CorruptHoldings, Holdings},
    price::PriceKey,
};

/// Holdings, and what their prices are stored under.
#[derive(Debug)]
pub struct DecodedHoldings<'a> {
    holdings: Holdings<'a>,
    /// By index of the token.
    keys: Vec<PriceKey>,
}

impl<'a> DecodedHoldings<'a> {
    /// Decodes what [`Holdings::encode`] wrote.
    ///
    /// # Errors
    /// When an index points outside of its table, or the bytes are no holdings.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CorruptHoldings> {
        let holdings = Holdings::decode(bytes)?;
        let tokens = holdings.tokens.iter();
        let keys = tokens.map(|token| holdings.price_key(token)).collect();
        Ok(Self { holdings, keys })
    }

    /// Returns the holdings.
    pub fn holdings(&self) -> &Holdings<'a> {
        &self.holdings
    }

    /// Returns what each token's price is stored under, in the order of tokens.
    pub fn keys(&self) -> &[PriceKey] {
        &self.keys
    }
}

self_cell!(
    struct Cell {
        owner: Vec<u8>,
        #[covariant]
        dependent: DecodedHoldings,
    }
);

/// Encoded holdings and what they decode to.
pub struct StoredHoldings(Cell);

impl StoredHoldings {
    /// Decodes `bytes` and keeps both.
    ///
    /// # Errors
    /// When they are no holdings.
    pub fn new(bytes: Vec<u8>) -> Result<Self, CorruptHoldings> {
        Cell::try_new(bytes, |bytes| DecodedHoldings::decode(bytes)).map(Self)
    }

    /// Returns the encoded holdings.
    pub fn bytes(&self) -> &[u8] {
        self.0.borrow_owner()
    }

    /// Returns the decoded ones.
    pub fn decoded(&self) -> &DecodedHoldings<'_> {
        self.0.borrow_dependent()
    }

    /// Returns the holdings themselves.
    pub fn holdings(&self) -> &Holdings<'_> {
        self.decoded().holdings()
    }

    /// Returns about how many bytes of memory both take.
    pub fn size(&self) -> usize {
        self.bytes().len() + self.holdings().size() + size_of_val(self.decoded().keys())
    }
}

impl fmt::Debug for StoredHoldings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of holdings", self.bytes().len())
    }
}

impl PartialEq for StoredHoldings {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for StoredHoldings {}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(chains: &[&'static str]) -> StoredHoldings {
        let holdings = Holdings {
            chains: chains.to_vec(),
            ..Holdings::default()
        };
        StoredHoldings::new(holdings.encode()).unwrap()
    }

    #[test]
    fn holdings_are_kept_with_the_bytes_that_they_were_decoded_from() {
        let stored = stored(&["ethereum", "base"]);
        assert_eq!(stored.holdings().chains, ["ethereum", "base"]);
        assert_eq!(stored.holdings().encode(), stored.bytes());
        assert!(StoredHoldings::new(vec![0xff; 9]).is_err());
    }

    #[test]
    fn the_same_holdings_have_the_same_bytes() {
        assert_eq!(stored(&["base"]), stored(&["base"]));
        assert_ne!(stored(&["base"]), stored(&["zora"]));
    }

    #[test]
    fn the_size_is_that_of_bytes_tables_and_keys() {
        let stored = stored(&["base"]);
        let expected = stored.bytes().len() + size_of::<&str>();
        assert_eq!(stored.size(), expected);
    }

    #[test]
    fn what_a_wallet_holds_is_not_printed() {
        let stored = stored(&["base"]);
        let expected = format!("{} bytes of holdings", stored.bytes().len());
        assert_eq!(format!("{stored:?}"), expected);
    }
}
