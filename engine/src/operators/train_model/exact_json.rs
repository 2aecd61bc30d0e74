//! JSON values on the wire without passing through text: reading a decimal number may give its neighbour, and models are compared to the bit.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// A value, number by number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum ExactJson {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<ExactJson>),
    Object(Vec<(String, ExactJson)>),
}

impl From<Value> for ExactJson {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), _, _) => Self::Signed(number),
                (_, Some(number), _) => Self::Unsigned(number),
                (_, _, Some(number)) => Self::Float(number),
                _ => Self::Null,
            },
            Value::String(text) => Self::Text(text),
            Value::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            Value::Object(values) => Self::Object(values.into_iter().map(|(name, value)| (name, value.into())).collect()),
        }
    }
}

impl From<ExactJson> for Value {
    fn from(value: ExactJson) -> Self {
        match value {
            ExactJson::Null => Self::Null,
            ExactJson::Bool(value) => Self::Bool(value),
            ExactJson::Signed(number) => Self::from(number),
            ExactJson::Unsigned(number) => Self::from(number),
            ExactJson::Float(number) => Number::from_f64(number).map_or(Self::Null, Self::Number),
            ExactJson::Text(text) => Self::String(text),
            ExactJson::List(values) => values.into_iter().map(Self::from).collect(),
            ExactJson::Object(values) => Self::Object(values.into_iter().map(|(name, value)| (name, value.into())).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_stay_what_they_are(bits in any::<u64>(), signed in any::<i64>(), unsigned in any::<u64>(), text in ".*") {
            let float = f64::from_bits(bits);
            let value = serde_json::json!({"a": [float, signed, unsigned, null], "b": {"c": text, "d": true}});
            let bytes = postcard::to_allocvec(&ExactJson::from(value.clone())).unwrap();
            let read: ExactJson = postcard::from_bytes(&bytes).unwrap();
            let read = Value::from(read);
            prop_assert_eq!(read.to_string(), value.to_string());
            let found = read["a"][0].as_f64().map(f64::to_bits);
            prop_assert_eq!(found, float.is_finite().then_some(bits));
        }
    }
}
