"""The programs kaml is compared with, installed from Debian (the S3 test server for s3fs from PyPI), and their use."""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path

from measure import Run, run

# program -> Debian package
PACKAGES = {"restic": "restic", "borg": "borgbackup", "rclone": "rclone", "s3fs": "s3fs", "fio": "fio",
            "openssl": "openssl"}
_VERSION = {"restic": ["restic", "version"], "borg": ["borg", "--version"], "rclone": ["rclone", "version"],
            "s3fs": ["s3fs", "--version"], "fio": ["fio", "--version"], "openssl": ["openssl", "version"]}


class Peers:
    def __init__(self, home: Path):
        self.home = home
        self._running: list[subprocess.Popen] = []
        self._versions: dict[str, str] = {}

    def need(self, program: str) -> str:
        """Installs a program when it is missing; returns its name and version."""
        if program not in self._versions:
            if not shutil.which(program):
                sudo = [] if os.geteuid() == 0 else ["sudo"]
                run(*sudo, "apt-get", "install", "-q", "-y", "--no-install-recommends", PACKAGES[program])
            text = subprocess.run(_VERSION[program], capture_output=True, text=True).stdout
            found = re.search(r"\d+\.\d+(\.\d+)*", text)
            self._versions[program] = f"{program} {found.group() if found else '?'}"
            print(f"   peer: {self._versions[program]}", file=sys.stderr)
        return self._versions[program]

    # Backup programs

    def restic(self, repository: Path, *arguments: str | Path, cwd: Path | None = None) -> Run:
        self.need("restic")
        self.home.mkdir(parents=True, exist_ok=True)
        env = {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(self.home / "restic-cache")}
        return run("restic", "-q", "-r", repository, *arguments, cwd=cwd, env=env)

    def restic_init(self, repository: Path) -> Path:
        self.restic(repository, "init", "--repository-version", "2")
        return repository

    def borg(self, *arguments: str | Path, cwd: Path | None = None) -> Run:
        self.need("borg")
        self.home.mkdir(parents=True, exist_ok=True)
        env = {"BORG_BASE_DIR": str(self.home / "borg"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
               "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
        return run("borg", *arguments, cwd=cwd, env=env)

    @cached_property
    def sha256_rate(self) -> float:
        """Bytes a second that one core hashes, in 1 MiB blocks."""
        self.need("openssl")
        command = ["openssl", "speed", "-seconds", "1", "-bytes", str(1 << 20), "-evp", "sha256"]
        return max(float(re.findall(r"([\d.]+)k\s*$", run(*command).output)[-1]) * 1000 for _ in range(3))

    # Reading

    def fio(self, file: Path, pattern: str, block: str, amount: str) -> float:
        """Bytes a second of plain reads, no block twice within a pass. fio must not drop the page cache first."""
        self.need("fio")
        output = run("fio", "--name=read", f"--filename={file}", f"--rw={pattern}", f"--bs={block}",
                     f"--io_size={amount}", "--ioengine=psync", "--invalidate=0", "--readonly", "--randrepeat=1",
                     "--numjobs=1", "--thread", "--output-format=json").output
        return float(json.loads(output[output.index("{"):])["jobs"][0]["read"]["bw_bytes"])

    # Mounts

    @contextlib.contextmanager
    def rclone_mount(self, source: Path, point: Path, cache: Path):
        self.need("rclone")
        with self._mounted(point, "rclone", "mount", source, point, "--read-only", "--vfs-cache-mode", "full",
                           "--vfs-cache-max-age", "24h", "--dir-cache-time", "24h", "--attr-timeout", "1h",
                           "--cache-dir", cache, "--config", "/dev/null"):
            yield

    @contextlib.contextmanager
    def s3fs_mount(self, bucket: str, endpoint: str, point: Path, cache: Path):
        self.need("s3fs")
        secret = cache.with_name("s3fs-password")
        secret.touch(mode=0o600)
        secret.write_text("bench:bench-secret\n")
        with self._mounted(point, "s3fs", bucket, point, "-f", "-o", f"url={endpoint}", "-o", "use_path_request_style",
                           "-o", f"passwd_file={secret}", "-o", f"use_cache={cache}", "-o", "ro", "-o", "kernel_cache",
                           "-o", "max_stat_cache_size=1000000", "-o", "stat_cache_expire=86400"):
            yield

    def s3_server(self, bucket: str, tree: Path) -> str:
        """Starts moto's S3 server (a venv of its own) and uploads the tree; returns the endpoint."""
        self.need("rclone")
        server = self.home / "moto" / "bin" / "moto_server"
        if not server.exists():
            run(sys.executable, "-m", "venv", self.home / "moto")
            run(self.home / "moto/bin/pip", "-q", "install", "moto[server]")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        endpoint = f"http://127.0.0.1:{port}"
        self._running.append(subprocess.Popen([server, "-H", "127.0.0.1", "-p", str(port)],
                                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        _wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True, "the S3 test server")
        remote = (":s3,provider=Other,env_auth=false,access_key_id=bench,secret_access_key=bench-secret,"
                  f"endpoint='{endpoint}':")
        env = {"AWS_CA_BUNDLE": ""}  # rclone 1.60 refuses the whole remote when this is set
        run("rclone", "--config", "/dev/null", "mkdir", remote + bucket, env=env)
        run("rclone", "--config", "/dev/null", "copy", "--transfers", "4", tree, remote + bucket, env=env)
        return endpoint

    @contextlib.contextmanager
    def _mounted(self, point: Path, *command: str | Path):
        point.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._running.append(process)
        try:
            _wait_for(lambda: os.path.ismount(point), f"the mount by {command[0]}", process)
            yield
        finally:
            subprocess.run(["umount", point], check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            self._stop(process)

    def stop_all(self) -> None:
        for process in list(self._running):
            self._stop(process)

    def _stop(self, process: subprocess.Popen) -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.remove(process)


def _wait_for(ready, what: str, process: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process and process.poll() is not None:
            raise RuntimeError(f"{what} ended with status {process.returncode}")
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.05)
    raise RuntimeError(f"{what} did not come up in 30 s")
