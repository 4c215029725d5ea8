//! The paths of an archive: checks whether one more entry can be unpacked beside the earlier ones.

use std::collections::HashMap;

use crate::ReadError;
use crate::member::{MemberKind, wrong};

/// The paths of an archive, as a tree. Its memory is bounded by the number of paths and the length of their names.
#[derive(Debug)]
pub(crate) struct Places {
    /// By the number of the containing directory and the name in it. Directory 0 is the archive's top.
    found: HashMap<(usize, Box<[u8]>), Place>,
    most: usize,
    /// Whether later files replace earlier ones, as with tar(1).
    replace: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A directory with its number.
    Directory(usize),
    File,
    Link,
}

impl Places {
    /// Creates an empty tree for at most `most` paths, including directories that are only part of a path.
    pub(crate) fn new(most: usize, replace: bool) -> Self {
        Self { found: HashMap::new(), most, replace }
    }

    /// Adds an entry, whose path has been checked.
    ///
    /// # Errors
    ///
    /// If something else has its path, if it is below something that is not a directory, or if there are too many.
    pub(crate) fn put(&mut self, path: &[u8], kind: &MemberKind) -> Result<(), ReadError> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        let (parents, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
            None => (&[][..], path),
        };
        let mut at = 0;
        for part in parents.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            at = self.directory(at, part, &shown)?;
        }
        let place = match kind {
            MemberKind::Directory => return self.directory(at, name, &shown).map(drop),
            MemberKind::File => Place::File,
            MemberKind::Link(_) => Place::Link,
            // The target of a hard link must exist, and must not be a directory.
            MemberKind::HardLink(target) => self
                .of(target)
                .filter(|place| !matches!(place, Place::Directory(_)))
                .ok_or_else(|| wrong(format!("{} is another name of something that is not there", shown())))?,
        };
        let key = (at, Box::from(name));
        match self.found.get(&key) {
            Some(Place::Directory(_)) => Err(wrong(format!("{} is a directory already", shown()))),
            Some(_) if !self.replace => Err(wrong(format!("{} is there twice", shown()))),
            _ => self.insert(key, place),
        }
    }

    fn directory(&mut self, at: usize, name: &[u8], shown: &dyn Fn() -> String) -> Result<usize, ReadError> {
        let key = (at, Box::from(name));
        match self.found.get(&key) {
            Some(Place::Directory(number)) => Ok(*number),
            Some(_) => Err(wrong(format!("{} is below something that is not a directory", shown()))),
            None => {
                let number = self.found.len() + 1;
                self.insert(key, Place::Directory(number))?;
                Ok(number)
            }
        }
    }

    fn insert(&mut self, key: (usize, Box<[u8]>), place: Place) -> Result<(), ReadError> {
        if self.found.len() >= self.most && !self.found.contains_key(&key) {
            return Err(wrong(format!("more than {} entries", self.most)));
        }
        self.found.insert(key, place);
        Ok(())
    }

    /// The entry at a path.
    fn of(&self, path: &[u8]) -> Option<Place> {
        let mut at = 0;
        let mut last = None;
        for part in path.split(|byte| *byte == b'/') {
            if last.is_some() {
                let Some(Place::Directory(number)) = last else { return None };
                at = number;
            }
            last = Some(*self.found.get(&(at, Box::from(part)))?);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(entries: &[(&str, MemberKind)], most: usize, replace: bool) -> Result<(), String> {
        let mut places = Places::new(most, replace);
        entries.iter().try_for_each(|(path, kind)| places.put(path.as_bytes(), kind)).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_below_a_file_or_twice_in_a_place() {
        let (file, directory, link) = (MemberKind::File, MemberKind::Directory, MemberKind::Link(b"x".to_vec()));
        let of = |path: &'static str, kind: &MemberKind| (path, kind.clone());
        assert_eq!(all(&[of("a", &directory), of("a/b", &file), of("a", &directory)], 9, false), Ok(()));
        for (first, second) in [
            (of("a", &file), of("a/b", &file)),
            (of("a", &link), of("a/b", &file)),
            (of("a/b", &file), of("a", &file)),
            (of("a", &file), of("a", &directory)),
        ] {
            assert!(all(&[first.clone(), second.clone()], 9, true).is_err(), "{first:?} {second:?}");
        }
        let twice = [of("a", &file), of("a", &file)];
        assert!(all(&twice, 9, false).unwrap_err().contains("a is there twice"));
        assert_eq!(all(&twice, 9, true), Ok(()));
        assert!(all(&[of("a/b/c/d", &file)], 3, false).unwrap_err().contains("more than 3 entries"));
    }

    #[test]
    fn a_second_name_is_given_only_to_what_is_there() {
        let second = |target: &str| ("n", MemberKind::HardLink(target.as_bytes().to_vec()));
        assert_eq!(all(&[("d/a", MemberKind::File), second("d/a")], 9, true), Ok(()));
        for target in ["d", "b", "d/a/x", ""] {
            assert!(all(&[("d/a", MemberKind::File), second(target)], 9, true).is_err(), "{target}");
        }
    }
}
