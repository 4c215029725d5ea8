//! Pictures of pages, by headless Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::silent;
use crate::run::run;

/// Colour scheme that the browser asks pages for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colours {
    /// Dark text on a light ground.
    Light,
    /// Light text on a dark ground.
    Dark,
}

/// Size of the window, in CSS pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Its width.
    pub(super) width: u32,
    /// Its height.
    pub(super) height: u32,
}

/// A browser for the pages of one hub.
pub(super) struct Browser {
    /// Directory for its own files.
    profile: PathBuf,
    address: String,
}

impl Browser {
    /// A browser that keeps its files in `profile`, for the hub at `address`.
    pub(super) fn new(profile: PathBuf, address: &str) -> Self {
        Self { profile, address: address.to_owned() }
    }

    /// Writes a picture of a page (`/jobs`) as PNG.
    pub(super) fn take(&self, page: &str, size: Size, colours: Colours, picture: &Path) -> Result<()> {
        // Blink's own numbers of the setting behind `prefers-color-scheme`.
        let scheme = match colours {
            Colours::Dark => 0,
            Colours::Light => 1,
        };
        if picture.exists() {
            std::fs::remove_file(picture)?;
        }
        let mut chromium = Command::new("chromium");
        chromium.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        chromium.args(["--hide-scrollbars", "--no-first-run", "--disable-background-networking"]);
        chromium.arg(format!("--blink-settings=preferredColorScheme={scheme}"));
        chromium.arg(format!("--user-data-dir={}", self.profile.display()));
        chromium.arg(format!("--window-size={},{}", size.width, size.height));
        chromium.arg(format!("--screenshot={}", picture.display())).arg(format!("{}{page}", self.address));
        run(silent(&mut chromium))?;
        // It exits with 0 in any case.
        ensure!(picture.exists(), "chromium took no picture of {}{page}", self.address);
        Ok(())
    }
}
