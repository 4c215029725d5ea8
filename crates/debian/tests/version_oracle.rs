//! Compares our ordering of versions with dpkg's.

use debian::version::compare;
use proptest::prelude::*;
use std::{cmp::Ordering, process::Command};

/// Asks dpkg whether `a OPERATOR b` holds.
fn dpkg_says(a: &str, operator: &str, b: &str) -> bool {
    let status = Command::new("dpkg")
        .args(["--compare-versions", a, operator, b])
        .status()
        .expect("this test needs dpkg: install the package dpkg");
    status.success()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn order_is_dpkgs(
        a in "([0-2]:)?[0-9][0-9a-c.+~]{0,6}(-[0-9a-c.+~]{1,3})?",
        b in "([0-2]:)?[0-9][0-9a-c.+~]{0,6}(-[0-9a-c.+~]{1,3})?",
        same_start in any::<bool>(),
    ) {
        let b = if same_start { format!("{a}{}", b.replace([':', '-'], "")) } else { b };
        let ours = compare(&a, &b);
        prop_assert_eq!(compare(&b, &a), ours.reverse());
        let operator = match ours { Ordering::Less => "lt", Ordering::Equal => "eq", Ordering::Greater => "gt" };
        prop_assert!(dpkg_says(&a, operator, &b), "{} {} {}", a, operator, b);
    }
}
