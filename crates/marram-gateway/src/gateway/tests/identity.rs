//! Join tokens, the steps of the CA's replacement, and asked renewals.

use marram_mesh::make_ca;
use marram_meta::{IdentityCommand, RootCommand, RootOutcome};
use marram_proto::v1::{self, CaStep, JoinRole, JoinTokenState};
use marram_types::{ClusterId, JoinToken};
use tonic::Code;

use super::kit::{Client, cluster, reason};
use crate::authority::wrap_authority;
use crate::hex;
use crate::secret::Kek;
use crate::testing::Cluster;

fn root(cluster: &Cluster, command: IdentityCommand) {
    let outcome = cluster.groups.root(&RootCommand::Identity(command));
    assert_eq!(outcome, RootOutcome::Done);
}

/// Gives the cluster its first CA.
fn with_ca(cluster: &Cluster) -> [u8; 32] {
    let made = make_ca(ClusterId(7)).unwrap();
    let wrapped = wrap_authority(&Kek::from_bytes(&[5; 32]), &made);
    let (fingerprint, wrapped_key) = wrapped.unwrap();
    let certificate = made.certificate().to_vec();
    root(
        cluster,
        IdentityCommand::AddAuthority {
            fingerprint,
            certificate,
            wrapped_key,
            replaces: None,
        },
    );
    fingerprint
}

/// What a node says of itself.
fn report(cluster: &Cluster, number: u8, trusts: &[[u8; 32]], issuer: [u8; 32]) {
    root(
        cluster,
        IdentityCommand::Report {
            key: [number; 32],
            until_s: Some(1 << 40),
            trusts: trusts.to_vec(),
            issuer: Some(issuer),
        },
    );
}

async fn rotate(
    client: &mut Client,
    replaces: &str,
) -> Result<v1::RotateCaResponse, tonic::Status> {
    let replaces = replaces.to_owned();
    let request = v1::RotateCaRequest { replaces };
    Ok(client.admin.rotate_ca(request).await?.into_inner())
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let (cluster, mut client) = cluster(1).await;
    let request = v1::CreateJoinTokenRequest {
        role: JoinRole::Storage.into(),
        ttl_seconds: 60,
        name: "pod-1".to_owned(),
        zone: String::new(),
    };
    let early = client.admin.create_join_token(request.clone()).await;
    assert_eq!(early.unwrap_err().code(), Code::Unavailable, "no CA yet");
    let fingerprint = with_ca(&cluster);
    let made = client.admin.create_join_token(request.clone()).await;
    let made = made.unwrap().into_inner();
    let token: JoinToken = made.token.parse().unwrap();
    assert_eq!(token.authority, fingerprint);
    let list = client.admin.list_join_tokens(v1::ListJoinTokensRequest {});
    let listed = list.await.unwrap().into_inner().tokens;
    assert_eq!(
        (listed[0].id.as_str(), listed[0].name.as_str()),
        (&*made.id, "pod-1")
    );
    assert_eq!(listed[0].state(), JoinTokenState::Valid);

    let revoke = v1::RevokeJoinTokenRequest { id: made.token };
    client.admin.revoke_join_token(revoke).await.unwrap();
    let list = client.admin.list_join_tokens(v1::ListJoinTokensRequest {});
    let listed = list.await.unwrap().into_inner().tokens;
    assert_eq!(listed[0].state(), JoinTokenState::Revoked);

    for (id, code) in [
        ("0123456789abcdef", Code::NotFound),
        ("x", Code::InvalidArgument),
    ] {
        let revoke = v1::RevokeJoinTokenRequest { id: id.to_owned() };
        let refused = client.admin.revoke_join_token(revoke).await.unwrap_err();
        assert_eq!(refused.code(), code);
    }
    let wrong: [fn(&mut v1::CreateJoinTokenRequest); 4] = [
        |r| r.ttl_seconds = 0,
        |r| r.ttl_seconds = u64::MAX,
        |r| r.role = 0,
        |r| r.zone = "a b".to_owned(),
    ];
    for change in wrong {
        let mut request = request.clone();
        change(&mut request);
        let refused = client.admin.create_join_token(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_rotation_names_whom_it_waits_for_and_ends_once() {
    let (cluster, mut client) = cluster(2).await;
    let old = with_ca(&cluster);
    let name = hex::encode(&old);
    let first = rotate(&mut client, &name).await.unwrap();
    assert_eq!(first.made(), CaStep::Trust);
    let status = first.status.unwrap();
    assert_eq!(status.next_step(), CaStep::Issue);
    assert_eq!(status.waiting_for, ["node-1", "node-2"]);
    let new = hex::decode(&status.authorities[1].fingerprint).unwrap();
    let new: [u8; 32] = new.try_into().unwrap();
    report(&cluster, 1, &[old, new], old);
    let refused = rotate(&mut client, &name).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "CA_STEP_REFUSED");
    assert!(
        refused.message().contains("node-2"),
        "{}",
        refused.message()
    );
    report(&cluster, 2, &[old, new], old);
    assert_eq!(
        rotate(&mut client, &name).await.unwrap().made(),
        CaStep::Issue
    );
    assert!(
        rotate(&mut client, &name).await.is_err(),
        "nobody has a new certificate"
    );
    report(&cluster, 1, &[old, new], new);
    report(&cluster, 2, &[old, new], new);
    assert_eq!(rotate(&mut client, "").await.unwrap().made(), CaStep::Drop);
    let again = rotate(&mut client, &name).await.unwrap();
    assert_eq!(
        again.made(),
        CaStep::Unspecified,
        "it is gone: nothing to do"
    );
    assert_eq!(again.status.unwrap().authorities.len(), 1);
    assert_eq!(
        rotate(&mut client, "zz").await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn members_are_told_to_renew_by_name() {
    let (cluster, mut client) = cluster(2).await;
    let ca = with_ca(&cluster);
    report(&cluster, 1, &[ca], ca);
    let request = v1::ReloadTlsRequest {
        member: "nobody".to_owned(),
    };
    let refused = client.admin.reload_tls(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let request = v1::ReloadTlsRequest {
        member: "node-1".to_owned(),
    };
    let asked = client.admin.reload_tls(request);
    let renews = async {
        // The node sees the wish and renews.
        let mut view = cluster.groups.view();
        let wished = |view: &std::sync::Arc<marram_meta::ClusterView>| {
            let known = view.identities.get(&[1; 32]);
            known.is_some_and(|record| record.wanted > record.granted)
        };
        view.wait_for(wished).await.unwrap();
        report(&cluster, 1, &[ca], ca);
    };
    let (answer, ()) = tokio::join!(asked, renews);
    let answer = answer.unwrap().into_inner();
    assert_eq!(
        (answer.renewed, answer.pending),
        (vec!["node-1".to_owned()], vec![])
    );
    let request = v1::RemoveGatewayRequest {
        name: "edge".to_owned(),
    };
    let refused = client.admin.remove_gateway(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
