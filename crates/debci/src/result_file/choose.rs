//! Which files of a bundle get into the result.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::LONGEST_LOG;
use crate::result_file::scan::{Kind, Scan};

/// Most bytes of artifacts in a result of debci's own worker.
pub(crate) const DEBCIS_LIMIT: u64 = 100 << 20;
/// The log is not cut shorter than this, in bytes.
const SHORTEST_LOG: usize = 4096;

/// Compressed size of each file, by its number.
pub(crate) type Costs = BTreeMap<usize, u64>;

/// What gets into the result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Numbers of the files that are left out.
    pub(crate) left_out: BTreeSet<usize>,
    /// Whether an empty file stands for each artifact that is left out.
    pub(crate) markers: bool,
    /// Longest log, in bytes.
    pub(crate) log: usize,
}

impl Choice {
    /// All files, except for the largest artifacts if there are more than debci takes.
    pub(crate) fn within_debcis_limit(scan: &Scan) -> Self {
        let mut choice = Self { left_out: BTreeSet::new(), markers: true, log: LONGEST_LOG };
        let artifacts = || scan.files.iter().filter(|file| file.kind == Kind::Artifact);
        let mut total = artifacts().fold(0_u64, |sum, file| sum.saturating_add(file.size));
        for number in choice.largest_first(scan, Kind::Artifact) {
            if total <= DEBCIS_LIMIT {
                break;
            }
            total -= scan.files.get(number).map_or(0, |file| file.size);
            choice.left_out.insert(number);
        }
        choice
    }

    /// Leaves more out, so that the result may become this many bytes smaller. Returns false if there is nothing left
    /// that could be left out.
    pub(crate) fn tighten(&mut self, scan: &Scan, costs: &Costs, too_many: u64) -> bool {
        if self.drop_files(scan, Kind::Artifact, costs, too_many) {
            return true;
        }
        if self.markers && !self.left_out.is_empty() {
            self.markers = false;
            return true;
        }
        if self.log > SHORTEST_LOG {
            self.log = (self.log / 4).max(SHORTEST_LOG);
            return true;
        }
        self.drop_files(scan, Kind::Autopkgtest, costs, too_many)
    }

    fn drop_files(&mut self, scan: &Scan, kind: Kind, costs: &Costs, too_many: u64) -> bool {
        let mut saved = 0_u64;
        let before = self.left_out.len();
        for number in self.largest_first(scan, kind) {
            if saved > too_many {
                break;
            }
            // At least one byte, so that this ends.
            saved += costs.get(&number).copied().unwrap_or(1);
            self.left_out.insert(number);
        }
        self.left_out.len() > before
    }

    /// Numbers of the files of a kind that are still there.
    fn largest_first(&self, scan: &Scan, kind: Kind) -> Vec<usize> {
        let files = scan.files.iter().enumerate();
        let mut found: Vec<_> =
            files.filter(|(number, file)| file.kind == kind && !self.left_out.contains(number)).collect();
        found.sort_by(|(_, one), (_, other)| other.size.cmp(&one.size).then_with(|| one.name.cmp(&other.name)));
        found.into_iter().map(|(number, _)| number).collect()
    }
}
