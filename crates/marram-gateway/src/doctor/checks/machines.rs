//! The machines of nodes: what they give a server, what the drives' file systems are, and what fails
//! together.

use std::collections::BTreeMap;

use marram_meta::NodeRecord;
use marram_proto::v1;
use v1::Severity::{self, Critical, Note, Warning};

use super::super::facts::Facts;
use super::super::say::{bytes, count, found, percent};

/// Connections of applications and peers, and files of drives: a server at its usual limits needs so
/// many.
const OPEN_FILES_MIN: u64 = 8192;
/// So much of what may be open is too near to the end.
const OPEN_FILES_PERCENT: u64 = 80;
/// The default of Linux.
const MAP_COUNT_MIN: u64 = 65_530;
/// Transfers, caches and tables take so much at the usual limits.
const MEMORY_MIN: u64 = 1 << 30;
/// Less memory than this part of the machine's is too little to spare.
const AVAILABLE_PERCENT: u64 = 5;
/// Pages of libraries that nobody needs may be swapped out.
const SWAPPED_MAX: u64 = 64 << 20;
/// `vm.overcommit_memory` that has allocations fail.
const OVERCOMMIT_NEVER: u32 = 2;

/// Do machines give the servers enough?
pub(super) fn limits(facts: &Facts) -> Vec<v1::Finding> {
    let each = facts
        .machines()
        .flat_map(|(node, machine)| of_machine(node, machine));
    each.collect()
}

fn of_machine(node: &NodeRecord, machine: &v1::MachineFacts) -> Vec<v1::Finding> {
    let mut findings = files(node, machine);
    let mut warn = |evidence: String, remedy: &str| {
        findings.push(found(Warning, &node.name, evidence, remedy));
    };
    if machine.overcommit_memory == Some(OVERCOMMIT_NEVER) {
        warn(
            "vm.overcommit_memory is 2: the system refuses memory that is free, which ends the process".to_owned(),
            "`sysctl vm.overcommit_memory=0`, and in /etc/sysctl.d",
        );
    }
    if let Some(maps) = machine.max_map_count.filter(|maps| *maps < MAP_COUNT_MIN) {
        warn(
            format!("vm.max_map_count is {maps}, below the {MAP_COUNT_MIN} that Linux begins with"),
            "`sysctl vm.max_map_count=65530` or more: threads and large buffers need maps",
        );
    }
    if let Some(swapped) = machine
        .swapped_bytes
        .filter(|swapped| *swapped > SWAPPED_MAX)
    {
        warn(
            format!(
                "{} of its memory are swapped out: whatever needs them waits for a drive",
                bytes(swapped)
            ),
            "switch swap off on machines that store data, or give them more memory",
        );
    }
    if let Some(limit) = machine
        .memory_limit_bytes
        .filter(|limit| *limit < MEMORY_MIN)
    {
        warn(
            format!(
                "it may use {} of memory: less than its transfers take when it is busy",
                bytes(limit)
            ),
            "give it 1 GiB or more: the memory limit of its container or its unit",
        );
    }
    if let Some(kills @ 1..) = machine.memory_kills {
        let kills = count(kills, "process was", "processes were");
        warn(
            format!("{kills} ended within its memory limit because that was met"),
            "give it more memory: the memory limit of its container or its unit",
        );
    }
    if let (Some(available), Some(all)) = (machine.memory_available_bytes, machine.memory_bytes)
        && percent(available, all) < AVAILABLE_PERCENT
    {
        warn(
            format!(
                "{} of {} of memory are left on its machine",
                bytes(available),
                bytes(all)
            ),
            "see what uses it; the kernel ends processes when nothing is left",
        );
    }
    findings
}

fn files(node: &NodeRecord, machine: &v1::MachineFacts) -> Vec<v1::Finding> {
    let Some(max) = machine.open_files_max else {
        return Vec::new();
    };
    let open = machine.open_files.unwrap_or(0);
    let remedy = "raise it: LimitNOFILE=1048576 in its unit, or `ulimit -n`";
    if percent(open, max) >= OPEN_FILES_PERCENT {
        let evidence = format!("{open} files and sockets are open, and {max} may be");
        return vec![found(Critical, &node.name, evidence, remedy)];
    }
    if max < OPEN_FILES_MIN {
        let evidence = format!(
            "{max} files and sockets may be open: with many connections it runs out of them"
        );
        return vec![found(Warning, &node.name, evidence, remedy)];
    }
    Vec::new()
}

/// Are drives on file systems that keep data?
pub(super) fn file_systems(facts: &Facts) -> Vec<v1::Finding> {
    let on_purpose = facts.is_for_development();
    let each = facts.folders().filter_map(|(node, folder)| {
        let (severity, evidence, remedy) = judge(folder)?;
        let severity = if on_purpose { Note } else { severity };
        let subject = format!("{} {}", node.name, folder.path);
        Some(found(severity, subject, evidence, remedy))
    });
    each.collect()
}

/// File systems whose drives are in other machines, as Linux calls them. `fuseblk` is a local one.
fn is_network(kind: &str) -> bool {
    let known = [
        "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "gfs2", "ocfs2", "lustre", "virtiofs",
        "fuse",
    ];
    known.contains(&kind) || kind.starts_with("fuse.")
}

