//! Checks that docs/control.schema.json agrees with the parser, and that answers and events match it.

use super::parse::{COMMON, VERBS, request};
use boon::{Compiler, Schemas};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;

fn schema() -> Value {
    let text = include_str!("../../../../../docs/control.schema.json");
    serde_json::from_str(text).unwrap()
}

const FILE: &str = "control.schema.json";

thread_local! {
    /// The compiled definitions, and the compiler, which compiles each only once.
    static COMPILED: RefCell<(Schemas, Compiler)> = RefCell::new({
        let mut compiler = Compiler::new();
        compiler.add_resource(FILE, schema()).expect("a schema");
        (Schemas::new(), compiler)
    });
}

/// Checks that a line matches a definition of the schema.
pub(crate) fn check(line: &Value, definition: &str) -> Result<(), String> {
    COMPILED.with_borrow_mut(|(schemas, compiler)| {
        let compiled = compiler.compile(&format!("{FILE}#/$defs/{definition}"), schemas);
        let index = compiled.unwrap_or_else(|e| panic!("{e:#}"));
        let fits = schemas.validate(line, index);
        fits.map_err(|why| format!("{line}: {why}"))
    })
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
            // Only the parser knows the valid values of these fields: files, devices, calls and errnos.
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
