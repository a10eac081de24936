use super::*;

#[test]
fn is_ordered_and_unambiguous() {
    assert!(CHAINS.is_sorted_by(|a, b| a.id < b.id));
    let mut platforms: Vec<_> = CHAINS.iter().flat_map(|c| c.platforms).collect();
    let count = platforms.len();
    platforms.sort();
    platforms.dedup();
    assert_eq!(platforms.len(), count);
    let native = |chain| Chain::by_id(chain).unwrap().natives()[0];
    assert!(native("base").is(CmcId(1027), "ethereum", "ETH"));
    // The slug "xdai" is another coin's.
    assert!(native("xdai").is(CmcId(8635), "xdaistable", "XDAI"));
    assert!(!native("xdai").is(CmcId(5601), "xdai", "STAKE"));
    // Both the id or slug and the symbol are right.
    assert!(!native("base").is(CmcId(1027), "ethereum", "WETH"));
    assert!(!native("base").is(CmcId(2396), "weth", "ETH"));
    let slug = CHAINS.iter().flat_map(|chain| chain.natives);
    let mut slug = slug.filter_map(|native| match native {
        Native::Slug(slug, symbol) => Some((native, *slug, *symbol)),
        Native::Id(..) => None,
    });
    let (native, slug, symbol) = slug.next().unwrap();
    assert!(native.is(CmcId(1), slug, symbol));
    assert!(!native.is(CmcId(1), slug, "other") && !native.is(CmcId(1), "other", symbol));
}

#[test]
fn tells_all_chains() {
    let all: Vec<&str> = Chain::all().iter().map(|chain| chain.id).collect();
    assert!(all.len() > 40 && all.contains(&"ethereum") && all.contains(&"solana"));
    #[cfg(feature = "openapi")]
    assert_eq!(Chain::ids().collect::<Vec<_>>(), all);
}

#[test]
fn finds_chains_by_any_name() {
    let id = |slug, name| Chain::by_platform(slug, name).map(|chain| chain.id);
    assert_eq!(
        id("bnb", "BNB Smart Chain (BEP20)"),
        Some("binance-smart-chain")
    );
    assert_eq!(id("renamed", "Avalanche C-Chain"), Some("avalanche"));
    assert_eq!(id("linea", "Linea"), Some("linea"));
    assert_eq!(id("tron20", "Tron20"), None);
    assert_eq!(Chain::by_id("optimism").unwrap().defillama, "optimism");
}

#[test]
fn knows_native_coins_by_their_placeholders() {
    assert!(is_native("ethereum", ""));
    assert!(is_native(
        "base",
        "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"
    ));
    assert!(is_native(
        "polygon",
        "0x0000000000000000000000000000000000001010"
    ));
    assert!(is_native("solana", "11111111111111111111111111111111"));
    assert!(!is_native("ethereum", "11111111111111111111111111111111"));
    assert!(!is_native(
        "ethereum",
        "0x471ece3750da237f93b8e339c536989b8978a438"
    ));
    assert!(!is_native(
        "ethereum",
        "0xdac17f958d2ee523a2206206994597c13d831ec7"
    ));
}
