"""GROUP=agent: what the node's agent costs and keeps to."""
from experiment import Experiment, Result, measures
from workspace import Workspace

EXPERIMENTS: list[Experiment] = []


@measures(EXPERIMENTS, "agent-epochs")
def shuffled_epochs(w: Workspace):
    """The cache itself, out of a directory store; what LRU over the same files would have had is played beside it."""
    size = max(64, int(1024 * w.scale))
    answer = w.kaml.bench("epochs", "--directory", w.disk, "--size", str(size), "--times", "2", "--epochs", "3")
    ratios, lru, best = answer["hit_ratios"], answer["lru"], answer["best"]
    yield Result("agent-epochs", ratios[1] / best, f"{ratios[1]:.3f}, then {ratios[2]:.3f} of reads were hits",
                 f"{best}; LRU {lru[1]:.3f}, then {lru[2]:.3f}")
