//! An embedded DynamoDB over HTTP, and the table.

use std::io;

use aws_sdk_dynamodb::{
    Client,
    error::ProvideErrorMetadata,
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        TimeToLiveSpecification,
    },
};
use dynoxide::Database;
use portfolio::cache::DynamoDb;
use tokio::net::TcpListener;

/// Serves an empty DynamoDB, kept in memory, for as long as the process runs.
///
/// # Errors
/// When the database cannot be opened.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    let database = Database::memory().map_err(io::Error::other)?;
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    Ok(())
}

/// Creates the table as `template.yaml` has it, TTL on, unless it is there.
///
/// # Errors
/// When the service refuses.
pub async fn create_table(table: &DynamoDb) -> Result<(), String> {
    let (client, name) = (table.client(), table.name());
    match create(client, name).await {
        Ok(()) => {}
        Err(reason) if reason == "ResourceInUseException" => return Ok(()),
        Err(reason) => return Err(format!("the table cannot be created: {reason}")),
    }
    let ttl = TimeToLiveSpecification::builder()
        .attribute_name("expires_at")
        .enabled(true)
        .build()
        .map_err(|error| error.to_string())?;
    client
        .update_time_to_live()
        .table_name(name)
        .time_to_live_specification(ttl)
        .send()
        .await
        .map(|_| ())
        .map_err(|error| format!("TTL cannot be switched on: {}", reason(&error)))
}

async fn create(client: &Client, name: &str) -> Result<(), String> {
    let mut request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest);
    for (attribute, key) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let definition = AttributeDefinition::builder()
            .attribute_name(attribute)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .map_err(|error| error.to_string())?;
        let element = KeySchemaElement::builder()
            .attribute_name(attribute)
            .key_type(key)
            .build()
            .map_err(|error| error.to_string())?;
        request = request
            .attribute_definitions(definition)
            .key_schema(element);
    }
    request
        .send()
        .await
        .map(|_| ())
        .map_err(|error| reason(&error))
}

fn reason<E: ProvideErrorMetadata + std::fmt::Debug>(error: &E) -> String {
    error.code().unwrap_or("no answer").to_owned()
}
