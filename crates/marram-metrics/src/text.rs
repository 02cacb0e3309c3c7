//! A sheet as text, in one of two formats.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar as EncodedExemplar;
use prometheus_client::registry::{Registry, Unit as EncodedUnit};

use crate::catalogue::{Kind, Unit};
use crate::histogram::Exemplar;
use crate::sheet::{Rows, Sample, Sheet};

const OPENMETRICS: &str = "application/openmetrics-text";
const PLAIN: &str = "text/plain";

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus text 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The one that the caller would rather have, by the `Accept` header of its request; Prometheus
    /// text where it does not matter to the caller.
    #[must_use]
    pub fn accepted(header: &str) -> Self {
        let weight = |wanted: &str| {
            let ranges = header.split(',').map(str::trim);
            let fitting = ranges.filter(|range| {
                let kind = range.split(';').next().unwrap_or_default().trim();
                kind.eq_ignore_ascii_case(wanted)
            });
            fitting.map(quality).fold(0.0_f32, f32::max)
        };
        if weight(OPENMETRICS) > weight(PLAIN) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The type of the answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The weight of a media range.
fn quality(range: &str) -> f32 {
    let parameters = range.split(';').skip(1).map(str::trim);
    let q = parameters.filter_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    let q = q.map(|q| q.trim().parse::<f32>().unwrap_or(0.0));
    q.last().unwrap_or(1.0)
}

/// Writes a sheet.
pub(crate) fn write(sheet: Sheet, format: Format) -> Result<String, fmt::Error> {
    let exemplars = match format {
        Format::Prometheus => BTreeMap::new(),
        Format::OpenMetrics => exemplars(&sheet),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Written(sheet)));
    let mut out = String::new();
    match format {
        Format::Prometheus => prometheus_text::encode(&mut out, &registry)?,
        Format::OpenMetrics => text::encode(&mut out, &registry)?,
    }
    match exemplars.is_empty() {
        true => Ok(out),
        false => with_exemplars(&out, &exemplars),
    }
}

/// The exemplars of each family that has some, by the number of the bucket's line among those of the family.
type Exemplars = BTreeMap<String, BTreeMap<usize, Exemplar>>;

fn exemplars(sheet: &Sheet) -> Exemplars {
    let mut all = Exemplars::new();
    for Rows { family, rows } in sheet.families() {
        let mut line = 0;
        for (_, sample) in rows {
            let Sample::Histogram(snapshot) = sample else {
                break;
            };
            for (at, exemplar) in &snapshot.exemplars {
                let of_family = all.entry(format!("{}_bucket{{", family.name)).or_default();
                of_family.insert(line + at, *exemplar);
            }
            line += snapshot.buckets.len();
        }
    }
    all
}

/// The same text with exemplars behind the lines of their buckets. The library has them written only with
/// histograms of its own, and these are none.
fn with_exemplars(text: &str, all: &Exemplars) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(text.len() + 1024);
    let mut lines_of: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        out.push_str(line);
        let name = line.find('{').map_or("", |at| &line[..=at]);
        if let Some(exemplars) = all.get(name) {
            let number = lines_of.entry(name).or_default();
            if let Some(exemplar) = exemplars.get(number) {
                let since = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default();
                let (trace, value, at) = (exemplar.trace, exemplar.value, since.as_secs_f64());
                write!(out, " # {{trace_id=\"{trace:032x}\"}} {value} {at:.3}")?;
            }
            *number += 1;
        }
        out.push('\n');
    }
    Ok(out)
}

#[derive(Debug)]
struct Written(Sheet);

impl Collector for Written {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for rows in self.0.families() {
            write_family(rows, &mut encoder)?;
        }
        Ok(())
    }
}

fn write_family(rows: &Rows, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let family = rows.family;
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram(_) => MetricType::Histogram,
    };
    let unit = match family.unit {
        Unit::None => None,
        Unit::Seconds => Some(EncodedUnit::Seconds),
        Unit::Bytes => Some(EncodedUnit::Bytes),
    };
    // A sentence, as the library makes one of what is registered.
    let help = format!("{}.", family.help);
    let mut metric = encoder.encode_descriptor(family.stem(), &help, unit.as_ref(), kind)?;
    for (values, sample) in &rows.rows {
        if values.is_empty() {
            write_sample(&mut metric, kind, sample)?;
            continue;
        }
        let names = family.labels.iter().map(|label| label.name);
        let labels: Vec<(&str, &str)> = names.zip(values.iter().map(|value| &**value)).collect();
        write_sample(&mut metric.encode_family(&labels)?, kind, sample)?;
    }
    Ok(())
}

