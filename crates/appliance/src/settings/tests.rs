use super::*;
use proptest::prelude::*;

#[test]
fn the_command_line_is_over_the_stick_is_over_the_image() {
    let mut settings = Settings::default();
    let image = "name = \"from-image\"\nhub = \"http://a\"\ndebug-shell = true\nwatchdog = \"1m\"\n";
    let stick = "hub = \"http://b/\"\nip = [\"dhcp\", \"off\"]\nntp = [\"x\", \"y\"]\ncheck-valid-until = false\n";
    assert!(settings.set_all(image, Origin::Image).is_empty());
    assert!(settings.set_all(stick, Origin::Stick).is_empty());
    assert_eq!(settings.set("watchdog", "off", Origin::CommandLine), Ok(()));
    assert_eq!(settings.name.as_deref(), Some("from-image"));
    assert_eq!(settings.hub.as_deref(), Some("http://b"));
    assert_eq!((settings.ip.len(), settings.ntp.len(), settings.watchdog), (2, 2, None));
    assert!(settings.debug_shell && !settings.check_valid_until);
}

#[test]
fn a_broken_file_changes_nothing_and_is_told() {
    let mut settings = Settings::default();
    let problems = settings.set_all("hub = \"http://a\"\nname = \n", Origin::Stick);
    assert_eq!(settings.wrong_rules, problems, "a rule of the owner may have been in it");
    assert_eq!(settings, Settings { wrong_rules: problems.clone(), ..Settings::default() });
    assert!(problems[0].what.starts_with("rocbed.toml on the stick: line 2: "), "{problems:?}");
}

#[test]
fn what_is_wrong_is_told_and_the_rest_is_used() {
    let mut settings = Settings::default();
    let text = "hubb = \"http://a\"\nname = \"a b\"\ndns = [\"1.2.3.4\", \"x\"]\nset-clock = \"perhaps\"\n\
        mirror = \"deb.example\"\nwhen-done = \"dance\"\n[table]\n[other]\n";
    let problems = settings.set_all(text, Origin::Stick);
    assert_eq!(problems.len(), 8, "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.what.contains("did you mean `hub`?")), "{problems:#?}");
    assert_eq!(settings, Settings::default());
}

#[test]
fn a_rule_that_is_wrong_is_kept_for_the_agent() {
    for (text, wrong) in [
        ("test-network = \"archve\"", 1),
        ("longest-job = \"soon\"", 1),
        ("test-netwrok = \"archive\"", 1),
        ("[test-hosts]\nx = 1", 1),
        ("packages = [\"hip*\"]", 0),
        ("when-done = \"dance\"", 0),
        ("hubb = \"http://a\"", 0),
    ] {
        let mut settings = Settings::default();
        settings.set_all(text, Origin::Stick);
        assert_eq!(settings.wrong_rules.len(), wrong, "{text}: {:?}", settings.wrong_rules);
    }
}

#[test]
fn a_token_is_never_told() {
    let mut settings = Settings::default();
    let problem = settings.set("join-token", "se cret", Origin::Stick).unwrap_err();
    assert!(!Advice::of(&problem).in_one_line().contains("se cret"), "{problem}");
    assert_eq!(settings.set("join_token", "join-abc123", Origin::CommandLine), Ok(()));
    assert_eq!(settings.join_token.as_ref().map(Secret::reveal), Some("join-abc123"));
    assert!(!format!("{settings:?}").contains("abc123"));
}

#[test]
fn an_authority_is_a_path_or_the_file_itself() {
    let mut settings = Settings::default();
    let file = "hub-ca = \"\"\"\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n\"\"\"\n";
    assert!(settings.set_all(file, Origin::Stick).is_empty());
    assert!(settings.hub_ca.as_deref().is_some_and(|text| text.contains("MIIB\n")));
    assert_eq!(settings.set("hub-ca", "/etc/rocbed/hub-ca.pem", Origin::CommandLine), Ok(()));
    assert!(settings.set("hub-ca", "ca.pem", Origin::CommandLine).is_err());
}

#[test]
fn only_the_image_may_allow_a_shell() {
    let mut settings = Settings::default();
    for origin in [Origin::Stick, Origin::CommandLine, Origin::HandOver] {
        assert!(settings.set("debug-shell", "yes", origin).is_err());
    }
    assert!(!settings.debug_shell);
}

proptest! {
    #[test]
    fn any_file_is_read(text in "([a-z-]{1,12} = (\"[^\"]{0,9}\"|[0-9]{1,3}|true|\\[\"a\", 1\\])\n|\\[x\\]\n|.){0,9}") {
        Settings::default().set_all(&text, Origin::Stick);
    }
}
