//! `marram admin doctor`.

use marram_client::{Check, Diagnosis, Finding, Severity};

use crate::cli::DoctorArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Paint, printable};

/// Says what is wrong and what to do about it; the exit code says whether anything is.
pub(super) async fn run(context: &Context<'_>, args: DoctorArgs) -> Result<(), Failure> {
    let diagnosis = context.client()?.diagnose().await;
    let diagnosis = diagnosis.map_err(Failure::at("cluster"))?;
    let output = &context.output;
    if output.json {
        output.value(&diagnosis)?;
    } else {
        let paint = output.paint();
        lines(&diagnosis, args.all, paint)
            .iter()
            .try_for_each(|line| output.line(line))?;
    }
    match diagnosis.healthy {
        true => Ok(()),
        false => Err(Failure::Unhealthy),
    }
}

/// Everything that was found, what matters most first, and in the order of the checks.
pub(super) fn lines(diagnosis: &Diagnosis, all: bool, paint: Paint) -> Vec<String> {
    let mut found: Vec<(&Check, &Finding)> = Vec::new();
    for check in &diagnosis.checks {
        found.extend(check.findings.iter().map(|finding| (check, finding)));
    }
    found.sort_by_key(|(_, finding)| finding.severity);
    let count = |severity| found.iter().filter(|(_, f)| f.severity == severity).count();
    let (critical, warnings) = (count(Severity::Critical), count(Severity::Warning));
    let head = if critical + warnings > 0 {
        let words = [
            (critical, "critical finding", "critical findings"),
            (warnings, "warning", "warnings"),
        ];
        let words = words.into_iter().filter(|(n, ..)| *n > 0);
        let words = words.map(|(n, one, many)| format!("{n} {}", if n == 1 { one } else { many }));
        let words: Vec<String> = words.collect();
        let head = format!("{}.", words.join(", "));
        match critical {
            0 => paint.warning(&head),
            _ => paint.critical(&head),
        }
    } else {
        let checks = diagnosis.checks.len();
        paint.good(&format!(
            "Healthy: {checks} checks found nothing that has to be done."
        ))
    };
    let mut lines = vec![head];
    for (check, finding) in found {
        lines.push(String::new());
        lines.extend(finding_lines(check, finding, paint));
    }
    if all {
        lines.push(String::new());
        let clear = diagnosis
            .checks
            .iter()
            .filter(|check| check.findings.is_empty());
        lines.extend(clear.map(|check| {
            format!(
                "{} {:<14} {}",
                paint.good("ok"),
                printable(&check.name),
                printable(&check.question)
            )
        }));
    }
    lines
}

fn finding_lines(check: &Check, finding: &Finding, paint: Paint) -> [String; 2] {
    let word = match finding.severity {
        Severity::Critical => paint.critical("CRITICAL"),
        Severity::Warning => paint.warning("WARNING"),
        Severity::Note => paint.quiet("note"),
    };
    let about = match finding.subject.as_str() {
        "" => String::new(),
        subject => format!("{}: ", printable(subject)),
    };
    let name = printable(&check.name);
    [
        format!("{word} [{name}] {about}{}.", printable(&finding.evidence)),
        format!(
            "    {} {}.",
            paint.quiet("->"),
            printable(finding.remedy.trim_end_matches('.'))
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis(severities: &[Severity]) -> Diagnosis {
        let finding = |severity: &Severity| Finding {
            severity: *severity,
            subject: "node-1".to_owned(),
            evidence: "it is slow".to_owned(),
            remedy: "look at it.".to_owned(),
        };
        let check = |name: &str, findings| Check {
            name: name.to_owned(),
            question: "Is it?".to_owned(),
            findings,
        };
        let findings = severities.iter().map(finding).collect();
        Diagnosis {
            healthy: severities.iter().all(|s| *s == Severity::Note),
            answered_by: String::new(),
            checks: vec![check("speed", findings), check("room", Vec::new())],
        }
    }

    #[test]
    fn the_worst_comes_first_with_what_to_do() {
        let lines = lines(
            &diagnosis(&[Severity::Note, Severity::Critical]),
            false,
            Paint::none(),
        );
        let expected = [
            "1 critical finding.",
            "",
            "CRITICAL [speed] node-1: it is slow.",
            "    -> look at it.",
            "",
            "note [speed] node-1: it is slow.",
            "    -> look at it.",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn notes_leave_a_cluster_healthy() {
        let lines = lines(&diagnosis(&[Severity::Note]), true, Paint::none());
        assert!(lines[0].starts_with("Healthy: 2 checks"), "{lines:?}");
        assert_eq!(lines[5], "ok room           Is it?");
    }
}
