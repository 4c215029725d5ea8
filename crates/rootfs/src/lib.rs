//! A configured Debian root directory from .deb files, without root and without host tools.
