"""GROUP=agent: what the node's agent costs and keeps to."""
import agent_mounts
import agent_telemetry
from experiment import Experiment, Result, measures
from workspace import Workspace

EXPERIMENTS: list[Experiment] = agent_mounts.EXPERIMENTS + agent_telemetry.EXPERIMENTS


@measures(EXPERIMENTS, "agent-epochs")
def shuffled_epochs(w: Workspace):
    """The cache itself, out of a directory store; what LRU over the same files would have had is played beside it."""
    size = max(64, int(1024 * w.scale))
    answer = w.kaml.bench("epochs", "--directory", w.disk, "--size", str(size), "--times", "2", "--epochs", "3")
    ratios, lru, best = answer["hit_ratios"], answer["lru"], answer["best"]
    yield Result("agent-epochs", ratios[1] / best, f"{ratios[1]:.3f}, then {ratios[2]:.3f} of reads were hits",
                 f"{best}; LRU {lru[1]:.3f}, then {lru[2]:.3f}")


@measures(EXPERIMENTS, "agent-start")
def start_with_a_terabyte(w: Workspace):
    """The cache's part of it: from opening the directory to the first read, which is answered from a container."""
    answer = w.kaml.bench("cache-start", "--directory", w.disk, "--containers", str(w.scaled(16384)))
    ready, counted = max(answer["ready_ms"]), max(answer["counted_ms"])
    yield Result("agent-start", ready / 1000, f"{ready:.0f} ms, all of it counted in the background after {counted:.0f}",
                 f"{answer['containers']} containers of 64 MiB")
