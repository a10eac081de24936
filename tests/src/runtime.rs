//! Lambda's runtime API, as a function's process meets it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

use crate::server::serve;

/// X-Ray's header in every invocation.
pub const TRACE: &str =
    "Root=1-6920b2ce-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1";

/// A function's process under the runtime API.
pub struct Runtime {
    child: Child,
    events: mpsc::UnboundedSender<(String, Value)>,
    answers: mpsc::UnboundedReceiver<(String, Result<Value, Value>)>,
    output: Vec<JoinHandle<String>>,
}

struct Api {
    events: Mutex<mpsc::UnboundedReceiver<(String, Value)>>,
    answers: mpsc::UnboundedSender<(String, Result<Value, Value>)>,
}

impl Runtime {
    /// Starts the binary of a function with these variables added to the
    /// environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(
        binary: &str,
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let (events, waiting) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let api = Arc::new(Api {
            events: Mutex::new(waiting),
            answers: answered,
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failure))
            .with_state(api);
        let address = serve(router).await;

        let mut child = Command::new(binary)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "function")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_REGION", "us-east-1")
            .envs(variables)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let output = vec![
            tokio::spawn(text(child.stdout.take().expect("its output"))),
            tokio::spawn(text(child.stderr.take().expect("its errors"))),
        ];
        Self {
            child,
            events,
            answers,
            output,
        }
    }

    /// Sends it an event and waits for the answer, or for the error that it
    /// reports.
    ///
    /// # Errors
    /// Returns what the function reports to Lambda as its failure.
    ///
    /// # Panics
    /// When it answers another invocation.
    pub async fn invoke(&mut self, id: &str, event: Value) -> Result<Value, Value> {
        self.events.send((id.to_owned(), event)).expect("an API");
        let (answered, answer) = tokio::select! {
            answer = self.answers.recv() => answer.expect("an API"),
            ended = self.child.wait() => panic!("it ended: {ended:?}"),
        };
        assert_eq!(answered, id);
        answer
    }

    /// Ends the process; gives what it wrote to standard output and to standard
    /// error.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub async fn end(mut self) -> (String, String) {
        self.child.kill().await.expect("killed");
        let mut texts = Vec::new();
        for output in self.output {
            texts.push(output.await.expect("text"));
        }
        let errors = texts.pop().expect("two");
        (texts.pop().expect("two"), errors)
    }
}

async fn text(mut from: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).await.expect("output");
    String::from_utf8(bytes).expect("UTF-8")
}

async fn next(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let Some((id, event)) = api.events.lock().await.recv().await else {
        return Err(StatusCode::GONE);
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let deadline = now + Duration::from_secs(29);
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        (
            "lambda-runtime-deadline-ms",
            deadline.as_millis().to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:function".to_owned(),
        ),
        ("lambda-runtime-trace-id", TRACE.to_owned()),
    ];
    Ok((headers, Json(event)))
}

async fn response(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    answer: Bytes,
) -> StatusCode {
    let answer = serde_json::from_slice(&answer).expect("JSON");
    let _ = api.answers.send((id, Ok(answer)));
    StatusCode::ACCEPTED
}

async fn failure(State(api): State<Arc<Api>>, Path(id): Path<String>, error: Bytes) -> StatusCode {
    let error = serde_json::from_slice(&error).expect("JSON");
    let _ = api.answers.send((id, Err(error)));
    StatusCode::ACCEPTED
}
