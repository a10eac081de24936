//! Zerion's positions.

use portfolio::{
    domain::{
        asset_mapping::NoAssets, decoded::StoredHoldings, holdings_builder::HoldingsBuilder,
        scope::Part,
    },
    upstream::zerion::read_page,
};

use crate::wallet;

/// Any bytes as a page of positions: refused, or read into a wallet that can
/// be stored and answered.
pub fn positions(body: &[u8]) {
    let mut draft = HoldingsBuilder::default();
    // What was read before an error is answered as well, marked.
    let read = read_page(body, None, &mut draft);
    wallet::check(&draft);
    if read.is_err() {
        return;
    }

    // The same page once more is a second page of a longer wallet.
    let rows = draft.len();
    let again = read_page(body, None, &mut draft);
    assert_eq!(again, read, "a page reads the same wherever it stands");
    assert_eq!(draft.len(), 2 * rows);

    // Asked for plain balances alone, everything is one.
    let mut draft = HoldingsBuilder::default();
    let balances = read_page(body, Some(Part::Wallet), &mut draft);
    assert_eq!(balances, read);
    assert_eq!(draft.len(), rows);
    let stored = draft.encode(Part::Wallet, &draft.map(&NoAssets));
    let stored = StoredHoldings::new(stored.bytes).expect("what was just encoded decodes");
    assert_eq!(wallet::count(&stored), rows);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn seeds_are_read() {
        let mut rows = 0;
        for (name, body) in seeds::of("zerion_positions") {
            positions(&body);
            let mut draft = HoldingsBuilder::default();
            let read = read_page(&body, None, &mut draft);
            assert_eq!(read.is_ok(), !name.starts_with("bad-"), "{name}");
            rows += draft.len();
        }
        assert!(rows > 10);
    }
}
