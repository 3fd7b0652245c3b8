//! What `cargo xtask bench serve` compares the server with: the same framework on as many threads, which
//! reads a request, and always answers the same. Prints where it listens.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::error::Error;
use std::net::Ipv4Addr;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::post;
use tokio::net::TcpSocket;
use tokio::runtime;

/// As long as what a repeat call is answered.
const ANSWER: &str = include_str!("floor.json");

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(1024)?;
        println!("http://{}", listener.local_addr()?);
        let answer = |_: Bytes| async { ([(header::CONTENT_TYPE, "application/json")], ANSWER) };
        let router = Router::new().route("/v1/reservations", post(answer).get(answer));
        axum::serve(listener, router).await?;
        Ok(())
    })
}
