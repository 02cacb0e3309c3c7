//! Join tokens, CAs and certificates as operators see them.

use marram_proto::v1;
use serde::Serialize;

/// What a cluster is founded as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Founding {
    /// Its name.
    pub cluster_name: String,
    /// Nodes to wait for before data is placed.
    pub expected_nodes: u32,
    /// Number of object groups, for good; the default where `None`.
    pub groups: Option<u32>,
    /// The first node's zone, where it is not the one of its settings.
    pub zone: Option<String>,
}

impl Founding {
    pub(crate) fn to_wire(&self) -> v1::BootstrapRequest {
        v1::BootstrapRequest {
            cluster_name: self.cluster_name.clone(),
            expected_nodes: self.expected_nodes,
            groups: self.groups.unwrap_or_default(),
            zone: self.zone.clone().unwrap_or_default(),
        }
    }
}

/// A cluster that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundedCluster {
    /// Its id.
    pub cluster_id: String,
    /// Whether the call founded it; else it was there.
    pub founded: bool,
}

impl FoundedCluster {
    pub(crate) fn from_wire(answer: v1::BootstrapResponse) -> Self {
        Self {
            cluster_id: answer.cluster_id,
            founded: answer.founded,
        }
    }
}

/// What a join token admits, and what a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinRole {
    /// A storage node.
    Storage,
    /// A gateway without drives.
    Gateway,
    /// Not said, or said in a way this release does not know.
    Unknown,
}

impl JoinRole {
    fn from_wire(role: v1::JoinRole) -> Self {
        match role {
            v1::JoinRole::Storage => Self::Storage,
            v1::JoinRole::Gateway => Self::Gateway,
            v1::JoinRole::Unspecified => Self::Unknown,
        }
    }

    pub(crate) fn to_wire(self) -> v1::JoinRole {
        match self {
            Self::Storage => v1::JoinRole::Storage,
            Self::Gateway => v1::JoinRole::Gateway,
            Self::Unknown => v1::JoinRole::Unspecified,
        }
    }
}

/// Whether a join token admits anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinTokenState {
    /// It does.
    Valid,
    /// It has admitted its node.
    Used,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// Not said, or said in a way this release does not know.
    Unknown,
}

/// A join token that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewJoinToken {
    /// What the newcomer is given. Only now: the cluster keeps a hash of it.
    pub token: String,
    /// Its id.
    pub id: String,
    /// About when it expires, in milliseconds since 1970.
    pub expires_ms: i64,
}

impl NewJoinToken {
    pub(crate) fn from_wire(answer: v1::CreateJoinTokenResponse) -> Self {
        Self {
            token: answer.token,
            id: answer.id,
            expires_ms: answer.expires_ms,
        }
    }
}

/// What is known of a join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JoinTokenInfo {
    /// Its id.
    pub id: String,
    /// What it admits.
    pub role: JoinRole,
    /// Whether it admits anybody now.
    pub state: JoinTokenState,
    /// The name it gives; empty where it is open.
    pub name: String,
    /// The zone it gives; empty where it is open.
    pub zone: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it expires, in milliseconds since 1970.
    pub expires_ms: i64,
    /// The node that it admitted.
    pub used_by_node_id: Option<u64>,
}

impl JoinTokenInfo {
    pub(crate) fn from_wire(token: v1::JoinTokenInfo) -> Self {
        let state = match token.state() {
            v1::JoinTokenState::Valid => JoinTokenState::Valid,
            v1::JoinTokenState::Used => JoinTokenState::Used,
            v1::JoinTokenState::Expired => JoinTokenState::Expired,
            v1::JoinTokenState::Revoked => JoinTokenState::Revoked,
            v1::JoinTokenState::Unspecified => JoinTokenState::Unknown,
        };
        Self {
            role: JoinRole::from_wire(token.role()),
            state,
            id: token.id,
            name: token.name,
            zone: token.zone,
            created_ms: token.created_ms,
            expires_ms: token.expires_ms,
            used_by_node_id: (token.used_by_node_id != 0).then_some(token.used_by_node_id),
        }
    }
}

/// A step of the replacement of the CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaStep {
    /// A new CA is trusted everywhere.
    Trust,
    /// Certificates are issued from it.
    Issue,
    /// The old one is dropped.
    Drop,
}

impl CaStep {
    fn from_wire(step: v1::CaStep) -> Option<Self> {
        match step {
            v1::CaStep::Trust => Some(Self::Trust),
            v1::CaStep::Issue => Some(Self::Issue),
            v1::CaStep::Drop => Some(Self::Drop),
            v1::CaStep::Unspecified => None,
        }
    }
}

/// A CA of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaInfo {
    /// SHA-256 of its certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// Certificates are issued from it.
    pub issues: bool,
    /// When its certificate expires, in seconds since 1970; none where that was not said.
    pub expires_s: Option<i64>,
}

/// A member's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateInfo {
    /// The member's name.
    pub name: String,
    /// What it is.
    pub role: JoinRole,
    /// When its certificate expires, in seconds since 1970; none where it has said nothing yet.
    pub expires_s: Option<i64>,
    /// The CA of the certificate that it has.
    pub issuer: String,
    /// It was told to renew its certificate and has not yet.
    pub renewal_asked: bool,
}

/// How the CA and the certificates are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaStatus {
    /// The CAs that are trusted, the oldest first; two while one is being replaced.
    pub authorities: Vec<CaInfo>,
    /// What a rotation does next.
    pub next_step: Option<CaStep>,
    /// Members that have to do the step before; the next one is refused until then.
    pub waiting_for: Vec<String>,
    /// The members and their certificates.
    pub members: Vec<CertificateInfo>,
}

impl CaStatus {
    pub(crate) fn from_wire(answer: v1::GetCaStatusResponse) -> Self {
        let ca = |ca: v1::CaInfo| CaInfo {
            fingerprint: ca.fingerprint,
            issues: ca.issues,
            expires_s: (ca.expires_s != 0).then_some(ca.expires_s),
        };
        let member = |member: v1::CertificateInfo| CertificateInfo {
            role: JoinRole::from_wire(member.role()),
            name: member.name,
            expires_s: (member.expires_s != 0).then_some(member.expires_s),
            issuer: member.issuer,
            renewal_asked: member.renewal_asked,
        };
        Self {
            next_step: CaStep::from_wire(answer.next_step()),
            authorities: answer.authorities.into_iter().map(ca).collect(),
            waiting_for: answer.waiting_for,
            members: answer.members.into_iter().map(member).collect(),
        }
    }
}

/// A step of the replacement of the CA that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaRotation {
    /// The step that was made; none: there was nothing to do.
    pub made: Option<CaStep>,
    /// How it is now.
    pub status: CaStatus,
}

impl CaRotation {
    pub(crate) fn from_wire(answer: v1::RotateCaResponse) -> Self {
        Self {
            made: CaStep::from_wire(answer.made()),
            status: CaStatus::from_wire(answer.status.unwrap_or_default()),
        }
    }
}

/// How far asked renewals are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renewals {
    /// Members that have a new certificate.
    pub renewed: Vec<String>,
    /// Members that have not yet; they renew as soon as they can.
    pub pending: Vec<String>,
}

impl Renewals {
    pub(crate) fn from_wire(answer: v1::ReloadTlsResponse) -> Self {
        Self {
            renewed: answer.renewed,
            pending: answer.pending,
        }
    }
}
