//! Pictures of the pages of histories, of a hub with a year of simulated results.

use std::path::Path;

use advice::Advice;
use anyhow::{Result, ensure};

use super::browser::{Browser, Colours, Size};
use super::hub::Hub;
use super::{PHONE, desktop};

/// The pages, the size and colours of their pictures, and the names of those in `docs/images`. The packages are those of the
/// hub's example `year`.
const PICTURES: [(&str, Size, Colours, &str); 7] = [
    ("/", desktop(620), Colours::Light, "year-matrix.png"),
    ("/", PHONE, Colours::Dark, "year-matrix-phone.png"),
    ("/regressions", desktop(640), Colours::Light, "year-regressions.png"),
    ("/regressions", PHONE, Colours::Light, "year-regressions-phone.png"),
    ("/flaky", desktop(480), Colours::Dark, "year-flaky.png"),
    ("/packages/package-07/gfx1101", desktop(640), Colours::Light, "year-history.png"),
    ("/packages/package-03", PHONE, Colours::Light, "year-package-phone.png"),
];

/// Takes them of the hub in `data`, which the example `year` has filled.
pub(super) fn take(rocbed: &Path, data: &Path, profile: &Path, pictures: &Path) -> Result<()> {
    let database = data.join("hub.sqlite");
    ensure!(
        database.is_file(),
        Advice::new(
            format!("{} is not there", database.display()),
            format!("`cargo run --release -p hub --example year -- '{}'` makes it", data.display())
        )
    );
    let hub = Hub::start(rocbed, data)?;
    let browser = Browser::new(profile.to_owned(), hub.address());
    for (page, size, colours, name) in PICTURES {
        browser.take(page, size, colours, &pictures.join(name))?;
    }
    Ok(())
}
