//! A function that greets: nothing but Lambda's runtime.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(greet)).await
}

async fn greet(_: LambdaEvent<Value>) -> Result<Value, Error> {
    Ok(json!({"hello": "world"}))
}
