"""Run by an interpreter that has boto3: gets an object, or a range of it, and prints the SHA-256 of what came.

boto3_get.py ENDPOINT BUCKET KEY [FIRST LAST]
"""
import hashlib
import sys

import boto3
from botocore.config import Config

endpoint, bucket, key, *part = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
                      config=Config(s3={"addressing_style": "path"}))
options = {"Range": f"bytes={part[0]}-{part[1]}"} if part else {}
print(hashlib.sha256(client.get_object(Bucket=bucket, Key=key, **options)["Body"].read()).hexdigest())
