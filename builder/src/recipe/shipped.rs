//! Recipes embedded in the program, so that an installed rocbed needs no checkout.

struct Shipped {
    name: &'static str,
    recipe: &'static str,
    lock: Option<&'static str>,
}

const SHIPPED: [Shipped; 4] = [
    Shipped {
        name: "base",
        recipe: include_str!("../../../recipes/base.toml"),
        lock: None, // only inherited from
    },
    Shipped {
        name: "smoke",
        recipe: include_str!("../../../recipes/smoke.toml"),
        lock: Some(include_str!("../../../recipes/smoke.lock")),
    },
    Shipped {
        name: "rocm",
        recipe: include_str!("../../../recipes/rocm.toml"),
        lock: Some(include_str!("../../../recipes/rocm.lock")),
    },
    Shipped {
        name: "rocm-full",
        recipe: include_str!("../../../recipes/rocm-full.toml"),
        lock: Some(include_str!("../../../recipes/rocm-full.lock")),
    },
];

/// Names of the shipped recipes.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|shipped| shipped.name)
}

/// Text of a shipped recipe.
pub fn recipe_text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|shipped| shipped.name == name).map(|shipped| shipped.recipe)
}

/// Text of a shipped recipe's lock. An empty one (before the first `rocbed lock`) counts as none.
pub fn lock_text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|shipped| shipped.name == name)?.lock.filter(|text| !text.is_empty())
}
