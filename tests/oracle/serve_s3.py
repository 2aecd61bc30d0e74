"""Serves S3 on loopback until it is ended: `serve_s3.py PORT BUCKET` makes the bucket and prints `ready`."""

import sys
import threading

import boto3
from moto.server import ThreadedMotoServer

port, bucket = int(sys.argv[1]), sys.argv[2]
ThreadedMotoServer(ip_address="127.0.0.1", port=port).start()
client = boto3.client(
    "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="maker", aws_secret_access_key="maker"
)
client.create_bucket(Bucket=bucket)
print("ready", flush=True)
threading.Event().wait()
