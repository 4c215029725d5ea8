//! The OpenAPI document (version 3.1.1), generated from the types and the table of routes.

use protocol::VERSION;
use protocol::api::{PREFIX, PROBLEM_TYPE, PROTOCOL_HEADER, Problem};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::http::endpoint::{Content, Endpoint, For};

/// Generates the document for these routes.
pub(crate) fn document(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let operation = operation(endpoint, &mut generator);
        let path = paths.entry(format!("{PREFIX}{}", endpoint.path)).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(endpoint.method.as_str().to_lowercase(), operation);
        }
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "rocbed hub",
            "version": format!("{VERSION}"),
            "description": format!(
                "Every request may be sent twice: the second changes nothing and is answered as the first was. Header \
                 `{PROTOCOL_HEADER}` of a request says which version it is written for; the hub refuses later ones \
                 than its own. Fields that are not described here may come, and are to be left alone."
            ),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "browser": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The token as password, with any name",
                },
            },
            "responses": {
                "problem": {
                    "description": "What is wrong and what to do about it (RFC 9457)",
                    "content": { PROBLEM_TYPE: { "schema": problem } },
                },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let in_path = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let offset = |name: &str| name.ends_with("offset");
    let number = |name: &str| matches!(name, "limit" | "attempt") || offset(name);
    for (place, list) in [("query", endpoint.query), ("header", endpoint.headers)] {
        parameters.extend(list.iter().map(|(name, description)| {
            let kind = if number(name) { "integer" } else { "string" };
            let schema = json!({ "type": kind });
            json!({ "name": name, "in": place, "description": description, "required": offset(name), "schema": schema })
        }));
    }
    let mut answers = Map::new();
    let mut answer = json!({ "description": endpoint.summary });
    if let Some(content) = content(endpoint.answer, generator) {
        insert(&mut answer, "content", content);
    }
    answers.insert(endpoint.status.to_string(), answer);
    if endpoint.id == "claim" {
        answers.insert("204".into(), json!({ "description": "There was no job" }));
    }
    answers.insert("default".into(), json!({ "$ref": "#/components/responses/problem" }));
    let token = match endpoint.who {
        For::Joining => "With the join token, or the worker's own.",
        For::Worker => "With the worker's token.",
        For::Admin => "With the admin token.",
        For::Reader => "Without a token, unless the hub is set up otherwise.",
    };
    let mut security = vec![json!({ "bearer": [] })];
    if endpoint.who == For::Reader {
        security.extend([json!({ "browser": [] }), json!({})]);
    }
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "description": token,
        "parameters": parameters,
        "responses": answers,
        "security": security,
    });
    if let Some(content) = content(endpoint.request, generator) {
        insert(&mut operation, "requestBody", json!({ "required": true, "content": content }));
    }
    operation
}

fn content(content: Content, generator: &mut SchemaGenerator) -> Option<Value> {
    match content {
        Content::Nothing => None,
        Content::Json(schema) => Some(json!({ "application/json": { "schema": schema(generator) } })),
        Content::Bytes(kind) => Some(json!({ kind: {} })),
    }
}

fn insert(value: &mut Value, key: &str, inner: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), inner);
    }
}
