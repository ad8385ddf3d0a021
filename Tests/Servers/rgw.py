"""Ceph on loopback: a monitor, an OSD and the S3 gateway RGW, from Debian's packages, in a directory of their own."""
import shutil
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

from certificates import make_certificates
from processes import Processes, free_ports, is_listening, need, run

MIB = 1 << 20


@dataclass
class RGWOptions:
    """What the object storage daemon keeps its data in, and how much of it."""

    # "memory" is fast and gone at the end; "disk" is a file in the directory, for data larger than memory.
    keep: str = "memory"
    capacity: int = 2048 * MIB
    # How many requests RGW works on at a time.
    threads: int = 32
    # RGW writes to the OSD in pieces of this size. An OSD in memory needs 1.8 bytes for each byte with 4 MiB and 1.3
    # with 1 MiB; larger ones cost RGW less processor time.
    chunk: int = 4 * MIB


class RGW:
    region = "us-east-1"
    # Fixed names of a server that only this machine can reach, and only while the test runs.
    access_key = "kamltestaccess"

    def __init__(self, directory: Path, secret_key: str, options: RGWOptions | None = None):
        self.directory, self.secret_key, self.options = directory, secret_key, options or RGWOptions()
        for folder in ("mon", "osd", "rgw", "log", "run"):
            (directory / folder).mkdir(parents=True)
        self.processes = Processes(directory / "log")
        self.mon_port, self.port, self.tls_port = free_ports(3)
        self.certificates = make_certificates(directory / "tls")
        self.config = directory / "ceph.conf"
        self.fsid, self.osd_id = str(uuid.uuid4()), str(uuid.uuid4())

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def access_log(self) -> Path:
        """Has a line for each request: `"GET /bucket/key HTTP/1.1" 206`."""
        return self.directory / "log" / "client.rgw.a.log"

    def details(self) -> dict:
        return {"tlsEndpoint": f"https://localhost:{self.tls_port}", "caFile": str(self.certificates.ca),
                "virtualHostEndpoint": f"http://localhost:{self.port}", "accessLog": str(self.access_log)}

    def start(self) -> None:
        for program, package in (("ceph-mon", "ceph-mon"), ("ceph-osd", "ceph-osd"), ("radosgw", "radosgw"),
                                 ("radosgw-admin", "radosgw"), ("ceph-authtool", "ceph-common")):
            need(program, package)
        self.config.write_text(self._configuration())
        self._make_cluster()
        self._start("mon", need("ceph-mon", "ceph-mon"), "-i", "a")
        self.processes.wait_for("mon", "the Ceph monitor", lambda: is_listening(self.mon_port))
        # Asks the monitor for the key under which it will run.
        run(need("ceph-osd", "ceph-osd"), "--conf", self.config, "-i", "0", "--mkfs", "--osd-uuid", self.osd_id)
        self._start("osd", need("ceph-osd", "ceph-osd"), "-i", "0")
        # Needs the OSD, and makes the gateway's pools.
        run(need("radosgw-admin", "radosgw"), *self._as("client.admin"), "user", "create", "--uid=kaml",
            "--display-name=kaml", f"--access-key={self.access_key}", f"--secret-key={self.secret_key}")
        self._start("rgw", need("radosgw", "radosgw"), "-n", "client.rgw.a")
        self.processes.wait_for("rgw", "RGW", self._answers)

    def stop(self) -> None:
        # In good order the OSD would first write its memory to disk.
        self.processes.stop(gently=False)

    def _start(self, name: str, program: str, *words: str) -> None:
        self.processes.start(name, program, "--conf", self.config, *words, "-f")

    def _as(self, name: str) -> list[str]:
        return ["--conf", str(self.config), "-n", name]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint, timeout=2) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return True

    def _make_cluster(self) -> None:
        """Keys and maps of a cluster that knows its OSD and gateway from the start, so that nobody need register."""
        home = self.directory
        tool = need("ceph-authtool", "ceph-common")
        keyring = home / "keyring"
        run(tool, "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name in ("client.admin", "osd.0", "client.rgw.a"):
            run(tool, keyring, "--gen-key", "-n", name,
                *(word for area in ("mon", "osd", "mgr") for word in ("--cap", area, "allow *")))
        run("monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{self.mon_port}]", "--fsid", self.fsid,
            home / "monmap")
        run("osdmaptool", "--createsimple", "1", home / "osdmap", "--clobber")
        run(need("ceph-mon", "ceph-mon"), "--conf", self.config, "--mkfs", "-i", "a", "--monmap", home / "monmap",
            "--osdmap", home / "osdmap", "--keyring", keyring)
        shutil.copy(keyring, home / "mon" / "keyring")
        shutil.copy(keyring, home / "osd" / "keyring")

    def _configuration(self) -> str:
        options = self.options
        store = {"memory": "memstore", "disk": "bluestore"}[options.keep]
        home = self.directory
        return f"""\
[global]
fsid = {self.fsid}
mon_host = [v2:127.0.0.1:{self.mon_port}/0]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
ms_async_op_threads = 2
# All parts share one machine's memory: checksums on the way between them find nothing.
ms_crc_data = false
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
cephx_sign_messages = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 500
mon_data = {home}/mon
mon_data_avail_crit = 1
mon_osd_full_ratio = 0.99
mon_osd_nearfull_ratio = 0.98
mon_osd_backfillfull_ratio = 0.98
osd_data = {home}/osd
keyring = {home}/keyring
run_dir = {home}/run
admin_socket = {home}/run/$name.asok
log_file = {home}/log/$name.log
pid_file = {home}/run/$name.pid
setuser_match_path =
debug_ms = 0/0
debug_osd = 0/0
debug_bluestore = 0/0
debug_memstore = 0/0
debug_rocksdb = 0/0
debug_monc = 0/0
[mon]
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[osd]
osd_objectstore = {store}
memstore_device_bytes = {options.capacity}
bluestore_block_size = {options.capacity}
bluestore_cache_autotune = false
bluestore_cache_size = {128 * MIB}
bluestore_csum_type = none
osd_memory_target = {900 * MIB}
osd_op_num_shards = 2
osd_class_load_list = *
osd_class_default_list = *
osd_max_object_size = {128 * MIB}
[client.rgw.a]
rgw_data = {home}/rgw
rgw_dns_name = localhost
rgw_frontends = beast endpoint=127.0.0.1:{self.port} ssl_endpoint=127.0.0.1:{self.tls_port} \
ssl_certificate={self.certificates.certificate} ssl_private_key={self.certificates.key} tcp_nodelay=1
rgw_thread_pool_size = {options.threads}
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_lc_debug_interval = -1
rgw_gc_obj_min_wait = 1
rgw_gc_processor_period = 5
rgw_max_chunk_size = {options.chunk}
debug_rgw = 1/1
"""
