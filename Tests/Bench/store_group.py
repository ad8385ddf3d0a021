"""GROUP=store: what a commit costs in time and bytes, against backup programs, cp, find and openssl."""
import shutil

import datasets
from experiment import Experiment, Result, measures
from measure import alternate, best, megabytes, rate, read_everything, regular_files, run, tree_bytes
from workspace import Workspace

EXPERIMENTS: list[Experiment] = []
LARGE = 4 * datasets.GIB


@measures(EXPERIMENTS, "commit-4g-restic", "commit-4g-sha256")
def commit_large_on_tmpfs(w: Workspace):
    source = w.memory / "source"
    shutil.copytree(datasets.one_large_file(w.data), source)
    store, repository = w.memory / "store", w.memory / "restic"

    def kaml():
        w.kaml.new_store(store)
        done = w.kaml.commit(store, source)
        shutil.rmtree(store)
        return done

    def restic():
        w.peers.restic_init(repository)
        done = w.peers.restic(repository, "backup", source)
        shutil.rmtree(repository)
        return done

    ours, theirs = map(best, alternate(min(w.rounds, 2), kaml, restic))
    measured = f"{ours.seconds:.2f} s, {rate(LARGE, ours.seconds)}"
    yield Result("commit-4g-restic", theirs.seconds / ours.seconds, measured,
                 f"{w.peers.need('restic')}, {theirs.seconds:.2f} s, {rate(LARGE, theirs.seconds)}")
    # Cores used is processor time over elapsed time, so this is bytes a second of processor time.
    yield Result("commit-4g-sha256", LARGE / ours.cpu / w.peers.sha256_rate,
                 f"{measured} on {ours.cpu / ours.seconds:.2f} cores",
                 f"{w.peers.need('openssl')}, {w.peers.sha256_rate / 1e6:,.0f} MB/s")


@measures(EXPERIMENTS, "commit-4g-disk")
def commit_large_on_disk(w: Workspace):
    source = datasets.one_large_file(w.data)
    store, copy = w.disk / "store", w.disk / "copy"
    read_everything(source)

    def kaml():
        w.kaml.new_store(store)
        done = w.kaml.commit(store, source)
        shutil.rmtree(store)
        run("sync")
        return done

    def cp():
        done = run("sh", "-c", 'cp "$1" "$2" && sync "$2"', "sh", source / "large.bin", copy)
        copy.unlink()
        run("sync")
        return done

    ours, theirs = map(best, alternate(w.rounds, kaml, cp))
    yield Result("commit-4g-disk", theirs.seconds / ours.seconds, f"{ours.seconds:.2f} s, {rate(LARGE, ours.seconds)}",
                 f"{theirs.seconds:.2f} s, {rate(LARGE, theirs.seconds)}")


@measures(EXPERIMENTS, "commit-kernel", "kernel-first", "kernel-second", "commit-unchanged",
          "commit-unchanged-bytes", "cold-second-fetched")
def two_kernels(w: Workspace):
    first, second = (datasets.kernel(w.data, version) for version in datasets.KERNELS)
    store, repository, archive = w.disk / "store", w.disk / "restic", w.disk / "borg"
    for tree in (first, second):
        read_everything(tree)

    # The first version: time and stored bytes.
    def kaml():
        shutil.rmtree(store, ignore_errors=True)
        w.kaml.new_store(store)
        return w.kaml.commit(store, first)

    def restic():
        shutil.rmtree(repository, ignore_errors=True)
        w.peers.restic_init(repository)
        return w.peers.restic(repository, "backup", ".", cwd=first)

    ours, theirs = map(best, alternate(min(w.rounds, 2), kaml, restic))
    count = len(regular_files(first))
    restic_is = w.peers.need("restic")
    yield Result("commit-kernel", theirs.seconds / ours.seconds,
                 f"{ours.seconds:.2f} s, {count / ours.seconds:,.0f} files/s", f"{restic_is}, {theirs.seconds:.2f} s")
    our_first, their_first = tree_bytes(store), tree_bytes(repository)
    yield Result("kernel-first", our_first / their_first, megabytes(our_first),
                 f"{restic_is}, {megabytes(their_first)}")

    # The second version: what the stores grow by.
    w.kaml.commit(store, second)
    w.peers.restic(repository, "backup", ".", cwd=second)
    grown, restic_grown = tree_bytes(store) - our_first, tree_bytes(repository) - their_first

    # Nothing changed.
    packs = tree_bytes(store / "packs")
    again, find = map(best, alternate(w.rounds, lambda: w.kaml.commit(store, second),
                                      lambda: run("find", second, "-type", "f", "-size", "+0")))
    yield Result("commit-unchanged", again.seconds / find.seconds, f"{again.seconds:.3f} s", f"{find.seconds:.3f} s")
    new_packs = tree_bytes(store / "packs") - packs
    yield Result("commit-unchanged-bytes", new_packs, f"{new_packs} B")

    # borg with zstd, which is stronger than its default.
    w.peers.borg("init", "-e", "none", archive)
    w.peers.borg("create", "-C", "zstd,3", f"{archive}::first", ".", cwd=first)
    borg_first = tree_bytes(archive)
    w.peers.borg("create", "-C", "zstd,3", f"{archive}::second", ".", cwd=second)
    borg_grown = tree_bytes(archive) - borg_first
    yield Result("kernel-second", grown / restic_grown, megabytes(grown),
                 f"{restic_is}, {megabytes(restic_grown)}; {w.peers.need('borg')} (zstd,3), {megabytes(borg_grown)}")

    # What an empty node fetches to read all of the second version.
    alone = w.kaml.new_store(w.disk / "alone")
    w.kaml.commit(alone, second)
    fetched = []
    for number, each in enumerate((store, alone)):
        cache = w.disk / f"cache-{number}"
        with w.kaml.mount(each, w.disk / f"mount-{number}", cache) as mounted:
            read_everything(mounted.point, threads=4)
        fetched.append(w.kaml.fetched_bytes(cache))
    yield Result("cold-second-fetched", fetched[0] / fetched[1], megabytes(fetched[0]), megabytes(fetched[1]))


@measures(EXPERIMENTS, "commit-one-percent")
def one_percent_changed(w: Workspace):
    tree = w.disk / "tree"
    run("cp", "-a", datasets.kernel(w.data, datasets.KERNELS[0]), tree)
    store = w.kaml.new_store(w.disk / "store")
    w.kaml.commit(store, tree)
    before = tree_bytes(store)
    changed = datasets.change_one_percent(tree, regular_files(tree))
    w.kaml.commit(store, tree)
    grown = tree_bytes(store) - before
    alone = datasets.zstd_bytes(changed)
    yield Result("commit-one-percent", grown / alone, f"{megabytes(grown)}, all bytes the store grew by",
                 f"{len(changed)} files, {megabytes(alone)}")


@measures(EXPERIMENTS, "wheel-second")
def two_wheels(w: Workspace):
    store, repository = w.kaml.new_store(w.disk / "store"), w.peers.restic_init(w.disk / "restic")
    sizes = []
    for version in datasets.WHEELS:
        tree = datasets.wheel(w.data, version)
        w.kaml.commit(store, tree)
        w.peers.restic(repository, "backup", ".", cwd=tree)
        sizes.append((tree_bytes(store), tree_bytes(repository)))
    (our_first, their_first), (ours, theirs) = sizes
    yield Result("wheel-second", (ours - our_first) / (theirs - their_first),
                 f"{megabytes(ours - our_first)} after {megabytes(our_first)}",
                 f"{w.peers.need('restic')}, {megabytes(theirs - their_first)} after {megabytes(their_first)}")
