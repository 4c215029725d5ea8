//! Times our ext4 writer against `mkfs.ext4 -d` on the same directory, in turn, and prints the ratio of the medians.
//! What was written before is on the disk before a clock starts, so that no run pays for the one before it.
//!
//! `cargo run --release -p fsimage --example bench_ext4 -- DIRECTORY [ROUNDS]`; images go to `$TMPDIR`. With no rounds at
//! all, one image is written and stays.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fsimage::ext4::{self, Ext4Options, Size};
use progress::Silent;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: bench_ext4 DIRECTORY [ROUNDS]")?;
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let image = std::env::temp_dir().join("bench_ext4.img");
    let options =
        Ext4Options { size: Size::ExactFit { reserve: 64 << 20 }, ..Ext4Options::new([7; 16], 1_700_000_000) };

    let started = Instant::now();
    let tree = fsimage::scan(Path::new(&directory))?;
    println!("scan of {} entries: {:.3} s", tree.len(), started.elapsed().as_secs_f64());
    let size = ours(&directory, &image, &options)?.1; // also warms the cache
    println!("image of {} MiB", size >> 20);
    if rounds == 0 {
        return Ok(());
    }

    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..rounds {
        // Each takes every place in turn, as what ran before has some influence on what memory is at hand.
        for place in 0..times.len() {
            let which = (round + place) % times.len();
            times[which].push(match which {
                0 => ours(&directory, &image, &options)?.0,
                1 => ours(&directory, &image, &Ext4Options { digest: true, ..options.clone() })?.0,
                _ => mkfs(&directory, &image, size)?,
            });
        }
    }
    clear(&image)?;
    let [own, hashed, other] = times.map(median_and_best);
    for (name, (median, best)) in
        [("fsimage, scan included", own), ("fsimage, with SHA-256", hashed), ("mkfs.ext4 -d", other)]
    {
        println!("{name:24} median {median:.3} s, best {best:.3} s");
    }
    println!("mkfs.ext4 takes {:.1} times as long by the median, {:.1} by the best", other.0 / own.0, other.1 / own.1);
    println!("with SHA-256    {:.1} and {:.1}", other.0 / hashed.0, other.1 / hashed.1);
    Ok(())
}

fn mkfs(directory: &str, image: &Path, size: u64) -> Result<Duration, Box<dyn Error>> {
    clear(image)?;
    File::create_new(image)?.set_len(size / 4 * 5)?;
    let started = Instant::now();
    let status =
        Command::new("mkfs.ext4").args(["-q", "-F", "-O", "^has_journal", "-d", directory]).arg(image).status()?;
    if status.success() { Ok(started.elapsed()) } else { Err("mkfs.ext4 failed".into()) }
}

fn ours(directory: &str, image: &Path, options: &Ext4Options) -> Result<(Duration, u64), Box<dyn Error>> {
    clear(image)?;
    let started = Instant::now();
    let tree = fsimage::scan(Path::new(directory))?;
    let file = File::create_new(image)?;
    let report = ext4::write(&tree, &file, 0, options, &Silent)?;
    Ok((started.elapsed(), report.size))
}

fn clear(image: &Path) -> std::io::Result<()> {
    if image.exists() {
        std::fs::remove_file(image)?;
    }
    rustix::fs::sync();
    Ok(())
}

fn median_and_best(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    (times[times.len() / 2].as_secs_f64(), times[0].as_secs_f64())
}