fn judge(folder: &v1::FolderFacts) -> Option<(Severity, String, &'static str)> {
    let kind = folder.file_system.as_str();
    let local = "use XFS or ext4 on a local drive";
    match kind {
        "tmpfs" | "ramfs" => Some((
            Critical,
            format!("it is a {kind}: what is in it is gone after a restart"),
            local,
        )),
        kind if is_network(kind) => Some((
            Warning,
            format!(
                "it is on {kind}: over a network syncs and locks may not hold what they promise, and its server is one more that may fail"
            ),
            local,
        )),
        "overlay" => Some((
            Warning,
            "it is in the layer of a container, and is gone with it".to_owned(),
            "mount a volume there",
        )),
        _ if folder.direct_io == Some(false) => Some((
            Warning,
            format!(
                "{kind} does not let files be read past the page cache: scrubs may read memory instead of the drive"
            ),
            local,
        )),
        _ => None,
    }
}

/// Do nodes and drives fail one at a time?
pub(super) fn independence(facts: &Facts) -> Vec<v1::Finding> {
    let severity = if facts.is_for_development() {
        Note
    } else {
        Warning
    };
    let mut findings = Vec::new();
    let mut machines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, machine) in facts
        .machines()
        .filter(|(_, machine)| !machine.boot_id.is_empty())
    {
        machines
            .entry(&machine.boot_id)
            .or_default()
            .push(&node.name);
    }
    for nodes in machines.into_values().filter(|nodes| nodes.len() > 1) {
        findings.push(found(
            severity,
            nodes.join(", "),
            "these nodes run on one machine: they fail together, and are counted as if they did not",
            "run one node a machine, or give the nodes of a machine one --zone",
        ));
    }
    for (node, said) in facts.answered() {
        let mut devices: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for folder in said
            .folders
            .iter()
            .filter(|folder| !folder.device.is_empty())
        {
            devices
                .entry(&folder.device)
                .or_default()
                .push(&folder.path);
        }
        for folders in devices.into_values().filter(|folders| folders.len() > 1) {
            findings.push(found(
                severity,
                &node.name,
                format!("{} are on one device: they fail together, and each counts the same room as its own", folders.join(", ")),
                "give each data folder a drive of its own",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, only, severities};
    use super::*;

    fn machine(change: impl FnOnce(&mut v1::MachineFacts)) -> Vec<v1::Finding> {
        let mut facts = facts(7);
        change(facts.said(2).machine.as_mut().expect("there"));
        limits(&facts)
    }

    #[test]
    fn each_limit_of_a_machine_is_told_of() {
        type Change = fn(&mut v1::MachineFacts);
        let wrong: [(Change, &str); 7] = [
            (|m| m.open_files_max = Some(1024), "1024 files"),
            (|m| m.overcommit_memory = Some(2), "overcommit"),
            (|m| m.max_map_count = Some(65_529), "max_map_count"),
            (|m| m.swapped_bytes = Some(SWAPPED_MAX + 1), "swapped"),
            (|m| m.memory_limit_bytes = Some(512 << 20), "512.0 MiB"),
            (|m| m.memory_kills = Some(2), "2 processes"),
            (
                |m| m.memory_available_bytes = Some(3 << 30),
                "3.0 GiB of 64.0 GiB",
            ),
        ];
        for (change, said) in wrong {
            let (severity, subject, evidence) = only(&machine(change));
            assert_eq!((severity, subject.as_str()), (Warning, "node-2"));
            assert!(evidence.contains(said), "{evidence}");
        }
        let nearly_out = machine(|m| m.open_files = Some(900_000));
        assert_eq!(severities(&nearly_out), [Critical]);
        let right: [Change; 3] = [
            |m| m.overcommit_memory = Some(1),
            |m| m.memory_limit_bytes = Some(MEMORY_MIN),
            |m| *m = v1::MachineFacts::default(),
        ];
        for change in right {
            assert_eq!(machine(change), []);
        }
    }

    fn folder(change: impl FnOnce(&mut v1::FolderFacts)) -> Facts {
        let mut facts = facts(7);
        change(&mut facts.said(2).folders[0]);
        facts
    }

    #[test]
    fn file_systems_that_lose_data_are_found() {
        for (kind, severity) in [
            ("tmpfs", Critical),
            ("nfs", Warning),
            ("overlay", Warning),
            ("fuse.sshfs", Warning),
        ] {
            let facts = folder(|folder| folder.file_system = kind.to_owned());
            assert_eq!(only(&file_systems(&facts)).0, severity, "{kind}");
        }
        let facts = folder(|folder| folder.direct_io = Some(false));
        assert!(only(&file_systems(&facts)).2.contains("page cache"));
        for kind in ["xfs", "ext4", "btrfs", "zfs", "fuseblk"] {
            let facts = folder(|folder| folder.file_system = kind.to_owned());
            assert_eq!(file_systems(&facts), [], "{kind}");
        }
    }

    #[test]
    fn what_fails_together_is_found() {
        let mut facts = folder(|_| ());
        let mut second = facts.said(2).folders[0].clone();
        second.path = "/data/other".to_owned();
        facts.said(2).folders.push(second);
        let evidence = only(&independence(&facts)).2;
        assert!(
            evidence.starts_with("/data/2, /data/other are on one device"),
            "{evidence}"
        );
        facts.said(2).folders[1].device = "8:16".to_owned();
        assert_eq!(independence(&facts), []);
        facts.said(3).machine.as_mut().expect("there").boot_id = "machine-4".to_owned();
        assert_eq!(only(&independence(&facts)).1, "node-3, node-4");
    }

    #[test]
    fn a_cluster_for_development_is_on_one_machine_on_purpose() {
        let mut facts = folder(|folder| folder.file_system = "tmpfs".to_owned());
        facts.said(3).machine.as_mut().expect("there").boot_id = "machine-4".to_owned();
        for node in facts.decided().nodes.values_mut() {
            node.mesh_addr = "127.0.0.1:7071".to_owned();
        }
        assert_eq!(severities(&independence(&facts)), [Note]);
        assert_eq!(severities(&file_systems(&facts)), [Note]);
    }
}
