//! Debian archives: deb822, versions, relations, signed Release files, package indexes, dependency solving.
