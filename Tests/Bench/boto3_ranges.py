"""Run by an interpreter that has boto3: reads one object in ranges, by threads, and prints JSON with the time it took.

boto3_ranges.py ENDPOINT BUCKET KEY THREADS RANGE_BYTES
"""
import json
import os
import sys
import threading
import time

import boto3
from botocore.config import Config

endpoint, bucket, key = sys.argv[1:4]
threads, step = int(sys.argv[4]), int(sys.argv[5])
config = Config(s3={"addressing_style": "path"}, max_pool_connections=threads)
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
size = client.head_object(Bucket=bucket, Key=key)["ContentLength"]
starts = iter(range(0, size, step))
lock = threading.Lock()
failures = []


def work() -> None:
    while True:
        with lock:
            start = next(starts, None)
        if start is None:
            return
        end = min(start + step, size)
        body = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}")["Body"].read()
        if len(body) != end - start:
            failures.append(start)


before, begin = os.times(), time.monotonic()
workers = [threading.Thread(target=work) for _ in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
after = os.times()
print(json.dumps({"bytes": size, "seconds": time.monotonic() - begin, "failures": len(failures),
                  "cpu": after.user - before.user + after.system - before.system}))
