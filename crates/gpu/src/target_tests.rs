use proptest::prelude::*;

use super::*;

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

#[test]
fn the_kernels_numbers_have_decimal_majors_and_hexadecimal_digits() {
    for (version, name) in [
        (70_001, "gfx701"),
        (80_003, "gfx803"),
        (90_000, "gfx900"),
        (90_010, "gfx90a"),
        (90_012, "gfx90c"),
        (90_402, "gfx942"),
        (90_500, "gfx950"),
        (100_300, "gfx1030"),
        (110_001, "gfx1101"),
        (110_501, "gfx1151"),
        (120_001, "gfx1201"),
    ] {
        let read = Target::from_gfx_target_version(version).unwrap();
        assert_eq!((read.to_string().as_str(), target(name)), (name, read));
    }
}

#[test]
fn numbers_that_are_no_target() {
    for version in [0, 3, 1_010, 91_600, 90_016, 2_560_000, u64::MAX] {
        assert_eq!(Target::from_gfx_target_version(version), None, "{version}");
    }
}

#[test]
fn texts_that_are_no_target() {
    for text in [
        "", "gfx", "gfx9", "gfx90", "gfx90g", "gfx90A", "GFX900", "gfx+900", "gfx0900", "gfx99900", "gfx9é0", "1030",
        "gfx1030 ", ":xnack+",
    ] {
        assert!(matches!(text.parse::<Target>(), Err(TargetError::NotATarget(_))), "{text}");
    }
    let error = "radeon".parse::<Target>().unwrap_err().to_string();
    assert!(error.contains("gfx1030") && error.contains("gfx10-3-generic"), "{error}");
}

#[test]
fn features_are_written_in_llvms_order() {
    assert_eq!(target("gfx90a:xnack-:sramecc+").to_string(), "gfx90a:sramecc+:xnack-");
    assert_eq!(target("gfx90a:xnack-").feature(Feature::Xnack), Some(false));
    assert_eq!(target("gfx90a:xnack-").feature(Feature::Sramecc), None);
}

#[test]
fn wrong_features_are_told_apart() {
    let error = |text: &str| text.parse::<Target>().unwrap_err().to_string();
    assert_eq!(error("gfx1030:xnack+"), "GPU target `gfx1030:xnack+`: gfx1030 has no xnack setting; leave it out");
    assert_eq!(error("gfx90a:xnack+:xnack-"), "GPU target `gfx90a:xnack+:xnack-` sets xnack twice");
    assert!(error("gfx90a:xnack").contains("`xnack` in GPU target"));
    assert!(error("gfx90a:").contains("not a target feature"));
}

#[test]
fn all_of_gfx103x_satisfies_gfx10_3_generic_and_nothing_else_does() {
    let family = target("gfx10-3-generic");
    for stepping in 0..=6 {
        assert!(target(&format!("gfx103{stepping}")).satisfies(&family), "{stepping}");
    }
    for other in ["gfx1010", "gfx1037", "gfx1100", "gfx900", "gfx11-generic"] {
        assert!(!target(other).satisfies(&family), "{other}");
    }
}

#[test]
fn the_other_families_are_llvms() {
    for (family, members, strangers) in [
        (
            "gfx9-generic",
            &["gfx900", "gfx902", "gfx904", "gfx906", "gfx909", "gfx90c"][..],
            &["gfx908", "gfx90a", "gfx942"][..],
        ),
        ("gfx9-4-generic", &["gfx940", "gfx941", "gfx942", "gfx950"], &["gfx90a", "gfx908", "gfx906"]),
        ("gfx10-1-generic", &["gfx1010", "gfx1011", "gfx1012", "gfx1013"], &["gfx1030"]),
        (
            "gfx11-generic",
            &["gfx1100", "gfx1101", "gfx1102", "gfx1103", "gfx1150", "gfx1151", "gfx1152", "gfx1153"],
            &["gfx1200", "gfx1036"],
        ),
        ("gfx12-generic", &["gfx1200", "gfx1201"], &["gfx1250", "gfx1103"]),
        ("gfx12-5-generic", &["gfx1250", "gfx1251"], &["gfx1200"]),
    ] {
        for member in members {
            assert!(target(member).satisfies(&target(family)), "{member} {family}");
            assert_eq!(target(member).generic(), Some(target(family)));
        }
        for stranger in strangers {
            assert!(!target(stranger).satisfies(&target(family)), "{stranger} {family}");
        }
    }
}

#[test]
fn a_chip_does_not_satisfy_its_neighbour() {
    assert!(target("gfx1030").satisfies(&target("gfx1030")));
    assert!(!target("gfx1031").satisfies(&target("gfx1030")));
    assert!(!target("gfx10-3-generic").satisfies(&target("gfx1030")));
}

#[test]
fn only_features_set_on_both_sides_can_disagree() {
    let gpu = target("gfx90a:sramecc+");
    assert!(gpu.satisfies(&target("gfx90a")));
    assert!(gpu.satisfies(&target("gfx90a:sramecc+")));
    assert!(gpu.satisfies(&target("gfx90a:sramecc+:xnack-")));
    assert!(!gpu.satisfies(&target("gfx90a:sramecc-")));
    assert!(!target("gfx906:xnack+").satisfies(&target("gfx9-generic:xnack-")));
}

#[test]
fn json_has_the_text() {
    let gpu = target("gfx90a:sramecc+:xnack-");
    assert_eq!(serde_json::to_string(&gpu).unwrap(), "\"gfx90a:sramecc+:xnack-\"");
    assert!(serde_json::from_str::<Target>("\"gfx1030:xnack+\"").is_err());
}

fn any_target() -> impl Strategy<Value = Target> {
    let version = (1..=255_u8, 0..16_u8, 0..16_u8).prop_map(|(a, b, c)| Target::new(a, b, c).unwrap());
    let generic = prop::sample::select(&Generic::ALL[..]).prop_map(|generic| target(&generic.to_string()));
    let feature = prop::option::of(any::<bool>());
    (prop_oneof![version, generic], feature.clone(), feature).prop_map(|(mut target, sramecc, xnack)| {
        for (feature, on) in [(Feature::Sramecc, sramecc), (Feature::Xnack, xnack)] {
            if let Some(on) = on {
                target = target.with(feature, on);
            }
        }
        target
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(target in any_target()) {
        prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
        prop_assert!(target.satisfies(&target));
        prop_assert!(target.satisfies(&target.without_features()));
    }

    #[test]
    fn what_is_read_is_written_again(text in "gfx[0-9a-f]{0,5}(-generic)?(:(xnack|sramecc)[+-]){0,2}|\\PC{0,20}") {
        if let Ok(target) = text.parse::<Target>() {
            prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
        }
    }

    #[test]
    fn no_number_panics(version: u64) {
        if let Some(target) = Target::from_gfx_target_version(version) {
            prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
        }
    }
}

#[test]
fn generic_targets_that_are_not_known_are_targets_that_nothing_fits() {
    for name in ["gfx13-generic", "gfx11-7-generic"] {
        let generic = target(name);
        assert_eq!(generic.to_string(), name);
        for version in ["gfx1170", "gfx1310", "gfx1100"] {
            assert!(!target(version).satisfies(&generic), "{version} {name}");
        }
    }
    for name in ["gfx-generic", "gfx11-0-generic", "gfx011-generic", "gfx11-7-7-generic", "gfx999-generic"] {
        assert!(name.parse::<Target>().is_err(), "{name}");
    }
    assert!(target("gfx1154").satisfies(&target("gfx11-generic")));
    assert!(!target("gfx1170").satisfies(&target("gfx11-generic")));
}
