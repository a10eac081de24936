//! Everything the functions need on one machine: an embedded DynamoDB,
//! stand-ins of the upstream services, and a gateway in front of the handlers.

pub mod dynamodb;
pub mod gateway;
pub mod services;
pub mod standins;
