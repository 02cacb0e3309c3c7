//! Join tokens, and the replacement of the CA.

use super::*;
use crate::{
    IdentityCommand, IdentityRefusal, NewToken, Newcomer, NodeDuty, RootQuery, TOKENS_MAX,
    TokenRole, answer_root,
};

const SECRET: [u8; 32] = [9; 32];
const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];
const TTL_MS: u64 = 60_000;

fn token(id: u64, role: TokenRole) -> NewToken {
    NewToken {
        token: id,
        secret_hash: SECRET,
        role,
        name: None,
        zone: None,
        ttl_ms: TTL_MS,
    }
}

fn redeem(id: u64, newcomer: Newcomer) -> IdentityCommand {
    IdentityCommand::Redeem {
        token: id,
        secret_hash: SECRET,
        newcomer,
        until_s: 500,
    }
}

fn gateway(key: u8, name: &str) -> Newcomer {
    Newcomer::Gateway {
        key: [key; 32],
        name: name.to_owned(),
    }
}

impl Root {
    fn made() -> Self {
        let mut root = Self::empty();
        root.run(&bootstrap());
        root
    }

    fn at(&mut self, time_ms: u64, command: IdentityCommand) -> RootOutcome {
        let mut entry = Envelope::seal_internal(&RootCommand::Identity(command));
        stamp(&mut entry, time_ms).unwrap();
        self.apply(&entry)
    }

    fn identity(&mut self, command: IdentityCommand) -> RootOutcome {
        self.at(1_000, command)
    }

