//! The Lambda function behind `/v1/wallets/{address}/defi`.

use portfolio::domain::scope::Scope;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    portfolio::runtime::run_query(Scope::Defi).await
}
