//! What becomes of gateways of their own: how many there are, which image they run, whether applications are sent to
//! them. A function of what is wanted and seen.

use crate::api::{GatewayStatus, OperationKind, Phase};
use crate::names::Names;
use crate::view::View;

/// Letters of the parts that a Deployment adds to the names of its pods.
const POD_LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";
/// How long its last part is.
const POD_SUFFIX: usize = 5;
/// How long such a name is at most.
const POD_NAME_MAX: usize = 63;

/// What is to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How many there are to be now.
    pub replicas: i32,
    /// The number of replicas that is to be written; none: it is right, or the autoscaler's.
    pub scale: Option<i32>,
    /// How many are ready.
    pub ready: i32,
    /// The image that they run.
    pub image: String,
    /// They keep their image until the storage pods run the wanted one.
    pub held: bool,
    /// The Service of applications goes to them.
    pub serving: bool,
}

impl Plan {
    /// What is said of it.
    #[must_use]
    pub fn status(&self) -> GatewayStatus {
        GatewayStatus {
            replicas: self.replicas,
            ready_replicas: self.ready,
            serving: self.serving,
            image: self.image.clone(),
        }
    }
}

/// What is to be so; none where no gateways are wanted. `image` is that of pods whose resource names none.
#[must_use]
pub fn plan(view: &View, image: &str) -> Option<Plan> {
    let gateway = view.spec.gateways()?;
    let live = view.gateways.replicas;
    let (least, autoscaled) = (gateway.replicas(), gateway.autoscaling.is_some());
    let replicas = match live.filter(|live| autoscaled && *live >= least) {
        // With none, an autoscaler does nothing either.
        _ if sleeps(view) => 0,
        Some(live) => live,
        None => least,
    };
    let ready = view.gateways.pods.iter();
    let ready = ready.filter(|pod| pod.ready && !pod.deleting).count();
    let ready = i32::try_from(ready).unwrap_or(i32::MAX);
    let wanted = view.spec.image.as_deref().unwrap_or(image);
    let kept = view.gateways.image.as_deref();
    let held = kept.is_some_and(|kept| kept != wanted) && !storage_runs_what_is_wanted(view);
    let image = kept.filter(|_| held).unwrap_or(wanted);
    // Applications are sent to them when all are there, and as long as there is one.
    let was = view.status.gateway.as_ref().is_some_and(|it| it.serving);
    let serving = ready > 0 && (was || ready >= replicas);
    Some(Plan {
        replicas,
        scale: (live != Some(replicas)).then_some(replicas),
        ready,
        image: image.to_owned(),
        held,
        serving,
    })
}

/// Whether the cluster sleeps, or is about to.
fn sleeps(view: &View) -> bool {
    let operation = view.status.operation.as_ref();
    operation.is_some_and(|op| op.kind == OperationKind::Hibernate && op.phase != Phase::Waking)
}

/// Whether all storage pods run the template that is wanted: a gateway must not ask them for what they do not
/// know, and an image that does not do there does not get to the gateways.
fn storage_runs_what_is_wanted(view: &View) -> bool {
    let Some(set) = view.set.as_ref().filter(|set| set.is_current) else {
        return false;
    };
    let upgrades = view.status.operation.as_ref().is_some_and(|operation| {
        let waiting = operation.suspended.iter().map(|waiting| waiting.kind);
        waiting
            .chain([operation.kind])
            .any(|kind| kind == OperationKind::Upgrade)
    });
    let current = |pod: &crate::view::PodView| pod.revision == set.update_revision;
    set.template.as_ref() == Some(&view.template_hash)
        && !upgrades
        && view.status.upgrade.is_none()
        && view.pods.values().all(current)
}

