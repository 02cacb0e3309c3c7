//! A page with every family of the catalogue. It is left in the target folder, where `.ci/run` has
//! `promtool` look at it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use marram_metrics::catalogue::{self, Kind};
use marram_metrics::{Format, Histogram, Sheet, Source, Sources};

struct Everything;

#[async_trait]
impl Source for Everything {
    async fn collect(&self, sheet: &mut Sheet) {
        for family in catalogue::families() {
            for value in ["1", "2"].into_iter().take(family.series_max()) {
                let labels = vec![value; family.labels.len()];
                if let Kind::Histogram(_) = family.kind {
                    let histogram = Histogram::of(family);
                    histogram.observe_time(Duration::from_millis(3));
                    sheet.set_histogram(family, &labels, &histogram);
                } else if !family.name.starts_with("marram_metrics_") {
                    // The others are written by the scrape itself.
                    sheet.set(family, &labels, 1);
                }
            }
        }
    }
}

#[tokio::test]
async fn every_family_can_be_written_in_both_formats() {
    let sources = Sources::default();
    sources.add(Arc::new(Everything));
    let page = sources.scrape(Format::Prometheus).await.expect("written");
    let open = sources.scrape(Format::OpenMetrics).await.expect("written");
    for family in catalogue::families() {
        let name = family.name;
        let typed = page
            .lines()
            .filter(|line| line.starts_with(&format!("# TYPE {name} ")));
        assert_eq!(typed.count(), 1, "{name}");
        let stem = name.strip_suffix("_total").unwrap_or(name);
        let typed = open
            .lines()
            .filter(|line| line.starts_with(&format!("# TYPE {stem} ")));
        assert_eq!(typed.count(), 1, "{name} in OpenMetrics");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(folder.join("metrics.txt"), page).expect("written");
}
