//! Join tokens, the CA and the certificates of members.

use std::time::Duration;

use marram_proto::v1;

use crate::client::Client;
use crate::error::{ClientError, ErrorKind};
use crate::types::{
    CaRotation, CaStatus, FoundedCluster, Founding, JoinRole, JoinTokenInfo, NewJoinToken, Renewals,
};

impl Client {
    /// Has the one server that this client knows found a cluster: one that waits for its join token with
    /// empty drives, and was given this client's access key as the operator's. May be repeated: a member
    /// of the cluster of that name answers its id.
    ///
    /// # Errors
    /// `Precondition` (reason `CLUSTER_DIFFERS`: it belongs to another cluster, or a member answers it),
    /// `Unavailable` (reason `NOT_A_MEMBER`: it is joining at this moment), `Invalid` (also where this
    /// client has several endpoints: the call goes to one server and no other), and what any call can
    /// meet.
    pub async fn bootstrap(&self, founding: &Founding) -> Result<FoundedCluster, ClientError> {
        if self.servers().await != 1 {
            let message =
                "a cluster is founded by one server: make a client with its address alone";
            return Err(ClientError::new(ErrorKind::Invalid, message.to_owned()));
        }
        let message = founding.to_wire();
        self.unary(message, |lane, request| async move {
            lane.admin().bootstrap(request).await
        })
        .await
        .map(FoundedCluster::from_wire)
    }

    /// Makes a join token that is good for `ttl`. `name` and `zone`, where given, become those of
    /// whoever joins with it.
    ///
    /// # Errors
    /// `Invalid`, and what any call can meet. A call whose answer was lost may leave a token that
    /// nobody knows, until it expires.
    pub async fn create_join_token(
        &self,
        role: JoinRole,
        ttl: Duration,
        (name, zone): (Option<&str>, Option<&str>),
    ) -> Result<NewJoinToken, ClientError> {
        let message = v1::CreateJoinTokenRequest {
            role: role.to_wire().into(),
            ttl_seconds: ttl.as_secs(),
            name: name.unwrap_or_default().to_owned(),
            zone: zone.unwrap_or_default().to_owned(),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().create_join_token(request).await
        })
        .await
        .map(NewJoinToken::from_wire)
    }

    /// The join tokens, those that expired less than a day ago too.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn join_tokens(&self) -> Result<Vec<JoinTokenInfo>, ClientError> {
        let message = v1::ListJoinTokensRequest {};
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().list_join_tokens(request).await
        });
        let tokens = answer.await?.tokens.into_iter();
        Ok(tokens.map(JoinTokenInfo::from_wire).collect())
    }

    /// Takes a join token back, by its id. Says the id.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, and what any call can meet.
    pub async fn revoke_join_token(&self, id: &str) -> Result<String, ClientError> {
        let message = v1::RevokeJoinTokenRequest { id: id.to_owned() };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().revoke_join_token(request).await
        });
        Ok(answer.await?.id)
    }

    /// How the CA and the certificates are.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn ca_status(&self) -> Result<CaStatus, ClientError> {
        let message = v1::GetCaStatusRequest {};
        self.unary(message, |lane, request| async move {
            lane.admin().get_ca_status(request).await
        })
        .await
        .map(CaStatus::from_wire)
    }

    /// Makes the next step of the replacement of the CA. With `replaces`, the fingerprint of the CA
    /// to replace, nothing is done once that is trusted no longer.
    ///
    /// # Errors
    /// `Precondition` (members have not done the step before: the message names them), `Invalid`,
    /// and what any call can meet.
    pub async fn rotate_ca(&self, replaces: Option<&str>) -> Result<CaRotation, ClientError> {
        let message = v1::RotateCaRequest {
            replaces: replaces.unwrap_or_default().to_owned(),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().rotate_ca(request).await
        })
        .await
        .map(CaRotation::from_wire)
    }

    /// Has a member, or all, renew their certificates now, and waits some seconds for it.
    ///
    /// # Errors
    /// `NotFound`, and what any call can meet.
    pub async fn reload_tls(&self, member: Option<&str>) -> Result<Renewals, ClientError> {
        let message = v1::ReloadTlsRequest {
            member: member.unwrap_or_default().to_owned(),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().reload_tls(request).await
        })
        .await
        .map(Renewals::from_wire)
    }

    /// Removes a gateway without drives for ever. Says its name.
    ///
    /// # Errors
    /// `NotFound`, and what any call can meet.
    pub async fn remove_gateway(&self, name: &str) -> Result<String, ClientError> {
        let message = v1::RemoveGatewayRequest {
            name: name.to_owned(),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().remove_gateway(request).await
        });
        Ok(answer.await?.name)
    }
}
