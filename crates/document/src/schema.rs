//! The JSON schemas (2020-12) of the documents. They lie in docs/schema, one a file, and name each other
//! by file; whoever hands them out needs them in one piece.

use serde_json::{Map, Value};

/// Every schema that is handed out, by the name of its file without `.json`.
const FILES: &[(&str, &str)] = &[
    ("containers", include_str!("../../../docs/schema/containers.json")),
    ("list", include_str!("../../../docs/schema/list.json")),
    ("listeners", include_str!("../../../docs/schema/listeners.json")),
    ("lock", include_str!("../../../docs/schema/lock.json")),
    ("log", include_str!("../../../docs/schema/log.json")),
    ("log-event", include_str!("../../../docs/schema/log-event.json")),
    ("map", include_str!("../../../docs/schema/map.json")),
    ("problem", include_str!("../../../docs/schema/problem.json")),
    ("released", include_str!("../../../docs/schema/released.json")),
    ("reservation", include_str!("../../../docs/schema/reservation.json")),
    ("reserve", include_str!("../../../docs/schema/reserve.json")),
    ("reserved", include_str!("../../../docs/schema/reserved.json")),
    ("show", include_str!("../../../docs/schema/show.json")),
];

/// Every schema by its name, each referring to the others as `PREFIX/NAME`.
///
/// # Errors
///
/// When a file is not JSON.
pub fn all(prefix: &str) -> Result<Map<String, Value>, serde_json::Error> {
    let read = |(name, text): &(&str, &str)| {
        let mut schema: Value = serde_json::from_str(text)?;
        if let Some(members) = schema.as_object_mut() {
            // They would be the base of all references within.
            members.remove("$id");
            members.remove("$schema");
        }
        refer(&mut schema, name, prefix);
        Ok(((*name).to_owned(), schema))
    };
    FILES.iter().map(read).collect()
}

/// The schema `name` in one piece: those that it refers to are below `$defs`. `None` when there is no
/// such schema.
///
/// # Errors
///
/// When a file is not JSON.
pub fn alone(name: &str) -> Result<Option<Value>, serde_json::Error> {
    let mut schemas = all(DEFINITIONS)?;
    let Some(mut schema) = schemas.get(name).cloned() else { return Ok(None) };
    let mut needed = Map::new();
    let mut next = references(&schema);
    while let Some(name) = next.pop() {
        if let Some(schema) = schemas.remove(&name) {
            next.extend(references(&schema));
            needed.insert(name, schema);
        }
    }
    if !needed.is_empty() {
        schema[DEFS] = needed.into();
    }
    Ok(Some(schema))
}

const DEFS: &str = "$defs";

const DEFINITIONS: &str = "#/$defs";

/// Makes every reference within the schema `name` one within a document that has it at `PREFIX/NAME`.
fn refer(value: &mut Value, name: &str, prefix: &str) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                match value {
                    Value::String(target) if member == "$ref" => {
                        let (file, rest) = target.split_once('#').unwrap_or((target, ""));
                        let file = file.strip_suffix(".json").unwrap_or(file);
                        let file = if file.is_empty() { name } else { file };
                        *target = format!("{prefix}/{file}{rest}");
                    }
                    value => refer(value, name, prefix),
                }
            }
        }
        Value::Array(elements) => {
            elements.iter_mut().for_each(|element| refer(element, name, prefix));
        }
        _ => {}
    }
}

/// The names of the schemas that `value` refers to.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(member, value)| match value {
                Value::String(target) if member == "$ref" => {
                    let name = target.strip_prefix(DEFINITIONS).unwrap_or(target);
                    name.split('/').nth(1).map(str::to_owned).into_iter().collect()
                }
                value => references(value),
            })
            .collect(),
        Value::Array(elements) => elements.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_in_one_piece_refers_to_nothing_that_is_elsewhere() {
        for (name, _) in FILES {
            let schema = alone(name).unwrap().unwrap();
            assert!(schema.get("$id").is_none(), "{name}");
            for needed in references(&schema) {
                let itself = needed == *name;
                assert!(itself || schema[DEFS].get(&needed).is_some(), "{name} needs {needed}");
            }
        }
        assert_eq!(alone("nothing").unwrap(), None);
    }

    #[test]
    fn references_are_made_for_where_the_schemas_are() {
        let schemas = all("#/components/schemas").unwrap();
        let history = &schemas["show"]["properties"]["history"];
        assert_eq!(history["items"]["$ref"], "#/components/schemas/log-event");
        let text = serde_json::to_string(&schemas).unwrap();
        assert!(!text.contains(".json"), "{text}");
    }
}
