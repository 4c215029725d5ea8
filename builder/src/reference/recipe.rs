//! The reference page of recipe keys, generated from the JSON Schema.

use std::fmt::{self, Write};

use serde_json::{Map, Value};

/// Generates Markdown with a section per table of the recipe and a line per key.
pub(super) fn markdown(schema: &schemars::Schema) -> String {
    let mut page = String::from(
        "# Recipe keys\n\nMade from the program by `cargo xtask docs`; the JSON Schema beside this page says the same to editors.\n",
    );
    // Writing to a String cannot fail.
    let _ = write_tables(&mut page, schema.as_value());
    page
}

fn write_tables(page: &mut String, root: &Value) -> fmt::Result {
    let definitions = root.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(keys) = root.get("properties").and_then(Value::as_object) else { return Ok(()) };
    write!(page, "\n## Top level\n\n{}\n\n", description(root))?;
    let (tables, plain): (Vec<_>, Vec<_>) = keys.iter().partition(|(_, schema)| table(schema, &definitions).is_some());
    for (key, schema) in plain {
        write_key(page, key, schema, root, &definitions)?;
    }
    for (key, schema) in tables {
        let Some((definition, several)) = table(schema, &definitions) else { continue };
        let title = if several { format!("[[{key}]]") } else { format!("[{key}]") };
        write!(page, "\n## `{title}`\n\n{}\n\n", description(schema))?;
        let members = definition.get("properties").and_then(Value::as_object);
        for (key, schema) in members.into_iter().flatten() {
            write_key(page, key, schema, definition, &definitions)?;
        }
    }
    Ok(())
}

fn write_key(
    page: &mut String,
    key: &str,
    schema: &Value,
    of: &Value,
    definitions: &Map<String, Value>,
) -> fmt::Result {
    let required = of.get("required").and_then(Value::as_array).is_some_and(|keys| keys.iter().any(|name| name == key));
    let required = if required { ", required" } else { "" };
    writeln!(page, "- **`{key}`** ({}{required}): {}", kind(schema, definitions), description(schema))
}

fn description(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

/// The table that a key holds, and whether it is a list of tables.
fn table<'a>(schema: &'a Value, definitions: &'a Map<String, Value>) -> Option<(&'a Value, bool)> {
    let several = schema.get("type").is_some_and(|kind| kind == "array");
    let inner = if several { schema.get("items")? } else { schema };
    let definition = resolve(inner, definitions);
    definition.get("properties").is_some().then_some((definition, several))
}

fn resolve<'a>(schema: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    name.and_then(|name| definitions.get(name)).unwrap_or(schema)
}

/// Describes the type of a value, in words.
fn kind(schema: &Value, definitions: &Map<String, Value>) -> String {
    let options = schema.get("anyOf").and_then(Value::as_array);
    if let Some(options) = options {
        let of = options.iter().map(|option| kind(option, definitions)).filter(|kind| kind != "null");
        return of.collect::<Vec<_>>().join(" or ");
    }
    let schema = resolve(schema, definitions);
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    }
    let name = match schema.get("type") {
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("any")
        }
        _ => "any",
    };
    match (name, schema.get("items")) {
        ("array", Some(items)) => format!("list of {}s", kind(items, definitions)),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_line_that_says_something() {
        let page = markdown(&crate::recipe::schema());
        for key in ["`install`", "`check-valid-until`", "`sector-size`", "[[file]]", "[kernel]", "`debug-shell`"] {
            assert!(page.contains(key), "{key} is missing in:\n{page}");
        }
        let silent: Vec<_> = page.lines().filter(|line| line.starts_with("- ") && line.ends_with(": ")).collect();
        assert!(silent.is_empty(), "keys without a description: {silent:?}");
    }
}
