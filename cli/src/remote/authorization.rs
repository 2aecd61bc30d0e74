//! Who calls: the header that goes along with every call.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use orrery_engine::access::Secret;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::args::Login;

/// The header, if there is anything to say.
#[derive(Clone)]
pub(crate) struct Authorization(Option<MetadataValue<Ascii>>);

impl Authorization {
    /// By a token, or a name and a password, whichever was given.
    pub fn of(login: &Login) -> Self {
        let header = match (&login.token, &login.user) {
            (Some(token), _) => Some(format!("Bearer {}", token.expose())),
            (None, Some(user)) => Some(basic(user, login.password.as_ref().map_or("", Secret::expose))),
            (None, None) => None,
        };
        Self(header.map(sensitive))
    }

    /// The same; where nothing was given, somebody without a name, whom servers without users let in.
    pub fn or_nameless(login: &Login) -> Self {
        let Self(header) = Self::of(login);
        Self(header.or_else(|| Some(sensitive(basic("", "")))))
    }

    /// A request with the header.
    pub fn on<T>(&self, mut request: Request<T>) -> Request<T> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        request
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// What is no header cannot be right, and is refused as such.
fn sensitive(header: String) -> MetadataValue<Ascii> {
    let mut value = MetadataValue::try_from(header).unwrap_or_else(|_| MetadataValue::from_static(""));
    value.set_sensitive(true);
    value
}

impl Interceptor for Authorization {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        Ok(self.on(request))
    }
}
