//! Clients of AWS services other than DynamoDB, and what all of them share.

pub(crate) mod client;
pub mod secrets;
pub mod sqs;
