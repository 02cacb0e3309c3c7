use std::time::Duration;

use tonic::Code;

use super::*;

const SERVICES: [&str; 2] = ["marram.v1.ObjectService", "marram.v1.AdminService"];

struct Kit {
    told: watch::Sender<Arc<Verdict>>,
    stop: CancellationToken,
    health: Healthy,
}

fn kit() -> Kit {
    let told = watch::Sender::<Arc<Verdict>>::default();
    let stop = CancellationToken::new();
    let health = Healthy {
        services: &SERVICES,
        ready: told.subscribe(),
        stop: stop.clone(),
        places: Arc::new(Semaphore::new(HEALTH_WATCHERS_MAX)),
    };
    Kit { told, stop, health }
}

impl Kit {
    fn tell(&self, conditions: Vec<Condition>) {
        self.told.send_replace(Arc::new(Verdict { conditions }));
    }

    async fn check(&self, service: &str) -> (ServingStatus, Vec<String>) {
        let answer = self.health.check(ask(service)).await.expect("it is known");
        let reasons = reasons(answer.metadata());
        (answer.into_inner().status(), reasons)
    }
}

fn ask(service: &str) -> Request<HealthCheckRequest> {
    let service = service.to_owned();
    Request::new(HealthCheckRequest { service })
}

fn reasons(metadata: &MetadataMap) -> Vec<String> {
    let values = metadata.get_all(NOT_READY).iter();
    let text = |value: &MetadataValue<_>| value.to_str().expect("ASCII").to_owned();
    values.map(text).collect()
}

type Watched = BoxStream<'static, Result<HealthCheckResponse, Status>>;

async fn next(watched: &mut Watched) -> Option<ServingStatus> {
    let next = tokio::time::timeout(Duration::from_secs(10), watched.next());
    let next = next.await.expect("it is told");
    next.map(|answer| answer.expect("no error").status())
}

#[tokio::test]
async fn health_is_the_readiness_with_its_reasons() {
    let kit = kit();
    let nothing = vec!["member: nothing is known yet".to_owned()];
    assert_eq!(kit.check("").await, (ServingStatus::NotServing, nothing));
    kit.tell(vec![Condition::good("member", "node 3")]);
    for service in ["", SERVICES[0], SERVICES[1]] {
        let expected = (ServingStatus::Serving, Vec::new());
        assert_eq!(kit.check(service).await, expected, "{service}");
    }
    kit.tell(vec![
        Condition::good("member", "node 3"),
        Condition::bad("groups", "a majority of 0 of 8 answers: D\u{fc}nen\nnone"),
        Condition::bad("duty", "x".repeat(1000)),
    ]);
    for service in ["", SERVICES[0], SERVICES[1]] {
        let (status, reasons) = kit.check(service).await;
        assert_eq!(status, ServingStatus::NotServing, "{service}");
        assert_eq!(
            reasons[0],
            "groups: a majority of 0 of 8 answers: D?nen?none"
        );
        assert_eq!(reasons[1].len(), REASON_CHARS_MAX);
        assert_eq!(reasons.len(), 2);
    }
    let refused = kit.health.check(ask("marram.v1.Other")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
}

#[tokio::test]
async fn addresses_and_paths_are_not_for_everybody() {
    let kit = kit();
    let why = "not admitted yet by any of 1 addresses: 10.0.0.7:7071";
    kit.tell(vec![Condition::bad("member", why).that_names_places()]);
    let (status, reasons) = kit.check("").await;
    assert_eq!(status, ServingStatus::NotServing);
    assert_eq!(reasons, ["member: /readyz on the port of metrics says why"]);
}

#[tokio::test]
async fn who_watches_is_told_each_change_and_let_go_at_the_stop() {
    let kit = kit();
    kit.tell(vec![Condition::bad("view", "no server has told")]);
    let answer = kit.health.watch(ask(SERVICES[0])).await.expect("a place");
    assert_eq!(reasons(answer.metadata()), ["view: no server has told"]);
    let mut watched = answer.into_inner();
    assert_eq!(next(&mut watched).await, Some(ServingStatus::NotServing));
    kit.tell(vec![Condition::good("view", "well")]);
    assert_eq!(next(&mut watched).await, Some(ServingStatus::Serving));
    // Still well, in other words: there is nothing to tell, and the next is the stop.
    kit.tell(vec![Condition::good("view", "well, as of decision 7")]);
    kit.stop.cancel();
    assert_eq!(next(&mut watched).await, Some(ServingStatus::NotServing));
    assert_eq!(next(&mut watched).await, None);
    let stops = vec!["api: this server stops".to_owned()];
    assert_eq!(kit.check("").await, (ServingStatus::NotServing, stops));
}

#[tokio::test]
async fn a_service_that_is_not_there_may_be_watched() {
    let kit = kit();
    kit.tell(vec![Condition::bad("view", "no server has told")]);
    let answer = kit
        .health
        .watch(ask("marram.v1.Other"))
        .await
        .expect("a place");
    assert!(reasons(answer.metadata()).is_empty());
    let mut watched = answer.into_inner();
    assert_eq!(
        next(&mut watched).await,
        Some(ServingStatus::ServiceUnknown)
    );
    kit.stop.cancel();
    assert_eq!(next(&mut watched).await, None);
}

#[tokio::test]
async fn there_are_so_many_who_watch_and_no_more() {
    let kit = kit();
    let mut watched = Vec::new();
    for _ in 0..HEALTH_WATCHERS_MAX {
        let answer = kit.health.watch(ask("")).await.expect("a place");
        watched.push(answer.into_inner());
    }
    let Err(refused) = kit.health.watch(ask("")).await else {
        panic!("one too many");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    watched.pop();
    assert!(kit.health.watch(ask("")).await.is_ok(), "its place is free");
}
