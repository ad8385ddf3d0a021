"""One reader of records, in a process of its own with TensorFlow; prints what it got as a line of JSON.

    feed_reader.py HOW DATA --batch N --seconds S [--dataset NAME --socket PATH ...]

HOW: tfrecord   files through TFRecordDataset, interleaved, shuffled, batched and prefetched
     service    the same through a tf.data service worker in another process
     webdataset samples of tar files through webdataset
     kaml       records of a feed through kaml.tf.dataset
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import time

# The folder of this script has a kaml.py of the bench's own.
sys.path.pop(0)


def tfrecord_files(arguments):
    import tensorflow as tf

    files = sorted(tf.io.gfile.glob(os.path.join(arguments.data, "*.tfrecord")))
    return tf.data.Dataset.from_tensor_slices(files).shuffle(len(files))


def tfrecord(arguments):
    import tensorflow as tf

    return (tfrecord_files(arguments)
            .interleave(tf.data.TFRecordDataset, cycle_length=4, num_parallel_calls=tf.data.AUTOTUNE,
                        deterministic=False)
            .shuffle(arguments.shuffle).repeat().batch(arguments.batch).prefetch(tf.data.AUTOTUNE))


def service(arguments):
    import tensorflow as tf

    # It serves until its input ends.
    worker = subprocess.Popen([sys.executable, __file__, "serve", arguments.data], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    arguments.children.append(worker)
    target = worker.stdout.readline().strip()
    return tfrecord(arguments).apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.OFF, service=target, compression=None)
    ).prefetch(tf.data.AUTOTUNE)


def serve(_):
    import tensorflow as tf

    dispatcher = tf.data.experimental.service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    worker = tf.data.experimental.service.WorkerServer(
        tf.data.experimental.service.WorkerConfig(dispatcher_address=address))
    print(dispatcher.target, flush=True)
    sys.stdin.read()
    del worker


def kaml(arguments):
    import kaml.tf

    os.environ["KAML_FEED_SOCKET"] = arguments.socket
    return kaml.tf.dataset(arguments.dataset, batch_size=arguments.batch, seed=arguments.seed, epochs=None)


def count_records(dataset, seconds: float):
    """Takes batches for a while. The loop runs inside TensorFlow, so that Python costs neither side anything."""
    import tensorflow as tf

    def size(batch):
        first = tf.nest.flatten(batch, expand_composites=False)[0]
        return tf.cast(first.nrows() if isinstance(first, tf.RaggedTensor) else tf.shape(first)[0], tf.int64)

    end = tf.Variable(0.0, dtype=tf.float64)
    counted = dataset.map(size).take_while(lambda _: tf.timestamp() < end)
    iterator_begin = time.monotonic()
    end.assign(time.time() + 2)
    counted.reduce(tf.constant(0, tf.int64), lambda sum, n: sum + n)
    warm = time.monotonic() - iterator_begin
    cpu = cpu_seconds()
    start = time.monotonic()
    end.assign(time.time() + seconds)
    records = int(counted.reduce(tf.constant(0, tf.int64), lambda sum, n: sum + n))
    return {"records": records, "seconds": time.monotonic() - start, "cpu": cpu_seconds() - cpu, "warm": warm}


def webdataset(arguments):
    import webdataset as wds

    shards = sorted(os.path.join(arguments.data, name) for name in os.listdir(arguments.data))
    loader = wds.WebDataset(shards, shardshuffle=len(shards), empty_check=False).shuffle(arguments.shuffle)
    loader = loader.to_tuple("bin").batched(arguments.batch).repeat()
    begin = time.monotonic()
    batches = iter(loader)
    for _ in range(4):
        next(batches)
    warm, cpu, start, records = time.monotonic() - begin, cpu_seconds(), time.monotonic(), 0
    while time.monotonic() - start < arguments.seconds:
        records += len(next(batches)[0])
    return {"records": records, "seconds": time.monotonic() - start, "cpu": cpu_seconds() - cpu, "warm": warm}


def ray(arguments):
    """A reader in another process puts batches into ray's object store, this one takes them."""
    import glob
    import struct

    import ray as r

    r.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)

    @r.remote(num_returns="streaming")
    def batches(files, size):
        import numpy as np

        while True:
            for file in files:
                with open(file, "rb") as opened:
                    records = []
                    while head := opened.read(12):
                        records.append(opened.read(struct.unpack("<Q", head[:8])[0] + 4)[:-4])
                        if len(records) == size:
                            yield np.frombuffer(b"".join(records), np.uint8)
                            records = []

    stream = batches.remote(sorted(glob.glob(os.path.join(arguments.data, "*.tfrecord"))), arguments.batch)
    for _ in range(4):
        r.get(next(stream))
    cpu, start, records = cpu_seconds(), time.monotonic(), 0
    while time.monotonic() - start < arguments.seconds:
        r.get(next(stream))
        records += arguments.batch
    took = time.monotonic() - start
    return {"records": records, "seconds": took, "cpu": cpu_seconds() - cpu, "warm": 0}


CHILDREN: list[subprocess.Popen] = []


def cpu_seconds() -> float:
    """Of this process and of those that work for it."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    for process in CHILDREN:
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how")
    parser.add_argument("data")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--shuffle", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dataset")
    parser.add_argument("--socket")
    arguments = parser.parse_args()
    arguments.children = CHILDREN
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if arguments.how == "serve":
        return serve(arguments)
    if arguments.how in ("webdataset", "ray"):
        outcome = {"webdataset": webdataset, "ray": ray}[arguments.how](arguments)
    else:
        outcome = count_records({"tfrecord": tfrecord, "service": service, "kaml": kaml}[arguments.how](arguments),
                                arguments.seconds)
    print(json.dumps(outcome), flush=True)
    if os.environ.get("FEED_CONSUMER_WAITS"):
        sys.stdin.read()
    for process in CHILDREN:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
