//! What went wrong with a connection, in words for the one who has to mend it. The libraries' errors say it in their last cause, and often in a single
//! word of the protocol.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};

/// For the client of a connection: the last cause, and what to do about it where that is known.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let (tls, last) = causes(error);
    match tls {
        Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the server does not speak TLS; use http://, or the port that does".to_string()
        }
        Some(TlsError::InvalidCertificate(reason)) => certificate_of_the_server(reason),
        Some(TlsError::AlertReceived(alert)) => alert_of_the_server(&format!("{alert:?}")),
        // Once the connection is HTTP/2's, of an alert only the words are left.
        _ => match last.strip_prefix("received fatal alert: ") {
            Some(alert) => alert_of_the_server(alert),
            None => last,
        },
    }
}

fn certificate_of_the_server(reason: &CertificateError) -> String {
    match reason {
        // A signature that is wrong is that of another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is not signed by an authority that is trusted here, or does not come with the certificates between the two; \
             --tls-ca names a file of authorities to trust"
                .to_string()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the server's certificate has expired".to_string(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; are the clocks of both machines right?".to_string()
        }
        // Names those that the certificate is for.
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is for another name: {reason}")
        }
        reason => format!("the server's certificate is refused: {reason}"),
    }
}

fn alert_of_the_server(alert: &str) -> String {
    match alert {
        "CertificateRequired" => "the server asks for a certificate of the client; --tls-cert and --tls-key name one".to_string(),
        "UnknownCA" | "BadCertificate" | "CertificateUnknown" | "DecryptError" => {
            "the server does not trust this client's certificate; it has to be signed by the authority that the server was given"
                .to_string()
        }
        "CertificateExpired" => "the server refuses this client's certificate because it has expired".to_string(),
        alert => format!("the server refuses the connection: {alert}"),
    }
}

/// For the server of a connection: why a handshake failed.
pub(crate) fn to_a_server(error: &io::Error) -> String {
    match causes(error) {
        (Some(TlsError::NoCertificatesPresented), _) => "it showed no certificate".to_string(),
        (Some(TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)), _) => {
            "its certificate is not signed by an authority that is trusted here".to_string()
        }
        (Some(TlsError::InvalidCertificate(reason)), _) => format!("its certificate is refused: {reason}"),
        (Some(TlsError::AlertReceived(AlertDescription::UnknownCA)), _) => {
            "it does not trust this server's certificate: it knows another authority".to_string()
        }
        (Some(TlsError::AlertReceived(alert)), _) => format!("it refuses this server: {alert:?}"),
        (_, last) => last,
    }
}

/// What rustls said, if it said anything, and the last cause.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> (Option<&'a TlsError>, String) {
    let mut cause = error;
    loop {
        if let Some(tls) = cause.downcast_ref::<TlsError>() {
            return (Some(tls), tls.to_string());
        }
        // Neither of these counts what it carries among its causes.
        let carried = cause.downcast_ref::<h2::Error>().and_then(h2::Error::get_io).map(|error| error as &(dyn Error + 'static));
        let carried = carried.or_else(|| Some(cause.downcast_ref::<io::Error>()?.get_ref()? as &(dyn Error + 'static)));
        match carried.or_else(|| cause.source()) {
            Some(deeper) => cause = deeper,
            None => return (None, cause.to_string()),
        }
    }
}
