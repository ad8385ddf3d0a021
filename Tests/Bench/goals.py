"""Every figure that the bench groups must reach, in the order of the table they print."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One figure: value OP goal makes it ok. `against` says what the ratio's other side is."""

    key: str
    group: str
    name: str
    unit: str
    op: str
    goal: float
    against: str

    def met_by(self, value: float) -> bool:
        return value >= self.goal if self.op == ">=" else value <= self.goal


_STORE = [
    # key, name, unit, op, goal, against
    ("commit-4g-restic", "commit 4 GiB incompressible, tmpfs to tmpfs: speed",
     "x", ">=", 4.0, "restic backup"),
    ("commit-4g-sha256", "commit 4 GiB incompressible, tmpfs to tmpfs: speed of each core used",
     "x", ">=", 0.6, "SHA-256 of one core, openssl speed"),
    ("commit-4g-disk", "commit 4 GiB incompressible, durable on disk: speed",
     "x", ">=", 0.9, "cp and sync"),
    ("commit-kernel", "commit the kernel source (78 k small files): speed",
     "x", ">=", 3.0, "restic backup"),
    ("commit-unchanged", "commit again, nothing changed: time",
     "x", "<=", 2.0, "find, stat-ing the tree"),
    ("commit-unchanged-bytes", "commit again, nothing changed: new pack bytes",
     "B", "<=", 0, "nothing"),
    ("commit-one-percent", "commit after 1 % of the files changed: stored bytes",
     "x", "<=", 1.3, "the changed files, each through zstd -3"),
    ("kernel-second", "second version of the kernel source: bytes the store grew by",
     "x", "<=", 0.15, "restic (borg beside it)"),
    ("wheel-second", "second version of a TensorFlow wheel: bytes the store grew by",
     "x", "<=", 0.85, "restic"),
    ("cold-second-fetched", "cold read of the second version by an empty node: bytes fetched",
     "x", "<=", 1.1, "the same tree committed alone"),
    ("kernel-first", "first version of the kernel source: stored bytes",
     "x", "<=", 1.0, "restic"),
]

_MOUNT = [
    # key, name, unit, op, goal, against
    ("warm-sequential", "4 GiB file, warm, sequential 1 MiB reads",
     "x", ">=", 0.95, "ext4"),
    ("warm-random", "4 GiB file, warm, random 4 KiB reads",
     "x", ">=", 0.9, "ext4"),
    ("cached-sequential", "4 GiB file, cached by the node, mounted afresh, sequential 1 MiB reads",
     "x", ">=", 0.9, "ext4"),
    ("cached-random", "4 GiB file, cached by the node, mounted afresh, random 4 KiB reads",
     "x", ">=", 0.9, "ext4"),
    ("small-warm", "open + read + close of 64 KiB files, warm",
     "x", ">=", 0.75, "ext4"),
    ("small-cached", "open + read + close of 64 KiB files, cached by the node, mounted afresh",
     "x", ">=", 5.0, "the better of rclone mount and s3fs, their caches warm"),
    ("find-first", "find -type f -size +0 over the mount, first time",
     "x", ">=", 0.5, "ext4, warm"),
    ("find-second", "find -type f -size +0 over the mount, second time",
     "x", ">=", 0.9, "ext4, warm"),
    ("synth-open", "10 M entries: mount to first stat",
     "s", "<=", 0.5, "nothing"),
    ("synth-memory", "10 M entries: anonymous resident memory",
     "MB", "<=", 50, "nothing"),
    ("lookups", "manifest lookups in process, one core",
     "M/s", ">=", 2.0, "nothing"),
    ("cold-memory", "agent memory while four threads read 8 GiB cold",
     "MB", "<=", 150, "nothing"),
]

_S3 = [
    # key, name, unit, op, goal, against
    ("s3-large-mounts", "S3, first epoch: one 4 GiB file, cold, verified: speed",
     "x", ">=", 4.0, "the better of rclone mount and s3fs on the same object"),
    ("s3-large-boto3", "S3, first epoch: one 4 GiB file, cold, verified: speed",
     "x", ">=", 0.9, "boto3, 8 threads of 8 MiB ranges, no mount"),
    ("s3-small-order", "S3, first epoch: 20 k files of 100 KiB, directory order: files/s",
     "x", ">=", 50, "the better of rclone mount and s3fs on the files as objects"),
    ("s3-small-random", "S3, first epoch: 20 k files of 100 KiB, random order: files/s",
     "x", ">=", 25, "the better of rclone mount and s3fs on the files as objects"),
    ("s3-small-imported", "S3, first epoch: the same objects imported as they are, directory order: files/s",
     "x", ">=", 10, "the better of rclone mount and s3fs on the same objects"),
    ("s3-small-requests", "S3, GET requests of the first epoch of 20 k files",
     "x", "<=", 0.02, "one for each file"),
    ("s3-kernel-fetched", "S3, second version of the kernel source: bytes fetched to read all of it",
     "x", "<=", 0.15, "the changed files, each through zstd -3"),
    ("s3-edited-fetched", "S3, 1 % of a 4 GiB file edited in place: bytes fetched to read all of it",
     "x", "<=", 1.1, "the chunks that the edited bytes lie in"),
    ("s3-import", "S3, import of 100 k objects without copying: time",
     "x", "<=", 1.5, "rclone lsf -R"),
    ("s3-memory", "S3, memory while 8 readers read 8 GiB cold",
     "MB", "<=", 200, "nothing"),
    ("s3-latency", "S3, a 4 KiB read of a cold file, server 20 ms away: time",
     "x", "<=", 1.3, "one request of a bare client"),
]

