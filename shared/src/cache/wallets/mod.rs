//! Wallets in the table: one read brings everything, writes are conditioned on
//! generations.

pub(super) mod header;
mod merge;
mod read;
mod store;
mod store_fetch;
mod write;

pub use self::store::DynamoWalletStore;
