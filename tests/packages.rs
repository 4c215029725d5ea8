//! The Debian packages, in clean roots of Debian 13 and sid: installed, used, upgraded and purged. The container images, in podman.

#[path = "packages/built.rs"]
mod built;
#[path = "packages/images.rs"]
mod images;
#[path = "packages/podman.rs"]
mod podman;
#[path = "packages/root.rs"]
mod root;

use std::fs;
use std::time::Instant;

use built::Packages;
use rocbed_tests::{OnlyProxy, PROXY_PORT, Rules, fixture_tree, seed_cache, served_mirror, tool};
use root::{Net, Root};

/// What the packages depend on. It is in the clean roots, so that purging leaves them as they were.
const DEPENDENCIES: &str = "autopkgtest,bash-completion,dpkg-dev,man-db";

/// An installed system, and its files before.
struct Installed {
    root: Root,
    before: Vec<String>,
}

/// A clean system with an older version of the packages, upgraded to those under test.
fn upgraded(suite: &str, include: &str) -> Installed {
    let packages = Packages::of_programs_under_test();
    let root = Root::new(suite, include);
    let before = root.files();
    let inside = |packages: &[std::path::PathBuf]| -> Vec<String> {
        packages.iter().map(|package| root.bring(package)).collect()
    };
    let install = |packages: &[String]| {
        root.run(Net::Host, &format!("apt-get install --quiet --yes --no-install-recommends {}", packages.join(" ")))
    };
    install(&inside(&packages.old));
    assert_eq!(root.run(Net::Host, "dpkg-query -W -f '${Version}' rocbed"), "0.0.1-1");
    // Somebody's own settings survive an upgrade.
    fs::write(root.path("/etc/default/rocbed-hub"), "ROCBED_HUB_OPTIONS='--listen 127.0.0.1:8421'\n")
        .expect("settings");
    install(&inside(&packages.new));
    for name in ["rocbed", "rocbed-hub", "autopkgtest-virt-rocbed"] {
        let state = root.run(Net::Host, &format!("dpkg-query -W -f '${{Status}} ${{Version}}' {name}"));
        assert!(state.starts_with("install ok installed 0.1.0"), "{name}: {state}");
    }
    assert!(fs::read_to_string(root.path("/etc/default/rocbed-hub")).expect("settings").contains("8421"));
    Installed { root, before }
}

impl Installed {
    /// What a user looks for first: the version, a man page, completion, a recipe.
    fn is_there(&self) {
        let run = |script: &str| self.root.run(Net::Loopback, script);
        assert!(run("rocbed --version").starts_with("rocbed 0.1.0"));
        for page in ["rocbed", "rocbed-jobs-add", "rocbed-hub", "autopkgtest-virt-rocbed"] {
            let text = run(&format!("man {page}; man --warnings {page} 2>&1 >/dev/null | sed 's/^/wrong: /'"));
            assert!(text.contains("NAME") && !text.contains("wrong: "), "{page}:\n{text}");
        }
        let complete = ". /usr/share/bash-completion/completions/rocbed; complete -p rocbed";
        assert!(run(&format!("bash -euc '{complete}'")).contains("rocbed"));
        assert!(self.root.path("/usr/share/zsh/vendor-completions/_rocbed").is_file());
        assert!(self.root.path("/usr/share/fish/vendor_completions.d/rocbed.fish").is_file());
        assert!(run("rocbed plan --offline --locked /usr/share/rocbed/recipes/smoke.toml").contains("packages"));
        // PID 1 for images is where the program looks for it, and is static.
        assert!(run("/usr/lib/rocbed/rocbed-init detect --json || test $? = 1").contains("gpus"));
    }

