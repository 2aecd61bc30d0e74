//! Session options: `catalog` and `schema` are where names are looked up, a name with a dot is a setting of the engine, any other name is a variable.

use std::collections::HashMap;

use bytes::Bytes;
use orrery_engine::access::called_from;
use orrery_engine::dialect::{Variable, split};
use orrery_engine::session::{Mode, Session, Tracker};
use prost::Message as _;
use tonic::Status;

use crate::session_messages::{
    CloseSessionResult, CloseStatus, ErrorValue, GetSessionOptionsResult, OptionError, OptionValue, SessionOptionValue,
    SetSessionOptionsRequest, SetSessionOptionsResult,
};
use crate::sessions::{Caller, Sessions};
use crate::status::malformed;

const CATALOG: &str = "catalog";
const SCHEMA: &str = "schema";

/// The action `SetSessionOptions`.
pub(super) async fn set(caller: &Caller, body: &Bytes) -> Result<Bytes, Status> {
    let request = SetSessionOptionsRequest::decode(body.clone()).map_err(malformed)?;
    let session = caller.session.engine().await?;
    let mut options: Vec<_> = request.session_options.into_iter().collect();
    // A schema is one of the catalog that is set along with it.
    options.sort_by_key(|(name, _)| (name != CATALOG, name != SCHEMA, name.clone()));
    let mut errors = HashMap::new();
    for (name, value) in options {
        if let Err(error) = called_from(caller.address.clone(), set_one(&session, &name, value)).await {
            errors.insert(name, OptionError { value: error as i32 });
        }
    }
    Ok(SetSessionOptionsResult { errors }.encode_to_vec().into())
}

async fn set_one(session: &Session, name: &str, value: SessionOptionValue) -> Result<(), ErrorValue> {
    let statement = match (name, value.value) {
        (CATALOG, Some(OptionValue::Text(catalog))) => format!("USE CATALOG {}", quoted(&catalog)),
        (SCHEMA, Some(OptionValue::Text(schema))) => format!("USE SCHEMA {}.{}", quoted(&session.current().0), quoted(&schema)),
        (CATALOG | SCHEMA, _) => return Err(ErrorValue::InvalidValue),
        (name, Some(value)) if name.contains('.') => {
            let parts: Vec<String> = name.split('.').map(quoted).collect();
            let value = text_of(&value).ok_or(ErrorValue::InvalidValue)?;
            format!("SET {} = '{}'", parts.join("."), value.replace('\'', "''"))
        }
        (name, value) if is_variable(name) => {
            let variable = match value {
                None => Variable::Null,
                Some(OptionValue::Text(text)) => Variable::String(text),
                Some(OptionValue::Flag(flag)) => Variable::Boolean(flag),
                Some(OptionValue::Whole(number)) => Variable::Number(number.to_string()),
                Some(OptionValue::Real(number)) if number.is_finite() => Variable::Number(number.to_string()),
                Some(OptionValue::Real(_) | OptionValue::List(_)) => return Err(ErrorValue::InvalidValue),
            };
            return if session.set_variable(name, variable) { Ok(()) } else { Err(ErrorValue::Error) };
        }
        _ => return Err(ErrorValue::InvalidName),
    };
    let invalid = if name.contains('.') { ErrorValue::InvalidName } else { ErrorValue::InvalidValue };
    let text = split(&statement).map_err(|_| invalid)?.into_iter().next().ok_or(invalid)?;
    session.execute(&text, Mode::Run, &Tracker::default()).await.map(|_| ()).map_err(|error| {
        tracing::debug!(option = name, %error, "a session option is not set");
        invalid
    })
}

fn text_of(value: &OptionValue) -> Option<String> {
    match value {
        OptionValue::Text(text) => Some(text.clone()),
        OptionValue::Flag(flag) => Some(flag.to_string()),
        OptionValue::Whole(number) => Some(number.to_string()),
        OptionValue::Real(number) => Some(number.to_string()),
        OptionValue::List(_) => None,
    }
}

fn is_variable(name: &str) -> bool {
    let starts = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    starts && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The action `GetSessionOptions`.
pub(super) async fn get(caller: &Caller) -> Result<Bytes, Status> {
    let session = caller.session.engine().await?;
    let (catalog, schema) = session.current();
    let text = |text: String| SessionOptionValue { value: Some(OptionValue::Text(text)) };
    let variables = session.variables();
    let mut options: HashMap<String, SessionOptionValue> =
        variables.iter().map(|(name, value)| (name.to_string(), SessionOptionValue { value: value_of(value) })).collect();
    options.insert(CATALOG.to_string(), text(catalog));
    options.insert(SCHEMA.to_string(), text(schema));
    Ok(GetSessionOptionsResult { session_options: options }.encode_to_vec().into())
}

fn value_of(variable: &Variable) -> Option<OptionValue> {
    match variable {
        Variable::Null => None,
        Variable::Boolean(flag) => Some(OptionValue::Flag(*flag)),
        Variable::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Some(OptionValue::Whole(number)),
            (_, Ok(number)) => Some(OptionValue::Real(number)),
            _ => Some(OptionValue::Text(text.clone())),
        },
        Variable::String(text) | Variable::Date(text) | Variable::Timestamp(text) => Some(OptionValue::Text(text.clone())),
    }
}

/// The action `CloseSession`.
pub(super) fn close(sessions: &Sessions, caller: &Caller) -> Bytes {
    sessions.end(caller.session.id());
    CloseSessionResult { status: CloseStatus::Closed as i32 }.encode_to_vec().into()
}
