//! Types of a JSON Schema as Markdown: a section for each, a line for each field.

use serde_json::{Map, Value};

/// Generates a page about the schema's root and all types that it refers to.
pub(super) fn page(title: &str, text: &str, schema: &Value) -> String {
    let mut page = format!("# {title}\n\nMade from the program by `cargo xtask docs`.\n\n{text}\n");
    let name = schema.get("title").and_then(Value::as_str).unwrap_or(title);
    section(&mut page, name, schema);
    if let Some(types) = schema.get("$defs").and_then(Value::as_object) {
        sections(&mut page, types);
    }
    page
}

/// Writes a section for each type.
pub(super) fn sections(page: &mut String, types: &Map<String, Value>) {
    for (name, schema) in types {
        section(page, name, schema);
    }
}

fn section(page: &mut String, name: &str, schema: &Value) {
    page.push_str(&format!("\n## {name}\n\n"));
    let description = description(schema);
    if !description.is_empty() {
        page.push_str(&format!("{description}\n\n"));
    }
    let variants = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(key)?.as_array());
    if fields(page, schema, "") {
        return;
    }
    let Some(variants) = variants else {
        page.push_str(&format!("In JSON: {}.\n", kind(schema)));
        return;
    };
    page.push_str("One of:\n\n");
    for variant in variants {
        let text = self::description(variant);
        let text = if text.is_empty() { String::new() } else { format!(": {text}") };
        if variant.get("properties").is_some() {
            page.push_str(&format!("- an object{text}\n"));
            fields(page, variant, "  ");
        } else {
            page.push_str(&format!("- {}{text}\n", kind(variant)));
        }
    }
}

/// Writes a line for each field of an object. Returns whether it is an object.
fn fields(page: &mut String, schema: &Value, indent: &str) -> bool {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return false };
    let required = schema.get("required").and_then(Value::as_array);
    for (name, field) in properties {
        let needed = required.is_some_and(|names| names.iter().any(|needed| needed == name));
        let needed = if needed { ", always there" } else { "" };
        let text = description(field);
        let text = if text.is_empty() { String::new() } else { format!(": {text}") };
        page.push_str(&format!("{indent}- **`{name}`** ({}{needed}){text}\n", kind(field)));
    }
    true
}

fn description(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

/// Anchor of a heading within its page.
pub(super) fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|char| match char {
            ' ' => Some('-'),
            char if char.is_alphanumeric() || "-_".contains(char) => Some(char),
            _ => None,
        })
        .collect()
}

/// Describes the type of a value, in words; types on the page are links.
pub(super) fn kind(schema: &Value) -> String {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    if let Some(name) = text("$ref").and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", anchor(name));
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
    }
    if let Some(options) = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(key)?.as_array()) {
        let kinds = options.iter().map(kind).filter(|kind| kind != "null");
        return kinds.collect::<Vec<_>>().join(" or ");
    }
    let name = match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("any")
        }
        _ => "any",
    };
    match (name, schema.get("items"), schema.get("additionalProperties")) {
        ("array", Some(items), _) => format!("list of {}", kind(items)),
        ("object", _, Some(values)) if values.is_object() => format!("object with values of {}", kind(values)),
        ("string", ..) if text("format") == Some("date-time") => "time (RFC 3339)".to_owned(),
        (name, ..) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_words() {
        for (schema, words) in [
            (json!({ "type": ["string", "null"] }), "string"),
            (json!({ "anyOf": [{ "$ref": "#/$defs/RunAs" }, { "type": "null" }] }), "[RunAs](#runas)"),
            (json!({ "type": "array", "items": { "type": "integer" } }), "list of integer"),
            (json!({ "type": "string", "format": "date-time" }), "time (RFC 3339)"),
            (json!({ "type": "object", "additionalProperties": { "type": "string" } }), "object with values of string"),
            (json!({ "enum": ["a", 1] }), "`\"a\"` or `1`"),
            (json!({}), "any"),
        ] {
            assert_eq!(kind(&schema), words);
        }
    }

    #[test]
    fn a_type_is_a_section_with_a_line_for_each_field() {
        let schema = json!({
            "title": "Thing", "description": "A thing.", "type": "object", "required": ["id"],
            "properties": { "id": { "type": "string", "description": "Its id." }, "way": { "$ref": "#/$defs/Way" } },
            "$defs": { "Way": { "oneOf": [{ "const": "up", "description": "Upwards." }, { "const": "down" }] } },
        });
        let expected = "# Things\n\nMade from the program by `cargo xtask docs`.\n\nText.\n\n## Thing\n\nA thing.\n\n\
            - **`id`** (string, always there): Its id.\n- **`way`** ([Way](#way))\n\n## Way\n\nOne of:\n\n\
            - `\"up\"`: Upwards.\n- `\"down\"`\n";
        assert_eq!(page("Things", "Text.", &schema), expected);
    }
}
