"""OpenStack Swift with its s3api on loopback, from Debian's packages: answers 501 to If-None-Match on a PUT."""
import os
from pathlib import Path

from processes import Processes, free_ports, is_listening, need, run

_PARTS = ("object", "container", "account")


class Swift:
    region = "us-east-1"
    access_key = "test:tester"

    def __init__(self, directory: Path, secret_key: str):
        self.directory, self.secret_key = directory, secret_key
        (directory / "dev" / "d1").mkdir(parents=True)
        (directory / "log").mkdir()
        self.processes = Processes(directory / "log")
        self.port, self.cache_port, *ports = free_ports(2 + len(_PARTS))
        self.ports = dict(zip(_PARTS, ports))
        self.env = {"SWIFT_CONF_FILE": str(directory / "swift.conf")}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def details(self) -> dict:
        return {}

    def start(self) -> None:
        (self.directory / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n"
            "[storage-policy:0]\nname = p0\ndefault = yes\n")
        builder = need("swift-ring-builder", "swift")
        for part, port in self.ports.items():
            ring = self.directory / f"{part}.builder"
            for words in (["create", "4", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"]):
                run(builder, ring, *words, env=self.env)
            self._start(part, port, f"{part}-server", f"[app:{part}-server]\nuse = egg:swift#{part}\n")
        self._start("proxy", self.port, self._pipeline, self._proxy())
        self.processes.wait_for("proxy", "the Swift proxy", lambda: is_listening(self.port))
        for part, port in self.ports.items():
            self.processes.wait_for(part, f"the Swift {part} server", lambda: is_listening(port))

    def stop(self) -> None:
        self.processes.stop()

    def _start(self, part: str, port: int, pipeline: str, sections: str) -> None:
        package = f"swift-{part}"
        file = self.directory / f"{part}.conf"
        file.write_text(f"""\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {os.environ.get("USER", "root")}
swift_dir = {self.directory}
devices = {self.directory}/dev
mount_check = false
log_address = /dev/null
disable_fallocate = true
[pipeline:main]
pipeline = {pipeline}
{sections}""")
        self.processes.start(part, need(f"swift-{part}-server", package), file, env=self.env)

    _pipeline = ("catch_errors cache listing_formats s3api tempauth bulk slo dlo versioned_writes symlink "
                 "proxy-server")

    def _proxy(self) -> str:
        # The cache middleware must be there, not a memcached: without one nothing is remembered between requests.
        return f"""\
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{self.cache_port}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
min_segment_size = 1048576
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {self.secret_key} .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:symlink]
use = egg:swift#symlink
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
"""
