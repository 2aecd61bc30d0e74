//! The handshake: a user name and a password, or a token made elsewhere, for a bearer token and a session of this server.

use std::net::IpAddr;
use std::time::Duration;

use arrow_flight::{BasicAuth, HandshakeRequest, HandshakeResponse};
use prost::Message as _;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, one};
use crate::credentials::Credentials;
use crate::door::address;
use crate::sessions::{Admission, COOKIE, Sessions};

/// How long somebody may take to say who he is, and how much he may say.
const WITHIN: Duration = Duration::from_secs(10);
const PAYLOAD_BYTES_MAX: usize = 16 << 10;

/// Answers with the token in the `authorization` header, where drivers look for it, and as the payload.
pub(super) async fn handshake(
    sessions: &Sessions,
    request: Request<Streaming<HandshakeRequest>>,
) -> Result<Response<Answers<HandshakeResponse>>, Status> {
    let from = address(request.extensions());
    let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_string);
    let Admission { token, session_id } = match header {
        Some(header) => by_header(sessions, &header, from).await?,
        None => by_payload(sessions, request.into_inner(), from).await?,
    };
    let payload = token.clone().into_bytes().into();
    let mut response = Response::new(one(HandshakeResponse { protocol_version: 0, payload }));
    let value = |text: String| MetadataValue::<Ascii>::try_from(text).map_err(|error| Status::internal(error.to_string()));
    response.metadata_mut().insert("authorization", value(format!("Bearer {token}"))?);
    response.metadata_mut().insert("set-cookie", value(format!("{COOKIE}={session_id}; Path=/"))?);
    Ok(response)
}

async fn by_header(sessions: &Sessions, header: &str, from: Option<IpAddr>) -> Result<Admission, Status> {
    match Credentials::read(header)? {
        Credentials::Token(token) => sessions.admit_by_token(&token, from).await,
        Credentials::Password { user, password } => sessions.admit_by_password(&user, &password, from).await,
    }
}

/// The older way: the first message holds the name and the password.
async fn by_payload(sessions: &Sessions, mut messages: Streaming<HandshakeRequest>, from: Option<IpAddr>) -> Result<Admission, Status> {
    let nothing = || Status::unauthenticated("a user name and a password are needed");
    let message = tokio::time::timeout(WITHIN, messages.message()).await.map_err(|_| nothing())??;
    let message =
        message.filter(|message| !message.payload.is_empty() && message.payload.len() <= PAYLOAD_BYTES_MAX).ok_or_else(nothing)?;
    let auth = BasicAuth::decode(message.payload).map_err(|_| nothing())?;
    sessions.admit_by_password(&auth.username, &auth.password, from).await
}
