//! Clients that speak plain text to a port that speaks TLS are told so in their own protocol, instead of being left with bytes that they cannot read.

use std::io;
use std::time::Duration;

use http::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// First byte of a TLS handshake.
const HANDSHAKE: u8 = 22;
/// Bytes that tell HTTP/2 from a request of HTTP/1.
const TOLD_APART_BY: usize = 4;
/// How often, and how many times, it is looked whether more of a slow client's first bytes have come.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
const LOOKS: usize = 50;
/// What is read of a request of HTTP/1 before it is answered.
const REQUEST_LIMIT_BYTES: usize = 16 << 10;

const MESSAGE: &str =
    "this port speaks TLS, not plain text: use an https:// URL, or give the certificates that the server's operator asks for";
/// The call was well-formed and must not be repeated as it is.
const FAILED_PRECONDITION: &str = "9";

/// What a client began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Tls,
    Http2,
    Http1,
    /// Something else, or nothing.
    Other,
}

/// Looks at a client's first bytes and leaves them where they are.
///
/// # Errors
/// The connection broke.
pub(crate) async fn what_is_spoken(stream: &TcpStream) -> io::Result<Spoken> {
    let mut first = [0; TOLD_APART_BY];
    for _ in 0..LOOKS {
        let length = stream.peek(&mut first).await?;
        match &first[..length] {
            [] => return Ok(Spoken::Other),
            [HANDSHAKE, ..] => return Ok(Spoken::Tls),
            [b'P', b'R', b'I', b' '] => return Ok(Spoken::Http2),
            [b'A'..=b'Z', ..] if length == TOLD_APART_BY => return Ok(Spoken::Http1),
            [b'A'..=b'Z', ..] => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            _ => return Ok(Spoken::Other),
        }
    }
    Ok(Spoken::Other)
}

/// Tells a client that this is not the way. `false` if it had not asked for anything: whoever only looks whether somebody listens does no harm.
///
/// # Errors
/// The connection broke, or the client does not keep to its protocol.
pub(crate) async fn answer(stream: TcpStream, spoken: Spoken) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    match spoken {
        Spoken::Http2 => answer_http2(stream).await,
        Spoken::Http1 => answer_http1(stream).await.map(|()| true).map_err(Into::into),
        Spoken::Tls | Spoken::Other => Ok(stream.peek(&mut [0]).await.is_ok_and(|length| length > 0)),
    }
}

/// Every call gets a status of gRPC.
async fn answer_http2(stream: TcpStream) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return Ok(false) };
    let mut has_asked = false;
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        has_asked = true;
        let status = Response::builder().header("content-type", "application/grpc").header("grpc-status", FAILED_PRECONDITION);
        respond.send_response(status.header("grpc-message", MESSAGE).body(())?, true)?;
        connection.graceful_shutdown();
    }
    Ok(has_asked)
}

async fn answer_http1(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_LIMIT_BYTES {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let (length, head) = (MESSAGE.len() + 1, "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close");
    stream.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{MESSAGE}\n").as_bytes()).await?;
    stream.shutdown().await
}