fn write_sample(metric: &mut MetricEncoder<'_>, kind: MetricType, sample: &Sample) -> fmt::Result {
    let no_exemplar: Option<&EncodedExemplar<NoLabelSet, f64>> = None;
    let no_exemplars: Option<&HashMap<usize, EncodedExemplar<NoLabelSet, f64>>> = None;
    match (sample, kind) {
        (Sample::Histogram(snapshot), _) => metric.encode_histogram(
            snapshot.sum,
            snapshot.count(),
            &snapshot.buckets,
            no_exemplars,
        ),
        (Sample::Whole(value), MetricType::Counter) => metric.encode_counter(value, no_exemplar),
        (Sample::Real(value), MetricType::Counter) => metric.encode_counter(value, no_exemplar),
        (Sample::Whole(value), _) => metric.encode_gauge(value),
        (Sample::Real(value), _) => metric.encode_gauge(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::catalogue::{API_CALL_DURATION, API_OBJECT, DRIVE_FREE, PROCESS_CPU, READY};
    use crate::histogram::Histogram;

    #[test]
    fn the_caller_chooses_the_format() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                            application/openmetrics-text;version=0.0.1;q=0.4,\
                            text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus_3), Format::OpenMetrics);
        for plain in [
            "",
            "*/*",
            "text/html",
            "text/plain",
            "application/openmetrics-text;q=0",
        ] {
            assert_eq!(Format::accepted(plain), Format::Prometheus, "{plain}");
        }
        let rather_plain = "text/plain; q=0.9, application/openmetrics-text; q=0.2";
        assert_eq!(Format::accepted(rather_plain), Format::Prometheus);
        assert_eq!(
            Format::accepted("Application/OpenMetrics-Text"),
            Format::OpenMetrics
        );
    }

    fn sheet() -> Sheet {
        let mut sheet = Sheet::default();
        sheet.set(&READY, &[], 1);
        sheet.set(&DRIVE_FREE, &["a\"b"], u64::MAX);
        sheet.set_real(&PROCESS_CPU, &[], 1.5);
        let sizes = Histogram::of(&API_OBJECT);
        sizes.observe(5);
        sizes.observe(1 << 40);
        sheet.set_histogram(&API_OBJECT, &["put"], &sizes);
        sheet
    }

    #[test]
    fn prometheus_text_is_as_it_should_be() {
        let text = write(sheet(), Format::Prometheus).expect("written");
        for line in [
            "# TYPE marram_ready gauge",
            "marram_ready 1",
            "# TYPE process_cpu_seconds_total counter",
            "process_cpu_seconds_total 1.5",
            "# TYPE marram_api_object_bytes histogram",
            "marram_api_object_bytes_bucket{direction=\"put\",le=\"4096\"} 1",
            "marram_api_object_bytes_bucket{direction=\"put\",le=\"+Inf\"} 2",
            "marram_api_object_bytes_count{direction=\"put\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(
            text.contains("marram_drive_free_bytes{drive=\"a\\\"b\"} "),
            "{text}"
        );
        assert!(
            !text.contains("# EOF") && !text.contains("# UNIT"),
            "{text}"
        );
    }

    #[test]
    fn openmetrics_ends_and_names_units() {
        let text = write(sheet(), Format::OpenMetrics).expect("written");
        for line in [
            "# TYPE process_cpu_seconds counter",
            "# UNIT process_cpu_seconds seconds",
            "process_cpu_seconds_total 1.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn exemplars_stand_behind_their_buckets_in_openmetrics() {
        let page = |format| {
            let mut sheet = Sheet::default();
            for (method, trace) in [("GetObject", 0xab), ("PutObject", 0xcd)] {
                let times = Histogram::of(&API_CALL_DURATION);
                times.observe_time(Duration::from_millis(90));
                times.observe_traced(Duration::from_micros(700), trace);
                sheet.set_histogram(&API_CALL_DURATION, &["ObjectService", method], &times);
            }
            write(sheet, format).expect("written")
        };
        let open = page(Format::OpenMetrics);
        let with: Vec<&str> = open.lines().filter(|line| line.contains(" # {")).collect();
        assert_eq!(with.len(), 2, "{open}");
        for (line, (method, trace)) in with.iter().zip([("GetObject", "ab"), ("PutObject", "cd")]) {
            let began = format!(
                "marram_api_call_duration_seconds_bucket{{le=\"0.001\",service=\"ObjectService\",method=\"{method}\"}} 1 # {{trace_id=\"{trace:0>32}\"}} 0.0007 "
            );
            assert!(line.starts_with(&began), "{line}\n{began}");
        }
        assert!(open.ends_with("# EOF\n"), "{open}");
        assert!(!page(Format::Prometheus).contains("trace_id"));
    }
}
