//! SNTP packets (RFC 5905 sections 7.3 and 14).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The UDP port of time servers.
pub const PORT: u16 = 123;
/// Length of a packet without extensions.
const LENGTH: usize = 48;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_TO_UNIX: i64 = 2_208_988_800;
/// Seconds in an era: the timestamp's 32 bits (RFC 5905 section 6). Era 1 begins on 2036-02-07.
const ERA: i64 = 1 << 32;
/// The largest root distance that is accepted (MAXDISP, RFC 5905 section 7.2), in 1/65536 s.
const MOST_DISTANCE: u64 = 16 << 16;

/// A request packet. It carries only a random number, which the answer has to repeat; the client's own time, perhaps
/// 1970, is not disclosed.
pub fn question(cookie: u64) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    // No leap warning, version 4, mode 3: client.
    packet[0] = 4 << 3 | 3;
    packet[40..].copy_from_slice(&cookie.to_be_bytes());
    packet
}

/// A valid answer of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When the request reached the server, by its clock.
    pub received: SystemTime,
    /// When the answer was sent, by the server's clock.
    pub sent: SystemTime,
    /// The server's distance from the reference clock; 1 has it itself.
    pub stratum: u8,
}

/// The reason why an answer is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too short, or not a server's packet of version 3 or 4.
    #[error("not an NTP server's answer")]
    NotAnAnswer,
    /// It repeats another number than the one in the request: late, or forged.
    #[error("an answer to another question")]
    NotOurs,
    /// The server does not want requests (kiss-o'-death, RFC 5905 section 7.4).
    #[error("the server does not want to be asked ({0})")]
    Kiss(String),
    /// The server itself does not know the time.
    #[error("the server has no time to give")]
    Unsynchronised,
}

impl Answer {
    /// Parses an answer to the request with this `cookie`. A pure function of any bytes.
    ///
    /// NTP's timestamps repeat every 136 years: they are taken to be within 68 years of `about`.
    pub fn parse(bytes: &[u8], cookie: u64, about: SystemTime) -> Result<Self, Refusal> {
        let packet = bytes.first_chunk::<LENGTH>().ok_or(Refusal::NotAnAnswer)?;
        let (leap, version, mode) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7);
        if mode != 4 || !(3..=4).contains(&version) {
            return Err(Refusal::NotAnAnswer);
        }
        let number = |at: usize| packet[at..at + 8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        // Checked first: a sender who did not see the request cannot even send a kiss-o'-death.
        if number(24) != cookie {
            return Err(Refusal::NotOurs);
        }
        let stratum = packet[1];
        if stratum == 0 {
            let code = packet[12..16].iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte));
            return Err(Refusal::Kiss(code.collect()));
        }
        let (delay, dispersion) = (number(4) >> 32, number(4) & 0xffff_ffff);
        let (received, sent) = (number(32), number(40));
        let distance = delay / 2 + dispersion;
        if leap == 3 || stratum > 15 || distance >= MOST_DISTANCE || received == 0 || sent == 0 {
            return Err(Refusal::Unsynchronised);
        }
        let time = |timestamp| time(timestamp, about).ok_or(Refusal::Unsynchronised);
        Ok(Self { received: time(received)?, sent: time(sent)?, stratum })
    }
}

/// The moment of a timestamp: seconds since 1900 in the upper half, 1/2^32 s in the lower.
fn time(timestamp: u64, about: SystemTime) -> Option<SystemTime> {
    let about = about.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
    let seconds = i64::try_from(timestamp >> 32).ok()? - NTP_TO_UNIX;
    let eras = about.checked_sub(seconds)?.checked_add(ERA / 2)?.div_euclid(ERA);
    let seconds = seconds.checked_add(eras.checked_mul(ERA)?)?;
    let nanos = ((u128::from(timestamp & 0xffff_ffff) * 1_000_000_000) >> 32) as u32;
    UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COOKIE: u64 = 0x0123_4567_89ab_cdef;

    fn unix(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn answer(seconds: u64) -> [u8; 48] {
        let mut packet = question(0);
        packet[0] = 4 << 3 | 4;
        packet[1] = 2;
        packet[24..32].copy_from_slice(&COOKIE.to_be_bytes());
        let timestamp = (seconds + 2_208_988_800) << 32 | 0x8000_0000;
        packet[32..40].copy_from_slice(&timestamp.to_be_bytes());
        packet[40..48].copy_from_slice(&timestamp.to_be_bytes());
        packet
    }

    #[test]
    fn a_good_answer() {
        let read = Answer::parse(&answer(1_800_000_000), COOKIE, unix(1_790_000_000)).unwrap();
        let time = unix(1_800_000_000) + Duration::from_millis(500);
        assert_eq!(read, Answer { received: time, sent: time, stratum: 2 });
    }

    #[test]
    fn after_2036() {
        for seconds in [2_085_978_495, 2_085_978_496, 2_085_978_497, 4_000_000_000] {
            let read = Answer::parse(&answer(seconds), COOKIE, unix(2_085_000_000)).unwrap();
            assert_eq!(read.sent, unix(seconds) + Duration::from_millis(500));
        }
    }

    #[test]
    fn answers_that_do_not_count() {
        let with = |at: usize, bytes: &[u8]| {
            let mut packet = answer(1_800_000_000);
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            Answer::parse(&packet, COOKIE, unix(1_790_000_000)).unwrap_err()
        };
        assert_eq!(Answer::parse(&[0x24; 47], COOKIE, unix(0)), Err(Refusal::NotAnAnswer));
        // Mode 3 is a client's, mode 5 a broadcast; version 1; leap indicator 3; stratum 16; 20 s from a good clock.
        assert_eq!(with(0, &[0x23]), Refusal::NotAnAnswer);
        assert_eq!(with(0, &[0x25]), Refusal::NotAnAnswer);
        assert_eq!(with(0, &[0x0c]), Refusal::NotAnAnswer);
        assert_eq!(with(0, &[0xe4]), Refusal::Unsynchronised);
        assert_eq!(with(1, &[16]), Refusal::Unsynchronised);
        assert_eq!(with(8, &[0, 20, 0, 0]), Refusal::Unsynchronised);
        assert_eq!(with(40, &[0; 8]), Refusal::Unsynchronised);
        assert_eq!(with(24, &[9]), Refusal::NotOurs);
    }

    #[test]
    fn a_kiss_of_death() {
        let mut packet = answer(1_800_000_000);
        packet[1] = 0;
        packet[12..16].copy_from_slice(b"RATE");
        assert_eq!(Answer::parse(&packet, COOKIE, unix(0)), Err(Refusal::Kiss("RATE".to_owned())));
        // A sender who did not see the request cannot forbid it.
        assert_eq!(Answer::parse(&packet, COOKIE + 1, unix(0)), Err(Refusal::NotOurs));
    }

    proptest! {
        #[test]
        fn the_nearest_era_is_taken(timestamp: u64, about in 1_u64 << 31..1 << 40) {
            let time = time(timestamp, unix(about)).unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
            prop_assert!(time.abs_diff(about) <= 1 << 31);
        }
    }
}
