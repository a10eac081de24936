//! The Lambda function behind `/v1/wallets/{address}/wallet`.

use portfolio::domain::scope::Scope;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    portfolio::lambda::run_query(Scope::Wallet).await
}