    /// The hub runs with its unit's command line as a user without rights, and takes a job.
    fn runs_the_hub(&self) {
        let unit = fs::read_to_string(self.root.path("/usr/lib/systemd/system/rocbed-hub.service")).expect("the unit");
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command line");
        let line = line.replace("%S", "/var/lib");
        let script = format!(
            r"
            # As systemd does for DynamicUser and StateDirectory.
            mkdir -p -m 0700 /var/lib/private/rocbed-hub
            ln -s private/rocbed-hub /var/lib/rocbed-hub
            chown 61184:61184 /var/lib/private/rocbed-hub
            . /etc/default/rocbed-hub
            setpriv --reuid=61184 --regid=61184 --clear-groups --inh-caps=-all --bounding-set=-all {line} >/dev/null &
            export ROCBED_HUB=http://127.0.0.1:8421
            until rocbed workers list >/dev/null 2>&1; do sleep 0.2; kill -0 $!; done
            rocbed jobs add gzip --token-file /var/lib/rocbed-hub/admin-token
            rocbed jobs list
            kill $!
            wait $!
            "
        );
        assert!(self.root.run(Net::Loopback, &script).contains("gzip"));
    }

    /// `autopkgtest ... -- rocbed` runs a source tree's tests.
    fn runs_tests(&self) {
        let tree = self.root.bring(&fixture_tree("passes"));
        tool(
            "cp",
            [
                "-a".as_ref(),
                "--reflink=auto".as_ref(),
                self.root.base().as_os_str(),
                self.root.path("/var/tmp/testbed").as_os_str(),
            ],
        );
        // With the user that tests run as, which autopkgtest would otherwise add by a program that a small root lacks.
        let script = format!(
            r"
            cd /var/tmp/testbed
            echo tester:x:1000:1000::/home/tester:/bin/sh >>etc/passwd
            echo tester:x:1000: >>etc/group
            echo 'tester:*:20000:0:99999:7:::' >>etc/shadow
            mkdir home/tester
            chown 1000:1000 home/tester
            autopkgtest --no-built-binaries {tree} -- rocbed --root /var/tmp/testbed 2>&1
            "
        );
        let said = self.root.run(Net::Host, &script);
        assert!(said.contains("cases") && said.contains("PASS"), "{said}");
    }

    /// Purges the packages: what is left is what was there before.
    fn leaves_no_trace(self) {
        self.root.run(Net::Host, "apt-get purge --quiet --yes rocbed rocbed-hub autopkgtest-virt-rocbed");
        let after = self.root.files();
        let left: Vec<_> = after.iter().filter(|line| !self.before.contains(line)).collect();
        let lost: Vec<_> = self.before.iter().filter(|line| !after.contains(line)).collect();
        assert!(left.is_empty() && lost.is_empty(), "left: {left:#?}\nlost: {lost:#?}");
    }
}

#[test]
fn debian_13_installs_uses_upgrades_and_purges_them() {
    let installed = upgraded("trixie", &format!("{DEPENDENCIES},qemu-system-x86"));
    installed.is_there();
    installed.runs_the_hub();
    installed.runs_tests();
    seed_cache(&installed.root.path("/var/tmp/cache"));
    shows_the_demo_behind_a_proxy(&installed.root);
    installed.leaves_no_trace();
}

#[test]
fn sid_installs_uses_upgrades_and_purges_them() {
    let installed = upgraded("sid", DEPENDENCIES);
    installed.is_there();
    installed.runs_the_hub();
    installed.runs_tests();
    installed.leaves_no_trace();
}

/// The demo where a proxy is the only way out, for the program and for the machine in QEMU: apt's configuration names it.
fn shows_the_demo_behind_a_proxy(root: &Root) {
    let server = served_mirror();
    let mirror = "deb.invalid";
    let machine = OnlyProxy::new(Rules::default().server(mirror, server.address()), "", "");
    let (sources, own) = (root.path("/etc/apt/sources.list"), root.path("/var/tmp/sources.list"));
    let proxy = root.path("/etc/apt/apt.conf.d/90proxy");
    fs::rename(&sources, &own).expect("apt's sources");
    fs::write(&sources, format!("deb http://{mirror}/debian sid main\n")).expect("apt's sources");
    fs::write(&proxy, format!("Acquire::http::Proxy \"http://127.0.0.1:{PROXY_PORT}/\";\n")).expect("a proxy");
    shows_the_demo(root, Net::OnlyProxy(&machine));
    fs::remove_file(&proxy).expect("removing the proxy");
    fs::rename(&own, &sources).expect("apt's sources");
    let requests = machine.requests();
    assert!(requests.iter().all(|line| line.starts_with(&format!("GET http://{mirror}/debian/"))), "{requests:?}");
    assert!(requests.iter().any(|line| line.contains("/main/source/")), "no source package in {requests:?}");
}

