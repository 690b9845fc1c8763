//! Conversion between Rhai values and JSON. Values without a JSON form are errors; they are never converted to text.

use rhai::{Dynamic, ImmutableString, Map};
use serde_json::{Number, Value};

use super::secret_text::SecretText;

/// Maximum nesting of lists and maps. JSON parsers accept more.
const DEPTH_LIMIT: usize = 64;

/// Converts a script value to JSON.
///
/// # Errors
/// Names the path and type of a value without a JSON form, such as a closure or a range, or of one nested too deep.
pub fn to_json(value: &Dynamic) -> Result<Value, String> {
    convert(value, &mut String::new(), 0)
}

fn convert(value: &Dynamic, path: &mut String, depth: usize) -> Result<Value, String> {
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(truth) = value.as_bool() {
        return Ok(Value::Bool(truth));
    }
    if let Ok(integer) = value.as_int() {
        return Ok(Value::Number(integer.into()));
    }
    if let Ok(float) = value.as_float() {
        return Number::from_f64(float).map(Value::Number).ok_or_else(|| at(path, "is not a finite number"));
    }
    if let Ok(character) = value.as_char() {
        return Ok(Value::String(character.into()));
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(Value::String(text.as_str().into()));
    }
    if let Some(secret) = value.read_lock::<SecretText>() {
        return serde_json::to_value(&secret.0).map_err(|error| error.to_string());
    }
    if depth > DEPTH_LIMIT {
        return Err(format!("the value is nested deeper than {DEPTH_LIMIT} levels and cannot be stored"));
    }
    if let Ok(items) = value.as_array_ref() {
        return items
            .iter()
            .enumerate()
            .map(|(i, item)| nested(path, depth, &format!("[{i}]"), item))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array);
    }
    if let Ok(map) = value.as_map_ref() {
        return map
            .iter()
            .map(|(key, item)| {
                let step = if path.is_empty() { key.to_string() } else { format!(".{key}") };
                Ok((key.to_string(), nested(path, depth, &step, item)?))
            })
            .collect::<Result<serde_json::Map<_, _>, String>>()
            .map(Value::Object);
    }
    Err(at(path, &format!("is {} and cannot be stored", type_phrase(value))))
}

fn nested(path: &mut String, depth: usize, step: &str, item: &Dynamic) -> Result<Value, String> {
    let length = path.len();
    path.push_str(step);
    let value = convert(item, path, depth + 1);
    path.truncate(length);
    value
}

fn at(path: &str, what: &str) -> String {
    if path.is_empty() { format!("the value {what}") } else { format!("`{path}` {what}") }
}

/// Returns the type of a value with its article: `a map`, `an integer`.
pub fn type_phrase(value: &Dynamic) -> String {
    match type_name(value) {
        "nothing" => "nothing".into(),
        name if name.starts_with('i') => format!("an {name}"),
        name => format!("a {name}"),
    }
}

/// Returns the type of a value as messages name it.
pub fn type_name(value: &Dynamic) -> &'static str {
    match value.type_name() {
        "()" => "nothing",
        "bool" => "boolean",
        "i64" => "integer",
        "f64" => "float",
        "string" | "&str" => "string",
        "array" => "list",
        "map" => "map",
        "Fn" => "closure",
        "char" => "character",
        name if name.contains("SecretText") => "secret",
        name if name.contains("Range") => "range",
        _ => "value of another type",
    }
}

/// Converts JSON to a script value. `null` becomes `()`.
pub fn from_json(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(truth) => truth.into(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64().unwrap_or(f64::MAX).into(),
        },
        Value::String(text) => text.into(),
        Value::Array(items) => Dynamic::from_array(items.into_iter().map(from_json).collect()),
        Value::Object(map) => {
            if let Some(secret) = SecretText::from_json(&map) {
                return Dynamic::from(secret);
            }
            let map: Map = map.into_iter().map(|(key, value)| (key.into(), from_json(value))).collect();
            Dynamic::from_map(map)
        }
    }
}

#[cfg(test)]
mod tests {
    use rhai::FnPtr;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_round_trips() {
        let value = json!({"a": [1, 2.5, "x", true, null], "b": {"c": "d"}});
        assert_eq!(to_json(&from_json(value.clone())).unwrap(), value);
    }

    #[test]
    fn names_what_cannot_be_stored() {
        let mut map = Map::new();
        map.insert("hook".into(), Dynamic::from_array(vec![Dynamic::from(FnPtr::new("f").unwrap())]));
        assert_eq!(to_json(&Dynamic::from_map(map)).unwrap_err(), "`hook[0]` is a closure and cannot be stored");
        assert_eq!(to_json(&Dynamic::from(f64::NAN)).unwrap_err(), "the value is not a finite number");
    }
}
