//! The second level: prices.

mod book_read;
mod known;
mod look_up_all;
mod lookup;
mod page_cache;
mod pricing;
mod reader;
mod refresh;
mod request;
mod selection;
mod shared;
mod sources;
mod state;
#[cfg(test)]
mod tests;
mod wanted;

pub(super) use self::{
    page_cache::PageCache, reader::PriceReader, shared::SharedPrices, sources::Sources,
};
