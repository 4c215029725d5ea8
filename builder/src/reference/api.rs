//! `api.md`: reference of the hub's API, generated from the description that a hub serves at `/api/v1/openapi.json`.

use protocol::api::ProblemCode;
use serde_json::{Map, Value};

use super::types;

/// HTTP methods in the order in which they are shown.
const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];

/// Generates the page.
pub(super) fn markdown(document: &Value) -> String {
    let about = text(document.get("info"), "description");
    let mut page = format!(
        "# API of the hub\n\nMade from the program by `cargo xtask docs`; [openapi.json](openapi.json) says the same to \
         programs, and a hub has it at `/api/v1/openapi.json`. [The hub](../hub.md) says what it is for.\n\n{about}\n\n\
         A token is sent as `Authorization: Bearer TOKEN`, or by a browser as the password of any name.\n\n# Requests\n"
    );
    for (path, methods) in members(document.get("paths")) {
        for method in METHODS {
            if let Some(operation) = methods.get(method) {
                write_operation(&mut page, &format!("{} {path}", method.to_uppercase()), operation);
            }
        }
    }
    page.push_str(
        "\n# Problems\n\nA request that is refused is answered with a [Problem](#problem) in \
         `application/problem+json` (RFC 9457). Its `code` is one of these; readers take one that they do not know by \
         its status. Any request may be refused with those that are about tokens, versions and the hub itself.\n\n\
         | code | status | what is wrong | what to do |\n|---|---|---|---|\n",
    );
    for code in ProblemCode::ALL {
        page.push_str(&format!("| `{}` | {} | {} | {} |\n", code.name(), code.status(), code.title(), code.advice()));
    }
    page.push_str("\n# Types\n");
    if let Some(schemas) = document.pointer("/components/schemas").and_then(Value::as_object) {
        types::sections(&mut page, schemas);
    }
    page
}

fn write_operation(page: &mut String, title: &str, operation: &Value) {
    let (summary, who) = (text(Some(operation), "summary"), text(Some(operation), "description"));
    page.push_str(&format!("\n## `{title}`\n\n{summary}. {who}\n\n"));
    for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let (name, place) = (text(Some(parameter), "name"), text(Some(parameter), "in"));
        let kind = parameter.get("schema").map(types::kind).unwrap_or_default();
        let about = text(Some(parameter), "description");
        let needed = parameter.get("required").is_some_and(|required| required == true);
        let needed = if needed { ", required" } else { "" };
        let about = if about.is_empty() { String::new() } else { format!(": {about}") };
        page.push_str(&format!("- **`{name}`** in the {place} ({kind}{needed}){about}\n"));
    }
    if let Some(request) = operation.get("requestBody") {
        page.push_str(&format!("- request: {}\n", content(request)));
    }
    for (status, answer) in members(operation.get("responses")).filter(|(status, _)| *status != "default") {
        let content = content(answer);
        let about = text(Some(answer), "description");
        let about = if content.is_empty() && about != summary { about } else { "" };
        let what = [content.as_str(), about].into_iter().find(|text| !text.is_empty()).unwrap_or("nothing");
        page.push_str(&format!("- answer {status}: {what}\n"));
    }
}

/// Describes the content of a request or answer: a type, or bytes of a media type.
fn content(of: &Value) -> String {
    let kinds = members(of.get("content")).map(|(media, content)| match content.get("schema") {
        Some(schema) => types::kind(schema),
        None => format!("`{media}`"),
    });
    kinds.collect::<Vec<_>>().join(" or ")
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn text<'a>(value: Option<&'a Value>, key: &str) -> &'a str {
    value.and_then(|value| value.get(key)).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_and_every_problem_is_there() {
        let document = hub::openapi();
        let page = markdown(&document);
        let mut count = 0;
        for (path, methods) in members(document.get("paths")) {
            for (method, operation) in members(Some(methods)) {
                let title = format!("\n## `{} {path}`\n\n{}", method.to_uppercase(), text(Some(operation), "summary"));
                assert!(page.contains(&title), "{title}");
                count += 1;
            }
        }
        assert!(count > 20, "{count}");
        assert!(page.contains("- request: [AddJobs](#addjobs)\n- answer 200: [AddedJobs](#addedjobs)\n"), "{page}");
        assert!(page.contains("- answer 204: There was no job\n"), "{page}");
        for code in ProblemCode::ALL {
            assert!(page.contains(&format!("| `{}` | {} |", code.name(), code.status())), "{code:?}");
        }
    }
}