/// The newcomer's first command: an image, a worker in QEMU, a real package's tests.
fn shows_the_demo(root: &Root, net: Net<'_>) {
    let said = root.run(net, "mkdir /var/tmp/first; cd /var/tmp/first; rocbed demo 2>&1");
    assert!(said.contains("simulated GPU") && said.contains("The demo took"), "{said}");
    let page = fs::read_to_string(root.path("/var/tmp/first/rocbed-demo/report.html")).expect("a page");
    assert!(page.contains("gzip") && page.contains("pass"), "{page}");
}

/// What a newcomer has to do in all, and how long that takes, with downloads.
#[test]
#[ignore = "a second boot and 400 MB of downloads for what Debian 13 shows on every run: a check before a release"]
fn a_clean_sid_shows_the_demo() {
    let packages = Packages::of_programs_under_test();
    let root = Root::new("sid", DEPENDENCIES);
    let package = packages.new.iter().find(|path| path.to_string_lossy().contains("/rocbed_")).expect("the package");
    let package = root.bring(package);
    let began = Instant::now();
    root.run(Net::Host, &format!("apt-get update && apt-get install --quiet --yes {package}"));
    let installed = began.elapsed();
    shows_the_demo(&root, Net::Host);
    println!(
        "installed after {:.0} s, a green result after {:.0} s",
        installed.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn lintian_has_nothing_to_say() {
    let packages = Packages::of_programs_under_test();
    let paths: Vec<&str> = packages.new.iter().map(|path| path.to_str().expect("UTF-8")).collect();
    let words = ["--fail-on=error,warning", "--allow-root"];
    let said = tool("lintian", words.iter().copied().chain(paths));
    assert!(!said.contains("E: ") && !said.contains("W: "), "{said}");
}

/// The targets of a page's links to other files.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

#[test]
fn links_of_the_installed_pages_lead_to_files() {
    let packages = Packages::of_programs_under_test();
    let package = packages.new.iter().find(|path| path.to_string_lossy().contains("/rocbed_")).expect("the package");
    let root = tempfile::tempdir().expect("a directory");
    tool("dpkg-deb", ["--extract".as_ref(), package.as_os_str(), root.path().as_os_str()]);
    let directory = root.path().join("usr/share/doc/rocbed");
    for name in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/README.md"] {
        let path = directory.join(name);
        let page = fs::read_to_string(&path).expect("a page");
        let beside = path.parent().expect("a directory");
        let lost: Vec<&str> = links(&page).filter(|target| !beside.join(target).exists()).collect();
        assert!(lost.is_empty(), "{name} has links to what is not installed: {lost:?}");
    }
}

#[test]
fn the_hubs_service_is_confined() {
    let packages = Packages::of_programs_under_test();
    let root = tempfile::tempdir().expect("a directory");
    for package in &packages.new {
        tool("dpkg-deb", ["--extract".as_ref(), package.as_os_str(), root.path().as_os_str()]);
    }
    let unit = fs::read_to_string(root.path().join("usr/lib/systemd/system/rocbed-hub.service")).expect("the unit");
    // The program is not where it will be installed.
    let program = root.path().join("usr/bin/rocbed");
    let copy = root.path().join("rocbed-hub.service");
    fs::write(&copy, unit.replace("/usr/bin/rocbed", program.to_str().expect("UTF-8"))).expect("a unit");
    let copy = copy.to_str().expect("UTF-8");
    let said = tool("systemd-analyze", ["verify", "--man=no", copy]);
    assert!(!said.contains("rocbed-hub"), "{said}");
    // Exposure in tenths: 0 is safe, 100 is unsafe.
    let said = tool("systemd-analyze", ["security", "--offline=true", "--threshold=15", copy]);
    println!("{}", said.lines().last().unwrap_or_default());
}
