//! The second level: prices.

mod known;
mod look_up_all;
mod lookup;
mod page;
mod page_cache;
mod page_read;
mod page_refresh;
mod pricing;
mod reader;
mod request;
mod selection;
mod shared;
mod sources;
mod state;
mod wanted;

pub(super) use self::{
    page_cache::PageCache, reader::PriceReader, shared::SharedPrices, sources::Sources,
};
