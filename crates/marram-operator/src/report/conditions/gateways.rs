//! How gateways of their own are.

use super::{Said, said};
use crate::api::MarramClusterStatus;
use crate::view::{PodView, View};

/// What keeps a gateway from running, with its name.
pub(super) fn trouble(view: &View) -> Option<String> {
    let troubled = |pod: &PodView| {
        let trouble = pod.trouble.as_ref()?;
        Some(format!("{}: {trouble}", pod.name))
    };
    let pods = view.gateways.pods.iter().filter(|pod| !pod.deleting);
    pods.into_iter()
        .find_map(troubled)
        .or_else(|| view.gateways.trouble.clone())
}

/// How the gateways are, where there are any or are to be.
pub(super) fn gateways(view: &View, status: &MarramClusterStatus) -> Option<Said> {
    let gateway = status.gateway.as_ref()?;
    let all = gateway.ready_replicas >= gateway.replicas;
    let count = format!(
        "{} of {} gateways are ready",
        gateway.ready_replicas, gateway.replicas
    );
    let goes = match gateway.serving {
        true => "the Service goes to them",
        false => "the Service goes to the storage pods",
    };
    let Some(wanted) = view.spec.gateways().map(|_| view.spec.image.as_deref()) else {
        let message = "gateways are not wanted any more, and go";
        return Some(said("GatewaysReady", false, "Going", message));
    };
    Some(match trouble(view) {
        Some(trouble) if !all => said(
            "GatewaysReady",
            false,
            "Trouble",
            format!("{count}; {goes}: {trouble}"),
        ),
        _ if !all => said(
            "GatewaysReady",
            false,
            "Starting",
            format!("{count}; {goes}"),
        ),
        _ if wanted.is_some_and(|wanted| wanted != gateway.image) => {
            let message = format!(
                "{count}; {goes}; they keep the image {} until all storage pods run the wanted one",
                gateway.image
            );
            said("GatewaysReady", true, "StorageFirst", message)
        }
        _ => said("GatewaysReady", true, "Serving", format!("{count}; {goes}")),
    })
}
