//! The recipes inside the program, so that an installed rocbed needs no checkout.

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

/// The shipped recipes' names.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|shipped| shipped.name)
}

/// A shipped recipe's text.
pub fn recipe_text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|shipped| shipped.name == name).map(|shipped| shipped.recipe)
}

/// A shipped recipe's lock, as text. An empty one (before the first `rocbed lock`) counts as none.
pub fn lock_text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|shipped| shipped.name == name)?.lock.filter(|text| !text.is_empty())
}
