//! The same for a person, one sentence a line, the worst first where it matters.

use marram_meta::NodeState;
use marram_placement::{Apart, pool_of};
use marram_types::{NodeId, Profile};

use super::Facts;

pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {many}")
    }
}

impl Facts<'_> {
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut all = vec![self.about_nodes(), self.about_losses()];
        all.extend(self.about_size());
        all.extend(self.about_metadata());
        all.extend(self.about_writes());
        all.extend(self.about_drives());
        all.extend(self.about_versions());
        all
    }

    pub(super) fn name(&self, node: NodeId) -> String {
        let known = self.view.nodes.get(&node);
        known.map_or_else(|| format!("node {node}"), |node| node.name.clone())
    }

    fn about_nodes(&self) -> String {
        let nodes = self.view.nodes.values();
        let all = nodes.filter(|node| node.state == NodeState::Active).count();
        if self.away.is_empty() {
            return match all {
                1 => "The node answers.".to_owned(),
                all => format!("All {all} nodes answer."),
            };
        }
        let names: Vec<String> = self.away.iter().map(|node| self.name(*node)).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        format!(
            "{} of {all} nodes {verb} away: {}.",
            names.len(),
            names.join(", ")
        )
    }

    fn about_losses(&self) -> String {
        let more = if self.away.is_empty() { "" } else { "more " };
        match self.tolerated() {
            i32::MIN..=-1 => {
                "Some objects may not be readable until nodes that are away come back.".to_owned()
            }
            0 => "No further node may be lost: every object is readable now, and losing one more \
                  node could make some of them unreadable."
                .to_owned(),
            1 => format!("Every object survives the loss of any 1 {more}node."),
            any => format!("Every object survives the loss of any {any} {more}nodes."),
        }
    }

    /// Pools in use whose shards are kept apart by drives, because there never were nodes enough.
    fn about_size(&self) -> Option<String> {
        let seats = self.view.seats();
        let nodes = Apart::Nodes.places(&seats);
        let shares = |profile: &Profile| {
            let table = self.view.pools.get(&pool_of(profile.width()));
            table.is_some_and(|table| {
                self.view.apart_in(table, &seats) == Apart::Drives
                    && table.rows.iter().any(|row| self.most_on_a_node(row) > 1)
            })
        };
        let profile = self
            .profiles()
            .into_iter()
            .filter(shares)
            .max_by_key(|p| p.width())?;
        let what = plural(nodes as u64, "node", "nodes");
        Some(format!(
            "Shards of one object are kept on different drives and not on different nodes: {profile} needs {} \
             nodes for that, and there {} {what}.",
            profile.width(),
            if nodes == 1 { "is" } else { "are" },
        ))
    }

    fn about_metadata(&self) -> Vec<String> {
        let weak = self.view.groups.values().filter_map(|group| {
            let up = self.voters_up(&group.voters);
            let voters = group.voters.len();
            (up < voters / 2 + 1).then(|| {
                format!(
                    "Metadata group {} has no majority ({up} of {voters} voters answer): its \
                     objects can be neither read nor written until one comes back.",
                    group.group
                )
            })
        });
        let weak: Vec<String> = weak.collect();
        if self.view.groups.is_empty() {
            return vec!["The metadata groups are not made yet.".to_owned()];
        }
        weak
    }

    fn about_writes(&self) -> Vec<String> {
        let profiles = self.profiles().into_iter();
        profiles
            .filter_map(|profile| {
                let [large, small] = self.kept_as(profile);
                let large = self.written_as(large.0, large.1);
                about_large(profile, large).or_else(|| {
                    let small = self.written_as(small.0, small.1);
                    about_small(profile, small)
                })
            })
            .collect()
    }

    fn about_drives(&self) -> Vec<String> {
        let place = |drive: &marram_types::DriveId| {
            let node = self.nodes.get(drive).map(|node| self.name(*node));
            node.unwrap_or_else(|| "no node".to_owned())
        };
        let retired = self.retired.iter().map(|drive| {
            let (node, slots) = (place(drive), self.slots_on(*drive));
            let held = self.view.nodes.values().find_map(|node| node.drive(*drive));
            let what = match held.map(|held| held.duty) {
                Some(duty) if duty.is_away() => "is not there",
                _ if self.absent.contains(drive) => "is not there",
                _ => "has failed",
            };
            match slots {
                0 => format!(
                    "Drive {drive} of {node} {what} and nothing is missed of it any more: replace \
                     it, and remove it with `marram admin drive remove {drive}`."
                ),
                slots => format!(
                    "Drive {drive} of {node} {what}: {slots} slots of placement groups are rebuilt \
                     elsewhere, after a grace and as far as there are other places."
                ),
            }
        });
        let full = self.full.iter().map(|drive| {
            let node = place(drive);
            format!("Drive {drive} of {node} is full: reads go on, writes and moves go elsewhere.")
        });
        retired.chain(full).collect()
    }

    fn about_versions(&self) -> Vec<String> {
        let Some(usage) = self.usage else {
            return vec![
                "Not every metadata group answers, so the counts of narrowed versions are not \
                 known."
                    .to_owned(),
            ];
        };
        let mut all = Vec::new();
        if usage.narrowed > 0 {
            let what = plural(usage.narrowed, "version is", "versions are");
            all.push(format!(
                "{what} narrower than asked for: as safe, and larger."
            ));
        }
        if usage.under_protected > 0 {
            let what = plural(
                usage.under_protected,
                "version survives",
                "versions survive",
            );
            all.push(format!("{what} fewer losses than asked for."));
        }
        all
    }
}

/// What is said when large objects of a profile are written as something else now.
fn about_large(profile: Profile, now: Option<Profile>) -> Option<String> {
    match now {
        None => Some(format!(
            "New objects of {profile} cannot be written: too few drives can take data."
        )),
        Some(now) if now == profile => None,
        Some(now) if now.m() == profile.m() => Some(format!(
            "New objects of {profile} are written {now} for now: they survive as many losses \
             and take more space."
        )),
        Some(now) => Some(format!(
            "New objects of {profile} are written {now} for now: they survive {} only.",
            plural(now.m() as u64, "loss", "losses")
        )),
    }
}

/// The same of small ones, which are whole copies.
fn about_small(profile: Profile, now: Option<Profile>) -> Option<String> {
    match now {
        None => Some(format!(
            "New small objects of {profile} cannot be written: too few drives can take copies of them."
        )),
        Some(now) if now.m() == profile.m() => None,
        Some(now) => Some(format!(
            "New small objects of {profile} are written {now} for now: they survive {} only.",
            plural(now.m() as u64, "loss", "losses")
        )),
    }
}
