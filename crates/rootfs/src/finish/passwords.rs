//! Adds users and groups: passwd(5), group(5), shadow(5), gshadow(5).

use fsimage::{FileTree, Metadata, Timestamp};

use super::{files, text};
use crate::Error;

const SECONDS_PER_DAY: i64 = 86_400;

/// A group to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Group name.
    pub name: String,
    /// Group id.
    pub gid: u32,
}

/// A user to add, without a valid password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Id of the primary group, which must exist.
    pub gid: u32,
    /// Full name or description.
    pub gecos: String,
    /// Home directory, absolute; it is created, owned by the user, if it does not exist.
    pub home: String,
    /// Login shell, absolute.
    pub shell: String,
    /// Names of supplementary groups, which must exist.
    pub groups: Vec<String>,
}

/// Adds a group. A group with the same name and number may exist already; another number is an error.
pub fn add_group(tree: &mut FileTree, group: &Group) -> Result<(), Error> {
    check_name("etc/group", &group.name)?;
    let gid = group.gid.to_string();
    let mut file = Table::read(tree, "etc/group")?;
    if let Some(line) = file.line(&group.name) {
        let known = line.get(2).map_or("", String::as_str);
        let message = || format!("{} has the number {known} already, not {gid}", group.name);
        return if known == gid { Ok(()) } else { Err(wrong("etc/group", message())) };
    }
    if let Some(other) = file.lines.iter().find(|line| line.get(2) == Some(&gid)) {
        return Err(wrong("etc/group", format!("{} has the number {gid} already", other[0])));
    }
    file.push(&[&group.name, "x", &gid, ""]);
    file.write(tree);
    if tree.get("etc/gshadow").is_some() {
        let mut shadow = Table::read(tree, "etc/gshadow")?;
        shadow.push(&[&group.name, "!", "", ""]);
        shadow.write(tree);
    }
    Ok(())
}

/// Adds a user, its home directory and its memberships. `epoch` (seconds since 1970) becomes the date of its password.
pub fn add_user(tree: &mut FileTree, user: &User, epoch: i64) -> Result<(), Error> {
    check_name("etc/passwd", &user.name)?;
    for field in [&user.gecos, &user.home, &user.shell] {
        if field.contains([':', '\n']) {
            return Err(wrong("etc/passwd", format!("{field:?} has a colon or a line break")));
        }
    }
    let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
    let mut passwd = Table::read(tree, "etc/passwd")?;
    if let Some(line) = passwd.lines.iter().find(|line| line[0] == user.name || line.get(2) == Some(&uid)) {
        let number = line.get(2).map_or("", String::as_str);
        return Err(wrong("etc/passwd", format!("{} with the number {number} is there already", line[0])));
    }
    let has_gid = Table::read(tree, "etc/group")?.lines.iter().any(|line| line.get(2) == Some(&gid));
    if !has_gid {
        return Err(wrong("etc/group", format!("there is no group {gid} for {}; add it before", user.name)));
    }
    passwd.push(&[&user.name, "x", &uid, &gid, &user.gecos, &user.home, &user.shell]);
    passwd.write(tree);
    if tree.get("etc/shadow").is_some() {
        let mut shadow = Table::read(tree, "etc/shadow")?;
        let days = epoch.div_euclid(SECONDS_PER_DAY).to_string();
        shadow.push(&[&user.name, "!", &days, "0", "99999", "7", "", "", ""]);
        shadow.write(tree);
    }
    for group in &user.groups {
        for path in ["etc/group", "etc/gshadow"] {
            if path == "etc/group" || tree.get(path).is_some() {
                let mut table = Table::read(tree, path)?;
                table.add_member(group, &user.name)?;
                table.write(tree);
            }
        }
    }
    let home = user.home.trim_start_matches('/');
    if tree.get(home).is_none() {
        let metadata =
            Metadata { uid: user.uid, gid: user.gid, ..Metadata::root(0o755, Timestamp::from_seconds(epoch)) };
        files::add_directory(tree, home, &metadata)?;
    }
    Ok(())
}

/// Sets the dates of the last password changes: scripts that add users write the day of the build.
pub(super) fn fix_dates(tree: &mut FileTree, epoch: i64) -> Result<(), Error> {
    if tree.get("etc/shadow").is_none() {
        return Ok(());
    }
    let days = epoch.div_euclid(SECONDS_PER_DAY).to_string();
    let mut shadow = Table::read(tree, "etc/shadow")?;
    for line in &mut shadow.lines {
        if let Some(changed) = line.get_mut(2) {
            // An empty field disables ageing, and 0 requests a new password: neither is a date.
            if !changed.is_empty() && changed != "0" {
                changed.clone_from(&days);
            }
        }
    }
    shadow.write(tree);
    Ok(())
}

fn check_name(path: &str, name: &str) -> Result<(), Error> {
    let first = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let rest = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if first && rest && name.len() <= 32 {
        Ok(())
    } else {
        Err(wrong(path, format!("{name:?} is not a name for a user or group: at most 32 of a-z, 0-9, _ and -")))
    }
}

