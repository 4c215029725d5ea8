//! [`GpuNeed`]: the GPU that a job needs.

use std::fmt;

use gpu::{Gpu, Inventory, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which GPU a job wants: `"any"`, `"none"`, or a list of targets of which any will do. A job that does not say gets a
/// GPU if the machine has one, and runs without one if not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum GpuNeed {
    /// A GPU if the machine has one: the default.
    #[default]
    IfThere,
    /// Any GPU that `ROCm` can use.
    Any,
    /// No GPU: the testbed has none inside, also on a machine that has one.
    None,
    /// A GPU that runs code compiled for one of these targets; never empty.
    Targets(Vec<Target>),
}

impl GpuNeed {
    /// The GPUs of a machine that meet the need, in its order. Empty for [`GpuNeed::None`].
    pub fn matching<'a>(&self, inventory: &'a Inventory) -> Vec<&'a Gpu> {
        let fits = |gpu: &&Gpu| match self {
            Self::None => false,
            Self::Any | Self::IfThere => true,
            Self::Targets(wanted) => wanted.iter().any(|wanted| gpu.target.satisfies(wanted)),
        };
        inventory.gpus.iter().filter(fits).collect()
    }

    /// Whether a job with this need can run only on a machine that has a GPU.
    pub fn is_required(&self) -> bool {
        matches!(self, Self::Any | Self::Targets(_))
    }

    /// Whether the job does not mention GPUs.
    pub fn is_default(&self) -> bool {
        *self == Self::IfThere
    }
}

impl fmt::Display for GpuNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IfThere => f.write_str("a GPU if there is one"),
            Self::Any => f.write_str("any GPU"),
            Self::None => f.write_str("no GPU"),
            Self::Targets(wanted) => {
                for (number, target) in wanted.iter().enumerate() {
                    let between = if number == 0 { "" } else { " or " };
                    write!(f, "{between}{target}")?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for GpuNeed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::IfThere => serializer.serialize_none(),
            Self::Any => serializer.serialize_str("any"),
            Self::None => serializer.serialize_str("none"),
            Self::Targets(wanted) => serializer.collect_seq(wanted.iter().map(ToString::to_string)),
        }
    }
}

fn target<E: de::Error>(text: &str) -> Result<Target, E> {
    text.parse().map_err(|error| E::custom(format!("{error}; or write \"any\" or \"none\"")))
}

impl<'de> Deserialize<'de> for GpuNeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = GpuNeed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"any\", \"none\", or a list of targets such as [\"gfx1030\"]")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GpuNeed, E> {
                match text {
                    "any" => Ok(GpuNeed::Any),
                    "none" => Ok(GpuNeed::None),
                    name => Ok(GpuNeed::Targets(vec![target(name)?])),
                }
            }

            fn visit_unit<E: de::Error>(self) -> Result<GpuNeed, E> {
                Ok(GpuNeed::IfThere)
            }

            fn visit_none<E: de::Error>(self) -> Result<GpuNeed, E> {
                Ok(GpuNeed::IfThere)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<GpuNeed, A::Error> {
                let mut targets = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    targets.push(target(&text)?);
                }
                if targets.is_empty() {
                    return Err(de::Error::custom("an empty list of targets: write \"none\" for no GPU"));
                }
                Ok(GpuNeed::Targets(targets))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for GpuNeed {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GpuNeed".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Which GPU the job wants: `any`, `none`, or targets of which any will do. Without this one \
                is given if the machine has one.",
            "anyOf": [
                { "type": "string", "pattern": "^(any|none|gfx[0-9a-f-]+.*)$" },
                { "type": "array", "minItems": 1, "items": { "type": "string", "pattern": "^gfx" } },
                { "type": "null" }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(json: &str) -> Result<GpuNeed, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_ways_to_say_it() -> Result<(), String> {
        assert_eq!(need("\"any\"")?, GpuNeed::Any);
        assert_eq!(need("\"none\"")?, GpuNeed::None);
        assert_eq!(need("null")?, GpuNeed::IfThere);
        assert_eq!(need("\"gfx1030\"")?, need("[\"gfx1030\"]")?);
        assert_eq!(need("[\"gfx1030\", \"gfx11-generic\"]")?.to_string(), "gfx1030 or gfx11-generic");
        Ok(())
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert!(need("\"radeon\"").unwrap_err().contains("`radeon`"));
        assert!(need("[]").unwrap_err().contains("empty"));
        assert!(need("7").unwrap_err().contains("any"));
    }

    #[test]
    fn generic_targets_take_what_they_cover() -> Result<(), String> {
        let machine = gpu::simulate("gfx1031,gfx942").map_err(|error| error.to_string())?;
        let targets = |json| -> Result<Vec<String>, String> {
            Ok(need(json)?.matching(&machine).iter().map(|gpu| gpu.target.to_string()).collect())
        };
        assert_eq!(targets("[\"gfx10-3-generic\"]")?, ["gfx1031"]);
        assert_eq!(targets("\"any\"")?, ["gfx1031", "gfx942"]);
        assert!(targets("\"none\"")?.is_empty());
        assert!(targets("[\"gfx906\"]")?.is_empty());
        Ok(())
    }
}
