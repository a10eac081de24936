//! Everything the functions need on one machine: an embedded DynamoDB,
//! Fakes of the upstream services, and a gateway in front of the handlers.

pub mod dynamodb;
pub mod fakes;
pub mod gateway;
pub mod services;
