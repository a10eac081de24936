//! The Lambda function that keeps watched wallets fresh.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    portfolio::runtime::run_refresh().await
}
