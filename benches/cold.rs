//! How long functions take to start, compared with one that does nothing.
//! `scripts/cold-start.sh` builds them and runs this:
//!
//! ```text
//! cargo bench --workspace --bench cold -- EMULATOR HELLO FUNCTION...
//! ```
//!
//! Each program is started afresh twenty times, by turns. Two clocks tell how
//! long it takes:
//!
//! - Lambda's runtime interface emulator, by the `INIT REPORT` in its log (the
//!   `Init Duration` of its last line is something else);
//! - one of this program's own, from the start of the process to its first
//!   request for an event.
//!
//! The functions find DynamoDB over plain HTTP, or behind TLS. Over TLS they
//! are given Amazon's roots and the one that is needed here; the first function
//! is also measured with the system's certificates.

#![expect(clippy::float_arithmetic, reason = "times and how they compare")]

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use portfolio_tests::{TestApp, tls::TlsFront};

const ROUNDS: usize = 20;
/// Times as long as the program that does nothing, by the emulator's clock.
const PLAIN_BUDGET: f64 = 2.0;
const TLS_BUDGET: f64 = 3.0;
/// A machine that others use as well may exceed a budget by this before it
/// counts as a failure.
const TOLERANCE: f64 = 2.0;
const AMAZON_ROOTS: &str = include_str!("../shared/src/aws/amazon-roots.pem");
const SYSTEM_ROOTS: &str = "/etc/ssl/certs";

type Environment = Vec<(&'static str, String)>;

/// A program, how it reaches DynamoDB, and what its starts took by both clocks.
struct Measured<'p> {
    program: &'p str,
    over: &'static str,
    environment: Environment,
    budget: Option<f64>,
    took: [Vec<Duration>; 2],
}

