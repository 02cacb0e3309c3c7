//! The samples of one scrape. Only what is in the catalogue can be written on it, and of each
//! family no more than its labels allow: an answer has a size that is known beforehand.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::catalogue::Family;
use crate::histogram::{Histogram, Snapshot};

/// The values of a family's labels, in their order.
pub(crate) type Values = Vec<Box<str>>;

/// One number, or those of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sample {
    /// A whole number.
    Whole(u64),
    /// Any number.
    Real(f64),
    /// A histogram.
    Histogram(Snapshot),
}

/// The samples of one family.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) family: &'static Family,
    pub(crate) rows: Vec<(Values, Sample)>,
}

/// The samples of one scrape, by family.
#[derive(Debug, Default)]
pub struct Sheet {
    families: BTreeMap<&'static str, Rows>,
    dropped: u64,
}

impl Sheet {
    /// Writes a whole number: of a counter, or of a gauge.
    pub fn set(&mut self, family: &'static Family, labels: &[&str], value: u64) {
        self.add(family, labels, Sample::Whole(value));
    }

    /// Writes any number.
    pub fn set_real(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        self.add(family, labels, Sample::Real(value));
    }

    /// Writes a time.
    pub fn set_time(&mut self, family: &'static Family, labels: &[&str], value: Duration) {
        self.set_real(family, labels, value.as_secs_f64());
    }

    /// Writes 1 for the value of the last label that holds, and 0 for the others.
    pub fn set_one_of(
        &mut self,
        family: &'static Family,
        labels: &[&str],
        values: &[&str],
        holds: &str,
    ) {
        for value in values {
            let all: Vec<&str> = labels.iter().chain([value]).copied().collect();
            self.set(family, &all, u64::from(*value == holds));
        }
    }

    /// Writes a histogram.
    pub fn set_histogram(
        &mut self,
        family: &'static Family,
        labels: &[&str],
        histogram: &Histogram,
    ) {
        self.add(family, labels, Sample::Histogram(histogram.snapshot()));
    }

    /// Samples that were left out.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes over what another one holds.
    pub(crate) fn take(&mut self, other: Self) {
        self.dropped += other.dropped;
        for Rows { family, rows } in other.families.into_values() {
            for (values, sample) in rows {
                self.push(family, values, sample);
            }
        }
    }

    fn add(&mut self, family: &'static Family, labels: &[&str], sample: Sample) {
        debug_assert_eq!(labels.len(), family.labels.len(), "{}", family.name);
        let values = labels.iter().map(|value| Box::from(*value)).collect();
        self.push(family, values, sample);
    }

    fn push(&mut self, family: &'static Family, values: Values, sample: Sample) {
        let rows = self.families.entry(family.name).or_insert(Rows {
            family,
            rows: Vec::new(),
        });
        if values.len() != family.labels.len() || rows.rows.len() >= family.series_max() {
            self.dropped += 1;
            return;
        }
        rows.rows.push((values, sample));
    }

    pub(crate) fn families(&self) -> impl Iterator<Item = &Rows> {
        self.families.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{DRIVE_FREE, DRIVE_STATES, READY};

    #[test]
    fn a_family_has_no_more_samples_than_its_labels_allow() {
        let mut sheet = Sheet::default();
        for drive in 0..70 {
            sheet.set(&DRIVE_FREE, &[&drive.to_string()], drive);
        }
        sheet.set(&READY, &[], 1);
        let rows: Vec<usize> = sheet.families().map(|rows| rows.rows.len()).collect();
        assert_eq!((rows, sheet.dropped()), (vec![64, 1], 6));
    }

    #[test]
    fn one_of_several_holds() {
        let mut sheet = Sheet::default();
        let states = ["active", "full", "retired"];
        sheet.set_one_of(&DRIVE_STATES, &["7"], &states, "full");
        let rows = sheet.families().next().expect("there");
        let found: Vec<(&str, &Sample)> = rows.rows.iter().map(|(v, s)| (&*v[1], s)).collect();
        let (no, yes) = (Sample::Whole(0), Sample::Whole(1));
        assert_eq!(found, [("active", &no), ("full", &yes), ("retired", &no)]);
    }
}
