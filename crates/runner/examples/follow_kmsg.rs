//! Follows `/dev/kmsg` while another thread floods it, and counts the fault lines that arrive. Needs root, and
//! `kernel.printk_devkmsg=on`, without which the kernel drops most of what programs write:
//!
//!     cargo run -p runner --example follow_kmsg -- [LINES]

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use gpu::messages::{Reader, SIMULATED};
use runner::{KernelLog as _, Kmsg};

/// One line in so many is a fault's.
const EVERY: usize = 1000;

/// Lines a second.
const RATE: f64 = 50_000.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lines: usize = std::env::args().nth(1).map_or(Ok(250_000), |text| text.parse())?;
    let mut log = Kmsg::open()?.with_simulated_faults();
    let mut reader = Reader::new(log.trust(), log.places());
    let writer = std::thread::spawn(move || -> std::io::Result<Duration> {
        let mut kmsg = File::options().write(true).open("/dev/kmsg")?;
        let begin = Instant::now();
        for number in 0..lines {
            let line = if number % EVERY == 0 {
                format!("{SIMULATED}amdgpu 0000:03:00.0: amdgpu: GPU reset begin!\n")
            } else {
                format!("<6>flood {number}: a line that says nothing of importance\n")
            };
            kmsg.write_all(line.as_bytes())?;
            let due = Duration::from_secs_f64(number as f64 / RATE);
            if number % 500 == 0 {
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
            }
        }
        Ok(begin.elapsed())
    });
    let (mut faults, mut records, mut quiet) = (0, 0, Instant::now());
    // As a job does: it looks now and then, and a thread of the reader's own keeps up meanwhile.
    while quiet.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(100));
        log.read(&mut |record| {
            records += 1;
            quiet = Instant::now();
            faults += reader.take(record).len();
        })?;
    }
    let took = writer.join().map_err(|_| "the writer ended early")??;
    let rate = lines as f64 / took.as_secs_f64();
    println!(
        "{lines} lines at {rate:.0} a second: {records} records and {faults} of {} faults read",
        lines.div_ceil(EVERY)
    );
    Ok(())
}
