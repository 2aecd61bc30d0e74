//! The door of the client port: a layer in front of a whole service, so that no call, present or future, is reached by somebody unknown. Only the handshake,
//! where tokens are given, is open. Behind it, a call of Flight SQL has its session, and one of another service the principal who makes it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response, header};
use tonic::codegen::{Context, Poll, Service};
use tonic::server::NamedService;
use tonic::transport::server::TcpConnectInfo;

use crate::credentials::scheme;
use crate::sessions::{COOKIE, Sessions};

/// The only call that needs no token.
const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// What a service needs to know of who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// His session: a token that a handshake gave, or one that was made elsewhere.
    Session,
    /// Who he is: a token, or a name and a password.
    Identity,
}

/// A service behind the door.
#[derive(Clone)]
pub struct Door<S> {
    sessions: Arc<Sessions>,
    needs: Needs,
    inner: S,
}

impl<S> Door<S> {
    pub(crate) fn before(inner: S, sessions: Arc<Sessions>, needs: Needs) -> Self {
        Self { sessions, needs, inner }
    }
}

/// Lets a call in, with what its service needs to know.
async fn enter(sessions: &Sessions, needs: Needs, request: &mut Request<Body>) -> Result<(), Status> {
    let from = address(request.extensions());
    match needs {
        Needs::Identity => {
            let authorization = authorization(request.headers());
            let principal = sessions.identify(authorization, from).await?;
            request.extensions_mut().insert(principal);
        }
        Needs::Session if request.uri().path() == HANDSHAKE => {}
        Needs::Session => {
            let token = bearer(request.headers());
            let unknown = || Status::unauthenticated("a bearer token is needed; connect with a user name and a password to get one");
            let caller = sessions.find(token.ok_or_else(unknown)?, cookie(request.headers()), from).await?;
            request.extensions_mut().insert(caller);
        }
    }
    Ok(())
}

impl<S: NamedService> NamedService for Door<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone is what was polled to be ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let (sessions, needs) = (Arc::clone(&self.sessions), self.needs);
        Box::pin(async move {
            match enter(&sessions, needs, &mut request).await {
                Ok(()) => inner.call(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// Where a call comes from.
pub(crate) fn address(extensions: &tonic::codegen::http::Extensions) -> Option<IpAddr> {
    extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr).map(|address| address.ip())
}

/// The `authorization` header; one that is no text is as wrong as an empty one.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default())
}

/// The token of `authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    scheme(authorization(headers)?, "bearer")
}

/// The session that the client's cookies name.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value.trim_matches('"')).find(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use clap::Parser;

    use super::*;
    use crate::Limits;
    use crate::sessions::tests::{NoEngine, TwoUsers};

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        limits: Limits,
    }

    /// What stands behind the door: counts who comes in.
    #[derive(Clone, Default)]
    struct Room(Arc<AtomicUsize>);

    impl Service<Request<Body>> for Room {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(Response::new(Body::empty())))
        }
    }

    /// Whatever is called, be it a call that does not exist yet: nobody comes in without a token.
    #[tokio::test]
    async fn only_the_handshake_is_open() {
        let limits = Arguments::try_parse_from(["test"]).unwrap().limits;
        let sessions = Sessions::new(Arc::new(TwoUsers::default()), Arc::new(NoEngine), limits);
        let room = Room::default();
        let mut door = Door::before(room.clone(), Arc::clone(&sessions), Needs::Session);
        let call = |path: &str, token: Option<&str>| {
            let request = Request::builder().uri(format!("http://localhost/arrow.flight.protocol.FlightService/{path}"));
            let request = token.into_iter().fold(request, |request, token| request.header("authorization", token));
            request.body(Body::empty()).unwrap()
        };
        let paths = ["GetFlightInfo", "DoGet", "DoPut", "DoAction", "ListActions", "SomethingNew", "handshake", "Handshake/", ""];
        for path in paths {
            for token in [None, Some("Bearer made-up"), Some("Basic YTpi"), Some("Bearer "), Some("made-up")] {
                let response = door.call(call(path, token)).await.unwrap();
                let status = Status::from_header_map(response.headers()).unwrap();
                assert_eq!(status.code(), tonic::Code::Unauthenticated, "{path} {token:?}");
            }
        }
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
        door.call(call("Handshake", None)).await.unwrap();
        let admission = sessions.admit_by_password("ann", "ann", Some(IpAddr::from([127, 0, 0, 1]))).await.unwrap();
        door.call(call("SomethingNew", Some(&format!("Bearer {}", admission.token)))).await.unwrap();
        assert_eq!(room.0.load(Ordering::Relaxed), 2);
    }

    /// Services without sessions know who calls, or are not reached.
    #[tokio::test]
    async fn other_services_are_told_who_calls() {
        let limits = Arguments::try_parse_from(["test"]).unwrap().limits;
        let sessions = Sessions::new(Arc::new(TwoUsers::default()), Arc::new(NoEngine), limits);
        let room = Room::default();
        let mut door = Door::before(room.clone(), Arc::clone(&sessions), Needs::Identity);
        let session = sessions.admit_by_password("ann", "ann", None).await.unwrap();
        let of_session = format!("Bearer {}", session.token);
        let calls = [
            (Some("Basic YW5uOmFubg=="), true),
            (Some("Bearer ann"), true),
            (Some(of_session.as_str()), true),
            (Some("Basic YW5uOndyb25n"), false),
            (Some("Bearer made-up"), false),
            (Some(""), false),
            (None, false),
        ];
        for (header, is_let_in) in calls {
            let before = room.0.load(Ordering::Relaxed);
            let request = Request::builder().uri(format!("http://localhost{HANDSHAKE}"));
            let request = header.into_iter().fold(request, |request, value| request.header("authorization", value));
            door.call(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(room.0.load(Ordering::Relaxed) == before + 1, is_let_in, "{header:?}");
        }
    }

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn reads_tokens_and_cookies() {
        let found = headers(&[
            (header::AUTHORIZATION, "bearer  abc"),
            (header::COOKIE, "a=b; arrow_flight_session_id=xyz"),
            (header::COOKIE, "arrow_flight_session_id=second"),
        ]);
        assert_eq!((bearer(&found), cookie(&found)), (Some("abc"), Some("xyz")));
        let basic = headers(&[(header::AUTHORIZATION, "Basic abc"), (header::COOKIE, "arrow_flight_session_id=")]);
        assert_eq!((bearer(&basic), cookie(&basic)), (None, None));
        assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, "Bearer ")])), None);
    }
}
