//! Compares docs/control.schema.json with the parser, and answers and events with the schema.

use super::parse::{COMMON, VERBS, request};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Returns the schema.
fn schema() -> Value {
    let text = include_str!("../../../../docs/control.schema.json");
    serde_json::from_str(text).unwrap()
}

/// Checks a line against a definition of the schema.
pub(crate) fn check(line: &Value, definition: &str) -> Result<(), String> {
    let schema = schema();
    let wanted = json!({"$ref": format!("#/$defs/{definition}")});
    matches(line, &wanted, &schema).map_err(|why| format!("{line}: {why}"))
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the schema has a type {other}"),
    }
}

/// Checks a value against the keywords that the schema uses.
fn matches(value: &Value, wanted: &Value, root: &Value) -> Result<(), String> {
    let fits = |wanted: &Value| matches(value, wanted, root).is_ok();
    let names = |list: &Value| -> Vec<String> { serde_json::from_value(list.clone()).unwrap() };
    for (keyword, rule) in wanted.as_object().unwrap() {
        let is_met = match keyword.as_str() {
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                let found = root["$defs"]
                    .get(name)
                    .unwrap_or_else(|| panic!("no {name}"));
                matches(value, found, root)?;
                true
            }
            "type" if rule.is_array() => names(rule).iter().any(|name| has_type(value, name)),
            "type" => has_type(value, rule.as_str().unwrap()),
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|n| n <= rule.as_i64().unwrap()),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap()),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| text.len() as u64 <= rule.as_u64().unwrap()),
            "pattern" => {
                assert_eq!(rule, "^[0-9a-f]{8}$", "the only pattern");
                let text = value.as_str().unwrap_or("00000000");
                text.len() == 8 && text.bytes().all(|b| b"0123456789abcdef".contains(&b))
            }
            "oneOf" => {
                rule.as_array()
                    .unwrap()
                    .iter()
                    .filter(|one| fits(one))
                    .count()
                    == 1
            }
            "anyOf" => rule.as_array().unwrap().iter().any(fits),
            "required" => names(rule).iter().all(|name| value.get(name).is_some()),
            "dependentRequired" => rule.as_object().unwrap().iter().all(|(field, others)| {
                value.get(field).is_none()
                    || names(others).iter().all(|name| value.get(name).is_some())
            }),
            "if" => !fits(rule) || fits(&wanted["then"]),
            "items" => {
                let mut items = value.as_array().into_iter().flatten();
                items.try_for_each(|item| matches(item, rule, root))?;
                true
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    let field = value.get(name).map(|field| matches(field, rule, root));
                    field.transpose().map_err(|why| format!("{name}: {why}"))?;
                }
                true
            }
            "additionalProperties" => {
                let known = wanted["properties"].as_object().unwrap();
                let mut given = value
                    .as_object()
                    .into_iter()
                    .flat_map(serde_json::Map::keys);
                given.all(|name| known.contains_key(name))
            }
            "then" | "description" | "default" | "examples" => true,
            other => panic!("the schema has a keyword {other}"),
        };
        if !is_met {
            return Err(format!("{keyword} is not met"));
        }
    }
    Ok(())
}

fn is_read(order: &Value) -> bool {
    request(&order.to_string()).order.is_ok()
}

#[test]
fn schema_has_the_orders_of_the_parser() {
    let schema = schema();
    let of = |kind: &str| -> BTreeSet<String> {
        let names = schema["$defs"].as_object().unwrap().keys();
        let names = names.filter_map(|name| name.strip_prefix(kind));
        names.map(str::to_owned).collect()
    };
    let verbs: BTreeSet<String> = VERBS.iter().map(|verb| verb.name.to_owned()).collect();
    assert_eq!(of("order."), verbs);
    assert_eq!(of("answer."), verbs);
    for verb in VERBS {
        let definition = &schema["$defs"][format!("order.{}", verb.name)];
        let fields = definition["properties"].as_object().unwrap().keys();
        let fields: BTreeSet<&str> = fields.map(String::as_str).collect();
        let known = COMMON.iter().chain(verb.fields).copied();
        assert_eq!(fields, known.collect(), "{}", verb.name);
    }
}

#[test]
fn schema_and_parser_accept_the_same_orders() {
    let schema = schema();
    let odd = [
        json!(-1),
        json!(1u64 << 60),
        json!("odd"),
        json!([]),
        json!(true),
    ];
    let mut tried = 0;
    for verb in VERBS {
        let definition = format!("order.{}", verb.name);
        let example = schema["$defs"][&definition]["examples"][0].clone();
        let example = example.as_object().unwrap();
        let given = example.keys().map(String::as_str);
        let missing: Vec<_> = verb
            .fields
            .iter()
            .filter(|f| !example.contains_key(**f))
            .collect();
        assert!(
            missing.is_empty(),
            "{definition}: the example lacks {missing:?}"
        );
        let mut orders = vec![example.clone()];
        for field in given {
            let mut without = example.clone();
            without.remove(field);
            orders.push(without);
            // The parser also knows which files, devices, calls and errnos there are.
            let is_free = matches!(field, "id" | "call" | "errno" | "source" | "path");
            for value in odd.iter().filter(|_| !is_free) {
                let mut other = example.clone();
                other.insert(field.to_owned(), value.clone());
                orders.push(other);
            }
        }
        let mut more = example.clone();
        more.insert("more".to_owned(), json!(1));
        orders.push(more);
        for order in orders.into_iter().map(Value::Object) {
            let fits = check(&order, "order");
            assert_eq!(is_read(&order), fits.is_ok(), "{order}: {fits:?}");
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
}
