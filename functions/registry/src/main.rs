//! The Lambda function that fills the asset registry.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    portfolio::runtime::run_registry().await
}