fn wrong(path: &str, what: String) -> Error {
    Error::Malformed { path: path.to_owned(), what }
}

/// A colon-separated database.
struct Table {
    path: &'static str,
    /// Never empty: a line has at least one field.
    lines: Vec<Vec<String>>,
}

impl Table {
    fn read(tree: &FileTree, path: &'static str) -> Result<Self, Error> {
        let text = text::read(tree, path)?.ok_or_else(|| wrong(path, "is not in the tree".into()))?;
        let lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect();
        Ok(Self { path, lines })
    }

    fn line(&self, name: &str) -> Option<&Vec<String>> {
        self.lines.iter().find(|line| line.first().is_some_and(|field| field == name))
    }

    fn push(&mut self, fields: &[&str]) {
        self.lines.push(fields.iter().map(|field| (*field).to_owned()).collect());
    }

    fn add_member(&mut self, group: &str, user: &str) -> Result<(), Error> {
        let path = self.path;
        let line = self.lines.iter_mut().find(|line| line.first().is_some_and(|field| field == group));
        let members = line.and_then(|line| line.get_mut(3));
        let members = members.ok_or_else(|| wrong(path, format!("there is no group {group} for {user}")))?;
        if !members.split(',').any(|member| member == user) {
            if !members.is_empty() {
                members.push(',');
            }
            members.push_str(user);
        }
        Ok(())
    }

    fn write(&self, tree: &mut FileTree) {
        let text: String = self.lines.iter().map(|line| line.join(":") + "\n").collect();
        text::write(tree, self.path, &text);
    }
}

#[cfg(test)]
mod tests {
    use fsimage::{Content, Node, NodeKind};

    use super::*;

    const EPOCH: i64 = 1_790_000_000; // day 20717

    fn tree() -> FileTree {
        let metadata = Metadata::root(0o755, Timestamp::from_seconds(0));
        let mut tree = FileTree::new(metadata.clone());
        tree.create_directories("home", &metadata).unwrap();
        tree.create_directories("etc", &metadata).unwrap();
        for (path, text) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
            ("etc/group", "root:x:0:\nrender:x:105:ann\n"),
            ("etc/shadow", "root:*:19999:0:99999:7:::\nold:!:0:::::\n"),
            ("etc/gshadow", "root:*::\nrender:!::ann\n"),
        ] {
            let content = Content::from(text);
            tree.insert(path, Node { kind: NodeKind::File(content), metadata: metadata.clone() }).unwrap();
        }
        tree
    }

    fn tester() -> User {
        User {
            name: "tester".into(),
            uid: 1000,
            gid: 1000,
            gecos: "Test user".into(),
            home: "/home/tester".into(),
            shell: "/bin/bash".into(),
            groups: vec!["render".into()],
        }
    }

    fn text_of(tree: &FileTree, path: &str) -> String {
        text::read(tree, path).unwrap().unwrap()
    }

    #[test]
    fn adds_a_user_everywhere() {
        let mut tree = tree();
        add_group(&mut tree, &Group { name: "tester".into(), gid: 1000 }).unwrap();
        add_user(&mut tree, &tester(), EPOCH).unwrap();
        assert!(text_of(&tree, "etc/passwd").ends_with("tester:x:1000:1000:Test user:/home/tester:/bin/bash\n"));
        assert_eq!(text_of(&tree, "etc/group"), "root:x:0:\nrender:x:105:ann,tester\ntester:x:1000:\n");
        assert_eq!(text_of(&tree, "etc/gshadow"), "root:*::\nrender:!::ann,tester\ntester:!::\n");
        assert!(text_of(&tree, "etc/shadow").ends_with("tester:!:20717:0:99999:7:::\n"));
        let home = tree.get("home/tester").unwrap();
        assert_eq!((home.metadata.uid, home.metadata.gid, home.metadata.mode), (1000, 1000, 0o755));
    }

    #[test]
    fn refuses_a_user_without_group_a_taken_number_and_a_bad_name() {
        let mut tree = tree();
        assert!(add_user(&mut tree, &tester(), EPOCH).is_err());
        assert!(add_group(&mut tree, &Group { name: "other".into(), gid: 105 }).is_err());
        assert!(add_group(&mut tree, &Group { name: "a:b".into(), gid: 7 }).is_err());
        add_group(&mut tree, &Group { name: "render".into(), gid: 105 }).unwrap();
        let error = add_group(&mut tree, &Group { name: "render".into(), gid: 992 }).unwrap_err().to_string();
        assert!(error.contains("render has the number 105 already, not 992"), "{error}");
    }

    #[test]
    fn password_dates_become_the_epochs_day() {
        let mut tree = tree();
        fix_dates(&mut tree, EPOCH).unwrap();
        assert_eq!(text_of(&tree, "etc/shadow"), "root:*:20717:0:99999:7:::\nold:!:0:::::\n");
    }
}