    #[track_caller]
    fn refuses(&mut self, command: IdentityCommand) -> IdentityRefusal {
        match self.identity(command) {
            RootOutcome::Refused(Refusal::Identity(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    fn token(&mut self, id: u64, role: TokenRole) {
        let made = self.identity(IdentityCommand::CreateToken(token(id, role)));
        assert_eq!(made, RootOutcome::Done);
    }

    fn report(&mut self, key: u8, trusts: &[[u8; 32]], issuer: [u8; 32]) {
        let command = IdentityCommand::Report {
            key: [key; 32],
            until_s: Some(1_000),
            trusts: trusts.to_vec(),
            issuer: Some(issuer),
        };
        assert_eq!(self.identity(command), RootOutcome::Done);
    }
}

fn admitted(outcome: RootOutcome) -> (String, NodeId, ReplicaId) {
    match outcome {
        RootOutcome::Admitted {
            name,
            node: Some(node),
        } => (name, node.node, node.replica),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_admits_one_node_and_that_one_again() {
    let mut root = Root::made();
    root.token(7, TokenRole::Storage);
    let (name, node, replica) = admitted(root.identity(redeem(7, Newcomer::Storage(join(1)))));
    assert_eq!(name, "node-1");
    // The answer was lost; time has passed. The replica that may have been used is not used again.
    let again = root.at(1_000_000, redeem(7, Newcomer::Storage(join(1))));
    let (_, same, fresh) = admitted(again);
    assert_eq!(same, node);
    assert_ne!(fresh, replica);
    let other = root.refuses(redeem(7, Newcomer::Storage(join(2))));
    assert_eq!(other, IdentityRefusal::TokenUsed { node });
    let known = &root.view().identities[&[1; 32]];
    assert_eq!((known.until_s, known.removed), (500, false));
}

#[test]
fn wrong_expired_revoked_and_misused_tokens_are_told_apart() {
    let mut root = Root::made();
    let one = || Newcomer::Storage(join(1));
    assert_eq!(root.refuses(redeem(1, one())), IdentityRefusal::TokenWrong);
    root.token(1, TokenRole::Storage);
    let wrong = IdentityCommand::Redeem {
        token: 1,
        secret_hash: [8; 32],
        newcomer: one(),
        until_s: 1,
    };
    assert_eq!(root.refuses(wrong), IdentityRefusal::TokenWrong);
    let role = TokenRole::Storage;
    let misused = root.refuses(redeem(1, gateway(5, "")));
    assert_eq!(misused, IdentityRefusal::TokenRole { role });
    root.token(2, TokenRole::Storage);
    root.identity(IdentityCommand::RevokeToken { token: 2 });
    assert_eq!(
        root.refuses(redeem(2, one())),
        IdentityRefusal::TokenRevoked
    );
    let unknown = root.refuses(IdentityCommand::RevokeToken { token: 3 });
    assert_eq!(unknown, IdentityRefusal::NoSuchToken);
    let late = root.at(1_000 + TTL_MS + 5, redeem(1, one()));
    let expired = IdentityRefusal::TokenExpired { ago_ms: 5 };
    assert_eq!(late, RootOutcome::Refused(Refusal::Identity(expired)));
    assert!(root.view().nodes.is_empty(), "nobody was admitted");
}

#[test]
fn a_bound_token_gives_name_and_zone_and_takes_no_others() {
    let mut root = Root::made();
    let mut bound = token(1, TokenRole::Storage);
    bound.name = Some("pod-3".to_owned());
    bound.zone = Some("z2".to_owned());
    root.identity(IdentityCommand::CreateToken(bound));
    let refused = root.refuses(redeem(1, Newcomer::Storage(join(1))));
    assert!(matches!(refused, IdentityRefusal::TokenBound { what, .. } if what == "name"));
    let mut newcomer = join(1);
    newcomer.name.clear();
    let (name, node, _) = admitted(root.identity(redeem(1, Newcomer::Storage(newcomer))));
    assert_eq!(name, "pod-3");
    assert_eq!(root.view().nodes[&node].zone, "z2");
}

#[test]
fn names_and_addresses_of_living_members_are_theirs() {
    let mut root = Root::made();
    root.token(1, TokenRole::Storage);
    root.token(2, TokenRole::Storage);
    let (_, node, _) = admitted(root.identity(redeem(1, Newcomer::Storage(join(1)))));
    let mut same_name = join(2);
    same_name.name = "node-1".to_owned();
    let refused = root.refuses(redeem(2, Newcomer::Storage(same_name)));
    let name = "node-1".to_owned();
    assert_eq!(refused, IdentityRefusal::NameTaken { name, node });
    let mut same_address = join(2);
    same_address.mesh_addr = join(1).mesh_addr;
    same_address.name.clear();
    let refused = root.refuses(redeem(2, Newcomer::Storage(same_address.clone())));
    let address = join(1).mesh_addr;
    assert_eq!(refused, IdentityRefusal::AddressTaken { address, node });
    // The token is not used up; a node that was given up makes room.
    let duty = NodeDuty::Fenced;
    root.run(&RootCommand::SetDuty { node, duty });
    let (name, ..) = admitted(root.identity(redeem(2, Newcomer::Storage(same_address))));
    assert_eq!(name, "node-2", "a name that no node had");
}

#[test]
fn gateways_share_a_token_and_are_removed_by_name() {
    let mut root = Root::made();
    root.token(1, TokenRole::Gateway);
    for key in [5, 6] {
        let admitted = root.identity(redeem(1, gateway(key, "edge")));
        assert!(matches!(admitted, RootOutcome::Admitted { node: None, .. }));
    }
    let name = "edge".to_owned();
    root.identity(IdentityCommand::RemoveGateway { name });
    assert!(root.view().identities.values().all(|i| i.removed));
    let back = root.refuses(redeem(1, gateway(5, "edge")));
    assert_eq!(back, IdentityRefusal::NoSuchKey);
    let (key, trusts, issuer) = ([5; 32], vec![], None);
    let report = root.refuses(IdentityCommand::Report {
        key,
        until_s: Some(9),
        trusts,
        issuer,
    });
    assert_eq!(report, IdentityRefusal::NoSuchKey, "and is not renewed");
}

#[test]
fn tokens_are_limited_and_forgotten() {
    let mut root = Root::made();
    for id in 0..TOKENS_MAX as u64 {
        root.token(id, TokenRole::Storage);
    }
    let one_more = || IdentityCommand::CreateToken(token(5_000, TokenRole::Storage));
    assert_eq!(root.refuses(one_more()), IdentityRefusal::TooManyTokens);
    let two_days = 2 * 24 * 3600 * 1000;
    assert_eq!(root.at(two_days, one_more()), RootOutcome::Done);
    let left = answer_root(&root.kv, &RootQuery::Tokens.encode()).unwrap();
    assert_eq!(RootQuery::read_tokens(&left).unwrap().len(), 1);
    let mut long = token(6_000, TokenRole::Storage);
    long.ttl_ms = u64::MAX;
    let refused = root.refuses(IdentityCommand::CreateToken(long));
    assert_eq!(refused, IdentityRefusal::TokenMalformed);
}

fn add(fingerprint: [u8; 32], replaces: Option<[u8; 32]>) -> IdentityCommand {
    IdentityCommand::AddAuthority {
        fingerprint,
        certificate: vec![1],
        wrapped_key: vec![2],
        replaces,
    }
}

#[test]
fn a_ca_is_replaced_in_three_steps_each_after_everybody_did_the_one_before() {
    let mut root = Root::ready(2, 1);
    root.identity(add(OLD, None));
    assert_eq!(
        root.refuses(add(NEW, None)),
        IdentityRefusal::AuthorityExists
    );
    root.token(1, TokenRole::Gateway);
    root.identity(redeem(1, gateway(7, "edge")));
    assert_eq!(root.view().issuing().unwrap().fingerprint, OLD);
    let issue = IdentityCommand::IssueFrom { fingerprint: NEW };
    let drop = IdentityCommand::DropAuthority { fingerprint: OLD };
    let named = |refusal| match refusal {
        IdentityRefusal::NotReported { named, .. } => named,
        other => panic!("{other:?}"),
    };

    assert_eq!(
        root.refuses(issue.clone()),
        IdentityRefusal::NoSuchAuthority
    );
    assert_eq!(root.refuses(drop.clone()), IdentityRefusal::AuthorityIssues);
    assert_eq!(root.identity(add(NEW, Some(OLD))), RootOutcome::Done);
    assert_eq!(root.identity(add(NEW, Some(OLD))), RootOutcome::Done);
    let third = root.refuses(add([3; 32], Some(OLD)));
    assert_eq!(third, IdentityRefusal::RotationUnderWay);

    assert_eq!(
        named(root.refuses(issue.clone())),
        ["node-0", "node-1", "edge"]
    );
    root.report(0, &[OLD, NEW], OLD);
    root.report(7, &[OLD, NEW], OLD);
    assert_eq!(named(root.refuses(issue.clone())), ["node-1"]);
    root.report(1, &[OLD, NEW], OLD);
    assert_eq!(root.identity(issue.clone()), RootOutcome::Done);
    assert_eq!(root.identity(issue), RootOutcome::Done, "again");
    assert_eq!(root.view().issuing().unwrap().fingerprint, NEW);

    root.report(0, &[OLD, NEW], NEW);
    assert_eq!(named(root.refuses(drop.clone())), ["node-1", "edge"]);
    // A node that was given up does not hold it up, nor a gateway whose certificate has expired.
    let (node, duty) = (root.view().nodes.keys().copied().last(), NodeDuty::Fenced);
    let node = node.unwrap();
    root.run(&RootCommand::SetDuty { node, duty });
    let late = root.at(1_000_001, drop.clone());
    assert_eq!(late, RootOutcome::Done);
    assert_eq!(root.at(1_000_001, drop), RootOutcome::Done, "again");
    assert_eq!(root.view().authorities.len(), 1);
}

#[test]
fn renewals_are_asked_for_and_counted() {
    let mut root = Root::ready(2, 1);
    root.report(0, &[OLD], OLD);
    root.report(1, &[OLD], OLD);
    root.identity(IdentityCommand::RenewNow { key: None });
    let due = |root: &Root| {
        let view = root.view();
        let due = view.identities.values().filter(|i| i.granted < i.wanted);
        due.count()
    };
    assert_eq!(due(&root), 2);
    root.report(0, &[OLD], OLD);
    assert_eq!(due(&root), 1);
    let key = Some([99; 32]);
    let unknown = root.refuses(IdentityCommand::RenewNow { key });
    assert_eq!(unknown, IdentityRefusal::NoSuchKey);
}
