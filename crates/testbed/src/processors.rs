//! [`ProcessorList`]: the processors that a testbed is kept on.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Error;

/// Processors, as the kernel lists them: `0-15,64-79` (`cpuset(7)`, "List format").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessorList {
    /// First and last numbers of ranges.
    ranges: Vec<(usize, usize)>,
}

impl ProcessorList {
    /// Keeps this process, and those that it will start, on these processors. Processes inside may go back to others,
    /// unless a control group keeps them too.
    pub(crate) fn keep_this_process(&self) -> io::Result<()> {
        let mut set = CpuSet::new();
        for number in self.ranges.iter().flat_map(|(first, last)| *first..=*last) {
            set.set(number);
        }
        Ok(sched_setaffinity(None, &set)?)
    }
}

impl FromStr for ProcessorList {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Usage(format!("{text} is not a list of processors; write them as 0-15,64-79"));
        let number = |text: &str| {
            let number = text.parse::<usize>().ok().filter(|number| *number < CpuSet::MAX_CPU);
            number.filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(wrong)
        };
        let range = |word: &str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let (first, last) = (number(first)?, number(last)?);
            if first <= last { Ok((first, last)) } else { Err(wrong()) }
        };
        Ok(Self { ranges: text.trim().split(',').map(range).collect::<Result<_, _>>()? })
    }
}

/// In the kernel's form.
impl fmt::Display for ProcessorList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_those_of_the_kernel() {
        for text in ["0", "0-15,64-79", "3,5-6"] {
            assert_eq!(text.parse::<ProcessorList>().map(|list| list.to_string()).ok().as_deref(), Some(text));
        }
        for text in ["", "a", "1-", "5-3", "0,,1", "+1", "99999"] {
            assert!(text.parse::<ProcessorList>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_process_is_kept_on_its_processors() -> Result<(), Box<dyn std::error::Error>> {
        // Affinity is a thread's, and this thread ends.
        let kept = std::thread::spawn(|| -> io::Result<u32> {
            let first = (0..CpuSet::MAX_CPU)
                .find(|number| rustix::thread::sched_getaffinity(None).is_ok_and(|set| set.is_set(*number)));
            let list = ProcessorList { ranges: vec![(first.unwrap_or(0), first.unwrap_or(0))] };
            list.keep_this_process()?;
            Ok(rustix::thread::sched_getaffinity(None)?.count())
        });
        assert_eq!(kept.join().map_err(|_| "a panic")??, 1);
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(ranges in prop::collection::vec((0..500_usize, 0..500_usize), 1..5)) {
            let ranges = ranges.into_iter().map(|(first, more)| (first, first + more)).collect();
            let list = ProcessorList { ranges };
            prop_assert_eq!(list.to_string().parse::<ProcessorList>().ok(), Some(list));
        }

        #[test]
        fn any_text_is_a_list_or_not(text in "[0-9,+ -]{0,12}") {
            let _ = text.parse::<ProcessorList>();
        }
    }
}
