//! Tokens that CoinMarketCap does not list: vault shares, receipts and tokenised stocks.

use super::{Asset, token};

pub(super) const UNLISTED: &[Asset] = &[
    Asset {
        symbol: "yvUSDC-1",
        name: "USDC-1 yVault",
        zerion_id: "7dc787e5-c3bb-54b9-9238-63385dcf151e",
        coingecko: None,
        usd: 1.0931,
        change_24h: 0.02,
        listing: None,
        implementations: &[token(
            "ethereum",
            "0xbe53a109b494e5c9f97b9cd39fe969be68bf6204",
            6,
        )],
    },
    Asset {
        symbol: "3Crv",
        name: "Curve.fi DAI/USDC/USDT",
        zerion_id: "0x6c3f90f043a72fa612cbac8115ee7e52bde6e490",
        coingecko: None,
        usd: 1.0402,
        change_24h: 0.01,
        listing: None,
        implementations: &[token(
            "ethereum",
            "0x6c3f90f043a72fa612cbac8115ee7e52bde6e490",
            18,
        )],
    },
    Asset {
        symbol: "aEthUSDC",
        name: "Aave Ethereum USDC",
        zerion_id: "0x98c23e9d8f34fefb1b7bd6a91b7ff122f4e16f5c",
        coingecko: None,
        usd: 0.9998,
        change_24h: -0.01,
        listing: None,
        implementations: &[token(
            "ethereum",
            "0x98c23e9d8f34fefb1b7bd6a91b7ff122f4e16f5c",
            6,
        )],
    },
    Asset {
        symbol: "wBLT",
        name: "Wrapped BLT",
        zerion_id: "f871490c-5161-5a4d-832a-eaddd3f227b4",
        coingecko: None,
        usd: 1.27,
        change_24h: -0.56,
        listing: None,
        implementations: &[token(
            "base",
            "0x4e74d4db6c0726ccded4656d0bce448876bb4c7a",
            18,
        )],
    },
    Asset {
        symbol: "AAPLx",
        name: "Apple xStock",
        zerion_id: "456a88bc-86ab-5471-9b8e-df56995b1711",
        coingecko: None,
        usd: 271.4,
        change_24h: 0.92,
        listing: None,
        implementations: &[token(
            "solana",
            "XsbEhLAtcf6HdfpFZ5xEMdqW8nfAvcsP5bdudRLJzJp",
            8,
        )],
    },
];