impl Measured<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.environment.iter().cloned())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_LAMBDA_FUNCTION_NAME", "function")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn once(&mut self, emulator: &str) -> Result<(), Box<dyn Error>> {
        let emulated = self.emulated(emulator)?;
        self.took[0].push(emulated);
        let direct = self.direct()?;
        self.took[1].push(direct);
        Ok(())
    }

    fn emulated(&self, emulator: &str) -> Result<Duration, Box<dyn Error>> {
        let (front, api) = (free_address()?, free_address()?);
        let mut child = self
            .command(emulator)
            .args(["--log-level", "info", self.program])
            .args(["--runtime-interface-emulator-address", &front.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .map(Running)?;
        let log = child.0.stderr.take().ok_or("no log")?;
        // It starts a function when there is an event for it.
        let mut client = connect(front)?;
        let path = "/2015-03-31/functions/function/invocations";
        let head = format!("POST {path} HTTP/1.1\r\nHost: emulator\r\nContent-Length: 2\r\n\r\n");
        client.write_all(format!("{head}{{}}").as_bytes())?;
        for line in BufReader::new(log).lines() {
            let line = line?;
            let Some((_, report)) = line.split_once("INIT REPORT(durationMs: ") else {
                continue;
            };
            let millis: f64 = report.trim_end_matches(')').parse()?;
            return Ok(Duration::from_secs_f64(millis / 1000.0));
        }
        Err(format!("{} does not start in the emulator", self.program).into())
    }

    fn direct(&self) -> Result<Duration, Box<dyn Error>> {
        let api = TcpListener::bind("127.0.0.1:0")?;
        let mut command = self.command(self.program);
        command.env("AWS_LAMBDA_RUNTIME_API", api.local_addr()?.to_string());
        let started = Instant::now();
        let _child = Running(command.spawn()?);
        let (mut client, _) = api.accept()?;
        let mut line = String::new();
        BufReader::new(&mut client).read_line(&mut line)?;
        let took = started.elapsed();
        if !line.contains("/invocation/next") {
            return Err(format!("{} does not start: {line}", self.program).into());
        }
        Ok(took)
    }

    /// The name of its function. As SAM builds them, that is the directory's.
    fn name(&self) -> &str {
        let path = Path::new(self.program);
        let named = match path.file_name() {
            Some(name) if name == "bootstrap" => path.parent().and_then(Path::file_name),
            name => name,
        };
        named.and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// A process that does not outlive this. A function whose emulator is gone ends
/// by itself.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A connection to a server that may have to start first.
fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut attempts = 0;
    loop {
        match TcpStream::connect(address) {
            Err(_) if attempts < 1000 => attempts += 1,
            connected => return connected,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The median and the least, in milliseconds.
fn figures(took: &[Duration]) -> (f64, f64) {
    let mut millis: Vec<f64> = took.iter().map(|it| it.as_secs_f64() * 1000.0).collect();
    millis.sort_by(f64::total_cmp);
    (millis[millis.len() / 2], millis[0])
}

/// Every program with every way to DynamoDB that it is measured with.
fn starts<'p>(
    hello: &'p str,
    functions: &'p [String],
    plain: &Environment,
    front: &TlsFront,
    bundle: &Path,
) -> Vec<Measured<'p>> {
    let with = |more: &[(&'static str, &str)]| {
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        plain.iter().cloned().chain(more).collect::<Environment>()
    };
    let measured = |program, over, environment, budget| Measured {
        program,
        over,
        environment,
        budget,
        took: Default::default(),
    };
    let url = ("AWS_ENDPOINT_URL_DYNAMODB", front.url.as_str());
    let bundle = bundle.to_str().expect("a path of text");
    let mut all = vec![measured(hello, "", Environment::new(), None)];
    for (number, function) in functions.iter().enumerate() {
        all.push(measured(
            function,
            "plain HTTP",
            with(&[]),
            Some(PLAIN_BUDGET),
        ));
        let tls = with(&[url, ("AWS_CA_BUNDLE", bundle)]);
        all.push(measured(function, "TLS", tls, Some(TLS_BUDGET)));
        if number == 0 && Path::new(SYSTEM_ROOTS).exists() {
            let roots = [("SSL_CERT_FILE", bundle), ("SSL_CERT_DIR", SYSTEM_ROOTS)];
            let system = with(&[url, roots[0], roots[1]]);
            all.push(measured(function, "TLS, system's roots", system, None));
        }
    }
    all
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds `--bench` to what is given.
    let arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let arguments: Vec<String> = arguments.collect();
    let [emulator, hello, functions @ ..] = &*arguments else {
        println!("cold starts need functions as they are deployed: scripts/cold-start.sh");
        return Ok(());
    };
    let app = TestApp::new().await;
    let plain = app.services.environment.clone();
    let table = app.config().dynamodb_endpoint.as_ref().expect("a table");
    let front = TlsFront::proxying(table).await;
    let bundle = front.bundle(AMAZON_ROOTS);
    let mut starts = starts(hello, functions, &plain, &front, &bundle);
    // It waits; DynamoDB has threads of its own.
    let measured = tokio::task::block_in_place(|| {
        (0..ROUNDS).try_for_each(|_| starts.iter_mut().try_for_each(|it| it.once(emulator)))
    });
    std::fs::remove_file(bundle)?;
    measured?;
    println!(
        "                                       by the emulator's clock    to the first request"
    );
    println!("function            DynamoDB over     median  least  ratio     median  least  ratio");
    let hello = [0, 1].map(|clock| figures(&starts[0].took[clock]).0);
    let mut exceeded = false;
    for start in &starts {
        print!("{:<18}  {:<19}", start.name(), start.over);
        for (clock, hello) in hello.iter().enumerate() {
            let (median, least) = figures(&start.took[clock]);
            print!("{median:>5.2} {least:>6.2} {:>6.2}    ", median / hello);
        }
        let ratio = figures(&start.took[0]).0 / hello[0];
        match start.budget {
            Some(budget) if ratio > TOLERANCE * budget => {
                exceeded = true;
                println!("  far beyond its budget of {budget}");
            }
            Some(budget) if ratio > budget => println!("  beyond its budget of {budget}"),
            _ => println!(),
        }
    }
    if exceeded {
        return Err("a function starts too slowly".into());
    }
    Ok(())
}