_FAULTS = [
    # key, name, unit, op, goal, against
    ("faults-wrong", "one damaged answer (8 kinds, whole and ranged, cache on and off): wrong bytes, silently",
     "", "<=", 0, "the same of others"),
    ("faults-stayed", "the same, read again after the damage ended: still wrong",
     "", "<=", 0, "the same of others"),
    ("faults-right", "the same: read right without the user noticing, of 8 kinds, the worst way of reading",
     "", ">=", 7, "the same of others"),
]

_AGENT = [
    # key, name, unit, op, goal, against
    ("agent-epochs", "shuffled epochs, dataset 2x the cache: hit ratio of epoch 2",
     "x", ">=", 0.95, "the best that any cache could have"),
    ("agent-start", "cache open to first read, with 1 TB of containers on disk", "s", "<=", 1, "sparse files, real bitmaps"),
    ("agent-kill-errors", "1,000 kill -9 under verified load: errors, wrong bytes and hung readers",
     "", "<=", 0, "nothing"),
    ("agent-kill-stall", "the same: longest wait of a reader for each kill, p99",
     "ms", "<=", 250, "nothing"),
    ("agent-upgrade-errors", "upgrades under verified load: errors, wrong bytes and hung readers",
     "", "<=", 0, "nothing"),
    ("agent-upgrade-stall", "the same: longest wait of a reader",
     "s", "<=", 1, "nothing"),
    ("agent-idle-memory", "anonymous resident memory of an idle agent",
     "MB", "<=", 40, "nothing"),
    ("agent-mounts-memory", "anonymous resident memory with 1,000 mounts of 100 k files each",
     "MB", "<=", 200, "nothing"),
    ("agent-scrape-seconds", "scrape of /metrics with 1,000 mounts",
     "ms", "<=", 50, "nothing"),
    ("agent-scrape-bytes", "the same: size of the answer",
     "MB", "<=", 1, "nothing"),
    ("agent-told-warm", "cached reads with traces at 1 %, logs and scrapes, of those without",
     "x", ">=", 0.98, "the same agent without traces, info logs and scrapes"),
    ("agent-told-cold", "the same for reads from a directory store",
     "x", ">=", 0.98, "the same agent without traces, info logs and scrapes"),
]

_FEED = [
    # key, name, unit, op, goal, against
    ("feed-mapped", "feed, plane M, 1 MiB records, one consumer: bytes/s",
     "x", ">=", 0.8, "in-place read of a warm mapping"),
    ("feed-slots-1m", "feed, plane S, 1 MiB records in batches of 16 MiB: bytes/s",
     "x", ">=", 0.8, "memcpy"),
    ("feed-slots-100k", "feed, plane S, 100 KiB records in batches of 16 MiB: bytes/s",
     "x", ">=", 0.7, "memcpy"),
    ("feed-tf-100k", "feed into tf.data, TFRecords of 114,660 bytes, shuffled, warm: records/s",
     "x", ">=", 3, "TFRecordDataset, interleaved, shuffled, prefetched, ext4"),
    ("feed-tf-100k-cpu", "the same: processor time a record, agent included",
     "x", "<=", 0.333, "the same TFRecordDataset"),
    ("feed-peers", "the same: records/s",
     "x", ">=", 5, "the best of tf.data service, webdataset and ray"),
    ("feed-tf-128", "feed into tf.data, TFRecords of 128 bytes: records/s",
     "x", ">=", 2, "TFRecordDataset"),
    ("feed-tf-1k", "feed into tf.data, TFRecords of 1 KiB: records/s",
     "x", ">=", 2, "TFRecordDataset"),
    ("feed-four-memory", "four consumers, each its own order: memory",
     "x", "<=", 1.1, "one consumer"),
    ("feed-four-rate", "the same in tf.data: records/s of all together",
     "x", ">=", 3, "four TFRecordDataset"),
    ("feed-first", "first batch after open, 10 M records, index there",
     "ms", "<=", 100, "nothing"),
    ("feed-resume", "resume in the middle of an epoch: first batch",
     "ms", "<=", 100, "nothing"),
    ("feed-resume-wrong", "the same: records lost, repeated or in another order",
     "", "<=", 0, "the epoch without a break"),
    ("feed-h100", "ResNet-50 records of MLPerf Storage for each core used",
     "H100", ">=", 1, "what one H100 takes"),
]

GOALS = {
    key: Goal(key, group, *rest)
    for group, table in (("store", _STORE), ("mount", _MOUNT), ("s3", _S3), ("faults", _FAULTS),
                         ("agent", _AGENT), ("feed", _FEED))
    for key, *rest in table
}