/// Whether a gateway of this name was a pod of the Deployment: it is forgotten when the pod is gone. Gateways
/// that a person runs elsewhere have other names.
#[must_use]
pub fn is_pod(names: &Names, gateway: &str) -> bool {
    let safe = |part: &str| !part.is_empty() && part.chars().all(|c| POD_LETTERS.contains(c));
    let prefix = format!("{}-", names.gateway());
    let Some(rest) = gateway.strip_prefix(&prefix) else {
        return false;
    };
    match rest.split_once('-') {
        Some((set, pod)) => safe(set) && safe(pod) && pod.len() == POD_SUFFIX,
        // What is too long is cut before the last part.
        None => gateway.len() == POD_NAME_MAX && safe(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Autoscaling, GatewaySpec, UpgradeStatus};
    use crate::names::tests::names;
    use crate::step::tests::{operation, pod, resting};
    use crate::view::PodView;

    fn gateways(autoscaling: Option<Autoscaling>) -> View {
        resting(3).with(|view| {
            view.spec.gateway = Some(GatewaySpec {
                enabled: true,
                autoscaling,
                ..GatewaySpec::default()
            });
        })
    }

    fn running(view: View, replicas: i32, ready: usize) -> View {
        view.with(|view| {
            view.gateways.replicas = Some(replicas);
            view.gateways.image = Some("marram:1".into());
            let pod = |n: i32| PodView {
                ready: usize::try_from(n).expect("not negative") < ready,
                ..pod(n)
            };
            view.gateways.pods = (0..replicas).map(pod).collect();
        })
    }

    fn planned(view: &View) -> Plan {
        plan(view, "marram:1").expect("wanted")
    }

    #[test]
    fn there_are_none_unless_they_are_wanted() {
        assert_eq!(plan(&resting(3), "marram:1"), None);
        let off = gateways(None).with(|view| view.spec.gateway = Some(GatewaySpec::default()));
        assert_eq!(plan(&off, "marram:1"), None);
        let plan = planned(&gateways(None));
        assert_eq!((plan.replicas, plan.scale), (2, Some(2)));
        assert!(!plan.serving && !plan.held);
    }

    #[test]
    fn a_number_that_is_given_is_held_and_an_autoscaler_is_left_alone() {
        let scaled = |view: View, live| planned(&running(view, live, 0)).scale;
        assert_eq!(scaled(gateways(None), 2), None);
        assert_eq!(scaled(gateways(None), 5), Some(2), "by hand");
        let auto = || {
            gateways(Some(Autoscaling {
                min_replicas: Some(3),
                max_replicas: 6,
                ..Autoscaling::default()
            }))
        };
        assert_eq!(scaled(auto(), 5), None);
        assert_eq!(scaled(auto(), 1), Some(3), "just made");
        assert_eq!(scaled(auto(), 9), None, "the autoscaler's own business");
        assert_eq!(planned(&auto()).scale, Some(3));
    }

    #[test]
    fn none_is_there_while_the_cluster_sleeps() {
        let auto = Autoscaling {
            max_replicas: 6,
            ..Autoscaling::default()
        };
        let scale = |phase, live| {
            let operation = operation(OperationKind::Hibernate, phase, 3, 0);
            planned(&running(
                gateways(Some(auto.clone())).at(operation),
                live,
                0,
            ))
            .scale
        };
        assert_eq!(scale(Phase::Closing, 4), Some(0));
        assert_eq!(scale(Phase::Asleep, 0), None);
        assert_eq!(scale(Phase::Waking, 0), Some(2));
    }

    #[test]
    fn applications_are_sent_to_them_when_all_are_there_until_none_is() {
        let serving = |was: bool, ready| {
            let view = running(gateways(None), 2, ready).with(|view| {
                view.status.gateway = Some(GatewayStatus {
                    serving: was,
                    ..GatewayStatus::default()
                });
            });
            planned(&view).serving
        };
        assert!(!serving(false, 1));
        assert!(serving(false, 2));
        assert!(serving(true, 1));
        assert!(!serving(true, 0), "the storage pods answer too");
    }

    #[test]
    fn the_storage_pods_go_first_to_another_image() {
        let upgraded = |change: &dyn Fn(&mut View)| {
            let view = running(gateways(None), 2, 2).with(|view| {
                view.spec.image = Some("marram:2".into());
                change(view);
            });
            let plan = planned(&view);
            (plan.image.clone(), plan.held)
        };
        let kept = ("marram:1".to_owned(), true);
        assert_eq!(upgraded(&|_| {}), ("marram:2".to_owned(), false));
        let not_applied = |view: &mut View| view.template_hash = "t2".into();
        assert_eq!(upgraded(&not_applied), kept);
        let not_seen = |view: &mut View| view.set.as_mut().expect("set").is_current = false;
        assert_eq!(upgraded(&not_seen), kept);
        let stale = |view: &mut View| view.pods.get_mut(&1).expect("pod").revision = "old".into();
        assert_eq!(upgraded(&stale), kept);
        let under_way = |view: &mut View| {
            let upgrade = operation(OperationKind::Upgrade, Phase::Choosing, 3, 3);
            view.status.operation = Some(upgrade);
        };
        assert_eq!(upgraded(&under_way), kept);
        let given_up = |view: &mut View| view.status.upgrade = Some(UpgradeStatus::default());
        assert_eq!(upgraded(&given_up), kept);
    }

    #[test]
    fn pods_of_the_deployment_are_told_from_gateways_elsewhere() {
        let names = names();
        for name in ["store-gateway-5d4f8b9c7-x2x4z", "store-gateway-dfg-bcdfg"] {
            assert!(is_pod(&names, name), "{name}");
        }
        for name in [
            "store-gateway-1",
            "store-gateway-eu-west",
            "store-gateway-5d4f8b9c7-x2x4",
            "store-gateway-5d4f8b9c7",
            "other-gateway-5d4f8b9c7-x2x4z",
            "store-gateway--x2x4z",
        ] {
            assert!(!is_pod(&names, name), "{name}");
        }
        let mut long = names;
        long.name = "a".repeat(40);
        let name = format!("{}-5d4f8b9c7x2x4z", long.gateway());
        assert!(name.len() == POD_NAME_MAX && is_pod(&long, &name));
        assert!(!is_pod(&long, &format!("{}-east", long.gateway())));
    }
}
