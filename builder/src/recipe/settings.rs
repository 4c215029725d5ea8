//! `[settings]` of a recipe: the appliance's settings that a recipe may set, checked against the appliance's own
//! table.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use advice::Advice;
use protocol::settings::{ALL, Setting, SettingSource, ValueKind, check, find};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use toml::Value;

/// The settings that a recipe may set.
fn known() -> impl Iterator<Item = &'static Setting> {
    ALL.iter().filter(|setting| setting.scope.at(SettingSource::Recipe))
}

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| known().map(|setting| setting.name).collect());

/// Settings of the appliance.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SettingsTable(BTreeMap<&'static str, Value>);

impl SettingsTable {
    /// Those of several recipes; of a setting that several have, the last.
    pub(super) fn merged<'a>(tables: impl Iterator<Item = &'a Self>) -> Self {
        Self(tables.flat_map(|table| table.0.clone()).collect())
    }
}

impl<'de> Deserialize<'de> for SettingsTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = SettingsTable;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a table of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SettingsTable, A::Error> {
        let mut table = BTreeMap::new();
        // Checked while deserialising, so that errors have the position of the key or the value.
        while let Some(setting) = map.next_key_seed(Name)? {
            table.insert(setting.name, map.next_value_seed(ValueOf(setting))?);
        }
        Ok(SettingsTable(table))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = &'static Setting;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static Setting, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = &'static Setting;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the name of a setting")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<&'static Setting, E> {
        match known().find(|setting| setting.name == name) {
            Some(setting) => Ok(setting),
            // The setting exists, but cannot be set in a recipe.
            None if ALL.iter().any(|setting| setting.name == name) => Err(E::custom(
                find(name, SettingSource::Recipe)
                    .err()
                    .map_or_else(String::new, |error| Advice::of(&error).in_one_line()),
            )),
            None => Err(E::unknown_field(name, &NAMES)),
        }
    }
}

struct ValueOf(&'static Setting);

impl<'de> DeserializeSeed<'de> for ValueOf {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let value = Value::deserialize(deserializer)?;
        checked(self.0, &value).map_err(de::Error::custom)?;
        Ok(value)
    }
}

fn checked(setting: &Setting, value: &Value) -> Result<(), String> {
    let one = |text: &str| {
        check(setting.name, text, SettingSource::Recipe).map(drop).map_err(|error| Advice::of(&error).in_one_line())
    };
    match (setting.kind, value) {
        (ValueKind::Bool, Value::Boolean(_)) => Ok(()),
        (ValueKind::Bool, _) => Err(format!("{} is true or false", setting.name)),
        (ValueKind::Count, Value::Integer(number)) => one(&number.to_string()),
        (ValueKind::Count, _) => Err(format!("{} is a number", setting.name)),
        (_, Value::String(text)) => one(text),
        (kind, Value::Array(values)) if kind.is_list() => {
            let words: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
            let words = words.ok_or_else(|| format!("{} is a list of texts in quotes", setting.name))?;
            if kind.has_commas() { one(&words.join(",")) } else { words.into_iter().try_for_each(one) }
        }
        (kind, _) if kind.is_list() => Err(format!("{} is a text in quotes, or a list of such", setting.name)),
        _ => Err(format!("{} is a text in quotes", setting.name)),
    }
}

impl JsonSchema for SettingsTable {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SettingsTable".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let properties: Map<_, _> = known().map(|setting| (setting.name.to_owned(), property(setting))).collect();
        json_schema!({
            "type": "object",
            "description": "Settings of the appliance.",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}

fn property(setting: &Setting) -> serde_json::Value {
    let description = format!("{} Without it: {}.", setting.meaning, setting.default);
    match setting.kind {
        ValueKind::Bool => json!({ "type": "boolean", "description": description }),
        ValueKind::Count => {
            json!({ "type": "integer", "minimum": 1, "maximum": 64, "description": description })
        }
        ValueKind::OneOf(words) => json!({ "enum": words, "description": description }),
        kind if kind.is_list() => json!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            "description": description,
        }),
        _ => json!({ "type": "string", "description": description }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::parse_file;
    use super::*;

    fn told(settings: &str) -> String {
        parse_file(&format!("[settings]\n{settings}\n"), "r.toml").map(drop).unwrap_err().to_string()
    }

    #[test]
    fn what_the_appliance_would_not_take_is_told_with_its_place() {
        assert!(told("nmae = 'x'").starts_with("r.toml:2:1: unknown key `nmae`; did you mean `name`?"));
        assert!(told("hub = 'hub.example'").starts_with("r.toml:2:7: hub: `hub.example` is not an address"));
        assert!(told("watchdog = 'soon'").contains("r.toml:2:12: watchdog: "));
        assert!(told("set-clock = 'no'").contains("set-clock is true or false"));
        assert!(told("dns = ['1.2.3.4', 'x']").contains("`x` is not an IP address"));
        assert!(told("name = 7").contains("name is a text in quotes"));
        assert!(told("jobs-at-once = '2'").contains("jobs-at-once is a number"));
        assert!(told("jobs-at-once = 0").contains("`0` is not a number from 1 to 64"));
        let two = parse_file("[settings]\njobs-at-once = 2\n", "r.toml").map(drop);
        assert!(two.err().is_none_or(|error| !error.to_string().contains("jobs-at-once")));
        assert!(told("root-timeout = '7'").contains("only the kernel command line"));
        assert!(told("recipe = 'x'").contains("only the build"));
    }

    #[test]
    fn every_setting_that_a_recipe_may_set_is_in_the_schema() {
        let text = "[settings]\nntp = ['a', 'b']\nip = 'dhcp'\ndebug-shell = true\nmirror = 'http://a'\n";
        let table = parse_file(text, "r.toml").unwrap().settings;
        let other = parse_file("[settings]\nntp = []\n", "r.toml").unwrap().settings;
        let merged = toml::to_string(&SettingsTable::merged([&table, &other].into_iter())).unwrap();
        assert_eq!(merged, "debug-shell = true\nip = \"dhcp\"\nmirror = \"http://a\"\nntp = []\n");
        let schema = SchemaGenerator::default().into_root_schema_for::<SettingsTable>();
        let properties = schema.as_value()["properties"].as_object().unwrap().len();
        assert_eq!(properties, known().count());
    }
}
