//! How the API's certificate is, and how far its CA is replaced.

use k8s_openapi::jiff::Timestamp;

use super::{Said, said};
use crate::api::{AuthorityState, CertificateStatus};
use crate::view::View;

pub(super) fn certified(view: &View, certificate: &CertificateStatus) -> Said {
    if !certificate.trouble.is_empty() {
        return said(
            "CertificatesReady",
            false,
            "NotUsable",
            &certificate.trouble,
        );
    }
    let time =
        |at: i64| Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.to_string());
    let mut message = format!(
        "the API's certificate is good until {}",
        time(certificate.not_after)
    );
    if let Some(authority) = &certificate.authority {
        if !authority.waits_for.is_empty() {
            message = format!(
                "{message}; its CA is being replaced, and waits: {}",
                authority.waits_for
            );
            return said("CertificatesReady", true, "Waits", message);
        }
        let next = authority.next_step_at.map_or_else(
            || "when this is published for long enough".to_owned(),
            |at| format!("from {}", time(at)),
        );
        match authority.state {
            AuthorityState::AtRest => {}
            AuthorityState::NextTrusted => {
                message +=
                    "; its CA is being replaced: the next one is trusted already, and issues ";
                message += &next;
            }
            AuthorityState::PreviousTrusted => {
                message += "; it is of the next CA; the one before is not trusted any more ";
                message += &next;
            }
        }
    }
    let good = certificate.not_after > view.now;
    let reason = if good { "Good" } else { "Expired" };
    said("CertificatesReady", good, reason, message)
}
