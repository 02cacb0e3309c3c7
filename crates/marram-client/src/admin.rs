//! What operators change: duties of nodes, and their removal; and plans of the layout.

use marram_proto::v1;

use crate::client::{Client, present};
use crate::error::ClientError;
use crate::types::{
    BucketProfile, Consent, DutyChange, LayoutPlan, NodeDuty, PlannedNode, Rebalance, RemovedNode,
    ShardComparison,
};

impl Client {
    /// Changes what a node, given by name or id, is there for. What it is already, it becomes again.
    /// A node that answers is fenced, and one whose data has no room elsewhere drained, only with
    /// [`Consent::FORCE`]; one without which the nodes are too few for the profile of a bucket is
    /// drained only with [`Consent::NARROWER`]. With `if_epoch` only while the layout is at this
    /// epoch, as the status says it.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` (a fenced node, what lacks consent, another epoch, or somebody else
    /// changed the duty at the same time), `Invalid`, and what any call can meet.
    pub async fn set_node_duty(
        &self,
        node: &str,
        duty: NodeDuty,
        consent: Consent,
        if_epoch: Option<u64>,
    ) -> Result<DutyChange, ClientError> {
        let message = v1::SetNodeDutyRequest {
            node: node.to_owned(),
            duty: duty.to_wire().into(),
            force: consent.force,
            if_epoch,
            allow_narrower: consent.narrower,
        };
        self.unary(message, |lane, request| async move {
            lane.admin().set_node_duty(request).await
        })
        .await
        .map(DutyChange::from_wire)
    }

    /// Removes a node, given by name or id, for ever. One that is removed already is removed again.
    /// With `if_epoch` only while the layout is at this epoch, as the status says it.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` (something is still on it: the message says what; another epoch),
    /// and what any call can meet.
    pub async fn remove_node(
        &self,
        node: &str,
        consent: Consent,
        if_epoch: Option<u64>,
    ) -> Result<RemovedNode, ClientError> {
        let message = v1::RemoveNodeRequest {
            node: node.to_owned(),
            if_epoch,
            allow_narrower: consent.narrower,
        };
        self.unary(message, |lane, request| async move {
            lane.admin().remove_node(request).await
        })
        .await
        .map(RemovedNode::from_wire)
    }

    /// Gives a bucket another profile, k+m. Answers when every part of the cluster writes by it; the
    /// bucket's objects are encoded anew in the background, and read as before all the while.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` (not a profile, or one that the cluster cannot hold), and what any call
    /// can meet.
    pub async fn set_bucket_profile(
        &self,
        bucket: &str,
        profile: &str,
    ) -> Result<BucketProfile, ClientError> {
        let message = v1::SetBucketProfileRequest {
            bucket: bucket.to_owned(),
            profile: profile.to_owned(),
            request_id: Some(self.request_id()),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.admin().set_bucket_profile(request).await
            })
            .await?;
        present(answer.profile, "profile").map(BucketProfile::from_wire)
    }

    /// Lets writes to a bucket ask for a profile, k+m, in place of the bucket's; or, where `withdraw` is set,
    /// no more: objects that asked for it follow the bucket from then on.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` (not a profile, one that the cluster cannot hold, or one too many), and what
    /// any call can meet.
    pub async fn allow_bucket_profile(
        &self,
        bucket: &str,
        profile: &str,
        withdraw: bool,
    ) -> Result<BucketProfile, ClientError> {
        let message = v1::AllowBucketProfileRequest {
            bucket: bucket.to_owned(),
            profile: profile.to_owned(),
            withdraw,
            request_id: Some(self.request_id()),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.admin().allow_bucket_profile(request).await
            })
            .await?;
        present(answer.profile, "profile").map(BucketProfile::from_wire)
    }

    /// Says how far a bucket's objects follow its profile.
    ///
    /// # Errors
    /// `NotFound`, and what any call can meet.
    pub async fn bucket_profile(&self, bucket: &str) -> Result<BucketProfile, ClientError> {
        let message = v1::GetBucketProfileRequest {
            bucket: bucket.to_owned(),
        };
        let answer = self
            .unary(message, |lane, request| async move {
                lane.admin().get_bucket_profile(request).await
            })
            .await?;
        present(answer.profile, "profile").map(BucketProfile::from_wire)
    }

    /// Says what data would be moved: by the present duties of the nodes, as if those of `without`
    /// were drained and those of `add` served (names or ids), and with further ones. Changes nothing.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, and what any call can meet.
    pub async fn plan_layout(
        &self,
        without: &[String],
        add: &[String],
        with: &[PlannedNode],
    ) -> Result<LayoutPlan, ClientError> {
        let message = v1::PlanLayoutRequest {
            without: without.to_vec(),
            add: add.to_vec(),
            with: with.iter().map(PlannedNode::to_wire).collect(),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().plan_layout(request).await
        })
        .await
        .map(LayoutPlan::from_wire)
    }

    /// Moves data until the layout is as balanced as it can be, or stops doing so. With a plan's id
    /// only if a plan made now would be the same.
    ///
    /// # Errors
    /// `Precondition` (the plan is out of date: the message says what changed), `Invalid`, and what
    /// any call can meet.
    pub async fn rebalance(
        &self,
        plan_id: Option<&str>,
        cancel: bool,
    ) -> Result<Rebalance, ClientError> {
        let message = v1::RebalanceRequest {
            plan_id: plan_id.unwrap_or_default().to_owned(),
            cancel,
        };
        self.unary(message, |lane, request| async move {
            lane.admin().rebalance(request).await
        })
        .await
        .map(Rebalance::from_wire)
    }

    /// Compares what the metadata wants on the drives with what is on them, both ways.
    ///
    /// # Errors
    /// `Exhausted` when there are too many shards for one comparison, and what any call can meet.
    pub async fn compare_shards(&self) -> Result<ShardComparison, ClientError> {
        self.unary(v1::CompareShardsRequest {}, |lane, request| async move {
            lane.admin().compare_shards(request).await
        })
        .await
        .map(ShardComparison::from_wire)
    }
}
